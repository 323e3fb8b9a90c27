//! `weir`, the data plane: starts the cores and what looks after them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use weir::core::{Core, Phase};
use weir::gauge::{self, Gauges};
use weir::heap::Heap;
use weir::host;
use weir::journal::{Journal, Keeper};
use weir::live::Newest;
use weir::log::Logger;
use weir::spool;
use weir::sync::{self, Duties, Follower, Settings, say};
use weir::tls::{CertStore, KeyPairFiles, server_config};
use weir::watch::{self, Ward};
use weir::worker::{self, Doors, Driver};
use weir_shared::key::Pepper;
use weir_shared::secret;

/// The data plane of the Weir AI gateway.
///
/// It serves what `weirctl apply` published to the store, and goes on with the last good revision when the store is gone.
/// SIGTERM drains: no new connections, open streams may finish.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Options {
    /// Where revisions come from: folder:PATH or etcd:http://HOST:PORT[,…][/PREFIX]. Default: folder:<state>/store.
    #[arg(long, env = "WEIR_STORE")]
    store: Option<String>,
    /// This node's own files: journal, last good snapshot, secrets.
    #[arg(long, env = "WEIR_STATE", default_value = "weir-state")]
    state: PathBuf,
    /// Where callers come in.
    #[arg(long, env = "WEIR_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where callers come in with TLS.
    #[arg(long, env = "WEIR_TLS_LISTEN", requires_all = ["tls_cert", "tls_key"])]
    tls_listen: Option<SocketAddr>,
    /// PEM file of the certificate chain; a changed file is served without restart. Repeat for several names.
    #[arg(long, env = "WEIR_TLS_CERT", value_delimiter = ',')]
    tls_cert: Vec<PathBuf>,
    /// PEM file of its key; as many as certificates.
    #[arg(long, env = "WEIR_TLS_KEY", value_delimiter = ',')]
    tls_key: Vec<PathBuf>,
    /// Where /metrics, /live, /ready, /status and /shapes answer. Keep it off the public network.
    #[arg(long, env = "WEIR_ADMIN", default_value = "127.0.0.1:8081")]
    admin: SocketAddr,
    /// Worker threads. Default: one per processor that the process may use.
    #[arg(long, env = "WEIR_CORES")]
    cores: Option<usize>,
    /// This node's name in the store and in the journal. Default: the host's name.
    #[arg(long, env = "WEIR_NODE")]
    node: Option<String>,
    /// Where the request log goes: - (standard output), off, or a file.
    #[arg(long, env = "WEIR_LOG", default_value = "-")]
    log: String,
    /// A core that has work all the time and is late by so many milliseconds takes from each tenant its share only, and
    /// refuses the rest. 0: never.
    #[arg(long, env = "WEIR_SHED_AFTER_MS", default_value_t = 10)]
    shed_after_ms: u64,
    /// auto takes io_uring when the machine allows it, else epoll.
    #[arg(long, env = "WEIR_DRIVER", default_value = "auto")]
    driver: String,
}

#[global_allocator]
static HEAP: Heap = Heap;

fn main() -> ExitCode {
    match start(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            say("error", "cannot_start", &reason);
            ExitCode::FAILURE
        }
    }
}

fn start(options: Options) -> Result<(), String> {
    host::prepare();
    let driver = Driver::probe(&options.driver)?;
    let node = options.node.clone().unwrap_or_else(host_name);
    if node.is_empty()
        || node.len() > 32
        || !node.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        return Err(format!("--node {node:?}: up to 32 letters, digits, - and _"));
    }
    let cores =
        options.cores.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).clamp(1, 255);
    let pepper = Pepper(secret::read_or_create(&options.state, secret::PEPPER)?);
    let seal = secret::read_or_create(&options.state, secret::SEAL)?;
    let folder = options.state.join("spool");
    spool::set_folder(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let logger = Arc::new(Logger::start(&options.log).map_err(|error| format!("--log {}: {error}", options.log))?);
    let certificates = open_certificates(&options)?;

    let listen =
        |what: &str, address: SocketAddr| host::listen(address).map_err(|error| format!("{what} {address}: {error}"));
    let first = listen("--listen", options.listen)?;
    let data = first.local_addr().map_err(|error| error.to_string())?;
    let first_tls = options.tls_listen.map(|address| listen("--tls-listen", address)).transpose()?;
    let data_tls = first_tls.as_ref().and_then(|listener| listener.local_addr().ok());
    let admin =
        std::net::TcpListener::bind(options.admin).map_err(|error| format!("--admin {}: {error}", options.admin))?;
    let admin_address = admin.local_addr().map_err(|error| error.to_string())?;

    let newest = Arc::new(Newest::default());
    let phase = Arc::new(Phase::default());
    let store = options.store.clone().unwrap_or_else(|| format!("folder:{}", options.state.join("store").display()));
    let settings = Settings {
        store,
        state: options.state.clone(),
        node: node.clone(),
        pepper,
        seal,
        admin: admin_address.to_string(),
        data: data.to_string(),
    };
    let recorder = sync::install_recorder();
    let mut follower = Follower::new(settings, Arc::clone(&newest))?;
    follower.first();
    let state = follower.state();

    let keeper = Keeper::default();
    let (mut workers, mut wards) = (Vec::new(), Vec::new());
    let (mut plain, mut tls) = (Some(first), first_tls);
    for number in 0..cores {
        let failed = |error: std::io::Error| error.to_string();
        let mut doors = Doors::plain(plain.take().map_or_else(|| listen("--listen", data), Ok)?).map_err(failed)?;
        if let (Some((_, config)), Some(address)) = (&certificates, data_tls) {
            let listener = tls.take().map_or_else(|| listen("--tls-listen", address), Ok)?;
            doors = doors.with_tls(listener, Arc::clone(config)).map_err(failed)?;
        }
        let gauges = gauge::for_core();
        wards.push(Ward::new(number, Arc::clone(&gauges), doors.handles()));
        let own = Own { number, cores, doors, gauges };
        workers.push(start_core(own, driver, &options, &node, &keeper, &newest, &logger, &phase)?);
    }
    keeper.start().map_err(|error| error.to_string())?;
    spawn("weir-store", move || follower.run())?;
    let watched = Arc::clone(&phase);
    spawn("weir-watch", move || watch::run(wards, &watched))?;
    let duties = Duties {
        admin,
        phase: Arc::clone(&phase),
        newest,
        state,
        certificates: certificates.map(|(store, _)| store),
        driver: driver.name(),
        recorder,
        journal: options.state.join("journal").join(&node),
    };
    spawn("weir-sync", move || {
        if let Err(error) = sync::run(duties) {
            say("error", "sync_ended", &error.to_string());
        }
        // The time to drain is over and more.
        std::process::exit(1);
    })?;
    announce(&data, data_tls, &admin_address, driver, cores, &node);
    for worker in workers {
        if !matches!(worker.join(), Ok(Ok(()))) {
            return Err("a core did not end well".into());
        }
    }
    say("info", "stopped", "all streams have ended and their records are written");
    Ok(())
}

type Worker = std::thread::JoinHandle<std::io::Result<()>>;

/// What only this core has.
struct Own {
    number: usize,
    cores: usize,
    doors: Doors,
    gauges: Arc<Gauges>,
}

#[expect(clippy::too_many_arguments, reason = "a core is made of all of these")]
fn start_core(
    Own { number, cores, doors, gauges }: Own,
    driver: Driver,
    options: &Options,
    node: &str,
    keeper: &Keeper,
    newest: &Arc<Newest>,
    logger: &Arc<Logger>,
    phase: &Arc<Phase>,
) -> Result<Worker, String> {
    let (folder, node) = (options.state.join("journal"), node.to_owned());
    let late_ms = if options.shed_after_ms == 0 { u64::MAX } else { options.shed_after_ms };
    let (keeper, newest, logger, phase) = (keeper.clone(), Arc::clone(newest), Arc::clone(logger), Arc::clone(phase));
    let run = move || {
        if cores > 1 {
            host::pin_to(number);
        }
        let (journal, damage) = Journal::open(&folder, &node, number as u32, &keeper)?;
        if let Some(damage) = damage {
            say("error", "journal_damaged", &damage);
        }
        let core = Core::new(number as u8, &node, journal, newest, logger, gauges, phase, late_ms);
        worker::run(driver, core, doors)
    };
    // Never a silent dead core: a panic outside of a connection ends the process, and its supervisor starts it anew.
    let run = move || match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            say("error", "core_failed", &error.to_string());
            std::process::exit(1)
        }
        Err(_) => std::process::abort(),
    };
    std::thread::Builder::new().name(format!("weir-core-{number}")).spawn(run).map_err(|error| error.to_string())
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), String> {
    std::thread::Builder::new().name(name.into()).spawn(run).map(drop).map_err(|error| error.to_string())
}

type Certificates = (Arc<CertStore>, Arc<rustls::ServerConfig>);

fn open_certificates(options: &Options) -> Result<Option<Certificates>, String> {
    if options.tls_listen.is_none() {
        return Ok(None);
    }
    if options.tls_cert.len() != options.tls_key.len() {
        return Err("give --tls-cert and --tls-key equally often".into());
    }
    let pairs = options.tls_cert.iter().zip(&options.tls_key);
    let files =
        pairs.map(|(certificate, key)| KeyPairFiles { certificate: certificate.clone(), key: key.clone() }).collect();
    let store = CertStore::open(files).map_err(|fault| format!("{}; {}", fault.what, fault.fix))?;
    let config = server_config(Arc::clone(&store)).map_err(|error| error.to_string())?;
    Ok(Some((store, config)))
}

fn announce(data: &SocketAddr, tls: Option<SocketAddr>, admin: &SocketAddr, driver: Driver, cores: usize, node: &str) {
    let line = serde_json::json!({
        "event": "listening", "data": data.to_string(), "tls": tls.map(|tls| tls.to_string()), "admin": admin.to_string(),
        "driver": driver.name(), "cores": cores, "node": node, "version": env!("CARGO_PKG_VERSION"), "pid": std::process::id(),
    });
    println!("{line}");
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let good = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let name: String = name.chars().filter(good).take(31).collect();
    if name.is_empty() { "node".into() } else { name }
}

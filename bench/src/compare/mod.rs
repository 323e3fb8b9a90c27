//! The gateway beside nginx and HAProxy in one run: the same vendor, the same load, one proxy at a time on a processor of
//! its own, rounds interleaved so that a noisy neighbour meets all of them, medians taken.

mod measure;
mod peer;
mod table;
mod weir;
mod workload;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::provider::{self, Handle, tls::Leaf};

pub use measure::Sample;
pub use table::Outcome;
pub use workload::Workload;

#[derive(Clone, Debug)]
pub struct Options {
    pub proxy_core: usize,
    pub rig_core: usize,
    pub rounds: usize,
    /// The measured window of each sample.
    pub window: Duration,
    /// Names of workloads; empty for all.
    pub only: Vec<String>,
    /// A folder of further workloads, or of replacements.
    pub scenarios: Option<PathBuf>,
    pub weir: Option<PathBuf>,
    pub weirctl: Option<PathBuf>,
    pub nginx: PathBuf,
    pub haproxy: PathBuf,
    /// Runs only these of weir, nginx, haproxy; empty for all.
    pub contenders: Vec<String>,
    /// Where configurations, state and logs are; a fresh one when not given, removed at the end.
    pub folder: Option<PathBuf>,
}

/// Everything that stays the same over the whole run.
struct Rig {
    plain: Handle,
    secure: Handle,
    folder: PathBuf,
    /// The limit that proxies inherit.
    open_files: u64,
    options: Options,
}

/// Runs the comparison; `say` hears how far it is.
pub fn run(options: Options, mut say: impl FnMut(&str)) -> io::Result<Outcome> {
    let open_files = crate::raise_open_files();
    let mut workloads = workload::load(options.scenarios.as_deref(), &options.only)?;
    for workload in &mut workloads {
        let most = peer::callers_max(open_files) as usize;
        if workload.callers > most {
            say(&format!(
                "{}: {most} instead of {} callers: only {open_files} open files are allowed here",
                workload.name, workload.callers
            ));
            workload.callers = most;
        }
    }
    let (folder, made) = match &options.folder {
        Some(folder) => (folder.clone(), false),
        None => (std::env::temp_dir().join(format!("weirbench-{}", std::process::id())), true),
    };
    std::fs::create_dir_all(&folder)?;
    crate::sys::pin_thread(&[options.rig_core])?;
    let rig = Rig {
        plain: vendor(&options, None, None)?,
        secure: vendor(&options, Some(Leaf::Good), Some(folder.join("tls")))?,
        folder: folder.clone(),
        open_files,
        options,
    };
    let outcome = compare(&rig, &workloads, &mut say);
    drop(rig);
    if made {
        let _ = std::fs::remove_dir_all(&folder);
    }
    outcome
}

fn compare(rig: &Rig, workloads: &[Workload], say: &mut dyn FnMut(&str)) -> io::Result<Outcome> {
    let mut gateway = weir::Gateway::find(rig, workloads);
    if let Err(why) = &gateway {
        say(&format!("weir is left out: {why}"));
    }
    let wanted = |name: &str| {
        let name = if name == PASS { WEIR } else { name };
        rig.options.contenders.is_empty() || rig.options.contenders.iter().any(|c| c == name)
    };
    let mut results: Vec<table::Measured> = Vec::new();
    for workload in workloads {
        let mut samples: BTreeMap<&'static str, Vec<Sample>> = BTreeMap::new();
        let mut problems: BTreeMap<&'static str, String> = BTreeMap::new();
        for round in 1..=rig.options.rounds {
            for contender in CONTENDERS.into_iter().filter(|name| *name == DIRECT || wanted(name)) {
                if problems.contains_key(contender) || !workload.asks(contender) {
                    continue;
                }
                say(&format!("{} · round {round} of {} · {contender}", workload.name, rig.options.rounds));
                let sample = match (contender, &mut gateway) {
                    (WEIR | PASS, Err(why)) => Err(io::Error::other(why.clone())),
                    (WEIR | PASS, Ok(gateway)) => gateway
                        .start(rig, workload, contender == PASS)
                        .and_then(|proxy| measure::sample(rig, workload, proxy)),
                    (DIRECT, _) => measure::direct(rig, workload),
                    (name, _) => {
                        peer::start(rig, workload, name).and_then(|proxy| measure::sample(rig, workload, proxy))
                    }
                };
                match sample {
                    Ok(sample) => samples.entry(contender).or_default().push(sample),
                    Err(why) => {
                        say(&format!("{} · {contender}: {why}", workload.name));
                        problems.insert(contender, why.to_string());
                    }
                }
            }
        }
        results.push(table::Measured { workload: workload.clone(), samples, problems });
    }
    Ok(table::Outcome::new(results))
}

fn vendor(options: &Options, tls: Option<Leaf>, cert_out: Option<PathBuf>) -> io::Result<Handle> {
    provider::start(provider::Options { pin: vec![options.rig_core], tls, cert_out, ..provider::Options::default() })
}

impl Rig {
    fn vendor(&self, tls: bool) -> &Handle {
        if tls { &self.secure } else { &self.plain }
    }

    fn tls_folder(&self) -> PathBuf {
        self.folder.join("tls")
    }

    fn ca(&self) -> PathBuf {
        self.tls_folder().join("ca.pem")
    }

    /// `PROGRAM arguments` bound to the processor that belongs to proxies.
    fn pinned(&self, program: &Path) -> std::process::Command {
        let mut command = std::process::Command::new("taskset");
        command.arg("-c").arg(self.options.proxy_core.to_string()).arg(program);
        command
    }
}

const DIRECT: &str = "direct";
const WEIR: &str = "weir";
/// Ourselves, with a vendor that speaks the callers' language: what a translation is measured by.
const PASS: &str = "pass";
const NGINX: &str = "nginx";
const HAPROXY: &str = "haproxy";
const CONTENDERS: [&str; 5] = [DIRECT, WEIR, PASS, NGINX, HAPROXY];

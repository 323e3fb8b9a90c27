//! A synthetic vendor for all dialects, with every fault on demand. `start` runs it on its own threads, so that a test
//! can have one in its own process; the command line is a thin shell around it.

mod body;
mod conn;
mod control;
mod encode;
mod frames;
mod payload;
mod plan;
mod prompts;
mod quota;
mod registry;
mod request;
mod route;
pub mod scenario;
mod strict;
pub mod tls;
mod worker;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use socket2::{Domain, Socket, Type};

pub use registry::{Captured, Counters};

#[derive(Clone, Debug)]
pub struct Options {
    pub listen: SocketAddr,
    /// Where counters are told; port 0 picks one, None leaves it to the in-process handle.
    pub control: Option<SocketAddr>,
    pub cores: usize,
    /// Processors to bind the workers to; empty: wherever the kernel likes.
    pub pin: Vec<usize>,
    /// Keep the last request of each scenario.
    pub capture: bool,
    pub tls: Option<tls::Leaf>,
    /// Where ca.pem, cert.pem and key.pem go.
    pub cert_out: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options { listen: LOCAL, control: None, cores: 1, pin: Vec::new(), capture: false, tls: None, cert_out: None }
    }
}

/// A running vendor. Dropping it stops it.
pub struct Handle {
    pub addr: SocketAddr,
    pub control: Option<SocketAddr>,
    /// Nobody listens here: connections are refused.
    pub refused: SocketAddr,
    /// A queue that is full: connecting hangs.
    pub blackhole: SocketAddr,
    /// Connections are made and never answered, not even a handshake.
    pub mute: SocketAddr,
    pub ca_pem: Option<String>,
    secure: bool,
    registry: Arc<registry::Registry>,
    stopping: Arc<AtomicBool>,
    wake: Vec<UnixStream>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    /// Bound, never listening; listening, never accepting; the connections that fill the queue.
    _bound: Vec<Socket>,
}

pub fn start(options: Options) -> io::Result<Handle> {
    let identity = options.tls.map(tls::identity).transpose()?;
    if let (Some(identity), Some(folder)) = (&identity, &options.cert_out) {
        identity.write(folder)?;
    }
    let registry = Arc::new(registry::Registry::default());
    let cores = options.cores.max(1);
    let first = listen(options.listen, cores > 1)?;
    let addr = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..cores {
        listeners.push(listen(addr, true)?);
    }
    let (mut wake, mut threads) = (Vec::new(), Vec::new());
    for (index, listener) in listeners.into_iter().enumerate() {
        let (mine, theirs) = UnixStream::pair()?;
        wake.push(mine);
        let worker = worker::Worker {
            listener,
            address: addr,
            tls: identity.as_ref().map(|identity| identity.config.clone()),
            registry: registry.clone(),
            capture: options.capture,
            stop: theirs,
        };
        let pin = options.pin.get(index % options.pin.len().max(1)).copied();
        threads.push(std::thread::Builder::new().name(format!("vendor-{index}")).spawn(move || {
            if let Some(core) = pin {
                crate::sys::pin_thread(&[core])?;
            }
            worker.run()
        })?);
    }
    let stopping = Arc::new(AtomicBool::new(false));
    let control = match options.control {
        Some(address) => {
            let listener = TcpListener::bind(address)?;
            let address = listener.local_addr()?;
            let (registry, stopping) = (registry.clone(), stopping.clone());
            threads.push(std::thread::Builder::new().name("vendor-control".into()).spawn(move || {
                control::serve(listener, registry, stopping);
                Ok(())
            })?);
            Some(address)
        }
        None => None,
    };
    let (refused, blackhole, mute, bound) = dead_ends()?;
    let ca_pem = identity.map(|identity| identity.ca_pem);
    Ok(Handle {
        addr,
        control,
        refused,
        blackhole,
        mute,
        secure: ca_pem.is_some(),
        ca_pem,
        registry,
        stopping,
        wake,
        threads,
        _bound: bound,
    })
}

impl Handle {
    /// `http://ADDR/~words`, without the version: what a `base_url` starts with. Faults that happen before a path is
    /// seen (refuse, blackhole, mute) choose the address.
    pub fn url(&self, words: &str) -> String {
        let named = |name: &str| words.split(',').any(|word| word.strip_prefix("fault=") == Some(name));
        let address = if named("refuse") {
            self.refused
        } else if named("blackhole") {
            self.blackhole
        } else if named("mute") {
            self.mute
        } else {
            self.addr
        };
        let scheme = if self.secure { "https" } else { "http" };
        if words.is_empty() {
            return format!("{scheme}://{address}");
        }
        // `@` is legal in a path, but whoever looks for a user in an address stumbles over it; it is decoded on arrival.
        format!("{scheme}://{address}/~{}", words.replace('@', "%40"))
    }

    pub fn counters(&self) -> BTreeMap<String, Counters> {
        self.registry.counters()
    }

    /// Counters of one scenario; zeroes when nobody asked for it yet.
    pub fn counter(&self, words: &str) -> Counters {
        self.counters().remove(words).unwrap_or_default()
    }

    /// The last request of this scenario, with `capture` on.
    pub fn last(&self, words: &str) -> Option<Captured> {
        self.registry.last(words)
    }

    pub fn reset(&self) {
        self.registry.reset();
    }

    /// Requests whose path says `scenario` behave as `words` from now on: a vendor that fails and recovers.
    pub fn set(&self, scenario: &str, words: &str) -> Result<(), String> {
        self.registry.set(scenario, words)
    }

    pub fn write_ca(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, self.ca_pem.as_deref().unwrap_or_default())
    }

    /// Closes every connection and waits for the threads.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.wake.clear();
        if let Some(control) = self.control {
            let _ = TcpStream::connect(control);
        }
        for thread in self.threads.drain(..) {
            if let Ok(Err(error)) = thread.join() {
                eprintln!("weirbench: the vendor stopped: {error}");
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn dead_ends() -> io::Result<(SocketAddr, SocketAddr, SocketAddr, Vec<Socket>)> {
    let open = || -> io::Result<(Socket, SocketAddr)> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&LOCAL.into())?;
        let address = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("no address"))?;
        Ok((socket, address))
    };
    let (refused, refused_at) = open()?;
    let (mute, mute_at) = open()?;
    mute.listen(BACKLOG)?;
    let (full, full_at) = open()?;
    full.listen(0)?;
    let mut bound = vec![refused, mute, full];
    // A queue of length zero holds one connection; further handshakes are left without an answer.
    for _ in 0..BLACKHOLE_FILL {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        filler.set_nonblocking(true)?;
        let _ = filler.connect(&full_at.into());
        bound.push(filler);
    }
    Ok((refused_at, full_at, mute_at, bound))
}

use worker::decode as worker_decode;

#[cfg(test)]
mod tests;

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Ten thousand idle connections arrive at once; the kernel caps it at somaxconn.
const BACKLOG: i32 = 16 << 10;
const BLACKHOLE_FILL: usize = 4;

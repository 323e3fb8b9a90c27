//! Load with an honest clock. Open loop: requests start when they are due, late or not, and latency counts from then, so
//! that a stall is seen by all who had to wait and not by one. Closed loop: so many callers, each with its next request
//! as soon as the last is answered. One thread, one epoll loop; answers are scanned, not copied.

mod conn;
mod engine;
pub mod report;
pub mod target;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

pub use report::Report;
pub use target::{Dialect, Target};

/// As many as one address has ports for.
pub const CONNECTIONS_MAX: usize = 28_000;

#[derive(Clone, Debug)]
pub struct Options {
    pub target: Target,
    pub mode: Mode,
    /// Ends after so long, measured from the first request; what is under way is left.
    pub duration: Option<Duration>,
    /// Ends after so many answers.
    pub requests: Option<u64>,
    /// Answers in this first while are not counted.
    pub warmup: Duration,
    pub keepalive: bool,
    /// Every stream is kept and judged by the grammar: dear, for correctness and not for speed.
    pub judge: bool,
    /// No byte for so long: the request has failed.
    pub patience: Duration,
    /// So many connections at a time: what is due beyond them waits, and its latency counts.
    pub connections_max: usize,
    /// Bind the thread to this processor.
    pub pin: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Requests a second.
    Open(u64),
    /// Callers.
    Closed(usize),
    /// So many connections, one request on each, then held.
    Idle(usize),
}

/// Counters that move while the load runs.
#[derive(Default)]
pub struct Live {
    pub requests: AtomicU64,
    pub failed: AtomicU64,
    pub events: AtomicU64,
    pub bytes: AtomicU64,
    /// Connections that are open.
    pub open: AtomicU64,
    /// Streams whose first event has arrived and whose end has not.
    pub streaming: AtomicU64,
    /// Processor time of the load itself, in µs.
    pub cpu_us: AtomicU64,
    stop: AtomicBool,
}

/// A load that runs on its own thread.
pub struct Running {
    pub live: Arc<Live>,
    thread: JoinHandle<io::Result<Report>>,
}

pub fn start(options: Options) -> io::Result<Running> {
    let live = Arc::new(Live::default());
    let shared = live.clone();
    let thread = std::thread::Builder::new().name("load".into()).spawn(move || {
        if let Some(core) = options.pin {
            crate::sys::pin_thread(&[core])?;
        }
        engine::Engine::new(options, shared)?.run()
    })?;
    Ok(Running { live, thread })
}

impl Running {
    pub fn finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends the load now and takes its report.
    pub fn stop(self) -> io::Result<Report> {
        self.live.stop.store(true, Relaxed);
        self.join()
    }

    pub fn join(self) -> io::Result<Report> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the load panicked")))
    }
}

#[cfg(test)]
mod tests;

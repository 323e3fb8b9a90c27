//! The node's side of the store: follows it, compiles revisions off the hot cores, keeps the last good one, and says what
//! it applied or refused. The only place with tokio.

mod addresses;
mod admin;
mod build;
mod candidates;
mod credentials;
mod fetch;
mod lately;
mod lineage;
mod mirrors;
mod own_copy;
mod shapes;
mod follow;

pub use admin::{Recorder, install_recorder};
pub use follow::{Follower, Settings};
pub use own_copy::OwnCopy;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::core::Phase;
use crate::live::Newest;
use crate::tls::CertStore;

/// What the control thread looks after while the cores work.
pub struct Duties {
    pub admin: std::net::TcpListener,
    pub phase: Arc<Phase>,
    pub newest: Arc<Newest>,
    pub state: Arc<follow::State>,
    pub certificates: Option<Arc<CertStore>>,
    pub driver: &'static str,
    pub recorder: Recorder,
    /// Where this node's journal is.
    pub journal: PathBuf,
}

/// Certificates are looked at again this often; a changed file is served within it.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(5);

/// Runs until the process has been told to end and the time to finish is over.
pub fn run(duties: Duties) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let Duties { admin, phase, newest, state, certificates, driver, recorder, journal } = duties;
        tokio::spawn(admin::serve(
            admin,
            Arc::clone(&phase),
            Arc::clone(&newest),
            Arc::clone(&state),
            recorder,
            driver,
            journal,
        ));
        tokio::spawn(look_lately(Arc::clone(&state)));
        tokio::spawn(addresses::keep_fresh(Arc::clone(&state)));
        tokio::spawn(credentials::keep_fresh(Arc::clone(&state)));
        if let Some(certificates) = certificates {
            tokio::spawn(reload_certificates(certificates));
        }
        wait_for_the_end(&phase, &newest).await
    })
}

async fn look_lately(state: Arc<follow::State>) {
    loop {
        state.lately.look();
        tokio::time::sleep(lately::EVERY).await;
    }
}

async fn reload_certificates(certificates: Arc<CertStore>) {
    loop {
        tokio::time::sleep(CERTIFICATES_EVERY).await;
        for fault in certificates.reload().faults {
            say("error", "certificate_not_reloaded", &format!("{}; {}", fault.what, fault.fix));
        }
    }
}

async fn wait_for_the_end(phase: &Phase, newest: &Newest) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // The store is watched, and certificates are looked at anyway; a hang-up must only not end us.
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {}
        }
    }
    say("info", "draining", "no new connections; open streams may finish");
    phase.drain();
    let drain = newest.get().map_or(300_000, |live| live.snapshot.catalog.gateway.times.drain);
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(drain)) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    phase.cut();
    // The workers end by themselves; the process ends with them.
    tokio::time::sleep(Duration::from_secs(10)).await;
    Ok(())
}

/// One line on standard error for the operator.
pub fn say(level: &str, event: &str, message: &str) {
    // Thousands of nodes begin and end in one test.
    if cfg!(test) {
        return;
    }
    let mut line = format!("{{\"level\":\"{level}\",\"event\":\"{event}\",\"message\":\"").into_bytes();
    crate::wire::json::escape_into(&mut line, message);
    line.extend_from_slice(b"\"}\n");
    use std::io::Write;
    let _ = std::io::stderr().write_all(&line);
}

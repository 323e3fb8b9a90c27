//! `weirctl serve`: the admin API. The verbs of the command line over HTTP, with tokens or clients' certificates, roles, and an audit log.
//!
//! Stateless over its store: tokens are read from it with each request, so several may run, and a token that is revoked ends at
//! once. Commands block, so each has a thread; there are few of them.

mod answer;
mod door;
mod guests;

pub use door::certificates;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::sync::Semaphore;
use weir_shared::fault::Exit;

use self::guests::{Guests, Known};
use crate::audit::Log;
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::Screen;

pub struct Options {
    pub listen: SocketAddr,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub client_ca: Option<PathBuf>,
}

/// Each holds a thread, and may wait for nodes.
const COMMANDS_MAX: usize = 16;
/// Each holds a thread for up to a minute: whoever only looks takes none from those who change something.
const WATCHES_MAX: usize = 16;
/// Tokens that are looked up at a time.
const LOOKS_MAX: usize = 8;
/// Commands that are under way when it is to end get so long; one that is not done by then is done or not, as with any that
/// is interrupted.
const LAST_COMMANDS: Duration = Duration::from_secs(20);
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// For a request's head and between two requests of a connection.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// What every request needs.
pub struct Desk {
    pub place: Place,
    pub log: Log,
    pub commands: Arc<Semaphore>,
    pub watches: Arc<Semaphore>,
    pub looks: Arc<Semaphore>,
}

pub fn run(place: &Place, options: &Options, screen: &Screen) -> Result<(), Failure> {
    let failed = |what: String| Failure::new(Exit::Failed, what);
    let tls = door::tls(options)?;
    if tls.is_none() && !options.listen.ip().is_loopback() {
        let what = format!(
            "{} can be reached from other machines, and without TLS tokens could be read there",
            options.listen
        );
        return Err(Failure::new(Exit::Usage, what).next("give --tls-cert and --tls-key, or listen on 127.0.0.1"));
    }
    // A store that cannot be read now is told now, not to the first caller.
    place.store()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(COMMANDS_MAX + WATCHES_MAX + LOOKS_MAX)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let some = |count| Arc::new(Semaphore::new(count));
    let (commands, watches, looks) = (some(COMMANDS_MAX), some(WATCHES_MAX), some(LOOKS_MAX));
    let desk = Arc::new(Desk { place: place.clone(), log: Log::of(&place.state), commands, watches, looks });
    let served = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(options.listen).await;
        let listener = listener.map_err(|error| failed(format!("{}: {error}", options.listen)))?;
        let address = listener.local_addr().map_err(|error| failed(error.to_string()))?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        match screen.json {
            true => screen.print(&json!({"event": "listening", "url": format!("{scheme}://{address}")}).to_string()),
            false => screen
                .say(format!("the admin API answers at {scheme}://{address}/v1/, its description at /openapi.json")),
        }
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .map_err(|error| failed(error.to_string()))?;
        let guests = Guests::default();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => {
                        // Whoever is one too many is closed at once.
                        let Some(guest) = guests.come(from.ip().to_canonical()) else { continue };
                        let (desk, tls) = (Arc::clone(&desk), tls.clone());
                        tokio::spawn(async move {
                            tokio::select! {
                                () = connection(stream, tls, desk, guest.known()) => {}
                                () = guest.outstays() => {}
                            }
                        });
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                },
                _ = terminate.recv() => break,
                _ = tokio::signal::ctrl_c() => break,
            }
        }
        // What changes something is done first; nobody waits for those who only wait for news.
        let _ = tokio::time::timeout(LAST_COMMANDS, desk.commands.acquire_many(COMMANDS_MAX as u32)).await;
        // And its answer is given.
        let _ = tokio::time::timeout(LAST_ANSWERS, guests.gone()).await;
        Ok(())
    });
    runtime.shutdown_background();
    served
}

async fn connection(
    stream: tokio::net::TcpStream,
    tls: Option<tokio_rustls::TlsAcceptor>,
    desk: Arc<Desk>,
    known: Known,
) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return speak(TokioIo::new(stream), None, desk, known).await };
    let Ok(Ok(stream)) = tokio::time::timeout(HEAD_PATIENCE, tls.accept(stream)).await else { return };
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(|chain| chain.first()).map(|first| Arc::<[u8]>::from(first.as_ref()));
    speak(TokioIo::new(stream), certificate, desk, known).await;
}

async fn speak<S>(stream: S, certificate: Option<Arc<[u8]>>, desk: Arc<Desk>, known: Known)
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let serve =
        service_fn(move |request| answer::answer(request, certificate.clone(), Arc::clone(&desk), known.clone()));
    // Whoever broke off has read enough.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(64 << 10)
        .serve_connection(stream, serve)
        .await;
}

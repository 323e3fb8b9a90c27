//! `weirctl serve`: the admin API. The verbs of the command line over HTTP, with tokens or clients' certificates, roles, and an audit log.
//!
//! Stateless over its store: tokens are read from it with each request, so several may run, and a token that is revoked ends at
//! once. Commands block, so each has a thread; there are few of them.

mod answer;
mod door;

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

/// Operators are few; strangers get no more of this than so many connections.
const CONNECTIONS_MAX: usize = 128;
/// Each holds a thread, and may wait for nodes.
const COMMANDS_MAX: usize = 16;
/// For a request's head and between two requests of a connection.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// What every request needs.
pub struct Desk {
    pub place: Place,
    pub log: Log,
    pub commands: Semaphore,
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
        .max_blocking_threads(COMMANDS_MAX)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let desk =
        Arc::new(Desk { place: place.clone(), log: Log::of(&place.state), commands: Semaphore::new(COMMANDS_MAX) });
    runtime.block_on(async {
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
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&connections).acquire_owned().await else { return Ok(()) };
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let (desk, tls) = (Arc::clone(&desk), tls.clone());
                        tokio::spawn(async move {
                            connection(stream, tls, desk).await;
                            drop(place);
                        });
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                },
                _ = terminate.recv() => return Ok(()),
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
        }
    })
}

async fn connection(stream: tokio::net::TcpStream, tls: Option<tokio_rustls::TlsAcceptor>, desk: Arc<Desk>) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return speak(TokioIo::new(stream), None, desk).await };
    let Ok(Ok(stream)) = tokio::time::timeout(HEAD_PATIENCE, tls.accept(stream)).await else { return };
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(|chain| chain.first()).map(|first| Arc::<[u8]>::from(first.as_ref()));
    speak(TokioIo::new(stream), certificate, desk).await;
}

async fn speak<S>(stream: S, certificate: Option<Arc<[u8]>>, desk: Arc<Desk>)
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let serve = service_fn(move |request| answer::answer(request, certificate.clone(), Arc::clone(&desk)));
    // Whoever broke off has read enough.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(64 << 10)
        .serve_connection(stream, serve)
        .await;
}

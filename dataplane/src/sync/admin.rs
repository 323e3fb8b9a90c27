//! The admin listener: `/metrics`, `/live`, `/ready`, `/status`, `/shapes`. Never on the data port.

use std::collections::VecDeque;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use weir_shared::fault::Code;

use super::candidates;
use super::follow::State;
use super::lately::Judged;
use super::mirrors;
use super::shapes;
use crate::clock;
use crate::core::Phase;
use crate::gauge::{self, BUCKETS, Counter, Timing};
use crate::live::Newest;
use crate::memory;
use crate::route::line;
use crate::wire::http1::{self, Method};

/// What the rare counters of the control thread are rendered from.
pub type Recorder = PrometheusHandle;

/// To be called before anything is counted.
pub fn install_recorder() -> Recorder {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    // Only one process-wide recorder can be set, and nobody else sets one.
    let _ = metrics::set_global_recorder(recorder);
    handle
}

struct Desk {
    phase: Arc<Phase>,
    newest: Arc<Newest>,
    state: Arc<State>,
    recorder: PrometheusHandle,
    driver: &'static str,
    journal: PathBuf,
    /// One at a time: it reads the journal.
    sampling: tokio::sync::Semaphore,
}

pub async fn serve(
    listener: std::net::TcpListener,
    phase: Arc<Phase>,
    newest: Arc<Newest>,
    state: Arc<State>,
    recorder: PrometheusHandle,
    driver: &'static str,
    journal: PathBuf,
) {
    let sampling = tokio::sync::Semaphore::new(1);
    let desk = Arc::new(Desk { phase, newest, state, recorder, driver, journal, sampling });
    let Ok(listener) = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener)) else {
        return;
    };
    let mut open = VecDeque::with_capacity(CONNECTIONS_MAX);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        open.retain(|connection: &JoinHandle<()>| !connection.is_finished());
        if open.len() >= CONNECTIONS_MAX
            && let Some(oldest) = open.pop_front()
        {
            // Whoever asks is answered at once: the oldest is the one that holds its place without a word.
            oldest.abort();
        }
        let desk = Arc::clone(&desk);
        open.push_back(tokio::spawn(async move {
            let _ = tokio::time::timeout(Duration::from_secs(10), answer(stream, &desk)).await;
        }));
    }
}

/// Operators and scrapers are few; strangers who found the port get no more of us than this.
const CONNECTIONS_MAX: usize = 64;

async fn answer(mut stream: TcpStream, desk: &Desk) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(4 << 10);
    let mut progress = http1::Progress::default();
    let Answer { status, kind, body, more } = loop {
        match http1::request(&bytes, &mut progress) {
            Ok(Some(head)) => {
                let path = String::from_utf8_lossy(head.target(&bytes)).into_owned();
                let (path, query) = path.split_once('?').unwrap_or((&path, ""));
                break match (head.method, path) {
                    (Method::Get, "/shapes") => sampled(desk, query).await,
                    (method, path) => respond(desk, method, path),
                };
            }
            Ok(None) => {}
            Err(_) => break Answer::plain(400, "bad request\n"),
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    let reason = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Status");
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n{more}connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await
}

struct Answer {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
    /// Fields of the head, each with its end of line.
    more: String,
}

impl Answer {
    fn plain(status: u16, text: &str) -> Self {
        Self { status, kind: "text/plain", body: text.into(), more: String::new() }
    }

    fn json(status: u16, text: String) -> Self {
        Self { status, kind: "application/json", body: text.into_bytes(), more: String::new() }
    }
}

fn respond(desk: &Desk, method: Method, path: &str) -> Answer {
    if !matches!(method, Method::Get | Method::Head) {
        return Answer::plain(405, "only GET\n");
    }
    match path {
        "/live" => Answer::json(200, "{\"live\":true}\n".into()),
        "/ready" => {
            let (ready, body) = readiness(desk);
            Answer::json(if ready { 200 } else { 503 }, body)
        }
        "/status" => Answer::json(200, status(desk)),
        "/metrics" => Answer { kind: "text/plain; version=0.0.4", ..Answer::plain(200, &metrics_text(desk)) },
        _ => Answer::plain(404, "try /live, /ready, /status, /metrics or /shapes\n"),
    }
}

/// `/shapes?since=SECONDS&most=N`: what was asked of this node since then, as a journal of at most so many records.
async fn sampled(desk: &Desk, query: &str) -> Answer {
    let number = |name: &str| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse::<u64>().ok())
    };
    let Ok(_one) = desk.sampling.try_acquire() else {
        return Answer::plain(503, "somebody else is reading the journal; try again\n");
    };
    let since = number("since").unwrap_or_else(|| clock::wall_seconds().saturating_sub(shapes::USUAL_SECONDS));
    let most = number("most").map_or(shapes::RECORDS_MAX, |most| (most as usize).min(shapes::RECORDS_MAX));
    let folder = desk.journal.clone();
    match tokio::task::spawn_blocking(move || shapes::sample(&folder, since, most)).await {
        Ok(Ok(sample)) => Answer {
            kind: "application/octet-stream",
            more: format!("x-weir-requests: {}\r\nx-weir-records: {}\r\n", sample.requests, sample.records),
            body: sample.journal,
            status: 200,
        },
        Ok(Err(error)) => Answer::plain(503, &format!("the journal cannot be read: {error}\n")),
        Err(_) => Answer::plain(500, "the journal could not be read\n"),
    }
}

/// Ready does not depend on the store: the last good configuration serves for as long as it must.
fn readiness(desk: &Desk) -> (bool, String) {
    let configured = desk.newest.get().is_some();
    let draining = desk.phase.is_draining();
    let journal_full = gauge::totals().journals_full > 0;
    // The first tokens are under way; when one cannot be had, the others serve.
    let settled = desk.state.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().all(|kept| kept.is_settled());
    let ready = configured && settled && !draining && !journal_full;
    let stale = desk.state.stale.load(Ordering::Relaxed);
    let value = serde_json::json!({
        "ready": ready, "configured": configured, "tokens_tried": settled, "stale": stale, "draining": draining, "journal_full": journal_full,
    });
    (ready, format!("{value}\n"))
}

fn status(desk: &Desk) -> String {
    let page = desk.state.page.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let totals = gauge::totals();
    let looked_at = desk.state.looked_at.load(Ordering::Relaxed);
    let mut value = serde_json::json!({
        "node": page,
        "driver": desk.driver,
        "cores": totals.heartbeats_ms.len(),
        "cores_out": totals.cores_out,
        "memory": { "held_bytes": memory::held(), "limit_bytes": memory::limit() },
        "store": { "stale": desk.state.stale.load(Ordering::Relaxed), "age_seconds": clock::wall_seconds().saturating_sub(looked_at) },
        "connections_open": totals.of(Counter::ConnectionsOpen),
        "requests_in_flight": totals.of(Counter::InFlight),
        "requests": totals.of(Counter::Requests),
        "judged": Judged::of(&totals),
        "lately": desk.state.lately.since(),
    });
    if let Some(live) = desk.newest.get() {
        value["candidates"] = candidates::status(&live);
        let catalog = &live.snapshot.catalog;
        value["models"] = catalog.models.len().into();
        value["keys"] = live.snapshot.keys().count().into();
        value["vendors"] = catalog
            .vendors
            .iter()
            .zip(&live.targets)
            .map(|(vendor, target)| {
                let now = clock::wall_ns() / 1_000_000;
                let usable = target.secrets.iter().flatten().filter(|secret| secret.shown(|| now).is_some()).count();
                let resting = target.secrets.iter().flatten().filter(|secret| secret.rests(clock::now())).count();
                serde_json::json!({
                    "name": &*vendor.name, "dialect": vendor.dialect.name(), "credentials": usable, "resting": resting,
                    "addresses": target.addresses.get().len(),
                })
            })
            .collect();
    }
    format!("{value:#}\n")
}

fn metrics_text(desk: &Desk) -> String {
    let totals = gauge::totals();
    let mut out = desk.recorder.render();
    for &counter in Counter::ALL {
        let (name, kind, help) = counter.describe();
        let value = totals.of(counter);
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
    let _ =
        writeln!(out, "# HELP weir_refusals_total Calls not answered, by reason.\n# TYPE weir_refusals_total counter");
    for (&code, count) in Code::ALL.iter().zip(totals.refusals) {
        let _ = writeln!(out, "weir_refusals_total{{code=\"{}\"}} {count}", code.name());
    }
    for &timing in Timing::ALL {
        histogram(&mut out, timing, &totals.timings[timing as usize], totals.timing_sums[timing as usize]);
    }
    let stale = u64::from(desk.state.stale.load(Ordering::Relaxed));
    for (name, help, value) in [
        ("weir_memory_held_bytes", "Bytes of the memory budget in use.", memory::held()),
        ("weir_memory_limit_bytes", "The memory budget.", memory::limit()),
        ("weir_config_stale", "1 while the store cannot be read.", stale),
        ("weir_journal_full", "Cores whose journal has no room for another record.", totals.journals_full),
        ("weir_queue", "Calls that wait for a place at a vendor.", line::waiting() as u64),
        ("weir_cores", "Worker threads.", totals.heartbeats_ms.len() as u64),
        ("weir_cores_out", "Worker threads that have no pulse and take no new connections.", totals.cores_out),
    ] {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    desk.newest.get().iter().for_each(|live| {
        candidates::metrics(live, &mut out);
        mirrors::metrics(live, &mut out);
    });
    let _ = writeln!(
        out,
        "# HELP weir_driver The driver under the runtime.\n# TYPE weir_driver gauge\nweir_driver{{name=\"{}\"}} 1",
        desk.driver
    );
    out
}

fn histogram(out: &mut String, timing: Timing, buckets: &[u64; BUCKETS], sum_us: u64) {
    let (name, help) = timing.describe();
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
    let mut total = 0;
    for (place, count) in buckets.iter().enumerate() {
        total += count;
        // The bucket holds what is below this power of two.
        let micros = 1u64 << place;
        let _ = writeln!(out, "{name}_bucket{{le=\"{}.{:06}\"}} {total}", micros / 1_000_000, micros % 1_000_000);
    }
    let _ = writeln!(
        out,
        "{name}_bucket{{le=\"+Inf\"}} {total}\n{name}_sum {}.{:06}\n{name}_count {total}",
        sum_us / 1_000_000,
        sum_us % 1_000_000
    );
}

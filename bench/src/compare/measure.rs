//! One sample: one workload against one proxy. Every kind of workload is a function that returns named numbers.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Rig;
use super::peer::Proxy;
use super::workload::{Kind, Unit, Workload};
use crate::clock::Moment;
use crate::http::{self, Link};
use crate::load::{self, Mode, Target, target::Wish};
use crate::meter;

/// Numbers by name; what they mean is said in `table`.
pub type Sample = BTreeMap<&'static str, f64>;

pub fn sample(rig: &Rig, workload: &Workload, proxy: Proxy) -> io::Result<Sample> {
    let target = target(rig, workload, &proxy.url, &proxy.key, &proxy.model)?;
    if workload.kind != Kind::Start {
        first_answer(&target, PATIENCE)?;
    }
    match workload.kind {
        Kind::Cost => cost(rig, workload, &proxy, target),
        Kind::Latency | Kind::FirstEvent => latency(rig, workload, target),
        Kind::Idle => idle(workload, &proxy, target),
        Kind::Hangup => hangup(rig, workload, &target),
        Kind::Start => start(&proxy, &target),
    }
}

/// The same without a proxy: what the rig itself adds.
pub fn direct(rig: &Rig, workload: &Workload) -> io::Result<Sample> {
    let url = rig.vendor(workload.tls).url(&workload.scenario).replace("127.0.0.1", "localhost");
    latency(rig, workload, target(rig, workload, &url, "weirbench", "gpt-4o-mini")?)
}

/// Processor time of the proxy for each unit, and its memory for each caller.
fn cost(rig: &Rig, workload: &Workload, proxy: &Proxy, target: Target) -> io::Result<Sample> {
    let family = proxy.family();
    let before_kib = meter::rss_kib(&family);
    let running = load::start(options(workload, target, Mode::Closed(workload.callers)))?;
    std::thread::sleep(workload.warmup());
    let counter = || match workload.unit {
        Unit::Request => running.live.requests.load(Relaxed),
        Unit::Event => running.live.events.load(Relaxed),
    };
    let (from, units, cpu, rig_cpu, machine) =
        (Moment::now(), counter(), meter::cpu_ns(&family), meter::rig_ns(), meter::machine_ns());
    std::thread::sleep(rig.options.window);
    let (units, cpu, rig_cpu) = (counter() - units, meter::cpu_ns(&family) - cpu, meter::rig_ns() - rig_cpu);
    let seconds = from.elapsed().as_secs_f64();
    let others = (meter::machine_ns() - machine).saturating_sub(cpu + rig_cpu);
    let kib = meter::rss_kib(&family).saturating_sub(before_kib);
    let open = running.live.open.load(Relaxed);
    let report = running.stop()?;
    if report.failed > 0 {
        return Err(io::Error::other(format!("{} requests failed: {:?}", report.failed, report.failures)));
    }
    if units == 0 {
        return Err(io::Error::other("nothing was answered"));
    }
    if (open as usize) < workload.callers {
        return Err(io::Error::other(format!("only {open} of {} callers were connected", workload.callers)));
    }
    Ok(BTreeMap::from([
        ("cpu_us", cpu as f64 / 1000.0 / units as f64),
        ("rig_us", rig_cpu as f64 / 1000.0 / units as f64),
        ("per_second", units as f64 / seconds),
        ("kib_each", kib as f64 / workload.callers as f64),
        ("busy", cpu as f64 / 1e9 / seconds),
        ("others", others as f64 / 1e9 / seconds),
    ]))
}

fn latency(rig: &Rig, workload: &Workload, target: Target) -> io::Result<Sample> {
    let mode = if workload.rate > 0 { Mode::Open(workload.rate) } else { Mode::Closed(workload.callers) };
    let mut options = options(workload, target, mode);
    // At 200 requests a second a short window holds too few of the slowest for a p99.
    options.duration = Some(rig.options.window * LATENCY_WINDOWS);
    let report = load::start(options)?.join()?;
    if report.failed > 0 || report.ok == 0 {
        return Err(io::Error::other(format!("{} requests failed: {:?}", report.failed, report.failures)));
    }
    let seen = if workload.kind == Kind::FirstEvent { report.first_event_us } else { report.answer_us };
    Ok(BTreeMap::from([("p50_us", seen.p50 as f64), ("p99_us", seen.p99 as f64)]))
}

/// Memory for each connection that has been answered once and waits.
fn idle(workload: &Workload, proxy: &Proxy, target: Target) -> io::Result<Sample> {
    let family = proxy.family();
    let before = meter::rss_kib(&family);
    let running = load::start(options(workload, target, Mode::Idle(workload.callers)))?;
    let wanted = workload.callers as u64;
    let begun = Moment::now();
    while running.live.requests.load(Relaxed) < wanted && begun.elapsed() < IDLE_PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
    }
    // Buffers go back a while after the storm.
    std::thread::sleep(SETTLE);
    let after = meter::rss_kib(&family);
    let open = running.live.open.load(Relaxed);
    let report = running.stop()?;
    if open < wanted {
        return Err(io::Error::other(format!("only {open} of {wanted} connections are held: {:?}", report.failures)));
    }
    Ok(BTreeMap::from([("kib_each", after.saturating_sub(before) as f64 / wanted as f64)]))
}

/// From the moment a caller closes to the moment the vendor sees it, on the clock that both share.
fn hangup(rig: &Rig, workload: &Workload, target: &Target) -> io::Result<Sample> {
    let vendor = rig.vendor(workload.tls);
    let mut spans = Vec::new();
    for _ in 0..workload.callers {
        // The one before may still be on its way out: its end must not be taken for this one's.
        let quiet = Moment::now();
        while vendor.counter(&workload.scenario).live > 0 && quiet.elapsed() < HANGUP_PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        let aborted = vendor.counter(&workload.scenario).aborted;
        let mut link = link(target, PATIENCE)?;
        link.write_all(&target.request)?;
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while memchr::memmem::find_iter(&seen, b"\n\n").count() < 3 {
            match link.read(&mut buffer)? {
                0 => return Err(io::Error::other(format!("no stream: {}", String::from_utf8_lossy(&seen)))),
                count => seen.extend_from_slice(&buffer[..count]),
            }
        }
        let left = Moment::now();
        drop(link);
        let noticed = loop {
            let counter = vendor.counter(&workload.scenario);
            if counter.aborted > aborted {
                break counter.last_abort_us;
            }
            if left.elapsed() > HANGUP_PATIENCE {
                return Err(io::Error::other("the vendor's connection is open 5 s after the caller left"));
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        spans.push(noticed.saturating_sub(left.0 / 1000));
    }
    spans.sort_unstable();
    let at = |index: usize| spans.get(index).copied().unwrap_or(0) as f64 / 1000.0;
    Ok(BTreeMap::from([("ms", at(spans.len() / 2)), ("max_ms", at(spans.len().saturating_sub(1)))]))
}

/// From exec to the first good answer, and the memory of a gateway that has done nothing else.
fn start(proxy: &Proxy, target: &Target) -> io::Result<Sample> {
    first_answer(target, PATIENCE)?;
    let span = proxy.born.elapsed();
    std::thread::sleep(SETTLE);
    let kib = meter::rss_kib(&proxy.family());
    Ok(BTreeMap::from([("ms", span.as_secs_f64() * 1000.0), ("rss_mib", kib as f64 / 1024.0)]))
}

/// One good answer (of a stream without end: its head), or what was said instead.
fn first_answer(target: &Target, patience: Duration) -> io::Result<()> {
    let mut link = link(target, patience)?;
    link.write_all(&target.request)?;
    link.flush()?;
    if !target.stream {
        let answer = http::receive(&mut link);
        return match (answer.status, &answer.broken) {
            (200, None) => Ok(()),
            (status, broken) => {
                Err(io::Error::other(format!("the first answer: {status} {broken:?} {}", answer.text())))
            }
        };
    }
    let mut head = [0; 1024];
    let count = link.read(&mut head)?;
    let head = String::from_utf8_lossy(&head[..count]);
    if head.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(io::Error::other(format!("the first answer: {head}"))) }
}

fn link(target: &Target, patience: Duration) -> io::Result<Link> {
    Link::open(target.address, target.tls.as_ref().map(|(config, _)| config), patience)
}

fn target(rig: &Rig, workload: &Workload, url: &str, key: &str, model: &str) -> io::Result<Target> {
    let ca = rig.ca();
    let mut target = Target::new(&Wish {
        url,
        key,
        dialect: workload.caller,
        model,
        stream: workload.stream,
        body_bytes: workload.body_bytes,
        turns: workload.turns,
        tls_ca: workload.tls.then_some(ca.as_path()),
    })?;
    // `localhost` may mean ::1 first; the proxies listen on 127.0.0.1.
    target.address =
        ("127.0.0.1", target.address.port()).to_socket_addrs()?.next().unwrap_or(target.address as SocketAddr);
    Ok(target)
}

fn options(workload: &Workload, target: Target, mode: Mode) -> load::Options {
    load::Options {
        target,
        mode,
        duration: None,
        requests: None,
        warmup: if workload.kind == Kind::Idle { Duration::ZERO } else { workload.warmup() },
        keepalive: true,
        judge: false,
        patience: Duration::from_secs(30),
        connections_max: load::CONNECTIONS_MAX,
        pin: None,
    }
}

/// Ten thousand connections, each with one request.
const IDLE_PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(20);
const LATENCY_WINDOWS: u32 = 3;
const SETTLE: Duration = Duration::from_millis(1500);
const HANGUP_PATIENCE: Duration = Duration::from_secs(5);

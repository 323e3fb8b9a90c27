//! The load against the synthetic vendor, in one process.

use std::time::Duration;

use super::{Dialect, Mode, Options, Report, Target, start, target::Wish};
use crate::provider::{self, Handle};

fn load(vendor: &Handle, words: &str, mode: Mode, change: impl FnOnce(&mut Wish<'_>, &mut Settings)) -> Report {
    let url = vendor.url(words);
    let mut wish = Wish {
        url: &url,
        key: "k",
        dialect: Dialect::Openai,
        model: "m",
        stream: false,
        body_bytes: 300,
        turns: 1,
        tls_ca: None,
    };
    let mut settings = Settings { requests: Some(200), duration: None, keepalive: true, judge: false };
    change(&mut wish, &mut settings);
    start(Options {
        target: Target::new(&wish).unwrap(),
        mode,
        duration: settings.duration,
        requests: settings.requests,
        warmup: Duration::ZERO,
        keepalive: settings.keepalive,
        judge: settings.judge,
        patience: Duration::from_secs(2),
        connections_max: super::CONNECTIONS_MAX,
        pin: None,
    })
    .unwrap()
    .join()
    .unwrap()
}

struct Settings {
    requests: Option<u64>,
    duration: Option<Duration>,
    keepalive: bool,
    judge: bool,
}

fn vendor() -> Handle {
    provider::start(provider::Options::default()).unwrap()
}

#[test]
fn every_dialect_unary_and_streamed_is_judged_good() {
    let vendor = vendor();
    for dialect in [Dialect::Openai, Dialect::Responses, Dialect::Anthropic, Dialect::Gemini] {
        for stream in [false, true] {
            let report = load(&vendor, "", Mode::Closed(8), |wish, settings| {
                (wish.dialect, wish.stream) = (dialect, stream);
                settings.judge = true;
            });
            assert_eq!((report.failed, report.ok >= 200), (0, true), "{dialect:?} {stream}: {:?}", report.failures);
            assert_eq!(report.events > 0, stream);
        }
    }
}

#[test]
fn failures_are_counted_by_reason() {
    let vendor = vendor();
    for (words, reason) in [
        ("error=503", "status 503"),
        ("fault=eof@3", "closed in the body"),
        ("done=no", "no legal end"),
        ("fault=accept_close", "closed before an answer"),
        ("fault=reset@3", "read: connection reset"),
    ] {
        let report =
            load(&vendor, words, Mode::Closed(4), |wish, settings| (wish.stream, settings.requests) = (true, Some(20)));
        let reasons: Vec<&str> = report.failures.keys().map(String::as_str).collect();
        assert_eq!((report.ok, reasons), (0, vec![reason]), "{words}");
    }
}

#[test]
fn an_open_loop_keeps_its_rate_and_counts_from_when_it_was_due() {
    let vendor = vendor();
    let report = load(&vendor, "", Mode::Open(500), |_, settings| {
        (settings.requests, settings.duration) = (None, Some(Duration::from_millis(400)));
    });
    assert!((150..=201).contains(&report.requests), "{}", report.requests);
    // The vendor answers after 100 ms; nobody may look faster than that.
    let slow = load(&vendor, "ttfb=100ms", Mode::Open(200), |_, settings| settings.requests = Some(40));
    assert!(slow.latency_us.p50 >= 100_000, "{:?}", slow.latency_us);
}

#[test]
fn connections_are_kept_or_not() {
    let vendor = vendor();
    load(&vendor, "name=kept", Mode::Closed(4), |_, _| {});
    assert_eq!(vendor.counter("name=kept").connections, 4);
    load(&vendor, "name=fresh", Mode::Closed(4), |_, settings| settings.keepalive = false);
    assert!(vendor.counter("name=fresh").connections >= 200);
    load(&vendor, "name=stale,staleclose", Mode::Closed(4), |_, settings| settings.keepalive = false);
    let idle = load(&vendor, "name=idle", Mode::Idle(150), |_, settings| {
        (settings.requests, settings.duration) = (None, Some(Duration::from_millis(400)));
    });
    assert_eq!((idle.held_connections, idle.failed), (150, 0), "{:?}", idle.failures);
}

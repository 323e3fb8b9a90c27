//! What a core counts. Each core writes its own array and nobody else does; the exporter adds them up when it is asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use weir_shared::fault::Code;

macro_rules! counters {
    ($($(#[$doc:meta])* $counter:ident $name:literal $kind:ident $help:literal,)+) => {
        #[derive(Clone, Copy, Debug)]
        #[repr(usize)]
        pub enum Counter { $($(#[$doc])* $counter,)+ }

        impl Counter {
            pub const ALL: &[Self] = &[$(Self::$counter,)+];
            const COUNT: usize = Self::ALL.len();

            /// Name, type and meaning, as Prometheus wants them.
            pub fn describe(self) -> (&'static str, &'static str, &'static str) {
                match self { $(Self::$counter => ($name, stringify!($kind), $help),)+ }
            }
        }
    };
}

counters! {
    Connections "weir_connections_total" counter "Connections accepted from callers.",
    ConnectionsOpen "weir_connections_open" gauge "Connections of callers open now.",
    ConnectionsRefused "weir_connections_refused_total" counter "Connections closed at once, for want of descriptors or handshake slots.",
    HandshakesFailed "weir_tls_handshakes_failed_total" counter "TLS handshakes with callers that failed.",
    Requests "weir_requests_total" counter "Requests whose head was read.",
    Admitted "weir_requests_admitted_total" counter "Requests admitted to a vendor.",
    InFlight "weir_requests_in_flight" gauge "Requests being answered now.",
    Completed "weir_requests_completed_total" counter "Admitted requests that were answered whole.",
    Failed "weir_requests_failed_total" counter "Admitted requests that failed before anything was delivered.",
    Cancelled "weir_requests_cancelled_total" counter "Admitted requests whose caller went away.",
    Partial "weir_requests_partial_total" counter "Admitted requests that a vendor broke off.",
    Events "weir_stream_events_total" counter "Events forwarded to callers.",
    EventsFast "weir_stream_events_fast_total" counter "Events that a learned template recognised.",
    EventsDropped "weir_stream_events_dropped_total" counter "Malformed events left out for a lenient vendor.",
    Heartbeats "weir_stream_heartbeats_total" counter "Signs of life sent in a vendor's silence.",
    BytesFromCallers "weir_bytes_from_callers_total" counter "Bytes of request bodies.",
    BytesToCallers "weir_bytes_to_callers_total" counter "Bytes of answers.",
    UpstreamCalls "weir_upstream_calls_total" counter "Calls made to vendors.",
    UpstreamConnects "weir_upstream_connects_total" counter "Connections opened to vendors.",
    UpstreamReused "weir_upstream_reused_total" counter "Calls that took a pooled connection.",
    UpstreamStale "weir_upstream_stale_total" counter "Pooled connections that turned out to be gone.",
    UpstreamTlsFailed "weir_upstream_tls_failed_total" counter "TLS handshakes with vendors that failed.",
    CredentialsSkipped "weir_upstream_credentials_skipped_total" counter "Calls that went to the next credential.",
    Lost "weir_requests_lost_total" counter "Requests refused for their model that the catalog before would have served.",
    Failovers "weir_failovers_total" counter "Calls that went on to another candidate.",
    Hedges "weir_hedges_total" counter "Second candidates that were asked beside the first, because it was late or the route races.",
    HedgesWon "weir_hedges_won_total" counter "Of these, the ones that answered sooner.",
    FannedOut "weir_fanned_out_total" counter "Calls of routes with several answers, of which at least one came.",
    Mirrored "weir_mirrored_total" counter "Copies of calls that were sent to the models that routes mirror to.",
    Continuations "weir_continuations_total" counter "Calls that were to go on with an answer that broke off.",
    Shed "weir_shed_total" counter "Calls that a core under strain did not take.",
    Queued "weir_queued_total" counter "Calls that waited for a place at a vendor whose credentials were at their limits.",
    Retries "weir_retries_total" counter "Calls that were said again to the same candidate.",
    UsageEstimated "weir_usage_estimated_total" counter "Records whose usage is our own count.",
    LogLinesLost "weir_log_lines_lost_total" counter "Log lines dropped because nobody took them in time.",
    Panics "weir_panics_total" counter "Requests that ended in a panic.",
    CostNano "weir_cost_nanodollars_total" counter "What vendors charge, in nano-dollars.",
    SaleNano "weir_sale_nanodollars_total" counter "What callers pay, in nano-dollars.",
    TokensIn "weir_tokens_input_total" counter "Tokens of prompts, all classes.",
    TokensOut "weir_tokens_output_total" counter "Tokens of answers, all classes.",
}

/// Powers of two of microseconds: 1 µs to over an hour.
pub const BUCKETS: usize = 33;

#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub enum Timing {
    /// From the request's head to the answer's first byte towards the caller.
    FirstByte,
    Total,
    /// What the gateway itself added before the vendor was called.
    Admission,
}

impl Timing {
    pub const ALL: &[Self] = &[Self::FirstByte, Self::Total, Self::Admission];
    const COUNT: usize = 3;

    pub fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::FirstByte => ("weir_first_byte_seconds", "From a request's head to the first byte of its answer."),
            Self::Total => ("weir_request_seconds", "From a request's head to the end of its answer."),
            Self::Admission => ("weir_admission_seconds", "From a request's head to the call to the vendor."),
        }
    }
}

/// One core's counts. Aligned, so that two cores never write to one cache line.
#[repr(align(128))]
pub struct Gauges {
    counters: [AtomicU64; Counter::COUNT],
    refusals: [AtomicU64; Code::ALL.len()],
    timings: [[AtomicU64; BUCKETS]; Timing::COUNT],
    timing_sums: [AtomicU64; Timing::COUNT],
    pub heartbeat_ms: AtomicU64,
    /// 1 while the core's journal has no room for another record.
    pub journal_full: AtomicU64,
    /// 1 while it takes no new connections because it has no pulse.
    pub out: AtomicU64,
}

impl Gauges {
    pub fn add(&self, counter: Counter, count: u64) {
        bump(&self.counters[counter as usize], count);
    }

    pub fn sub(&self, counter: Counter, count: u64) {
        bump(&self.counters[counter as usize], count.wrapping_neg());
    }

    pub fn refused(&self, code: Code) {
        bump(&self.refusals[code as usize], 1);
    }

    pub fn time(&self, timing: Timing, micros: u64) {
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        bump(&self.timings[timing as usize][bucket.min(BUCKETS - 1)], 1);
        bump(&self.timing_sums[timing as usize], micros);
    }
}

/// One writer: a load and a store, no locked instruction.
fn bump(cell: &AtomicU64, count: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

static CORES: Mutex<Vec<Arc<Gauges>>> = Mutex::new(Vec::new());

/// Counters for one more core.
pub fn for_core() -> Arc<Gauges> {
    let zero = || AtomicU64::new(0);
    let gauges = Arc::new(Gauges {
        counters: std::array::from_fn(|_| zero()),
        refusals: std::array::from_fn(|_| zero()),
        timings: std::array::from_fn(|_| std::array::from_fn(|_| zero())),
        timing_sums: std::array::from_fn(|_| zero()),
        heartbeat_ms: AtomicU64::new(0),
        journal_full: AtomicU64::new(0),
        out: AtomicU64::new(0),
    });
    CORES.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&gauges));
    gauges
}

/// The sum over all cores.
pub struct Totals {
    pub counters: [u64; Counter::COUNT],
    pub refusals: [u64; Code::ALL.len()],
    pub timings: [[u64; BUCKETS]; Timing::COUNT],
    pub timing_sums: [u64; Timing::COUNT],
    pub heartbeats_ms: Vec<u64>,
    pub journals_full: u64,
    pub cores_out: u64,
}

impl Totals {
    pub fn of(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }
}

pub fn totals() -> Totals {
    let mut totals = Totals {
        counters: [0; Counter::COUNT],
        refusals: [0; Code::ALL.len()],
        timings: [[0; BUCKETS]; Timing::COUNT],
        timing_sums: [0; Timing::COUNT],
        heartbeats_ms: Vec::new(),
        journals_full: 0,
        cores_out: 0,
    };
    let add = |sums: &mut [u64], cells: &[AtomicU64]| {
        for (sum, cell) in sums.iter_mut().zip(cells) {
            *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
        }
    };
    for core in CORES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        add(&mut totals.counters, &core.counters);
        add(&mut totals.refusals, &core.refusals);
        for (sums, cells) in totals.timings.iter_mut().zip(&core.timings) {
            add(sums, cells);
        }
        add(&mut totals.timing_sums, &core.timing_sums);
        totals.cores_out += core.out.load(Ordering::Relaxed);
        totals.journals_full += core.journal_full.load(Ordering::Relaxed);
        totals.heartbeats_ms.push(core.heartbeat_ms.load(Ordering::Relaxed));
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_gauges_go_down() {
        let (one, two) = (for_core(), for_core());
        let before = totals().of(Counter::InFlight);
        one.add(Counter::InFlight, 3);
        two.add(Counter::InFlight, 1);
        two.sub(Counter::InFlight, 1);
        assert_eq!(totals().of(Counter::InFlight) - before, 3);
        one.time(Timing::Total, 0);
        one.time(Timing::Total, u64::MAX);
        let timings = totals().timings[Timing::Total as usize];
        assert!(timings[0] >= 1 && timings[BUCKETS - 1] >= 1);
    }
}

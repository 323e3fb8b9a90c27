//! What a load saw, for people and for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::histogram::Histogram;

#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub seconds: f64,
    pub requests: u64,
    pub ok: u64,
    pub failed: u64,
    pub failures: BTreeMap<String, u64>,
    pub events: u64,
    pub bytes: u64,
    pub requests_per_second: f64,
    pub events_per_second: f64,
    /// From the moment a request was due.
    pub latency_us: Quantiles,
    /// From the moment it left: what the other side took, without the rig's own lateness.
    pub answer_us: Quantiles,
    /// Of those that were answered, and not with the answer: from the moment they were due.
    pub refused_us: Quantiles,
    /// Streams only: from the moment the request was due to its first event.
    pub first_event_us: Quantiles,
    /// How late requests left, open loop only: the rig's own fault, in every latency above.
    pub late_us: Quantiles,
    /// Requests that were due and not sent when the time was over.
    pub unsent: u64,
    /// Processor time of the load itself.
    pub cpu_us_per_request: f64,
    pub cpu_us_per_event: f64,
    pub held_connections: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Quantiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
    pub mean: u64,
}

impl Quantiles {
    pub fn of(histogram: &Histogram) -> Quantiles {
        let micros = |span: std::time::Duration| span.as_micros() as u64;
        Quantiles {
            p50: micros(histogram.at(500)),
            p90: micros(histogram.at(900)),
            p99: micros(histogram.at(990)),
            p999: micros(histogram.at(999)),
            max: micros(histogram.max()),
            mean: micros(histogram.mean()),
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "requests     {} in {:.1} s: {:.0}/s, {} failed",
            self.requests, self.seconds, self.requests_per_second, self.failed
        )?;
        for (reason, count) in &self.failures {
            writeln!(f, "  failed     {count} × {reason}")?;
        }
        if self.events > 0 {
            writeln!(f, "events       {}: {:.0}/s", self.events, self.events_per_second)?;
        }
        let mut line = |name: &str, q: &Quantiles| {
            writeln!(
                f,
                "{name:<12} p50 {} µs  p90 {} µs  p99 {} µs  p99.9 {} µs  max {} µs",
                q.p50, q.p90, q.p99, q.p999, q.max
            )
        };
        line("latency", &self.latency_us)?;
        if self.first_event_us.max > 0 {
            line("first event", &self.first_event_us)?;
        }
        if self.late_us.max > 0 {
            line("sent late", &self.late_us)?;
        }
        if self.unsent > 0 {
            writeln!(f, "unsent       {} were due and never sent", self.unsent)?;
        }
        if self.held_connections > 0 {
            writeln!(f, "idle         {} connections held", self.held_connections)?;
        }
        write!(f, "own cost     {:.2} µs of processor a request", self.cpu_us_per_request)?;
        if self.events > 0 {
            write!(f, ", {:.2} µs an event", self.cpu_us_per_event)?;
        }
        Ok(())
    }
}

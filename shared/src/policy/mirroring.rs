//! A share of a route's calls that another model gets as well, to see how it would do: its answers reach nobody, what they
//! cost is the operator's, and how they compare stands in the metrics.
//!
//! ```toml
//! [route.mirror]
//! to = "anthropic/claude-haiku-4-5"   # one model of one vendor
//! percent = 5
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorDraft {
    pub to: String,
    pub percent: u32,
}

/// Of one route.
#[derive(Debug)]
pub struct Mirror {
    /// As the operator wrote it.
    pub to: Arc<str>,
    /// Its place in the catalog.
    pub model: u32,
    pub percent: u32,
    /// Outlives a change of the folder.
    pub tally: Arc<MirrorTally>,
}

/// One of the two answers to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Side {
    pub is_good: bool,
    /// Of an answer in one piece: when all of it was there.
    pub first_byte_us: u64,
    pub total_us: u64,
    pub tokens_out: u64,
    pub cost_nano: u64,
}

/// How the two did, over all calls that were mirrored.
#[derive(Debug, Default)]
pub struct MirrorTally {
    /// By who answered well: both, only the one that counts, only the mirror, neither.
    pub outcomes: [AtomicU64; 4],
    /// Drawn, and not sent, for whatever reason.
    pub not_sent: AtomicU64,
    /// Sums over the calls that both answered well.
    pub original: Sums,
    pub mirror: Sums,
}

#[derive(Debug, Default)]
pub struct Sums {
    pub first_byte_us: AtomicU64,
    pub total_us: AtomicU64,
    pub tokens_out: AtomicU64,
    pub cost_nano: AtomicU64,
}

impl MirrorTally {
    pub const OUTCOMES: [&str; 4] = ["both", "only_original", "only_mirror", "neither"];

    pub fn compare(&self, original: Side, mirror: Side) {
        let outcome = match (original.is_good, mirror.is_good) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        };
        self.outcomes[outcome].fetch_add(1, Ordering::Relaxed);
        if outcome == 0 {
            self.original.add(original);
            self.mirror.add(mirror);
        }
    }
}

impl Sums {
    fn add(&self, side: Side) {
        self.first_byte_us.fetch_add(side.first_byte_us, Ordering::Relaxed);
        self.total_us.fetch_add(side.total_us, Ordering::Relaxed);
        self.tokens_out.fetch_add(side.tokens_out, Ordering::Relaxed);
        self.cost_nano.fetch_add(side.cost_nano, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_both_answered_is_summed_up() {
        let tally = MirrorTally::default();
        let good = |us| Side { is_good: true, total_us: us, tokens_out: 7, ..Side::default() };
        tally.compare(good(10), good(30));
        tally.compare(good(10), Side::default());
        tally.compare(Side::default(), good(30));
        tally.compare(Side::default(), Side::default());
        let counts: Vec<u64> = tally.outcomes.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!(counts, [1, 1, 1, 1]);
        let of = |sums: &Sums| (sums.total_us.load(Ordering::Relaxed), sums.tokens_out.load(Ordering::Relaxed));
        assert_eq!((of(&tally.original), of(&tally.mirror)), ((10, 7), (30, 7)));
    }
}

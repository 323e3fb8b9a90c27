//! How candidates are doing, as all cores of a node see it at once: plain atomics, time as an argument.

mod breaker;
mod pace;
mod quota;

pub use breaker::{Breaker, Standing};
pub use pace::{BUCKETS as PACE_BUCKETS, Pace};
pub use quota::{Left, Quota, Room, Window, Word};

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::policy::resilience::{BreakerRules, Harm};
use crate::routing::{Grade, Vital};

/// One way to an answer: a model by one of its vendor's credentials, for one kind of call.
///
/// Padded to a pair of cache lines: two candidates that two cores use never share one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Health {
    pub breaker: Breaker,
    pub pace: Pace,
    /// Vendors count each model by itself, so this stands here and not with the credential.
    pub quota: Quota,
    /// Until then the vendor wants no more of it (429); milliseconds.
    cool_until: AtomicU64,
    running: AtomicU32,
    pub tally: Tally,
}

/// What became of its attempts, for those who look on.
#[derive(Debug, Default)]
pub struct Tally {
    pub attempts: AtomicU64,
    pub good: AtomicU64,
    pub limited: AtomicU64,
    /// One for each of [`Harm::ALL`].
    pub harms: [AtomicU64; Harm::ALL.len()],
    pub cost_nano: AtomicU64,
    pub tokens_out: AtomicU64,
}

impl Tally {
    pub fn earned(&self, cost_nano: u64, tokens_out: u64) {
        self.cost_nano.fetch_add(cost_nano, Ordering::Relaxed);
        self.tokens_out.fetch_add(tokens_out, Ordering::Relaxed);
    }
}

impl Health {
    /// The vendor said that it has had enough for now.
    pub fn cool(&self, until_ms: u64) {
        self.tally.limited.fetch_add(1, Ordering::Relaxed);
        self.cool_until.fetch_max(until_ms, Ordering::Relaxed);
    }

    pub fn cools_for(&self, now_ms: u64) -> Option<u64> {
        let until = self.cool_until.load(Ordering::Relaxed);
        (until > now_ms).then(|| until - now_ms)
    }

    pub fn begin(&self) {
        self.tally.attempts.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    pub fn end(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    pub fn good(&self, rules: &BreakerRules, now_ms: u64, probe: bool) {
        self.tally.good.fetch_add(1, Ordering::Relaxed);
        self.breaker.good(rules, now_ms, probe);
    }

    pub fn bad(&self, rules: &BreakerRules, harm: Harm, now_ms: u64, probe: bool, dice: u64) {
        self.tally.harms[harm as usize].fetch_add(1, Ordering::Relaxed);
        if rules.counts(harm) {
            self.breaker.bad(rules, now_ms, probe, dice);
        } else if probe {
            // Nothing was learnt; another may try at once.
            self.breaker.give_back(now_ms);
        }
    }

    /// When its breaker lets a call through again.
    pub fn retry_in_ms(&self, rules: &BreakerRules, now_ms: u64) -> u64 {
        match self.breaker.standing(rules, now_ms) {
            Standing::Tripped { retry_in_ms } => retry_in_ms,
            Standing::Passing | Standing::Ramping { .. } | Standing::Due => 0,
        }
    }

    /// What routing goes by. `dice` decides whether a candidate that is coming back takes this call.
    pub fn vital(&self, rules: &BreakerRules, now_ms: u64, dice: u64) -> Vital {
        let grade = match self.breaker.standing(rules, now_ms) {
            _ if self.cools_for(now_ms).is_some() => Grade::Cooling,
            Standing::Passing => Grade::Passing,
            Standing::Ramping { percent } if dice % 100 < u64::from(percent) => Grade::Passing,
            Standing::Ramping { .. } => Grade::HeldBack,
            Standing::Due => Grade::Probe,
            Standing::Tripped { .. } => Grade::Tripped,
        };
        let busy = u8::try_from(self.running()).unwrap_or(u8::MAX);
        Vital { grade, pace: Pace::quantised(self.pace.read(now_ms)), busy }
    }
}

//! One attempt at a candidate, as its health sees it: it begins, perhaps as the probe, and ends in exactly one word.

use weir_shared::catalog::{Model, Vendor};
use weir_shared::health::Health;
use weir_shared::money::Nano;
use weir_shared::policy::resilience::{BreakerRules, Harm};
use weir_shared::routing::{Grade, dice};

use super::quota;
use crate::clock::{self, Nanos};
use crate::wire::http1::AnswerHead;

pub struct Trial<'l> {
    health: &'l Health,
    rules: &'l BreakerRules,
    probe: bool,
    told: bool,
    first_event: bool,
    began: Nanos,
    /// Of this call among those that the vendor counts.
    number: u64,
}

/// A probe that has not come back by then is given up, and another may try.
const PROBE_PATIENCE_MS: u64 = 4_000;

impl<'l> Trial<'l> {
    /// `None`: the candidate's breaker takes no call now.
    /// `dice`: the same that the choice of the candidate went by; a second throw would let through the square of its share.
    pub fn begin(vendor: &'l Vendor, model: &'l Model, credential: usize, dice: u64, now: Nanos) -> Option<Self> {
        let health: &'l Health = model.health.get(credential)?.get();
        let now_ms = now / 1_000_000;
        let grade = health.vital(&vendor.breaker, now_ms, dice).grade;
        let probe = grade == Grade::Probe;
        match grade {
            Grade::Passing | Grade::Cooling => {}
            Grade::Probe if health.breaker.take_probe(now_ms, PROBE_PATIENCE_MS) => {}
            _ => return None,
        }
        health.begin();
        let number = health.quota.send();
        Some(Self { health, rules: &vendor.breaker, probe, told: false, first_event: false, began: now, number })
    }

    /// The head of its answer is there.
    pub fn answered(&self, head: &AnswerHead, bytes: &[u8]) {
        quota::learn(&self.health.quota, self.number, head, bytes);
    }

    /// The answer has begun: how soon is known, and a probe need not wait for a long answer's end.
    pub fn first_event(&mut self, at: Nanos) {
        if std::mem::replace(&mut self.first_event, true) {
            return;
        }
        let micros = at.saturating_sub(self.began) / 1_000;
        self.health.pace.tell(micros, at / 1_000_000);
        if self.rules.first_event_ms_max.is_some_and(|most| micros / 1_000 > most) {
            self.bad(Harm::Slow);
        } else if self.probe {
            self.good();
        }
    }

    pub fn good(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            self.health.good(self.rules, clock::now() / 1_000_000, self.probe);
        }
    }

    /// Said after a good word, it counts all the same: a stream that began well and was cut is harm.
    pub fn bad(&mut self, harm: Harm) {
        let now = clock::now();
        let probe = self.probe && !self.told;
        self.told = true;
        self.health.bad(self.rules, harm, now / 1_000_000, probe, dice(now, 1));
    }

    /// The vendor wants no more for a while. That is no harm, and no good answer either.
    pub fn limited(&mut self, for_ms: u64) {
        let now_ms = clock::now() / 1_000_000;
        self.health.cool(now_ms + for_ms);
        self.give_back(now_ms);
    }

    fn give_back(&mut self, now_ms: u64) {
        if !std::mem::replace(&mut self.told, true) && self.probe {
            self.health.breaker.give_back(now_ms);
        }
    }

    pub fn earned(&self, cost: Nano, tokens_out: u64) {
        self.health.tally.earned(cost.0.unsigned_abs(), tokens_out);
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let now = clock::now();
        if !self.told && !self.first_event {
            self.health.pace.outlasted(now.saturating_sub(self.began) / 1_000, now / 1_000_000);
        }
        self.give_back(now / 1_000_000);
        self.health.end();
    }
}

//! What further attempts may cost when everything is down: half a call for each request, in the whole process.

use std::sync::atomic::{AtomicI64, Ordering};

/// In halves of a call.
pub struct Budget(AtomicI64);

/// What is saved up: a short outage after a long calm is met with this many further calls at once.
const SAVED_MAX: i64 = 2 * 20;
const CALL: i64 = 2;

impl Budget {
    pub const fn new() -> Self {
        Self(AtomicI64::new(SAVED_MAX))
    }

    /// One more request was admitted.
    pub fn earn(&self) {
        // Only when there is something to earn, so that cores do not write to one word for every request in calm times.
        if self.0.load(Ordering::Relaxed) < SAVED_MAX {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether one more call may be made beyond the first of its request.
    pub fn spend(&self) -> bool {
        let take = |saved: i64| (saved >= CALL).then_some(saved - CALL);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// The process has one.
pub static FURTHER_ATTEMPTS: Budget = Budget::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_costs_at_most_half_a_call_more_for_each_request() {
        let budget = Budget::new();
        let mut calls = 0;
        for _ in 0..1_000 {
            budget.earn();
            calls += 1;
            while budget.spend() {
                calls += 1;
            }
        }
        assert!(calls <= 1_000 + 500 + SAVED_MAX as usize / 2, "{calls}");
        assert!(calls >= 1_490, "{calls}");
    }
}

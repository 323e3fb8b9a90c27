//! What further attempts may cost when everything is down: half a call for each request, in the whole process and of each
//! tenant. So a tenant whose calls need them all the time leaves some to the others.

use std::sync::atomic::{AtomicI64, Ordering};

use weir_shared::snapshot::Tenant;

pub struct Budget {
    all: Saved,
    /// Tenants share one when their numbers meet.
    of_tenants: [Saved; TENANTS],
}

/// In halves of a call.
struct Saved(AtomicI64);

/// What is saved up: a short outage after a long calm is met with this many further calls at once.
const SAVED_MAX: i64 = 2 * 20;
/// Of one tenant.
const SAVED_MAX_OF_ONE: i64 = SAVED_MAX / 4 * 3;
const CALL: i64 = 2;
const TENANTS: usize = 64;

impl Saved {
    fn earn(&self, most: i64) {
        // Only when there is something to earn, so that cores do not write to one word for every request in calm times.
        if self.0.load(Ordering::Relaxed) < most {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn spend(&self) -> bool {
        let take = |saved: i64| (saved >= CALL).then_some(saved - CALL);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

impl Budget {
    pub const fn new() -> Self {
        Self {
            all: Saved(AtomicI64::new(SAVED_MAX)),
            of_tenants: [const { Saved(AtomicI64::new(SAVED_MAX_OF_ONE)) }; TENANTS],
        }
    }

    /// One more request of this tenant was admitted.
    pub fn earn(&self, tenant: &Tenant) {
        self.earn_for(tenant.number());
    }

    /// Whether one more call may be made beyond the first of its request.
    pub fn spend(&self, tenant: &Tenant) -> bool {
        self.spend_for(tenant.number())
    }

    fn earn_for(&self, tenant: usize) {
        self.all.earn(SAVED_MAX);
        self.of_tenants[tenant % TENANTS].earn(SAVED_MAX_OF_ONE);
    }

    fn spend_for(&self, tenant: usize) -> bool {
        let own = &self.of_tenants[tenant % TENANTS];
        let may = own.spend();
        if may && !self.all.spend() {
            own.0.fetch_add(CALL, Ordering::Relaxed);
            return false;
        }
        may
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
        for request in 0..1_000 {
            budget.earn_for(request);
            calls += 1;
            while budget.spend_for(request) {
                calls += 1;
            }
        }
        assert!(calls <= 1_000 + 500 + SAVED_MAX as usize / 2, "{calls}");
        assert!(calls >= 1_490, "{calls}");
    }

    #[test]
    fn who_needs_them_all_the_time_leaves_some_to_others() {
        let budget = Budget::new();
        for _ in 0..1_000 {
            budget.earn_for(1);
            while budget.spend_for(1) {}
        }
        let others = (0..100).filter(|_| budget.spend_for(2)).count();
        assert!(others >= 5, "{others}");
    }
}

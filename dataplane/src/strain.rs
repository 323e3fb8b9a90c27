//! How hard pressed a core is, and whose calls it does not take while it is.
//!
//! A timer that comes late, on a core that had work all the time, tells how long everything on it waits; the least late of
//! those within a tick tells how long even the luckiest waited. When that lasts, calls are refused before their bodies are
//! read: of each tenant what is over its share, and the share is what all can have at once. So a noisy tenant is held down to
//! what is left, and one that asks for little is not refused at all. A key's priority weighs its tenant's share.

use std::cell::Cell;

use weir_shared::policy::limit::Priority;

use crate::clock;
use crate::deadline::TICK_MS;

/// Tenants share a place when their numbers meet; more places make that rarer.
const PLACES: usize = 256;
/// A tick that is late once is a large body; so many in a row are too much work.
const LATE_TICKS: u32 = 2;
/// Rates are kept in sixteenths of a call a tick.
const UNIT: u32 = 16;
/// What is left to all tenants together, and bounds of what that is for one: taking it away, too, would relieve nobody. What
/// keeps the core busy then are the refusals.
const LEFT_TO_ALL: u32 = 32 * UNIT;
const LEFT_TO_ONE: std::ops::RangeInclusive<u32> = UNIT / 4..=4 * UNIT;

/// What a tick tells of its core.
#[derive(Clone, Copy)]
pub struct Tick {
    pub ended_ms: u64,
    pub took_ms: u64,
    /// How late the least late of its timers came; 0 on a core that had time to spare.
    pub late_ms: u64,
    /// The core had work all the time.
    pub is_full: bool,
}

pub struct Strain {
    /// Calls in this tick, and the mean of the ticks before.
    asked: [(Cell<u32>, Cell<u32>); PLACES],
    /// What a tenant may have a tick; `u32::MAX`: what it likes.
    share: Cell<u32>,
    late: Cell<u32>,
    last_late_ms: Cell<u64>,
    /// When the tick before ended.
    ended_ms: Cell<u64>,
    /// A tick that is late by more says that callers wait.
    late_ms: u64,
}

impl Strain {
    pub fn new(late_ms: u64) -> Self {
        Self {
            asked: std::array::from_fn(|_| Default::default()),
            share: Cell::new(u32::MAX),
            late: Cell::new(0),
            last_late_ms: Cell::new(0),
            ended_ms: Cell::new(0),
            late_ms,
        }
    }

    /// Whether a call is taken. `dice` decides for those who are over their share.
    pub fn takes(&self, tenant: usize, priority: Priority, dice: u64) -> bool {
        self.takes_at(tenant, priority, dice, clock::coarse_ms())
    }

    fn takes_at(&self, tenant: usize, priority: Priority, dice: u64, now_ms: u64) -> bool {
        let (now, mean) = &self.asked[tenant % PLACES];
        now.set(now.get() + 1);
        let share = self.share.get();
        if share == u32::MAX {
            return true;
        }
        let share = share.saturating_mul(weight(priority)) / weight(Priority::Normal);
        // A tenant's first call in a tick says nothing about how many there will be.
        let lasts_ms = now_ms.saturating_sub(self.ended_ms.get()).max(TICK_MS);
        let begun = u64::from(now.get() - 1) * u64::from(UNIT) * TICK_MS / lasts_ms;
        let rate = mean.get().max(begun as u32);
        rate <= share || dice % u64::from(rate) < u64::from(share)
    }

    /// A tick is over.
    pub fn tick(&self, tick: Tick) {
        let (mut most, mut tenants) = (0, 0);
        for (now, mean) in &self.asked {
            // As many as in a tick that is not late.
            let sample = u64::from(now.take() * UNIT) * TICK_MS / tick.took_ms.max(TICK_MS);
            mean.set(mean.get() - mean.get() / 4 + sample as u32 / 4);
            most = most.max(mean.get());
            tenants += u32::from(mean.get() > 0);
        }
        self.ended_ms.set(tick.ended_ms);
        let before_ms = self.last_late_ms.replace(tick.late_ms);
        self.late.set(if tick.late_ms > self.late_ms { self.late.get() + 1 } else { 0 });
        let share = self.share.get();
        if self.late.get() >= LATE_TICKS {
            let fitting = f64::from(share.min(most)) * self.fitting(before_ms, tick.late_ms);
            let left = (LEFT_TO_ALL / tenants.max(1)).clamp(*LEFT_TO_ONE.start(), *LEFT_TO_ONE.end());
            self.share.set((fitting as u32).max(left));
        } else if self.late.get() == 0 && share != u32::MAX {
            let more = share.saturating_add(share / if tick.is_full { 32 } else { 4 } + 1);
            self.share.set(if more > most.saturating_mul(2) { u32::MAX } else { more });
        }
    }

    /// How much of the share a core can do: of what it took in the last tick so much more waits now than before, and what
    /// waits is to be gone in two ticks.
    fn fitting(&self, before_ms: u64, late_ms: u64) -> f64 {
        let tick = TICK_MS as f64;
        let grown = late_ms as f64 - before_ms as f64;
        let done = tick / (tick + grown).max(1.0);
        let spare = 1.0 - late_ms.saturating_sub(self.late_ms) as f64 / (2.0 * tick);
        (done * spare).clamp(0.4, 1.05)
    }

    pub fn is_shedding(&self) -> bool {
        self.share.get() != u32::MAX
    }
}

fn weight(priority: Priority) -> u32 {
    match priority {
        Priority::High => 16,
        Priority::Normal => 4,
        Priority::Low => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_shared::routing::dice;

    /// A core that serves so many calls a tick; what is more makes it late.
    struct Core {
        strain: Strain,
        capacity: u32,
        waiting: u32,
        drawn: u64,
    }

    impl Core {
        fn new(capacity: u32) -> Self {
            Self { strain: Strain::new(5), capacity, waiting: 0, drawn: 0 }
        }

        /// One tick of these tenants' calls; how many of each are taken.
        fn tick(&mut self, asked: &[(usize, Priority, u32)]) -> Vec<u32> {
            let mut taken = vec![0; asked.len()];
            let most = asked.iter().map(|(.., calls)| *calls).max().unwrap_or(0);
            for turn in 0..most {
                for (place, (tenant, priority, calls)) in asked.iter().enumerate() {
                    if turn < *calls {
                        self.drawn += 1;
                        taken[place] += u32::from(self.strain.takes(*tenant, *priority, dice(self.drawn, 1)));
                    }
                }
            }
            let all: u32 = taken.iter().sum();
            self.waiting = (self.waiting + all).saturating_sub(self.capacity);
            let is_full = all >= self.capacity || self.waiting > 0;
            // A call takes its part of a tick.
            let late_ms = u64::from(self.waiting) * TICK_MS / u64::from(self.capacity);
            self.strain.tick(Tick { ended_ms: 0, took_ms: TICK_MS, late_ms, is_full });
            taken
        }

        fn settle(&mut self, asked: &[(usize, Priority, u32)]) -> Vec<u32> {
            (0..100).for_each(|_| drop(self.tick(asked)));
            let mut sums = vec![0; asked.len()];
            for _ in 0..100 {
                self.tick(asked).iter().zip(&mut sums).for_each(|(taken, sum)| *sum += taken);
            }
            sums
        }
    }

    #[test]
    fn who_asks_for_little_is_not_refused() {
        let mut core = Core::new(100);
        let asked = [(1, Priority::Normal, 300), (2, Priority::Normal, 10)];
        let taken = core.settle(&asked);
        assert_eq!(taken[1], 1_000, "the quiet one");
        assert!((7_000..=11_000).contains(&taken[0]), "the noisy one has what is left: {}", taken[0]);
    }

    #[test]
    fn the_same_for_all_and_more_for_who_comes_first() {
        let mut core = Core::new(100);
        let taken = core.settle(&[(1, Priority::Normal, 200), (2, Priority::Normal, 100)]);
        assert!(taken[0] < taken[1] * 3 / 2, "{taken:?}");
        let mut core = Core::new(100);
        let taken = core.settle(&[(1, Priority::High, 60), (2, Priority::Low, 200)]);
        assert_eq!(taken[0], 6_000, "{taken:?}");
        assert!((1_500..6_000).contains(&taken[1]), "{taken:?}");
    }

    #[test]
    fn it_ends_when_there_is_no_more_strain() {
        let mut core = Core::new(100);
        assert_eq!(core.tick(&[(1, Priority::Normal, 90)]), [90]);
        core.settle(&[(1, Priority::Normal, 400)]);
        assert!(core.strain.is_shedding());
        (0..60).for_each(|_| drop(core.tick(&[(1, Priority::Normal, 50)])));
        assert!(!core.strain.is_shedding());
        assert_eq!(core.tick(&[(1, Priority::Normal, 50)]), [50]);
    }

    /// Three times as much as it can do: what it does is what it can do, and what waits is little.
    #[test]
    fn what_is_taken_is_what_a_core_can_do() {
        for (asked, capacity) in [(300, 100), (3_000, 1_000), (150, 100), (2_000, 100)] {
            let mut core = Core::new(capacity);
            let taken = core.settle(&[(1, Priority::Normal, asked)])[0];
            assert!(taken >= capacity * 95, "{taken} of {}: {asked}", capacity * 100);
            assert!(core.waiting <= capacity / 2, "{} wait: {asked} of {capacity}", core.waiting);
        }
    }

    /// However long it lasts: when refusals alone are too much, refusing who asks for little mends nothing.
    #[test]
    fn a_quiet_tenant_is_served_when_refusals_are_too_much() {
        let strain = Strain::new(5);
        let mut dice_drawn = 0;
        let mut refused = 0;
        for tick in 0..200 {
            for _ in 0..2_000 {
                dice_drawn += 1;
                strain.takes_at(1, Priority::Normal, dice(dice_drawn, 1), 400 * tick);
            }
            // However long a tick is.
            for call in 1..=12 {
                dice_drawn += 1;
                let now_ms = 400 * tick + 30 * call;
                refused += u32::from(!strain.takes_at(2, Priority::Normal, dice(dice_drawn, 2), now_ms));
            }
            let ended_ms = 400 * (tick + 1);
            strain.tick(Tick { ended_ms, took_ms: 400, late_ms: 300, is_full: true });
        }
        assert_eq!(refused, 0, "thirty calls a second");
    }

    #[test]
    fn one_late_tick_is_nothing() {
        let strain = Strain::new(5);
        for _ in 0..100 {
            strain.tick(Tick { ended_ms: 0, took_ms: 1_000, late_ms: 900, is_full: true });
            strain.tick(Tick { ended_ms: 0, took_ms: TICK_MS, late_ms: 0, is_full: false });
        }
        assert!(!strain.is_shedding());
    }
}

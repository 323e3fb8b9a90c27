//! How hard pressed a core is, and whose calls it does not take while it is.
//!
//! A tick that comes late, on a core that had work all the time, tells how long everything on it waits. When that lasts,
//! calls are refused before their bodies are read: of each tenant what is over its share, and the share is what all can have
//! at once. So a noisy tenant is held down to what is left, and one that asks for little is not refused at all. A key's
//! priority weighs its tenant's share.

use std::cell::Cell;

use weir_shared::policy::limit::Priority;

/// Tenants share a place when their numbers meet; more places make that rarer.
const PLACES: usize = 256;
/// A tick that is late once is a large body; so many in a row are too much work.
const LATE_TICKS: u32 = 4;
/// Rates are kept in sixteenths of a call a tick.
const UNIT: u32 = 16;
/// Below this nothing more is taken away.
const SHARE_MIN: u32 = UNIT / 4;

pub struct Strain {
    /// Calls in this tick, and the mean of the ticks before.
    asked: [(Cell<u32>, Cell<u32>); PLACES],
    /// What a tenant may have a tick; `u32::MAX`: what it likes.
    share: Cell<u32>,
    late: Cell<u32>,
    /// A tick that is late by more says that callers wait.
    late_ms: u64,
}

impl Strain {
    pub fn new(late_ms: u64) -> Self {
        Self {
            asked: std::array::from_fn(|_| Default::default()),
            share: Cell::new(u32::MAX),
            late: Cell::new(0),
            late_ms,
        }
    }

    /// Whether a call is taken. `dice` decides for those who are over their share.
    pub fn takes(&self, tenant: usize, priority: Priority, dice: u64) -> bool {
        let (now, mean) = &self.asked[tenant % PLACES];
        now.set(now.get() + 1);
        let share = self.share.get();
        if share == u32::MAX {
            return true;
        }
        let share = share.saturating_mul(weight(priority)) / weight(Priority::Normal);
        let rate = mean.get().max(now.get() * UNIT);
        rate <= share || dice % u64::from(rate) < u64::from(share)
    }

    /// A tick came, so late.
    pub fn tick(&self, late_ms: u64) {
        let mut most = 0;
        for (now, mean) in &self.asked {
            let sample = now.take() * UNIT;
            mean.set(mean.get() - mean.get() / 4 + sample / 4);
            most = most.max(mean.get());
        }
        self.late.set(if late_ms > self.late_ms { self.late.get() + 1 } else { 0 });
        let share = self.share.get();
        if self.late.get() >= LATE_TICKS {
            self.share.set((share.min(most) / 8 * 7).max(SHARE_MIN));
        } else if self.late.get() == 0 && share != u32::MAX {
            let more = share + share / 8 + 1;
            self.share.set(if more > most.saturating_mul(2) { u32::MAX } else { more });
        }
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
        drawn: u64,
    }

    impl Core {
        fn new(capacity: u32) -> Self {
            Self { strain: Strain::new(5), capacity, drawn: 0 }
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
            self.strain.tick(u64::from(all.saturating_sub(self.capacity)));
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

    #[test]
    fn one_late_tick_is_nothing() {
        let strain = Strain::new(5);
        for _ in 0..100 {
            strain.tick(900);
            strain.tick(0);
        }
        assert!(!strain.is_shedding());
    }
}

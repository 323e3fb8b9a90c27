//! A circuit breaker whose states are named by what they do to traffic.
//!
//! ```text
//!   Passing ── so many harms in a row, or too few good answers ──► Tripped ── its time is over ──► Due
//!      ▲                                                             ▲ ▲                            │ one call takes it
//!      │ the ramp is over                              a bad probe,  │ │ any harm                   ▼
//!      └───────────────────────────── Ramping ──────── for longer ───┘ └─────────────────────── (probing)
//!                                        ▲                                                          │
//!                                        └──────────────────── a good probe ────────────────────────┘
//! ```
//!
//! One word holds the state, so that every core sees a change with its next look.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::policy::resilience::BreakerRules;

#[derive(Debug, Default)]
pub struct Breaker {
    state: AtomicU64,
    bad_in_a_row: AtomicU32,
    /// The window's answers, a tenth of it each: when it began (in tenths of the window), good ones, bad ones.
    slices: [AtomicU64; SLICES],
}

const SLICES: usize = 10;

/// What a breaker does to the next call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    Passing,
    /// It takes so many of a hundred calls.
    Ramping {
        percent: u8,
    },
    /// One call may find out whether it is well again.
    Due,
    Tripped {
        retry_in_ms: u64,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Passing,
    Tripped {
        level: u8,
        until_ms: u64,
    },
    /// A call is finding out; when it has not come back by then, another may.
    Probing {
        level: u8,
        until_ms: u64,
    },
    Ramping {
        level: u8,
        since_ms: u64,
    },
}

impl State {
    const LEVEL_MAX: u8 = 40;

    fn word(self) -> u64 {
        let pack = |kind: u64, level: u8, at: u64| kind | u64::from(level) << 2 | at << 8;
        match self {
            Self::Passing => 0,
            Self::Tripped { level, until_ms } => pack(1, level, until_ms),
            Self::Probing { level, until_ms } => pack(2, level, until_ms),
            Self::Ramping { level, since_ms } => pack(3, level, since_ms),
        }
    }

    fn of(word: u64) -> Self {
        let (level, at) = ((word >> 2 & 0x3f) as u8, word >> 8);
        match word & 3 {
            1 => Self::Tripped { level, until_ms: at },
            2 => Self::Probing { level, until_ms: at },
            3 => Self::Ramping { level, since_ms: at },
            _ => Self::Passing,
        }
    }
}

impl Breaker {
    pub fn standing(&self, rules: &BreakerRules, now_ms: u64) -> Standing {
        match self.state() {
            State::Passing => Standing::Passing,
            State::Tripped { until_ms, .. } | State::Probing { until_ms, .. } => match until_ms.checked_sub(now_ms) {
                None | Some(0) => Standing::Due,
                Some(retry_in_ms) => Standing::Tripped { retry_in_ms },
            },
            State::Ramping { since_ms, .. } => match ramped(rules, since_ms, now_ms) {
                100.. => Standing::Passing,
                percent => Standing::Ramping { percent },
            },
        }
    }

    /// Takes the one call that finds out. `patience_ms`: when it has not come back by then, another may try.
    pub fn take_probe(&self, now_ms: u64, patience_ms: u64) -> bool {
        let word = self.state.load(Ordering::Acquire);
        let level = match State::of(word) {
            State::Tripped { level, until_ms } | State::Probing { level, until_ms } if until_ms <= now_ms => level,
            _ => return false,
        };
        let probing = State::Probing { level, until_ms: now_ms + patience_ms }.word();
        self.state.compare_exchange(word, probing, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// A probe ended without finding anything out.
    pub fn give_back(&self, now_ms: u64) {
        let word = self.state.load(Ordering::Acquire);
        if let State::Probing { level, .. } = State::of(word) {
            self.change(word, State::Tripped { level, until_ms: now_ms });
        }
    }

    pub fn good(&self, rules: &BreakerRules, now_ms: u64, probe: bool) {
        let word = self.state.load(Ordering::Acquire);
        match State::of(word) {
            State::Passing => self.passing_good(rules, now_ms),
            State::Probing { level, .. } if probe => self.change(word, State::Ramping { level, since_ms: now_ms }),
            State::Ramping { since_ms, .. } if ramped(rules, since_ms, now_ms) >= 100 => self.recover(word),
            // An answer to a call from before it tripped says nothing about now.
            State::Tripped { .. } | State::Probing { .. } | State::Ramping { .. } => {}
        }
    }

    /// `dice`: any number; two nodes never probe in step.
    pub fn bad(&self, rules: &BreakerRules, now_ms: u64, probe: bool, dice: u64) {
        let word = self.state.load(Ordering::Acquire);
        match State::of(word) {
            State::Passing => self.passing_bad(rules, word, now_ms, dice),
            State::Probing { level, .. } if probe => self.trip(rules, word, level + 1, now_ms, dice),
            State::Ramping { since_ms, .. } if ramped(rules, since_ms, now_ms) >= 100 => {
                self.recover(word);
                self.passing_bad(rules, State::Passing.word(), now_ms, dice);
            }
            State::Ramping { level, .. } => self.trip(rules, word, level, now_ms, dice),
            State::Tripped { .. } | State::Probing { .. } => {}
        }
    }

    fn passing_good(&self, rules: &BreakerRules, now_ms: u64) {
        if self.bad_in_a_row.load(Ordering::Relaxed) != 0 {
            self.bad_in_a_row.store(0, Ordering::Relaxed);
        }
        self.count(rules, now_ms, 1, 0);
    }

    fn passing_bad(&self, rules: &BreakerRules, word: u64, now_ms: u64, dice: u64) {
        let in_a_row = self.bad_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        self.count(rules, now_ms, 0, 1);
        if in_a_row >= rules.in_a_row || self.too_few_good(rules, now_ms) {
            self.trip(rules, word, 0, now_ms, dice);
        }
    }

    fn trip(&self, rules: &BreakerRules, word: u64, level: u8, now_ms: u64, dice: u64) {
        let level = level.min(State::LEVEL_MAX);
        let after = rules.probe_after_ms.saturating_mul(1 << level.min(32)).min(rules.probe_after_ms_max);
        // Half as long to half as long again.
        let jittered = after / 2 + dice % (after + 1);
        self.change(word, State::Tripped { level, until_ms: now_ms + jittered });
    }

    /// The ramp is over: nothing of what was before counts any more.
    fn recover(&self, word: u64) {
        self.change(word, State::Passing);
        self.bad_in_a_row.store(0, Ordering::Relaxed);
        self.slices.iter().for_each(|slice| slice.store(0, Ordering::Relaxed));
    }

    /// Unless somebody else was faster: then their change holds, which saw the same vendor.
    fn change(&self, word: u64, to: State) {
        let _ = self.state.compare_exchange(word, to.word(), Ordering::AcqRel, Ordering::Relaxed);
    }

    fn state(&self) -> State {
        State::of(self.state.load(Ordering::Acquire))
    }

    fn count(&self, rules: &BreakerRules, now_ms: u64, good: u64, bad: u64) {
        let stamp = stamp(rules, now_ms);
        let slice = &self.slices[stamp as usize % SLICES];
        let add = |word: u64| {
            let (began, so_far) = (word >> 32, word & 0xffff_ffff);
            let (old_good, old_bad) = if began == stamp { (so_far & 0xffff, so_far >> 16) } else { (0, 0) };
            let (good, bad) = ((old_good + good).min(0xffff), (old_bad + bad).min(0xffff));
            Some(stamp << 32 | bad << 16 | good)
        };
        let _ = slice.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    fn too_few_good(&self, rules: &BreakerRules, now_ms: u64) -> bool {
        let stamp = stamp(rules, now_ms);
        let (mut good, mut bad) = (0, 0);
        for slice in &self.slices {
            let word = slice.load(Ordering::Relaxed);
            if (word >> 32) + SLICES as u64 > stamp && word >> 32 <= stamp {
                good += word & 0xffff;
                bad += word >> 16 & 0xffff;
            }
        }
        let all = good + bad;
        all >= u64::from(rules.answers_min) && good * 100 < all * u64::from(rules.good_percent_min)
    }
}

/// Tenths of a window since the clock began; it fits 32 bits for decades, and its wrap only empties a window.
fn stamp(rules: &BreakerRules, now_ms: u64) -> u64 {
    (now_ms / (rules.window_ms / SLICES as u64).max(1)) & 0xffff_ffff
}

/// How many of a hundred calls a candidate takes that is coming back; one in twenty at first.
fn ramped(rules: &BreakerRules, since_ms: u64, now_ms: u64) -> u8 {
    const FIRST: u64 = 5;
    let gone = now_ms.saturating_sub(since_ms);
    (FIRST + gone.saturating_mul(100 - FIRST) / rules.ramp_ms.max(1)).min(100) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: fn() -> BreakerRules = BreakerRules::default;
    const T0: u64 = 1_000_000;

    fn tripped(rules: &BreakerRules) -> Breaker {
        let breaker = Breaker::default();
        (0..rules.in_a_row).for_each(|_| breaker.bad(rules, T0, false, 0));
        breaker
    }

    #[test]
    fn seven_in_a_row_trip_it_and_six_do_not() {
        let (rules, breaker) = (RULES(), Breaker::default());
        for _ in 0..5 {
            (0..6).for_each(|_| breaker.bad(&rules, T0, false, 0));
            breaker.good(&rules, T0, false);
            // Not so many answers that their share matters.
            breaker.slices.iter().for_each(|slice| slice.store(0, Ordering::Relaxed));
        }
        assert_eq!(breaker.standing(&rules, T0), Standing::Passing);
        (0..7).for_each(|_| breaker.bad(&rules, T0, false, 500));
        assert_eq!(breaker.standing(&rules, T0), Standing::Tripped { retry_in_ms: 1_000 });
    }

    #[test]
    fn too_few_good_answers_within_the_window_trip_it() {
        let rules = RULES();
        for (bad_every, seconds_apart, trips) in [(4, 0, true), (6, 0, false), (4, 1, false)] {
            let breaker = Breaker::default();
            let mut now = T0;
            for answer in 1..=40 {
                if answer % bad_every == 0 {
                    breaker.bad(&rules, now, false, 0);
                } else {
                    breaker.good(&rules, now, false);
                }
                now += seconds_apart * 1_000;
            }
            let is_tripped = matches!(breaker.standing(&rules, now), Standing::Tripped { .. });
            assert_eq!(is_tripped, trips, "{bad_every} {seconds_apart}");
        }
    }

    #[test]
    fn one_probe_at_a_time_and_each_bad_one_waits_longer() {
        let mut rules = RULES();
        rules.probe_after_ms_max = 60_000;
        let breaker = tripped(&rules);
        let mut now = T0;
        for level in 0..8 {
            let after = (1_000u64 << level).min(60_000);
            let Standing::Tripped { retry_in_ms } = breaker.standing(&rules, now) else { panic!("{level}") };
            assert!((after / 2..=after * 3 / 2).contains(&retry_in_ms), "{level}: {retry_in_ms}");
            assert!(!breaker.take_probe(now + retry_in_ms - 1, 100));
            now += retry_in_ms;
            assert_eq!(breaker.standing(&rules, now), Standing::Due);
            assert!(breaker.take_probe(now, 100) && !breaker.take_probe(now, 100));
            assert!(matches!(breaker.standing(&rules, now), Standing::Tripped { .. }), "others wait for the probe");
            breaker.bad(&rules, now, true, level * 7_919);
        }
    }

    #[test]
    fn a_good_probe_brings_it_back_slowly() {
        let rules = RULES();
        let breaker = tripped(&rules);
        assert!(breaker.take_probe(T0 + 1_500, 1_000));
        // Answers to calls from before do not speak for it.
        breaker.good(&rules, T0 + 1_500, false);
        assert!(matches!(breaker.standing(&rules, T0 + 1_500), Standing::Tripped { .. }));
        breaker.good(&rules, T0 + 1_600, true);
        let percent = |now| match breaker.standing(&rules, now) {
            Standing::Ramping { percent } => percent,
            Standing::Passing => 100,
            other => panic!("{other:?}"),
        };
        assert_eq!(percent(T0 + 1_600), 5);
        assert!((45..60).contains(&percent(T0 + 3_100)));
        assert_eq!(percent(T0 + 4_600), 100);
        breaker.good(&rules, T0 + 4_600, false);
        (0..6).for_each(|_| breaker.bad(&rules, T0 + 4_700, false, 0));
        assert_eq!(breaker.standing(&rules, T0 + 4_700), Standing::Passing, "it starts anew");
    }

    #[test]
    fn harm_on_the_way_back_trips_it_again() {
        let rules = RULES();
        let breaker = tripped(&rules);
        assert!(breaker.take_probe(T0 + 1_500, 1_000));
        breaker.good(&rules, T0 + 1_500, true);
        breaker.bad(&rules, T0 + 1_501, false, 0);
        assert!(matches!(breaker.standing(&rules, T0 + 1_501), Standing::Tripped { .. }));
    }

    #[test]
    fn a_probe_that_is_lost_does_not_keep_it_shut() {
        let rules = RULES();
        let breaker = tripped(&rules);
        assert!(breaker.take_probe(T0 + 1_500, 200));
        assert!(!breaker.take_probe(T0 + 1_699, 200));
        assert!(breaker.take_probe(T0 + 1_700, 200));
        breaker.give_back(T0 + 1_701);
        assert_eq!(breaker.standing(&rules, T0 + 1_701), Standing::Due);
    }

    /// Whatever happens in whatever order, it can always come back, and never lets two probe at once.
    #[test]
    fn every_walk_leads_back_to_traffic() {
        let rules = RULES();
        let mut dice = 9u64;
        let mut roll = move || {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            dice >> 33
        };
        for _ in 0..2_000 {
            let (breaker, mut now) = (Breaker::default(), T0);
            let mut probing = false;
            for _ in 0..60 {
                now += roll() % 700;
                match roll() % 4 {
                    0 => breaker.good(&rules, now, false),
                    1 if !probing => probing = breaker.take_probe(now, 100_000),
                    1 => assert!(!breaker.take_probe(now, 100_000)),
                    2 if probing => {
                        breaker.bad(&rules, now, true, roll());
                        probing = false;
                    }
                    _ => breaker.bad(&rules, now, false, roll()),
                }
            }
            now += 200_000;
            if matches!(breaker.standing(&rules, now), Standing::Due) {
                assert!(breaker.take_probe(now, 1_000));
                breaker.good(&rules, now, true);
            }
            assert_eq!(breaker.standing(&rules, now + rules.ramp_ms), Standing::Passing);
        }
    }
}

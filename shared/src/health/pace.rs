//! How soon a candidate begins to answer: a mean that believes bad news at once and good news slowly, and the moment by
//! which all but one in twenty have begun.

use std::sync::atomic::{AtomicU64, Ordering};

/// Microseconds to the first event.
#[derive(Debug, Default)]
pub struct Pace {
    /// The mean in the upper half, when it was last told (milliseconds, wrapping) in the lower.
    mean: AtomicU64,
    /// The 95th percentile, walked towards with every sample.
    slowest: AtomicU64,
    /// How many took less than a power of two of milliseconds, for those who draw it.
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// From a millisecond to half an hour, and what is longer.
pub const BUCKETS: usize = 22;

/// So many samples say where one in twenty is.
const ENOUGH: u64 = 40;

/// What is older than this weighs a third of what comes now.
const MEMORY_MS: u64 = 10_000;

impl Pace {
    pub fn tell(&self, first_event_us: u64, now_ms: u64) {
        let sample = first_event_us.clamp(1, u64::from(u32::MAX));
        let bucket = (u64::BITS - (sample / 1_000).leading_zeros()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(sample, Ordering::Relaxed);
        let mix = |word: u64| Some(pack(mixed(word, sample, now_ms), now_ms));
        let _ = self.mean.fetch_update(Ordering::Relaxed, Ordering::Relaxed, mix);
        // Up by nineteen steps for one that is slower, down by one for each that is not: it rests where one in twenty is.
        let walk = |at: u64| {
            Some(match at {
                0 => sample,
                at if sample > at => at + (at / 20).max(1),
                at => at - (at / 380).min(at - 1),
            })
        };
        let _ = self.slowest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, walk);
    }

    /// The mean; 0 while nothing was told. Bad news grows old: a candidate that nobody asks any more gets another chance.
    pub fn read(&self, now_ms: u64) -> u64 {
        let word = self.mean.load(Ordering::Relaxed);
        let mean = word >> 32;
        let idle = age(word, now_ms).saturating_sub(MEMORY_MS);
        mean >> (idle / MEMORY_MS).min(31)
    }

    /// The 95th percentile; `None` while nothing was told.
    pub fn slowest(&self) -> Option<u64> {
        Some(self.slowest.load(Ordering::Relaxed)).filter(|slowest| *slowest > 0)
    }

    /// By when all but one in twenty have begun; `None` while too few did to say so.
    pub fn late_after(&self) -> Option<u64> {
        let told: u64 = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum();
        self.slowest().filter(|_| told >= ENOUGH)
    }

    /// One that was given up before it had begun: what is known is that it took longer than this. That can only move
    /// things towards slower, so only what is slow already counts.
    pub fn outlasted(&self, us: u64, now_ms: u64) {
        if self.slowest().is_some_and(|slowest| us >= slowest) {
            self.tell(us, now_ms);
        }
    }

    pub fn buckets(&self) -> &[AtomicU64; BUCKETS] {
        &self.buckets
    }

    pub fn sum_us(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// Eight steps for each doubling, so that a whole health vector fits in a record and two candidates that differ by a
    /// hair are alike. 0 stands for "not known".
    pub fn quantised(us: u64) -> u8 {
        if us == 0 {
            return 0;
        }
        let doublings = us.ilog2();
        let within = if doublings >= 3 { us >> (doublings - 3) & 7 } else { us << (3 - doublings) & 7 };
        u8::try_from(doublings * 8 + within as u32 + 1).unwrap_or(u8::MAX)
    }

    /// About what a step stands for.
    pub fn micros(step: u8) -> u64 {
        let Some(step) = step.checked_sub(1) else { return 0 };
        let (doublings, within) = (u32::from(step) / 8, u64::from(step) % 8);
        (8 + within) << doublings >> 3
    }
}

fn pack(mean: u64, now_ms: u64) -> u64 {
    mean << 32 | now_ms & 0xffff_ffff
}

fn age(word: u64, now_ms: u64) -> u64 {
    (now_ms as u32).wrapping_sub(word as u32).into()
}

fn mixed(word: u64, sample: u64, now_ms: u64) -> u64 {
    let mean = word >> 32;
    if sample >= mean {
        return sample;
    }
    // The share of the new one: a twentieth at once, nearly all after a while.
    let share = (age(word, now_ms) * 1_000 / MEMORY_MS).clamp(50, 950);
    (mean * (1_000 - share) + sample * share) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_news_counts_at_once_and_good_news_slowly() {
        let pace = Pace::default();
        assert_eq!(pace.read(5), 0);
        pace.tell(1_000, 0);
        pace.tell(9_000, 1);
        assert_eq!(pace.read(1), 9_000);
        pace.tell(1_000, 2);
        assert!((8_000..9_000).contains(&pace.read(2)));
        (0..200).for_each(|step| pace.tell(1_000, 100 + step * 10));
        assert!(pace.read(2_100) < 1_100, "{}", pace.read(2_100));
    }

    #[test]
    fn who_is_not_asked_any_more_gets_another_chance() {
        let pace = Pace::default();
        pace.tell(8_000_000, 0);
        assert_eq!(pace.read(15_000), 8_000_000);
        assert!(pace.read(60_000) < 1_000_000);
    }

    #[test]
    fn the_slowest_is_where_one_in_twenty_is() {
        let pace = Pace::default();
        let mut dice = 3u64;
        for _ in 0..20_000 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // From 100 to 1100 ms, all alike: the 95th percentile is 1050.
            pace.tell(100_000 + (dice >> 33) % 1_000_000, 0);
        }
        let slowest = pace.slowest().unwrap();
        assert!((900_000..1_120_000).contains(&slowest), "{slowest}");
    }

    #[test]
    fn who_is_given_up_is_known_to_be_late_and_no_more() {
        let pace = Pace::default();
        (0..ENOUGH - 1).for_each(|at| pace.tell(1_000, at));
        assert_eq!(pace.late_after(), None);
        pace.tell(1_000, 50);
        let late = pace.late_after().unwrap();
        pace.outlasted(late / 2, 60);
        assert_eq!(pace.late_after(), Some(late));
        pace.outlasted(late * 10, 60);
        assert!(pace.late_after().unwrap() > late);
    }

    #[test]
    fn steps_are_monotone_and_fine() {
        let mut last = 0;
        for us in 1..2_000_000u64 {
            let step = Pace::quantised(us);
            assert!(step >= last, "{us}");
            last = step;
        }
        assert!(Pace::quantised(1_000_000) < Pace::quantised(1_150_000));
        for us in [1u64, 7, 100, 12_345, 9_999_999] {
            let about = Pace::micros(Pace::quantised(us));
            assert!(about <= us && us < about + about / 7 + 1, "{us} {about}");
        }
        assert_eq!(Pace::quantised(u64::from(u32::MAX)), u8::MAX);
    }
}

//! A histogram of latencies: buckets that grow with the value, so that a microsecond and a minute fit in one array and
//! every reading is at most 0.8 % too high. Whole numbers only; nothing is lost when two are added.

use std::time::Duration;

#[derive(Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
    min: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: vec![0; BUCKETS], count: 0, sum: 0, max: 0, min: u64::MAX }
    }
}

impl Histogram {
    pub fn record(&mut self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(nanos)] += 1;
        self.count += 1;
        self.sum += u128::from(nanos);
        self.max = self.max.max(nanos);
        self.min = self.min.min(nanos);
    }

    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
        self.min = self.min.min(other.min);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    pub fn mean(&self) -> Duration {
        let mean = self.sum.checked_div(u128::from(self.count)).unwrap_or(0);
        Duration::from_nanos(mean as u64)
    }

    /// The smallest value that at least `per_mille` of a thousand recorded ones do not exceed: 500 is the median, 999
    /// is p99.9. Never above the largest value seen.
    pub fn at(&self, per_mille: u64) -> Duration {
        let wanted = (u128::from(self.count) * u128::from(per_mille.min(1000))).div_ceil(1000).max(1) as u64;
        let mut seen = 0;
        for (index, &count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(top_of(index).min(self.max));
            }
        }
        Duration::from_nanos(self.max)
    }
}

fn bucket_of(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let shift = (63 - value.leading_zeros() - STEPS_LOG2) as usize;
    shift * STEPS as usize + (value >> shift) as usize
}

/// The largest value that falls into this bucket.
fn top_of(index: usize) -> u64 {
    let steps = STEPS as usize;
    if index < 2 * steps {
        return index as u64;
    }
    let shift = index / steps - 1;
    let low = ((index % steps + steps) as u64) << shift;
    low + ((1u64 << shift) - 1)
}

/// Steps within one doubling: 128 keep the error below 1/128.
const STEPS_LOG2: u32 = 7;
const STEPS: u64 = 1 << STEPS_LOG2;
/// One row of steps for each doubling that 64 bits allow, and one for the small values that are exact.
const BUCKETS: usize = (64 - STEPS_LOG2 as usize + 1) * STEPS as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_the_error_is_small() {
        let mut value = 0u64;
        let mut last = 0;
        while value < 1 << 62 {
            let index = bucket_of(value);
            assert!(index >= last, "buckets grow with the value at {value}");
            assert!(top_of(index) >= value);
            assert!(top_of(index) - value <= value / STEPS);
            assert!(index == 0 || top_of(index - 1) < value);
            last = index;
            value += 1 + value / 97;
        }
        assert!(bucket_of(u64::MAX) < BUCKETS);
        assert_eq!(top_of(bucket_of(u64::MAX)), u64::MAX);
    }

    #[test]
    fn quantiles_of_a_known_row() {
        let mut row = Histogram::default();
        for millis in 1..=1000 {
            row.record(Duration::from_millis(millis));
        }
        let near = |span: Duration, millis: u64| {
            let want = Duration::from_millis(millis);
            assert!(span >= want && span <= want + want / 100, "{span:?} is not near {want:?}");
        };
        near(row.at(500), 500);
        near(row.at(990), 990);
        near(row.at(999), 999);
        assert_eq!(row.at(1000), Duration::from_millis(1000));
        assert_eq!(row.max(), Duration::from_millis(1000));
    }

    #[test]
    fn empty_and_merged() {
        let mut whole = Histogram::default();
        assert_eq!(whole.at(500), Duration::ZERO);
        let mut part = Histogram::default();
        part.record(Duration::from_micros(7));
        whole.merge(&part);
        whole.merge(&part);
        assert_eq!((whole.count(), whole.at(500)), (2, Duration::from_micros(7)));
        assert_eq!(whole.mean(), Duration::from_micros(7));
    }
}

//! Latency histograms with fixed buckets.

use super::Counter;

/// Upper bounds of the buckets in microseconds; one more bucket takes what is longer.
pub const BOUNDS_US: [u64; 18] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

const BUCKETS: usize = BOUNDS_US.len() + 1;

/// Durations counted by size, written by one thread.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_us: Counter,
}

impl Histogram {
    /// Counts one duration in microseconds.
    #[inline]
    pub fn observe_us(&self, us: u64) {
        self.buckets[BOUNDS_US.partition_point(|bound| *bound < us)].inc();
        self.sum_us.add(us);
    }
}

/// Several workers' histograms together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramSum {
    /// Durations in each bucket, not cumulated; the last one has no upper bound.
    pub buckets: [u64; BUCKETS],
    /// All durations added, in microseconds.
    pub sum_us: u64,
}

impl HistogramSum {
    /// Adds what one worker has counted.
    pub fn add(&mut self, one: &Histogram) {
        for (sum, counter) in self.buckets.iter_mut().zip(&one.buckets) {
            *sum += counter.get();
        }
        self.sum_us += one.sum_us.get();
    }

    /// Durations counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The duration in microseconds that `percent` of 100 are not above, to the bucket's upper bound;
    /// `None` without a duration.
    pub fn percentile_us(&self, percent: u64) -> Option<u64> {
        let count = self.count();
        let rank = (count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (index, in_bucket) in self.buckets.iter().enumerate() {
            seen += in_bucket;
            if count > 0 && seen >= rank {
                return Some(BOUNDS_US.get(index).copied().unwrap_or(u64::MAX));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_at_a_bound_is_counted_below_it() {
        let one = Histogram::default();
        for us in [100, 101, 60_000_001] {
            one.observe_us(us);
        }
        let mut sum = HistogramSum::default();
        sum.add(&one);
        assert_eq!((sum.buckets[0], sum.buckets[1], sum.buckets[18]), (1, 1, 1));
        assert_eq!((sum.count(), sum.sum_us), (3, 60_000_202));
        assert_eq!((sum.percentile_us(50), sum.percentile_us(99)), (Some(250), Some(u64::MAX)));
        assert_eq!(HistogramSum::default().percentile_us(99), None);
    }
}

//! Token buckets in integers.
//!
//! One request costs `period x workers` units, and a bucket gains `count` units per microsecond: no rounding,
//! and the workers together let pass what the rule says.

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::config::{Per, Rate};
use crate::hash;
use crate::id::ip_bytes;
use crate::limits::{RATE_BUCKETS, RATE_WAYS};
use crate::units::Now;

/// The buckets of one rule in one worker.
#[derive(Clone, Debug)]
pub(super) struct Limiter {
    cost: u64,
    gain: u64,
    full: u64,
    one: Bucket,
    /// Empty for a limit per rule.
    many: Vec<Keyed>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    units: u64,
    at: Now,
}

#[derive(Clone, Copy, Debug)]
struct Keyed {
    tag: u64,
    bucket: Bucket,
}

impl Limiter {
    /// `workers`: how many workers share the rate.
    pub fn new(rate: &Rate, workers: u16) -> Self {
        let workers = u64::from(workers.max(1));
        let cost = u64::from(rate.period_ms) * 1_000 * workers;
        let burst = u64::from(if rate.burst == 0 { rate.count } else { rate.burst });
        // Each worker holds its part of the burst, but at least one request.
        let full = (u64::from(rate.period_ms) * 1_000 * burst).max(cost);
        let bucket = Bucket { units: full, at: Now(0) };
        let many = match rate.per {
            Per::Rule => Vec::new(),
            Per::Client => vec![Keyed { tag: 0, bucket }; RATE_BUCKETS],
        };
        Self { cost, gain: u64::from(rate.count), full, one: bucket, many }
    }

    /// Takes a request of `client` out of its bucket; false if that is empty.
    //= POL-RATE-01
    //= POL-RATE-02
    pub fn take(&mut self, client: IpAddr, now: Now) -> bool {
        let (cost, gain, full) = (self.cost, self.gain, self.full);
        let bucket = if self.many.is_empty() { &mut self.one } else { self.of(client, now) };
        let passed = now.since(bucket.at).0;
        bucket.units = bucket.units.saturating_add(passed.saturating_mul(gain)).min(full);
        bucket.at = bucket.at.max(now);
        let passes = bucket.units >= cost;
        if passes {
            bucket.units -= cost;
        }
        passes
    }

    /// The client's bucket, or that of the client in its set that was seen longest ago: it is the one most
    /// likely full again, so forgetting it gives away the least.
    fn of(&mut self, client: IpAddr, now: Now) -> &mut Bucket {
        let tag = hash::fixed64(&ip_bytes(client)).max(1);
        let sets = (RATE_BUCKETS / RATE_WAYS) as u32;
        let start = hash::reduce(tag, sets) as usize * RATE_WAYS;
        let full = self.full;
        let set = &mut self.many[start..start + RATE_WAYS];
        let known = set.iter().position(|k| k.tag == tag);
        let at = known.unwrap_or_else(|| {
            let oldest = (0..set.len()).min_by_key(|i| (set[*i].tag != 0, set[*i].bucket.at)).unwrap_or(0);
            set[oldest] = Keyed { tag, bucket: Bucket { units: full, at: now } };
            oldest
        });
        &mut set[at].bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(count: u32, period_ms: u32, burst: u32, per: Per) -> Rate {
        Rate { count, period_ms, burst, per, status: 429 }
    }

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    //= test POL-RATE-01
    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut l = Limiter::new(&rate(10, 1_000, 5, Per::Rule), 1);
        let passed = (0..20).filter(|_| l.take(ip(1), Now(0))).count();
        assert_eq!(passed, 5);
        assert!(!l.take(ip(1), Now(99_999)));
        assert!(l.take(ip(1), Now(100_000)));
        assert!(!l.take(ip(1), Now(100_000)));
    }

    //= test POL-RATE-02
    #[test]
    fn each_client_has_its_own_bucket() {
        let mut l = Limiter::new(&rate(1, 1_000, 1, Per::Client), 1);
        for c in 1..100 {
            assert!(l.take(ip(c), Now(5)));
            assert!(!l.take(ip(c), Now(6)));
        }
    }

    //= test POL-RATE-01
    #[test]
    fn workers_share_the_rate() {
        let mut workers = vec![Limiter::new(&rate(8, 1_000, 8, Per::Rule), 4); 4];
        let mut passed = 0;
        for ms in 0..10_000u64 {
            for l in &mut workers {
                passed += u32::from(l.take(ip(1), Now(ms * 1_000)));
            }
        }
        assert!((80..=88).contains(&passed), "{passed}: eighty in ten seconds, and the burst of eight");
    }

    proptest! {
        //= test POL-RATE-01
        #[test]
        fn no_window_passes_more_than_burst_and_rate(
            count in 1u32..50,
            period in 1u32..5_000,
            burst in 1u32..20,
            gaps in prop::collection::vec(0u64..200_000, 1..200),
        ) {
            let mut l = Limiter::new(&rate(count, period, burst, Per::Rule), 1);
            let mut now = 0;
            let mut passes = Vec::new();
            for gap in gaps {
                now += gap;
                if l.take(ip(1), Now(now)) {
                    passes.push(now);
                }
            }
            for (i, from) in passes.iter().enumerate() {
                for (j, to) in passes.iter().enumerate().skip(i) {
                    let allowed = u64::from(burst) + (to - from) * u64::from(count) / (u64::from(period) * 1_000);
                    prop_assert!((j - i + 1) as u64 <= allowed + 1, "{} in {}", j - i + 1, to - from);
                }
            }
        }
    }
}

//! What is made of a tally.

use forebay_wire::tally::{BOUNDS_US, TOP_OPEN, service};

use crate::table::METRICS;
use crate::{Kind, Millis, Tally};

/// What has a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entity {
    /// A virtual service, by what it counts of its clients.
    Client,
    /// A pool or a server; a virtual service has what its pools have together.
    Server,
    /// A service engine.
    Engine,
    /// The Controller.
    Controller,
}

/// How a value follows from a tally.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    /// These sums by the second, times a factor.
    Rate(&'static [usize], u32),
    /// These sums.
    Sum(&'static [usize]),
    /// How much there was on the average: of what was counted times milliseconds.
    Level(usize),
    /// The most that was open.
    Top,
    /// A hundred times the first sums for each of the second; nothing without any of these.
    Percent(&'static [usize], &'static [usize]),
    /// A sum of microseconds for each duration, in milliseconds; nothing without any.
    Mean(usize),
    /// The first sum, of microseconds, for each of the second, in milliseconds; nothing without any.
    Each(usize, usize),
    /// The duration in milliseconds that so many of a hundred are not above; nothing without any.
    Percentile(u32),
    /// Apdex of the durations; nothing without any.
    Apdex,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name in requests.
    pub id: &'static str,
    /// As Avi's API has units.
    pub units: &'static str,
    /// What has it.
    pub entity: Entity,
    /// How it follows from a tally.
    pub of: Of,
    /// What it means, in words.
    pub about: &'static str,
}

impl Metric {
    /// Its value, of what was counted in so many milliseconds.
    pub fn value(&self, tally: &Tally, length: Millis, apdex_ms: u64) -> Option<f64> {
        let sum =
            |places: &[usize]| places.iter().map(|place| tally.sum(*place)).fold(0, u64::saturating_add);
        let length = length.max(1);
        match self.of {
            Of::Rate(places, factor) => {
                Some(sum(places) as f64 * f64::from(factor) * 1_000.0 / length as f64)
            }
            Of::Sum(places) => Some(sum(places) as f64),
            Of::Level(place) => Some(tally.sum(place) as f64 / length as f64),
            Of::Top => Some(tally.top(TOP_OPEN) as f64),
            Of::Percent(part, whole) => {
                let whole = sum(whole);
                (whole > 0).then(|| (sum(part) as f64 * 100.0 / whole as f64).min(100.0))
            }
            // Connections that are passed on have durations as well, which are no latencies.
            Of::Mean(_) | Of::Percentile(_) | Of::Apdex
                if self.entity == Entity::Client && !answered(tally) =>
            {
                None
            }
            Of::Mean(place) => {
                let count = all(&tally.durations);
                (count > 0).then(|| tally.sum(place) as f64 / count as f64 / 1_000.0)
            }
            Of::Each(us, count) => {
                let count = tally.sum(count);
                (count > 0).then(|| tally.sum(us) as f64 / count as f64 / 1_000.0)
            }
            Of::Percentile(percent) => percentile(&tally.durations, f64::from(percent)),
            Of::Apdex => apdex(&tally.durations, apdex_ms),
        }
    }

    /// Whether something of this kind has it.
    pub fn is_of(&self, kind: Kind) -> bool {
        match kind {
            Kind::Service => matches!(self.entity, Entity::Client | Entity::Server),
            Kind::Pool | Kind::Server => self.entity == Entity::Server,
            Kind::Engine => self.entity == Entity::Engine,
            Kind::Controller => self.entity == Entity::Controller,
        }
    }
}

/// Whether requests were answered.
fn answered(tally: &Tally) -> bool {
    (0..5).any(|class| tally.sum(service::RESPONSES + class) > 0)
}

/// All durations. An engine says how many there are, whatever it says.
fn all(durations: &[u64]) -> u64 {
    durations.iter().copied().fold(0, u64::saturating_add)
}

/// The bounds of a bucket in milliseconds. The last one is as long as what is counted there at the least.
fn bounds(bucket: usize) -> (f64, f64) {
    let ms = |bucket: usize| BOUNDS_US.get(bucket).map(|us| *us as f64 / 1_000.0);
    let below = bucket.checked_sub(1).and_then(ms).unwrap_or(0.0);
    (below, ms(bucket).unwrap_or(below))
}

/// How many durations are no longer than this: within a bucket they are taken as spread evenly.
fn up_to(durations: &[u64], ms: f64) -> f64 {
    let share = |(bucket, count): (usize, &u64)| {
        let (below, above) = bounds(bucket);
        let part = if above <= ms && above > below {
            1.0
        } else if below >= ms || above <= below {
            0.0
        } else {
            (ms - below) / (above - below)
        };
        *count as f64 * part
    };
    durations.iter().enumerate().map(share).sum()
}

//= MET-LATENCY-01
fn percentile(durations: &[u64], percent: f64) -> Option<f64> {
    let wanted = all(durations) as f64 * percent / 100.0;
    let mut seen = 0.0;
    for (bucket, count) in durations.iter().enumerate().filter(|(_, count)| **count > 0) {
        let count = *count as f64;
        if seen + count >= wanted {
            let (below, above) = bounds(bucket);
            return Some(below + (above - below) * (wanted - seen).max(0.0) / count);
        }
        seen += count;
    }
    None
}

/// Those that satisfy, and half of those that are tolerated, of all.
//= MET-APDEX-01
pub fn apdex(durations: &[u64], satisfied_ms: u64) -> Option<f64> {
    let all = all(durations);
    let satisfied = up_to(durations, satisfied_ms as f64);
    let tolerated = up_to(durations, satisfied_ms.saturating_mul(4) as f64) - satisfied;
    (all > 0).then(|| (satisfied + tolerated / 2.0) / all as f64)
}

/// The metric of this name.
pub fn find(id: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.id == id)
}

/// Names that one may have meant, the nearest first.
pub fn near(id: &str) -> Vec<&'static str> {
    let (table, name) = id.split_once('.').unwrap_or(("", id));
    let mut all: Vec<(usize, &'static str)> = METRICS
        .iter()
        .filter_map(|metric| {
            let (its_table, its_name) = metric.id.split_once('.')?;
            Some((distance(name, its_name) * 2 + distance(table, its_table), metric.id))
        })
        .collect();
    all.sort_unstable();
    all.into_iter().take(3).map(|(_, id)| id).collect()
}

/// Characters to be put in, left out or changed. Names are short; a long one is compared by its beginning.
fn distance(one: &str, other: &str) -> usize {
    let one: Vec<char> = one.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=one.len()).collect();
    for (at, c) in other.chars().enumerate() {
        let mut before = std::mem::replace(&mut row[0], at + 1);
        for (place, of_one) in one.iter().enumerate() {
            let changed = before + usize::from(*of_one != c);
            before = row[place + 1];
            row[place + 1] = changed.min(before + 1).min(row[place] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durations(of: &[(usize, u64)]) -> Vec<u64> {
        let mut all = vec![0; forebay_wire::tally::BUCKETS];
        of.iter().for_each(|(bucket, count)| all[*bucket] = *count);
        all
    }

    //= test MET-APDEX-01
    #[test]
    fn who_is_satisfied_counts_whole_and_who_tolerates_half() {
        // 250 to 500 ms, 1 to 2.5 s (of which two thirds are below 2 s), and longer ones.
        assert_eq!(apdex(&durations(&[(11, 10)]), 500), Some(1.0));
        assert_eq!(apdex(&durations(&[(12, 10)]), 500), Some(0.5));
        let mixed = apdex(&durations(&[(11, 6), (13, 3), (18, 1)]), 500).expect("some");
        assert!((mixed - 0.7).abs() < 1e-9, "{mixed}");
        assert_eq!(apdex(&durations(&[(18, 3)]), 500), Some(0.0));
        assert_eq!(apdex(&durations(&[]), 500), None, "nobody came");
        let half = apdex(&durations(&[(11, 10)]), 375).expect("some");
        assert!((half - 0.75).abs() < 1e-9, "{half}");
    }

    //= test MET-LATENCY-01
    #[test]
    fn a_percentile_lies_in_its_bucket_and_of_two_slots_is_that_of_both() {
        let one = durations(&[(3, 90), (9, 10)]);
        let at = |durations: &[u64], percent: f64| percentile(durations, percent).expect("some");
        assert!((at(&one, 90.0) - 1.0).abs() < 1e-9);
        assert!((at(&one, 45.0) - 0.75).abs() < 1e-9);
        assert!((at(&one, 95.0) - 75.0).abs() < 1e-9);
        let mut slot = Tally { durations: one, ..Tally::default() };
        slot.then(&Tally { durations: durations(&[(9, 900)]), ..Tally::default() });
        assert!(at(&slot.durations, 50.0) > 50.0);
        assert_eq!(percentile(&[], 50.0), None);
        assert_eq!(percentile(&durations(&[(18, 1)]), 99.0), Some(60_000.0), "longer than any bound");
    }

    //= test MET-NAME-01
    #[test]
    fn a_name_that_is_none_has_near_ones() {
        assert_eq!(near("l7_client.avg_complete_response")[0], "l7_client.avg_complete_responses");
        assert_eq!(near("l4_client.avg_bandwith")[0], "l4_client.avg_bandwidth");
        assert_eq!(near("avg_cpu_usage")[0], "se_stats.avg_cpu_usage");
        assert_eq!(near(&"x".repeat(100_000)).len(), 3);
        let mut ids: Vec<&str> = METRICS.iter().map(|metric| metric.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), METRICS.len(), "each once");
    }

    //= test MET-RTT-01
    #[test]
    fn values_follow_from_tallies() {
        let mut tally = Tally { sums: vec![0; service::COUNT], tops: vec![7], durations: Vec::new() };
        tally.sums[service::RESPONSES + 1] = 90;
        tally.sums[service::RESPONSES + 3] = 10;
        tally.sums[service::RX_BYTES] = 1_000;
        tally.sums[service::TX_BYTES] = 4_000;
        tally.sums[service::OPEN_MS] = 15_000;
        let value = |id: &str| find(id).expect(id).value(&tally, 5_000, 500);
        assert_eq!(value("l7_client.sum_total_responses"), Some(100.0));
        assert_eq!(value("l7_client.avg_complete_responses"), Some(20.0));
        assert_eq!(value("l7_client.avg_resp_4xx"), Some(2.0));
        assert_eq!(value("l7_client.pct_response_errors"), Some(10.0));
        assert_eq!(value("l4_client.avg_bandwidth"), Some(8_000.0));
        assert_eq!(value("l4_client.max_open_conns"), Some(7.0));
        assert_eq!(value("l4_client.avg_open_conns"), Some(3.0));
        assert_eq!(value("l7_client.avg_client_txn_latency"), None, "nothing took any time");
        assert_eq!(value("l4_client.avg_total_rtt"), None, "nobody's round trips were timed");
        (tally.sums[service::RTT_US], tally.sums[service::RTTS]) = (45_000, 3);
        let value = |id: &str| find(id).expect(id).value(&tally, 5_000, 500);
        assert_eq!(value("l4_client.avg_total_rtt"), Some(15.0));
        assert_eq!(value("l4_client.pct_connection_errors"), None, "nobody connected");
    }
}

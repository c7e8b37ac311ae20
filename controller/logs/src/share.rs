//! What each service and each engine may have of the room where several tell: who tells much must not make the hours of all
//! others go.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::record::Record;

/// Of all bytes such a part may come in an hour whosever it is, and as much again in even parts: the last four hours stay.
const PARTS: f64 = 8.0;

/// So long a part may come at once.
const AT_ONCE: f64 = 900.0;

/// Who has told nothing for so long is none of those who share.
const QUIET: Duration = Duration::from_secs(900);

/// What came and has not run off yet.
#[derive(Clone, Copy)]
struct Level {
    bytes: f64,
    at: Instant,
    told: Instant,
}

impl Level {
    fn new(now: Instant) -> Self {
        Level { bytes: 0.0, at: now, told: now }
    }

    /// What is left of it, where so many bytes run off in a second.
    fn left(&mut self, rate: f64, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        (self.bytes, self.at) = ((self.bytes - since * rate).max(0.0), now);
        self.bytes
    }

    fn add(&mut self, bytes: f64, most: f64, now: Instant) {
        (self.bytes, self.told) = ((self.bytes + bytes).min(most), now);
    }
}

/// Those who share by one kind of name.
#[derive(Default)]
struct Sharers(HashMap<String, Level>);

impl Sharers {
    /// Bytes a second that are each one's part.
    fn rate(&self, rate: f64) -> f64 {
        // Who is alone is not held to a part; a second one that comes finds it at the most that it may have.
        rate / (self.0.len().max(2) as f64)
    }

    /// Whether one has less than its part; of what is not significant half of it.
    fn has_room(&mut self, name: &str, rate: f64, is_significant: bool, now: Instant) -> bool {
        let part = self.rate(rate);
        let most = if is_significant { part * AT_ONCE } else { part * AT_ONCE / 2.0 };
        self.0.len() <= 1 || self.0.get_mut(name).is_none_or(|level| level.left(part, now) < most)
    }

    fn add(&mut self, name: &str, bytes: f64, rate: f64, now: Instant) {
        let part = self.rate(rate);
        match self.0.get_mut(name) {
            Some(level) => {
                level.left(part, now);
                level.add(bytes, part * AT_ONCE, now);
            }
            None => {
                let mut level = Level::new(now);
                level.add(bytes, part * AT_ONCE, now);
                self.0.insert(name.to_owned(), level);
            }
        }
    }
}

/// The parts of all.
pub(crate) struct Shares {
    /// Bytes a second.
    rate: f64,
    all: Level,
    services: Sharers,
    engines: Sharers,
}

impl Shares {
    /// Of so many bytes.
    pub(crate) fn new(bytes_max: u64, now: Instant) -> Self {
        let rate = bytes_max as f64 / PARTS / 3_600.0;
        Shares { rate, all: Level::new(now), services: Sharers::default(), engines: Sharers::default() }
    }

    /// Whether there is room for a record: for anybody's, or in the parts of its service and its engine.
    //= LOG-SHARE-01
    pub(crate) fn has_room(&mut self, record: &Record, now: Instant) -> bool {
        let engine = record.engine.as_deref().unwrap_or_default();
        self.all.left(self.rate, now) < self.rate * AT_ONCE
            || self.services.has_room(&record.service, self.rate, record.significant, now)
                && self.engines.has_room(engine, self.rate, record.significant, now)
    }

    /// So many bytes of it were written.
    pub(crate) fn add(&mut self, record: &Record, bytes: u64, now: Instant) {
        let (bytes, most) = (bytes as f64, self.rate * AT_ONCE);
        // What is anybody's is used before anything of a part.
        let own = match self.all.left(self.rate, now) < most {
            true => 0.0,
            false => bytes,
        };
        self.all.add(bytes - own, most, now);
        self.services.add(&record.service, own, self.rate, now);
        self.engines.add(record.engine.as_deref().unwrap_or_default(), own, self.rate, now);
    }

    /// Forgets who has been quiet.
    pub(crate) fn tidy(&mut self, now: Instant) {
        for sharers in [&mut self.services.0, &mut self.engines.0] {
            sharers.retain(|_, level| now.saturating_duration_since(level.told) < QUIET);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(service: &str, engine: &str, is_significant: bool) -> Record {
        let line = serde_json::json!({
            "report_timestamp": "2026-11-22T13:48:22Z", "virtualservice": service, "service_engine": engine,
            "significant": is_significant,
        });
        Record::read(line.to_string().as_bytes()).expect("a record")
    }

    /// How much of what is offered in an hour, second by second, each may write: bytes a second of each.
    fn hour(shares: &mut Shares, from: Instant, of: &[(&Record, u64)]) -> Vec<u64> {
        let mut written = vec![0; of.len()];
        for second in 0..3_600 {
            let now = from + Duration::from_secs(second);
            shares.tidy(now);
            // In turn another one comes first: what is anybody's goes to who comes first.
            for nth in 0..of.len() {
                let at = (nth + usize::try_from(second).expect("small")) % of.len();
                let ((record, bytes), written) = (&of[at], &mut written[at]);
                // A kilobyte each.
                for _ in 0..bytes / 1_000 {
                    if shares.has_room(record, now) {
                        shares.add(record, 1_000, now);
                        *written += 1_000;
                    }
                }
            }
        }
        written
    }

    //= test LOG-SHARE-01
    #[test]
    fn one_that_tells_much_leaves_the_others_theirs_and_alone_it_has_all() {
        let began = Instant::now();
        // 16 MB an hour for anybody, and as much again in parts.
        let all = 8 * 16_000_000;
        let (loud, quiet) = (record("loud", "e1", false), record("quiet", "e2", false));
        let later = began + Duration::from_secs(3_600);
        let mut shares = Shares::new(all, began);
        assert_eq!(
            hour(&mut shares, began, &[(&loud, 100_000)]),
            [360_000_000],
            "who is alone has all of it"
        );
        let both = hour(&mut shares, later, &[(&loud, 100_000), (&quiet, 2_000)]);
        assert_eq!(both[1], 7_200_000, "the quiet one loses nothing");
        assert!((8_000_000..32_000_000).contains(&both[0]), "{both:?}");
        // Two who tell as much have as much, also by one engine.
        let other = record("other", "e1", false);
        let mut shares = Shares::new(all, began);
        let even = hour(&mut shares, began, &[(&loud, 50_000), (&other, 50_000), (&quiet, 1_000)]);
        assert_eq!(even[2], 3_600_000);
        assert!(even[0].abs_diff(even[1]) < even[0] / 2, "{even:?}");
        assert!(even.iter().sum::<u64>() < 2 * 16_000_000 + 8_000_000 + 4_000_000, "{even:?}");
        // What deserves a look finds room where the rest finds none.
        let now = began + Duration::from_secs(3_599);
        assert!(!shares.has_room(&loud, now) && !shares.has_room(&other, now));
        assert!(shares.has_room(&record("loud", "e1", true), now));
    }
}

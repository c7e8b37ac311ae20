//! Wrong passwords: who tries many waits, and nobody else does.
//!
//! What is counted belongs to a name and an address together, so that a stranger elsewhere keeps nobody out. Beside it each
//! address has a count over all names, and each name one over all addresses: who has many addresses gets one try from each.
//! Who shares an address with a stranger (behind one proxy or one translated address) is kept out by the count of the
//! address, unless that name has come in from there before.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Wrong passwords in a row for a name from one address, after which it waits.
const WRONG_MAX: u32 = 5;
/// The same for a name that is being tried from everywhere.
const WRONG_MAX_UNDER_ATTACK: u32 = 1;
/// Wrong passwords of one address over all names, after which it waits.
const OF_SOURCE_MAX: u32 = 50;
/// Wrong passwords for one name from all addresses, after which it counts as tried from everywhere.
const OF_NAME_MAX: u32 = 100;
/// How long who has to wait waits; a count is forgotten when so long no wrong password came.
const LOCKED: Duration = Duration::from_secs(60);
/// The same for the count of a name over all addresses.
const ATTACK: Duration = Duration::from_secs(600);
/// How long it is remembered that a name came in from an address.
const KNOWN: Duration = Duration::from_secs(30 * 24 * 3600);
/// Counts of each sort; the eldest go first.
const WATCHED_MAX: usize = 10_000;

/// Whom an address belongs to: an IPv6 network of the smallest size that a site is given is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Source(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            address => address,
        })
    }
}

/// The counts.
#[derive(Debug, Default)]
pub struct Attempts {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    pairs: Table<(Source, String)>,
    sources: Table<Source>,
    names: Table<String>,
    /// Who came in from where.
    known: Table<(Source, String)>,
}

#[derive(Debug)]
struct Table<K>(HashMap<K, (u32, Instant)>);

impl<K> Default for Table<K> {
    fn default() -> Self {
        Table(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Table<K> {
    /// The count, if it is not forgotten.
    fn count(&mut self, key: &K, now: Instant, kept: Duration) -> u32 {
        match self.0.get(key) {
            Some((_, last)) if now.duration_since(*last) >= kept => {
                self.0.remove(key);
                0
            }
            Some((count, _)) => *count,
            None => 0,
        }
    }

    fn add(&mut self, key: K, now: Instant) -> u32 {
        if self.0.len() >= WATCHED_MAX && !self.0.contains_key(&key) {
            let eldest = self.0.iter().min_by_key(|(_, (_, last))| *last).map(|(key, _)| key.clone());
            if let Some(eldest) = eldest {
                self.0.remove(&eldest);
            }
        }
        let entry = self.0.entry(key).or_insert((0, now));
        *entry = (entry.0.saturating_add(1), now);
        entry.0
    }
}

impl Attempts {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether a password for this name is looked at when it comes from there.
    //= API-LOGIN-02
    pub fn may_try(&self, from: Source, name: &str, now: Instant) -> bool {
        let mut counts = self.counts();
        let most = match counts.names.count(&name.to_owned(), now, ATTACK) {
            0..OF_NAME_MAX => WRONG_MAX,
            _ => WRONG_MAX_UNDER_ATTACK,
        };
        let is_known = counts.known.count(&(from, name.to_owned()), now, KNOWN) > 0;
        counts.pairs.count(&(from, name.to_owned()), now, LOCKED) < most
            && (is_known || counts.sources.count(&from, now, LOCKED) < OF_SOURCE_MAX)
    }

    /// Counts a wrong password, and says how many in a row that makes for the name from there.
    pub fn wrong(&self, from: Source, name: &str, now: Instant) -> u32 {
        let mut counts = self.counts();
        // Forgotten ones begin anew.
        let _ = (counts.sources.count(&from, now, LOCKED), counts.names.count(&name.to_owned(), now, ATTACK));
        counts.sources.add(from, now);
        counts.names.add(name.to_owned(), now);
        counts.pairs.add((from, name.to_owned()), now)
    }

    /// Forgets the wrong ones of a name from there, and remembers that it came in from there.
    pub fn right(&self, from: Source, name: &str, now: Instant) {
        let mut counts = self.counts();
        let pair = (from, name.to_owned());
        counts.pairs.0.remove(&pair);
        counts.known.add(pair, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::from(text.parse::<IpAddr>().expect("an address"))
    }

    //= test API-LOGIN-02
    #[test]
    fn a_stranger_keeps_nobody_out_and_waits() {
        let attempts = Attempts::default();
        let now = Instant::now();
        let (stranger, admin) = (source("192.0.2.1"), source("192.0.2.2"));
        for number in 0..20 {
            let is_looked_at = attempts.may_try(stranger, "admin", now);
            assert_eq!(is_looked_at, number < 5, "{number}");
            if is_looked_at {
                attempts.wrong(stranger, "admin", now);
            }
        }
        assert!(attempts.may_try(admin, "admin", now), "who comes from elsewhere does not wait");
        assert!(attempts.may_try(stranger, "other", now), "nor does another name");
        assert!(!attempts.may_try(stranger, "admin", now + LOCKED / 2));
        assert!(attempts.may_try(stranger, "admin", now + LOCKED));
        attempts.wrong(admin, "admin", now);
        attempts.right(admin, "admin", now);
        for _ in 0..4 {
            attempts.wrong(admin, "admin", now);
        }
        assert!(attempts.may_try(admin, "admin", now), "a right one begins anew");
    }

    //= test API-LOGIN-02
    #[test]
    fn many_names_from_one_address_and_one_name_from_many_are_bounded() {
        let attempts = Attempts::default();
        let now = Instant::now();
        let tries = |attempts: &Attempts, from: Source, name: &str| {
            (0..20)
                .filter(|_| attempts.may_try(from, name, now) && attempts.wrong(from, name, now) > 0)
                .count()
        };
        let all: usize = (0..30).map(|user| tries(&attempts, source("192.0.2.1"), &format!("u{user}"))).sum();
        assert_eq!(all, OF_SOURCE_MAX as usize, "of one address over all names");
        let attempts = Attempts::default();
        let all: usize =
            (0..200).map(|host| tries(&attempts, source(&format!("198.51.100.{host}")), "admin")).sum();
        assert_eq!(all, 20 * 5 + 180, "a name that is tried from everywhere has one try from each address");
        assert!(attempts.may_try(source("203.0.113.1"), "admin", now), "and still has that one");
        // Behind one address with the stranger: who came in from there does so again, and has no more tries than before.
        let attempts = Attempts::default();
        attempts.right(source("192.0.2.1"), "admin", now);
        for user in 0..30 {
            tries(&attempts, source("192.0.2.1"), &format!("u{user}"));
        }
        assert!(!attempts.may_try(source("192.0.2.1"), "ann", now));
        assert!(attempts.may_try(source("192.0.2.1"), "admin", now));
        assert_eq!(tries(&attempts, source("192.0.2.1"), "admin"), 5);
        assert!(!attempts.may_try(source("192.0.2.1"), "admin", now));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:2"), "one network is one source");
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for number in 0..WATCHED_MAX + 50 {
            attempts.wrong(source("192.0.2.1"), &format!("u{number}"), now);
        }
        let counts = attempts.counts();
        assert_eq!((counts.pairs.0.len(), counts.names.0.len()), (WATCHED_MAX, WATCHED_MAX));
    }
}

//! Which of two statements about a key holds, and what is kept of the other.

use core::cmp::Ordering;

use forebay_core::table::{Class, EngineSlot, KeyBytes, Version};

use crate::limits::AGE_WORTH_MS;

/// How two statements about a key of a table are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Persistence: the first choice for a client holds, until somebody moves it on purpose.
    First,
    /// Key-value: the last write holds.
    Last,
    /// Bytes under a key, of which the last write holds: they stand in [`crate::values::Values`].
    Bytes,
    /// Counts under a key, which add up: they stand there too.
    Counts,
}

impl Rule {
    /// What the table holds are no servers.
    pub fn is_value(self) -> bool {
        matches!(self, Self::Bytes | Self::Counts)
    }
}

/// What an engine states about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, without the table's salt.
    pub key: KeyBytes,
    /// The group's id of the server.
    pub server: u64,
    /// Which of the table's time-outs it has.
    pub class: Class,
    /// Its version.
    pub version: Version,
    /// It is deleted.
    pub tombstone: bool,
    /// It began over a tombstone.
    pub lasting: bool,
    /// The engines that have connections, as far as the sender knows.
    pub open: u64,
    /// Milliseconds since the last use that the sender knows of; 0 while it has connections itself, and since then as well
    /// if it only takes it for open on others.
    pub age_ms: u64,
}

impl Entry {
    /// What is compared last: two engines that gave one version to two values must agree on one.
    fn value(&self) -> (u64, u8) {
        if self.tombstone { (0, 0) } else { (self.server, self.class.get()) }
    }
}

/// `Greater`: `a` holds against `b`. `Equal` only if they state the same.
//= SYNC-MERGE-01
//= SYNC-MERGE-02
pub fn order(rule: Rule, a: &Entry, b: &Entry) -> Ordering {
    let (va, vb) = (&a.version, &b.version);
    let earlier_value = b.value().cmp(&a.value());
    match rule {
        Rule::First => (va.birth.cmp(&vb.birth))
            .then(va.switches.cmp(&vb.switches))
            .then(a.tombstone.cmp(&b.tombstone))
            .then(vb.stamp.cmp(&va.stamp))
            .then(vb.origin.cmp(&va.origin))
            .then(earlier_value),
        // Tables of values have no entries.
        Rule::Last | Rule::Bytes | Rule::Counts => (va.stamp.cmp(&vb.stamp))
            .then(va.origin.cmp(&vb.origin))
            .then(a.tombstone.cmp(&b.tombstone))
            .then(earlier_value)
            // Nobody writes these; but the order must be one.
            .then((va.birth, va.switches).cmp(&(vb.birth, vb.switches))),
    }
}

/// What becomes of two statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    /// What is to be kept.
    pub entry: Entry,
    /// It differs from ours.
    pub changed: bool,
    /// The sender does not know something of it that it should.
    pub answer: bool,
}

/// Merges what `from` states with what is held here, by `me`.
///
/// Each engine is the only authority for its own connections: of the sender's open set only the sender's own bit counts.
//= SYNC-OPEN-01
//= SYNC-AGE-01
pub fn merge(rule: Rule, me: EngineSlot, from: EngineSlot, ours: &Entry, theirs: &Entry) -> Merged {
    let (mine, sender) = (1 << me.get(), 1 << from.get());
    let held = order(rule, ours, theirs);
    let (winner, loser) = if held == Ordering::Less { (theirs, ours) } else { (ours, theirs) };
    // Whichever life holds: what was removed before it is not forgotten with the one that lost.
    let removed_before = ours.lasting || theirs.lasting || loser.tombstone;
    let lasting = rule == Rule::First && !winner.tombstone && removed_before;
    let entry = Entry {
        open: ours.open & !sender | theirs.open & sender,
        // While it is open here nothing is known of its idle time; the table keeps when a connection closed last.
        // And a removal's age is the time since then, no use of the life that it lost against.
        age_ms: match ours.open {
            0 if ours.tombstone != theirs.tombstone => winner.age_ms,
            0 => ours.age_ms.min(theirs.age_ms),
            _ => theirs.age_ms,
        },
        lasting,
        ..*winner
    };
    // What third engines have open keeps nobody from telling, or taking, when it was used: each learns from those themselves when
    // that ends, and then not from this sender again.
    let neither_has_it_open = ours.open & mine == 0 && theirs.open & sender == 0;
    let younger = |a: &Entry, b: &Entry| {
        neither_has_it_open && a.tombstone == b.tombstone && a.age_ms + AGE_WORTH_MS < b.age_ms
    };
    Merged {
        entry,
        changed: held == Ordering::Less
            || entry.open != ours.open
            || entry.lasting != ours.lasting
            || younger(theirs, ours),
        answer: held == Ordering::Greater
            || entry.lasting != theirs.lasting
            || (ours.open ^ theirs.open) & mine != 0
            || younger(ours, theirs),
    }
}

/// As [`merge`], where memory failed here: of two values under one version theirs holds.
//= SYNC-TRUST-01
pub fn reload(rule: Rule, me: EngineSlot, from: EngineSlot, ours: &Entry, theirs: &Entry) -> Merged {
    let merged = merge(rule, me, from, ours, theirs);
    if ours.version != theirs.version || ours.value() == theirs.value() {
        return merged;
    }
    let Entry { server, class, tombstone, .. } = *theirs;
    let entry = Entry { server, class, tombstone, ..merged.entry };
    Merged { entry, changed: true, answer: (ours.open ^ theirs.open) & 1 << me.get() != 0 }
}

/// As [`merge`], for an engine that only reads, of what a comparison found to be otherwise: what the peer has holds. What is
/// held here may be what an engine wrote that is gone, and that nobody else has.
//= SYNC-READER-02
pub fn follow(_: Rule, _: EngineSlot, from: EngineSlot, ours: &Entry, theirs: &Entry) -> Merged {
    let sender = 1 << from.get();
    let entry = Entry { open: theirs.open & sender | ours.open & !sender, ..*theirs };
    Merged { entry, changed: entry != *ours, answer: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn slot(n: u8) -> EngineSlot {
        EngineSlot::new(n).unwrap()
    }

    /// All states of a small world.
    fn states() -> Vec<Entry> {
        let mut all = Vec::new();
        for birth in 1..3 {
            for (switches, tombstone) in [(0, false), (1, false), (65_536, true), (65_536, false)] {
                for stamp in [5, 6] {
                    for origin in 0..2 {
                        for server in [7, 8] {
                            for lasting in [false, true].into_iter().filter(|l| !(*l && tombstone)) {
                                let version = Version { birth, switches, stamp, origin: slot(origin) };
                                let key = KeyBytes([0; 16]);
                                let class = Class::default();
                                let (open, age_ms) = (0, 0);
                                all.push(Entry {
                                    key,
                                    server,
                                    class,
                                    version,
                                    tombstone,
                                    lasting,
                                    open,
                                    age_ms,
                                });
                            }
                        }
                    }
                }
            }
        }
        all
    }

    fn held(rule: Rule, a: &Entry, b: &Entry) -> Entry {
        // A third engine hears of both.
        let merged = merge(rule, slot(5), slot(6), a, b).entry;
        let server = if merged.tombstone { 0 } else { merged.server };
        Entry { server, ..merged }
    }

    //= test SYNC-MERGE-01
    //= test SYNC-MERGE-02
    #[test]
    fn in_whatever_order_statements_are_heard_the_same_one_holds() {
        let all = states();
        for rule in [Rule::First, Rule::Last] {
            for a in &all {
                assert_eq!(order(rule, a, a), Ordering::Equal);
                // Key-value entries leave nothing when they end.
                if rule == Rule::Last && a.lasting {
                    continue;
                }
                for b in &all {
                    let ab = held(rule, a, b);
                    assert_eq!(ab, held(rule, b, a), "{a:?} {b:?}");
                    assert_eq!(held(rule, &ab, b), ab);
                    for c in &all {
                        assert_eq!(held(rule, &ab, c), held(rule, a, &held(rule, b, c)), "{a:?} {b:?} {c:?}");
                    }
                }
            }
        }
    }

    fn entry(birth: u32, switches: u32, tombstone: bool, stamp: u64, origin: u8) -> Entry {
        Entry {
            key: KeyBytes([0; 16]),
            server: 7,
            class: Class::default(),
            version: Version { birth, switches, stamp, origin: slot(origin) },
            tombstone,
            lasting: false,
            open: 0,
            age_ms: 0,
        }
    }

    //= test SYNC-MERGE-01
    #[test]
    fn a_later_life_then_more_moves_then_a_removal_then_the_first_writer_holds() {
        let higher = [
            entry(3, 0, false, 9, 0),
            entry(2, 65_536, true, 9, 0),
            entry(2, 65_536, false, 1, 0),
            entry(2, 1, false, 9, 0),
            entry(2, 0, false, 4, 1),
            entry(2, 0, false, 5, 0),
            entry(2, 0, false, 5, 1),
        ];
        for pair in higher.windows(2) {
            assert_eq!(order(Rule::First, &pair[0], &pair[1]), Ordering::Greater, "{pair:?}");
        }
    }

    //= test SYNC-MERGE-02
    #[test]
    fn of_key_value_writes_the_last_holds_whatever_was_removed_before() {
        let removed = entry(0, 65_536, true, 5, 0);
        let written = entry(0, 0, false, 6, 1);
        assert_eq!(order(Rule::Last, &written, &removed), Ordering::Greater);
        assert_eq!(order(Rule::Last, &entry(0, 65_536, true, 7, 0), &written), Ordering::Greater);
    }

    //= test SYNC-OPEN-01
    #[test]
    fn an_engine_is_believed_about_its_own_connections_only_and_whichever_version_holds() {
        let ours = Entry { open: 0b0101, ..entry(3, 0, false, 9, 0) };
        let theirs = Entry { open: 0b1010, ..entry(2, 0, false, 9, 0) };
        let merged = merge(Rule::First, slot(0), slot(3), &ours, &theirs);
        assert_eq!((merged.entry.open, merged.changed, merged.answer), (0b1101, true, true));
        let theirs = Entry { open: 0b0001, ..theirs };
        assert_eq!(merge(Rule::First, slot(0), slot(2), &ours, &theirs).entry.open, 0b0001);
    }

    //= test SYNC-AGE-01
    #[test]
    fn the_time_since_a_removal_is_no_idle_time_of_the_life_that_holds_against_it() {
        let (removed, life) =
            (entry(1, 65_536, true, 9, 0), Entry { age_ms: 5_000, ..entry(2, 0, false, 9, 0) });
        for (ours, theirs) in [(&removed, &life), (&life, &removed)] {
            let merged = merge(Rule::First, slot(0), slot(1), ours, theirs);
            assert_eq!((merged.entry.tombstone, merged.entry.age_ms), (false, 5_000));
        }
    }

    //= test SYNC-AGE-01
    #[test]
    fn of_two_idle_times_the_younger_holds_and_who_is_behind_is_told() {
        let (young, old) = (entry(2, 0, false, 9, 0), Entry { age_ms: 5_000, ..entry(2, 0, false, 9, 0) });
        let merged = merge(Rule::First, slot(0), slot(1), &young, &old);
        assert_eq!((merged.entry.age_ms, merged.changed, merged.answer), (0, false, true));
        let merged = merge(Rule::First, slot(0), slot(1), &old, &young);
        assert_eq!((merged.entry.age_ms, merged.changed, merged.answer), (0, true, false));
    }

    //= test SYNC-AGE-01
    #[test]
    fn what_a_third_one_has_open_keeps_nobody_from_saying_or_taking_when_it_was_used() {
        let (young, old) = (entry(2, 0, false, 9, 0), Entry { age_ms: 15_000, ..entry(2, 0, false, 9, 0) });
        for (here, there) in [(1 << 3, 0), (0, 1 << 3), (1 << 3, 1 << 3)] {
            let (a, b) = (Entry { open: here, ..young }, Entry { open: there, ..old });
            let merged = merge(Rule::First, slot(0), slot(1), &a, &b);
            assert_eq!(
                (merged.changed, merged.answer),
                (false, true),
                "{here} {there}: the sender is behind"
            );
            let (a, b) = (Entry { open: here, ..old }, Entry { open: there, ..young });
            let merged = merge(Rule::First, slot(0), slot(1), &a, &b);
            assert_eq!((merged.changed, merged.entry.age_ms), (true, 0), "{here} {there}: it is taken");
            assert_eq!((merged.entry.open, merged.answer), (here, false));
        }
        // Of its own connections each says itself.
        let a = Entry { open: 1, ..young };
        assert!(!merge(Rule::First, slot(0), slot(1), &a, &Entry { open: 1, ..old }).answer);
    }

    //= test SYNC-AGE-01
    #[test]
    fn who_takes_it_for_open_somewhere_else_says_when_it_was_used_by_all_it_knows() {
        let ours = Entry { age_ms: 24_000, ..entry(2, 0, false, 9, 0) };
        for (theirs_ms, holds, changed) in [(30_000, 24_000, false), (5_000, 5_000, true)] {
            let theirs = Entry { open: 1 << 3, age_ms: theirs_ms, ..ours };
            let merged = merge(Rule::First, slot(5), slot(6), &ours, &theirs);
            assert_eq!((merged.entry.age_ms, merged.entry.open, merged.changed), (holds, 0, changed));
        }
        let theirs = Entry { open: 1 << 3, age_ms: 0, ..ours };
        let merged = merge(Rule::First, slot(5), slot(3), &ours, &theirs);
        assert_eq!((merged.entry.age_ms, merged.entry.open), (0, 1 << 3), "it has it open itself");
    }
}

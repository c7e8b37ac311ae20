//! What clients did, as somebody sees it who sees everything; and what must hold because of it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use forebay_core::table::{GroupMillis, KeyBytes, Record};
use forebay_objsync::Rule;

use crate::node::TABLES;
use crate::plan::SECOND;

/// A key of a table.
pub type Place = (usize, KeyBytes);

/// Something that an engine wrote.
#[derive(Clone, Debug)]
pub struct Write {
    /// Which key.
    pub place: Place,
    /// What.
    pub record: Record,
    /// The group's id of the server.
    pub server: u64,
    /// The incarnation that wrote it, and the one that acknowledged it first.
    pub by: u64,
    /// See `by`.
    pub held_by: Option<u64>,
    /// When, in microseconds.
    pub at: u64,
}

/// Microseconds of the longest time-out, and some.
const LONGEST: u64 = 100 * SECOND;

/// All that happened.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By ticket.
    writes: Vec<Write>,
    /// Writes that must not be lost, by key.
    required: BTreeMap<Place, Vec<usize>>,
    /// When an incarnation used a key last, by what it took for its version then.
    uses: BTreeMap<Place, BTreeMap<(u64, Rank), u64>>,
    /// When anybody used a key last.
    last: BTreeMap<Place, u64>,
    /// Incarnations that ended and left nothing, and when.
    dead: BTreeMap<u64, u64>,
    /// Incarnations that began with what an earlier one had left.
    heirs: BTreeMap<u64, u64>,
    /// Writes that a peer acknowledged.
    pub acknowledged: u64,
}

/// Which of two statements holds: the greater one.
pub type Rank = ((u32, u32, bool), Reverse<u64>, Reverse<u8>, (u64, u8), Reverse<u64>);

/// The order in which statements hold, written down a second time.
pub fn rank(rule: Rule, record: &Record, server: u64) -> Rank {
    let v = record.version;
    let value = Reverse(if record.tombstone { 0 } else { server });
    match rule {
        Rule::First => {
            let life = (v.birth, v.switches, record.tombstone);
            (life, Reverse(v.stamp), Reverse(v.origin.get()), (0, 0), value)
        }
        _ => {
            let none = ((0, 0, false), Reverse(0), Reverse(0));
            (none.0, none.1, none.2, (v.stamp, v.origin.get()), value)
        }
    }
}

impl Ledger {
    /// An engine wrote; gives the ticket.
    pub fn wrote(&mut self, write: Write) -> u64 {
        self.writes.push(write);
        self.writes.len() as u64 - 1
    }

    /// A peer has it.
    pub fn acknowledged(&mut self, ticket: u64, by: u64) {
        let write = &mut self.writes[ticket as usize];
        if write.held_by.is_none() {
            write.held_by = Some(by);
            self.acknowledged += 1;
            self.required.entry(write.place).or_default().push(ticket as usize);
        }
    }

    /// A process began with what another had left.
    pub fn inherits(&mut self, boot: u64, from: u64) {
        self.heirs.insert(boot, from);
    }

    /// A process ended and left nothing, not even what it had from one before.
    pub fn died(&mut self, boot: u64, at: u64) {
        let mut next = Some(boot);
        while let Some(boot) = next {
            self.dead.entry(boot).or_insert(at);
            next = self.heirs.get(&boot).copied();
        }
    }

    /// A group's time went back: what was written after that counts as written then.
    pub fn went_back(&mut self, to: GroupMillis) {
        let writes = &self.writes;
        let ahead = |n: &usize| writes[*n].record.version.stamp >> 16 > to.0;
        self.required.values_mut().for_each(|required| required.retain(|n| !ahead(n)));
    }

    /// An engine has connections of a key, which is to it what `rank` says.
    pub fn holds_open(&mut self, place: Place, boot: u64, at: u64, rank: Rank) {
        let uses = self.uses.entry(place).or_default();
        uses.insert((boot, rank), at);
        // What was written for such uses has ended long ago.
        uses.retain(|_, used| at - *used <= LONGEST);
        self.last.insert(place, at);
    }

    /// An engine began to use a key, which was to it what `rank` says. Who has connections of it was said just before.
    pub fn used(&mut self, place: Place, boot: u64, at: u64, rank: Rank) {
        self.ends(place, at);
        self.holds_open(place, boot, at, rank);
    }

    /// Once nobody who knew of a write has used its key for its time-out, the write may be forgotten; a removal not.
    fn ends(&mut self, place: Place, at: u64) {
        let life = u64::from(TABLES[place.0].2) * SECOND;
        let Some(mut required) = self.required.remove(&place) else { return };
        required.retain(|n| {
            let write = &self.writes[*n];
            let kept = write.record.tombstone && TABLES[place.0].1 == Rule::First;
            kept || at - write.at <= life || at - self.last_use_of(write, true) <= life
        });
        self.required.insert(place, required);
    }

    /// When a key was used last, by anybody.
    pub fn last_use(&self, place: Place) -> u64 {
        self.last.get(&place).copied().unwrap_or(0)
    }

    /// When the key of a write was used last by who knew of it, or of what holds against it: who knows only of a weaker
    /// statement prolongs the life of that one. `surely`: by an engine that did not die since, so that somebody must know.
    pub fn last_use_of(&self, write: &Write, surely: bool) -> u64 {
        let rank = rank(TABLES[write.place.0].1, &write.record, write.server);
        let uses = self.uses.get(&write.place).into_iter().flatten();
        uses.filter(|((boot, known), _)| *known >= rank && !(surely && self.dead.contains_key(boot)))
            .map(|(_, at)| *at)
            .max()
            .unwrap_or(write.at)
    }

    /// Whether somebody removed the key of a key-value write by a later one: of that nothing may be left either.
    pub fn was_removed(&self, write: &Write) -> bool {
        let of = |w: &Write| rank(Rule::Last, &w.record, w.server);
        self.writes.iter().any(|w| w.place == write.place && w.record.tombstone && of(w) >= of(write))
    }

    /// What must not be lost at the end, with the writes that show it.
    pub fn required(&mut self, at: u64) -> Vec<Write> {
        for place in self.required.keys().copied().collect::<Vec<_>>() {
            self.ends(place, at);
        }
        // Who holds what a dead engine wrote knows of no later use than its death.
        let ended = |w: &Write, died: u64| {
            let life = u64::from(TABLES[w.place.0].2) * SECOND;
            !w.record.tombstone && at > died + life - 10 * SECOND
        };
        let holds = |w: &&Write| match self.dead.get(&w.by) {
            None => true,
            Some(died) => w.held_by.is_some_and(|by| !self.dead.contains_key(&by)) && !ended(w, *died),
        };
        self.required.values().flatten().map(|n| &self.writes[*n]).filter(holds).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_core::table::{Class, EngineSlot, ServerSlot, Version};

    const PLACE: Place = (0, KeyBytes([1; 16]));

    fn write(birth: u32, by: u64, at: u64, tombstone: bool) -> Write {
        let version = Version { birth, switches: 0, stamp: at, origin: EngineSlot::default() };
        let (server, class) = (ServerSlot(3), Class::default());
        let record = Record { server, class, version, tombstone, lasting: false, open: 0, age_ms: 0 };
        Write { place: PLACE, record, server: 3, by, held_by: None, at }
    }

    fn of(write: &Write) -> Rank {
        rank(Rule::First, &write.record, write.server)
    }

    #[test]
    fn who_knows_only_a_weaker_statement_does_not_prolong_the_stronger_one() {
        let (strong, weak) = (write(7, 1, SECOND, false), write(5, 2, 50 * SECOND, false));
        for (by, uses) in [(&weak, 0), (&strong, 1)] {
            let mut ledger = Ledger::default();
            let ticket = ledger.wrote(strong.clone());
            ledger.used(PLACE, 1, SECOND, of(&strong));
            ledger.acknowledged(ticket, 2);
            ledger.used(PLACE, 2, 50 * SECOND, of(by));
            assert_eq!(ledger.required(70 * SECOND).len(), uses);
        }
    }

    #[test]
    fn what_a_process_had_from_an_earlier_one_is_gone_with_it() {
        let mut ledger = Ledger::default();
        let ticket = ledger.wrote(write(7, 1, SECOND, true));
        ledger.acknowledged(ticket, 2);
        ledger.inherits(3, 1);
        assert_eq!(ledger.required(2 * SECOND).len(), 1);
        ledger.died(2, 3 * SECOND);
        assert_eq!(ledger.required(4 * SECOND).len(), 1);
        ledger.died(3, 5 * SECOND);
        assert_eq!(ledger.required(6 * SECOND).len(), 0, "both that held it left nothing");
    }
}

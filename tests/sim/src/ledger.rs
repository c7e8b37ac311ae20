//! What clients did, as somebody sees it who sees everything; and what must hold because of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use forebay_core::table::{KeyBytes, Record};
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

/// All that happened.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By ticket.
    writes: Vec<Write>,
    /// Writes that must not be lost, by key.
    required: BTreeMap<Place, Vec<usize>>,
    /// When an incarnation used a key last.
    uses: BTreeMap<Place, BTreeMap<u64, u64>>,
    /// Incarnations that ended and left nothing, and when.
    dead: BTreeMap<u64, u64>,
    /// Writes that a peer acknowledged.
    pub acknowledged: u64,
}

/// The order in which statements hold, written down a second time.
pub fn rank(rule: Rule, record: &Record, server: u64) -> impl Ord + use<> {
    let v = record.version;
    let value = Reverse(if record.tombstone { 0 } else { server });
    match rule {
        Rule::First => {
            let life = (v.birth, v.switches, record.tombstone);
            (life, Reverse(v.stamp), Reverse(v.origin.get()), (0, 0), value)
        }
        Rule::Last => {
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

    /// A process ended and left nothing.
    pub fn died(&mut self, boot: u64, at: u64) {
        self.dead.insert(boot, at);
    }

    /// An engine used a key at a moment at which nobody, or somebody, had connections of it.
    pub fn used(&mut self, place: Place, boot: u64, at: u64, open: bool) {
        self.ends(place, at, open);
        self.uses.entry(place).or_default().insert(boot, at);
    }

    /// Once nobody has used a key for its time-out, what was written before may be forgotten; a removal not.
    fn ends(&mut self, place: Place, at: u64, open: bool) {
        let idle = at - self.last_use(place, true);
        if !open && idle > u64::from(TABLES[place.0].2) * SECOND {
            let writes = &self.writes;
            if let Some(required) = self.required.get_mut(&place) {
                required.retain(|n| writes[*n].record.tombstone && TABLES[place.0].1 == Rule::First);
            }
        }
    }

    /// When a key was used last, by anybody; `surely`: by an engine that did not die since, so that somebody must know.
    pub fn last_use(&self, place: Place, surely: bool) -> u64 {
        let uses = self.uses.get(&place).into_iter().flatten();
        uses.filter(|(boot, _)| !surely || !self.dead.contains_key(boot))
            .map(|(_, at)| *at)
            .max()
            .unwrap_or(0)
    }

    /// What must not be lost at the end, with the writes that show it.
    pub fn required(&mut self, at: u64, open: &BTreeSet<Place>) -> Vec<Write> {
        for place in self.required.keys().copied().collect::<Vec<_>>() {
            self.ends(place, at, open.contains(&place));
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

//! Series, read from the file while it is written.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use crate::file::{self, signed};
use crate::{Failure, Key, Kind, Millis, STEPS, Tally};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Whose tallies: of several they are added up.
    pub keys: Vec<Key>,
    /// Of this engine alone.
    pub engine: Option<String>,
    /// Which slots.
    pub range: Range,
}

/// Slots of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Which of [`STEPS`].
    pub level: usize,
    /// The first one, and the one behind the last: slots since 1970.
    pub first: u64,
    /// See `first`.
    pub end: u64,
}

impl Range {
    /// The last `limit` slots before `stop`, from `start` on.
    pub fn of(level: usize, start: Millis, stop: Millis, limit: u64) -> Self {
        let step = STEPS[level].0;
        let end = stop.div_ceil(step);
        Range { level, first: (start.div_ceil(step)).max(end.saturating_sub(limit)).min(end), end }
    }

    /// The length of a slot.
    pub fn step(&self) -> Millis {
        STEPS[self.level].0
    }

    /// When a slot begins.
    pub fn begin(&self, slot: u64) -> Millis {
        slot.saturating_mul(self.step())
    }
}

/// Of so few things rows are sought one by one; for more of them all rows of the time are read, in their order.
const SOUGHT_MAX: usize = 256;

/// The file as it is at one moment.
pub(crate) struct Reader {
    db: Connection,
    rolled: [u64; STEPS.len()],
}

/// A tally for each slot: `None` where nobody told anything, and nothing where it was told that nothing happened.
//= MET-GAP-01
pub fn read(folder: &Path, ask: &Ask) -> Result<Vec<Option<Tally>>, Failure> {
    at_once(folder, |reader| reader.all(ask))
}

/// For each thing what it counted in all of these slots together; `None`: nothing was told of it.
pub fn totals(folder: &Path, keys: &[Key], range: Range) -> Result<Vec<Option<Tally>>, Failure> {
    at_once(folder, |reader| {
        let things = keys.iter().map(|key| reader.thing(key)).collect::<rusqlite::Result<Vec<_>>>()?;
        let mut totals: HashMap<i64, Total> =
            things.iter().flatten().map(|thing| (*thing, Total::default())).collect();
        let is_few = totals.len() <= SOUGHT_MAX;
        for part in reader.parts(range) {
            match is_few {
                true => reader.seek(part, &mut totals)?,
                false => reader.walk(part, &mut totals)?,
            }
        }
        let total = |thing: &Option<i64>| totals.get(thing.as_ref()?).and_then(Total::whole);
        Ok(things.iter().map(total).collect())
    })
}

/// What one thing counted in several slots.
#[derive(Clone, Default)]
struct Total {
    /// Of the slots before this one.
    before: Option<Tally>,
    /// Of the one under way, by all engines.
    slot: u64,
    now: Option<Tally>,
}

impl Total {
    fn add(&mut self, slot: u64, tally: &Tally) {
        if self.slot != slot {
            if let Some(now) = self.now.take() {
                self.before.get_or_insert_default().then(&now);
            }
            self.slot = slot;
        }
        self.now.get_or_insert_default().beside(tally);
    }

    fn whole(&self) -> Option<Tally> {
        let mut all = self.before.clone();
        if let Some(now) = &self.now {
            all.get_or_insert_default().then(now);
        }
        all
    }
}

/// Reads all of it as it is at one moment.
pub(crate) fn at_once<T>(
    folder: &Path,
    read: impl FnOnce(&Reader) -> rusqlite::Result<T>,
) -> Result<T, Failure> {
    let db = file::reader(folder)?;
    let begun = || {
        db.execute_batch("BEGIN")?;
        let mut rolled = [0; STEPS.len()];
        for (level, slot) in rolled.iter_mut().enumerate() {
            let found =
                db.query_row("SELECT slot FROM rolled WHERE level = ?", [signed(level as u64)], |row| {
                    row.get::<_, i64>(0)
                });
            *slot = found.optional()?.unwrap_or(0).unsigned_abs();
        }
        read(&Reader { db, rolled })
    };
    begun().map_err(|error| Failure::File(file::place(folder), error))
}

/// Everything of a kind that was ever told of, in the order in which it was.
pub fn known(folder: &Path, of: Kind) -> Result<Vec<Key>, Failure> {
    let db = file::reader(folder)?;
    let list = || {
        let mut all = db.prepare("SELECT name, server FROM thing WHERE kind = ? ORDER BY id")?;
        let rows =
            all.query_map([of as i64], |row| Ok(Key { of, uuid: row.get(0)?, server: row.get(1)? }))?;
        rows.collect::<rusqlite::Result<Vec<Key>>>()
    };
    list().map_err(|error| Failure::File(file::place(folder), error))
}

impl Reader {
    /// The number of a thing.
    pub(crate) fn thing(&self, key: &Key) -> rusqlite::Result<Option<i64>> {
        let find = "SELECT id FROM thing WHERE kind = ? AND name = ? AND server = ?";
        let kind = key.of as i64;
        let mut find = self.db.prepare_cached(find)?;
        find.query_row(params![kind, key.uuid, key.server], |row| row.get(0)).optional()
    }

    /// The uuid of a thing.
    pub(crate) fn name(&self, thing: i64) -> rusqlite::Result<Option<String>> {
        let mut find = self.db.prepare_cached("SELECT name FROM thing WHERE id = ?")?;
        find.query_row([thing], |row| row.get(0)).optional()
    }

    /// Who holds any of the things that are asked for, since when: of the engine alone that is asked for, if one is.
    pub(crate) fn holders(&self, ask: &Ask) -> rusqlite::Result<BTreeMap<i64, Millis>> {
        let mut holders = BTreeMap::new();
        let only = match &ask.engine {
            Some(uuid) => match self.thing(&Key::new(Kind::Engine, uuid))? {
                Some(engine) => Some(engine),
                None => return Ok(holders),
            },
            None => None,
        };
        for key in &ask.keys {
            let Some(thing) = self.thing(key)? else { continue };
            let mut held = self.db.prepare_cached("SELECT engine, since FROM holds WHERE thing = ?")?;
            let mut rows = held.query([thing])?;
            while let Some(row) = rows.next()? {
                let (engine, since): (i64, i64) = (row.get(0)?, row.get(1)?);
                if only.is_none_or(|only| only == engine) {
                    let first = holders.entry(engine).or_insert(since.unsigned_abs());
                    *first = since.unsigned_abs().min(*first);
                }
            }
        }
        Ok(holders)
    }

    fn all(&self, ask: &Ask) -> rusqlite::Result<Vec<Option<Tally>>> {
        let only = match &ask.engine {
            Some(uuid) => match self.thing(&Key::new(Kind::Engine, uuid))? {
                Some(engine) => Some(engine),
                None => return Ok((ask.range.first..ask.range.end).map(|_| None).collect()),
            },
            None => None,
        };
        let things = ask.keys.iter().map(|key| self.thing(key)).collect::<rusqlite::Result<Vec<_>>>()?;
        let holders = self.holders(ask)?;
        let mut found = Vec::new();
        for slot in ask.range.first..ask.range.end {
            let mut tally: Option<Tally> = None;
            for thing in things.iter().flatten() {
                for (engine, of) in self.of(ask.range.level, slot, *thing)? {
                    if only.is_none_or(|only| only == engine) {
                        tally.get_or_insert_default().beside(&of);
                    }
                }
            }
            if tally.is_none() {
                let end = ask.range.begin(slot + 1);
                for (engine, since) in &holders {
                    if *since < end && self.of(ask.range.level, slot, *engine)?.contains_key(engine) {
                        tally = Some(Tally::default());
                        break;
                    }
                }
            }
            found.push(tally);
        }
        Ok(found)
    }

    /// The same time in as few slots as there are: longer ones where they are made already.
    fn parts(&self, range: Range) -> Vec<Range> {
        let longer = range.level + 1;
        let Some((step, _)) = STEPS.get(longer) else { return vec![range] };
        let ratio = step / STEPS[range.level].0;
        let first = range.first.div_ceil(ratio);
        let end = (range.end / ratio).min(self.rolled[longer]);
        if first >= end {
            return vec![range];
        }
        let before = Range { end: first * ratio, ..range };
        let middle = Range { level: longer, first, end };
        let after = Range { first: end * ratio, ..range };
        [vec![before], self.parts(middle), vec![after]].concat()
    }

    fn seek(&self, range: Range, totals: &mut HashMap<i64, Total>) -> rusqlite::Result<()> {
        for (thing, total) in totals {
            for slot in range.first..range.end {
                for tally in self.of(range.level, slot, *thing)?.values() {
                    total.add(range.begin(slot), tally);
                }
            }
        }
        Ok(())
    }

    fn walk(&self, range: Range, totals: &mut HashMap<i64, Total>) -> rusqlite::Result<()> {
        // What is not made yet is read as it is there.
        let made = match range.level {
            0 => range.end,
            level => range.end.min(self.rolled[level]),
        };
        let all = format!("SELECT slot, thing, tally FROM slot{} WHERE slot >= ? AND slot < ?", range.level);
        let mut all = self.db.prepare_cached(&all)?;
        let mut rows = all.query(params![signed(range.first), signed(made)])?;
        while let Some(row) = rows.next()? {
            let Some(total) = totals.get_mut(&row.get(1)?) else { continue };
            if let Some(tally) = Tally::unpack(row.get_ref(2)?.as_blob().unwrap_or_default()) {
                total.add(range.begin(row.get::<_, i64>(0)?.unsigned_abs()), &tally);
            }
        }
        if made < range.end {
            let ratio = STEPS[range.level].0 / STEPS[range.level - 1].0;
            let first = made.max(range.first) * ratio;
            self.walk(Range { level: range.level - 1, first, end: range.end * ratio }, totals)?;
        }
        Ok(())
    }

    /// What a thing counted in a slot, by engine. What is not rolled up yet is added up from what is there.
    pub(crate) fn of(&self, level: usize, slot: u64, thing: i64) -> rusqlite::Result<BTreeMap<i64, Tally>> {
        let mut found: BTreeMap<i64, Tally> = BTreeMap::new();
        if level > 0 && slot >= self.rolled[level] {
            let ratio = STEPS[level].0 / STEPS[level - 1].0;
            for shorter in slot * ratio..(slot + 1) * ratio {
                for (engine, tally) in self.of(level - 1, shorter, thing)? {
                    found.entry(engine).or_default().then(&tally);
                }
            }
            return Ok(found);
        }
        let all = format!("SELECT engine, tally FROM slot{level} WHERE slot = ? AND thing = ?");
        let mut all = self.db.prepare_cached(&all)?;
        let mut rows = all.query(params![signed(slot), thing])?;
        while let Some(row) = rows.next()? {
            if let Some(tally) = Tally::unpack(row.get_ref(1)?.as_blob().unwrap_or_default()) {
                found.insert(row.get(0)?, tally);
            }
        }
        Ok(found)
    }
}

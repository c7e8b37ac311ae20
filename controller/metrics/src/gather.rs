//! Series of several stores: what each has of them, and how that becomes one answer.
//!
//! Each has what was told to it. Of one slot of one engine several may have a part, one after the other; engines are beside one
//! another, whoever they told.

use std::collections::BTreeMap;
use std::path::Path;

use crate::read::{Ask, Range, Reader, at_once};
use crate::{Failure, Key, Kind, Millis, Tally};

/// Engines that hold something, and since when.
pub type Holders = BTreeMap<String, Millis>;

/// What one thing counted at an engine in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The slot.
    pub slot: u64,
    /// Which of the things that are asked for.
    pub thing: usize,
    /// The engine.
    pub engine: String,
    /// What was counted.
    pub tally: Tally,
}

/// What one store has of what is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// What was counted.
    pub rows: Vec<Row>,
    /// Slots of which there is no row, and in which one of the holders told that it was there.
    pub told: Vec<u64>,
}

/// Of each of these who holds any of its things, as this store knows it.
pub fn holders(folder: &Path, asks: &[Ask]) -> Result<Vec<Holders>, Failure> {
    at_once(folder, |reader| {
        let of = |ask: &Ask| {
            let mut all = Holders::new();
            for (engine, since) in reader.holders(ask)? {
                if let Some(name) = reader.name(engine)? {
                    all.insert(name, since);
                }
            }
            Ok(all)
        };
        asks.iter().map(of).collect()
    })
}

/// Of each of these what this store has; the holders are those that all stores know together.
pub fn parts(folder: &Path, asks: &[(Ask, Holders)]) -> Result<Vec<Part>, Failure> {
    at_once(folder, |reader| asks.iter().map(|(ask, holders)| part(reader, ask, holders)).collect())
}

fn part(reader: &Reader, ask: &Ask, holders: &Holders) -> rusqlite::Result<Part> {
    let engine = |name: &str| reader.thing(&Key::new(Kind::Engine, name));
    let things = ask.keys.iter().map(|key| reader.thing(key)).collect::<rusqlite::Result<Vec<_>>>()?;
    let only = match &ask.engine {
        Some(name) => match engine(name)? {
            Some(id) => Some(id),
            None => return Ok(Part::default()),
        },
        None => None,
    };
    let mut held = Vec::new();
    for (name, since) in holders {
        if let Some(id) = engine(name)? {
            held.push((id, *since));
        }
    }
    let mut names: BTreeMap<i64, Option<String>> = BTreeMap::new();
    let Range { level, first, end } = ask.range;
    let mut part = Part::default();
    for slot in first..end {
        let before = part.rows.len();
        for (nth, thing) in things.iter().enumerate().filter_map(|(nth, thing)| Some((nth, (*thing)?))) {
            for (id, tally) in reader.of(level, slot, thing)? {
                if only.is_some_and(|only| only != id) {
                    continue;
                }
                if let std::collections::btree_map::Entry::Vacant(place) = names.entry(id) {
                    place.insert(reader.name(id)?);
                }
                if let Some(Some(name)) = names.get(&id) {
                    part.rows.push(Row { slot, thing: nth, engine: name.clone(), tally });
                }
            }
        }
        if part.rows.len() > before {
            continue;
        }
        let over = ask.range.begin(slot + 1);
        for (id, since) in &held {
            if *since < over && reader.of(level, slot, *id)?.contains_key(id) {
                part.told.push(slot);
                break;
            }
        }
    }
    Ok(part)
}

/// The holders that several stores know, each since the earliest moment.
pub fn held(parts: impl IntoIterator<Item = Holders>) -> Holders {
    let mut all = Holders::new();
    for (engine, since) in parts.into_iter().flatten() {
        let first = all.entry(engine).or_insert(since);
        *first = since.min(*first);
    }
    all
}

/// One answer of the parts of several stores: what one store would say that had been told all of it.
//= MET-SEVERAL-01
pub fn gathered(range: Range, parts: &[Part]) -> Vec<Option<Tally>> {
    let mut cells: BTreeMap<(u64, usize, &str), Tally> = BTreeMap::new();
    for row in parts.iter().flat_map(|part| &part.rows) {
        cells.entry((row.slot, row.thing, &row.engine)).or_default().then(&row.tally);
    }
    let mut slots: BTreeMap<u64, Tally> = BTreeMap::new();
    for ((slot, ..), tally) in &cells {
        slots.entry(*slot).or_default().beside(tally);
    }
    for slot in parts.iter().flat_map(|part| &part.told) {
        slots.entry(*slot).or_default();
    }
    (range.first..range.end).map(|slot| slots.remove(&slot)).collect()
}

/// The same of totals: what things counted in all of some time, by each store. Of what was open the most that one of them knows
/// counts.
pub fn gathered_totals(parts: impl IntoIterator<Item = Vec<Option<Tally>>>) -> Vec<Option<Tally>> {
    let mut all: Vec<Option<Tally>> = Vec::new();
    for part in parts {
        if all.len() < part.len() {
            all.resize(part.len(), None);
        }
        for (held, more) in all.iter_mut().zip(part) {
            match (held.as_mut(), more) {
                (Some(held), Some(more)) => held.then(&more),
                (None, more) => *held = more,
                (Some(_), None) => {}
            }
        }
    }
    all
}

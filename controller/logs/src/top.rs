//! What occurs most often in a field: the paths, clients or servers that searches would count by hand.

use std::collections::HashMap;
use std::path::PathBuf;

use rusqlite::types::Value as Bound;
use serde_json::Value;

use crate::filter::{self, Holds};
use crate::hour::Reader;
use crate::record;
use crate::search::{Position, Search, Step, walk};
use crate::{Failure, Micros};

/// Different values that are counted at most: some tens of megabytes. What comes beyond is counted together.
const VALUES_MAX: usize = 200_000;

/// One value and how often it occurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopOf {
    /// The value; a record that lacks the field has none.
    pub value: Value,
    /// Records that have it.
    pub count: u64,
}

/// The most frequent values of a field.
#[derive(Debug, Default)]
pub struct Top {
    /// Most frequent first; of two that are as frequent, the smaller text.
    pub values: Vec<TopOf>,
    /// Records that were counted.
    pub records: u64,
    /// Records whose value came when there was no place for more different ones.
    pub others: u64,
    /// Where to go on; `None`: all was looked through.
    pub next: Option<Position>,
    /// Files that could not be read.
    pub damaged: u32,
}

/// Counts of values, by their JSON.
#[derive(Default)]
struct Tally {
    counts: HashMap<String, u64>,
    others: u64,
}

impl Tally {
    fn add(&mut self, value: &Value, count: u64) {
        let key = value.to_string();
        let is_full = self.counts.len() >= VALUES_MAX;
        match self.counts.get_mut(&key) {
            Some(held) => *held += count,
            None if is_full => self.others += count,
            None => drop(self.counts.insert(key, count)),
        }
    }
}

fn value(words: &[(i64, String)], holds: Holds, bound: Bound) -> Value {
    match (holds, bound) {
        (_, Bound::Null) => Value::Null,
        (Holds::Word, Bound::Integer(id)) => Reader::word(words, id).into(),
        (Holds::Flag, Bound::Integer(flag)) => (flag != 0).into(),
        (_, Bound::Integer(number)) => number.into(),
        (_, Bound::Real(number)) => number.into(),
        (_, Bound::Text(text)) => text.into(),
        (_, Bound::Blob(bytes)) => <[u8; 16]>::try_from(bytes).map(record::shown).ok().into(),
    }
}

//= LOG-FIND-03
/// Counts the values of a field among the records that a search finds; `search.limit` is how many values are wanted.
pub(crate) fn top(hours: &[(Micros, PathBuf)], search: &Search, field: &str) -> Result<Top, Failure> {
    let (mut tally, mut records) = (Tally::default(), 0);
    let column = filter::column(field);
    let (next, damaged) = walk(hours, search, |reader, slice| {
        let (conditions, bound) = slice.conditions();
        let bound = rusqlite::params_from_iter(bound);
        let (db, words, packs) = reader.parts();
        // A slice counts when it is through: one that time cuts off is counted again from its end.
        let mut found: Vec<(Value, u64)> = Vec::new();
        match column.filter(|_| slice.plan.rest.is_empty()) {
            Some((column, holds)) => {
                let mut rows =
                    db.prepare(&format!("SELECT {column}, count(*) {conditions} GROUP BY {column}"))?;
                let mut rows = rows.query(bound)?;
                while let Some(row) = rows.next()? {
                    found.push((value(words, holds, row.get(0)?), row.get::<_, i64>(1)?.unsigned_abs()));
                }
            }
            None => {
                let mut rows = db.prepare(&format!("SELECT {} {conditions}", crate::hour::ROW))?;
                let mut rows = rows.query(bound)?;
                while let Some(row) = rows.next()? {
                    let (_, record) = Reader::record(words, packs, slice.begin, row)?;
                    if !slice.plan.rest.iter().all(|filter| filter.may_meet(&record)) {
                        continue;
                    }
                    let mut record = record.shown();
                    if slice.plan.rest.iter().all(|filter| filter.is_met(&record)) {
                        found.push((record.remove(field).unwrap_or(Value::Null), 1));
                    }
                }
            }
        }
        for (value, count) in found {
            tally.add(&value, count);
            records += count;
        }
        Ok(Step::On)
    })?;
    let values = most(tally.counts, search.limit);
    Ok(Top { values, records, others: tally.others, next, damaged })
}

/// The most frequent of these, by their JSON: so many; of two that are as frequent, the smaller text first.
pub(crate) fn most(counts: HashMap<String, u64>, want: usize) -> Vec<TopOf> {
    let mut values: Vec<_> = counts.into_iter().collect();
    values.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
    values.truncate(want);
    let read = |(text, count): (String, u64)| TopOf {
        value: serde_json::from_str(&text).unwrap_or(Value::Null),
        count,
    };
    values.into_iter().map(read).collect()
}

//! Searches: newest first, at most so many records, within a time. Who is not through by then is told how far back it came.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;
use rusqlite::types::Value as Bound;
use serde_json::{Map, Value};

use crate::filter::{Filter, Plan};
use crate::hour::{self, NTH_BITS, ROW, Reader};
use crate::record::Kind;
use crate::{Failure, HOUR, Micros};

/// Records of one answer at most.
pub(crate) const LIMIT_MAX: usize = 10_000;

/// How long a slice of time is that is looked through before the clock is looked at; slices grow while they are quick.
const SLICE_FIRST: Micros = 2_000_000;

/// A slice below this is quick.
const QUICK: Duration = Duration::from_millis(20);

/// Steps of SQLite between looks at the clock: some tens of microseconds.
const STEPS: i32 = 10_000;

/// A place in the order of all records: what comes next is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The microsecond.
    pub at: Micros,
    /// Which of it.
    pub nth: i64,
}

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Search {
    /// Of connections or of requests; `None`: both.
    pub kind: Option<Kind>,
    /// Conditions, all of which hold.
    pub filters: Vec<Filter>,
    /// Not before.
    pub from: Micros,
    /// Before this moment.
    pub to: Micros,
    /// Older than this one: where an earlier answer stopped.
    pub before: Option<Position>,
    /// Records at most, up to 10,000.
    pub limit: usize,
    /// How long it may take.
    pub within: Duration,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Records, newest first.
    pub records: Vec<Map<String, Value>>,
    /// Where to go on; `None`: all was looked through.
    pub next: Option<Position>,
    /// Files that could not be read.
    pub damaged: u32,
}

/// What one slice of an hour is asked for.
pub(crate) struct Slice<'s> {
    /// The hour's first moment.
    pub begin: Micros,
    /// Numbers of records: from, and before.
    pub ids: (i64, i64),
    /// When time is up.
    pub until: Instant,
    pub plan: &'s Plan<'s>,
    pub kind: Option<Kind>,
}

impl Slice<'_> {
    /// The conditions, and what their marks stand for.
    pub(crate) fn conditions(&self) -> (String, Vec<Bound>) {
        let kind = self
            .kind
            .map_or(String::new(), |kind| format!(" AND kind = {}", i64::from(kind == Kind::Request)));
        let index = if self.plan.by_service { " INDEXED BY by_service" } else { " NOT INDEXED" };
        let bound = [Bound::Integer(self.ids.0), Bound::Integer(self.ids.1)];
        let bound = bound.into_iter().chain(self.plan.bound.iter().cloned()).collect();
        (format!("FROM log{index} WHERE id >= ? AND id < ?{kind}{}", self.plan.sql), bound)
    }
}

/// How a walk through the slices goes on.
pub(crate) enum Step {
    /// With the next one.
    On,
    /// Enough was found; everything before this position is still to be looked through.
    Enough(Position),
}

/// Where an answer may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Behind any record.
    Record,
    /// Behind all records of a microsecond, which may be some more than were asked for.
    Microsecond,
}

/// Whether time is what ended it.
pub(crate) fn is_over(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

//= LOG-FIND-01
//= LOG-FIND-02
/// Goes back through the slices of all hours between two moments; says where time was up, and how many files are damaged.
pub(crate) fn walk(
    hours: &[(Micros, PathBuf)],
    search: &Search,
    mut look: impl FnMut(&mut Reader, &Slice<'_>) -> rusqlite::Result<Step>,
) -> Result<(Option<Position>, u32), Failure> {
    search.filters.iter().try_for_each(Filter::check).map_err(Failure::Asked)?;
    let until = Instant::now() + search.within;
    let end = Position { at: search.to, nth: 0 };
    let end = search.before.map_or(end, |before| before.min(end));
    let (mut damaged, mut length) = (0, SLICE_FIRST);
    for (begin, path) in
        hours.iter().rev().filter(|(begin, _)| *begin <= end.at && begin + HOUR > search.from)
    {
        let mut reader = match Reader::open(path) {
            Ok(reader) => reader,
            // Retention was quicker.
            Err(_) if !path.exists() => continue,
            Err(error) => {
                tracing::error!(event = "CONTROLLER_LOG_DAMAGED", file = %path.display(), %error, "an hour of logs cannot be read");
                damaged += 1;
                continue;
            }
        };
        let _ = reader.db.progress_handler(STEPS, Some(move || Instant::now() >= until));
        let words = std::mem::take(&mut reader.words);
        let mut plan = Plan::default();
        search.filters.iter().for_each(|filter| filter.plan(&words, &mut plan));
        reader.words = words;
        let number = |at: Micros, nth: i64| (((at - begin).clamp(0, HOUR)) << NTH_BITS) + nth;
        let first = number(search.from, 0);
        let mut high = if end.at < begin + HOUR { number(end.at, end.nth) } else { HOUR << NTH_BITS };
        while !plan.is_empty && high > first {
            let low = first.max(high - (length << NTH_BITS));
            let place = |id: i64| Position { at: begin + (id >> NTH_BITS), nth: id & ((1 << NTH_BITS) - 1) };
            let began = Instant::now();
            if began >= until {
                return Ok((Some(place(high)), damaged));
            }
            let slice = Slice { begin: *begin, ids: (low, high), until, plan: &plan, kind: search.kind };
            match look(&mut reader, &slice) {
                Ok(Step::On) => {}
                Ok(Step::Enough(position)) => return Ok((Some(position), damaged)),
                Err(error) if is_over(&error) => return Ok((Some(place(high)), damaged)),
                Err(error) => {
                    tracing::error!(event = "CONTROLLER_LOG_DAMAGED", file = %path.display(), %error, "an hour of logs cannot be read");
                    damaged += 1;
                    break;
                }
            }
            high = low;
            length =
                if began.elapsed() < QUICK { (length * 4).min(HOUR) } else { (length / 2).max(SLICE_FIRST) };
        }
    }
    Ok((None, damaged))
}

/// Records of a slice, newest first; with the number of the last one, if there are so many.
type Looked = (Vec<Map<String, Value>>, Option<i64>);

fn look(reader: &mut Reader, slice: &Slice<'_>, limit: usize) -> rusqlite::Result<Looked> {
    let (conditions, bound) = slice.conditions();
    let (db, words, packs) = reader.parts();
    let mut rows = db.prepare(&format!("SELECT {ROW} {conditions} ORDER BY id DESC"))?;
    let mut rows = rows.query(rusqlite::params_from_iter(bound))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if Instant::now() >= slice.until {
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERRUPT),
                None,
            ));
        }
        let (id, record) = Reader::record(words, packs, slice.begin, row)?;
        if !slice.plan.rest.iter().all(|filter| filter.may_meet(&record)) {
            continue;
        }
        let record = record.shown();
        if slice.plan.rest.iter().all(|filter| filter.is_met(&record)) {
            found.push(record);
            if found.len() == limit {
                return Ok((found, Some(id)));
            }
        }
    }
    Ok((found, None))
}

/// Looks for records in the hours of a folder. `by` is behind what an answer may end.
pub(crate) fn search(hours: &[(Micros, PathBuf)], search: &Search, by: Cut) -> Result<Found, Failure> {
    let limit = search.limit.clamp(1, LIMIT_MAX);
    let mut records = Vec::new();
    let (next, damaged) = walk(hours, search, |reader, slice| {
        // A slice counts when it is through: one that time cuts off, here or in SQLite, is looked through again from its end.
        let (mut found, last) = look(reader, slice, limit - records.len())?;
        let step = match last {
            None => Step::On,
            Some(id) => {
                let (us, nth) = (id >> NTH_BITS, id & ((1 << NTH_BITS) - 1));
                let at = slice.begin + us;
                match by {
                    Cut::Record => Step::Enough(Position { at, nth }),
                    Cut::Microsecond => {
                        let rest = Slice { ids: (us << NTH_BITS, id), ..*slice };
                        found.append(&mut look(reader, &rest, usize::MAX)?.0);
                        Step::Enough(Position { at, nth: 0 })
                    }
                }
            }
        };
        records.append(&mut found);
        Ok(step)
    })?;
    Ok(Found { records, next, damaged })
}

/// The hours of a folder that a search may look through.
pub(crate) fn hours(folder: &std::path::Path) -> Result<Vec<(Micros, PathBuf)>, Failure> {
    hour::list(folder)
}

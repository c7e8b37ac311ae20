//! One search over several stores: what each has of it, and how that becomes one answer.
//!
//! Of records the newest come first; those of one microsecond are in the order of a number that follows from what they say, so
//! that it is the same whichever store has them. A store answers with whole microseconds. A record that several stores have is
//! shown once: it is the same if it says the same.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;

use crate::record::moment;
use crate::search::{self, Cut, Found, LIMIT_MAX, Position, Search};
use crate::top::{Top, TopOf};
use crate::{Failure, Micros, top};

/// Bytes of the records of one part: with ten thousand of a kilobyte each there is room for half as much again. What is beyond
/// is left for the next page.
const BYTES_MAX: usize = 16 << 20;

/// Different values of one part: what comes beyond is counted together. Of so many each tells how often it occurs, whichever
/// stores have it.
const GROUPS_MAX: usize = 20_000;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it began.
    pub at: Micros,
    /// Its JSON, fields in the order of their names.
    pub text: String,
}

/// What one store has of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Records, newest first.
    pub lines: Vec<Line>,
    /// From this moment on they are all there; `None`: there are no others.
    pub until: Option<Micros>,
    /// How many there are, those that are not here among them.
    pub count: u64,
    /// From this moment on they are all counted; `None`: all are.
    pub counted: Option<Micros>,
    /// Files that could not be read.
    pub damaged: u32,
    /// The first moment of the eldest hour.
    pub eldest: Option<Micros>,
}

/// Where an answer of several stores ended: what comes next is older, or of the same microsecond with a lower number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The microsecond.
    pub at: Micros,
    /// The number of its record.
    pub key: u64,
    /// How many of that microsecond were there already.
    pub shown: usize,
}

/// Above all numbers of records.
const ALL: u64 = 1 << 63;

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{:x}-{}", self.at, self.key, self.shown)
    }
}

impl std::str::FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(());
        let at = next()?.parse().map_err(drop)?;
        let key = u64::from_str_radix(next()?, 16).map_err(drop)?;
        let shown = next()?.parse().map_err(drop)?;
        let is_whole = parts.next().is_none() && key <= ALL && shown <= LIMIT_MAX && at >= 0;
        is_whole.then_some(Cursor { at, key, shown }).ok_or(())
    }
}

impl Cursor {
    /// Everything before a moment.
    fn before(at: Micros) -> Self {
        Cursor { at: at.saturating_sub(1), key: ALL, shown: 0 }
    }

    /// What stores are asked for to go on from here: what is older than this microsecond, and so many records more.
    pub fn asked(&self) -> (Micros, usize) {
        (self.at.saturating_add(1), self.shown)
    }

    fn place(&self) -> (Micros, u64) {
        (self.at, self.key)
    }
}

/// Records of several stores as one answer.
#[derive(Debug, Default)]
pub struct Merged {
    /// Records, newest first.
    pub lines: Vec<Line>,
    /// Where to go on; `None`: that was all.
    pub next: Option<Cursor>,
    /// How many there are from where it began, as far as they were counted. Those that are not shown here, and that several stores
    /// have, are counted by each.
    pub count: u64,
    /// From this moment on they are counted; `None`: all are.
    pub counted: Option<Micros>,
}

/// What a store has of a search, before this microsecond.
pub(crate) fn part(
    hours: &[(Micros, PathBuf)],
    what: &Search,
    before: Option<Micros>,
) -> Result<Part, Failure> {
    let began = Instant::now();
    let what = Search { before: before.map(|at| Position { at, nth: 0 }), ..what.clone() };
    let Found { records, next, damaged } = search::search(hours, &what, Cut::Microsecond)?;
    let mut count = records.len() as u64;
    let (mut until, mut counted) = (next.map(|next| next.at), next.map(|next| next.at));
    if next.is_some() && records.len() >= what.limit.min(LIMIT_MAX) {
        // How many more there are is told as far as time allows.
        let within = what.within.saturating_sub(began.elapsed());
        let rest = top::top(hours, &Search { before: next, within, limit: 1, ..what }, "significant")?;
        count += rest.records;
        counted = rest.next.map(|next| next.at);
        until = until.filter(|_| rest.records > 0 || rest.next.is_some());
    }
    let mut lines = Vec::with_capacity(records.len());
    let mut bytes = 0;
    for record in records {
        let at = record.get("report_timestamp").and_then(Value::as_str).and_then(moment).unwrap_or_default();
        let text = Value::Object(record).to_string();
        bytes += text.len();
        lines.push(Line { at, text });
    }
    if bytes > BYTES_MAX {
        cut(&mut lines, &mut until);
    }
    let eldest = hours.first().map(|(begin, _)| *begin);
    Ok(Part { lines, until, count, counted, damaged, eldest })
}

/// What a store has of the values of a field; those for which there is no room are counted together.
pub(crate) fn groups(hours: &[(Micros, PathBuf)], what: &Search, field: &str) -> Result<Top, Failure> {
    let mut top = top::top(hours, &Search { limit: usize::MAX, ..what.clone() }, field)?;
    let mut bytes = 0;
    let room = top.values.iter().take(GROUPS_MAX).take_while(|of| {
        bytes += of.value.as_str().map_or(8, str::len) + 16;
        bytes <= BYTES_MAX
    });
    let room = room.count();
    top.others += top.values.drain(room..).map(|of| of.count).sum::<u64>();
    Ok(top)
}

/// Leaves the oldest for the next page, by whole microseconds; the newest of these stays whatever it takes.
fn cut(lines: &mut Vec<Line>, until: &mut Option<Micros>) {
    let (mut bytes, mut keep) = (0, 0);
    for group in lines.chunk_by(|a, b| a.at == b.at) {
        bytes += group.iter().map(|line| line.text.len()).sum::<usize>();
        if bytes > BYTES_MAX && keep > 0 {
            break;
        }
        keep += group.len();
    }
    if keep < lines.len() {
        *until = lines[..keep].last().map(|line| line.at);
        lines.truncate(keep);
    }
}

/// The number of a record among those of its microsecond: of what it says, and of how many before it say the same (FNV-1a).
fn key(text: &str, nth: usize) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in text.bytes().chain((nth as u64).to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // What differs at the end of a text alone is to be spread as well.
    (hash ^ (hash >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1
}

/// One answer of the parts of several stores: `want` records, behind those of an earlier answer.
//= LOG-SEVERAL-01
pub fn merged(parts: Vec<Part>, after: Option<Cursor>, want: usize) -> Merged {
    let mut merged = Merged::default();
    let mut floor = None;
    let mut all: BTreeMap<(Micros, u64), Line> = BTreeMap::new();
    for part in parts {
        floor = floor.max(part.until);
        merged.counted = merged.counted.max(part.counted);
        merged.count += part.count - (part.lines.len() as u64).min(part.count);
        for group in part.lines.chunk_by(|a, b| a.at == b.at) {
            let mut same: HashMap<&str, usize> = HashMap::new();
            for line in group {
                let nth = same.entry(&line.text).or_default();
                let place = (line.at, key(&line.text, *nth));
                *nth += 1;
                if after.is_none_or(|after| place < after.place()) {
                    all.entry(place).or_insert_with(|| line.clone());
                }
            }
        }
    }
    merged.count += all.len() as u64;
    let whole = all.into_iter().rev().take_while(|((at, _), _)| floor.is_none_or(|floor| *at >= floor));
    let mut last = None;
    for (place, line) in whole.take(want) {
        last = Some(place);
        merged.lines.push(line);
    }
    if merged.count > merged.lines.len() as u64 || merged.counted.is_some() {
        let is_cut = merged.lines.len() == want;
        let ended = match (last.filter(|_| is_cut), floor) {
            (Some((at, key)), _) => {
                let before = after.filter(|after| after.at == at).map_or(0, |after| after.shown);
                let here = merged.lines.iter().rev().take_while(|line| line.at == at).count();
                Some(Cursor { at, key, shown: (before + here).min(LIMIT_MAX) })
            }
            (None, floor) => floor.map(Cursor::before),
        };
        // Who had no time for anything begins there again.
        merged.next = match (ended, after) {
            (Some(ended), Some(after)) if ended.place() >= after.place() => Some(after),
            (ended, _) => ended,
        };
    }
    merged
}

/// The most frequent values of the parts of several stores: so many of them. Where to go on is that of each part.
//= LOG-SEVERAL-02
pub fn merged_top(parts: Vec<Top>, want: usize) -> Top {
    let mut merged = Top::default();
    let mut counts: HashMap<String, u64> = HashMap::new();
    for part in parts {
        merged.records += part.records;
        merged.others += part.others;
        merged.damaged += part.damaged;
        for TopOf { value, count } in part.values {
            *counts.entry(value.to_string()).or_default() += count;
        }
    }
    merged.values = top::most(counts, want);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(of: &[(Micros, &str)]) -> Vec<Line> {
        of.iter().map(|(at, text)| Line { at: *at, text: (*text).to_owned() }).collect()
    }

    fn part(of: &[(Micros, &str)], until: Option<Micros>) -> Part {
        let lines = lines(of);
        Part { count: lines.len() as u64, counted: until, lines, until, ..Part::default() }
    }

    fn texts(merged: &Merged) -> Vec<&str> {
        merged.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn what_a_store_did_not_come_to_holds_the_others_back() {
        let quick = part(&[(9, "a"), (7, "c"), (3, "e")], None);
        let slow = part(&[(8, "b")], Some(6));
        let first = merged(vec![quick.clone(), slow], None, 10);
        assert_eq!(texts(&first), ["a", "b", "c"]);
        assert_eq!((first.count, first.counted), (4, Some(6)));
        let next = first.next.expect("more");
        assert_eq!(next.asked(), (6, 0));
        let rest = merged(vec![part(&[(3, "e")], None), part(&[(5, "d")], None)], Some(next), 10);
        assert_eq!((texts(&rest), rest.next), (vec!["d", "e"], None));
        // Who had no time at all goes on from where it was.
        let none = merged(vec![quick, part(&[], Some(6))], Some(next), 10);
        assert_eq!((none.lines.len(), none.next), (0, Some(next)));
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = Cursor { at: 1_763_900_000_000_000, key: 0x7fff_ffff_ffff_ffff, shown: 3 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in ["", "1", "1-2", "1-x-0", "1-2-3-4", "-1-0-0", "1-ffffffffffffffff-0", "1-0-99999999"] {
            assert_eq!(bad.parse::<Cursor>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn what_is_too_long_is_left_by_whole_microseconds() {
        let long = "x".repeat(BYTES_MAX / 3);
        let mut all = lines(&[(9, &long), (8, &long), (8, &long), (7, &long)]);
        let mut until = None;
        cut(&mut all, &mut until);
        assert_eq!((all.len(), until), (3, Some(8)));
        let mut one = lines(&[(9, &long), (9, &long), (9, &long), (9, &long)]);
        cut(&mut one, &mut until);
        assert_eq!(one.len(), 4, "there would be no end otherwise");
    }
}

//! What Controllers ask one another for, and answer: JSON, and records as lines.

use std::time::Duration;

use forebay_logs::{Filter, Kind as OfLogs, Line, Micros, Op, Part as Records, Position, Search, Top, TopOf};
use forebay_metrics::{Ask, Holders, Key, Kind, Part as Slots, Range, Row, STEPS, Tally};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Things of one question for totals, and questions for series at once with all of their things.
pub const THINGS_MAX: usize = 20_000;
/// Slots that one question reads at most, over all of its series: as many as one answer of the API.
const SLOTS_MAX: u64 = 20_000;
/// Rows of one part: some 200 bytes each.
const ROWS_MAX: usize = 50_000;
/// The longest that a node looks for somebody else.
const WITHIN_MAX: Duration = Duration::from_secs(30);

const OPS: [(&str, Op); 8] = [
    ("eq", Op::Eq),
    ("ne", Op::Ne),
    ("gt", Op::Gt),
    ("ge", Op::Ge),
    ("lt", Op::Lt),
    ("le", Op::Le),
    ("co", Op::Contains),
    ("sw", Op::StartsWith),
];

/// A search.
#[derive(Serialize, Deserialize)]
pub struct Looked {
    is_request: Option<bool>,
    filters: Vec<(String, String, Vec<String>)>,
    from: Micros,
    to: Micros,
    limit: usize,
    within_ms: u64,
    /// Before this microsecond, and this place of it.
    before: Option<(Micros, i64)>,
    /// The field whose values are counted.
    field: Option<String>,
}

impl Looked {
    /// Of a search, within another time.
    pub fn of(search: &Search, before: Option<Position>, within: Duration, field: Option<&str>) -> Self {
        let op = |of: Op| OPS.iter().find(|(_, op)| *op == of).map_or("eq", |(name, _)| name);
        let filter = |of: &Filter| (of.field.clone(), op(of.op).to_owned(), of.values.clone());
        Looked {
            is_request: search.kind.map(|kind| kind == OfLogs::Request),
            filters: search.filters.iter().map(filter).collect(),
            from: search.from,
            to: search.to,
            limit: search.limit,
            within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
            before: before.map(|before| (before.at, before.nth)),
            field: field.map(str::to_owned),
        }
    }

    /// As it is looked for; `None`: this version does not know what is asked for.
    pub fn search(self) -> Option<(Search, Option<String>)> {
        let filter = |(field, op, values): (String, String, Vec<String>)| {
            let op = OPS.iter().find(|(name, _)| *name == op).map(|(_, op)| *op)?;
            Some(Filter { field, op, values })
        };
        let kind = |is: bool| if is { OfLogs::Request } else { OfLogs::Connection };
        let search = Search {
            kind: self.is_request.map(kind),
            filters: self.filters.into_iter().map(filter).collect::<Option<_>>()?,
            from: self.from,
            to: self.to,
            before: self.before.map(|(at, nth)| Position { at, nth }),
            limit: self.limit,
            within: Duration::from_millis(self.within_ms).min(WITHIN_MAX),
        };
        Some((search, self.field))
    }
}

/// What stands before the records of a part.
#[derive(Serialize, Deserialize)]
struct Head {
    until: Option<Micros>,
    count: u64,
    counted: Option<Micros>,
    damaged: u32,
    eldest: Option<Micros>,
}

/// Records of a node, as they go over the wire.
pub fn records(part: &Records) -> Vec<u8> {
    let Records { lines, until, count, counted, damaged, eldest } = part;
    let head = Head { until: *until, count: *count, counted: *counted, damaged: *damaged, eldest: *eldest };
    let mut text = serde_json::to_string(&head).unwrap_or_default();
    for line in lines {
        text.push_str(&format!("\n{} ", line.at));
        text.push_str(&line.text);
    }
    text.into_bytes()
}

/// The same the other way.
pub fn read_records(said: &[u8]) -> Option<Records> {
    let mut lines = std::str::from_utf8(said).ok()?.split('\n');
    let head: Head = serde_json::from_str(lines.next()?).ok()?;
    let line = |line: &str| {
        let (at, text) = line.split_once(' ')?;
        Some(Line { at: at.parse().ok()?, text: text.to_owned() })
    };
    let lines = lines.map(line).collect::<Option<Vec<_>>>()?;
    // Newest first, as answers of several are made.
    let is_in_order = lines.is_sorted_by(|a, b| a.at >= b.at);
    let Head { until, count, counted, damaged, eldest } = head;
    is_in_order.then_some(Records { lines, until, count, counted, damaged, eldest })
}

/// Groups of a node.
#[derive(Serialize, Deserialize)]
struct Groups {
    values: Vec<(Value, u64)>,
    records: u64,
    others: u64,
    next: Option<(Micros, i64)>,
    damaged: u32,
    eldest: Option<Micros>,
}

/// Groups of a node, as they go over the wire, with the first moment of its eldest hour.
pub fn groups(top: Top, eldest: Option<Micros>) -> Vec<u8> {
    let groups = Groups {
        values: top.values.into_iter().map(|of| (of.value, of.count)).collect(),
        records: top.records,
        others: top.others,
        next: top.next.map(|next| (next.at, next.nth)),
        damaged: top.damaged,
        eldest,
    };
    serde_json::to_vec(&groups).unwrap_or_default()
}

/// The same the other way.
pub fn read_groups(said: &[u8]) -> Option<(Top, Option<Micros>)> {
    let groups: Groups = serde_json::from_slice(said).ok()?;
    let top = Top {
        values: groups.values.into_iter().map(|(value, count)| TopOf { value, count }).collect(),
        records: groups.records,
        others: groups.others,
        next: groups.next.map(|(at, nth)| Position { at, nth }),
        damaged: groups.damaged,
    };
    Some((top, groups.eldest))
}

type Name = (u8, String, String);

fn name(key: &Key) -> Name {
    (key.of as u8, key.uuid.clone(), key.server.clone())
}

fn key((of, uuid, server): Name) -> Option<Key> {
    let of = match of {
        0 => Kind::Engine,
        1 => Kind::Service,
        2 => Kind::Pool,
        3 => Kind::Server,
        4 => Kind::Controller,
        _ => return None,
    };
    Some(Key { of, uuid, server })
}

/// Which slots of which length.
type Span = (usize, u64, u64);

fn range((level, first, end): Span) -> Option<Range> {
    (level < STEPS.len() && first <= end).then_some(Range { level, first, end })
}

/// A series that is asked for, and who holds its things.
#[derive(Serialize, Deserialize)]
pub struct Asked {
    things: Vec<Name>,
    engine: Option<String>,
    span: Span,
    holders: Holders,
}

impl Asked {
    /// Of a series.
    pub fn of(ask: &Ask, holders: Holders) -> Self {
        Asked {
            things: ask.keys.iter().map(name).collect(),
            engine: ask.engine.clone(),
            span: (ask.range.level, ask.range.first, ask.range.end),
            holders,
        }
    }

    /// All of a question; `None`: it is too long, or asks for what this version does not know.
    pub fn all(said: &[u8]) -> Option<Vec<(Ask, Holders)>> {
        let all: Vec<Asked> = serde_json::from_slice(said).ok()?;
        let of = |asked: Asked| {
            let keys = asked.things.into_iter().map(key).collect::<Option<_>>()?;
            Some((Ask { keys, engine: asked.engine, range: range(asked.span)? }, asked.holders))
        };
        let all = all.into_iter().map(of).collect::<Option<Vec<_>>>()?;
        let slots = all.iter().map(|(ask, _)| ask.range.end - ask.range.first);
        let things: usize = all.iter().map(|(ask, _)| ask.keys.len()).sum();
        (slots.fold(0, u64::saturating_add) <= SLOTS_MAX && things <= THINGS_MAX).then_some(all)
    }
}

/// Sums, tops and durations of a tally.
type Counts = (Vec<u64>, Vec<u64>, Vec<u64>);

fn counts(tally: Tally) -> Counts {
    (tally.sums, tally.tops, tally.durations)
}

fn tally((sums, tops, durations): Counts) -> Tally {
    Tally { sums, tops, durations }
}

/// The slots of a node of one series.
#[derive(Serialize, Deserialize)]
struct Sliced {
    engines: Vec<String>,
    rows: Vec<(u64, usize, usize, Counts)>,
    told: Vec<u64>,
}

/// Slots of a node, as they go over the wire; `None`: they are too many.
pub fn slots(parts: Vec<Slots>) -> Option<Vec<u8>> {
    if parts.iter().map(|part| part.rows.len()).sum::<usize>() > ROWS_MAX {
        return None;
    }
    let of = |part: Slots| {
        let mut engines: Vec<String> = part.rows.iter().map(|row| row.engine.clone()).collect();
        engines.sort_unstable();
        engines.dedup();
        let row = |Row { slot, thing, engine, tally }: Row| {
            let engine = engines.binary_search(&engine).unwrap_or_default();
            (slot, thing, engine, counts(tally))
        };
        let rows = part.rows.into_iter().map(row).collect();
        Sliced { engines, rows, told: part.told }
    };
    serde_json::to_vec(&parts.into_iter().map(of).collect::<Vec<_>>()).ok()
}

/// The same the other way.
pub fn read_slots(said: &[u8]) -> Option<Vec<Slots>> {
    let all: Vec<Sliced> = serde_json::from_slice(said).ok()?;
    let of = |sliced: Sliced| {
        let row = |(slot, thing, engine, counts): (u64, usize, usize, Counts)| {
            Some(Row { slot, thing, engine: sliced.engines.get(engine)?.clone(), tally: tally(counts) })
        };
        Some(Slots { rows: sliced.rows.into_iter().map(row).collect::<Option<_>>()?, told: sliced.told })
    };
    all.into_iter().map(of).collect()
}

/// Totals that are asked for.
#[derive(Serialize, Deserialize)]
pub struct AskedTotals {
    things: Vec<Name>,
    span: Span,
}

impl AskedTotals {
    /// Of these things.
    pub fn of(keys: &[Key], range: Range) -> Self {
        AskedTotals { things: keys.iter().map(name).collect(), span: (range.level, range.first, range.end) }
    }

    /// As they are read; `None`: it is too much, or what this version does not know.
    pub fn read(said: &[u8]) -> Option<(Vec<Key>, Range)> {
        let asked: AskedTotals = serde_json::from_slice(said).ok()?;
        let keys = asked.things.into_iter().map(key).collect::<Option<Vec<_>>>()?;
        let range = range(asked.span)?;
        (keys.len() <= THINGS_MAX && range.end - range.first <= SLOTS_MAX).then_some((keys, range))
    }
}

/// Totals of a node: those that there are, by the number of the thing.
pub fn totals(all: Vec<Option<Tally>>) -> Vec<u8> {
    let there = all.into_iter().enumerate().filter_map(|(nth, tally)| Some((nth, counts(tally?))));
    serde_json::to_vec(&there.collect::<Vec<_>>()).unwrap_or_default()
}

/// The same the other way, of so many things.
pub fn read_totals(said: &[u8], things: usize) -> Option<Vec<Option<Tally>>> {
    let there: Vec<(usize, Counts)> = serde_json::from_slice(said).ok()?;
    let mut all = vec![None; things];
    for (nth, counts) in there {
        *all.get_mut(nth)? = Some(tally(counts));
    }
    Some(all)
}

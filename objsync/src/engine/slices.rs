//! Sums of a range, computed a slice at a time: a table has as many entries as there is memory, and what changes meanwhile
//! does not wait until all of a range has been read.

use alloc::vec::Vec;

use forebay_core::table::EngineSlot;
use forebay_core::units::Now;

use super::Engine;
use super::answer::end_of_partition;
use super::peer::Session;
use super::sums::{Cells, RANGE_BITS, Summing, on_wire, range_part};
use crate::limits::TABLES_A_FRAME;
use crate::shards::{Shards, Shared};
use crate::wire::{Frame, Step, Sums};

/// What an entry costs, in buckets that are found empty.
const ENTRY_COST: usize = 8;

/// A quarter of a range of hashes, less one.
const QUARTER: u64 = (1 << (64 - RANGE_BITS - 2)) - 1;

/// Sums of which a part has been computed.
#[derive(Debug)]
pub(super) struct Partial {
    step: Step,
    tables: Vec<Shared>,
    cells: Cells,
    /// The hash from which on nothing has been read.
    next: u64,
    began: Now,
}

/// A range of which some sums have been sent.
#[derive(Debug)]
pub(super) struct Begun {
    tables: Vec<Shared>,
    /// How many of them are in frames that were sent.
    through: usize,
    pub began: Now,
    pub frames: u32,
    /// What the sums that were sent were made of, by table.
    pub own: Vec<(u64, Vec<(u16, u128)>)>,
}

impl Begun {
    pub(super) fn new(tables: Vec<Shared>, began: Now) -> Self {
        Self { tables, through: 0, began, frames: 0, own: Vec::new() }
    }

    /// Whether it is these tables that are compared.
    pub(super) fn is_of(&self, tables: &[Shared]) -> bool {
        self.tables == tables
    }
}

impl Partial {
    fn new(step: Step, tables: &[Shared], began: Now) -> Self {
        let cells = Cells::of_tables(tables.len());
        Self { step, tables: tables.to_vec(), cells, next: *range_part(step.range).start(), began }
    }

    fn is_of(&self, step: &Step, tables: &[Shared]) -> bool {
        self.step == *step && self.tables == tables
    }

    /// Reads on, until everything has been read (`true`) or so much as a slice may cost.
    fn go_on<S: Shards>(&mut self, summing: &Summing<'_>, shards: &mut S, slice: usize, now: Now) -> bool {
        let geometry = shards.geometry();
        let last = *range_part(self.step.range).end();
        let mut cost = 0;
        loop {
            let end = end_of_partition(&geometry, self.next).min(last);
            // Who wants smaller slices than partitions, as simulations of few entries do, has them read again and again.
            let end = if slice < geometry.buckets() as usize { end.min(self.next | QUARTER) } else { end };
            let entries = summing.add(&mut self.cells, shards, self.next..=end, &self.tables, now);
            if end == last {
                summing.add_values(&mut self.cells, shards, self.step.range, &self.tables);
                return true;
            }
            self.next = end + 1;
            cost += geometry.buckets() as usize + ENTRY_COST * entries;
            if cost >= slice {
                return false;
            }
        }
    }
}

impl Engine {
    /// The sums of a range, and when the first entry was read; `None`: a slice of it was read, the next call goes on.
    //= SYNC-SLICE-01
    pub(super) fn sums_of<S: Shards>(
        &mut self,
        with: EngineSlot,
        step: &Step,
        tables: &[Shared],
        shards: &mut S,
        now: Now,
    ) -> Option<(Cells, Now)> {
        let before = self.session(with)?.partial.take().filter(|partial| partial.is_of(step, tables));
        let mut partial = before.unwrap_or_else(|| Partial::new(*step, tables, now));
        let slice = self.settings.bounds.slice;
        if partial.go_on(&self.summing(with, step, now), shards, slice, now) {
            return Some((partial.cells, partial.began));
        }
        self.session(with)?.partial = Some(partial);
        None
    }

    /// Sends the sums of a range; `false`: so far only some of them.
    pub(super) fn send_sums<S: Shards>(
        &mut self,
        with: EngineSlot,
        step: Step,
        begun: &mut Begun,
        shards: &mut S,
        now: Now,
    ) -> bool {
        loop {
            let some = begun.tables.get(begun.through..).unwrap_or_default();
            let some: Vec<Shared> = some.iter().take(TABLES_A_FRAME).copied().collect();
            // Where there is no table one frame says that: the peer is to know that it was compared.
            if some.is_empty() && (begun.frames > 0 || !begun.tables.is_empty()) {
                return true;
            }
            let Some((cells, _)) = self.sums_of(with, &step, &some, shards, now) else { return false };
            // What has changed since it was read is on its way before the sums are.
            self.flush_now(with, shards, now);
            begun.own.extend((0..).zip(&some).map(|(place, table)| (table.name, cells.of(place).collect())));
            let sums = (0..).zip(&some);
            let sums = sums
                .map(|(place, table)| Sums { table: table.name, groups: on_wire(cells.groups_of(place)) });
            let sums = sums.collect();
            let clock = self.told_clock(now);
            let Some((session, out)) = self.session_of(with) else { return true };
            session.send(with, clock, now, out, |head| Frame::Sums(head, step, sums));
            begun.frames += 1;
            begun.through += some.len();
            if some.is_empty() {
                return true;
            }
        }
    }
}

/// What a frame that waits takes of memory, its place in the queue and what the allocator needs for it included: most are small.
pub(super) fn waits(bytes: &[u8]) -> usize {
    bytes.len() + 64
}

impl Session {
    /// A frame of a comparison is gone on with before what came after it.
    pub(super) fn go_on_with(&mut self, bytes: &[u8]) {
        self.todo_bytes += waits(bytes);
        self.todo.push_front(bytes.to_vec());
    }
}

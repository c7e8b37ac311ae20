//! The group's time: whose clock is followed.

use alloc::vec::Vec;

use forebay_core::table::{Catalog, EngineSlot, EntryView, GroupMillis, Key, Partition, Version};
use forebay_core::units::{Micros, Now};

use super::{Engine, Event, Output, Why};
use crate::limits::{
    AHEAD_MAX_MS, BACK_PAUSE_MS, CLOCK_HEARD_MS, CLOCK_MAX, CLOCK_TAKEN_MAX, STEP_TOLD_MS, WALL_AHEAD_MAX_MS,
};
use crate::merge::Entry;
use crate::shards::Shards;

impl Engine {
    /// The clock that peers are told; 0 while it is not known.
    pub(super) fn told_clock(&self, now: Now) -> GroupMillis {
        if self.clock.known() { self.clock.read(now) } else { GroupMillis(0) }
    }

    /// What a member says of the group's time, as of now; `None` if it was not heard lately.
    fn clock_of(&self, slot: u8, now: Now) -> Option<u64> {
        let (clock, at) = self.peers.get(&slot)?.clock?;
        let lately = now.since(at) <= Micros::from_millis(CLOCK_HEARD_MS);
        lately.then(|| clock.0.saturating_add(now.since(at).0 / 1_000))
    }

    /// What all members say, the earliest first.
    fn clocks(&self, now: Now) -> Vec<u64> {
        let mut clocks: Vec<u64> = self.peers.keys().filter_map(|slot| self.clock_of(*slot, now)).collect();
        clocks.sort_unstable();
        clocks
    }

    /// The time by which idle times are compared with a peer: both sides mean the same.
    pub(super) fn time_with(&self, peer: EngineSlot, now: Now) -> Option<u64> {
        if self.clock.known() { Some(self.clock.read(now).0) } else { self.clock_of(peer.get(), now) }
    }

    /// A member says what the group's time is.
    //= SYNC-TIME-01
    //= SYNC-TIME-02
    pub(super) fn step_time<S: Shards>(
        &mut self,
        from: EngineSlot,
        to: GroupMillis,
        shards: &mut S,
        now: Now,
    ) -> Result<(), Why> {
        if to.0 == 0 {
            return Ok(());
        }
        if to.0 > CLOCK_MAX {
            return Err(Why::Nonsense);
        }
        // Who only reads follows.
        //= SYNC-READER-02
        if self.reads(from) {
            self.hear_reader(from, to, now);
            return Ok(());
        }
        if let Some(peer) = self.peers.get_mut(&from.get()) {
            peer.clock = Some((to, now));
        }
        if !self.clock.known() {
            return Ok(());
        }
        // Nobody follows one that only reads: ahead of the others it would stay so. It stamps nothing, and may go back.
        //= SYNC-READER-02
        if self.only_reads() {
            let clocks = self.clocks(now);
            let median = middle_of(&clocks).unwrap_or(to.0);
            self.clock.settle(GroupMillis(median), now);
            // What that one has written would not be taken: it is heard again, and compared with, once it agrees.
            //= SYNC-TIME-02
            if to.0 > median.saturating_add(AHEAD_MAX_MS) {
                self.out.push(Output::Event(Event::Ahead(from, to.0 - median)));
                return Err(Why::Clock);
            }
            return Ok(());
        }
        let ours = self.clock.read(now).0;
        let mut step = to;
        if to.0.abs_diff(ours) > AHEAD_MAX_MS {
            let clocks = self.clocks(now);
            let (behind, later): (Vec<u64>, Vec<u64>) =
                clocks.iter().filter(|c| c.abs_diff(ours) > AHEAD_MAX_MS).partition(|c| **c < ours);
            let heard = clocks.len() + 1;
            if to.0 < ours {
                // Most of those that are heard are far behind: it is this clock that is wrong. Where as many say the
                // one as the other, the earlier time costs nobody anything, and apart they would stay for good.
                if behind.len() * 2 >= heard && self.may_go_back(now) {
                    let median = GroupMillis(behind.get(behind.len() / 2).copied().unwrap_or(to.0));
                    self.go_back(median, shards, now);
                }
                return Ok(());
            }
            // A process that stood still for long is behind everybody: most of all members say so, not of those that
            // happen to be heard. Of two engines neither is most.
            let all = (0..64).filter_map(EngineSlot::new).filter(|slot| self.is_member(*slot)).count() + 1;
            if later.len() * 2 <= all || to.0 > CLOCK_TAKEN_MAX {
                self.out.push(Output::Event(Event::Ahead(from, to.0 - ours)));
                return Err(Why::Clock);
            }
            step = GroupMillis(later.first().copied().unwrap_or(to.0).min(to.0));
        } else if to.0 > self.latest(now) {
            // Small steps lead as far as a large one, so they end somewhere; who is an hour ahead then is not heard.
            return Ok(());
        }
        if step.0 > self.latest(now) {
            self.agree(step, now);
        }
        let by = self.clock.step(step, now);
        if by > STEP_TOLD_MS {
            self.out.push(Output::Event(Event::Stepped(from, by)));
        }
        Ok(())
    }

    /// Up to there small steps are followed: a day beyond what the own wall clock said, or what was taken with the
    /// consent of others.
    fn latest(&self, now: Now) -> u64 {
        let said = self.settings.wall.0.max(self.agreed.0).saturating_add(now.since(self.started).0 / 1_000);
        said.saturating_add(WALL_AHEAD_MAX_MS).min(CLOCK_TAKEN_MAX)
    }

    /// A worker may have written by the time from which this engine has just gone back.
    pub(super) fn date_back_one<S: Shards>(&self, shards: &mut S, key: &Key, now: Now) {
        if self.may_go_back(now) {
            return;
        }
        let time = self.clock.read(now);
        shards.with(shards.geometry().route(key), |partition, catalog| {
            if let Some(view) = partition.entry(catalog, key, now) {
                dated_back(
                    partition,
                    catalog,
                    &view,
                    GroupMillis(time.0.saturating_add(AHEAD_MAX_MS)),
                    time,
                    now,
                );
            }
        });
    }

    fn may_go_back(&self, now: Now) -> bool {
        self.went_back.is_none_or(|at| now.since(at) >= Micros::from_millis(BACK_PAUSE_MS))
    }

    /// Takes an earlier time.
    fn go_back<S: Shards>(&mut self, to: GroupMillis, shards: &mut S, now: Now) {
        let by = self.clock.read(now).0.saturating_sub(to.0);
        self.clock.settle(to, now);
        self.went_back = Some(now);
        self.date_back(by, to, to, shards, now);
    }

    /// What was written later than `beyond` is from now on as if it had been written at `to`.
    fn date_back<S: Shards>(
        &mut self,
        by: u64,
        beyond: GroupMillis,
        to: GroupMillis,
        shards: &mut S,
        now: Now,
    ) {
        self.out.push(Output::Event(Event::WentBack(by)));
        shards.with_values(|values, _| values.date_back(beyond, to));
        for partition in 0..shards.geometry().partitions() {
            shards.with(partition, |partition, catalog| {
                let views: Vec<_> = partition
                    .entries(catalog, 0..u32::MAX, now)
                    .filter(|view| is_later(&view.record.version, beyond))
                    .collect();
                for view in views {
                    dated_back(partition, catalog, &view, beyond, to, now);
                }
            });
        }
        // Members refused it as it was, or have it so, and would learn of it, and say what they have open of it, with the
        // next comparison only.
        //= SYNC-TIME-03
        for peer in (0..64).filter_map(EngineSlot::new) {
            self.again(peer, now);
        }
    }

    /// An engine that begins to serve takes the time that the middle one of its peers tells, its own wall clock where
    /// nobody does; and none that is earlier than its snapshot's, unless that one is far ahead of everybody.
    //= SYNC-TIME-01
    pub(super) fn settle_time<S: Shards>(&mut self, shards: &mut S, now: Now) {
        if self.clock.known() {
            return;
        }
        let clocks = self.clocks(now);
        let median = middle_of(&clocks);
        let floor = self.clock.read(now).0;
        let wall = self.settings.wall.0.saturating_add(now.since(self.started).0 / 1_000);
        let alone = wall.max(floor).max(self.given_time(wall, now).unwrap_or(0));
        let time = median.map_or(alone, |median| {
            if floor > median.saturating_add(AHEAD_MAX_MS) { median } else { median.max(floor) }
        });
        // There is room above it for an engine to run: no healthy one tells a clock that is none.
        let time = GroupMillis(time.min(CLOCK_TAKEN_MAX));
        self.agree(time, now);
        self.clock.settle(time, now);
        // It took what members said before it knew whose clock is wrong; nobody else would take that of it.
        //= SYNC-TIME-03
        let latest = GroupMillis(time.0.saturating_add(AHEAD_MAX_MS));
        let held = self.latest_taken.max(floor);
        if held > latest.0 {
            self.date_back(held - time.0, latest, time, shards, now);
        }
    }

    /// This time was not taken on one word.
    fn agree(&mut self, time: GroupMillis, now: Now) {
        self.agreed = GroupMillis(time.0.saturating_sub(now.since(self.started).0 / 1_000));
    }

    /// Whether a statement says that it was made later than can be.
    //= SYNC-TIME-03
    pub(super) fn is_ahead(&mut self, entry: &Entry, now: Now) -> bool {
        let made = (entry.version.stamp >> 16).max(u64::from(entry.version.birth) * 60_000);
        if !self.clock.known() {
            self.latest_taken = self.latest_taken.max(made);
            return false;
        }
        made > self.clock.read(now).0.saturating_add(AHEAD_MAX_MS)
    }
}

/// The middle one of clocks in order; of an even number the earlier of the two.
fn middle_of(clocks: &[u64]) -> Option<u64> {
    clocks.get(clocks.len().saturating_sub(1) / 2).copied()
}

fn is_later(version: &Version, than: GroupMillis) -> bool {
    version.stamp >> 16 > than.0 || u64::from(version.birth) > than.0 / 60_000
}

/// What was written later than `beyond` was written at `to`.
fn dated_back(
    partition: &mut Partition,
    catalog: &Catalog,
    view: &EntryView,
    beyond: GroupMillis,
    to: GroupMillis,
    now: Now,
) {
    let mut record = view.record;
    if is_later(&record.version, beyond) {
        record.version.stamp = record.version.stamp.min(to.0 << 16);
        record.version.birth = record.version.birth.min((to.0 / 60_000) as u32);
        // There is room where it stands, and its server was known.
        let _ = partition.restore(catalog, &catalog.key(view.table, view.key), &record, now);
    }
}

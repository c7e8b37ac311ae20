//! What workers write: each operation under the lock of one partition, and other engines hear of it.

use std::sync::MutexGuard;

use forebay_core::id::ServerId;
use forebay_core::table::{EntryView, Key, Version, Write};
use forebay_core::units::Now;

use super::Store;
use super::journal::Change;
use super::store::Shelf;

/// Milliseconds of a span in which one use of an entry is told to other engines: far below the shortest time-out (1 min),
/// and enough that a busy client costs little.
const USE_TOLD_MS: u64 = 8_000;

/// What came of binding a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The server that the key means now.
    pub server: ServerId,
    /// Something was written.
    pub is_new: bool,
}

impl Store {
    /// Binds a key to a server; `moved`: away from another one that is down.
    ///
    /// Gives the server that the key means now: another one if a second connection of the client was
    /// faster. `None` if the table is full of clients with open connections.
    pub fn put(&self, key: &Key, server: ServerId, moved: bool, now: Now) -> Option<ServerId> {
        self.bind(key, server, moved, None, now).map(|bound| bound.server)
    }

    /// As [`Store::put`]; `ticket`: who waits until another engine has what is written, if something is.
    pub fn bind(
        &self,
        key: &Key,
        server: ServerId,
        moved: bool,
        ticket: Option<u64>,
        now: Now,
    ) -> Option<Bound> {
        use forebay_core::table::Outcome;
        let slot = self.catalog.slot_of(server.0)?;
        let write = if moved { Write::moved(slot) } else { Write::first(slot) };
        let mut partition = self.partition(key)?;
        let written = partition.put(&self.catalog, key, write, now, self.feed.group_time(now)).ok()?;
        match written.outcome {
            Outcome::Held(held) => {
                let server = self.catalog.name_of(held).map(ServerId)?;
                Some(Bound { server, is_new: false })
            }
            Outcome::Same => Some(Bound { server, is_new: false }),
            Outcome::Created | Outcome::Replaced(_) => {
                self.tell_with(partition, key, ticket);
                self.journal().note_bound(*key);
                Some(Bound { server, is_new: true })
            }
        }
    }

    /// Whether this engine has written an entry less than `within_ms` ago: other engines may not have it yet.
    pub fn is_fresh(&self, key: &Key, within_ms: u64, now: Now) -> bool {
        let view = self.partition(key).and_then(|partition| partition.entry(&self.catalog, key, now));
        view.is_some_and(|view| {
            let Version { stamp, origin, .. } = view.record.version;
            origin == self.me && self.feed.group_time(now).0.saturating_sub(stamp >> 16) < within_ms
        })
    }

    /// Tells other engines of an entry once more; `ticket`: who waits until one has it.
    pub fn tell_again(&self, key: &Key, ticket: u64) {
        if let Some(partition) = self.partition(key) {
            self.tell_with(partition, key, Some(ticket));
        }
    }

    /// Renews a key's life.
    pub fn touch(&self, key: &Key, now: Now) {
        if let Some(mut partition) = self.partition(key) {
            let is_worth_telling = self.feed.is_on()
                && partition.entry(&self.catalog, key, now).is_some_and(|view| is_used_anew(key, &view, now));
            partition.touch(&self.catalog, key, now);
            if is_worth_telling {
                self.tell(partition, key);
            } else {
                drop(partition);
            }
            self.journal().note(Change::Key(*key));
        }
    }

    /// Counts a connection of a client, whose entry stays until the last one has closed; `false` if the
    /// key has no entry, and then there is nothing to close.
    //= SE-PERSIST-01
    pub fn open(&self, key: &Key, now: Now) -> bool {
        let Some(mut partition) = self.partition(key) else { return false };
        let opened = partition.open(&self.catalog, key, now);
        if opened.is_some_and(|opened| opened.first) {
            self.tell(partition, key);
            self.journal().note(Change::Key(*key));
        }
        opened.is_some()
    }

    /// Counts the end of a connection that [`Store::open`] counted.
    pub fn close(&self, key: &Key, now: Now) {
        let Some(mut partition) = self.partition(key) else { return };
        let closed = partition.close(&self.catalog, key, now);
        if closed.is_some_and(|closed| closed.last_here) {
            self.tell(partition, key);
            self.journal().note(Change::Key(*key));
        }
    }

    /// Removes a key.
    pub fn remove(&self, key: &Key, now: Now) {
        if let Some(mut partition) = self.partition(key) {
            let journal = self.journal();
            let view = if journal.is_active() { partition.entry(&self.catalog, key, now) } else { None };
            // An unknown table or an older catalog: the entry is gone for this configuration already.
            let _ = partition.remove(&self.catalog, key, now, self.feed.group_time(now));
            self.tell(partition, key);
            if let Some(view) = view {
                journal.note(Change::Gone(*key, view.key));
            }
        }
    }

    /// An entry is another one than before: other engines are to hear of it. Gives the partition back.
    #[inline]
    pub(super) fn tell(&self, partition: MutexGuard<'_, Shelf>, key: &Key) {
        self.tell_with(partition, key, None);
    }

    #[inline]
    fn tell_with(&self, mut partition: MutexGuard<'_, Shelf>, key: &Key, ticket: Option<u64>) {
        if self.feed.is_on()
            && let Some(geometry) = self.geometry
        {
            self.feed.note(geometry.route(key) as usize, &mut partition.changed, *key, ticket);
            drop(partition);
            self.feed.wake(ticket.is_some());
        }
    }
}

/// Whether a use of an entry is the first in a span of time, which begins at another moment for each key: other engines
/// are told of one use in each span, so that who is used all the time lives on with them, at a bounded cost.
//= SYNC-AGE-02
fn is_used_anew(key: &Key, view: &EntryView, now: Now) -> bool {
    let shifted_ms = now.0 / 1_000 + key.hash() % USE_TOLD_MS;
    view.record.age_ms > shifted_ms % USE_TOLD_MS
}

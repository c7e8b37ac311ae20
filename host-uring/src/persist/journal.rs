//! Which entries have changed since another process was told last, and who waits until it is.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forebay_core::table::{Key, KeyBytes};

use crate::limits::{HANDOVER_CHANGES_MAX, HANDOVER_KNOWN_MS, HANDOVER_WAITED_MS};

/// Something that has happened to an entry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// It is another one than before.
    Key(Key),
    /// It was removed.
    Gone(Key, KeyBytes),
}

impl Change {
    /// Which entry.
    fn entry(&self) -> Entry {
        match self {
            Self::Key(key) | Self::Gone(key, _) => Entry(*key),
        }
    }
}

/// An entry, as a list of changes knows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry(Key);

impl Hash for Entry {
    fn hash<H: Hasher>(&self, into: &mut H) {
        into.write_u64(self.0.hash());
    }
}

/// What has changed since it was told last.
#[derive(Default)]
pub(super) struct Journal {
    pub active: AtomicBool,
    pub pending: Mutex<Pending>,
    pub more: Condvar,
    pub known: Condvar,
}

#[derive(Default)]
pub(super) struct Pending {
    /// The last of each entry, which is all that is told.
    pub changes: HashMap<Entry, Change>,
    /// Changes came that there was no room for: everything has to be told again.
    pub overflowed: bool,
    /// Changes ever noted, and how many of these the other process knows.
    pub noted: u64,
    pub applied: u64,
    /// Who makes an entry waits until the other process knows it.
    pub strict: bool,
    /// How long that has taken in all, of all workers.
    pub waited: Duration,
    /// What the other process knew when somebody has waited in vain: nobody waits before it knows more.
    pub vain: Option<u64>,
    /// How often a client was answered before.
    pub late: u64,
}

impl Journal {
    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        // A list of keys and some counts: whole between any two statements.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Notes a change, if anybody wants to know.
    #[inline]
    pub(super) fn note(&self, change: Change) {
        if self.is_active() {
            self.push(change);
        }
    }

    #[cold]
    fn push(&self, change: Change) -> u64 {
        let mut pending = self.pending();
        pending.noted += 1;
        let has_room = pending.changes.len() < HANDOVER_CHANGES_MAX;
        match pending.changes.entry(change.entry()) {
            Occupied(mut before) => {
                before.insert(change);
            }
            Vacant(place) if has_room => {
                place.insert(change);
            }
            Vacant(_) => pending.overflowed = true,
        }
        self.more.notify_one();
        pending.noted
    }

    /// Notes a client that was bound to a server. Once this process accepts no more, the client may ask the other one
    /// next, so it is waited for until that one knows: a client is answered only by who cannot lose it.
    //= UPG-TABLE-03
    #[inline]
    pub(super) fn note_bound(&self, key: Key) {
        if self.is_active() {
            let number = self.push(Change::Key(key));
            self.wait_until_known(number);
        }
    }

    fn wait_until_known(&self, number: u64) {
        let began = Instant::now();
        let mut pending = self.pending();
        let all = Duration::from_millis(HANDOVER_WAITED_MS);
        let may = Duration::from_millis(HANDOVER_KNOWN_MS).min(all.saturating_sub(pending.waited));
        if pending.vain == Some(pending.applied) || may.is_zero() {
            pending.late += u64::from(pending.strict && pending.applied < number);
            return;
        }
        while pending.strict && pending.applied < number {
            let left = may.saturating_sub(began.elapsed());
            if left.is_zero() {
                pending.late += 1;
                pending.vain = Some(pending.applied);
                break;
            }
            pending = self.known.wait_timeout(pending, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let before = pending.waited;
        pending.waited += began.elapsed();
        let is_spent = before < all && pending.waited >= all;
        drop(pending);
        if is_spent {
            tracing::warn!(
                "the other process learns too slowly of new clients: no answer waits for it any more"
            );
        }
    }
}

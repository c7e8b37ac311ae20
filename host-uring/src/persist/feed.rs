//! What the workers have changed, on its way to the thread of object sync.
//!
//! Who changes an entry holds the lock of its partition, and leaves the key in a list there. A mark on the desk of this
//! worker tells that the list is not empty; whoever sleeps until there is one says so before, so that nobody is woken who is awake. While tables are
//! shared with nobody, this costs one look at a flag that nobody writes.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use forebay_core::table::{GroupMillis, Key};
use forebay_core::units::Now;

use super::desk::{DESKS, Desk, seat};

/// Keys that one partition keeps; beyond, all its entries count as changed. A partition is looked at a thousand times a
/// second, and there are up to 4,096.
const CHANGES_MAX: usize = 128;

/// Stands for "nobody knows the group's time": the wall clock is taken.
const NO_OFFSET: i64 = i64::MIN;

/// A ticket's number has the desk from this bit on.
pub const TICKET_DESK: u32 = 48;

/// The reader looks by itself.
const AWAKE: u8 = 0;
/// It rests for a moment, so that changes gather; who waits for one wakes it.
const GATHERS: u8 = 1;
/// It sleeps until there is a change.
const SLEEPS: u8 = 2;

/// Wakes who reads.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Keys of one partition that have changed.
#[derive(Default)]
pub(super) struct Changed {
    pub keys: Vec<(Key, Option<u64>)>,
    /// There were more.
    pub all: bool,
}

impl Changed {
    fn note(&mut self, key: Key, ticket: Option<u64>) {
        if self.keys.last() == Some(&(key, ticket)) {
            return;
        }
        if self.keys.len() < CHANGES_MAX {
            self.keys.push((key, ticket));
        } else {
            self.all = true;
        }
    }
}

/// What all partitions have in common: read with every change, written when sharing begins or ends.
#[repr(align(128))]
pub(super) struct Feed {
    is_on: AtomicBool,
    /// Milliseconds from the monotonic clock to the group's time.
    offset_ms: AtomicI64,
    /// Other engines that are connected.
    peers: AtomicUsize,
    shared: Box<Written>,
}

/// What workers and reader write, on lines of its own.
#[repr(align(128))]
struct Written {
    /// [`AWAKE`], [`GATHERS`] or [`SLEEPS`].
    reader: AtomicU8,
    /// Somebody waits for a change that was noted.
    urgent: AtomicBool,
    waker: Mutex<Option<Waker>>,
    /// Desks from here on nobody has sat at.
    desks_end: AtomicUsize,
    desks: [OnceLock<Box<Desk>>; DESKS],
}

impl Default for Feed {
    fn default() -> Self {
        let shared = Written {
            reader: AtomicU8::new(AWAKE),
            urgent: AtomicBool::new(false),
            waker: Mutex::default(),
            desks_end: AtomicUsize::new(0),
            desks: [const { OnceLock::new() }; DESKS],
        };
        Self {
            is_on: AtomicBool::new(false),
            offset_ms: AtomicI64::new(NO_OFFSET),
            peers: AtomicUsize::new(0),
            shared: Box::new(shared),
        }
    }
}

impl Feed {
    /// From now on changes are kept, and `waker` is called at the first one after [`Feed::sleep`].
    pub fn start(&self, waker: Waker) {
        *self.shared.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
        self.is_on.store(true, Ordering::SeqCst);
    }

    /// Nobody wants to know any more. The group's time goes on.
    pub fn stop(&self) {
        self.is_on.store(false, Ordering::SeqCst);
        self.set_peers(0);
    }

    /// So many other engines are connected.
    pub fn set_peers(&self, peers: usize) {
        if self.peers.load(Ordering::Relaxed) != peers {
            self.peers.store(peers, Ordering::Relaxed);
        }
    }

    /// How many other engines are connected.
    #[inline]
    pub fn peers(&self) -> usize {
        self.peers.load(Ordering::Relaxed)
    }

    /// The desk of this thread.
    #[inline]
    pub fn desk(&self) -> &Desk {
        let seat = seat();
        self.shared.desks[seat].get_or_init(|| {
            self.shared.desks_end.fetch_max(seat + 1, Ordering::SeqCst);
            Box::default()
        })
    }

    fn desks(&self) -> impl Iterator<Item = &Desk> {
        let end = self.shared.desks_end.load(Ordering::SeqCst);
        self.shared.desks[..end].iter().filter_map(|desk| desk.get().map(|desk| &**desk))
    }

    /// Another engine has the change of that ticket: the worker that waits is told.
    pub fn acknowledged(&self, ticket: u64) {
        if let Some(desk) = self.shared.desks.get(desk_of(ticket)).and_then(OnceLock::get) {
            desk.acknowledged(ticket);
        }
    }

    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Notes a change in partition `at`, whose lock is held: whoever takes the mark back takes the lock after that.
    //= SYNC-FEED-02
    #[inline]
    pub fn note(&self, at: usize, changed: &mut Changed, key: Key, ticket: Option<u64>) {
        changed.note(key, ticket);
        self.desk().mark(at);
    }

    /// After a note, and without the lock: wakes the reader if it sleeps, or if somebody waits for the change and it rests.
    #[inline]
    pub fn wake(&self, waits: bool) {
        if !self.is_on() {
            return;
        }
        let wakes_from = if waits {
            self.shared.urgent.store(true, Ordering::SeqCst);
            GATHERS
        } else {
            SLEEPS
        };
        if self.shared.reader.load(Ordering::SeqCst) >= wakes_from {
            self.wake_now();
        }
    }

    #[cold]
    fn wake_now(&self) {
        if self.shared.reader.swap(AWAKE, Ordering::SeqCst) != AWAKE
            && let Some(waker) = &*self.shared.waker.lock().unwrap_or_else(PoisonError::into_inner)
        {
            waker();
        }
    }

    /// The reader wants to be woken at the next change; `false`: there is one already.
    pub fn sleep(&self) -> bool {
        self.shared.reader.store(SLEEPS, Ordering::SeqCst);
        let is_empty = self.desks().all(Desk::is_clear);
        if !is_empty {
            self.shared.reader.store(AWAKE, Ordering::SeqCst);
        }
        is_empty
    }

    /// The reader wants to be woken at the next change that somebody waits for; `false`: there is one already.
    pub fn gather(&self) -> bool {
        self.shared.reader.store(GATHERS, Ordering::SeqCst);
        let may_rest = !self.shared.urgent.load(Ordering::SeqCst);
        if !may_rest {
            self.shared.reader.store(AWAKE, Ordering::SeqCst);
        }
        may_rest
    }

    /// Takes back the marks of all partitions with changes.
    pub fn take(&self) -> impl Iterator<Item = usize> + '_ {
        // Before the marks are taken: what is noted from here on makes it urgent anew.
        if self.shared.urgent.load(Ordering::SeqCst) {
            self.shared.urgent.store(false, Ordering::SeqCst);
        }
        self.desks().flat_map(Desk::take)
    }

    /// The time of the group is this, now.
    pub fn set_group_time(&self, time: GroupMillis, now: Now) {
        let offset = time.0.cast_signed().wrapping_sub((now.0 / 1_000).cast_signed());
        if self.offset_ms.load(Ordering::Relaxed) != offset {
            self.offset_ms.store(offset, Ordering::Relaxed);
        }
    }

    /// The time of the group; where there is none, that of the wall clock.
    //= SYNC-TIME-01
    #[inline]
    pub fn group_time(&self, now: Now) -> GroupMillis {
        match self.offset_ms.load(Ordering::Relaxed) {
            NO_OFFSET => wall(),
            offset => GroupMillis((now.0 / 1_000).wrapping_add_signed(offset)),
        }
    }
}

/// At which desk somebody waits for a ticket.
fn desk_of(ticket: u64) -> usize {
    (ticket >> TICKET_DESK) as usize
}

/// The first ticket of this thread's desk; there are 2^[`TICKET_DESK`] of them.
pub fn tickets() -> u64 {
    (seat() as u64) << TICKET_DESK
}

/// The wall clock.
pub(super) fn wall() -> GroupMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    GroupMillis(since.map_or(0, |since| since.as_millis() as u64))
}

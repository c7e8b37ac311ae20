//! What the workers have changed, on its way to the thread of object sync.
//!
//! Who changes an entry holds the lock of its partition, and leaves the key in a list there. A bit tells that the list is
//! not empty; whoever sleeps until there is one says so before, so that nobody is woken who is awake. While tables are
//! shared with nobody, this costs one look at a flag that nobody writes.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use forebay_core::table::{GroupMillis, Key};
use forebay_core::units::Now;

/// Keys that one partition keeps; beyond, all its entries count as changed. A partition is looked at a thousand times a
/// second, and there are up to 4,096.
const CHANGES_MAX: usize = 128;

/// Partitions of a table, at most; each has a bit.
const PARTITIONS_MAX: usize = 4_096;

/// Stands for "nobody knows the group's time": the wall clock is taken.
const NO_OFFSET: i64 = i64::MIN;

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
    shared: Box<Written>,
}

/// What workers and reader write, on lines of its own.
#[repr(align(128))]
struct Written {
    /// The reader sleeps.
    sleeps: AtomicBool,
    waker: Mutex<Option<Waker>>,
    bits: [AtomicU64; PARTITIONS_MAX / 64],
}

impl Default for Feed {
    fn default() -> Self {
        let bits = [const { AtomicU64::new(0) }; PARTITIONS_MAX / 64];
        let shared = Written { sleeps: AtomicBool::new(false), waker: Mutex::default(), bits };
        Self { is_on: AtomicBool::new(false), offset_ms: AtomicI64::new(NO_OFFSET), shared: Box::new(shared) }
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
    }

    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Notes a change in partition `at`, whose lock is held: whoever takes the bit back takes the lock after that.
    #[inline]
    pub fn note(&self, at: usize, changed: &mut Changed, key: Key, ticket: Option<u64>) {
        changed.note(key, ticket);
        let (word, bit) = (&self.shared.bits[at / 64], 1 << (at % 64));
        if word.load(Ordering::SeqCst) & bit == 0 {
            word.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// After a note, and without the lock: wakes the reader if it sleeps.
    #[inline]
    pub fn wake(&self) {
        if self.is_on() && self.shared.sleeps.load(Ordering::SeqCst) {
            self.wake_now();
        }
    }

    #[cold]
    fn wake_now(&self) {
        if self.shared.sleeps.swap(false, Ordering::SeqCst)
            && let Some(waker) = &*self.shared.waker.lock().unwrap_or_else(PoisonError::into_inner)
        {
            waker();
        }
    }

    /// The reader wants to be woken at the next change; `false`: there is one already.
    pub fn sleep(&self) -> bool {
        self.shared.sleeps.store(true, Ordering::SeqCst);
        let is_empty = self.shared.bits.iter().all(|word| word.load(Ordering::SeqCst) == 0);
        if !is_empty {
            self.shared.sleeps.store(false, Ordering::SeqCst);
        }
        is_empty
    }

    /// Takes back the bits of all partitions with changes.
    pub fn take(&self) -> impl Iterator<Item = usize> + '_ {
        self.shared.bits.iter().enumerate().flat_map(|(n, word)| {
            let mut bits = if word.load(Ordering::SeqCst) == 0 { 0 } else { word.swap(0, Ordering::SeqCst) };
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
                bits &= bits - 1;
                Some(n * 64 + bit)
            })
        })
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

/// The wall clock.
pub(super) fn wall() -> GroupMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    GroupMillis(since.map_or(0, |since| since.as_millis() as u64))
}

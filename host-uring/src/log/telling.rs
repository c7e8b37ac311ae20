//! What the Controller is told of requests and connections.
//!
//! The control thread takes lines from the workers' rings, chooses by what their services ask for, packs them, and keeps them
//! until the Controller has answered. While it does not, the oldest go and are counted: the memory is bounded, and no worker
//! ever notices.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forebay_wire::limits::{LOG_BATCH_BYTES, LOGS_AHEAD_MAX};
use forebay_wire::lines;
use forebay_wire::proto::Logs;
use tokio::sync::Notify;

use super::choosing::Chooser;
use super::ring::Drain;
use crate::config::Tree;
use crate::limits::{TOLD_BATCH_MS, TOLD_KEPT_BYTES_MAX, TOLD_LOOK_BYTES, TOLD_LOOK_MS, TOLD_REFUSED_MS};

/// How long the end of the process waits until the Controller has the last records.
const FAREWELL: Duration = Duration::from_secs(1);

/// Looks at what the workers have written, at the end: they may go on writing as fast as it is read. The full rings of so many
/// workers are read by then.
const FAREWELL_LOOKS: usize = 64;

/// What became of records for the Controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToldCounts {
    /// The Controller has them.
    pub told: u64,
    /// Dropped by workers whose ring was full.
    pub dropped: u64,
    /// Beyond what their service lets through in a second.
    pub throttled: u64,
    /// The oldest, that went because the Controller was away or slow.
    pub lost: u64,
}

/// Records on their way to the Controller.
pub struct Telling {
    /// By which the Controller tells this process from the one before it: another number each time. 0 is nobody's.
    process: u64,
    inner: Mutex<Inner>,
    came: Notify,
    told: AtomicU64,
    throttled: AtomicU64,
    lost: AtomicU64,
}

impl Default for Telling {
    fn default() -> Self {
        use std::hash::{BuildHasher, Hasher};
        Telling {
            // Nothing depends on who could guess it.
            process: std::hash::RandomState::new().build_hasher().finish().max(1),
            inner: Mutex::default(),
            came: Notify::default(),
            told: AtomicU64::default(),
            throttled: AtomicU64::default(),
            lost: AtomicU64::default(),
        }
    }
}

#[derive(Default)]
struct Inner {
    drains: Vec<Drain>,
    /// Drops counted by rings that are gone.
    dropped_before: u64,
    chooser: Chooser,
    taken: Vec<u8>,
    /// Lines of the batch that is not full yet, how many, and since when there are some.
    open: Vec<u8>,
    open_lines: u64,
    opened: Option<Instant>,
    /// Batches, the oldest first, and the bytes of all.
    packed: VecDeque<Packed>,
    bytes: usize,
    /// A stream stands on which they are taken.
    is_heard: bool,
    /// So many of them are on their way.
    sent: usize,
    /// Nothing is sent before: the Controller wanted to be left alone for a while.
    not_before: Option<Instant>,
    number: u64,
}

struct Packed {
    logs: Logs,
    lines: u64,
}

impl Telling {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every update is whole when anything in it can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a worker's ring; it is let go when its worker is gone and it is empty.
    pub fn add(&self, drain: Drain) {
        self.inner().drains.push(drain);
    }

    /// What became of the records.
    pub fn counts(&self) -> ToldCounts {
        let inner = self.inner();
        let dropped: u64 = inner.drains.iter().map(Drain::dropped).sum();
        ToldCounts {
            told: self.told.load(Ordering::Relaxed),
            dropped: dropped + inner.dropped_before,
            throttled: self.throttled.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }

    /// Takes what the workers have written: by `tree` it is chosen. Says whether there was something.
    pub fn gather(&self, tree: &Arc<Tree>, now: Instant) -> bool {
        let mut inner = self.inner();
        let Inner { drains, taken, dropped_before, chooser, .. } = &mut *inner;
        chooser.follow(tree, now);
        let share = TOLD_LOOK_BYTES / drains.len().max(1);
        taken.clear();
        drains.retain_mut(|drain| {
            let is_orphan = drain.is_orphan();
            let end = taken.len() + share;
            let is_done = drain.take(taken, end) == 0 && is_orphan;
            if is_done {
                *dropped_before += drain.dropped();
            }
            !is_done
        });
        let taken = std::mem::take(&mut inner.taken);
        for line in taken.split_inclusive(|byte| *byte == b'\n') {
            if !inner.chooser.takes(line, now) {
                self.throttled.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if inner.open.len() + line.len() > LOG_BATCH_BYTES {
                self.pack(&mut inner);
            }
            inner.open.extend_from_slice(line);
            inner.open_lines += 1;
            inner.opened.get_or_insert(now);
        }
        inner.taken = taken;
        let wait = Duration::from_millis(TOLD_BATCH_MS);
        if inner.opened.is_some_and(|opened| now.saturating_duration_since(opened) >= wait) {
            self.pack(&mut inner);
        }
        !inner.taken.is_empty()
    }

    /// Sends what the workers have written last, as far as the Controller is there.
    //= LOG-SEND-01
    pub async fn farewell(&self, tree: &Arc<Tree>) {
        for _ in 0..FAREWELL_LOOKS {
            if !self.gather(tree, Instant::now()) {
                break;
            }
        }
        self.pack(&mut self.inner());
        let until = Instant::now() + FAREWELL;
        while self.is_going() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(TOLD_LOOK_MS / 10)).await;
        }
    }

    /// Something is on its way, or can be sent.
    fn is_going(&self) -> bool {
        let inner = self.inner();
        inner.is_heard && !inner.packed.is_empty()
    }

    //= OBS-CLIENT-03
    fn pack(&self, inner: &mut Inner) {
        inner.opened = None;
        let lines = std::mem::take(&mut inner.open_lines);
        if lines == 0 {
            return;
        }
        let packed = lines::pack(inner.number + 1, &inner.open);
        inner.open.clear();
        let Ok(mut logs) = packed else {
            self.lost.fetch_add(lines, Ordering::Relaxed);
            return;
        };
        logs.process = self.process;
        inner.number += 1;
        inner.bytes += logs.lines.len();
        inner.packed.push_back(Packed { logs, lines });
        while inner.bytes > TOLD_KEPT_BYTES_MAX {
            let Some(oldest) = inner.packed.pop_front() else { break };
            inner.bytes -= oldest.logs.lines.len();
            inner.sent = inner.sent.saturating_sub(1);
            self.lost.fetch_add(oldest.lines, Ordering::Relaxed);
        }
        self.came.notify_one();
    }

    /// A stream begins: what the one before it has not had answered is sent again.
    pub fn begin(&self) {
        let mut inner = self.inner();
        (inner.sent, inner.not_before, inner.is_heard) = (0, None, true);
    }

    /// The stream has ended.
    pub fn pause(&self) {
        self.inner().is_heard = false;
    }

    /// What is to be sent next. Who does not wait for it to the end has not had it.
    pub async fn next(&self) -> Logs {
        loop {
            let came = self.came.notified();
            let until = match self.due(Instant::now()) {
                Ok(logs) => return logs,
                Err(until) => until,
            };
            match until {
                Some(until) => {
                    let _ = tokio::time::timeout_at(until.into(), came).await;
                }
                None => came.await,
            }
        }
    }

    /// The same at once.
    ///
    /// # Errors
    /// There is nothing to be sent now: the moment that is to be waited for, if there is one.
    pub fn due(&self, now: Instant) -> Result<Logs, Option<Instant>> {
        let mut inner = self.inner();
        if let Some(until) = inner.not_before.filter(|until| *until > now) {
            return Err(Some(until));
        }
        inner.not_before = None;
        if inner.sent >= LOGS_AHEAD_MAX {
            return Err(None);
        }
        let oldest = inner.packed.front().map_or(0, |packed| packed.logs.number);
        let next = inner.packed.get(inner.sent).map(|packed| Logs { oldest, ..packed.logs.clone() });
        inner.sent += usize::from(next.is_some());
        next.ok_or(None)
    }

    /// The Controller has answered. What it has not taken stays, and it is left alone for a while.
    pub fn answered(&self, number: u64, is_taken: bool, now: Instant) {
        let mut inner = self.inner();
        // It may have gone since, or been answered by the stream before.
        let Some(at) = inner.packed.iter().position(|packed| packed.logs.number == number) else { return };
        if is_taken {
            if let Some(packed) = inner.packed.remove(at) {
                inner.bytes -= packed.logs.lines.len();
                self.told.fetch_add(packed.lines, Ordering::Relaxed);
            }
            inner.sent -= usize::from(at < inner.sent);
        } else {
            inner.sent = inner.sent.min(at);
            inner.not_before = Some(now + Duration::from_millis(TOLD_REFUSED_MS));
        }
        self.came.notify_one();
    }
}

//! The store: a thread that writes what it is offered and lets the oldest go, and searches beside it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value};

use crate::hour::{self, Writer};
use crate::once::{Comes, Sent, Taken};
use crate::part::{self, Part};
use crate::record::{Record, fields_of};
use crate::retention;
use crate::room::Room;
use crate::search::{self, Cut, Found, Search};
use crate::top::{self, Top};
use crate::{Failure, HOUR, Micros};

/// Batches that wait for the writer.
const WAITING_MAX: usize = 256;

/// Bytes of those: less than half a second of 20,000 records.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// Bytes of a batch that is taken.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// Records of one transaction: it holds searches up for some tens of milliseconds at most.
const TRANSACTION_MAX: usize = 2_000;

/// Bytes that come between looks at what is to go, at most; where less is kept, one of so many parts of that.
const TEND_BYTES: (u64, u64) = (4 << 20, 32);

/// How often is looked at the least.
const TEND_EVERY: Duration = Duration::from_secs(5);

/// Of this many parts one more than there is room for is far too much at a start.
const FAR: u64 = 8;

/// Hours that were set aside have one part in so many of the room at the most, or the newest of them half of it.
const ASIDE: u64 = 8;

/// How far ahead of our clock a record may be: the hour would never go otherwise.
const AHEAD_MAX: Micros = HOUR;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Hours, the one under way beside them.
    pub hours_max: u32,
    /// Bytes of all files.
    pub bytes_max: u64,
}

/// What became of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Written.
    pub written: u64,
    /// Lost because the writer was behind.
    pub lost_busy: u64,
    /// Refused: no record, of a time that is not kept, or without a place in its file.
    pub refused: u64,
    /// Lost because the file could not be written.
    pub lost_failed: u64,
    /// Lost because there was no room, and nothing that could go.
    pub lost_full: u64,
    /// Removed early, because the room was full and their service had the most of it.
    pub trimmed: u64,
    /// Hours that went.
    pub hours_removed: u64,
}

#[derive(Default)]
struct Counters {
    written: AtomicU64,
    lost_busy: AtomicU64,
    refused: AtomicU64,
    lost_failed: AtomicU64,
    lost_full: AtomicU64,
    trimmed: AtomicU64,
    hours_removed: AtomicU64,
}

/// Why a batch was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The writer is behind: its records are lost, and counted.
    Busy,
    /// It is too long.
    TooLong,
}

/// Says to whose room a record counts, which is nobody's if it is not let in, and may set right what it says.
pub type Admit = Box<dyn FnMut(&mut Map<String, Value>) -> Option<String> + Send>;

/// Is told that records are written (or refused, or that there is no room for them), or that they could not be.
pub type Done = Box<dyn FnOnce(bool) + Send>;

/// Is shown records that have just been written, each once, by the thread that writes: it must not wait.
pub type Tap = Box<dyn Fn(&[Record]) + Send + Sync>;

/// Records that are offered.
#[derive(Default)]
pub struct Batch {
    /// A line each.
    pub lines: Vec<u8>,
    /// Which of them are let in; `None`: all.
    pub admit: Option<Admit>,
    /// Who wants to hear what became of them.
    pub done: Option<Done>,
    /// Which batch of whom it is: then it is written once, however often it comes.
    pub sent: Option<Sent>,
}

impl From<Vec<u8>> for Batch {
    fn from(lines: Vec<u8>) -> Self {
        Batch { lines, ..Batch::default() }
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a batch of {} bytes", self.lines.len())
    }
}

enum Order {
    Lines(Batch),
    /// Answers when all that was offered before is written.
    Flush(SyncSender<()>),
    End,
}

/// Where records are kept.
pub struct Store {
    folder: PathBuf,
    orders: SyncSender<Order>,
    /// Bytes that wait for the writer.
    waiting: Arc<AtomicUsize>,
    counters: Arc<Counters>,
    tap: Arc<Mutex<Option<Tap>>>,
    thread: Option<JoinHandle<()>>,
}

/// Our clock.
fn now() -> Micros {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}

impl Store {
    /// Opens the folder, which is made where it is not.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be made or read, or no thread can be started.
    pub fn open(folder: &Path, settings: Settings) -> Result<Store, Failure> {
        let failed = |error| Failure::System(folder.into(), error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        hour::list(folder)?;
        let (orders, taken) = mpsc::sync_channel(WAITING_MAX);
        let (counters, waiting) = (Arc::new(Counters::default()), Arc::new(AtomicUsize::new(0)));
        let tap = Arc::default();
        let writing = Writing {
            folder: folder.into(),
            settings,
            counters: counters.clone(),
            waiting: waiting.clone(),
            tap: Arc::clone(&tap),
            open: None,
            taken: Taken::default(),
            room: None,
            next_look: Instant::now(),
            unlooked: 0,
            is_full: false,
        };
        let thread = std::thread::Builder::new()
            .name("logs".into())
            .spawn(move || writing.run(&taken))
            .map_err(failed)?;
        Ok(Store { folder: folder.into(), orders, waiting, counters, tap, thread: Some(thread) })
    }

    //= LOG-KEEP-02
    /// Offers records, a line each; they are written soon.
    ///
    /// # Errors
    ///
    /// Says why none of them was taken.
    pub fn offer(&self, lines: Vec<u8>) -> Result<(), Refused> {
        self.try_offer(lines.into()).map_err(|(refused, batch)| {
            self.counters.lost_busy.fetch_add(split(&batch.lines).count() as u64, Ordering::Relaxed);
            refused
        })
    }

    //= LOG-KEEP-05
    /// The same for whoever keeps records until they are written: nothing is lost that is not taken, and nothing is counted.
    ///
    /// # Errors
    ///
    /// Says why none of them was taken, and gives them back.
    pub fn try_offer(&self, batch: Batch) -> Result<(), (Refused, Batch)> {
        let bytes = batch.lines.len();
        if bytes > BATCH_BYTES_MAX {
            return Err((Refused::TooLong, batch));
        }
        if self.waiting.fetch_add(bytes, Ordering::AcqRel) + bytes > WAITING_BYTES_MAX {
            self.waiting.fetch_sub(bytes, Ordering::AcqRel);
            return Err((Refused::Busy, batch));
        }
        match self.orders.try_send(Order::Lines(batch)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) => {
                self.waiting.fetch_sub(bytes, Ordering::AcqRel);
                let Order::Lines(batch) = order else { return Err((Refused::Busy, Batch::default())) };
                Err((Refused::Busy, batch))
            }
        }
    }

    /// Has records shown as they are written, from now on, to this one alone.
    pub fn tap(&self, tap: Tap) {
        *self.tap.lock().unwrap_or_else(PoisonError::into_inner) = Some(tap);
    }

    /// Waits until all that was taken is written.
    pub fn flush(&self) {
        let (done, wait) = mpsc::sync_channel(1);
        if self.orders.send(Order::Flush(done)).is_ok() {
            let _ = wait.recv();
        }
    }

    /// Looks for records.
    ///
    /// # Errors
    ///
    /// Fails if the search makes no sense or the folder cannot be read. A damaged file is counted in what is found.
    pub fn search(&self, what: &Search) -> Result<Found, Failure> {
        search::search(&search::hours(&self.folder)?, what, Cut::Record)
    }

    /// What this store has of a search that is asked of several, before this microsecond.
    ///
    /// # Errors
    ///
    /// As [`Store::search`].
    pub fn part(&self, what: &Search, before: Option<Micros>) -> Result<Part, Failure> {
        part::part(&search::hours(&self.folder)?, what, before)
    }

    /// Counts the values of a field among the records that a search finds; its limit is that of values.
    ///
    /// # Errors
    ///
    /// As [`Store::search`].
    pub fn top(&self, what: &Search, field: &str) -> Result<Top, Failure> {
        top::top(&search::hours(&self.folder)?, what, field)
    }

    /// What this store has of the values of a field, where several are asked: all of them, but for those that find no room.
    ///
    /// # Errors
    ///
    /// As [`Store::search`].
    pub fn groups(&self, what: &Search, field: &str) -> Result<Top, Failure> {
        part::groups(&search::hours(&self.folder)?, what, field)
    }

    /// The first moment of the eldest hour that is kept; `None`: there is none.
    #[must_use]
    pub fn eldest(&self) -> Option<Micros> {
        hour::list(&self.folder).ok()?.first().map(|(begin, _)| *begin)
    }

    /// What became of records since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            written: of(&self.counters.written),
            lost_busy: of(&self.counters.lost_busy),
            refused: of(&self.counters.refused),
            lost_failed: of(&self.counters.lost_failed),
            lost_full: of(&self.counters.lost_full),
            trimmed: of(&self.counters.trimmed),
            hours_removed: of(&self.counters.hours_removed),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // Whoever was told of records that are written may have been the last to know this store.
        if thread.thread().id() == std::thread::current().id() {
            let _ = self.orders.try_send(Order::End);
            return;
        }
        let _ = self.orders.send(Order::End);
        let _ = thread.join();
    }
}

fn split(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// The writer's thread.
struct Writing {
    folder: PathBuf,
    settings: Settings,
    counters: Arc<Counters>,
    waiting: Arc<AtomicUsize>,
    tap: Arc<Mutex<Option<Tap>>>,
    open: Option<Writer>,
    taken: Taken,
    /// Who has how much of the room, once that was looked at.
    room: Option<Room>,
    next_look: Instant,
    /// Bytes that came since.
    unlooked: u64,
    /// There is no room, and nothing that could go.
    is_full: bool,
}

impl Writing {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            self.tend();
            match orders.recv_timeout(TEND_EVERY) {
                Ok(Order::Lines(batch)) => {
                    let Batch { lines, admit, done, sent } = batch;
                    let is_written = self.take_once(&lines, admit, sent.as_ref());
                    self.waiting.fetch_sub(lines.len(), Ordering::AcqRel);
                    if let Some(done) = done {
                        done(is_written);
                    }
                }
                Ok(Order::Flush(done)) => drop(done.send(())),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => {
                    if let Some(open) = self.open.take() {
                        open.end();
                    }
                    if let Some(mut room) = self.room.take() {
                        room.end();
                    }
                    return;
                }
            }
        }
    }

    /// The same for a batch that may have come before.
    fn take_once(&mut self, lines: &[u8], admit: Option<Admit>, sent: Option<&Sent>) -> bool {
        match sent.map_or(Comes::New, |sent| self.taken.judge(sent)) {
            Comes::New => {}
            Comes::Again => return true,
            Comes::TooSoon => return false,
        }
        let is_written = self.take(lines, admit, sent);
        if let Some(sent) = sent.filter(|_| is_written) {
            self.taken.note(sent);
        }
        is_written
    }

    /// Says whether all that are let in are written, as far as there is room.
    fn take(&mut self, lines: &[u8], mut admit: Option<Admit>, sent: Option<&Sent>) -> bool {
        self.unlooked += lines.len() as u64;
        let now = now();
        let eldest = hour::begin(now) - Micros::from(self.settings.hours_max) * HOUR;
        let (mut records, mut refused) = (Vec::new(), 0);
        let mut read = |line: &[u8]| {
            let mut fields = fields_of(line)?;
            let owner = match &mut admit {
                Some(admit) => admit(&mut fields).ok_or("it is not let in")?,
                None => String::new(),
            };
            Record::of(fields).map(|record| Record { owner, ..record })
        };
        for line in split(lines) {
            match read(line) {
                Ok(record) if record.at >= eldest + HOUR && record.at <= now + AHEAD_MAX => {
                    records.push(record);
                }
                _ => refused += 1,
            }
        }
        self.counters.refused.fetch_add(refused, Ordering::Relaxed);
        if self.is_full {
            self.counters.lost_full.fetch_add(records.len() as u64, Ordering::Relaxed);
            return true;
        }
        // By hours, in the order in which they came.
        records.sort_by_key(|record| hour::begin(record.at));
        let mut is_written = true;
        for hour in records.chunk_by(|a, b| hour::begin(a.at) == hour::begin(b.at)) {
            // What is known by its number is in a file as a whole, or not at all; it is short.
            let together = if sent.is_some() { hour.len() } else { TRANSACTION_MAX };
            for records in hour.chunks(together) {
                is_written &= self.write(records, sent);
            }
        }
        is_written
    }

    fn write(&mut self, records: &[Record], sent: Option<&Sent>) -> bool {
        let Some(first) = records.first() else { return true };
        let begin = hour::begin(first.at);
        let done = self.hour(begin).and_then(|writer| {
            let sizes = writer.write(records, sent)?;
            Ok(sizes.map(|sizes| (sizes, writer.counted().is_some())))
        });
        let count = records.len() as u64;
        match done {
            // Its part of the batch was written before.
            Ok(None) => true,
            Ok(Some((sizes, is_counted))) => {
                for (record, bytes) in records.iter().zip(&sizes).filter(|_| is_counted) {
                    self.room().add(record, *bytes);
                }
                if let Some(tap) = &*self.tap.lock().unwrap_or_else(PoisonError::into_inner) {
                    tap(records);
                }
                let refused = sizes.iter().filter(|bytes| **bytes == 0).count() as u64;
                self.counters.refused.fetch_add(refused, Ordering::Relaxed);
                self.counters.written.fetch_add(count - refused, Ordering::Relaxed);
                true
            }
            Err(failure) => {
                self.counters.lost_failed.fetch_add(count, Ordering::Relaxed);
                tracing::error!(event = "CONTROLLER_LOG_LOST", records = count, %failure, "logs cannot be written");
                self.open = None;
                self.next_look = Instant::now();
                if let Failure::File(path, error) = &failure {
                    let _ = set_aside(path, error);
                }
                false
            }
        }
    }

    /// The file of an hour, which stays open until another one is written to.
    fn hour(&mut self, begin: Micros) -> Result<&mut Writer, Failure> {
        if let Some(open) = self.open.take_if(|open| open.begin() != begin) {
            open.end();
        }
        match &mut self.open {
            Some(_) => {}
            none => {
                let before = hour::list(&self.folder)?.pop();
                let dictionary = before
                    .filter(|(other, _)| *other != begin)
                    .and_then(|(other, _)| Writer::open(&self.folder, other, None).ok())
                    .and_then(|writer| writer.dictionary());
                *none = Some(Writer::open(&self.folder, begin, dictionary.as_deref())?);
            }
        }
        self.open.as_mut().ok_or_else(|| Failure::Asked("no file is open".into()))
    }

    /// Who has how much of the room.
    fn room(&mut self) -> &mut Room {
        let Writing { room, settings, folder, .. } = self;
        room.get_or_insert_with(|| Room::open(settings.bytes_max, folder))
    }

    /// Hours that were set aside go by age as others do, and the oldest of them before they take much of the room: the newest may
    /// take more. Says how much is left of them.
    //= LOG-KEEP-04
    fn tend_aside(&self) -> u64 {
        let bytes = |all: &[(Micros, PathBuf)]| all.iter().map(|(_, path)| retention::bytes(path)).sum();
        let Ok(mut hours) = hour::aside(&self.folder) else { return 0 };
        let Settings { hours_max, bytes_max } = self.settings;
        let newest = hours.last().filter(|(_, path)| retention::bytes(path) <= bytes_max / 2);
        let newest = newest.map(|(begin, _)| *begin);
        let mut gone = retention::over(&hours, now(), hours_max, (0, u64::MAX), None);
        gone.extend(retention::over(&hours, now(), u32::MAX, (bytes(&hours), bytes_max / ASIDE), newest));
        for path in gone {
            if let Err(failure) = retention::remove(&path) {
                tracing::error!(event = "CONTROLLER_LOG_STAYS", %failure, "an old hour of logs cannot be removed");
            }
        }
        hours.retain(|(_, path)| path.exists());
        bytes(&hours)
    }

    //= LOG-KEEP-03
    fn tend(&mut self) {
        let most = TEND_BYTES.0.min(self.settings.bytes_max / TEND_BYTES.1);
        if Instant::now() < self.next_look && self.unlooked <= most {
            return;
        }
        self.unlooked = 0;
        self.next_look = Instant::now() + TEND_EVERY;
        let Ok(hours) = hour::list(&self.folder) else { return };
        let writing = self.open.as_ref().map(Writer::begin);
        let Settings { hours_max, bytes_max } = self.settings;
        // Far too much at the start: the bound was lowered. Later on that is what has just come.
        let is_first = self.room.is_none();
        let far = if is_first { bytes_max.saturating_add(bytes_max / FAR) } else { u64::MAX };
        let held: u64 = hours.iter().map(|(_, path)| retention::bytes(path)).sum();
        let over = retention::over(&hours, now(), hours_max, (held, far), writing);
        for path in &over {
            match retention::remove(path) {
                Ok(()) => {
                    self.counters.hours_removed.fetch_add(1, Ordering::Relaxed);
                }
                Err(failure) => {
                    tracing::error!(event = "CONTROLLER_LOG_STAYS", %failure, "an old hour of logs cannot be removed")
                }
            }
        }
        if !over.is_empty() {
            self.room = Some(Room::open(bytes_max, &self.folder));
        }
        let aside = self.tend_aside();
        let open = self.open.take();
        let folder = self.folder.clone();
        self.room().set_aside(aside);
        let made = self.room().make(&folder, open.as_ref());
        self.open = open;
        self.counters.trimmed.fetch_add(made.trimmed, Ordering::Relaxed);
        self.counters.hours_removed.fetch_add(made.hours, Ordering::Relaxed);
        if made.is_full && !self.is_full {
            tracing::warn!(
                event = "CONTROLLER_LOG_FULL",
                bytes_max,
                "logs have all the room that they may take, and nothing of them can go"
            );
        }
        self.is_full = made.is_full;
    }
}

//= LOG-KEEP-04
/// A file that is damaged is not written to any more: it stays beside, by another name, until somebody looks. Says whether it is.
pub(crate) fn set_aside(path: &Path, error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    if !matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)) {
        return false;
    }
    let aside = path.with_extension("damaged");
    let moved = std::fs::rename(path, &aside);
    tracing::error!(event = "CONTROLLER_LOG_DAMAGED", file = %path.display(), moved = moved.is_ok(), "an hour of logs is damaged");
    let _ = retention::remove(path);
    true
}

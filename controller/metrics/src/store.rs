//! The store: a thread that writes what it is offered, rolls it up and lets the oldest go; series are read beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread::JoinHandle;

use crate::gather::{self, Holders, Part};
use crate::keeper::Keeper;
use crate::read::{self, Ask, Range};
use crate::{Failure, Key, Kind, Millis, Tally};

/// Samples that wait for the writer: half a megabyte each at worst, and they come again when they find no place.
const WAITING_MAX: usize = 128;

/// Things that have series: ten thousand services with a hundred thousand servers, and as many that are gone.
pub const THINGS_MAX: usize = 400_000;

/// How much is kept, and by which clock.
#[derive(Clone)]
pub struct Keep {
    /// Bytes of the file.
    pub bytes_max: u64,
    /// Services, pools, servers and engines that have series at a time.
    pub things_max: usize,
    /// Milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> Millis + Send + Sync>,
}

/// A sample of an engine.
pub struct Offer {
    /// Its uuid.
    pub engine: String,
    /// Its process, the sample's number, and the lowest number that the engine still has.
    pub process: u64,
    /// See `process`.
    pub number: u64,
    /// See `process`.
    pub oldest: u64,
    /// How long before it was offered its stretch ended, in milliseconds.
    pub age: Millis,
    /// How long the stretch was, in milliseconds.
    pub length: Millis,
    /// What was counted, each thing once.
    pub tallies: Vec<(Key, Tally)>,
    /// Called with the sample's number when it lies on the disk.
    pub done: Box<dyn FnOnce(u64) + Send>,
}

/// What became of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Written.
    pub written: u64,
    /// There before.
    pub known: u64,
    /// Put off: the writer was behind, or one before was missing. They come again.
    pub put_off: u64,
    /// Not written because the file failed. They come again.
    pub failed: u64,
    /// Slots that were made of shorter ones.
    pub rolled: u64,
    /// How often the oldest slots went because the file was full.
    pub shrunk: u64,
    /// Tallies of things for which there was no room.
    pub homeless: u64,
}

/// The same, while they change.
#[derive(Default)]
pub struct Counters {
    pub(crate) written: AtomicU64,
    pub(crate) known: AtomicU64,
    pub(crate) put_off: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) rolled: AtomicU64,
    pub(crate) shrunk: AtomicU64,
    pub(crate) homeless: AtomicU64,
}

/// Why a sample was not taken. It comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The writer is behind.
    Busy,
}

/// What the thread does.
pub enum Order {
    /// Takes a sample that came at this moment.
    Take(Offer, Millis),
    /// Answers when all that was offered before is written, and what is to be rolled up is.
    Flush(SyncSender<()>),
    /// Ends.
    End,
}

/// Where series are kept.
pub struct Store {
    folder: PathBuf,
    keep: Keep,
    orders: SyncSender<Order>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the folder, which is made where it is not.
    ///
    /// # Errors
    /// The folder cannot be made or written, or no thread can be started. A file that is damaged is none: it is set aside.
    pub fn open(folder: &Path, keep: Keep) -> Result<Store, Failure> {
        let failed = |error| Failure::System(folder.into(), error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let (orders, taken) = mpsc::sync_channel(WAITING_MAX);
        let counters = Arc::<Counters>::default();
        let keeper = Keeper::open(folder, keep.clone(), Arc::clone(&counters))?;
        let thread = std::thread::Builder::new().name("metrics".into()).spawn(move || keeper.run(&taken));
        let thread = Some(thread.map_err(failed)?);
        Ok(Store { folder: folder.into(), keep, orders, counters, thread })
    }

    /// The clock by which slots are.
    pub fn now(&self) -> Millis {
        (self.keep.clock)()
    }

    /// Offers a sample; it is written soon, and `done` is called then.
    ///
    /// # Errors
    /// It is not taken: who offers it does so again later.
    pub fn offer(&self, offer: Offer) -> Result<(), Refused> {
        let now = self.now();
        match self.orders.try_send(Order::Take(offer, now)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.counters.put_off.fetch_add(1, Ordering::Relaxed);
                Err(Refused::Busy)
            }
        }
    }

    /// A tally for each slot: `None` where nobody told anything, an empty one where it was told that nothing happened.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self, ask: &Ask) -> Result<Vec<Option<Tally>>, Failure> {
        read::read(&self.folder, ask)
    }

    /// For each thing what it counted in all of these slots together; `None`: nothing was told of it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn totals(&self, keys: &[Key], range: Range) -> Result<Vec<Option<Tally>>, Failure> {
        read::totals(&self.folder, keys, range)
    }

    /// Of each of these who holds any of its things, as this store knows it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn holders(&self, asks: &[Ask]) -> Result<Vec<Holders>, Failure> {
        gather::holders(&self.folder, asks)
    }

    /// Of each of these what this store has; the holders are those that all stores know together.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn parts(&self, asks: &[(Ask, Holders)]) -> Result<Vec<Part>, Failure> {
        gather::parts(&self.folder, asks)
    }

    /// Everything of a kind that was ever told of.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn known(&self, of: Kind) -> Result<Vec<Key>, Failure> {
        read::known(&self.folder, of)
    }

    /// Waits until all that was offered is written, and what is to be rolled up is.
    pub fn flush(&self) {
        let (say, heard) = mpsc::sync_channel(1);
        if self.orders.send(Order::Flush(say)).is_ok() {
            let _ = heard.recv();
        }
    }

    /// What became of samples.
    pub fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            written: of(&self.counters.written),
            known: of(&self.counters.known),
            put_off: of(&self.counters.put_off),
            failed: of(&self.counters.failed),
            rolled: of(&self.counters.rolled),
            shrunk: of(&self.counters.shrunk),
            homeless: of(&self.counters.homeless),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

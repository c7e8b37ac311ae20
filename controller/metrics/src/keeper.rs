//! Who writes the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;

use crate::file::{self, Came, Done, File};
use crate::store::{Counters, Keep, Offer, Order};
use crate::{Failure, Millis};

/// Samples of one step: some megabytes.
const TOGETHER_MAX: usize = 64;
/// How often is looked what is to be rolled up, and what is to go.
const TEND_EVERY: Duration = Duration::from_secs(5);
/// The same trouble is told again after so long.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Things that nobody tells of any more are looked for this often.
const AGED_AGAIN: Duration = Duration::from_secs(3_600);

/// The thread's own.
pub struct Keeper {
    folder: PathBuf,
    keep: Keep,
    counters: Arc<Counters>,
    file: File,
    told: Option<Instant>,
    told_homeless: Option<Instant>,
    /// When it was looked last for things that nobody tells of any more.
    aged: Option<Instant>,
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Opens the file; one that is damaged goes aside, and a new one takes its place: what it had is history, and nobody's
/// configuration.
//= MET-DAMAGE-01
fn open(folder: &Path, keep: &Keep) -> Result<File, Failure> {
    let path = file::place(folder);
    let failed = |error| Failure::File(path.clone(), error);
    let open = || File::open(folder, keep.bytes_max, keep.things_max, (keep.clock)());
    match open() {
        Err(error) if is_damage(&error) => {
            set_aside(folder, &error).map_err(|error| Failure::System(path.clone(), error))?;
            open().map_err(failed)
        }
        opened => opened.map_err(failed),
    }
}

fn set_aside(folder: &Path, error: &rusqlite::Error) -> std::io::Result<()> {
    let path = file::place(folder);
    let aside = folder.join("metrics.damaged");
    std::fs::rename(&path, &aside)?;
    for end in ["-wal", "-shm"] {
        let mut name = path.clone().into_os_string();
        name.push(end);
        match std::fs::remove_file(name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    tracing::error!(event = "METRICS_DAMAGED", file = %aside.display(), %error, "the file of metrics is damaged: it is set aside, and series begin anew");
    Ok(())
}

impl Keeper {
    /// Opens the file.
    pub fn open(folder: &Path, keep: Keep, counters: Arc<Counters>) -> Result<Keeper, Failure> {
        let file = open(folder, &keep)?;
        Ok(Keeper {
            folder: folder.into(),
            keep,
            counters,
            file,
            told: None,
            told_homeless: None,
            aged: None,
        })
    }

    /// Does what it is told until it is told to end.
    pub fn run(mut self, orders: &Receiver<Order>) {
        let mut tended: Option<Instant> = None;
        loop {
            let first = match orders.recv_timeout(TEND_EVERY) {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut together = Vec::new();
            let mut after = None;
            for order in first.into_iter().chain(orders.try_iter()) {
                match order {
                    Order::Take(offer, at) => together.push((offer, at)),
                    other => after = Some(other),
                }
                if after.is_some() || together.len() >= TOGETHER_MAX {
                    break;
                }
            }
            if !together.is_empty() {
                self.take(together);
            }
            let is_due = tended.is_none_or(|tended| tended.elapsed() >= TEND_EVERY);
            if is_due || matches!(after, Some(Order::Flush(_))) {
                self.tend();
                tended = Some(Instant::now());
            }
            match after {
                Some(Order::End) => return,
                Some(Order::Flush(say)) => {
                    let _ = say.send(());
                }
                Some(Order::Take(..)) | None => {}
            }
        }
    }

    fn take(&mut self, together: Vec<(Offer, Millis)>) {
        let write = |file: &mut File| {
            file.step(|file| {
                let done = together.iter().map(|(offer, at)| {
                    let came = Came {
                        engine: &offer.engine,
                        process: offer.process,
                        number: offer.number,
                        oldest: offer.oldest,
                        end: at.saturating_sub(offer.age),
                        length: offer.length,
                    };
                    file.take(&came, &offer.tallies)
                });
                done.collect::<rusqlite::Result<Vec<Done>>>()
            })
        };
        let keys = together.iter().flat_map(|(offer, _)| offer.tallies.iter().map(|(key, _)| key));
        if !self.file.has_room_for(keys) {
            self.make_room(true);
        }
        let mut done = write(&mut self.file);
        if let Err(error) = &done
            && error.sqlite_error_code() == Some(ErrorCode::DiskFull)
            && self.shrink()
        {
            done = write(&mut self.file);
        }
        self.count_homeless();
        match done {
            Ok(done) => {
                for ((offer, _), done) in together.into_iter().zip(done) {
                    let counter = match done {
                        Done::Written => &self.counters.written,
                        Done::Known => &self.counters.known,
                        Done::TooSoon => &self.counters.put_off,
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                    if done != Done::TooSoon {
                        (offer.done)(offer.number);
                    }
                }
            }
            Err(error) => {
                self.counters.failed.fetch_add(together.len() as u64, Ordering::Relaxed);
                self.failed(&error);
            }
        }
    }

    /// Whether there is more room than before. A disk that others have filled is waited for: engines keep what they count.
    //= MET-KEEP-02
    fn shrink(&mut self) -> bool {
        if !matches!(self.file.is_full(), Ok(true)) {
            return false;
        }
        let is_done = matches!(self.file.step(File::shrink), Ok(true));
        if is_done {
            self.counters.shrunk.fetch_add(1, Ordering::Relaxed);
        }
        is_done
    }

    /// Lets things go that nobody tells of any more.
    fn make_room(&mut self, is_needed: bool) {
        if let Err(error) = self.file.make_room((self.keep.clock)(), is_needed) {
            self.failed(&error);
        }
    }

    //= MET-ROOM-01
    fn count_homeless(&mut self) {
        let homeless = std::mem::take(&mut self.file.homeless);
        if homeless == 0 {
            return;
        }
        self.counters.homeless.fetch_add(homeless, Ordering::Relaxed);
        if self.told_homeless.is_none_or(|told| told.elapsed() >= TOLD_AGAIN) {
            let most = self.keep.things_max;
            tracing::warn!(
                event = "METRICS_NO_ROOM",
                most,
                homeless,
                "there are series of as many services, pools, servers and engines as there is room for: new ones have none until others have been silent for two days"
            );
            self.told_homeless = Some(Instant::now());
        }
    }

    fn tend(&mut self) {
        let now = (self.keep.clock)();
        if self.aged.is_none_or(|aged| aged.elapsed() >= AGED_AGAIN) {
            self.make_room(false);
            self.aged = Some(Instant::now());
        }
        loop {
            match self.file.roll(now) {
                Ok(true) => {
                    self.counters.rolled.fetch_add(1, Ordering::Relaxed);
                }
                Ok(false) => break,
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) && self.shrink() => {}
                Err(error) => return self.failed(&error),
            }
        }
        if let Err(error) = self.file.tidy(now) {
            self.failed(&error);
        }
    }

    fn failed(&mut self, error: &rusqlite::Error) {
        if is_damage(error) {
            let opened =
                set_aside(&self.folder, error).map_err(|error| Failure::System(self.folder.clone(), error));
            match opened.and_then(|()| open(&self.folder, &self.keep)) {
                Ok(file) => self.file = file,
                Err(failure) => self.tell(&failure.to_string()),
            }
        } else {
            self.tell(&error.to_string());
        }
    }

    fn tell(&mut self, why: &str) {
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_AGAIN) {
            tracing::warn!(event = "METRICS_NOT_WRITTEN", folder = %self.folder.display(), why, "metrics are not written: engines keep theirs for five minutes by slots, and after that as one sum");
            self.told = Some(Instant::now());
        }
    }
}

//! Room for what comes: where there is little left, records go of whom there are the most.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::hour::{self, Writer};
use crate::ledger::{Ledger, Part};
use crate::record::Record;
use crate::trim::{self, Trimmed};
use crate::{Failure, Micros, retention};

/// Of the room one part in so many stays free, so that what comes need not wait.
const FREE: u64 = 16;

/// So long room is made at once at the least, if some is left: as long again is written.
const AT_ONCE: Duration = Duration::from_millis(50);

/// The same is told again after so long.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Who has how much of it.
pub(crate) struct Room {
    bytes_max: u64,
    ledger: Ledger,
    /// Hours whose files, of earlier versions, do not say who has how much of them.
    uncounted: BTreeSet<Micros>,
    /// The hour that is not written to of which records went last: the next ones are of it as well.
    last: Option<(Micros, Connection)>,
    /// When room was made last, and when it was told last.
    made: Instant,
    told: Option<Instant>,
    trimmed: u64,
}

/// What was done to have room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Made {
    /// Records that went by themselves.
    pub(crate) trimmed: u64,
    /// Hours that went as a whole.
    pub(crate) hours: u64,
    /// There is no room nevertheless.
    pub(crate) is_full: bool,
}

impl Room {
    /// Reads who has how much.
    pub(crate) fn open(bytes_max: u64, folder: &Path) -> Room {
        let (ledger, uncounted) = (Ledger::default(), BTreeSet::new());
        let (made, told, last) = (Instant::now(), None, None);
        let mut room = Room { bytes_max, ledger, uncounted, last, made, told, trimmed: 0 };
        room.read(&hour::list(folder).unwrap_or_default());
        room
    }

    fn read(&mut self, hours: &[(Micros, PathBuf)]) {
        (self.ledger, self.uncounted) = (Ledger::default(), BTreeSet::new());
        for (begin, path) in hours {
            // One that cannot be read is looked at when it is written to or searched.
            if !trim::read(path, *begin, &mut self.ledger).unwrap_or(false) {
                self.uncounted.insert(*begin);
            }
        }
    }

    /// A record was written to a file that counts.
    pub(crate) fn add(&mut self, record: &Record, bytes: u64) {
        if bytes > 0 {
            self.ledger.add(&record.owner, &record.service, hour::begin(record.at), bytes);
        }
    }

    /// Makes room, if there is little. What is too old, or far too much, has gone before.
    //= LOG-SHARE-01
    pub(crate) fn make(&mut self, folder: &Path, open: Option<&Writer>) -> Made {
        let mut made = Made::default();
        let Ok(mut hours) = hour::list(folder) else { return made };
        let began = Instant::now();
        let until = began + AT_ONCE.max(began.saturating_duration_since(self.made));
        let mut loudest = None;
        loop {
            let held = self.held(&hours, open);
            // As long as there is any room, what comes has its turn as well.
            let excess = held.saturating_sub(self.bytes_max - self.bytes_max / FREE);
            made.is_full = held > self.bytes_max;
            if excess == 0 || !made.is_full && Instant::now() >= until {
                break;
            }
            match self.step(&mut hours, open, excess) {
                Ok(None) => break,
                Ok(Some(step)) => {
                    made.trimmed += step.trimmed;
                    made.hours += step.hours;
                    loudest = step.service.or(loudest);
                }
                Err(failure) => {
                    tracing::error!(event = "CONTROLLER_LOG_STAYS", %failure, "old logs cannot be removed");
                    break;
                }
            }
        }
        if made.trimmed == 0 {
            // What is not needed is not kept open.
            self.last = None;
        }
        self.made = Instant::now();
        self.tell(loudest, made.trimmed);
        made
    }

    /// Removes what is to go next, of so many bytes; `None`: there is nothing that could.
    fn step(
        &mut self,
        hours: &mut Vec<(Micros, PathBuf)>,
        open: Option<&Writer>,
        excess: u64,
    ) -> Result<Option<Step>, Failure> {
        let writing = open.map(Writer::begin);
        let old = hours.iter().position(|(hour, _)| self.uncounted.contains(hour) && Some(*hour) != writing);
        if let Some((hour, path)) = old.map(|at| hours.remove(at)) {
            self.uncounted.remove(&hour);
            retention::remove(&path)?;
            return Ok(Some(Step { hours: 1, ..Step::default() }));
        }
        let Some((owner, service, part)) = self.ledger.loudest() else { return Ok(None) };
        // Not so many that others have far more after it.
        let bytes = excess.min(part.bytes / 4);
        let at = hours.iter().position(|(hour, _)| *hour == part.from);
        let trimmed = match at {
            None => Trimmed::default(),
            Some(_) if writing == Some(part.from) => match open.and_then(Writer::counted) {
                Some(db) => trim::trim(db, &service, part.gone, bytes)
                    .map_err(|error| Failure::File(hours[at.unwrap_or(0)].1.clone(), error))?,
                None => Trimmed::default(),
            },
            Some(at) => match self.closed(&hours[at], &service, part, bytes)? {
                Some(trimmed) => trimmed,
                None => {
                    let (_, path) = hours.remove(at);
                    self.last = None;
                    retention::remove(&path)?;
                    self.read(hours);
                    return Ok(Some(Step { hours: 1, ..Step::default() }));
                }
            },
        };
        if trimmed.rows == 0 {
            let next = hours.iter().map(|(hour, _)| *hour).find(|hour| *hour > part.from);
            self.ledger.next_hour(&owner, &service, next);
            return Ok(Some(Step::default()));
        }
        self.ledger.remove(&owner, &service, trimmed.bytes, trimmed.gone);
        Ok(Some(Step { trimmed: trimmed.rows, hours: 0, service: Some(service) }))
    }

    /// Removes records of an hour that is not written to, and gives their room back; `None`: it goes as a whole, as nobody else
    /// has anything in it.
    fn closed(
        &mut self,
        (hour, path): &(Micros, PathBuf),
        service: &str,
        part: Part,
        bytes: u64,
    ) -> Result<Option<Trimmed>, Failure> {
        let failed = |error| Failure::File(path.clone(), error);
        let db = match self.last.take_if(|(last, _)| last == hour) {
            Some((_, db)) => db,
            None => trim::open(path).map_err(failed)?,
        };
        self.last = None;
        if trim::is_alone(&db, service).map_err(failed)? {
            return Ok(None);
        }
        let trimmed = trim::trim(&db, service, part.gone, bytes).map_err(failed)?;
        trim::give_back(&db).map_err(failed)?;
        self.last = Some((*hour, db));
        Ok(Some(trimmed))
    }

    /// Bytes of all hours. What was freed in the one that is written to is used again, and of the one of which records went last
    /// it is on its way to the system.
    pub(crate) fn held(&self, hours: &[(Micros, PathBuf)], open: Option<&Writer>) -> u64 {
        let of = |(begin, path): &(Micros, PathBuf)| {
            let written = open.filter(|open| open.begin() == *begin).and_then(Writer::used);
            let last = self.last.as_ref().filter(|(hour, _)| hour == begin);
            let used = written.or_else(|| last.and_then(|(_, db)| trim::used(db).ok()));
            used.unwrap_or_else(|| retention::bytes(path))
        };
        hours.iter().map(of).sum()
    }

    /// Says who has lost records, once in a while.
    fn tell(&mut self, service: Option<String>, trimmed: u64) {
        self.trimmed += trimmed;
        let Some(service) = service else { return };
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_AGAIN) {
            self.told = Some(Instant::now());
            tracing::warn!(
                event = "CONTROLLER_LOG_BEYOND",
                service,
                removed = self.trimmed,
                "the room for logs is full, and this service has the most of it: its oldest records go; raise --logs-mib, or lower the throttles of its analytics policy"
            );
        }
    }
}

#[derive(Default)]
struct Step {
    trimmed: u64,
    hours: u64,
    /// Whose records went.
    service: Option<String>,
}

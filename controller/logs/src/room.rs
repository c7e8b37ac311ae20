//! Room for what comes: where there is little left, records go of whom there are the most.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::hour::{self, Writer};
use crate::ledger::{Ledger, Loss};
use crate::record::Record;
use crate::store::set_aside;
use crate::trim::{self, Trimmed};
use crate::{Failure, Micros, retention};

/// Of the room one part in so many stays free, so that what comes need not wait.
const FREE: u64 = 16;

/// So long room is made at once at the least, if some is left: as long again is written.
const AT_ONCE: Duration = Duration::from_millis(50);

/// What goes at once: of all room one part in so many at the least, so that it need not be done for every few records that come,
/// and so many bytes at the most.
const BITE: (u64, u64) = (256, 32 << 20);

/// Hours that stay open for the next bite, two megabytes each: what is written to a file that is closed goes to the disk at once,
/// which is waited for.
const OPEN_MAX: usize = 24;

/// What is written to all of them, and is not yet in its place, takes one part in so many of all room at the most, so many bytes.
const BESIDE: (u64, u64) = (32, 192 << 20);

/// Of one of them one part in so many of all room may be free and not given back, so many bytes at the most: all of them, with
/// what is beside, have less than what stays free ([`FREE`]).
const LOOSE: (u64, u64) = (1_024, 8 << 20);

/// After so long in which nothing has gone they are closed.
const CLOSED_AFTER: Duration = Duration::from_secs(10);

/// The same is told again after so long.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Who has how much of it.
pub(crate) struct Room {
    bytes_max: u64,
    ledger: Ledger,
    /// Hours whose files, of earlier versions, do not say who has how much of them.
    uncounted: BTreeSet<Micros>,
    /// Bytes of hours that were set aside.
    aside: u64,
    /// Hours that are not written to of which records went last, the last one at the end.
    last: Vec<(Micros, Connection)>,
    /// When room was made last, when something went, and when it was told last.
    made: Instant,
    went: Instant,
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
        let (made, last) = (Instant::now(), Vec::new());
        let (told, trimmed, aside) = (None, 0, 0);
        let mut room = Room { bytes_max, ledger, uncounted, aside, last, made, went: made, told, trimmed };
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

    /// Hours that were set aside take so many bytes of it.
    pub(crate) fn set_aside(&mut self, bytes: u64) {
        self.aside = bytes;
    }

    /// Makes room, if there is little. What is too old, or far too much, has gone before.
    //= LOG-SHARE-01
    pub(crate) fn make(&mut self, folder: &Path, open: Option<&Writer>) -> Made {
        let mut made = Made::default();
        let Ok(mut hours) = hour::list(folder) else { return made };
        let began = Instant::now();
        let until = began + AT_ONCE.max(began.saturating_duration_since(self.made));
        let written = open.map(|open| hour::file(folder, open.begin()));
        let mut loudest = None;
        loop {
            let held = self.held(&hours, open) + self.aside;
            // As long as there is any room, what comes has its turn as well.
            let excess = held.saturating_sub(self.bytes_max - self.bytes_max / FREE);
            made.is_full = held > self.bytes_max;
            if excess == 0 || !made.is_full && Instant::now() >= until {
                break;
            }
            let bite = excess.max(self.bytes_max / BITE.0).min(BITE.1);
            match self.step(&mut hours, open, bite) {
                Ok(None) => break,
                Ok(Some(step)) => {
                    made.trimmed += step.trimmed;
                    made.hours += step.hours;
                    loudest = step.service.or(loudest);
                }
                Err(failure) => {
                    // One that is written to is set aside by whoever writes.
                    //= LOG-KEEP-04
                    if let Failure::File(path, error) = &failure
                        && written.as_ref() != Some(path)
                        && set_aside(path, error)
                    {
                        hours.retain(|(_, other)| other != path);
                        self.read(&hours);
                        made.hours += 1;
                        continue;
                    }
                    tracing::error!(event = "CONTROLLER_LOG_STAYS", %failure, "old logs cannot be removed");
                    break;
                }
            }
        }
        self.made = Instant::now();
        if made.trimmed > 0 {
            self.went = self.made;
        } else if self.went.elapsed() >= CLOSED_AFTER {
            self.end();
        }
        self.tell(loudest, made.trimmed);
        made
    }

    /// Removes what is to go next, about so many bytes; `None`: there is nothing that could.
    fn step(
        &mut self,
        hours: &mut Vec<(Micros, PathBuf)>,
        open: Option<&Writer>,
        bytes: u64,
    ) -> Result<Option<Step>, Failure> {
        let writing = open.map(Writer::begin);
        let old = hours.iter().position(|(hour, _)| self.uncounted.contains(hour) && Some(*hour) != writing);
        if let Some((hour, path)) = old.map(|at| hours.remove(at)) {
            self.uncounted.remove(&hour);
            retention::remove(&path)?;
            return Ok(Some(Step { hours: 1, ..Step::default() }));
        }
        let losses = self.ledger.losses(bytes);
        if losses.is_empty() {
            return Ok(None);
        }
        let mut step = Step::default();
        for (hour, losses) in losses {
            let path = hours.iter().find(|(begin, _)| *begin == hour).map(|(_, path)| path.clone());
            let trimmed = match &path {
                None => None,
                Some(path) if writing == Some(hour) => match open.and_then(Writer::counted) {
                    Some(db) => Some(trim::trim(db, &losses).map_err(|e| Failure::File(path.clone(), e))?),
                    None => None,
                },
                Some(path) => match self.closed(hour, path, &losses)? {
                    Some(trimmed) => Some(trimmed),
                    None => {
                        retention::remove(path)?;
                        hours.retain(|(begin, _)| *begin != hour);
                        // Who has how much is read anew: what was to go else is seen with the next step.
                        self.read(hours);
                        step.hours += 1;
                        return Ok(Some(step));
                    }
                },
            };
            let next = hours.iter().map(|(begin, _)| *begin).find(|begin| *begin > hour);
            // Where there is no file there is nothing left of anybody.
            let none = || Trimmed { is_over: true, ..Trimmed::default() };
            let trimmed = trimmed.unwrap_or_else(|| losses.iter().map(|_| none()).collect());
            for (Loss { owner, service, .. }, trimmed) in losses.into_iter().zip(trimmed) {
                self.ledger.remove(&owner, &service, trimmed.bytes, trimmed.gone);
                if trimmed.is_over {
                    self.ledger.next_hour(&owner, &service, next);
                }
                step.trimmed += trimmed.rows;
                step.service = Some(service).filter(|_| trimmed.rows > 0).or(step.service);
            }
        }
        Ok(Some(step))
    }

    /// Removes records of an hour that is not written to; `None`: it goes as a whole, as nobody else has anything in it.
    fn closed(
        &mut self,
        hour: Micros,
        path: &Path,
        losses: &[Loss],
    ) -> Result<Option<Vec<Trimmed>>, Failure> {
        let failed = |error| Failure::File(path.to_owned(), error);
        let at = self.last.iter().position(|(last, _)| *last == hour);
        let db = match at.map(|at| self.last.remove(at)) {
            Some((_, db)) => db,
            None => trim::open(path, (self.bytes_max / BESIDE.0).min(BESIDE.1) / OPEN_MAX as u64)
                .map_err(failed)?,
        };
        if let [loss] = losses
            && trim::is_alone(&db, &loss.service).map_err(failed)?
        {
            return Ok(None);
        }
        let trimmed = trim::trim(&db, losses).map_err(failed)?;
        if trim::free(&db).map_err(failed)? > (self.bytes_max / LOOSE.0).min(LOOSE.1) {
            trim::give_back(&db).map_err(failed)?;
        }
        if self.last.len() >= OPEN_MAX {
            let (_, eldest) = self.last.remove(0);
            close(&eldest);
        }
        self.last.push((hour, db));
        Ok(Some(trimmed))
    }

    /// Closes what is open, and gives back what is free of it.
    pub(crate) fn end(&mut self) {
        self.last.drain(..).for_each(|(_, db)| close(&db));
    }

    /// Bytes of all hours. What was freed in the one that is written to is used again, and of the one of which records went last
    /// it is on its way to the system.
    pub(crate) fn held(&self, hours: &[(Micros, PathBuf)], open: Option<&Writer>) -> u64 {
        let of = |(begin, path): &(Micros, PathBuf)| {
            let written = open.filter(|open| open.begin() == *begin).and_then(Writer::used);
            let last = self.last.iter().find(|(hour, _)| hour == begin);
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

/// What cannot be given back stays free in the file.
fn close(db: &Connection) {
    if let Err(error) = trim::give_back(db) {
        tracing::debug!(%error, "what is free of an hour stays");
    }
}

#[derive(Default)]
struct Step {
    trimmed: u64,
    hours: u64,
    /// Whose records went.
    service: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test LOG-KEEP-04
    #[test]
    fn what_was_set_aside_takes_its_part_of_the_room() {
        let folder = std::env::temp_dir().join(format!("forebay-logs-aside-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("room");
        let mut room = Room::open(1_000, &folder);
        for (bytes, is_full) in [(0, false), (1_001, true), (900, false)] {
            room.set_aside(bytes);
            assert_eq!(room.make(&folder, None).is_full, is_full, "{bytes}");
        }
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

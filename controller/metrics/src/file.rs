//! The file: its tables, and what is done with them in one step.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_wire::limits::STRETCH_MS;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::{Failure, Key, Kind, Millis, STEPS, Tally};

/// Milliseconds.
const DAY: Millis = 86_400_000;

/// Bytes of a page.
const PAGE: u64 = 4_096;

/// Servers have so much of the room for things, in eighths: those that nobody ever had keep no engine and no service out.
const OF_SERVERS: usize = 7;

/// Who holds what since when: of each thing four engines, on the average.
const HOLDS_OF_EACH: usize = 4;

/// A thing of which nothing was told for so long has no series any more: as long as the longest slots are kept.
const FORGOTTEN: Millis = STEPS[STEPS.len() - 1].1;

/// Where there is no room the servers go that were longest told nothing of, but none of the last days: they may come again.
const QUIET: Millis = 2 * 86_400_000;

/// Bytes of a name.
const NAME_MAX: usize = 512;

/// A window is rolled up so long after its end: what comes later is added to it by itself.
const GRACE: Millis = 15_000;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS thing (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, name TEXT NOT NULL, server TEXT NOT NULL,
  UNIQUE (kind, name, server));
CREATE TABLE IF NOT EXISTS holds (thing INTEGER, engine INTEGER, since INTEGER NOT NULL, PRIMARY KEY (thing, engine)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS slot0 (slot INTEGER, thing INTEGER, engine INTEGER, tally BLOB NOT NULL, PRIMARY KEY (slot, thing, engine)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS slot1 (slot INTEGER, thing INTEGER, engine INTEGER, tally BLOB NOT NULL, PRIMARY KEY (slot, thing, engine)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS slot2 (slot INTEGER, thing INTEGER, engine INTEGER, tally BLOB NOT NULL, PRIMARY KEY (slot, thing, engine)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS slot3 (slot INTEGER, thing INTEGER, engine INTEGER, tally BLOB NOT NULL, PRIMARY KEY (slot, thing, engine)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sampled (engine INTEGER, process INTEGER, number INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (engine, process)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS last (thing INTEGER PRIMARY KEY, day INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS rolled (level INTEGER PRIMARY KEY, slot INTEGER NOT NULL);
";

/// The file of a folder.
pub fn place(folder: &Path) -> PathBuf {
    folder.join("metrics.db")
}

/// As SQLite has numbers.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Opens the file for who reads.
pub fn reader(folder: &Path) -> Result<Connection, Failure> {
    let path = place(folder);
    let failed = |error| Failure::File(path.clone(), error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(&path, flags).map_err(failed)?;
    db.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
    db.execute_batch("PRAGMA cache_size = -2000").map_err(failed)?;
    Ok(db)
}

/// Who writes.
pub struct File {
    db: Connection,
    things: HashMap<Key, i64>,
    things_max: usize,
    servers: usize,
    /// On which day something was told of a thing last, as it stands in the file.
    last: HashMap<i64, u64>,
    /// Things that found no room in the step under way.
    pub homeless: u64,
    /// Those of the step under way, which are gone with it.
    fresh: Vec<Key>,
    /// What is held by whom since when, as it stands in the file.
    holds: HashMap<(i64, i64), ()>,
    fresh_holds: Vec<(i64, i64)>,
    fresh_days: Vec<i64>,
    /// Of each level the first slot that is not rolled up yet.
    rolled: [u64; STEPS.len()],
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is in the file now.
    Written,
    /// It was before.
    Known,
    /// One before it is missing, which comes again.
    TooSoon,
}

/// A sample with when it came.
pub struct Came<'s> {
    /// Which engine tells it.
    pub engine: &'s str,
    /// Its process, its number, and the lowest number that it still has.
    pub process: u64,
    /// See `process`.
    pub number: u64,
    /// See `process`.
    pub oldest: u64,
    /// When the stretch ended.
    pub end: Millis,
    /// How long it was.
    pub length: Millis,
}

type Things = (HashMap<Key, i64>, HashMap<(i64, i64), ()>, HashMap<i64, u64>);

/// What the file has: things, who holds them, and when something was told of them last.
fn known(db: &Connection) -> rusqlite::Result<Things> {
    let (mut things, mut holds, mut last) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut all = db.prepare("SELECT id, kind, name, server FROM thing")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let of = match row.get::<_, i64>(1)? {
            0 => Kind::Engine,
            1 => Kind::Service,
            2 => Kind::Pool,
            4 => Kind::Controller,
            _ => Kind::Server,
        };
        things.insert(Key { of, uuid: row.get(2)?, server: row.get(3)? }, row.get(0)?);
    }
    let mut all = db.prepare("SELECT thing, engine FROM holds")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        holds.insert((row.get(0)?, row.get(1)?), ());
    }
    let mut all = db.prepare("SELECT thing, day FROM last")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        last.insert(row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs());
    }
    Ok((things, holds, last))
}

impl File {
    /// Opens or makes the file; it grows to `bytes_max` at most, and has series of `things_max` things.
    pub fn open(folder: &Path, bytes_max: u64, things_max: usize, now: Millis) -> rusqlite::Result<File> {
        let db = Connection::open(place(folder))?;
        db.busy_timeout(Duration::from_secs(5))?;
        // What is acknowledged outlives a crash of the machine.
        db.execute_batch(
            "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16000;",
        )?;
        db.pragma_update(None, "max_page_count", signed(bytes_max / PAGE))?;
        db.execute_batch(SCHEMA)?;
        // Those of a file that did not know it.
        let day = signed(now / DAY);
        db.execute("INSERT OR IGNORE INTO last SELECT id, ? FROM thing", [day])?;
        let (things, holds, last) = known(&db)?;
        let mut rolled = [0; STEPS.len()];
        for (level, slot) in rolled.iter_mut().enumerate() {
            let row =
                db.query_row("SELECT slot FROM rolled WHERE level = ?", [signed(level as u64)], |row| {
                    row.get::<_, i64>(0)
                });
            *slot = row.optional()?.unwrap_or(0).unsigned_abs();
        }
        let servers = things.keys().filter(|key| key.of == Kind::Server).count();
        Ok(File {
            db,
            things,
            things_max,
            servers,
            last,
            homeless: 0,
            fresh: Vec::new(),
            holds,
            fresh_holds: Vec::new(),
            fresh_days: Vec::new(),
            rolled,
        })
    }

    /// Does several things, all or none.
    pub fn step<T>(&mut self, what: impl FnOnce(&mut Self) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        let (before, done) = (self.rolled, what(self));
        let done = done.and_then(|done| self.db.execute_batch("COMMIT").map(|()| done));
        if done.is_err() {
            // It may have been rolled back by the failure itself.
            let _ = self.db.execute_batch("ROLLBACK");
            self.rolled = before;
            for key in std::mem::take(&mut self.fresh) {
                self.servers -= usize::from(key.of == Kind::Server);
                if let Some(id) = self.things.remove(&key) {
                    self.last.remove(&id);
                }
            }
            for pair in std::mem::take(&mut self.fresh_holds) {
                self.holds.remove(&pair);
            }
            // The day is written again with the next sample.
            for id in std::mem::take(&mut self.fresh_days) {
                self.last.insert(id, 0);
            }
        }
        self.fresh.clear();
        self.fresh_holds.clear();
        self.fresh_days.clear();
        done
    }

    /// The number of a thing of which something is told on this day; `None`: there are too many, or it has no name that is one.
    fn thing(&mut self, key: &Key, day: u64) -> rusqlite::Result<Option<i64>> {
        let id = match self.things.get(key) {
            Some(id) => *id,
            None => {
                if key.uuid.len() > NAME_MAX || key.server.len() > NAME_MAX {
                    return Ok(None);
                }
                let is_server = key.of == Kind::Server;
                if self.things.len() >= self.things_max
                    || is_server && self.servers >= self.things_max / 8 * OF_SERVERS
                {
                    self.homeless += 1;
                    return Ok(None);
                }
                let kind = key.of as i64;
                // The writer of an earlier term may have put it there after this one had read what there is.
                let new = "INSERT OR IGNORE INTO thing (kind, name, server) VALUES (?, ?, ?)";
                self.db.prepare_cached(new)?.execute(params![kind, key.uuid, key.server])?;
                let find = "SELECT id FROM thing WHERE kind = ? AND name = ? AND server = ?";
                let row = params![kind, key.uuid, key.server];
                let id = self.db.prepare_cached(find)?.query_row(row, |row| row.get(0))?;
                self.things.insert(key.clone(), id);
                self.servers += usize::from(is_server);
                self.fresh.push(key.clone());
                id
            }
        };
        if self.last.get(&id).is_none_or(|last| *last < day) {
            let told = "INSERT OR REPLACE INTO last VALUES (?, ?)";
            self.db.prepare_cached(told)?.execute(params![id, signed(day)])?;
            self.last.insert(id, day);
            self.fresh_days.push(id);
        }
        Ok(Some(id))
    }

    /// Whether there is room for those of them that are new.
    pub fn has_room_for<'k>(&self, keys: impl Iterator<Item = &'k Key>) -> bool {
        let (mut all, mut servers) = (self.things.len(), self.servers);
        for key in keys.filter(|key| !self.things.contains_key(key)) {
            all += 1;
            servers += usize::from(key.of == Kind::Server);
        }
        // An engine that is new tells of itself as well.
        all < self.things_max && servers <= self.things_max / 8 * OF_SERVERS
    }

    /// Makes room for things: what nothing was told of for longer than there are slots goes, and where more is needed an
    /// eighth of all, servers that were longest told nothing of. What is left of their days goes with its time.
    //= MET-ROOM-01
    pub fn make_room(&mut self, now: Millis, is_needed: bool) -> rusqlite::Result<()> {
        let is_old = |day: u64, age: Millis| (day + 1) * DAY <= now.saturating_sub(age);
        let last = |id: &i64| self.last.get(id).copied().unwrap_or(0);
        // A number is not used again while slots may have it: the largest one stays, and new ones are above it.
        let largest = self.things.values().max().copied().unwrap_or(0);
        let known = self.things.iter().filter(|(_, id)| **id != largest);
        let mut gone: Vec<(u64, i64, &Key)> = known
            .filter(|(key, id)| {
                is_old(last(id), FORGOTTEN) || key.of == Kind::Server && is_old(last(id), QUIET)
            })
            .map(|(key, id)| (last(id), *id, key))
            .collect();
        gone.sort_unstable_by_key(|(day, id, _)| (*day, *id));
        let forgotten = gone.iter().take_while(|(day, ..)| is_old(*day, FORGOTTEN)).count();
        let most = if is_needed { forgotten.max(self.things_max.div_ceil(8)) } else { forgotten };
        let gone: Vec<(i64, Key)> =
            gone.into_iter().take(most).map(|(_, id, key)| (id, key.clone())).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let ids: std::collections::HashSet<i64> = gone.iter().map(|(id, _)| *id).collect();
        self.step(|file| {
            for id in &ids {
                file.db.prepare_cached("DELETE FROM thing WHERE id = ?")?.execute([id])?;
                file.db.prepare_cached("DELETE FROM last WHERE thing = ?")?.execute([id])?;
                file.db.prepare_cached("DELETE FROM sampled WHERE engine = ?")?.execute([id])?;
            }
            for (thing, engine) in file.holds.keys() {
                if ids.contains(thing) || ids.contains(engine) {
                    let old = "DELETE FROM holds WHERE thing = ? AND engine = ?";
                    file.db.prepare_cached(old)?.execute([thing, engine])?;
                }
            }
            Ok(())
        })?;
        for (id, key) in &gone {
            self.things.remove(key);
            self.last.remove(id);
            self.servers -= usize::from(key.of == Kind::Server);
        }
        self.holds.retain(|(thing, engine), ()| !ids.contains(thing) && !ids.contains(engine));
        Ok(())
    }

    /// Takes a sample, once.
    //= MET-ONCE-01
    pub fn take(&mut self, came: &Came<'_>, tallies: &[(Key, Tally)]) -> rusqlite::Result<Done> {
        let day = came.end / DAY;
        let Some(engine) = self.thing(&Key::new(Kind::Engine, came.engine), day)? else {
            return Ok(Done::TooSoon);
        };
        let process = came.process.cast_signed();
        let find = "SELECT number FROM sampled WHERE engine = ? AND process = ?";
        let last =
            self.db.prepare_cached(find)?.query_row(params![engine, process], |row| row.get::<_, i64>(0));
        let last = last.optional()?.map_or(0, i64::unsigned_abs);
        if came.number <= last {
            return Ok(Done::Known);
        }
        if came.number != last + 1 && came.number != came.oldest {
            return Ok(Done::TooSoon);
        }
        // The middle of the stretch says which slot it is: where it ends differs by how long it was under way. One that covers
        // more than a slot was added up while nobody listened, and counts where it ended.
        let half = came.length.min(STRETCH_MS) / 2;
        let slot = came.end.saturating_sub(half) / STEPS[0].0;
        for (key, tally) in tallies {
            let Some(thing) = self.thing(key, day)? else { continue };
            // Without it nothing is told apart from nobody.
            let has_room = self.holds.len() < self.things_max.saturating_mul(HOLDS_OF_EACH);
            if has_room && !self.holds.contains_key(&(thing, engine)) {
                let new = "INSERT OR IGNORE INTO holds VALUES (?, ?, ?)";
                self.db.prepare_cached(new)?.execute(params![thing, engine, signed(slot * STEPS[0].0)])?;
                self.holds.insert((thing, engine), ());
                self.fresh_holds.push((thing, engine));
            }
            self.put(slot * STEPS[0].0, thing, engine, tally)?;
        }
        let told = "INSERT OR REPLACE INTO sampled VALUES (?, ?, ?, ?)";
        let row = params![engine, process, signed(came.number), signed(came.end)];
        self.db.prepare_cached(told)?.execute(row)?;
        Ok(Done::Written)
    }

    /// Adds to the slot of a moment, and to the longer ones that were made of it already.
    //= MET-ROLL-01
    fn put(&self, at: Millis, thing: i64, engine: i64, tally: &Tally) -> rusqlite::Result<()> {
        for (level, (step, _)) in STEPS.iter().enumerate() {
            if level == 0 || at / step < self.rolled[level] {
                self.merge(level, at / step, thing, engine, tally)?;
            }
        }
        Ok(())
    }

    fn merge(&self, level: usize, slot: u64, thing: i64, engine: i64, tally: &Tally) -> rusqlite::Result<()> {
        let find = format!("SELECT tally FROM slot{level} WHERE slot = ? AND thing = ? AND engine = ?");
        let there = self
            .db
            .prepare_cached(&find)?
            .query_row(params![signed(slot), thing, engine], |row| row.get::<_, Vec<u8>>(0));
        let there: Option<Vec<u8>> = there.optional()?;
        let mut all = there.and_then(|bytes| Tally::unpack(&bytes)).unwrap_or_default();
        all.then(tally);
        let new = format!("INSERT OR REPLACE INTO slot{level} VALUES (?, ?, ?, ?)");
        self.db.prepare_cached(&new)?.execute(params![signed(slot), thing, engine, all.pack()])?;
        Ok(())
    }

    /// Makes the next longer slot whose time is over, of any length; `false`: there is none.
    //= MET-ROLL-01
    pub fn roll(&mut self, now: Millis) -> rusqlite::Result<bool> {
        for level in 1..STEPS.len() {
            let (step, _) = STEPS[level];
            let over = now.saturating_sub(GRACE) / step;
            if self.rolled[level] >= over {
                continue;
            }
            // Where nothing was counted there is nothing to do.
            let ratio = step / STEPS[level - 1].0;
            let first = format!("SELECT min(slot) FROM slot{} WHERE slot >= ?", level - 1);
            let from = signed(self.rolled[level].saturating_mul(ratio));
            let first: Option<i64> = self.db.query_row(&first, [from], |row| row.get(0))?;
            let first = first.map_or(over, |slot| slot.unsigned_abs() / ratio);
            let slot = self.rolled[level].max(first);
            self.step(|file| {
                if slot < over {
                    file.roll_one(level, slot, ratio)?;
                }
                let next = (slot + 1).min(over);
                file.rolled[level] = next;
                let told = "INSERT OR REPLACE INTO rolled VALUES (?, ?)";
                file.db.execute(told, params![signed(level as u64), signed(next)])
            })?;
            return Ok(true);
        }
        Ok(false)
    }

    fn roll_one(&self, level: usize, slot: u64, ratio: u64) -> rusqlite::Result<()> {
        let mut sums: HashMap<(i64, i64), Tally> = HashMap::new();
        let all = format!("SELECT thing, engine, tally FROM slot{} WHERE slot >= ? AND slot < ?", level - 1);
        let mut all = self.db.prepare_cached(&all)?;
        let mut rows = all.query(params![signed(slot * ratio), signed((slot + 1) * ratio)])?;
        while let Some(row) = rows.next()? {
            if let Some(tally) = Tally::unpack(row.get_ref(2)?.as_blob().unwrap_or_default()) {
                sums.entry((row.get(0)?, row.get(1)?)).or_default().then(&tally);
            }
        }
        let new = format!("INSERT OR REPLACE INTO slot{level} VALUES (?, ?, ?, ?)");
        let mut new = self.db.prepare_cached(&new)?;
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_unstable_by_key(|(place, _)| *place);
        for ((thing, engine), tally) in sums {
            new.execute(params![signed(slot), thing, engine, tally.pack()])?;
        }
        Ok(())
    }

    /// Lets go what is too old.
    //= MET-KEEP-01
    pub fn tidy(&mut self, now: Millis) -> rusqlite::Result<()> {
        self.step(|file| {
            for (level, (step, keep)) in STEPS.iter().enumerate() {
                // Not before the longer slots are made of it.
                let oldest = now.saturating_sub(*keep) / step;
                let bound = STEPS.get(level + 1).map_or(oldest, |(longer, _)| {
                    oldest.min(file.rolled[level + 1].saturating_mul(longer / step))
                });
                file.db.execute(&format!("DELETE FROM slot{level} WHERE slot < ?"), [signed(bound)])?;
            }
            // Processes that ended long ago send nothing again.
            let ended = now.saturating_sub(86_400_000);
            file.db.execute("DELETE FROM sampled WHERE at < ?", [signed(ended)]).map(drop)
        })
    }

    /// Whether the file has about as many bytes as it may; where it has not, and there is no room, the disk has none.
    pub fn is_full(&self) -> rusqlite::Result<bool> {
        let number = |name: &str| self.db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        // No step needs a quarter of it.
        let most = number("max_page_count")?;
        Ok(number("page_count")? - number("freelist_count")? >= most - most / 4)
    }

    /// Makes room in a file that is full: the oldest quarter of the shortest slots goes that there are enough of.
    //= MET-KEEP-02
    pub fn shrink(&mut self) -> rusqlite::Result<bool> {
        for level in 0..STEPS.len() {
            let ends = format!("SELECT min(slot), max(slot) FROM slot{level}");
            let ends: (Option<i64>, Option<i64>) =
                self.db.query_row(&ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let (Some(first), Some(last)) = ends else { continue };
            if last - first >= 8 {
                let bound = first + (last - first) / 4;
                self.db.execute(&format!("DELETE FROM slot{level} WHERE slot < ?"), [bound])?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

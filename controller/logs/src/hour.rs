//! The records of one hour: a file of SQLite, its columns, its words, and the dictionaries that compress the rest.
//!
//! A record's number is its microsecond within the hour and how many of that microsecond came before, so that the order of
//! numbers is that of time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use zstd::bulk::{Compressor, Decompressor};

use crate::once::Sent;
use crate::record::{Kind, Record};
use crate::{Failure, HOUR, Micros, trim};

/// Words of a file at most: services, pools and engines.
const WORDS_MAX: usize = 50_000;

/// Bits of a record's number below its microsecond.
pub(crate) const NTH_BITS: u32 = 20;

/// Records that a dictionary is made of.
const SAMPLES: usize = 4_000;

/// Bytes of a dictionary; those of records repeat within less.
const DICTIONARY_BYTES: usize = 32 << 10;

/// What the rest of one record may be, read or written.
const REST_BYTES_MAX: usize = 64 << 10;

/// What a record takes beside its texts and the rest, in its row and in the index: measured as some 100.
pub(crate) const COLUMNS_BYTES: u64 = 100;

/// How hard the rest is compressed: 3 is four times as fast as 9 and needs a tenth more.
const LEVEL: i32 = 3;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS log (
  id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, significant INTEGER NOT NULL, service INTEGER NOT NULL, pool INTEGER,
  engine INTEGER, code INTEGER, client BLOB, server BLOB, method TEXT, path TEXT, total_ms REAL, bytes INTEGER,
  dictionary INTEGER NOT NULL, rest BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_service ON log (service, id, code, client);
CREATE TABLE IF NOT EXISTS word (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS dictionary (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS part (service INTEGER PRIMARY KEY, owner TEXT NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS taken (engine TEXT, process INTEGER, number INTEGER NOT NULL, PRIMARY KEY (engine, process)) WITHOUT ROWID;
";

/// The columns of a row as [`Reader::record`] takes them.
pub(crate) const ROW: &str = "id, kind, significant, service, pool, engine, code, client, server, method, path, total_ms, \
                              bytes, dictionary, rest";

const INSERT: &str = "INSERT INTO log VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";

/// The first microsecond of the hour of a moment.
pub(crate) fn begin(at: Micros) -> Micros {
    at.div_euclid(HOUR) * HOUR
}

/// The file of an hour, by the number of hours since 1970.
pub(crate) fn file(folder: &Path, begin: Micros) -> PathBuf {
    folder.join(format!("hour-{:08}.db", begin.div_euclid(HOUR)))
}

/// The hours that a folder has, oldest first.
pub(crate) fn list(folder: &Path) -> Result<Vec<(Micros, PathBuf)>, Failure> {
    files(folder, ".db")
}

/// Those that were set aside, oldest first.
pub(crate) fn aside(folder: &Path) -> Result<Vec<(Micros, PathBuf)>, Failure> {
    files(folder, ".damaged")
}

fn files(folder: &Path, end: &str) -> Result<Vec<(Micros, PathBuf)>, Failure> {
    let failed = |error| Failure::System(folder.into(), error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let hour = name.strip_prefix("hour-").and_then(|rest| rest.strip_suffix(end));
        if let Some(hour) = hour.and_then(|hour| hour.parse::<Micros>().ok()) {
            found.push((hour.saturating_mul(HOUR), path));
        }
    }
    found.sort();
    Ok(found)
}

/// A dictionary that compresses, until there is a better one.
type Pack = (i64, Compressor<'static>);

/// An hour that is written to.
pub(crate) struct Writer {
    path: PathBuf,
    begin: Micros,
    db: Connection,
    words: HashMap<String, i64>,
    /// Those of the transaction under way, which are gone with it.
    fresh: Vec<String>,
    /// The microsecond that came last, and the number that a record of it was given.
    last: (i64, i64),
    pack: Option<Pack>,
    samples: Vec<Vec<u8>>,
    /// Whether it is counted who has how much of the file.
    is_counted: bool,
}

impl Writer {
    /// Opens or makes the file of an hour; `dictionary` is that of the hour before.
    pub(crate) fn open(folder: &Path, begin: Micros, dictionary: Option<&[u8]>) -> Result<Writer, Failure> {
        let path = file(folder, begin);
        let failed = |error| Failure::File(path.clone(), error);
        let db = Connection::open(&path).map_err(failed)?;
        db.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
        // A file that was cut off by a crash of the machine is whole up to some commit. Whether it gives room back is said first of
        // all, or never.
        db.execute_batch(
            "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
             PRAGMA cache_size = -8000; PRAGMA journal_size_limit = 16777216",
        )
        .map_err(failed)?;
        db.execute_batch(SCHEMA).map_err(failed)?;
        let words = words(&db).map_err(failed)?.into_iter().map(|(id, text)| (text, id)).collect();
        let last = "SELECT id, bytes FROM dictionary ORDER BY id DESC LIMIT 1";
        let held = db.query_row(last, [], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?))).optional();
        let is_counted = trim::is_counted(&db);
        let mut writer = Writer {
            path: path.clone(),
            begin,
            db,
            words,
            fresh: Vec::new(),
            last: (0, 0),
            pack: None,
            samples: Vec::new(),
            is_counted,
        };
        match held.map_err(failed)? {
            Some((id, bytes)) => writer.pack = pack(id, &bytes),
            None => dictionary.map_or(Ok(()), |bytes| writer.keep_dictionary(bytes))?,
        }
        Ok(writer)
    }

    /// The hour's first moment.
    pub(crate) fn begin(&self) -> Micros {
        self.begin
    }

    /// The connection, where it is counted who has how much of the file.
    pub(crate) fn counted(&self) -> Option<&Connection> {
        self.is_counted.then_some(&self.db)
    }

    /// Gives back what was freed while it was written to.
    pub(crate) fn end(self) {
        if self.is_counted
            && let Err(error) = trim::give_back(&self.db)
        {
            tracing::debug!(file = %self.path.display(), %error, "what is free of an hour stays");
        }
    }

    /// Bytes of it that hold something.
    pub(crate) fn used(&self) -> Option<u64> {
        trim::used(&self.db).ok()
    }

    /// The dictionary in use, for the next hour.
    pub(crate) fn dictionary(&self) -> Option<Vec<u8>> {
        self.db.query_row("SELECT bytes FROM dictionary ORDER BY id DESC LIMIT 1", [], |row| row.get(0)).ok()
    }

    fn keep_dictionary(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let failed = |error| Failure::File(self.path.clone(), error);
        self.db.execute("INSERT INTO dictionary (bytes) VALUES (?)", [bytes]).map_err(failed)?;
        self.pack = pack(self.db.last_insert_rowid(), bytes);
        Ok(())
    }

    //= LOG-KEEP-01
    /// Writes records in one transaction; says how many bytes each takes, which is 0 where it found no place: too many words, or
    /// too long. `None`: this batch is in the file already.
    pub(crate) fn write(
        &mut self,
        records: &[Record],
        sent: Option<&Sent>,
    ) -> Result<Option<Vec<u64>>, Failure> {
        let failed = |path: &Path, error| Failure::File(path.into(), error);
        self.db.execute_batch("BEGIN IMMEDIATE").map_err(|e| failed(&self.path, e))?;
        let written = self.insert_once(records, sent).map_err(|e| failed(&self.path, e));
        let ended = written
            .and_then(|n| self.db.execute_batch("COMMIT").map(|()| n).map_err(|e| failed(&self.path, e)));
        if ended.is_err() {
            // One that SQLite has given up itself is over already.
            let _ = self.db.execute_batch("ROLLBACK");
            for word in &self.fresh {
                self.words.remove(word);
            }
        }
        self.fresh.clear();
        if ended.is_ok() && self.pack.is_none() && self.samples.len() >= SAMPLES {
            let samples = std::mem::take(&mut self.samples);
            // Records that are too much alike make none: then nothing is lost but some bytes.
            if let Ok(bytes) = zstd::dict::from_samples(&samples, DICTIONARY_BYTES) {
                self.keep_dictionary(&bytes)?;
            }
        }
        ended
    }

    /// What is written is noted in the same transaction, so that it is known after a new start as well.
    //= LOG-ONCE-01
    fn insert_once(&mut self, records: &[Record], sent: Option<&Sent>) -> rusqlite::Result<Option<Vec<u64>>> {
        let Some(sent) = sent else { return self.insert_counted(records).map(Some) };
        let (process, number) = (sent.process.cast_signed(), i64::try_from(sent.number).unwrap_or(i64::MAX));
        let find = "SELECT 1 FROM taken WHERE engine = ? AND process = ? AND number >= ?";
        let held = self.db.prepare_cached(find)?.exists(params![sent.engine, process, number])?;
        if held {
            return Ok(None);
        }
        let sizes = self.insert_counted(records)?;
        let note = "INSERT OR REPLACE INTO taken VALUES (?, ?, ?)";
        self.db.prepare_cached(note)?.execute(params![sent.engine, process, number])?;
        Ok(Some(sizes))
    }

    /// Counts in the same transaction who has how much.
    //= LOG-SHARE-01
    fn insert_counted(&mut self, records: &[Record]) -> rusqlite::Result<Vec<u64>> {
        let sizes = self.insert(records)?;
        if !self.is_counted {
            return Ok(sizes);
        }
        let mut parts: HashMap<(&str, &str), u64> = HashMap::new();
        for (record, bytes) in records.iter().zip(&sizes).filter(|(_, bytes)| **bytes > 0) {
            *parts.entry((&record.service, &record.owner)).or_default() += bytes;
        }
        let mut count = self.db.prepare_cached(
            "INSERT INTO part VALUES (?, ?, ?) ON CONFLICT (service) DO UPDATE SET bytes = bytes + excluded.bytes",
        )?;
        for ((service, owner), bytes) in parts {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            count.execute(params![self.words.get(service), owner, bytes])?;
        }
        drop(count);
        Ok(sizes)
    }

    fn insert(&mut self, records: &[Record]) -> rusqlite::Result<Vec<u64>> {
        let Writer { db, words, fresh, last, pack, samples, begin, .. } = self;
        let mut insert = db.prepare(INSERT)?;
        let mut word = db.prepare("INSERT INTO word (text) VALUES (?)")?;
        let mut behind =
            db.prepare("SELECT id FROM log WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1")?;
        let mut number = |text: &str| -> rusqlite::Result<Option<i64>> {
            if let Some(id) = words.get(text) {
                return Ok(Some(*id));
            }
            if words.len() >= WORDS_MAX {
                return Ok(None);
            }
            let id = word.insert([text])?;
            words.insert(text.into(), id);
            fresh.push(text.into());
            Ok(Some(id))
        };
        let mut sizes = vec![0; records.len()];
        for (record, size) in records.iter().zip(&mut sizes) {
            let service = number(&record.service)?;
            let pool = record.pool.as_deref().map(&mut number).transpose()?;
            let engine = record.engine.as_deref().map(&mut number).transpose()?;
            let (Some(service), false) = (service, [pool, engine].contains(&Some(None))) else {
                continue;
            };
            let bytes = record.rest.as_bytes();
            let packed = match pack {
                Some((id, compressor)) => compressor.compress(bytes).ok().map(|packed| (*id, packed)),
                None => zstd::bulk::compress(bytes, LEVEL).ok().map(|packed| (0, packed)),
            };
            let Some((dictionary, rest)) = packed.filter(|_| bytes.len() <= REST_BYTES_MAX) else {
                continue;
            };
            if pack.is_none() && samples.len() < SAMPLES {
                samples.push(bytes.to_vec());
            }
            let us = (record.at - *begin).clamp(0, HOUR - 1);
            // Behind those of that microsecond that came just before, or behind all of it.
            let (first, end) = (us << NTH_BITS, (us + 1) << NTH_BITS);
            let mut place = Some(if us == last.0 { last.1 + 1 } else { first }).filter(|id| *id < end);
            while let Some(id) = place {
                let kind = i64::from(record.kind == Kind::Request);
                let done = insert.execute(params![
                    id,
                    kind,
                    record.significant,
                    service,
                    pool.flatten(),
                    engine.flatten(),
                    record.code,
                    record.client,
                    record.server,
                    record.method,
                    record.path,
                    record.total_ms,
                    record.bytes,
                    dictionary,
                    rest
                ]);
                match done {
                    Err(error)
                        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) =>
                    {
                        let held: i64 = behind.query_row([first, end], |row| row.get(0))?;
                        place = Some(held + 1).filter(|next| *next < end && *next != id);
                    }
                    done => {
                        done?;
                        *last = (us, id);
                        let texts = [&record.path, &record.method].into_iter().flatten();
                        let bytes = texts.map(String::len).sum::<usize>() + rest.len();
                        *size = COLUMNS_BYTES + bytes as u64;
                        break;
                    }
                }
            }
        }
        Ok(sizes)
    }
}

fn pack(id: i64, dictionary: &[u8]) -> Option<Pack> {
    Compressor::with_dictionary(LEVEL, dictionary).ok().map(|compressor| (id, compressor))
}

fn words(db: &Connection) -> rusqlite::Result<Vec<(i64, String)>> {
    let mut all = db.prepare("SELECT id, text FROM word ORDER BY id")?;
    all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// An hour that is read.
pub(crate) struct Reader {
    pub(crate) db: Connection,
    pub(crate) words: Vec<(i64, String)>,
    packs: HashMap<i64, Decompressor<'static>>,
}

impl Reader {
    /// Opens the file of an hour.
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Reader> {
        // To write is needed for the memory that readers share with the writer, and for nothing else.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(Duration::from_secs(1))?;
        db.execute_batch("PRAGMA query_only = 1")?;
        let words = words(&db)?;
        let mut packs = HashMap::new();
        let mut all = db.prepare("SELECT id, bytes FROM dictionary")?;
        for row in all.query_map([], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?)))? {
            let (id, bytes) = row?;
            packs.extend(Decompressor::with_dictionary(&bytes).ok().map(|pack| (id, pack)));
        }
        drop(all);
        packs.extend(Decompressor::new().ok().map(|pack| (0, pack)));
        Ok(Reader { db, words, packs })
    }

    /// The word of a number.
    pub(crate) fn word(words: &[(i64, String)], id: i64) -> Option<String> {
        // They come in order of their numbers.
        words.binary_search_by_key(&id, |(id, _)| *id).ok().map(|at| words[at].1.clone())
    }

    /// The record of a row that was asked for by [`ROW`].
    pub(crate) fn record(
        words: &[(i64, String)],
        packs: &mut HashMap<i64, Decompressor<'static>>,
        begin: Micros,
        row: &Row<'_>,
    ) -> rusqlite::Result<(i64, Record)> {
        let id: i64 = row.get(0)?;
        let word = |at| -> rusqlite::Result<Option<String>> {
            Ok(row.get::<_, Option<i64>>(at)?.and_then(|id| Reader::word(words, id)))
        };
        let packed = row.get_ref(14)?.as_blob().unwrap_or_default();
        let rest = packs.get_mut(&row.get(13)?).and_then(|pack| pack.decompress(packed, REST_BYTES_MAX).ok());
        let record = Record {
            at: begin + (id >> NTH_BITS),
            kind: if row.get::<_, i64>(1)? == 1 { Kind::Request } else { Kind::Connection },
            significant: row.get(2)?,
            service: word(3)?.unwrap_or_default(),
            pool: word(4)?,
            engine: word(5)?,
            code: row.get(6)?,
            client: row.get(7)?,
            server: row.get(8)?,
            method: row.get(9)?,
            path: row.get(10)?,
            total_ms: row.get(11)?,
            bytes: row.get(12)?,
            rest: rest.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default(),
            owner: String::new(),
        };
        Ok((id, record))
    }

    /// What rows are read with beside the connection.
    pub(crate) fn parts(
        &mut self,
    ) -> (&Connection, &[(i64, String)], &mut HashMap<i64, Decompressor<'static>>) {
        (&self.db, &self.words, &mut self.packs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test LOG-KEEP-01
    #[test]
    fn a_microsecond_has_so_many_places_and_what_is_beyond_is_refused() {
        let folder = std::env::temp_dir().join(format!("forebay-logs-places-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let record = |us: u32| {
            let line =
                format!(r#"{{"report_timestamp":"1970-01-01T00:00:00.{us:06}Z","virtualservice":"a"}}"#);
            Record::read(line.as_bytes()).expect("a record")
        };
        let mut writer = Writer::open(&folder, 0, None).expect("new");
        let mut refused = |of: &[u32]| {
            let records: Vec<Record> = of.iter().map(|us| record(*us)).collect();
            let sizes = writer.write(&records, None).expect("room").expect("it has no number");
            sizes.iter().filter(|size| **size == 0).count()
        };
        assert_eq!(refused(&[5, 5, 7]), 0);
        // All places between are taken, as it were.
        let db = Connection::open(file(&folder, 0)).expect("a file");
        let moved =
            db.execute("UPDATE log SET id = ? WHERE id = ?", [(6 << NTH_BITS) - 2, (5 << NTH_BITS) + 1]);
        assert_eq!(moved, Ok(1));
        assert_eq!(refused(&[5]), 0, "the last place");
        assert_eq!(refused(&[7, 5, 7, 5]), 2);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

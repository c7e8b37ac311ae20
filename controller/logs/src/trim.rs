//! What goes of an hour where room is short: records of one service, the oldest first, and before those that deserve a look
//! those that do not.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::hour::COLUMNS_BYTES;
use crate::ledger::Ledger;
use crate::{Failure, Micros};

/// Records of one transaction: what is offered waits some tens of milliseconds at most.
const ROWS: (u64, u64) = (50, 10_000);

/// Bytes that a record needs at the least, with its place in the index.
const ROW_BYTES: u64 = 256;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trimmed {
    /// Records that went.
    pub(crate) rows: u64,
    /// Bytes of them, as they were counted when they were written.
    pub(crate) bytes: u64,
    /// Up to which number those that are not significant have gone.
    pub(crate) gone: i64,
}

/// An hour that is not written to.
pub(crate) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.execute_batch("PRAGMA synchronous = NORMAL")?;
    Ok(db)
}

/// Whether a file counts who has how much of it, and gives room back: files of earlier versions do not.
pub(crate) fn is_counted(db: &Connection) -> bool {
    // 2 is "incremental".
    db.query_row("PRAGMA auto_vacuum", [], |row| row.get::<_, i64>(0)) == Ok(2)
}

/// Bytes of a file that hold something.
pub(crate) fn used(db: &Connection) -> rusqlite::Result<u64> {
    let of = |what: &str| {
        db.query_row(&format!("PRAGMA {what}"), [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
    };
    Ok(of("page_count")?.saturating_sub(of("freelist_count")?) * of("page_size")?)
}

/// Gives pages that hold nothing back to the system.
pub(crate) fn give_back(db: &Connection) -> rusqlite::Result<()> {
    let mut give = db.prepare("PRAGMA incremental_vacuum")?;
    let mut rows = give.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Reads into the ledger who has how much of an hour; `false`: the file does not say.
pub(crate) fn read(path: &Path, hour: Micros, ledger: &mut Ledger) -> Result<bool, Failure> {
    let failed = |error| Failure::File(path.into(), error);
    let db = open(path).map_err(failed)?;
    if !is_counted(&db) {
        return Ok(false);
    }
    let parts = "SELECT owner, text, bytes FROM part JOIN word ON word.id = part.service WHERE bytes > 0";
    let mut parts = db.prepare(parts).map_err(failed)?;
    let mut rows = parts.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let (owner, service): (String, String) =
            row.get(0).and_then(|o| Ok((o, row.get(1)?))).map_err(failed)?;
        let bytes: i64 = row.get(2).map_err(failed)?;
        ledger.add(&owner, &service, hour, bytes.unsigned_abs());
    }
    Ok(true)
}

/// Whether nobody but this service has anything in an hour.
pub(crate) fn is_alone(db: &Connection, service: &str) -> rusqlite::Result<bool> {
    let others = "SELECT EXISTS (SELECT 1 FROM part JOIN word ON word.id = part.service WHERE bytes > 0 AND text <> ?)";
    db.query_row(others, [service], |row| row.get::<_, bool>(0)).map(|others| !others)
}

/// Removes some of the oldest records of a service, about so many bytes of them; where none are removed there are none.
pub(crate) fn trim(db: &Connection, service: &str, gone: i64, bytes: u64) -> rusqlite::Result<Trimmed> {
    let word = db.query_row("SELECT id FROM word WHERE text = ?", [service], |row| row.get::<_, i64>(0));
    let Some(word) = word.optional()? else { return Ok(Trimmed { gone, ..Trimmed::default() }) };
    db.execute_batch("BEGIN IMMEDIATE")?;
    let rows = (bytes / ROW_BYTES).clamp(ROWS.0, ROWS.1);
    let done = remove(db, word, gone, rows.cast_signed())
        .and_then(|trimmed| db.execute_batch("COMMIT").map(|()| trimmed));
    if done.is_err() {
        let _ = db.execute_batch("ROLLBACK");
    }
    done
}

fn remove(db: &Connection, word: i64, gone: i64, most: i64) -> rusqlite::Result<Trimmed> {
    // Those that are not significant, behind those of them that have gone; then the others.
    let mut trimmed = Trimmed { gone, ..Trimmed::default() };
    for (wanted, behind) in [("AND significant = 0", gone), ("", i64::MIN)] {
        let removal = format!(
            "DELETE FROM log WHERE id IN (SELECT id FROM log INDEXED BY by_service \
             WHERE service = ? AND id > ? {wanted} ORDER BY id LIMIT ?) \
             RETURNING id, significant, ifnull(length(path), 0) + ifnull(length(method), 0) + length(rest)"
        );
        let mut removal = db.prepare_cached(&removal)?;
        let mut rows = removal.query(params![word, behind, most])?;
        while let Some(row) = rows.next()? {
            let bytes: i64 = row.get(2)?;
            trimmed.rows += 1;
            trimmed.bytes += COLUMNS_BYTES + bytes.unsigned_abs();
            if !row.get::<_, bool>(1)? {
                trimmed.gone = trimmed.gone.max(row.get(0)?);
            }
        }
        if trimmed.rows > 0 {
            break;
        }
    }
    let bytes = i64::try_from(trimmed.bytes).unwrap_or(i64::MAX);
    match trimmed.rows {
        // What is left is a difference of counting.
        0 => db.prepare_cached("DELETE FROM part WHERE service = ?")?.execute([word])?,
        _ => db
            .prepare_cached("UPDATE part SET bytes = max(bytes - ?, 0) WHERE service = ?")?
            .execute([bytes, word])?,
    };
    Ok(trimmed)
}

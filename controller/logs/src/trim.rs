//! What goes of an hour where room is short: records of one service, the oldest first, and before those that deserve a look
//! those that do not.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::hour::COLUMNS_BYTES;
use crate::ledger::{Ledger, Loss};
use crate::{Failure, Micros};

/// Records of a service in one transaction: what is offered waits some hundred milliseconds at most.
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
    /// There are none left.
    pub(crate) is_over: bool,
}

/// Pages of a file that are written beside it at the least before they go to their places.
const PAGES_MIN: u64 = 50;

/// Bytes of a page, as SQLite has them where nobody says.
const PAGE: u64 = 4_096;

/// An hour that is not written to; so many bytes are written beside it before they go to their places.
pub(crate) fn open(path: &Path, beside: u64) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(Duration::from_secs(5))?;
    let pages = (beside / PAGE).max(PAGES_MIN);
    db.execute_batch(&format!(
        "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -2000; PRAGMA wal_autocheckpoint = {pages}; \
         PRAGMA journal_size_limit = {}",
        pages * PAGE
    ))?;
    Ok(db)
}

/// Whether a file counts who has how much of it, and gives room back: files of earlier versions do not.
pub(crate) fn is_counted(db: &Connection) -> bool {
    // 2 is "incremental".
    db.query_row("PRAGMA auto_vacuum", [], |row| row.get::<_, i64>(0)) == Ok(2)
}

fn figure(db: &Connection, what: &str) -> rusqlite::Result<u64> {
    db.query_row(&format!("PRAGMA {what}"), [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

/// Bytes of a file that hold something.
pub(crate) fn used(db: &Connection) -> rusqlite::Result<u64> {
    let pages = figure(db, "page_count")?.saturating_sub(figure(db, "freelist_count")?);
    Ok(pages * figure(db, "page_size")?)
}

/// Bytes of a file that hold nothing.
pub(crate) fn free(db: &Connection) -> rusqlite::Result<u64> {
    Ok(figure(db, "freelist_count")? * figure(db, "page_size")?)
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
    let db = open(path, 0).map_err(failed)?;
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

/// Removes of each of these services some of its oldest records, all in one transaction: pages that have records of several of them
/// are written once.
pub(crate) fn trim(db: &Connection, losses: &[Loss]) -> rusqlite::Result<Vec<Trimmed>> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    let done = losses.iter().map(|loss| remove(db, loss)).collect::<rusqlite::Result<Vec<_>>>();
    let done = done.and_then(|trimmed| db.execute_batch("COMMIT").map(|()| trimmed));
    if done.is_err() {
        let _ = db.execute_batch("ROLLBACK");
    }
    done
}

fn remove(db: &Connection, loss: &Loss) -> rusqlite::Result<Trimmed> {
    let gone = loss.part.gone;
    let mut trimmed = Trimmed { gone, is_over: true, ..Trimmed::default() };
    let word = db
        .prepare_cached("SELECT id FROM word WHERE text = ?")?
        .query_row([&loss.service], |row| row.get::<_, i64>(0));
    let Some(word) = word.optional()? else { return Ok(trimmed) };
    let most = (loss.bytes / ROW_BYTES).clamp(ROWS.0, ROWS.1);
    // Those that are not significant, behind those of them that have gone; then the others.
    for (wanted, behind) in [("AND significant = 0", gone), ("", i64::MIN)] {
        let removal = format!(
            "DELETE FROM log WHERE id IN (SELECT id FROM log INDEXED BY by_service \
             WHERE service = ? AND id > ? {wanted} ORDER BY id LIMIT ?) \
             RETURNING id, significant, ifnull(length(path), 0) + ifnull(length(method), 0) + length(rest)"
        );
        let mut removal = db.prepare_cached(&removal)?;
        let mut rows = removal.query(params![word, behind, (most - trimmed.rows).cast_signed()])?;
        while let Some(row) = rows.next()? {
            let bytes: i64 = row.get(2)?;
            trimmed.rows += 1;
            trimmed.bytes += COLUMNS_BYTES + bytes.unsigned_abs();
            if !row.get::<_, bool>(1)? {
                trimmed.gone = trimmed.gone.max(row.get(0)?);
            }
        }
        if trimmed.rows >= most {
            trimmed.is_over = false;
            break;
        }
    }
    let bytes = i64::try_from(trimmed.bytes).unwrap_or(i64::MAX);
    match trimmed.is_over {
        // What is left is a difference of counting.
        true => db.prepare_cached("DELETE FROM part WHERE service = ?")?.execute([word])?,
        false => db
            .prepare_cached("UPDATE part SET bytes = max(bytes - ?, 0) WHERE service = ?")?
            .execute([bytes, word])?,
    };
    Ok(trimmed)
}

//! Hours that are over, as files of Parquet: for whoever wants to ask them what this store cannot be asked.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use crate::hour::{self, ROW, Reader};
use crate::parquet::{Column, Holds, Value, Writer};
use crate::record::{Kind, Record, shown, stamp};
use crate::{Failure, HOUR, Micros};

/// Rows of a group: with a kilobyte each some 16 MiB are held.
const GROUP_ROWS: usize = 16_384;

/// How long after its end an hour is exported: engines tell within seconds, unless the Controller was away.
const LATE: Micros = 5 * 60_000_000;

/// The columns, by their names in records; all else stands in the last one, a JSON object.
const SCHEMA: [(&str, Holds); 14] = [
    ("report_timestamp", Holds::Moment),
    ("type", Holds::Text),
    ("significant", Holds::Flag),
    ("virtualservice", Holds::Text),
    ("pool_name", Holds::Text),
    ("service_engine", Holds::Text),
    ("response_code", Holds::Number),
    ("client_ip", Holds::Text),
    ("server_ip", Holds::Text),
    ("method", Holds::Text),
    ("uri_path", Holds::Text),
    ("total_time", Holds::Real),
    ("response_length", Holds::Number),
    ("fields", Holds::Text),
];

/// The file of an hour: named by its first moment.
pub fn file(folder: &Path, begin: Micros) -> PathBuf {
    let moment = stamp(begin);
    folder.join(format!("logs-{}.parquet", moment.get(..13).unwrap_or("unknown")))
}

/// Exports what is over and not there yet, the eldest first; gives the files that were made.
///
/// # Errors
///
/// The first hour that cannot be read, or file that cannot be written; the others are done nevertheless.
//= LOG-EXPORT-01
pub fn over(from: &Path, to: &Path, now: Micros) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| Failure::System(to.into(), error);
    fs::create_dir_all(to).map_err(failed)?;
    let there: HashSet<PathBuf> =
        fs::read_dir(to).map_err(failed)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let (mut made, mut first) = (Vec::new(), None);
    for (begin, path) in hour::list(from)? {
        let file = file(to, begin);
        if begin + HOUR + LATE > now || there.contains(&file) {
            continue;
        }
        match one(&path, begin, &file) {
            Ok(()) => made.push(file),
            // Retention was quicker.
            Err(_) if !path.exists() => {}
            Err(failure) => {
                first.get_or_insert(failure);
            }
        }
    }
    first.map_or(Ok(made), Err)
}

/// Exports an hour. What is there by its name is whole.
fn one(path: &Path, begin: Micros, to: &Path) -> Result<(), Failure> {
    let unfinished = to.with_extension("unfinished");
    let written = |error| Failure::System(unfinished.clone(), error);
    let read = |error| Failure::File(path.into(), error);
    let mut reader = Reader::open(path).map_err(read)?;
    let file = File::create(&unfinished).map_err(written)?;
    let mut writer = Writer::new(BufWriter::new(file)).map_err(written)?;
    let (db, words, packs) = reader.parts();
    let mut rows = db.prepare(&format!("SELECT {ROW} FROM log ORDER BY id")).map_err(read)?;
    let mut rows = rows.query([]).map_err(read)?;
    let mut columns = empty();
    let mut count = 0;
    while let Some(row) = rows.next().map_err(read)? {
        let (_, record) = Reader::record(words, packs, begin, row).map_err(read)?;
        push(&mut columns, &record);
        count += 1;
        if count == GROUP_ROWS {
            writer.group(&columns).map_err(written)?;
            (columns, count) = (empty(), 0);
        }
    }
    if count > 0 {
        writer.group(&columns).map_err(written)?;
    }
    let file =
        writer.end(&SCHEMA).map_err(written)?.into_inner().map_err(|error| written(error.into_error()))?;
    file.sync_all().map_err(written)?;
    fs::rename(&unfinished, to).map_err(written)
}

fn empty() -> Vec<Column> {
    SCHEMA.iter().map(|(name, holds)| Column::new(name, *holds)).collect()
}

/// A text that may be absent.
fn text(text: Option<&String>) -> Option<Value<'_>> {
    text.map(|text| Value::Text(text))
}

fn push(columns: &mut [Column], record: &Record) {
    let (client, server) = (record.client.map(shown), record.server.map(shown));
    let kind = match record.kind {
        Kind::Request => "request",
        Kind::Connection => "connection",
    };
    let values = [
        Some(Value::Number(record.at)),
        Some(Value::Text(kind)),
        Some(Value::Flag(record.significant)),
        Some(Value::Text(&record.service)),
        text(record.pool.as_ref()),
        text(record.engine.as_ref()),
        record.code.map(|code| Value::Number(code.into())),
        text(client.as_ref()),
        text(server.as_ref()),
        text(record.method.as_ref()),
        text(record.path.as_ref()),
        record.total_ms.map(Value::Real),
        record.bytes.map(Value::Number),
        Some(Value::Text(&record.rest)),
    ];
    for (column, value) in columns.iter_mut().zip(values) {
        column.push(value);
    }
}

//! What is kept: so many hours, so many bytes; the oldest hour goes first, as a whole.

use std::path::{Path, PathBuf};

use crate::{Failure, HOUR, Micros};

/// A file and what SQLite puts beside it.
fn parts(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

/// Bytes of an hour's files.
pub(crate) fn bytes(path: &Path) -> u64 {
    parts(path).iter().filter_map(|part| part.metadata().ok()).map(|about| about.len()).sum()
}

/// Removes an hour.
pub(crate) fn remove(path: &Path) -> Result<(), Failure> {
    // What is beside goes last: without it a file that stays would be an older one.
    for part in parts(path) {
        match std::fs::remove_file(&part) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::System(part, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Which hours go of those that have so many bytes: those older than so many hours, then the oldest until the others have room. The
/// one that is written to stays.
pub(crate) fn over(
    hours: &[(Micros, PathBuf)],
    now: Micros,
    hours_max: u32,
    (mut held, bytes_max): (u64, u64),
    writing: Option<Micros>,
) -> Vec<PathBuf> {
    let eldest = now.div_euclid(HOUR).saturating_sub(Micros::from(hours_max)).saturating_mul(HOUR);
    let mut gone = Vec::new();
    for (begin, path) in hours.iter().filter(|(begin, _)| Some(*begin) != writing) {
        if *begin <= eldest || held > bytes_max {
            held = held.saturating_sub(bytes(path));
            gone.push(path.clone());
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_hours_go_and_the_one_in_use_stays() {
        let folder = std::env::temp_dir().join(format!("forebay-logs-retention-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let hours: Vec<_> = (10..15)
            .map(|hour| {
                let path = folder.join(format!("{hour}"));
                std::fs::write(&path, [0; 100]).expect("a file");
                (hour * HOUR, path)
            })
            .collect();
        let now = 14 * HOUR + 1;
        let gone = |hours_max, bytes_max, writing| {
            let gone = over(&hours, now, hours_max, (500, bytes_max), writing);
            gone.iter()
                .map(|path| path.file_name().and_then(|n| n.to_str()).unwrap_or("").to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(gone(100, 1000, None), [""; 0]);
        assert_eq!(gone(2, 1000, None), ["10", "11", "12"]);
        assert_eq!(gone(100, 300, None), ["10", "11"]);
        assert_eq!(gone(100, 50, Some(14 * HOUR)), ["10", "11", "12", "13"], "the one in use stays");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

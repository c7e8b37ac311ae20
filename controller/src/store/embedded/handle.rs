//! The open file. The library uses a file no more once the disk has failed it, as when it was full: then it is closed and
//! opened anew, so that reading goes on, and writing as soon as there is room again.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::Database;

use super::Failure;

/// A file that is open, or is to be opened with the next use.
pub(super) struct Handle {
    file: PathBuf,
    database: RwLock<Option<Database>>,
}

/// Says whether the library has failed for the disk, and will go on to do so.
pub(super) fn is_of_the_disk(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo)
}

/// Says whether there was no room.
pub(super) fn is_full(error: &redb::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error, redb::Error::Io(error) if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge))
}

impl Handle {
    pub(super) fn new(file: &Path, database: Database) -> Self {
        Handle { file: file.to_owned(), database: RwLock::new(Some(database)) }
    }

    /// Uses the file. After a failure of the disk, this one's or an earlier one's, it is opened anew and used once more.
    pub(super) fn with<T>(&self, with: impl Fn(&Database) -> Result<T, Failure>) -> Result<T, Failure> {
        match self.once(&with) {
            Err(Failure::Library(error)) if is_of_the_disk(&error) => self.once(&with),
            done => done,
        }
    }

    /// Uses the file once; after a failure of the disk it is closed.
    pub(super) fn once<T>(&self, with: impl Fn(&Database) -> Result<T, Failure>) -> Result<T, Failure> {
        let held = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let done = match held.as_ref() {
            Some(database) => with(database),
            None => {
                drop(held);
                return self.opened(with);
            }
        };
        drop(held);
        if let Err(Failure::Library(error)) = &done
            && is_of_the_disk(error)
        {
            // Nobody uses it while this is held, so it is closed when this is done.
            *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        done
    }

    fn opened<T>(&self, with: impl Fn(&Database) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut held = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let database = match held.take() {
            // Somebody else was first.
            Some(database) => database,
            None => {
                let database = Database::open(&self.file)?;
                tracing::info!(event = "CONTROLLER_STORE_OPENED", file = %self.file.display(), "the store was opened anew");
                database
            }
        };
        let done = with(&database);
        if !matches!(&done, Err(Failure::Library(error)) if is_of_the_disk(error)) {
            *held = Some(database);
        }
        done
    }
}

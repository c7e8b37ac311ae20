//! The store of one node: one file, by the library redb.
//!
//! The library does not see damage when it opens a file, only when it is told to look, and to read on after it has found
//! some may fail in any way; so every start looks first, and a file that is not whole is not used at all.

use std::io::ErrorKind;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::{Change, Given, HISTORY, Listed, Refusal, Revision, Step, Store, Stored};

mod handle;

use handle::{Handle, is_full, is_of_the_disk};

/// Keys; the revision of the step that wrote a value, and the value.
const VALUES: TableDefinition<&str, (u64, &[u8])> = TableDefinition::new("values");
/// Which keys changed, by revision and place in the step. Values are not kept twice: the history would have no bound.
const CHANGES: TableDefinition<(u64, u32), &str> = TableDefinition::new("changes");
/// What the file is and where it stands.
const STATE: TableDefinition<&str, u64> = TableDefinition::new("state");

/// The form of the file.
const FORM: u64 = 1;

/// The status of a process that ends because of its disk: sysexits' EX_IOERR.
const ENDS: i32 = 74;

/// A store in one file, which belongs to one process.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    database: Handle,
    file: PathBuf,
    /// Steps are made one after another.
    writing: Mutex<()>,
    /// The revision of a step of which the disk did not let us see what became of it; 0: there is none.
    unknown: AtomicU64,
}

impl Embedded {
    /// Opens the store in `file`, which is made if it is not there. Looks through all of it first.
    ///
    /// # Errors
    /// `Damaged` if it is not whole, or of a form that this version does not know; `Unavailable` if it cannot be opened,
    /// as when another process has it.
    pub fn open(file: &Path) -> Result<Self, Refusal> {
        let is_new = !file.exists();
        let damaged = |what: &str| {
            let file = file.display();
            Refusal::Damaged(format!(
                "{file}: {what}; put a backup in its place (move it away, then forebay-controller restore FILE), or begin empty"
            ))
        };
        // Built with assertions, the library panics at some kinds of damage.
        let opened = catch_unwind(|| open_whole(file, is_new)).unwrap_or(Err(Unopened::Broken));
        let database = opened.map_err(|unopened| match unopened {
            Unopened::Taken => {
                Refusal::Unavailable(format!("{}: another process has it open", file.display()))
            }
            Unopened::System(error) => Refusal::Unavailable(format!("{}: {error}", file.display())),
            Unopened::Broken => damaged("parts of it are not what was written"),
        })?;
        let store = Embedded {
            inner: Arc::new(Inner {
                database: Handle::new(file, database),
                file: file.to_owned(),
                writing: Mutex::default(),
                unknown: AtomicU64::new(0),
            }),
        };
        store.inner.begin(is_new).map_err(|failure| match failure {
            Failure::Form(form) => {
                damaged(&format!("it has form {form}, and this version knows form {FORM}"))
            }
            Failure::Refused(refusal) => refusal,
            Failure::Library(error) => damaged(&error.to_string()),
        })?;
        if is_new {
            crate::files::keep_names(file)
                .map_err(|error| Refusal::Unavailable(format!("{}: {error}", file.display())))?;
        }
        Ok(store)
    }

    /// Writes what another store had at a moment, with its revisions, into a file that is not there yet.
    ///
    /// # Errors
    /// The file is there, or cannot be written, or a page is a refusal; then it is not there.
    pub(super) fn copy(
        file: &Path,
        revision: Revision,
        pages: impl Iterator<Item = Result<Vec<(String, Stored)>, Refusal>>,
    ) -> Result<(), Refusal> {
        if file.exists() {
            return Err(is_there(file));
        }
        let done = fill(file, revision, pages).map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal,
            Failure::Form(form) => Refusal::Damaged(format!("form {form}")),
            Failure::Library(error) => Refusal::Unavailable(error.to_string()),
        });
        if done.is_err() {
            let _ = std::fs::remove_file(file);
        }
        done
    }

    /// Does `with` where it may wait for the disk.
    fn away<T: Send + 'static>(
        &self,
        with: impl FnOnce(&Inner) -> Result<T, Failure> + Send + 'static,
    ) -> Given<'_, T> {
        let inner = self.inner.clone();
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || with(&inner)).await;
            match done {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(Failure::Refused(refusal))) => Err(refusal),
                Ok(Err(Failure::Library(error))) => Err(Refusal::Unavailable(error.to_string())),
                Ok(Err(Failure::Form(form))) => Err(Refusal::Damaged(format!("form {form}"))),
                Err(panic) => Err(Refusal::Unavailable(panic.to_string())),
            }
        })
    }
}

/// Why a file was not opened.
enum Unopened {
    Taken,
    System(std::io::Error),
    Broken,
}

/// Opens a file and looks through all of it.
//= API-STORE-02
fn open_whole(file: &Path, is_new: bool) -> Result<Database, Unopened> {
    let opened = if is_new { Database::create(file) } else { Database::open(file) };
    let mut database = opened.map_err(|refusal| match refusal {
        redb::DatabaseError::DatabaseAlreadyOpen => Unopened::Taken,
        redb::DatabaseError::Storage(redb::StorageError::Io(error))
            if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            Unopened::System(error)
        }
        _ => Unopened::Broken,
    })?;
    match is_new || database.check_integrity().unwrap_or(false) {
        true => Ok(database),
        false => Err(Unopened::Broken),
    }
}

enum Failure {
    Refused(Refusal),
    Form(u64),
    Library(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Library(error.into())
    }
}

impl Inner {
    fn begin(&self, is_new: bool) -> Result<(), Failure> {
        self.database.with(|database| begin(database, is_new))
    }

    /// Reads; where the disk has failed before, of the file as it is opened anew.
    fn read<T>(&self, with: impl Fn(&Database) -> Result<T, Failure>) -> Result<T, Failure> {
        self.is_as_said()?;
        self.database.with(with)
    }

    /// Where it was said of a step that it is not known what became of it, this process may hold what is older than the file:
    /// if the step is there, another process begins with it.
    fn is_as_said(&self) -> Result<(), Failure> {
        let step = self.unknown.load(Ordering::Acquire);
        if step == 0 {
            return Ok(());
        }
        if self.database.with(revision)? >= step {
            self.ends("a step is there of which was said that this is not known");
        }
        self.unknown.store(0, Ordering::Release);
        Ok(())
    }

    /// Ends the process: what it holds cannot be trusted any more, and whoever keeps it running starts another one, which looks
    /// through the file.
    fn ends(&self, why: &str) -> ! {
        let file = self.file.display();
        tracing::error!(event = "CONTROLLER_STORE_LOST", %file, why, "the Controller ends, to begin anew with what the disk has");
        std::process::exit(ENDS)
    }

    fn get(&self, key: &str) -> Result<Option<Stored>, Failure> {
        self.read(|database| get(database, key))
    }

    fn list(&self, prefix: &str, after: Option<&str>, most: usize) -> Result<Listed, Failure> {
        self.read(|database| list(database, prefix, after, most))
    }

    fn changes(&self, since: Revision, most: usize) -> Result<Vec<Change>, Failure> {
        self.read(|database| changes(database, since, most))
    }

    fn backup(&self, file: &Path) -> Result<(), Failure> {
        if file.exists() {
            return Err(Failure::Refused(is_there(file)));
        }
        // A failure may be that of the other disk.
        self.read(|database| Ok(backup(database, &self.file, file)))?
    }

    //= API-STORE-01
    //= API-STORE-04
    fn commit(&self, step: &Step) -> Result<Revision, Failure> {
        step.check().map_err(Failure::Refused)?;
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_as_said()?;
        let before = self.database.with(revision)?;
        let committed = self.database.once(|database| commit(database, step));
        let Err(Failure::Library(error)) = committed else { return committed };
        if !is_of_the_disk(&error) {
            return Err(Failure::Library(error));
        }
        // Of a disk that fails in another way than by being full, what is read may be what was never written.
        if !is_full(&error) {
            self.ends(&format!("a write failed: {error}"));
        }
        // The file itself says what became of it.
        match self.database.with(revision) {
            Ok(now) if now > before => Ok(now),
            Ok(_) => Err(Failure::Refused(Refusal::Unavailable(format!(
                "{}: {error}; nothing was written; make room on that disk",
                self.file.display()
            )))),
            Err(_) => {
                self.unknown.store(before + 1, Ordering::Release);
                Err(Failure::Refused(Refusal::Unknown(format!("{}: {error}", self.file.display()))))
            }
        }
    }
}

/// Makes the tables of a new file, or sees that it is one of ours.
fn begin(database: &Database, is_new: bool) -> Result<(), Failure> {
    if !is_new {
        let reading = database.begin_read()?;
        let state = reading.open_table(STATE)?;
        let form = state.get("form")?.map_or(0, |form| form.value());
        return if form == FORM { Ok(()) } else { Err(Failure::Form(form)) };
    }
    let writing = database.begin_write()?;
    {
        writing.open_table(VALUES)?;
        writing.open_table(CHANGES)?;
        let mut state = writing.open_table(STATE)?;
        state.insert("form", FORM)?;
        state.insert("revision", 0)?;
    }
    writing.commit()?;
    Ok(())
}

fn get(database: &Database, key: &str) -> Result<Option<Stored>, Failure> {
    let values = database.begin_read()?.open_table(VALUES)?;
    Ok(values.get(key)?.map(|held| stored(held.value())))
}

fn list(database: &Database, prefix: &str, after: Option<&str>, most: usize) -> Result<Listed, Failure> {
    let reading = database.begin_read()?;
    let revision = reading.open_table(STATE)?.get("revision")?.map_or(0, |held| held.value());
    let values = reading.open_table(VALUES)?;
    let from = after.filter(|after| *after >= prefix).unwrap_or(prefix);
    let mut entries = Vec::new();
    for entry in values.range(from..)? {
        let (key, value) = entry?;
        if !key.value().starts_with(prefix) || entries.len() == most {
            break;
        }
        if after != Some(key.value()) {
            entries.push((key.value().to_owned(), stored(value.value())));
        }
    }
    Ok(Listed { revision, entries })
}

/// Where the store stands.
fn revision(database: &Database) -> Result<Revision, Failure> {
    Ok(database.begin_read()?.open_table(STATE)?.get("revision")?.map_or(0, |held| held.value()))
}

fn commit(database: &Database, step: &Step) -> Result<Revision, Failure> {
    let writing = database.begin_write()?;
    let revision = {
        let mut values = writing.open_table(VALUES)?;
        let mut changes = writing.open_table(CHANGES)?;
        let mut state = writing.open_table(STATE)?;
        for (key, wanted) in &step.demands {
            let held = values.get(key.as_str())?.map(|held| held.value().0);
            if held != *wanted {
                // What was begun is dropped with its transaction.
                return Err(Failure::Refused(Refusal::Conflict(key.clone())));
            }
        }
        let revision = state.get("revision")?.map_or(0, |held| held.value()) + 1;
        for (place, (key, value)) in (0_u32..).zip(&step.writes) {
            match value {
                Some(value) => {
                    values.insert(key.as_str(), (revision, value.as_slice()))?;
                }
                None => {
                    values.remove(key.as_str())?;
                }
            }
            changes.insert((revision, place), key.as_str())?;
        }
        if let Some(last) = revision.checked_sub(HISTORY) {
            // A step adds at most as many as it takes away, but for the first ones.
            changes.retain_in(..(last + 1, 0), |_, _| false)?;
        }
        state.insert("revision", revision)?;
        revision
    };
    writing.commit()?;
    Ok(revision)
}

fn changes(database: &Database, since: Revision, most: usize) -> Result<Vec<Change>, Failure> {
    let reading = database.begin_read()?;
    let state = reading.open_table(STATE)?;
    let held = |name| state.get(name).map(|held| held.map_or(0, |held| held.value()));
    let (revision, first) = (held("revision")?, held("from")?);
    if since > revision || since < first || revision.saturating_sub(since) > HISTORY {
        return Err(Failure::Refused(Refusal::Forgotten));
    }
    let values = reading.open_table(VALUES)?;
    let mut found: Vec<Change> = Vec::new();
    for entry in reading.open_table(CHANGES)?.range((since + 1, 0)..)? {
        let (at, change) = entry?;
        let (revision, _) = at.value();
        if found.len() >= most && found.last().is_some_and(|last| last.revision != revision) {
            break;
        }
        let key = change.value();
        let value = values.get(key)?.map(|held| held.value().1.to_vec());
        found.push(Change { revision, key: key.to_owned(), value });
    }
    Ok(found)
}

/// The form of the file is that of the library's next version as well only if every table is copied entry by entry.
fn backup(database: &Database, own: &Path, file: &Path) -> Result<(), Failure> {
    let refuse = |what: String| Failure::Refused(Refusal::Unavailable(what));
    let reading = database.begin_read()?;
    let copy = Database::create(file)?;
    let writing = copy.begin_write()?;
    {
        let (from, mut to) = (reading.open_table(VALUES)?, writing.open_table(VALUES)?);
        for entry in from.range::<&str>(..)? {
            let (key, value) = entry?;
            to.insert(key.value(), value.value())?;
        }
        let (from, mut to) = (reading.open_table(CHANGES)?, writing.open_table(CHANGES)?);
        for entry in from.range::<(u64, u32)>(..)? {
            let (key, value) = entry?;
            to.insert(key.value(), value.value())?;
        }
        let (from, mut to) = (reading.open_table(STATE)?, writing.open_table(STATE)?);
        for entry in from.range::<&str>(..)? {
            let (key, value) = entry?;
            to.insert(key.value(), value.value())?;
        }
        if to.is_empty()? {
            return Err(refuse(format!("{} has no state to copy", own.display())));
        }
    }
    writing.commit()?;
    Ok(())
}

fn is_there(file: &Path) -> Refusal {
    Refusal::Unavailable(format!("{} is there already, and a backup overwrites nothing", file.display()))
}

fn fill(
    file: &Path,
    revision: Revision,
    pages: impl Iterator<Item = Result<Vec<(String, Stored)>, Refusal>>,
) -> Result<(), Failure> {
    let copy = Database::create(file)?;
    let writing = copy.begin_write()?;
    {
        let mut values = writing.open_table(VALUES)?;
        for page in pages {
            for (key, held) in page.map_err(Failure::Refused)? {
                values.insert(key.as_str(), (held.revision, held.value.as_slice()))?;
            }
        }
        // Of what changed before it knows nothing: whoever asks reads everything.
        writing.open_table(CHANGES)?;
        let mut state = writing.open_table(STATE)?;
        state.insert("form", FORM)?;
        state.insert("revision", revision)?;
        state.insert("from", revision)?;
    }
    writing.commit()?;
    Ok(())
}

fn stored((revision, value): (u64, &[u8])) -> Stored {
    Stored { value: value.to_vec(), revision }
}

impl Store for Embedded {
    fn get(&self, key: &str) -> Given<'_, Option<Stored>> {
        let key = key.to_owned();
        self.away(move |inner| inner.get(&key))
    }

    fn list(&self, prefix: &str, after: Option<&str>, most: usize) -> Given<'_, Listed> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.away(move |inner| inner.list(&prefix, after.as_deref(), most))
    }

    fn commit(&self, step: Step) -> Given<'_, Revision> {
        let committed = self.away(move |inner| inner.commit(&step));
        Box::pin(async move { super::wrote::note(committed.await) })
    }

    fn changes(&self, since: Revision, most: usize) -> Given<'_, Vec<Change>> {
        self.away(move |inner| inner.changes(since, most))
    }

    fn backup(&self, file: &Path) -> Given<'_, ()> {
        let file = file.to_owned();
        self.away(move |inner| inner.backup(&file))
    }
}

//! The tables on disk, for the day when all members start anew at once.
//!
//! A file is a line that says what it is, what engines say to one another (`forebay_objsync::wire`: who wrote it, entries, and
//! how many), and a sum over all of it. It is written beside the one before and takes its place when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use forebay_core::table::{EngineSlot, GroupMillis};
use forebay_objsync::limits::{BATCH_BYTES, FRAME_MAX, PROTOCOL};
use forebay_objsync::wire::{Frame, Head, Hello, Packer};

use crate::persist::Store;
use crate::rt::clock;

/// What every snapshot begins with.
const MAGIC: &[u8] = b"forebay objsync snapshot 1\n";

/// Milliseconds after which a snapshot is too old: as long as members remember a removal.
const LIFE_MS: u64 = 3_600_000;

/// Whose tables they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The group, as engines name it to one another.
    pub group: u64,
    /// The engine's place.
    pub slot: EngineSlot,
}

/// What came of reading a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Entries that are in the tables again.
    pub entries: u64,
    /// Entries of tables or servers that are gone, that had ended, or for which there was no room.
    pub left: u64,
    /// Below this the group's time cannot be.
    pub floor: GroupMillis,
}

/// Sums up what passes through.
struct Summing<W> {
    inner: W,
    sum: Context,
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes the tables to `path`. Gives the number of entries.
///
/// # Errors
/// The file cannot be written, for example because the disk is full; the one before is still there.
//= SYNC-DISK-01
pub fn write(path: &Path, store: &Store, owner: Owner) -> io::Result<u64> {
    let beside = beside(path);
    let written = write_to(&beside, store, owner).and_then(|entries| {
        fs::rename(&beside, path)?;
        // The new name is on the disk when its folder is.
        if let Some(folder) = path.parent() {
            File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?.sync_all()?;
        }
        Ok(entries)
    });
    if written.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn write_to(path: &Path, store: &Store, owner: Owner) -> io::Result<u64> {
    // One that a process left behind that died goes; a link is not followed.
    let _ = fs::remove_file(path);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut out = Summing { inner: BufWriter::new(&file), sum: Context::new(&SHA256) };
    out.write_all(MAGIC)?;
    let clock = store.group_time(clock::now());
    let hello = Hello {
        protocol: PROTOCOL,
        protocol_min: PROTOCOL,
        features: 0,
        slot: owner.slot,
        boot: unix_ms(),
        group: owner.group,
        clock,
    };
    out.write_all(&Frame::Hello(hello).encode())?;
    let mut entries = 0;
    let mut packers: Vec<(u64, Packer)> = Vec::new();
    store.export(clock::now, |table, entry| {
        entries += 1;
        let place = packers.iter().position(|(name, _)| *name == table).unwrap_or_else(|| {
            packers.push((table, Packer::new(table)));
            packers.len() - 1
        });
        let packer = &mut packers[place].1;
        packer.push(entry);
        if packer.bytes() >= BATCH_BYTES {
            out.write_all(&Frame::Changes(Head::default(), vec![packer.pack()]).encode())?;
            *packer = Packer::new(table);
        }
        Ok::<_, io::Error>(())
    })?;
    for (_, packer) in packers.iter().filter(|(_, packer)| !packer.is_empty()) {
        out.write_all(&Frame::Changes(Head::default(), vec![packer.pack()]).encode())?;
    }
    out.write_all(&Frame::Ack(Head { clock, number: 0, ack: entries }).encode())?;
    let Summing { inner: mut out, sum } = out;
    out.write_all(sum.finish().as_ref())?;
    out.flush()?;
    drop(out);
    file.sync_all()?;
    Ok(entries)
}

/// Reads the tables from `path`; `None`: there is no such file. Nothing is taken of a file that is not whole, not this
/// engine's, or too old.
///
/// # Errors
/// Why nothing was taken, in words.
//= SYNC-DISK-02
pub fn read(path: &Path, store: &Store, owner: Owner) -> Result<Option<Restored>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    let least = (MAGIC.len() + SHA256_OUTPUT_LEN) as u64;
    let body = size.checked_sub(SHA256_OUTPUT_LEN as u64).filter(|_| size >= least).ok_or("it is cut off")?;
    is_whole(&file, body).map_err(|error| error.to_string())?.then_some(()).ok_or("its sum is wrong")?;
    apply(path, body, store, owner).map(Some)
}

/// Whether the sum at its end is that of what stands before.
fn is_whole(file: &File, body: u64) -> io::Result<bool> {
    let mut file = BufReader::with_capacity(FRAME_MAX, file);
    let mut sum = Context::new(&SHA256);
    let mut left = body;
    let mut piece = vec![0; 64 * 1024];
    while left > 0 {
        let part = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut piece[..part])?;
        sum.update(&piece[..part]);
        left -= part as u64;
    }
    let mut said = [0; SHA256_OUTPUT_LEN];
    file.read_exact(&mut said)?;
    Ok(sum.finish().as_ref() == said)
}

fn apply(path: &Path, body: u64, store: &Store, owner: Owner) -> Result<Restored, String> {
    let said = |error: io::Error| error.to_string();
    let mut file = BufReader::new(File::open(path).map_err(said)?.take(body));
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).map_err(said)?;
    if magic != MAGIC {
        return Err("it is no snapshot, or one of another release".to_owned());
    }
    let mut frame = Vec::new();
    let mut restored = Restored::default();
    let (mut away_ms, mut told) = (None, 0);
    while next(&mut file, &mut frame).map_err(said)? {
        match Frame::decode(&frame).map_err(|bad| bad.to_string())? {
            Frame::Hello(hello) => {
                if (hello.group, hello.slot) != (owner.group, owner.slot) {
                    return Err("it is that of another engine or group".to_owned());
                }
                let away = unix_ms().saturating_sub(hello.boot);
                if away > LIFE_MS {
                    return Err(format!(
                        "it is {} minutes old, and removals are remembered for an hour",
                        away / 60_000
                    ));
                }
                away_ms = Some(away);
                // Whatever was written after it was written within a minute of it, or is told by others.
                restored.floor = GroupMillis(hello.clock.0.saturating_add(60_000));
            }
            Frame::Changes(_, packs) => {
                let away = away_ms.ok_or("it does not say whose it is")?;
                for pack in &packs {
                    for entry in pack.entries() {
                        let entry = entry.ok_or("an entry cannot be")?;
                        told += 1;
                        match store.import(pack.table, &entry, away, clock::now()) {
                            true => restored.entries += 1,
                            false => restored.left += 1,
                        }
                    }
                }
            }
            Frame::Ack(head) if head.ack == told => return Ok(restored),
            _ => return Err("it does not hold what it says".to_owned()),
        }
    }
    Err("it is cut off".to_owned())
}

/// Reads the next frame; `false` at the end.
fn next(file: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; 4];
    match file.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        read => read?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if !(1..=FRAME_MAX).contains(&length) {
        return Err(io::Error::other("a frame of an impossible length"));
    }
    frame.resize(length, 0);
    file.read_exact(frame)?;
    Ok(true)
}

/// The wall clock: what is asked is how long a machine was away, which no other clock knows.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

/// Where a configuration wants snapshots, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Time between two.
    pub every: Duration,
    /// Whose they are.
    pub owner: Owner,
}

impl Place {
    /// Writes one, and says what came of it.
    pub fn write(&self, store: &Arc<Store>) {
        let began = std::time::Instant::now();
        match write(&self.path, store, self.owner) {
            Ok(entries) => tracing::debug!(
                entries,
                took_ms = began.elapsed().as_millis() as u64,
                "a snapshot of the tables is on disk"
            ),
            Err(error) => tracing::warn!(
                event = "OBJSYNC_SNAPSHOT_FAILED",
                path = %self.path.display(),
                %error,
                "the tables cannot be written to disk, the snapshot before stays; make room, or give the folder to the \
                 engine's user, or set objsync.snapshot_file = \"off\""
            ),
        }
    }

    /// Reads the last one, and says what came of it. Gives the time below which the group's cannot be.
    pub fn read(&self, store: &Store) -> GroupMillis {
        match read(&self.path, store, self.owner) {
            Ok(None) => GroupMillis(0),
            Ok(Some(restored)) => {
                tracing::info!(
                    event = "OBJSYNC_SNAPSHOT_READ",
                    entries = restored.entries,
                    left = restored.left,
                    "the tables begin with what was on disk"
                );
                restored.floor
            }
            Err(why) => {
                tracing::warn!(
                    event = "OBJSYNC_SNAPSHOT_REFUSED",
                    path = %self.path.display(),
                    "the snapshot on disk is not used: {why}"
                );
                GroupMillis(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use forebay_core::persist::ClientKey;
    use forebay_core::table::Key;

    use super::*;
    use crate::config::{PoolIndex, ServiceIndex, Tree};
    use crate::persist;

    const TEXT: &str = "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:80\"]\npool = \"web\"\n\
                        [[pool]]\nname = \"web\"\npersistence = \"ip\"\nserver = [\
                        { address = \"127.0.0.1:81\" }, { address = \"127.0.0.1:82\" }]\n\
                        [[persistence]]\nname = \"ip\"\ntype = \"client_ip\"\n";

    fn owner() -> Owner {
        Owner { group: 7, slot: EngineSlot::default() }
    }

    struct Bench {
        store: Store,
        servers: [forebay_core::id::ServerId; 2],
    }

    impl Bench {
        fn new() -> Self {
            let tree = Arc::new(Tree::build(forebay_snapshot::check(TEXT).expect("it is valid")));
            let before = EngineSlot::new(63).expect("below 64");
            let place = persist::Place { me: owner().slot, is_shared: true, before };
            let store = Store::build_as(&tree, 16 << 20, [7; 16], place, clock::now()).expect("a table");
            Self { store, servers: [0, 1].map(|n| tree.pools[0].servers[n].id) }
        }

        fn key(&self, n: u64) -> Key {
            let table = self.store.table(ServiceIndex(0), PoolIndex(0)).expect("the pool has one");
            self.store.key(table, self.store.table_key(ClientKey::Opaque(&n.to_le_bytes())))
        }
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("forebay-snapshot-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    //= test SYNC-DISK-01
    //= test SYNC-DISK-02
    #[test]
    fn what_was_written_is_read_back_and_its_connections_are_closed() {
        let folder = folder("back");
        let path = folder.join("tables");
        let (one, now) = (Bench::new(), clock::now());
        for n in 0..5_000 {
            one.store.put(&one.key(n), one.servers[(n % 2) as usize], false, now).expect("room");
        }
        assert!(one.store.open(&one.key(1), now));
        one.store.remove(&one.key(2), now);
        assert_eq!(
            write(&path, &one.store, owner()).expect("room"),
            5_000,
            "a removal is remembered as well"
        );
        let mode = path.metadata().expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let two = Bench::new();
        let restored = read(&path, &two.store, owner()).expect("it is whole").expect("it is there");
        assert_eq!((restored.entries, restored.left), (5_000, 0));
        for n in (0..5_000).filter(|n| *n != 2) {
            assert_eq!(two.store.get(&two.key(n), now), Some(two.servers[(n % 2) as usize]), "client {n}");
        }
        assert_eq!(two.store.get(&two.key(2), now), None, "it was removed");
        two.store.close(&two.key(1), now);
        assert!(restored.floor > one.store.group_time(now), "time does not go back");
        assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 1, "and nothing else is left");
        fs::remove_dir_all(&folder).expect("the folder");
    }

    //= test SYNC-DISK-01
    //= test SYNC-DISK-02
    #[test]
    fn nothing_is_taken_of_a_file_that_is_torn_changed_or_anothers() {
        let folder = folder("torn");
        let path = folder.join("tables");
        let (one, now) = (Bench::new(), clock::now());
        for n in 0..300 {
            one.store.put(&one.key(n), one.servers[0], false, now).expect("room");
        }
        write(&path, &one.store, owner()).expect("room");
        let whole = fs::read(&path).expect("it is there");
        let two = Bench::new();
        let taken = |bytes: &[u8], owner: Owner| {
            fs::write(&path, bytes).expect("the folder");
            read(&path, &two.store, owner)
        };
        let cuts = (0..whole.len()).step_by(97);
        assert!(cuts.clone().all(|length| taken(&whole[..length], owner()).is_err()), "torn");
        for at in cuts {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(taken(&changed, owner()).is_err(), "byte {at}");
        }
        let slot = EngineSlot::new(9).expect("below 64");
        assert!(taken(&whole, Owner { slot, ..owner() }).is_err(), "another engine's");
        assert!(taken(&whole, Owner { group: 8, ..owner() }).is_err(), "another group's");
        assert!((0..300).all(|n| two.store.get(&two.key(n), now).is_none()), "and nothing was taken");
        assert_eq!(taken(&whole, owner()).expect("it is whole").expect("it is there").entries, 300);
        fs::remove_file(&path).expect("it is there");
        assert_eq!(read(&path, &two.store, owner()), Ok(None));
        // Where nothing can be written, the one before stays.
        fs::write(&path, &whole).expect("the folder");
        fs::create_dir_all(beside(&path).join("in the way")).expect("the folder");
        assert!(write(&path, &one.store, owner()).is_err());
        assert_eq!(fs::read(&path).expect("it is there"), whole);
        fs::remove_dir_all(&folder).expect("the folder");
    }
}

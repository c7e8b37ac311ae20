//! The tables on their way to another process: a copy of what is there, then every change as it happens.
//!
//! A change is noted as the key that it concerns. Whoever tells of it looks the entry up when it is told, so what the
//! other process learns last is what holds, however often a key has changed in between, and nothing is undone by an order
//! of messages. While nobody takes the tables over, this costs one look at a flag that nobody writes.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forebay_core::table::{Class, EntryView, Key, KeyBytes, Record, TableId, Version};
use forebay_core::units::Now;

use super::Store;
use super::journal::{Change, Pending};

/// Buckets whose entries are copied while a partition's lock is held: well below 0.1 ms.
const SLICE_BUCKETS: u32 = 256;

/// What one process tells the next of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The table, by its place in the list that was sent.
    pub table: u16,
    /// The client's key, without the table's salt.
    pub key: KeyBytes,
    /// The server's id.
    pub server: u64,
    /// Which of the table's time-outs it has.
    pub class: Class,
    /// Its version.
    pub version: Version,
    /// The processes that have connections of the client.
    pub open: u64,
    /// Milliseconds since the last use.
    pub age_ms: u64,
    /// It was removed.
    pub gone: bool,
}

/// Changes that are to be told now.
#[derive(Debug, Default)]
pub struct Changes {
    /// What has changed.
    pub told: Vec<Told>,
    /// There were more than there is room for: everything is to be copied again.
    pub overflowed: bool,
    /// To be given to [`Store::known`] once the other process has applied them.
    pub number: u64,
}

/// What became of entries that came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Taken.
    pub taken: u64,
    /// Of tables or servers that are not in this configuration.
    pub unknown: u64,
    /// No room was left.
    pub refused: u64,
}

impl Arrived {
    /// Adds what became of others.
    pub fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.unknown += other.unknown;
        self.refused += other.refused;
    }
}

impl Store {
    /// The tables, by name and kind; entries name them by their place in this list.
    pub fn tables_for_another(&self) -> Vec<(u64, String)> {
        self.tables.iter().map(|kept| (kept.wanted.name, kept.wanted.kind.to_owned())).collect()
    }

    /// From now on changes are noted.
    pub fn follow_changes(&self) {
        *self.journal().pending() = Pending::default();
        self.journal().active.store(true, Ordering::SeqCst);
    }

    /// From now on who binds a client waits until the other process knows of it.
    pub fn tell_before_answering(&self) {
        self.journal().pending().strict = true;
    }

    /// Nobody wants to know any more. Gives how often a client was answered before the other process knew of it.
    pub fn forget_changes(&self) -> u64 {
        let journal = self.journal();
        journal.active.store(false, Ordering::SeqCst);
        let before = std::mem::take(&mut *journal.pending());
        journal.known.notify_all();
        before.late
    }

    /// What has changed since the last call; waits for a change for `wait` at most.
    pub fn changes(&self, wait: Duration, now: impl Fn() -> Now) -> Changes {
        let journal = self.journal();
        let mut pending = journal.pending();
        if pending.changes.is_empty() && !wait.is_zero() {
            pending = journal.more.wait_timeout(pending, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        let changes = std::mem::take(&mut pending.changes);
        let overflowed = std::mem::take(&mut pending.overflowed);
        let number = pending.noted;
        drop(pending);
        let told = changes.into_values().filter_map(|change| self.told_of(change, now())).collect();
        Changes { told, overflowed, number }
    }

    /// The other process has applied the changes of this number and all before.
    pub fn known(&self, number: u64) {
        let journal = self.journal();
        let mut pending = journal.pending();
        pending.applied = pending.applied.max(number);
        drop(pending);
        journal.known.notify_all();
    }

    fn told_of(&self, change: Change, now: Now) -> Option<Told> {
        match change {
            Change::Key(key) => {
                let view = self.partition(&key)?.entry(&self.catalog, &key, now)?;
                self.told(&view)
            }
            Change::Gone(was, key) => Some(Told {
                table: self.place_of(was.table())?,
                key,
                server: 0,
                class: Class::default(),
                version: Version::default(),
                open: 0,
                age_ms: 0,
                gone: true,
            }),
        }
    }

    fn place_of(&self, table: TableId) -> Option<u16> {
        let place = self.tables.iter().position(|kept| kept.id == table)?;
        u16::try_from(place).ok()
    }

    fn told(&self, view: &EntryView) -> Option<Told> {
        let Record { server, class, version, tombstone, open, age_ms, lasting: _ } = view.record;
        if tombstone {
            return None;
        }
        let (table, server) = (self.place_of(view.table)?, self.catalog.name_of(server)?);
        Some(Told { table, key: view.key, server, class, version, open, age_ms, gone: false })
    }

    /// Copies the entries, partition by partition; `each` gets those of a slice, outside of the lock.
    ///
    /// # Errors
    /// What `each` says ends the copy.
    //= UPG-TABLE-01
    pub fn copy<E>(
        &self,
        now: impl Fn() -> Now,
        mut each: impl FnMut(&[Told]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut views: Vec<EntryView> = Vec::new();
        let mut slice: Vec<Told> = Vec::new();
        for partition in 0..self.partitions() as usize {
            let mut next = 0;
            while next < self.buckets() {
                views.clear();
                self.with_partition(partition, |partition, catalog| {
                    let buckets = next..next.saturating_add(SLICE_BUCKETS);
                    views.extend(partition.entries(catalog, buckets, now()));
                });
                next += SLICE_BUCKETS;
                slice.clear();
                slice.extend(views.iter().filter_map(|view| self.told(view)));
                if !slice.is_empty() {
                    each(&slice)?;
                }
            }
        }
        Ok(())
    }

    /// The tables of this configuration at the places of another process's list. `alike`: both make keys of long texts
    /// with one secret; otherwise nothing can be done with such keys.
    pub fn places(&self, theirs: &[(u64, String)], alike: bool) -> Vec<Option<TableId>> {
        let ours = |(name, kind): &(u64, String)| {
            let same = self.tables.iter().find(|kept| kept.wanted.name == *name)?;
            (same.wanted.kind == kind && (alike || kind != "app_cookie")).then_some(same.id)
        };
        theirs.iter().map(ours).collect()
    }

    /// Takes entries of another process. Where both have bound a client since, what was decided last on purpose holds,
    /// else who was first.
    //= UPG-TABLE-01
    //= UPG-TABLE-02
    pub fn arrive(&self, told: &[Told], places: &[Option<TableId>], now: Now) -> Arrived {
        let mut arrived = Arrived::default();
        for one in told {
            let Some(table) = places.get(usize::from(one.table)).copied().flatten() else {
                arrived.unknown += 1;
                continue;
            };
            let key = self.catalog.key(table, one.key);
            if one.gone {
                self.leave(&key, now);
                continue;
            }
            let Some(server) = self.catalog.slot_of(one.server) else {
                arrived.unknown += 1;
                continue;
            };
            let Some(mut partition) = self.partition(&key) else { continue };
            let ours = partition.entry(&self.catalog, &key, now).map(|view| view.record);
            let theirs = Record {
                server,
                class: one.class,
                version: one.version,
                tombstone: false,
                lasting: false,
                open: self.open_there(one.open),
                age_ms: one.age_ms,
            };
            let record = match ours.filter(|ours| !ours.tombstone && holds(ours.version, one.version)) {
                Some(ours) => Record { open: theirs.open, age_ms: theirs.age_ms, ..ours },
                None => theirs,
            };
            let written = partition.restore(&self.catalog, &key, &record, now);
            self.tell(partition, &key);
            match written {
                Ok(_) => arrived.taken += 1,
                Err(_) => arrived.refused += 1,
            }
            self.journal().note(Change::Key(key));
        }
        arrived
    }

    /// Who has connections, as another process of this engine says. Where tables are shared it has this one's place among the
    /// members, and another one here.
    fn open_there(&self, open: u64) -> u64 {
        if !self.is_shared {
            return open;
        }
        let before = 1 << self.before.get();
        let theirs = 1 << self.me.get() | before;
        open & !theirs | if open & theirs == 0 { 0 } else { before }
    }

    /// Another process has removed an entry; ours stays if it has been used here.
    fn leave(&self, key: &Key, now: Now) {
        let Some(partition) = self.partition(key) else { return };
        let ours = partition.entry(&self.catalog, key, now);
        drop(partition);
        let untouched = |view: &EntryView| view.connections == 0 && view.record.version.origin != self.me;
        if ours.as_ref().is_some_and(untouched) {
            self.remove(key, now);
        }
    }

    /// No other process has connections any more: whatever waits for their end counts down from now on.
    //= UPG-TABLE-02
    pub fn settle(&self, now: Now) -> u64 {
        let gone = if self.is_shared { 1 << self.before.get() } else { !(1 << self.me.get()) };
        let mut held: Vec<EntryView> = Vec::new();
        let mut settled = 0;
        for partition in 0..self.partitions() as usize {
            let mut next = 0;
            while next < self.buckets() {
                held.clear();
                self.with_partition(partition, |partition, catalog| {
                    let buckets = next..next.saturating_add(SLICE_BUCKETS);
                    let entries = partition.entries(catalog, buckets, now);
                    held.extend(entries.filter(|view| view.record.open & gone != 0));
                });
                next += SLICE_BUCKETS;
                for view in &held {
                    let key = self.catalog.key(view.table, view.key);
                    let Some(mut partition) = self.partition(&key) else { continue };
                    // As it is now: between the look and this moment a worker may have written it.
                    if let Some(view) = partition.entry(&self.catalog, &key, now) {
                        let open = view.record.open & !gone;
                        let record = Record { open, age_ms: 0, ..view.record };
                        let _ = partition.restore(&self.catalog, &key, &record, now);
                        settled += 1;
                    }
                    self.tell(partition, &key);
                    self.journal().note(Change::Key(key));
                }
            }
        }
        settled
    }
}

/// Whether our version of an entry holds against theirs: the order of [`Version`].
fn holds(ours: Version, theirs: Version) -> bool {
    let (o, t) = ((ours.birth, ours.switches), (theirs.birth, theirs.switches));
    o > t || o == t && (ours.stamp, ours.origin.get()) <= (theirs.stamp, theirs.origin.get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Instant;

    use forebay_core::id::ServerId;
    use forebay_core::persist::ClientKey;
    use forebay_core::table::EngineSlot;

    use crate::config::{PoolIndex, ServiceIndex, Tree};
    use crate::limits::{HANDOVER_CHANGES_MAX, HANDOVER_KNOWN_MS, HANDOVER_WAITED_MS};
    use crate::persist::Place;
    use crate::rt::clock;

    const TEXT: &str = "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:80\"]\npool = \"web\"\n\
                        [[pool]]\nname = \"web\"\npersistence = \"ip\"\nserver = [\
                        { address = \"127.0.0.1:81\" }, { address = \"127.0.0.1:82\" }]\n\
                        [[persistence]]\nname = \"ip\"\ntype = \"client_ip\"\n";

    struct Bench {
        store: Store,
        servers: [ServerId; 2],
    }

    impl Bench {
        fn new(table_bytes: u64, slot: u8) -> Self {
            let tree = Arc::new(Tree::build(forebay_snapshot::check(TEXT).expect("it is valid")));
            let me = EngineSlot::new(slot).expect("below 64");
            let place = Place { me, ..Place::default() };
            let store = Store::build_as(&tree, table_bytes, [7; 16], place, clock::now()).expect("a table");
            Self { store, servers: [0, 1].map(|n| tree.pools[0].servers[n].id) }
        }

        fn key(&self, n: u64) -> Key {
            let table = self.store.table(ServiceIndex(0), PoolIndex(0)).expect("the pool has one");
            let mut bytes = [0; 16];
            bytes[8..].copy_from_slice(&n.to_be_bytes());
            self.store.key(table, self.store.table_key(ClientKey::Plain(bytes)))
        }

        fn takes(&self, from: &Self, told: &[Told]) -> Arrived {
            let places = self.store.places(&from.store.tables_for_another(), true);
            self.store.arrive(told, &places, clock::now())
        }
    }

    /// All entries of one store in another one.
    fn copy_all(from: &Bench, to: &Bench) -> Arrived {
        let mut arrived = Arrived::default();
        let copied: Result<(), ()> = from.store.copy(clock::now, |slice| {
            arrived.add(to.takes(from, slice));
            Ok(())
        });
        copied.expect("nothing fails");
        arrived
    }

    //= test UPG-TABLE-01
    #[test]
    fn changes_that_are_more_than_fit_are_told_by_a_copy_of_everything() {
        let (old, new) = (Bench::new(16 << 20, 0), Bench::new(16 << 20, 1));
        old.store.follow_changes();
        let clients = HANDOVER_CHANGES_MAX as u64 + 100;
        for n in 0..clients {
            assert!(old.store.put(&old.key(n), old.servers[0], false, clock::now()).is_some());
        }
        let changes = old.store.changes(Duration::ZERO, clock::now);
        assert!(changes.overflowed, "and it is said");
        assert_eq!((changes.told.len(), changes.number), (HANDOVER_CHANGES_MAX, clients));
        new.takes(&old, &changes.told);
        copy_all(&old, &new);
        assert!((0..clients).all(|n| new.store.get(&new.key(n), clock::now()) == Some(old.servers[0])));
        assert!(!old.store.changes(Duration::ZERO, clock::now).overflowed, "once");
        // However often few entries change, they are few.
        for n in 0..clients {
            old.store.open(&old.key(n % 10), clock::now());
        }
        let changes = old.store.changes(Duration::ZERO, clock::now);
        assert_eq!((changes.told.len(), changes.overflowed), (10, false));
    }

    //= test UPG-TABLE-02
    #[test]
    fn what_both_have_bound_is_decided_by_who_was_first_and_a_later_move_holds() {
        let (old, new) = (Bench::new(1 << 20, 0), Bench::new(1 << 20, 1));
        let [a, b] = old.servers;
        let now = clock::now();
        old.store.put(&old.key(1), b, false, now);
        copy_all(&old, &new);
        let mut ours = Vec::new();
        let copied: Result<(), ()> = new.store.copy(clock::now, |slice| {
            ours.extend_from_slice(slice);
            Ok(())
        });
        copied.expect("nothing fails");
        let ours = ours[0];
        assert_eq!(ours.server, b.0);
        let bound = || new.store.get(&new.key(1), now);
        let says = |server: ServerId, version: Version| {
            new.takes(&old, &[Told { server: server.0, version, ..ours }])
        };
        says(a, Version { stamp: ours.version.stamp + 1, ..ours.version });
        assert_eq!(bound(), Some(b), "who was first");
        says(a, Version { stamp: ours.version.stamp - 1, ..ours.version });
        assert_eq!(bound(), Some(a), "who was first");
        says(b, Version { switches: ours.version.switches + 1, stamp: u64::MAX, ..ours.version });
        assert_eq!(bound(), Some(b), "who has moved it");
        says(a, ours.version);
        assert_eq!(bound(), Some(b), "not who was there before");
        // A connection of the old one holds it here, whoever decided.
        old.store.open(&old.key(1), now);
        copy_all(&old, &new);
        assert_eq!(new.store.settle(now), 1);
        assert_eq!(new.store.settle(now), 0, "nobody holds it any more");
    }

    //= test UPG-TABLE-01
    #[test]
    fn an_entry_of_a_table_or_server_that_is_gone_is_counted_and_left() {
        let (old, new) = (Bench::new(1 << 20, 0), Bench::new(1 << 20, 1));
        old.store.put(&old.key(1), old.servers[0], false, clock::now());
        let mut told = Vec::new();
        let copied: Result<(), ()> = old.store.copy(clock::now, |slice| {
            told.extend_from_slice(slice);
            Ok(())
        });
        copied.expect("nothing fails");
        let stranger = Told { server: 1, ..told[0] };
        let places = new.store.places(&[(1, "client_ip".to_owned())], true);
        assert_eq!(new.store.arrive(&told, &places, clock::now()).unknown, 1, "its table is gone");
        assert_eq!(new.takes(&old, &[stranger]).unknown, 1, "its server is gone");
        assert_eq!(new.takes(&old, &told), Arrived { taken: 1, unknown: 0, refused: 0 });
        assert_eq!(
            new.store.places(&[(old.store.tables_for_another()[0].0, "app_cookie".to_owned())], true),
            [None],
            "another kind of key is another table"
        );
    }

    //= test UPG-TABLE-03
    #[test]
    fn whoever_binds_a_client_waits_until_the_other_process_knows_and_no_longer_than_it_may() {
        let old = Bench::new(1 << 20, 0);
        old.store.follow_changes();
        old.store.tell_before_answering();
        std::thread::scope(|scope| {
            let put = scope.spawn(|| old.store.put(&old.key(1), old.servers[0], false, clock::now()));
            let changes = old.store.changes(Duration::from_secs(5), clock::now);
            assert_eq!(changes.told.len(), 1);
            assert!(!put.is_finished() || old.store.journal().pending().late > 0, "it is not known yet");
            old.store.known(changes.number);
            put.join().expect("no panic").expect("room");
        });
        let began = Instant::now();
        old.store.put(&old.key(2), old.servers[0], false, clock::now());
        assert!(began.elapsed() >= Duration::from_millis(HANDOVER_KNOWN_MS), "nobody says that it is known");
        assert!(old.store.forget_changes() >= 1, "and that is counted");
    }

    //= test UPG-TABLE-03
    #[test]
    fn a_process_that_learns_nothing_is_waited_for_once_and_a_slow_one_no_longer_than_it_may_in_all() {
        let old = Bench::new(1 << 20, 0);
        old.store.follow_changes();
        old.store.tell_before_answering();
        let put = |n: u64| {
            old.store.put(&old.key(n), old.servers[0], false, clock::now()).expect("room");
            let pending = old.store.journal().pending();
            (pending.vain, pending.waited)
        };
        let (vain, waited) = put(0);
        assert_eq!(vain, Some(0), "nobody says that it is known");
        assert!((1..1_000).all(|n| put(n) == (vain, waited)), "it has learned nothing since");
        // It learns of one at a time, and always too late.
        let late = (1..1_000).filter(|&n| {
            old.store.known(n);
            put(1_000 + n).0 == Some(n)
        });
        assert!(
            late.count() as u64 <= HANDOVER_WAITED_MS / HANDOVER_KNOWN_MS,
            "and no more than that in all"
        );
        assert_eq!(old.store.forget_changes(), 1_999, "each is counted");
    }
}

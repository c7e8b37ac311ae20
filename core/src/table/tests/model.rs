//! The table against a map: random operations in random order, with steps of time.

use super::*;
use alloc::collections::BTreeMap;
use alloc::format;
use proptest::prelude::*;
use std::string::String;

/// Keys of each table; more than fit.
const KEYS: u32 = 40;
const TICK: u64 = 125_000;
/// The 32-bit tick wraps in the middle of the runs that start here.
const BEFORE_WRAP: u64 = (1 << 32) - 400;

#[derive(Clone, Debug)]
enum Op {
    Put { key: u32, server: usize, class: u8, kind: u8 },
    Open(u32),
    Close(u32),
    Touch(u32),
    Remove(u32),
    Elsewhere { key: u32, engine: u8, open: bool },
    Sweep,
    Adopt,
    Pass { ticks: u64, micros: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..KEYS * 2;
    prop_oneof![
        6 => (key.clone(), 0..5usize, 0..3u8, 0..8u8)
            .prop_map(|(key, server, class, kind)| Op::Put { key, server, class, kind }),
        4 => key.clone().prop_map(Op::Open),
        3 => key.clone().prop_map(Op::Close),
        2 => key.clone().prop_map(Op::Touch),
        1 => key.clone().prop_map(Op::Remove),
        2 => (key, 1..4u8, any::<bool>()).prop_map(|(key, engine, open)| Op::Elsewhere { key, engine, open }),
        1 => Just(Op::Sweep),
        1 => Just(Op::Adopt),
        3 => (prop_oneof![4 => 0..30u64, 2 => 30..500u64, 1 => 500..40_000u64], 0..TICK)
            .prop_map(|(ticks, micros)| Op::Pass { ticks, micros }),
    ]
}

/// What the table should know of a key.
#[derive(Clone, Debug)]
struct Entry {
    server: ServerSlot,
    class: u8,
    idle: u64,
    here: u32,
    elsewhere: u64,
    tombstone: bool,
    lasting: bool,
    version: Version,
}

impl Entry {
    fn open(&self) -> bool {
        self.here > 0 || self.elsewhere != 0
    }

    fn over(&self, tick: u64) -> bool {
        let life = match (self.tombstone, self.class) {
            (true, _) => 3_600 * 8,
            (_, 0) => 80,
            (_, 1) => 480,
            _ => u64::MAX,
        };
        !self.open() && tick - self.idle > life
    }

    fn evictable(&self) -> bool {
        !self.open() && !self.lasting
    }
}

struct Model {
    bench: Bench,
    map: BTreeMap<u32, Entry>,
    stamp: u64,
}

/// The lower half of the keys is in the table of this engine alone.
fn shared(key: u32) -> bool {
    key >= KEYS
}

impl Model {
    fn new(start: u64) -> Self {
        let mut bench = Bench::small();
        bench.now = Now(start * TICK);
        bench.part.adopt(&bench.catalog, bench.now);
        Self { bench, map: BTreeMap::new(), stamp: 0 }
    }

    fn table(&self, key: u32) -> TableId {
        if shared(key) { self.bench.shared } else { self.bench.own }
    }

    fn tick(&self) -> u64 {
        self.bench.now.0 / TICK
    }

    fn stamp(&mut self) -> u64 {
        self.stamp = (self.bench.group().0 << 16).max(self.stamp + 1);
        self.stamp
    }

    fn alive(&self, key: u32) -> Option<&Entry> {
        self.map.get(&key).filter(|e| !e.tombstone && !e.over(self.tick()))
    }

    fn step(&mut self, op: &Op) {
        let tick = self.tick();
        match *op {
            Op::Put { key, server, class, kind } => {
                let kind = [WriteKind::First, WriteKind::Move][usize::from(kind == 0)];
                self.put(key, self.bench.servers[server], class, kind);
            }
            Op::Open(key) => {
                let want = self.alive(key).map(|e| Opened { server: e.server, first: e.here == 0 });
                assert_eq!(self.bench.open(self.table(key), key), want);
                if let Some(e) = self.map.get_mut(&key).filter(|_| want.is_some()) {
                    e.here += 1;
                }
            }
            Op::Close(key) => self.close(key),
            Op::Touch(key) => {
                let want = self.alive(key).map(|e| e.server);
                assert_eq!(self.bench.touch(self.table(key), key), want);
                if let Some(e) = self.map.get_mut(&key).filter(|_| want.is_some()) {
                    e.idle = tick;
                }
            }
            Op::Remove(key) => self.remove(key),
            Op::Elsewhere { key, engine, open } => {
                let known = self.map.contains_key(&key);
                assert_eq!(self.bench.elsewhere(self.table(key), key, engine, open), known);
                if let Some(e) = self.map.get_mut(&key) {
                    let was_open = e.open();
                    let bit = 1 << engine;
                    e.elsewhere = if open { e.elsewhere | bit } else { e.elsewhere & !bit };
                    self.after_close(key, was_open);
                }
            }
            Op::Sweep => {
                let over: Vec<u32> = self.map.iter().filter(|(_, e)| e.over(tick)).map(|(k, _)| *k).collect();
                assert_eq!(self.bench.sweep().expired as usize, over.len());
                for key in over {
                    let e = self.map.get_mut(&key).unwrap();
                    if e.lasting {
                        (e.lasting, e.tombstone, e.idle) = (false, true, tick);
                        e.version = e.version.below();
                    } else {
                        self.map.remove(&key);
                    }
                }
            }
            Op::Adopt => self.bench.part.adopt(&self.bench.catalog, self.bench.now),
            Op::Pass { ticks, micros } => {
                self.bench.now = Now(self.bench.now.0 + ticks * TICK + micros);
            }
        }
    }

    fn close(&mut self, key: u32) {
        let want = self
            .map
            .get(&key)
            .filter(|e| e.here > 0)
            .map(|e| Closed { last_here: e.here == 1, last: e.here == 1 && e.elsewhere == 0 });
        assert_eq!(self.bench.close(self.table(key), key), want);
        if let Some(e) = self.map.get_mut(&key).filter(|_| want.is_some()) {
            e.here -= 1;
            self.after_close(key, true);
        }
    }

    fn after_close(&mut self, key: u32, was_open: bool) {
        let tick = self.tick();
        let Some(e) = self.map.get_mut(&key).filter(|e| was_open && !e.open()) else { return };
        e.idle = tick;
        if e.tombstone && !shared(key) {
            self.map.remove(&key);
        }
    }

    fn remove(&mut self, key: u32) {
        let want = self.alive(key).map(|e| e.server);
        assert_eq!(self.bench.remove(self.table(key), key), want);
        let tick = self.tick();
        let Some(e) = self.map.get(&key).filter(|e| !e.tombstone) else { return };
        if !shared(key) && !e.open() {
            self.map.remove(&key);
            return;
        }
        let stamp = self.stamp();
        if let Some(e) = self.map.get_mut(&key) {
            e.version = e.version.deleted(stamp, EngineSlot::default());
            (e.tombstone, e.lasting, e.idle) = (true, false, tick);
        }
    }

    fn put(&mut self, key: u32, server: ServerSlot, class: u8, kind: WriteKind) {
        let (tick, group) = (self.tick(), self.bench.group());
        let before = self.bench.part.stats();
        let write = Write { server, class: Class::new(class).unwrap(), kind };
        let got = self.bench.write(self.table(key), key, write);
        let me = EngineSlot::default();
        let old = self.map.get(&key).cloned();
        let alive = self.alive(key).cloned();
        match (old, alive) {
            (_, Some(e)) if kind == WriteKind::First => {
                assert_eq!(got, Ok(Written { outcome: Outcome::Held(e.server), evicted: None }));
            }
            (_, Some(e)) if e.server == server => {
                assert_eq!(got, Ok(Written { outcome: Outcome::Same, evicted: None }));
            }
            (_, Some(e)) => {
                assert_eq!(got, Ok(Written { outcome: Outcome::Replaced(e.server), evicted: None }));
                let version = e.version.switched(self.stamp(), me);
                self.map.insert(key, Entry { server, class, idle: tick, version, ..e });
            }
            (Some(e), None) => {
                assert_eq!(got, Ok(Written { outcome: Outcome::Created, evicted: None }));
                let version = e.version.reborn(group.minute(), self.stamp(), me);
                let lasting = e.lasting || (e.tombstone && shared(key));
                self.map.insert(
                    key,
                    Entry { server, class, idle: tick, version, lasting, tombstone: false, ..e },
                );
            }
            (None, None) => {
                // A refused write takes a stamp too.
                let stamp = self.stamp();
                let limit = self.bench.geometry.partition_limit() as usize;
                match got {
                    Err(refused) => {
                        assert_eq!(refused, Refused::Full);
                        assert_eq!(self.bench.part.stats().refused, before.refused + 1);
                        // Both buckets of the key at least hold nothing that could go.
                        let held = self.map.values().filter(|e| !e.evictable()).count();
                        assert!(held >= 6, "refused, though only {held} entries are in use");
                        return;
                    }
                    Ok(written) => {
                        assert_eq!(written.outcome, Outcome::Created);
                        let nearby = self.bench.part.stats().evicted_nearby > before.evicted_nearby;
                        assert_eq!(self.map.len() >= limit || nearby, written.evicted.is_some());
                        if let Some(gone) = written.evicted {
                            self.evicted(&gone, before);
                        }
                    }
                }
                let version = Version { birth: group.minute(), switches: 0, stamp, origin: me };
                let fresh = Entry {
                    server,
                    class,
                    idle: tick,
                    here: 0,
                    elsewhere: 0,
                    tombstone: false,
                    lasting: false,
                    version,
                };
                self.map.insert(key, fresh);
            }
        }
    }

    fn evicted(&mut self, gone: &Evicted, before: Stats) {
        let tick = self.tick();
        let key = u128::from_be_bytes(gone.key.0) as u32;
        let e = self.map.remove(&key).expect("only what is there can be evicted");
        assert_eq!(gone.table, self.table(key));
        assert_eq!(gone.server, (!e.tombstone).then_some(e.server));
        assert_eq!(gone.age_ms, (tick - e.idle) * 125);
        assert!(e.evictable(), "{key} is in use: {e:?}");
        if self.bench.part.stats().evicted_nearby == before.evicted_nearby {
            let oldest = self.map.values().filter(|e| e.evictable()).map(|e| e.idle).min();
            assert!(oldest.is_none_or(|o| e.idle <= o), "{key} went, {oldest:?} is older than {}", e.idle);
        }
    }

    fn check(&self) -> Result<(), String> {
        let b = &self.bench;
        for key in 0..KEYS * 2 {
            let want = self.alive(key).map(|e| e.server);
            let got = b.get(self.table(key), key);
            if got != want {
                return Err(format!("get {key}: {got:?}, not {want:?}"));
            }
            let view = b.entry(self.table(key), key);
            if let Some(e) = self.map.get(&key).filter(|e| e.lasting && e.over(self.tick())) {
                let left = view.is_some_and(|v| v.record.tombstone && v.record.version == e.version.below());
                if !left {
                    return Err(format!("entry {key}: {view:?}, not the tombstone that {e:?} leaves"));
                }
                continue;
            }
            let want = self.map.get(&key).filter(|e| !e.over(self.tick()));
            if view.is_some() != want.is_some() {
                return Err(format!("entry {key}: {view:?}, not {want:?}"));
            }
            if let (Some(view), Some(e)) = (view, want) {
                let age = if e.open() { 0 } else { self.tick() - e.idle };
                let open = e.elsewhere | u64::from(e.here > 0);
                let record = Record {
                    server: view.record.server,
                    class: Class::new(e.class).unwrap(),
                    version: e.version,
                    tombstone: e.tombstone,
                    lasting: e.lasting,
                    open,
                    age_ms: age * 125,
                };
                if (view.record, view.connections) != (record, e.here) {
                    return Err(format!("entry {key}: {view:?}, not {e:?}"));
                }
            }
        }
        let stats = b.part.stats();
        let held = self.map.values().filter(|e| !e.evictable()).count();
        if (stats.entries as usize, stats.held as usize) != (self.map.len(), held) {
            return Err(format!("{stats:?}, not {} entries, {held} held", self.map.len()));
        }
        b.part.verify(&b.catalog, b.shared).map_err(|m| format!("{m:?}"))
    }
}

fn cases() -> u32 {
    if std::env::var_os("FOREBAY_LONG").is_some() { 20_000 } else { 600 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    //= test TBL-GET-01, TBL-EVICT-01, TBL-EVICT-02, TBL-OPEN-01, TBL-OPEN-02, TBL-DIGEST-02
    #[test]
    fn the_table_does_what_a_map_with_a_clock_does(
        ops in prop::collection::vec(op(), 1..300),
        wrap in any::<bool>(),
    ) {
        let mut model = Model::new(if wrap { BEFORE_WRAP } else { 8_000 });
        for (n, op) in ops.iter().enumerate() {
            model.step(op);
            if let Err(why) = model.check() {
                prop_assert!(false, "after step {} ({:?}): {}", n, op, why);
            }
        }
    }
}

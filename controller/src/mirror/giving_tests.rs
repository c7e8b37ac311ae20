//! A mirror and an engine that comes to new tables, by their real drivers and sockets.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use forebay_core::table::{EngineSlot, GroupMillis, Hasher, KeyBytes, TableId, Write};
use forebay_core::units::Now;
use forebay_model::{member_name, reader_name};
use forebay_objsync::{Bounds, Engine as Sync, Event, Settings as SyncSettings, Shards};
use forebay_objsync_tokio::{Catalogue, Command, Driver, Handle, Host, Identity, Member, Settings, Table};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::SLOT;
use super::host::Here;
use super::tables::Tables;
use crate::aside::Aside;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const GROUP: &str = "g-test";
const SECRET: [u8; 16] = [7; 16];
/// The server of all entries, and how many each table has.
const SERVER: u64 = 9;
const ENTRIES: u8 = 20;
/// Far more than a new table takes where there is nobody to ask; who waits for a mirror takes two seconds and more.
const SOON: Duration = Duration::from_millis(1_400);

fn slot(n: u8) -> EngineSlot {
    EngineSlot::new(n).expect("below 64")
}

/// An engine: its tables, and which of them it says it has.
struct Serving {
    tables: Tables,
    names: BTreeSet<u64>,
    began: Instant,
}

fn of(names: impl Iterator<Item = u64>) -> Catalogue {
    Catalogue { tables: names.map(|name| (name, 300)).collect(), servers: vec![SERVER] }
}

impl Host for Serving {
    type Tables = Tables;

    fn tables(&mut self) -> &mut Tables {
        &mut self.tables
    }

    fn now(&self) -> Now {
        Now(1_000_000 + self.cpu_us())
    }

    fn cpu_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn changes(&mut self, _: &mut Vec<(TableId, KeyBytes, Option<u64>)>) {}

    fn kept(&self) -> Vec<Table> {
        self.names.iter().map(|name| Table { name: *name, settings: 1, servers: 1 }).collect()
    }

    fn catalogue(&self) -> Catalogue {
        of(self.names.iter().copied())
    }

    fn event(&mut self, _: Event) {}
}

fn sync(settings: &Settings, now: Now) -> Sync {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later");
    Sync::new(
        SyncSettings {
            me: settings.me,
            boot: u64::from(settings.me.get()) + 1,
            group: 5,
            sums: Hasher::new([3; 16]),
            members: settings.mask(),
            readers: settings.readers(),
            wall: GroupMillis(u64::try_from(wall.as_millis()).expect("it fits")),
            floor: GroupMillis(0),
            bounds: Bounds::default(),
        },
        now,
    )
}

/// An authority and its two certificates.
fn identities() -> [Identity; 2] {
    let key = KeyPair::generate().expect("random numbers");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).expect("it signs").pem();
    let issuer = Issuer::new(params, key);
    [member_name(GROUP, 0), reader_name(GROUP, SLOT)].map(|name| {
        let key = KeyPair::generate().expect("random numbers");
        let params = CertificateParams::new(vec![name.clone()]).expect("a name");
        let certificate = params.signed_by(&key, &issuer).expect("it signs").pem();
        let pem = key.serialize_pem();
        Identity::read(&name, ca.as_bytes(), certificate.as_bytes(), pem.as_bytes()).expect("they fit")
    })
}

fn settings(me: u8, member: Member, identity: Identity) -> Settings {
    Settings {
        me: slot(me),
        reads: me == SLOT,
        tables_of_its_own: true,
        group: GROUP.to_owned(),
        listen: "127.0.0.1:0".parse().expect("an address"),
        members: vec![member],
        identity: Arc::new(identity),
        cpu_percent: 50,
        compare_ms: 60_000,
    }
}

/// Asks a driver's host.
fn ask<H: Host, R: Send + 'static>(handle: &Handle<H>, work: impl FnOnce(&mut H) -> R + Send + 'static) -> R {
    let (answer, answered) = mpsc::channel();
    let work = move |_: &mut Sync, host: &mut H, _| {
        answer.send(work(host)).expect("it is waited for");
        Vec::new()
    };
    handle.commands.blocking_send(Command::Work(Box::new(work))).expect("it runs");
    answered.recv_timeout(Duration::from_secs(10)).expect("it answers")
}

fn entries(engine: &Handle<Serving>) -> u64 {
    ask(engine, |host| host.tables.entries())
}

fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The engine has a new table, of which the mirror has entries; gives how long it counts as not being there.
fn comes_to(engine: &Handle<Serving>, name: u64) -> Duration {
    ask(engine, move |host| {
        host.names.insert(name);
        let (now, catalogue) = (host.now(), of(host.names.iter().copied()));
        host.tables.told(slot(0), &catalogue, now);
    });
    let began = Instant::now();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    engine.commands.blocking_send(Command::Bring(begun)).expect("it runs");
    has_begun.blocking_recv().expect("it runs");
    eventually("it is waited for no longer", || !engine.view.asks());
    began.elapsed()
}

/// Stands still until the other end is dropped.
fn stand_still(mirror: &Handle<Here>) -> mpsc::Sender<()> {
    let (goes_on, waits) = mpsc::channel::<()>();
    let work = move |_: &mut Sync, _: &mut Here, _| {
        // The other end is dropped.
        let _ = waits.recv();
        Vec::new()
    };
    mirror.commands.blocking_send(Command::Work(Box::new(work))).expect("it runs");
    goes_on
}

//= test SYNC-MIRROR-03
#[test]
fn a_mirror_that_stands_still_or_is_not_there_holds_no_new_table_back() {
    let (beside, with_mirrors) = (Aside::start("engine").unwrap(), Aside::start("mirrors").unwrap());
    let [own, reads] = identities();
    // It calls from another address: that of whichever Controller leads.
    let anywhere: SocketAddr = "192.0.2.1:0".parse().expect("an address");
    let reader = Member {
        slot: slot(SLOT),
        name: reader_name(GROUP, SLOT),
        address: anywhere,
        reads: true,
        from: None,
    };
    let engine_settings = settings(0, reader, own);
    let serving = Serving {
        tables: Tables::new(SECRET, slot(0), Now(1_000_000)).expect("there is memory"),
        names: BTreeSet::new(),
        began: Instant::now(),
    };
    let (sender, made) = mpsc::channel();
    // Sockets belong to the runtime in which they are made.
    beside.spawn(async move {
        let engine = sync(&engine_settings, serving.now());
        let (driver, handle) = Driver::new(engine_settings, engine, serving).expect("it listens");
        sender.send(handle).expect("it is waited for");
        driver.run().await;
    });
    let engine: Handle<Serving> = made.recv().expect("it runs");
    eventually("it listens", || !engine.view.status().listening.is_empty());
    let at = engine.view.status().listening[0];

    let member =
        Member { slot: slot(0), name: member_name(GROUP, 0), address: at, reads: false, from: Some(at.ip()) };
    let mirror_settings = settings(SLOT, member, reads);
    let (mut here, _) = Here::new(SECRET, slot(SLOT), with_mirrors.budget(), None).expect("there is memory");
    let now = here.clock();
    let all = 1..=5_u64;
    // An engine that is gone had these.
    here.tables().told(slot(7), &of(all.clone()), now);
    for (name, client) in all.flat_map(|name| (0..ENTRIES).map(move |client| (name, client))) {
        let tables = here.tables();
        let id = tables.tables().iter().find(|table| table.name == name).expect("it is told").id;
        let key = tables.catalog().key(id, KeyBytes([client; 16]));
        let server = tables.catalog().slot_of(SERVER).expect("it is told");
        let at = tables.geometry().route(&key);
        tables
            .with(at, |partition, catalog| {
                partition.put(catalog, &key, Write::first(server), now, GroupMillis(1))
            })
            .expect("there is room");
    }
    let (sender, made) = mpsc::channel();
    let task = with_mirrors.spawn(async move {
        let engine = sync(&mirror_settings, here.clock());
        let (driver, handle) = Driver::new(mirror_settings, engine, here).expect("it listens nowhere");
        sender.send(handle).expect("it is waited for");
        driver.run().await;
    });
    let mirror: Handle<Here> = made.recv().expect("it runs");
    let is_up = || engine.view.status().peers.iter().any(|peer| peer.figures.is_some_and(|is| is.connected));
    eventually("the engine has joined, and the mirror is there", || engine.view.status().joined && is_up());

    // One that answers is waited for: what it has is there before the table counts.
    let each = u64::from(ENTRIES);
    comes_to(&engine, 1);
    assert_eq!(entries(&engine), each, "all of it was given");

    // One that stood still just now may answer yet, and does not.
    let goes_on = stand_still(&mirror);
    let took = comes_to(&engine, 2);
    assert!(took < SOON, "one that stands still: {took:?}");
    assert_eq!(entries(&engine), each);
    drop(goes_on);
    eventually("what comes later is taken", || entries(&engine) == 2 * each);

    // One of which nothing was heard for a while does not: nothing is waited for.
    let goes_on = stand_still(&mirror);
    // Sleep: that long nothing is heard of it.
    std::thread::sleep(Duration::from_millis(1_800));
    let took = comes_to(&engine, 3);
    assert!(took < SOON, "one that has stood still: {took:?}");
    drop(goes_on);
    eventually("what comes later is taken", || entries(&engine) == 3 * each);

    // And where there is none.
    task.abort();
    eventually("it is gone", || !is_up());
    let took = comes_to(&engine, 4);
    assert!(took < SOON, "one that is gone: {took:?}");
    assert_eq!(entries(&engine), 3 * each);
}

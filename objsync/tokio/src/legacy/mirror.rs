//! An engine's side: what it changes goes to its Redis, and what others have changed comes from there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use forebay_core::table::{EngineSlot, KeyBytes, TableId};
use forebay_objsync::wire::{Frame, Head, Packer};
use forebay_objsync::{Entry, Event, Shards, statement};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::conn::Place;
use super::limits::{
    BEAT, DIRTY_MAX, JOIN, OUTBOX_NOTES, REDIAL_MAX_MS, REDIAL_MS, SILENT, SILENT_MS, SLICE_BUCKETS,
    WRITE_MAX,
};
use super::names::{Kind, Names, Note, Session, Sign, value};
use super::page::{MirrorStatus, MirrorView};
use super::resp::command;
use super::session::{self, Batch, Before, Done, Told};
use crate::Host;
use crate::limits::VIEW;

/// Notes after which the inbox is cut: far below what it holds.
const TRIM_NOTES: usize = 128;

/// Which Redis, and whose.
#[derive(Clone, Debug)]
pub struct MirrorSettings {
    /// The engine's place in the group.
    pub me: EngineSlot,
    /// The group's name.
    pub group: String,
    /// The engine's incarnation: a number that no earlier start had.
    pub boot: u64,
    /// The engine's Redis.
    pub redis: Place,
    /// The tables begin with what stands there.
    pub load: bool,
}

/// Work to be done between two steps.
pub type MirrorWork<H> = Box<dyn FnOnce(&mut H) + Send>;

/// What a mirror is told.
pub enum MirrorOrder<H> {
    /// Work on the host.
    Work(MirrorWork<H>),
    /// Write what waits, if that is wanted and possible, and end.
    Stop(bool),
}

/// Speaks to a mirror from elsewhere.
pub struct MirrorHandle<H> {
    /// What it is told.
    pub orders: mpsc::Sender<MirrorOrder<H>>,
    /// Wakes it: something has changed. It may be called from any thread.
    pub waker: Arc<dyn Fn() + Send + Sync>,
    /// What may be looked at.
    pub view: MirrorView,
}

/// Where the connection with Redis stands.
enum Phase {
    /// There is none until then.
    Away(Instant),
    /// It is being made.
    Coming,
    /// All entries are being written: the next partition and bucket.
    Filling(u32, u32),
    /// All entries are in it.
    Standing,
}

/// Another engine.
pub(super) struct Other {
    pub boot: u64,
    pub heard: Instant,
    /// It was given up: what it had open counts as closed.
    pub silent: bool,
}

/// Keeps a Redis equal to the tables of one engine.
pub struct Mirror<H: Host> {
    pub(super) settings: MirrorSettings,
    pub(super) names: Names,
    pub(super) host: H,
    view: MirrorView,
    wake: Arc<Notify>,
    orders: mpsc::Receiver<MirrorOrder<H>>,
    tell: mpsc::Sender<Told>,
    told: mpsc::Receiver<Told>,
    done: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
    phase: Phase,
    pub(super) session: Session,
    task: Option<JoinHandle<()>>,
    write: Option<mpsc::Sender<Batch>>,
    /// What is being written.
    flying: Option<BTreeMap<(TableId, KeyBytes), bool>>,
    /// Keys that are to be written; whether others are to be told.
    dirty: BTreeMap<(TableId, KeyBytes), bool>,
    /// What others take for open here and this engine does not have at all.
    pub(super) closed: Vec<(u64, Entry)>,
    /// In which start of Redis all entries are; nothing: they are to be written.
    filled: Option<String>,
    run: String,
    load: bool,
    pub(super) seen_ms: u64,
    pub(super) garbage: Vec<Vec<u8>>,
    /// The number of the last note in the outbox.
    number: u64,
    /// The distributor's connection, and the last note of it.
    pub(super) link: Option<(u64, u64)>,
    read: usize,
    last_read: Vec<u8>,
    pub(super) others: BTreeMap<u8, Other>,
    beat: Instant,
    began: Instant,
    redial_ms: u64,
    shown: Option<Instant>,
    pub(super) status: MirrorStatus,
}

impl<H: Host> Mirror<H> {
    /// For this Redis, which need not be there.
    pub fn new(settings: MirrorSettings, host: H) -> (Self, MirrorHandle<H>) {
        let (tell, told) = mpsc::channel(8);
        let (order, orders) = mpsc::channel(16);
        let (view, wake) = (MirrorView::default(), Arc::new(Notify::new()));
        let waker = Arc::clone(&wake);
        let handle =
            MirrorHandle { orders: order, waker: Arc::new(move || waker.notify_one()), view: view.clone() };
        let now = Instant::now();
        let mirror = Self {
            names: Names::of(&settings.group),
            status: MirrorStatus { redis: settings.redis.to_string(), ..MirrorStatus::default() },
            session: Session { boot: settings.boot, number: 0 },
            load: settings.load,
            settings,
            host,
            view,
            wake,
            orders,
            tell,
            told,
            done: mpsc::channel(8),
            phase: Phase::Away(now),
            task: None,
            write: None,
            flying: None,
            dirty: BTreeMap::new(),
            closed: Vec::new(),
            filled: None,
            run: String::new(),
            seen_ms: 0,
            garbage: Vec::new(),
            number: 0,
            link: None,
            read: 0,
            last_read: Vec::new(),
            others: BTreeMap::new(),
            beat: now,
            began: now,
            redial_ms: REDIAL_MS,
            shown: None,
        };
        (mirror, handle)
    }

    /// Runs until it is told to stop.
    pub async fn run(mut self) {
        let mut changed = Vec::new();
        let mut stop: Option<Instant> = None;
        loop {
            self.host.changes(&mut changed);
            for (table, key, _) in changed.drain(..) {
                self.mark(table, key, true);
            }
            self.keep_time();
            self.write();
            self.show();
            let is_done = self.dirty.is_empty() && self.flying.is_none();
            if stop.is_some_and(|until| is_done || Instant::now() >= until) {
                return;
            }
            if !self.host.wake_me() {
                continue;
            }
            let (wait, has_room) = (self.wait(), self.has_room());
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(MirrorOrder::Work(work)) => work(&mut self.host),
                    Some(MirrorOrder::Stop(true)) if matches!(self.phase, Phase::Standing) => {
                        stop = Some(Instant::now() + Duration::from_secs(1));
                    }
                    Some(MirrorOrder::Stop(_)) | None => return,
                },
                Some(done) = self.done.1.recv() => self.settle(done),
                Some(told) = self.told.recv(), if has_room => self.take(told),
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// What stands in Redis of this engine while it lives.
    fn sign(&self, stands: bool) -> Sign {
        Sign { session: self.session, slot: self.settings.me, stands }
    }

    /// How long nothing is to be done if nothing happens.
    fn wait(&self) -> Duration {
        match self.phase {
            Phase::Away(until) => until.saturating_duration_since(Instant::now()).min(VIEW),
            _ => VIEW,
        }
    }

    /// A key is to be written.
    pub(super) fn mark(&mut self, table: TableId, key: KeyBytes, tell: bool) {
        *self.dirty.entry((table, key)).or_default() |= tell;
        //= LEGACY-BOUND-01
        if self.dirty.len() > DIRTY_MAX {
            self.dirty.clear();
            self.filled = None;
            self.lose("more changes wait for it than there is room for");
        }
    }

    fn keep_time(&mut self) {
        if let Phase::Away(until) = self.phase
            && Instant::now() >= until
        {
            self.session.number += 1;
            let (place, names) = (self.settings.redis.clone(), self.names.clone());
            let tell = (self.tell.clone(), self.done.0.clone());
            let before = if self.load { Before::Load } else { Before::Keep(self.filled.clone()) };
            let task = session::run(place, names, self.sign(false), before, tell);
            self.task = Some(tokio::spawn(task));
            self.phase = Phase::Coming;
        }
        if !self.status.joined && self.began.elapsed() >= JOIN {
            self.joined(false);
        }
        let silent = |other: &Other| !other.silent && other.heard.elapsed() >= SILENT;
        let gone: Vec<u8> = self.others.iter().filter(|(_, o)| silent(o)).map(|(slot, _)| *slot).collect();
        for slot in gone {
            self.forget(slot);
            if let Some(other) = self.others.get_mut(&slot) {
                other.silent = true;
            }
        }
    }

    //= LEGACY-JOIN-01
    pub(super) fn joined(&mut self, complete: bool) {
        if !self.status.joined {
            (self.status.joined, self.status.complete) = (true, complete);
            self.shown = None;
            self.host.event(Event::Joined { complete });
        }
    }

    /// Ends the connection; it is made anew after a while.
    //= LEGACY-WAIT-01
    pub(super) fn lose(&mut self, why: &str) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.write = None;
        // Whatever is not known to be written is written again.
        for (key, tell) in self.flying.take().into_iter().flatten() {
            *self.dirty.entry(key).or_default() |= tell;
        }
        if self.status.trouble.as_deref() != Some(why) {
            tracing::warn!(
                event = "OBJSYNC_REDIS_DOWN",
                redis = self.status.redis,
                "the engine's Redis cannot be used, and the engine goes on with its own tables: {why}"
            );
        }
        self.status.trouble = Some(why.to_owned());
        self.status.connected = false;
        self.shown = None;
        if !matches!(self.phase, Phase::Away(_)) {
            self.phase = Phase::Away(Instant::now() + Duration::from_millis(self.redial_ms));
            self.redial_ms = (self.redial_ms * 2).min(REDIAL_MAX_MS);
        }
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Seen(seen) => self.seen_ms = seen.unwrap_or(0),
            Told::Page(page) => self.load_page(&page),
            Told::Up { number, run, write } if number == self.session.number => {
                self.load = false;
                (self.write, self.number, self.link, self.read) = (Some(write), 0, None, 0);
                //= LEGACY-REFILL-01
                if self.filled.as_ref() == Some(&run) {
                    self.stand();
                } else {
                    self.phase = Phase::Filling(0, 0);
                }
                self.run = run;
                self.beat = Instant::now();
            }
            Told::Notes { number, notes } if number == self.session.number => {
                for (id, note) in notes {
                    self.read += 1;
                    self.last_read = id;
                    if !self.hear(&note) {
                        return;
                    }
                }
            }
            _ => {}
        }
    }

    fn settle(&mut self, done: Done) {
        match done {
            Done::Written { number } if number == self.session.number => self.flying = None,
            Done::Down { number, why } if number == self.session.number => self.lose(&why),
            _ => {}
        }
    }

    /// Whether what others say may be read on: all of it is to be written, too.
    fn has_room(&self) -> bool {
        self.dirty.len() < DIRTY_MAX / 2 || matches!(self.phase, Phase::Away(_) | Phase::Coming)
    }

    /// All entries are in Redis: the others may read them.
    fn stand(&mut self) {
        self.filled = Some(self.run.clone());
        self.phase = Phase::Standing;
        self.beat = Instant::now();
        self.redial_ms = REDIAL_MS;
        self.status.sessions += 1;
        self.status.connected = true;
        self.status.trouble = None;
        self.shown = None;
        tracing::info!(
            event = "OBJSYNC_REDIS_UP",
            redis = self.status.redis,
            "the engine's Redis has all its entries"
        );
    }

    /// Writes the next few entries, if those before are written.
    fn write(&mut self) {
        if self.flying.is_some() || self.write.is_none() {
            return;
        }
        if self.dirty.is_empty() {
            self.fill();
        }
        let (mut commands, mut count) = (Vec::new(), 0);
        let mut say = |words: &[&[u8]]| {
            command(&mut commands, words);
            count += 1;
        };
        let now = Instant::now();
        let asks = now >= self.beat;
        if asks {
            self.beat = now + BEAT;
            say(&[b"GET", &self.names.session]);
            let sign = self.sign(matches!(self.phase, Phase::Standing));
            say(&[b"SET", &self.names.session, &sign.bytes(), b"PX", SILENT_MS]);
            say(&[b"SET", &self.names.seen, unix_ms().to_string().as_bytes()]);
        }
        if self.read >= TRIM_NOTES {
            self.read = 0;
            say(&[b"XTRIM", &self.names.inbox, b"MINID", &self.last_read]);
        }
        for name in self.garbage.drain(..self.garbage.len().min(WRITE_MAX)) {
            say(&[b"DEL", &name]);
        }
        let mut flying = BTreeMap::new();
        while flying.len() < WRITE_MAX
            && let Some((key, tell)) = self.dirty.pop_first()
        {
            flying.insert(key, tell);
        }
        let closed = self.closed.split_off(self.closed.len().saturating_sub(WRITE_MAX));
        let body =
            if flying.len() + closed.len() == 0 { None } else { self.words(&flying, closed, &mut say) };
        if let Some(body) = body {
            self.number += 1;
            let note = Note {
                kind: Kind::Entries,
                from: self.settings.me,
                session: self.session,
                link: 0,
                number: self.number,
                body: &body,
            };
            // Behind the entries, so that who reads it and then all entries misses nothing.
            say(&[b"XADD", &self.names.outbox, b"MAXLEN", b"~", OUTBOX_NOTES, b"*", b"m", &note.bytes()]);
        }
        if count > 0 {
            self.flying = Some(flying);
            let sent = self.write.as_ref().map(|write| write.try_send(Batch { commands, count, asks }));
            debug_assert!(sent.is_some(), "there is one at a time");
        }
    }

    /// Puts entries into words; gives what the others are to be told.
    fn words(
        &mut self,
        keys: &BTreeMap<(TableId, KeyBytes), bool>,
        closed: Vec<(u64, Entry)>,
        say: &mut impl FnMut(&[&[u8]]),
    ) -> Option<Vec<u8>> {
        let now = self.host.now();
        let shards = self.host.tables();
        let geometry = shards.geometry();
        let mut packers: BTreeMap<u64, Packer> = BTreeMap::new();
        for ((id, bytes), tell) in keys {
            let Some(table) = shards.tables().iter().find(|table| table.id == *id).map(|table| table.name)
            else {
                continue;
            };
            let key = shards.catalog().key(*id, *bytes);
            let view = shards.with(geometry.route(&key), |partition, catalog| {
                let view = partition.entry(catalog, &key, now)?;
                Some((statement(catalog, &view)?, view.left_ms))
            });
            let name = self.names.entry(table, bytes);
            let Some((entry, left)) = view else {
                say(&[b"DEL", &name]);
                continue;
            };
            let mut packer = Packer::new(table);
            packer.push(entry);
            let frame = Frame::Changes(Head::default(), vec![packer.pack()]).encode();
            let value = value(left, &frame);
            match left {
                Some(left) => say(&[b"SET", &name, &value, b"PX", left.max(1).to_string().as_bytes()]),
                None => say(&[b"SET", &name, &value]),
            }
            if *tell {
                packers.entry(table).or_insert_with(|| Packer::new(table)).push(entry);
                self.status.told += 1;
            }
        }
        for (table, entry) in closed {
            packers.entry(table).or_insert_with(|| Packer::new(table)).push(entry);
            self.status.told += 1;
        }
        if packers.is_empty() {
            return None;
        }
        let packs = packers.values().map(Packer::pack).collect();
        let mut body = 0_u32.to_le_bytes().to_vec();
        body.extend_from_slice(&Frame::Changes(Head::default(), packs).encode());
        Some(body)
    }

    /// The next entries of those that are all to be written.
    fn fill(&mut self) {
        let Phase::Filling(mut partition, mut bucket) = self.phase else { return };
        let now = self.host.now();
        let shards = self.host.tables();
        let geometry = shards.geometry();
        while self.dirty.len() < WRITE_MAX {
            if partition >= geometry.partitions() {
                return self.stand();
            }
            let end = bucket.saturating_add(SLICE_BUCKETS);
            let shards = self.host.tables();
            let dirty = &mut self.dirty;
            shards.with(partition, |shelf, catalog| {
                dirty.extend(
                    shelf.entries(catalog, bucket..end, now).map(|view| ((view.table, view.key), false)),
                );
            });
            (partition, bucket) =
                if end >= geometry.buckets() { (partition + 1, 0) } else { (partition, end) };
            self.phase = Phase::Filling(partition, bucket);
        }
    }

    fn show(&mut self) {
        if self.shown.is_some_and(|at| at.elapsed() < VIEW) {
            return;
        }
        self.shown = Some(Instant::now());
        self.status.waiting = (self.dirty.len() + self.flying.as_ref().map_or(0, BTreeMap::len)) as u64;
        self.status.others = self.others.iter().filter(|(_, o)| !o.silent).map(|(slot, _)| *slot).collect();
        self.status.busy_us = self.host.cpu_us();
        self.view.set(self.status.clone());
    }
}

pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

//! The thread of object sync.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, anyhow};
use forebay_core::hash;
use forebay_core::table::{EngineSlot, GroupMillis, Hasher, KeyBytes, TableId};
use forebay_core::units::Now;
use forebay_objsync::{Bounds, Engine, Event, Input, PeerFigures, Settings as EngineSettings};
use forebay_objsync_tokio::{
    Catalogue, Command, Differences, Driver, Handle, Host, PeerStatus, Settings, Table, Verified, View,
    cannot_listen, open_ports,
};
use forebay_snapshot::Objsync;
use tokio::sync::oneshot;

use super::differences;
use super::settings::{Secrets, secrets};
use crate::metrics::{MemberView, ObjsyncView};
use crate::persist::{SharedTables, Store};
use crate::rt::clock;

/// Tables, clock and ears of this process.
pub struct Here {
    pub(super) tables: SharedTables,
    pub(super) hear: Arc<dyn Fn(Event) + Send + std::marker::Sync>,
}

impl Host for Here {
    type Tables = SharedTables;

    fn tables(&mut self) -> &mut SharedTables {
        &mut self.tables
    }

    fn now(&self) -> Now {
        clock::now()
    }

    fn cpu_us(&self) -> u64 {
        clock::thread_cpu_us()
    }

    fn changes(&mut self, taken: &mut Vec<(TableId, KeyBytes, Option<u64>)>) {
        self.tables.store().take_changes(clock::now(), taken);
    }

    fn wake_me(&mut self) -> bool {
        self.tables.store().wake_at_change()
    }

    fn gather(&mut self) -> bool {
        self.tables.store().gather_changes()
    }

    fn group_time(&mut self, time: GroupMillis, now: Now) {
        self.tables.store().set_group_time(time, now);
    }

    fn acknowledged(&mut self, ticket: u64, _by: EngineSlot) {
        self.tables.store().acknowledged(ticket);
    }

    fn connected(&mut self, peers: usize) {
        self.tables.store().set_peers(peers);
    }

    fn kept(&self) -> Vec<Table> {
        self.tables.store().kept()
    }

    fn catalogue(&self) -> Catalogue {
        self.tables.store().catalogue()
    }

    fn differ(&mut self, slot: EngineSlot, how: &Differences) {
        differences::say(slot, how, self.tables.store());
    }

    fn event(&mut self, event: Event) {
        say(event);
        (self.hear)(event);
    }
}

/// Object sync, while it runs.
pub struct Sync {
    handle: Handle<Here>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Connections that were said to need open ports.
    said: Mutex<Ports>,
    /// What is made of the group's secret.
    proof: u64,
    /// The thread has panicked.
    failed: Arc<AtomicBool>,
}

/// How far the members are with the changes of this engine.
#[derive(Clone, Debug)]
pub struct Reached {
    /// How often this engine has changed each table.
    pub own: BTreeMap<TableId, u64>,
    /// Up to which of those changes each other member is known to be.
    pub others: Vec<(EngineSlot, BTreeMap<TableId, u64>)>,
}

/// Pause between two looks whether all has been brought.
const LOOK_EVERY: Duration = Duration::from_millis(5);

fn gone() -> String {
    "object sync has ended; start the engine anew".to_owned()
}

/// Begins to share the tables; below `floor` the group's time cannot be; no protocol beyond `newest` is spoken; `hear` is
/// called on that thread for what happens.
///
/// # Errors
/// The management address cannot be listened on, or there can be no more threads.
pub fn start(
    settings: Settings,
    secrets: &Secrets,
    store: Arc<Store>,
    floor: GroupMillis,
    newest: Option<u16>,
    hear: Arc<dyn Fn(Event) + Send + std::marker::Sync>,
) -> anyhow::Result<Sync> {
    let said = say_ports(&settings, &[]);
    let feed = Arc::clone(&store);
    let tables = SharedTables::of(store).context("the tables were made for this engine alone")?;
    let mut engine = Engine::new(engine_settings(&settings, secrets, floor), clock::now());
    if let Some(newest) = newest {
        engine.speak_up_to(newest);
    }
    let (tell, told) = mpsc::channel();
    let failed = Arc::new(AtomicBool::new(false));
    let (mark, alone, heard) = (Arc::clone(&failed), Arc::clone(&feed), Arc::clone(&hear));
    let body = move || {
        if !ends_well(|| run(settings, engine, Here { tables, hear }, &tell), &mark) {
            // What was waited for does not come any more.
            alone.stand_alone(clock::now);
            heard(Event::Joined { complete: false });
        }
    };
    let thread = std::thread::Builder::new()
        .name("forebay-sync".to_owned())
        .spawn(body)
        .context("the thread of object sync cannot be started")?;
    let handle = told.recv().context("the thread of object sync has ended")??;
    feed.share_changes(Arc::clone(&handle.waker));
    (handle.waker)();
    Ok(Sync {
        handle,
        thread: Mutex::new(Some(thread)),
        said: Mutex::new(said),
        proof: secrets.proof,
        failed,
    })
}

fn run(settings: Settings, engine: Engine, here: Here, tell: &mpsc::Sender<anyhow::Result<Handle<Here>>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = tell.send(Err(anyhow!("the runtime of object sync cannot be made: {error}")));
            return;
        }
    };
    runtime.block_on(async {
        let listen = settings.listen;
        match Driver::new(settings, engine, here) {
            Ok((driver, handle)) => {
                let _ = tell.send(Ok(handle));
                driver.run().await;
            }
            Err(error) => {
                let _ = tell.send(Err(anyhow!(cannot_listen(listen, &error))));
            }
        }
    });
}

fn engine_settings(settings: &Settings, secrets: &Secrets, floor: GroupMillis) -> EngineSettings {
    EngineSettings {
        me: settings.me,
        boot: incarnation(),
        group: secrets.proof,
        sums: Hasher::new(secrets.sums),
        members: settings.mask(),
        readers: settings.readers(),
        wall: Store::wall_time().max(floor),
        floor,
        bounds: Bounds::default(),
    }
}

/// Runs object sync; `false`: it panicked, which is said and marked.
//= SYNC-PANIC-01
pub(super) fn ends_well(body: impl FnOnce(), failed: &AtomicBool) -> bool {
    // Whatever is left of it is used by nobody.
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    if ended.is_err() {
        failed.store(true, Ordering::Release);
        tracing::error!(
            event = "OBJSYNC_FAILED",
            "object sync has panicked: the engine serves on and shares its tables with nobody; start it anew, and report \
             the panic"
        );
    }
    ended.is_ok()
}

/// A number that no earlier start of this slot had: the wall clock, mixed with chance in case that was turned back.
pub(super) fn incarnation() -> u64 {
    use std::hash::{BuildHasher, Hasher as _};
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let drawn = std::hash::RandomState::new().build_hasher().finish();
    hash::fixed64(&[since.as_nanos().to_le_bytes().as_slice(), &drawn.to_le_bytes()].concat())
}

impl Sync {
    /// What is known of the group.
    pub fn view(&self) -> &View {
        &self.handle.view
    }

    /// What the metrics page shows of it.
    pub fn metrics(&self, has_joined: bool) -> ObjsyncView {
        let now = clock::now();
        let has_failed = self.has_failed();
        let member = |peer: &PeerStatus| MemberView {
            slot: peer.slot.get(),
            figures: last_words(peer.figures.unwrap_or_default(), has_failed),
            connections: peer.connections,
            queued: peer.queued as u64,
            too_slow: peer.too_slow,
            tables_differ: peer.differs.count(),
            now,
        };
        ObjsyncView {
            has_joined,
            has_failed,
            figures: self.view().status().figures,
            busy_us: self.view().status().busy_us,
            refused: self.view().refusals.counts().to_vec(),
            members: self.view().status().peers.iter().map(member).collect(),
        }
    }

    /// Compares with every other member now; what came of it, by member.
    ///
    /// # Errors
    /// Object sync has ended.
    pub async fn verify(&self) -> Result<Vec<Verified>, String> {
        let (answer, answered) = oneshot::channel();
        self.handle.commands.send(Command::Verify(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }

    /// How often this engine has changed each table, and up to which of those changes each other member is.
    ///
    /// # Errors
    /// Object sync has ended.
    pub async fn reached(&self) -> Result<Reached, String> {
        let slots = self.members();
        let (answer, answered) = oneshot::channel();
        let work = move |engine: &mut Engine, _: &mut Here, _| {
            let own: BTreeMap<TableId, u64> = engine.versions().collect();
            let of =
                |slot: EngineSlot| own.keys().map(|table| (*table, engine.reached(slot, *table))).collect();
            let others = slots.iter().map(|slot| (*slot, of(*slot))).collect();
            // Who asked may have gone.
            let _ = answer.send(Reached { own, others });
            Vec::new()
        };
        self.handle.commands.send(Command::Work(Box::new(work))).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }

    /// The other members; those that only read are nobody to wait for.
    fn members(&self) -> Vec<EngineSlot> {
        let members = self.view().status().peers.into_iter().filter(|peer| !peer.reads);
        members.map(|peer| peer.slot).collect()
    }

    /// The thread has panicked: nothing is shared any more.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Makes it panic, to see what comes of it.
    ///
    /// # Errors
    /// Object sync has ended.
    pub async fn fail(&self) -> Result<(), String> {
        let work = |_: &mut Engine, _: &mut Here, _| panic!("asked for by a test");
        self.handle.commands.send(Command::Work(Box::new(work))).await.map_err(|_| gone())
    }

    /// Speaks to the driver.
    pub fn handle(&self) -> &Handle<Here> {
        &self.handle
    }

    /// Other settings. Nothing has changed if they cannot be had.
    ///
    /// # Errors
    /// Why not, with the remedy.
    pub async fn change(&self, settings: Settings) -> Result<(), String> {
        let ports = settings.clone();
        let (answer, answered) = oneshot::channel();
        let told = self.handle.commands.send(Command::Settings(Box::new(settings), answer)).await;
        told.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())??;
        // Nobody is to open a port for what was refused.
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        *said = say_ports(&ports, &said);
        Ok(())
    }

    /// Whether a file still holds the secret with which the engine has begun.
    ///
    /// # Errors
    /// It does not, or it cannot be read; with the remedy.
    //= SYNC-SECRET-01
    pub fn has_secret_of(objsync: &Objsync, proof: u64) -> Result<(), String> {
        if secrets(objsync)?.proof == proof {
            return Ok(());
        }
        Err("objsync.secret_file: it holds another secret than at the start, and the secret cannot change while the engine \
             runs; write it as it was, or start the engines of the group anew"
            .to_owned())
    }

    /// What was made of the group's secret at the start.
    pub fn proof(&self) -> u64 {
        self.proof
    }

    /// Compares with every other member as at the start: there are tables here that there were not. Returns when that has
    /// begun; [`Sync::is_synced`] tells when it is done.
    ///
    /// # Errors
    /// Object sync has ended.
    pub async fn renew(&self) -> Result<(), String> {
        let (begun, has_begun) = oneshot::channel();
        let work = move |engine: &mut Engine, here: &mut Here, now| {
            let out = engine.handle(Input::Renewed, &mut here.tables, now);
            // Who asked may have gone.
            let _ = begun.send(());
            out
        };
        self.handle.commands.send(Command::Work(Box::new(work))).await.map_err(|_| gone())?;
        has_begun.await.map_err(|_| gone())
    }

    /// The entries of tables that are new here, and that no other member has, are brought from the Controller's mirror, if it has
    /// some; that takes two seconds at most, and next to nothing where that one is not there.
    //= SYNC-MIRROR-03
    pub async fn bring(&self) {
        let (begun, has_begun) = oneshot::channel();
        let told = self.handle.commands.send(Command::Bring(begun)).await;
        if told.is_err() || has_begun.await.is_err() {
            return;
        }
        while self.view().asks() && !self.has_failed() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Says whether all that every member had when the comparison began is here, of those that are connected.
    ///
    /// # Errors
    /// Object sync has ended.
    pub async fn is_synced(&self) -> Result<bool, String> {
        if self.view().asks() {
            return Ok(false);
        }
        let slots = self.members();
        let (answer, answered) = oneshot::channel();
        let work = move |engine: &mut Engine, _: &mut Here, _| {
            let is_behind =
                |slot: &EngineSlot| engine.peer(*slot).is_some_and(|peer| peer.connected && !peer.synced);
            let _ = answer.send(!slots.iter().any(is_behind));
            Vec::new()
        };
        self.handle.commands.send(Command::Work(Box::new(work))).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }

    /// The tables are those of another configuration now.
    pub async fn follow(&self, store: Arc<Store>) {
        let Some(tables) = SharedTables::of(store) else { return };
        let work = move |_: &mut Engine, here: &mut Here, _| {
            here.tables = tables;
            Vec::new()
        };
        // Where the driver has ended there is nothing to follow.
        let _ = self.handle.commands.send(Command::Work(Box::new(work))).await;
    }

    /// Ends all connections, within `limit`.
    pub fn stop(&self, limit: Duration) {
        let _ = self.handle.commands.try_send(Command::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let until = Instant::now() + limit;
        if let Some(thread) = thread {
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// What is shown of a member: when the thread has failed, none is connected, whatever was known last.
pub fn last_words(figures: PeerFigures, has_failed: bool) -> PeerFigures {
    if has_failed {
        PeerFigures { connected: false, synced: false, proven: None, ..figures }
    } else {
        figures
    }
}

/// From where to where connections go.
type Ports = Vec<(IpAddr, SocketAddr)>;

/// Which connections a firewall must let through, but for those that were `said` before.
//= SYNC-RELOAD-01
fn say_ports(settings: &Settings, said: &[(IpAddr, SocketAddr)]) -> Ports {
    let ports = open_ports(settings);
    for (from, to) in ports.iter().filter(|one| !said.contains(one)) {
        tracing::info!(
            event = "OBJSYNC_PORT",
            %from,
            %to,
            "object sync needs TCP connections from {from} to {to}: the port must be open between these addresses"
        );
    }
    ports
}

fn say(event: Event) {
    match event {
        Event::Joined { complete: true } => {
            tracing::info!(event = "OBJSYNC_JOINED", complete = true, "the tables are complete");
        }
        Event::Joined { complete: false } => tracing::warn!(
            event = "OBJSYNC_JOINED",
            complete = false,
            "not every member was heard of in time: the engine serves without what only they know"
        ),
        Event::Stepped(slot, by_ms) => tracing::warn!(
            event = "OBJSYNC_TIME_STEPPED",
            slot = slot.get(),
            by_ms,
            "a member's clock moved the group's time; look at the clocks of its machines"
        ),
        Event::Ahead(slot, by_ms) => tracing::warn!(
            event = "OBJSYNC_CLOCK_AHEAD",
            slot = slot.get(),
            by_ms,
            "a member's clock is more than an hour ahead of the group's time and it is not heard until it agrees; set the \
             clock of its machine and restart it if it stays away"
        ),
        Event::WentBack(by_ms) => tracing::warn!(
            event = "OBJSYNC_TIME_WENT_BACK",
            by_ms,
            "members are far behind this engine, which takes their time; look at the clocks of its machines and of this one"
        ),
        Event::Distrusted { table, bucket } => tracing::error!(
            event = "OBJSYNC_DISTRUSTED",
            table,
            bucket,
            "entries in memory are not what was written: they are loaded anew from the other members; have the memory of \
             this machine checked"
        ),
        Event::Cleared(slot) => tracing::info!(
            event = "OBJSYNC_CLEARED",
            slot = slot.get(),
            "who had this slot is no member any more; nothing counts as open on it here"
        ),
        Event::Overflowed(slot) => tracing::warn!(
            event = "OBJSYNC_OVERFLOWED",
            slot = slot.get(),
            "more changes wait for a member than there is room for; the tables are compared with it anew"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test SYNC-PANIC-01
    #[test]
    fn a_panic_of_object_sync_is_noticed_and_nobody_counts_as_connected() {
        let failed = AtomicBool::new(false);
        assert!(ends_well(|| {}, &failed) && !failed.load(Ordering::Acquire));
        let figures = PeerFigures { connected: true, synced: true, ..Default::default() };
        assert_eq!(last_words(figures, false), figures);
        assert!(!ends_well(|| panic!("for the test"), &failed) && failed.load(Ordering::Acquire));
        let shown = last_words(figures, true);
        assert!(!shown.connected && !shown.synced);
    }
}

//! What the control thread knows, for the pages and answers that show it.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::watch;

use super::names::Book;
use super::reload::Reloads;
use super::takeovers::Takeovers;
use super::{Running, ShutdownFlag};
use crate::config::{HealthState, Tree};
use crate::control::Tables;
use crate::limits::READY_PATIENCE_MS;
use crate::limits::sizes::Sizes;
use crate::log::{LogCounts, Telling, Writer};
use crate::metrics::page::{Supervised, TableView, View};
use crate::metrics::{Process, WorkerMetrics};
use crate::sync::redis::Redis;
use crate::sync::{Sharing, Sync};

/// What the control thread knows. Workers never touch it.
pub struct State {
    running: watch::Sender<Arc<Running>>,
    /// Earlier configurations by which requests may still work, the newest first.
    earlier: Mutex<Vec<Weak<Tree>>>,
    /// What became of attempts to load a configuration.
    pub reloads: Reloads,
    /// What became of take-overs.
    pub takeovers: Takeovers,
    /// Where the host names of servers lead.
    pub names: Arc<Book>,
    /// Every worker's counters.
    pub workers: Vec<Arc<WorkerMetrics>>,
    /// What the process may use.
    pub sizes: Sizes,
    /// How far the stop has come.
    pub shutdown: Arc<ShutdownFlag>,
    /// The access log's writer; `None`: the log is off.
    pub log: Option<Arc<Writer>>,
    /// What the Controller is told of requests; `None`: the engine is led by none.
    pub telling: Option<Arc<Telling>>,
    supervised: Mutex<Vec<Supervised>>,
    started: Instant,
    started_unix_s: u64,
    ready: AtomicBool,
    /// The process that serves in this one's place, as this one's namespace numbers it (0: it does not know).
    given: watch::Sender<Option<i32>>,
    /// How the tables are shared, if they are.
    sharing: Mutex<Option<Sharing>>,
    /// The latest protocol of object sync that is spoken, where a test wants an earlier one than there is; else 0.
    protocol_max: AtomicU16,
    /// The tables are complete, or were waited for long enough.
    joined: watch::Sender<bool>,
    /// Who waits for an answer that an upgrade holds up.
    waits: AtomicUsize,
    /// Held by who has asked for an upgrade: one at a time.
    pub(super) upgrading: tokio::sync::Mutex<()>,
}

/// Somebody waits for an answer that an upgrade holds up, as long as this lives.
pub(super) struct Waits<'s>(&'s AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl State {
    /// The state at the start.
    pub fn new(
        running: Running,
        workers: Vec<Arc<WorkerMetrics>>,
        sizes: Sizes,
        log: Option<Arc<Writer>>,
        names: Arc<Book>,
    ) -> Self {
        let now = crate::health::unix_s();
        let is_alone = !running.tree.objsync.is_on();
        Self {
            supervised: Mutex::new(vec![Supervised::default(); workers.len()]),
            shutdown: Arc::default(),
            running: watch::Sender::new(Arc::new(running)),
            earlier: Mutex::default(),
            reloads: Reloads::new(now),
            takeovers: Takeovers::default(),
            names,
            workers,
            sizes,
            log,
            telling: None,
            started: Instant::now(),
            started_unix_s: now,
            ready: AtomicBool::new(false),
            given: watch::Sender::new(None),
            sharing: Mutex::default(),
            protocol_max: AtomicU16::new(0),
            joined: watch::Sender::new(is_alone),
            waits: AtomicUsize::new(0),
            upgrading: tokio::sync::Mutex::default(),
        }
    }

    /// With a Controller that is told of requests.
    #[must_use]
    pub fn that_tells(mut self) -> Self {
        self.telling = Some(Arc::default());
        self
    }

    /// A Controller leads it, which gives each engine of a group services of its own.
    pub fn is_led(&self) -> bool {
        self.telling.is_some()
    }

    /// The configuration, with what was made for it.
    pub fn running(&self) -> Arc<Running> {
        Arc::clone(&self.running.borrow())
    }

    /// Tells of every configuration that takes the place of the one before.
    pub fn follow(&self) -> watch::Receiver<Arc<Running>> {
        self.running.subscribe()
    }

    /// The configuration.
    pub fn tree(&self) -> Arc<Tree> {
        Arc::clone(&self.running.borrow().tree)
    }

    /// The persistence tables.
    pub fn tables(&self) -> Arc<dyn Tables> {
        Arc::clone(&self.running.borrow().store) as Arc<dyn Tables>
    }

    /// All configurations by which requests may still work, the current one first.
    pub fn living(&self) -> Vec<Arc<Tree>> {
        let earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(self.tree()).chain(earlier.iter().filter_map(Weak::upgrade)).collect()
    }

    /// Makes a configuration the current one.
    pub fn set_running(&self, running: Arc<Running>) {
        let before = self.running.send_replace(running);
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        earlier.retain(|tree| tree.strong_count() > 0);
        earlier.insert(0, Arc::downgrade(&before.tree));
    }

    /// Closes what a worker had open that has panicked.
    pub fn settle_after_panic(&self, worker: usize) {
        self.workers[worker].settle_after_panic();
        for tree in self.living() {
            tree.settle_after_panic(worker);
        }
    }

    /// What the supervisor knows of each worker.
    pub fn supervised(&self) -> MutexGuard<'_, Vec<Supervised>> {
        // Counters and a flag: half an update can still be shown.
        self.supervised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every server's monitors have said something, or had time enough to: an engine that is ready knows
    /// where to send the first request.
    //= OBS-WEB-02
    pub fn health_is_known(&self) -> bool {
        self.uptime_ms() > READY_PATIENCE_MS
            || self.tree().servers().all(|(_, server)| {
                let report = server.shared.report();
                report.state != HealthState::Checking || report.probes_failed + report.probes_maintenance > 0
            })
    }

    /// Says that every worker has its sockets and the servers' health is known.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Says that another process serves in this one's place.
    pub fn set_given(&self, successor: i32) {
        self.given.send_replace(Some(successor));
    }

    /// Notes that somebody waits for an answer that an upgrade holds up.
    pub(super) fn wait_for_successor(&self) -> Waits<'_> {
        self.waits.fetch_add(1, Ordering::AcqRel);
        Waits(&self.waits)
    }

    /// Whether somebody waits for an answer that an upgrade holds up.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waits.load(Ordering::Acquire) > 0
    }

    /// Whether another process serves in this one's place.
    pub fn is_given(&self) -> bool {
        self.given.borrow().is_some()
    }

    /// The process that serves in this one's place, once one does (0: its number is not known here).
    pub(super) fn successor(&self) -> Option<i32> {
        *self.given.borrow()
    }

    /// Waits until another process serves in this one's place, and gives its number.
    pub(super) async fn until_given(&self) -> i32 {
        let mut given = self.given.subscribe();
        match given.wait_for(Option::is_some).await.map(|pid| *pid) {
            Ok(Some(pid)) => pid,
            // The sender lives as long as this.
            _ => std::future::pending().await,
        }
    }

    /// Whether it takes traffic, or another process does in its place: started, health known, not stopping.
    pub fn is_ready(&self) -> bool {
        let serves = self.shutdown.stage() == super::ShutdownStage::Running || self.is_given();
        self.ready.load(Ordering::Acquire) && self.has_joined() && serves
    }

    /// How the tables are shared, if they are.
    pub fn sharing(&self) -> Option<Sharing> {
        self.sharing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The tables are shared so from now on.
    pub(super) fn set_sharing(&self, sharing: Sharing) {
        *self.sharing.lock().unwrap_or_else(PoisonError::into_inner) = Some(sharing);
    }

    /// Object sync, if engines speak to one another.
    pub fn sync(&self) -> Option<Arc<Sync>> {
        match self.sharing()? {
            Sharing::Members(sync) => Some(sync),
            Sharing::Redis(_) => None,
        }
    }

    /// The Redis by way of which the tables are shared, if they are.
    pub fn redis(&self) -> Option<Arc<Redis>> {
        match self.sharing()? {
            Sharing::Members(_) => None,
            Sharing::Redis(redis) => Some(redis),
        }
    }

    /// The latest protocol of object sync that is to be spoken, where it is not the latest that there is.
    pub(super) fn protocol_max(&self) -> Option<u16> {
        Some(self.protocol_max.load(Ordering::Relaxed)).filter(|newest| *newest > 0)
    }

    /// For tests: no later protocol of object sync is spoken from the next start of it on.
    pub(super) fn set_protocol_max(&self, newest: Option<u16>) {
        self.protocol_max.store(newest.unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether the tables are complete, or shared with nobody, or were waited for long enough.
    pub fn has_joined(&self) -> bool {
        *self.joined.borrow()
    }

    /// Says that the tables are complete, or were waited for long enough.
    pub(super) fn set_joined(&self) {
        self.joined.send_replace(true);
    }

    /// Waits until then.
    pub(super) async fn until_joined(&self) {
        // The sender lives as long as this.
        let _ = self.joined.subscribe().wait_for(|joined| *joined).await;
    }

    /// Milliseconds since the start.
    pub fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When it started, in seconds since 1970.
    pub fn started_unix_s(&self) -> u64 {
        self.started_unix_s
    }

    /// What became of the access log's lines.
    pub fn log_counts(&self) -> LogCounts {
        self.log.as_ref().map(|log| log.counts()).unwrap_or_default()
    }

    /// The metrics page.
    pub fn metrics_page(&self) -> String {
        let supervised = self.supervised().clone();
        crate::metrics::page::render(&View {
            tree: &self.tree(),
            workers: &self.workers,
            supervised: &supervised,
            log: self.log_counts(),
            told: self.telling.as_ref().map(|telling| telling.counts()).unwrap_or_default(),
            process: Process::read(),
            uptime_ms: self.uptime_ms(),
            connections_max: self.sizes.connections_max,
            table: self.table_view(),
            names: self.names.view(),
            reload: self.reloads.view(self.running().number, &self.workers),
            takeover: self.takeovers.view(),
            objsync: self.sync().map(|sync| sync.metrics(self.has_joined())),
            redis: self.redis().map(|redis| redis.status()),
        })
    }

    /// The persistence tables' counts.
    pub fn table_view(&self) -> TableView {
        self.tables().view()
    }
}

//! What the control thread knows, for the pages and answers that show it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::ShutdownFlag;
use crate::config::{HealthState, Tree};
use crate::control::Tables;
use crate::limits::READY_PATIENCE_MS;
use crate::limits::sizes::Sizes;
use crate::log::{LogCounts, Writer};
use crate::metrics::page::{Supervised, TableView, View};
use crate::metrics::{Process, WorkerMetrics};

/// What the control thread knows. Workers never touch it.
pub struct State {
    tree: Arc<Tree>,
    /// Every worker's counters.
    pub workers: Vec<Arc<WorkerMetrics>>,
    /// What the process may use.
    pub sizes: Sizes,
    /// How far the stop has come.
    pub shutdown: Arc<ShutdownFlag>,
    tables: Option<Arc<dyn Tables>>,
    /// The access log's writer; `None`: the log is off.
    pub log: Option<Arc<Writer>>,
    supervised: Mutex<Vec<Supervised>>,
    started: Instant,
    started_unix_s: u64,
    ready: AtomicBool,
}

impl State {
    /// The state at the start.
    pub fn new(
        tree: Arc<Tree>,
        workers: Vec<Arc<WorkerMetrics>>,
        sizes: Sizes,
        tables: Option<Arc<dyn Tables>>,
        log: Option<Arc<Writer>>,
    ) -> Self {
        let now = crate::health::unix_s();
        Self {
            supervised: Mutex::new(vec![Supervised::default(); workers.len()]),
            shutdown: Arc::default(),
            tree,
            workers,
            sizes,
            tables,
            log,
            started: Instant::now(),
            started_unix_s: now,
            ready: AtomicBool::new(false),
        }
    }

    /// The configuration.
    pub fn tree(&self) -> Arc<Tree> {
        Arc::clone(&self.tree)
    }

    /// The persistence tables, if the workers have any.
    pub fn tables(&self) -> Option<Arc<dyn Tables>> {
        self.tables.clone()
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
                report.state != HealthState::Checking || report.probes_failed > 0
            })
    }

    /// Says that every worker has its sockets and the servers' health is known.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Whether it takes traffic: started, health known, not stopping.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && self.shutdown.stage() == super::ShutdownStage::Running
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
            process: Process::read(),
            uptime_ms: self.uptime_ms(),
            connections_max: self.sizes.connections_max,
            table: self.table_view(),
        })
    }

    /// The persistence tables' counts.
    pub fn table_view(&self) -> Option<TableView> {
        self.tables().map(|tables| tables.view())
    }
}

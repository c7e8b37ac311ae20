//! What a worker is given when it starts, and how it speaks to the control thread.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::mpsc::Sender;

use super::mailbox::MailboxReceiver;
use crate::config::{ServiceIndex, Tree};
use crate::log::Sink;
use crate::metrics::WorkerMetrics;

/// All that a worker needs; it starts with nothing else, so a worker that panicked can be started anew.
pub struct WorkerSeat {
    /// The worker's number, from 0.
    pub index: usize,
    /// The configuration.
    pub tree: Arc<Tree>,
    /// Listening sockets: duplicates of the supervisor's, non-blocking.
    pub listeners: Vec<SeatListener>,
    /// The worker's counters; this worker is their only writer.
    pub metrics: Arc<WorkerMetrics>,
    /// Where access records go.
    pub log: Sink,
    /// Messages from the control thread.
    pub mailbox: MailboxReceiver,
    /// Whether the engine is stopping.
    pub shutdown: Arc<ShutdownFlag>,
    /// How traffic with servers went.
    pub reports: Reports,
    /// Client connections that this worker may hold at the same time.
    pub connections_max: usize,
}

/// A listening socket of a worker.
#[derive(Debug)]
pub struct SeatListener {
    /// The address.
    pub address: SocketAddr,
    /// The service behind it.
    pub service: ServiceIndex,
    /// The socket.
    pub socket: TcpListener,
}

/// How far the engine's stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ShutdownStage {
    /// It runs.
    Running = 0,
    /// No new connections; requests under way end; kept connections close after their answer.
    Draining = 1,
    /// Everything ends now.
    Now = 2,
}

/// How far the engine's stop has come; written by the control thread.
#[derive(Debug, Default)]
pub struct ShutdownFlag(AtomicU8);

impl ShutdownFlag {
    /// How far it has come.
    pub fn stage(&self) -> ShutdownStage {
        match self.0.load(Ordering::Acquire) {
            0 => ShutdownStage::Running,
            1 => ShutdownStage::Draining,
            _ => ShutdownStage::Now,
        }
    }

    /// Moves on to `stage`; never back.
    pub fn raise(&self, stage: ShutdownStage) {
        self.0.fetch_max(stage as u8, Ordering::AcqRel);
    }
}

/// How one request or connection to a server went, for the passive monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// [`Server::slot`](crate::config::Server::slot).
    pub slot: usize,
    /// Whether it counts as a failure: refused, reset, timed out, garbled or answered with a 5xx of the server's own.
    pub failed: bool,
}

/// Where a worker leaves its reports.
#[derive(Clone, Debug)]
pub struct Reports(Sender<Report>);

impl Reports {
    /// Wraps the sending end; the control thread holds the other one.
    pub fn new(sender: Sender<Report>) -> Self {
        Self(sender)
    }

    /// Leaves a report; never waits.
    ///
    /// Successes need reporting only after a failure of the same server (at most one for each failure), so that
    /// the channel stays quiet while all is well.
    ///
    /// # Errors
    /// The report comes back when the channel is full: count it in
    /// [`WorkerMetrics::reports_dropped`](crate::metrics::WorkerMetrics::reports_dropped).
    pub fn send(&self, report: Report) -> Result<(), Report> {
        self.0.try_send(report).map_err(|error| error.into_inner())
    }
}

//! What a worker is given when it starts, and how it speaks to the control thread.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::Running;
use super::alone::Claim;
use super::mailbox::MailboxReceiver;
use crate::config::{ServiceIndex, Transport};
use crate::log::Sink;
use crate::metrics::WorkerMetrics;

/// All that a worker needs; it starts with nothing else, so a worker that panicked can be started anew.
pub struct WorkerSeat {
    /// The worker's number, from 0.
    pub index: usize,
    /// The configuration.
    pub running: Arc<Running>,
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
    /// Client connections that this worker may hold at the same time.
    pub connections_max: usize,
    /// File descriptors that its connections, those to servers included, may have in all.
    pub descriptors_max: usize,
}

/// A listening socket of a worker.
#[derive(Debug)]
pub struct SeatListener {
    /// The address.
    pub address: SocketAddr,
    /// The service behind it.
    pub service: ServiceIndex,
    /// The socket.
    pub socket: ListenSocket,
    /// That nobody else may listen there; `None`: others may.
    pub claim: Option<Claim>,
}

/// A socket that clients come in by.
#[derive(Debug)]
pub enum ListenSocket {
    /// One that accepts connections.
    Stream(TcpListener),
    /// One that takes datagrams.
    Datagrams(UdpSocket),
}

impl ListenSocket {
    /// What comes there.
    pub fn transport(&self) -> Transport {
        match self {
            Self::Stream(_) => Transport::Stream,
            Self::Datagrams(_) => Transport::Datagrams,
        }
    }

    /// The one that accepts connections, if it does.
    pub fn stream(&self) -> Option<&TcpListener> {
        match self {
            Self::Stream(socket) => Some(socket),
            Self::Datagrams(_) => None,
        }
    }

    /// Duplicates it.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Stream(socket) => socket.try_clone().map(Self::Stream),
            Self::Datagrams(socket) => socket.try_clone().map(Self::Datagrams),
        }
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stream(socket) => socket.as_fd(),
            Self::Datagrams(socket) => socket.as_fd(),
        }
    }
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

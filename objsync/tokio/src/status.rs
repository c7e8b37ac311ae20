//! What is known of the group, for those who show it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use forebay_core::table::EngineSlot;
use forebay_objsync::{Figures, PeerFigures};

use crate::Differences;

/// What the driver knows of one member.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its place.
    pub slot: EngineSlot,
    /// It only reads: nobody waits for it.
    pub reads: bool,
    /// Where it listens; of one that only reads from where it has called, if it is connected.
    pub address: Option<SocketAddr>,
    /// What the engine knows of it; `None`: it has never been heard of.
    pub figures: Option<PeerFigures>,
    /// Bytes that came from it and that were sent to it, since the start.
    pub bytes: (u64, u64),
    /// Connections with it that stood, since the start.
    pub connections: u64,
    /// Bytes that wait to be sent to it.
    pub queued: usize,
    /// Connections that were ended because too much waited for it, since the start.
    pub too_slow: u64,
    /// Why there is none, if there is none.
    pub trouble: Option<String>,
    /// How its tables differ from those here, by its last word.
    pub differs: Differences,
}

/// What is known of the group.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The engine may serve.
    pub joined: bool,
    /// When it did, all members had been compared with.
    pub complete: bool,
    /// The group's time, in milliseconds since 1970.
    pub group_ms: u64,
    /// What the engine has counted.
    pub figures: Figures,
    /// The other members, by slot.
    pub peers: Vec<PeerStatus>,
    /// Microseconds of processor time that the thread has used.
    pub busy_us: u64,
    /// Addresses that are listened on; two while members move to another one.
    pub listening: Vec<SocketAddr>,
}

/// Connections that were refused.
#[derive(Debug, Default)]
pub struct Refusals {
    /// The address is no member's.
    pub address: AtomicU64,
    /// Too many tries of one address in a second.
    pub rate: AtomicU64,
    /// Too many handshakes under way.
    pub busy: AtomicU64,
    /// The handshake failed: no certificate, one of another authority or group, an expired one, or silence.
    pub handshake: AtomicU64,
}

impl Refusals {
    /// Each reason with its count.
    pub fn counts(&self) -> [(&'static str, u64); 4] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("address", read(&self.address)),
            ("rate", read(&self.rate)),
            ("busy", read(&self.busy)),
            ("handshake", read(&self.handshake)),
        ]
    }
}

/// What others may look at while the driver runs.
#[derive(Clone, Debug, Default)]
pub struct View {
    status: Arc<Mutex<Status>>,
    /// Connections that were refused.
    pub refusals: Arc<Refusals>,
    asks: Arc<AtomicBool>,
}

impl View {
    /// As it was at most 100 ms ago.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether entries of tables that no member has are awaited from one that only reads.
    pub fn asks(&self) -> bool {
        self.asks.load(Ordering::Acquire)
    }

    pub(crate) fn set_asks(&self, asks: bool) {
        self.asks.store(asks, Ordering::Release);
    }

    pub(crate) fn set(&self, status: Status) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

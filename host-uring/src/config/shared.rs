//! What changes while a tree runs: written by few, read by every worker.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::health::ServerReport;
use crate::metrics::{PerWorker, PoolMetrics, ServerMetrics, ServiceMetrics};

/// Whether new work may go to a server, as the control thread last found.
///
/// A server switched off in the document (`enabled = false`) has a health all the same; whoever decides looks at both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HealthState {
    /// New, not yet passed by all monitors.
    Checking = 0,
    /// All monitors pass.
    Up = 1,
    /// A monitor or the traffic fails.
    Down = 2,
    /// The server says it is in maintenance.
    Maintenance = 3,
}

impl HealthState {
    /// The state's word in outputs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Checking => "checking",
            Self::Up => "up",
            Self::Down => "down",
            Self::Maintenance => "maintenance",
        }
    }

    /// The state of this number; any other is [`HealthState::Checking`].
    pub fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Up,
            2 => Self::Down,
            3 => Self::Maintenance,
            _ => Self::Checking,
        }
    }
}

/// What an operator has decided about a server while the engine runs, whatever the document says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Override {
    /// Nothing: the document counts.
    None = 0,
    /// It serves.
    Enabled = 1,
    /// As disabled in the document: it ends well, within the pool's grace.
    Draining = 2,
    /// Out at once: nothing new, also of clients that are bound to it, and what is under way is cut.
    Disabled = 3,
}

impl Override {
    /// Its word in outputs; `None`: there is none.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Enabled => Some("enabled"),
            Self::Draining => Some("draining"),
            Self::Disabled => Some("disabled"),
        }
    }

    /// The decision of this number; any other is [`Override::None`].
    pub fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Enabled,
            2 => Self::Draining,
            3 => Self::Disabled,
            _ => Self::None,
        }
    }
}

/// What changes about a server. A cache line of its own, so a write to one server costs no reader of another.
#[derive(Debug)]
#[repr(align(128))]
pub struct ServerShared {
    state: AtomicU8,
    admin_override: AtomicU8,
    /// Open connections over all workers; kept only where the pool limits them.
    open: AtomicU32,
    /// What is known of its health, for people. Workers never touch it.
    report: Mutex<ServerReport>,
    /// What the workers count for it.
    pub counts: PerWorker<ServerMetrics>,
}

impl ServerShared {
    /// A server that starts in `state`.
    pub fn new(state: HealthState) -> Self {
        Self {
            state: AtomicU8::new(state as u8),
            admin_override: AtomicU8::new(Override::None as u8),
            open: AtomicU32::new(0),
            report: Mutex::new(ServerReport::new(state)),
            counts: PerWorker::default(),
        }
    }

    /// The state as last published; a worker reads it when the pool's generation has changed.
    pub fn state(&self) -> HealthState {
        HealthState::from_u8(self.state.load(Ordering::Acquire))
    }

    /// Publishes a state. Only the control thread does, and then bumps the pool's generation.
    pub fn publish(&self, state: HealthState) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// What an operator has decided about it.
    pub fn admin_override(&self) -> Override {
        Override::from_u8(self.admin_override.load(Ordering::Acquire))
    }

    /// Sets what an operator has decided. Only the control thread does, and then bumps the pool's generation.
    pub fn set_override(&self, to: Override) {
        self.admin_override.store(to as u8, Ordering::Release);
    }

    /// What is known of its health, for people.
    pub fn report(&self) -> MutexGuard<'_, ServerReport> {
        // A report is written field by field; one half written is still one that can be shown.
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of `limit` connections; `false` if all are taken. Exact over all workers.
    pub fn try_open(&self, limit: u32) -> bool {
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < limit).then_some(open + 1))
            .is_ok()
    }

    /// Gives back what [`ServerShared::try_open`] took.
    pub fn close(&self) {
        let before = self.open.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "each close follows one successful try_open");
    }

    /// Connections taken now.
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Acquire)
    }
}

/// What changes about a pool.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct PoolShared {
    generation: AtomicU32,
    /// Requests waiting in the pool's queue, over all workers.
    queued: AtomicU32,
    /// What the workers count for it.
    pub counts: PerWorker<PoolMetrics>,
    turns: Turns,
}

/// Turns of round robin over all workers, on a cache line of its own: workers write it with every decision.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Turns(AtomicU64);

/// What changes about a virtual service.
#[derive(Debug, Default)]
pub struct ServiceShared {
    /// What the workers count for it.
    pub counts: PerWorker<ServiceMetrics>,
}

impl PoolShared {
    /// Changes whenever a server's state has changed; workers compare it once for each decision.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Tells the workers to read the servers' states again.
    pub fn bump(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes the next turn of a pool whose round robin goes over all workers.
    pub fn ticket(&self) -> u64 {
        self.turns.0.fetch_add(1, Ordering::Relaxed)
    }

    /// The turn that [`PoolShared::ticket`] gives next.
    pub fn next_ticket(&self) -> u64 {
        self.turns.0.load(Ordering::Relaxed)
    }

    /// Takes one of `depth` places in the queue; `false` if all are taken.
    pub fn try_queue(&self, depth: u32) -> bool {
        self.queued
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |queued| {
                (queued < depth).then_some(queued + 1)
            })
            .is_ok()
    }

    /// Gives back what [`PoolShared::try_queue`] took.
    pub fn leave_queue(&self) {
        let before = self.queued.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "each leave follows one successful try_queue");
    }

    /// Requests waiting now.
    pub fn queued(&self) -> u32 {
        self.queued.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_one_is_never_two_over_many_threads() {
        let server = ServerShared::new(HealthState::Up);
        let most = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if server.try_open(1) {
                            most.fetch_max(server.open(), Ordering::Relaxed);
                            server.close();
                        }
                    }
                });
            }
        });
        assert_eq!((most.load(Ordering::Relaxed), server.open()), (1, 0));
    }
}

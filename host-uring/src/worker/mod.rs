//! A worker: one thread with its own sockets, connections, buffers and counters.
//!
//! [`run`] is the thread's body. It starts an accept loop for each listening socket, a task that reads the
//! mailbox and one that keeps time, and ends when the engine stops. A panic of any task closes the
//! worker's connections and goes on to the thread's root, where the supervisor starts the worker anew.

use std::io;
use std::rc::Rc;

use crate::control::{ShutdownStage, WorkerSeat};
use crate::http::limits::DRAIN_IDLE_US;
use crate::listen::{Acceptors, Entrances};
use crate::rt::{Backend, Now, Rt, Sockets};

mod configure;
mod door;
mod generation;
mod mail;
mod make;
mod queue;
mod receipts;
mod route;
mod service;
mod slots;
mod state;
mod time;
mod underway;

pub use door::Door;
pub use generation::Generation;
pub use make::make;
pub use queue::{Place, Queue};
pub use receipts::Receipt;
pub use route::{Route, RouteServer};
pub use service::{Service, TimeOuts};
pub use state::Worker;
pub use underway::{Ticket, Underway, Why};

/// How a worker runs, for the log.
#[derive(Debug)]
pub struct Started {
    /// The kernel interface in use.
    pub backend: Backend,
    /// Why it is not io_uring, if the kernel refused that.
    pub refusal: Option<io::Error>,
}

/// What all workers of the process share.
#[derive(Clone)]
pub struct Common {
    /// How many workers there are.
    pub workers: usize,
    /// The kernel interface to use, if it is to be had.
    pub backend: Backend,
}

/// Serves until the engine stops. `started` is called once, when the worker is about to accept.
///
/// # Errors
/// The thread could not be set up: no descriptors left, or a listening socket that is none.
///
/// # Panics
/// With any task's panic, after the worker's connections were closed.
pub fn run(seat: WorkerSeat, common: Common, started: impl FnOnce(&Started)) -> io::Result<()> {
    crate::persist::sit(seat.index);
    let (rt, refusal) = Sockets::new(common.backend)?;
    let told = Started { backend: rt.backend(), refusal };
    rt.block_on(async {
        let worker = Worker::new(
            rt.clone(),
            seat.index,
            common.workers,
            &seat.running,
            seat.metrics,
            seat.log,
            seat.connections_max,
            seat.descriptors_max,
            seed(),
        );
        let entrances = Rc::new(Entrances::new(&worker));
        for listener in seat.listeners {
            entrances.start(listener, None)?;
        }
        started(&told);
        rt.spawn(mail::read(worker.clone(), entrances.clone(), seat.mailbox));
        if worker.current().store.is_shared() {
            rt.spawn(receipts::listen(worker.clone()));
        }
        time::keep(&worker, common.workers as u32, &entrances, &seat.shutdown).await;
        Ok(())
    })
}

/// Bits that differ from worker to worker and from start to start.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // The standard library's hasher is keyed by the system's random numbers.
    RandomState::new().build_hasher().finish()
}

impl<R: Rt> Worker<R> {
    /// From now on answers close their connections.
    //= SE-STOP-01
    fn begin_to_drain(&self) {
        if !self.draining.replace(true) {
            self.upstreams.close();
            self.idle_until.set(from_now(&self.rt, DRAIN_IDLE_US));
            self.parked.nudge();
        }
    }

    /// Looks at how far the engine's stop has come and acts on it; `true` when the worker is done.
    fn follow_stop(&self, acceptors: &Acceptors<R>, stage: ShutdownStage) -> bool {
        match stage {
            ShutdownStage::Running => false,
            ShutdownStage::Draining => {
                self.begin_to_drain();
                if self.rt.now() >= self.idle_until.get() {
                    self.parked.end_where(|_| true);
                }
                self.connections.get() == 0 && acceptors.are_done()
            }
            ShutdownStage::Now => true,
        }
    }
}

/// The moment `us` from now.
fn from_now<R: Rt>(rt: &R, us: u64) -> Now {
    Now(rt.now().0 + us)
}

//! What a driver needs of its host, and how it is spoken to.

use std::sync::Arc;
use std::time::Duration;

use forebay_core::table::{EngineSlot, GroupMillis, KeyBytes, TableId};
use forebay_core::units::Now;
use forebay_objsync::{Engine, Event, Output, Shards, Verdict};
use tokio::sync::{mpsc, oneshot};

use crate::{Catalogue, Differences, Settings, Table, View};

/// What is driven: tables, clock, and what the engine's own workers have changed. Who has no workers that wait for anything says
/// nothing of it.
pub trait Host: Send + 'static {
    /// The tables.
    type Tables: Shards;

    /// The tables.
    fn tables(&mut self) -> &mut Self::Tables;

    /// The clock.
    fn now(&self) -> Now;

    /// Microseconds of processor time that this thread has used.
    fn cpu_us(&self) -> u64;

    /// Takes what workers have changed since the last call; a number: who wants to hear that a peer has it.
    fn changes(&mut self, taken: &mut Vec<(TableId, KeyBytes, Option<u64>)>);

    /// Asks that the next change wakes the driver ([`Handle::waker`]); `false`: there is one already.
    fn wake_me(&mut self) -> bool {
        true
    }

    /// Asks that the next change that somebody waits for wakes the driver; `false`: there is one already.
    fn gather(&mut self) -> bool {
        true
    }

    /// The time of the group is this, now.
    fn group_time(&mut self, time: GroupMillis, now: Now) {
        let _ = (time, now);
    }

    /// A peer has what was given this number.
    fn acknowledged(&mut self, ticket: u64, by: EngineSlot) {
        let _ = (ticket, by);
    }

    /// So many members are connected.
    fn connected(&mut self, peers: usize) {
        let _ = peers;
    }

    /// How long the driver is to rest before its next step, because other work goes first.
    fn pause(&self) -> Duration {
        Duration::ZERO
    }

    /// What is kept in which tables.
    fn kept(&self) -> Vec<Table>;

    /// The tables and servers by which entries are kept, for those that only read.
    fn catalogue(&self) -> Catalogue {
        Catalogue::default()
    }

    /// A member keeps entries by these tables and servers; told to a host that only reads.
    fn told(&mut self, by: EngineSlot, catalogue: Catalogue) {
        let _ = (by, catalogue);
    }

    /// The tables of a member differ from those here in another way than before, or do not differ any more.
    fn differ(&mut self, slot: EngineSlot, how: &Differences) {
        let _ = (slot, how);
    }

    /// Something that people should know.
    fn event(&mut self, event: Event);
}

/// Work to be done between two steps of the engine.
pub type Work<H> = Box<dyn FnOnce(&mut Engine, &mut H, Now) -> Vec<Output> + Send>;

/// What the driver is told.
pub enum Command<H> {
    /// Other settings. What of them cannot be had is answered, and nothing has changed then.
    Settings(Box<Settings>, oneshot::Sender<Result<(), String>>),
    /// There may be tables here that there were not: those that no member has are asked for of those that only read, which
    /// [`View::asks`] tells for as long as it takes. Answered when that has begun.
    Bring(oneshot::Sender<()>),
    /// Compare with every member now.
    Verify(oneshot::Sender<Vec<Verified>>),
    /// Work on engine and host.
    Work(Work<H>),
    /// End all connections and stop.
    Stop,
}

/// What came of a comparison with one member.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The member.
    pub slot: EngineSlot,
    /// What it found; `None`: the member is not connected, or did not answer in time.
    pub verdict: Option<Verdict>,
    /// How its tables differ from those here, by its last word.
    pub differs: Differences,
}

/// Speaks to a driver from elsewhere.
pub struct Handle<H> {
    /// What it is told.
    pub commands: mpsc::Sender<Command<H>>,
    /// Wakes it: something has changed. It may be called from any thread.
    pub waker: Arc<dyn Fn() + Send + Sync>,
    /// What may be looked at.
    pub view: View,
}

impl<H> Clone for Handle<H> {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone(), waker: Arc::clone(&self.waker), view: self.view.clone() }
    }
}

//! The control thread: supervisor of the workers, health, metrics, admin socket, log.
//!
//! [`run`] is the engine from start to stop. It owns the listening sockets and everything that is slow; workers
//! get a [`WorkerSeat`] each and are spoken to through its mailbox only.

pub mod admin;
pub mod alone;
pub mod answers;
mod beside;
pub mod channel;
mod closing;
mod doors;
pub mod explain;
mod full;
pub mod handover;
mod html;
mod identity;
mod leaving;
pub mod lock;
pub mod mailbox;
pub mod names;
pub mod notify;
pub mod objsync;
pub mod overrides;
mod places;
pub mod refused;
pub mod rehearse;
mod reload;
mod resident;
mod run;
mod running;
mod seat;
mod sharing;
pub mod sockets;
mod stand_in;
mod state;
mod successor;
pub mod supervisor;
pub mod tables;
mod takeovers;
mod trim;
pub mod undumped;
mod web;

pub use explain::Peek;
pub use reload::Source;
pub(crate) use run::worker_count;
pub use run::{Ended, Start, Workers, run};
pub use running::Running;
pub use seat::{ListenSocket, SeatListener, ShutdownFlag, ShutdownStage, WorkerSeat};
pub use state::State;
pub use successor::Program;
pub use tables::Tables;

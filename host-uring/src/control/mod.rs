//! The control thread: supervisor of the workers, health, metrics, admin socket, log.

pub mod mailbox;
mod seat;

pub use seat::{Report, Reports, SeatListener, ShutdownFlag, ShutdownStage, WorkerSeat};

//! The control thread: supervisor of the workers, health, metrics, admin socket, log.

pub mod mailbox;
mod seat;

pub use seat::{SeatListener, ShutdownFlag, ShutdownStage, WorkerSeat};

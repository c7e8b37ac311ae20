//! Upgrade: a new process takes over from the one that serves, and no client notices.
//!
//! The new one asks at a socket beside the admin socket. It gets the listening sockets themselves, what is known of the
//! servers, and the persistence tables; it builds its workers and says that it is ready. Only then the old one stops
//! accepting, tells what has changed last, and lets the new one accept; it ends what it serves within its grace, and tells
//! of every client whose connection closes until its own end. Until the new one has said that it serves, whatever goes
//! wrong leaves the old one as it was; that word arrives before the old one stops listening to it, or cannot be said.

mod entries;
mod fds;
mod giver;
mod keys;
mod servers;
mod standing;
mod taker;
mod talk;
mod wire;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

pub(super) use giver::{Giver, Successor, serve};
pub(super) use standing::Standing;
pub use taker::Legacy;
pub(super) use taker::{Came, Heir, ask};
pub(super) use wire::What;

/// Bytes that the path of a unix socket may have.
pub(super) const PATH_BYTES_MAX: usize = 107;

/// Where an engine with this admin socket is asked for what it has.
pub(super) fn path(admin_socket: &str) -> PathBuf {
    PathBuf::from(format!("{admin_socket}.upgrade"))
}

/// Makes this process the one whom the socket for upgrades names as the one that serves.
///
/// # Errors
/// It does not listen.
pub(super) fn answer_as_this_process(socket: BorrowedFd<'_>) -> std::io::Result<()> {
    fds::listen_as_this_process(socket)
}

/// What tells a socket from all others of the machine.
///
/// # Errors
/// It is no socket.
pub(super) fn socket_cookie(socket: BorrowedFd<'_>) -> std::io::Result<u64> {
    fds::option_of(socket, libc::SO_COOKIE)
}

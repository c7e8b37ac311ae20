//! What the two kernel interfaces have in common: one-shot readiness, and its cancellation.

use std::io;
use std::os::fd::RawFd;

use super::epoll::Epoll;
use super::ring::Ring;

/// The direction that a wait is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Read,
    Write,
    /// The end of what the peer sends, or a failure; not its data.
    End,
}

/// The answer to one armed wait: its key, and readiness or the error number.
pub(super) type Answer = (u64, Result<(), i32>);

/// The kernel interface of one worker.
///
/// Every armed key is answered exactly once, cancelled or not; keys are the caller's.
#[allow(clippy::large_enum_variant, reason = "one for each worker: a pointer would save nothing")]
pub(super) enum Poller {
    Ring(Ring),
    Epoll(Epoll),
}

impl Poller {
    pub(super) fn arm(&mut self, fd: RawFd, side: Side, key: u64) -> io::Result<()> {
        match self {
            Poller::Ring(ring) => ring.arm(fd, side, key),
            Poller::Epoll(epoll) => epoll.arm(fd, side, key),
        }
    }

    /// Asks for the end of an armed wait; its answer still comes.
    pub(super) fn cancel(&mut self, fd: RawFd, key: u64) {
        match self {
            Poller::Ring(ring) => ring.cancel(key),
            Poller::Epoll(epoll) => epoll.cancel(fd, key),
        }
    }

    /// Must be called before a descriptor that was ever armed is closed.
    pub(super) fn forget(&mut self, fd: RawFd) {
        match self {
            Poller::Ring(_) => {}
            Poller::Epoll(epoll) => epoll.forget(fd),
        }
    }

    /// Hands the armed waits to the kernel and gives what it answered, waiting at most
    /// `timeout_us` (`None`: until something comes) if nothing has come yet.
    pub(super) fn wait(&mut self, timeout_us: Option<u64>, answers: &mut Vec<Answer>) -> io::Result<()> {
        match self {
            Poller::Ring(ring) => ring.wait(timeout_us, answers),
            Poller::Epoll(epoll) => epoll.wait(timeout_us, answers),
        }
    }
}

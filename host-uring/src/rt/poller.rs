//! What the two kernel interfaces have in common: readiness, once or for as long as a socket lives, and its cancellation.

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

/// The bit that tells the key of a watch from that of a wait.
pub(super) const WATCH: u64 = 1 << 63;
/// The generations of a key's slot: its bits 32 to 62.
pub(super) const GENERATIONS: u32 = 0x7fff_ffff;

/// What the kernel said of an armed wait or watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Whose it is.
    pub(super) key: u64,
    /// Readiness, or the error number.
    pub(super) result: Result<(), i32>,
    /// The peer has ended its side, or something failed: that less came than was asked for does not mean that a read would
    /// block.
    pub(super) is_end: bool,
    /// The bytes may have been read since they came.
    pub(super) may_be_old: bool,
    /// No other answer follows for this key.
    pub(super) is_last: bool,
}

impl Answer {
    /// The only answer to a wait.
    pub(super) fn once(key: u64, result: Result<(), i32>) -> Self {
        Answer { key, result, is_end: false, may_be_old: false, is_last: true }
    }
}

/// The kernel interface of one worker.
///
/// Every armed key has exactly one last answer, cancelled or not; keys are the caller's.
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

    /// Asks to be told of all that comes to be read from now on, and whether something is there now. `once`: one answer is
    /// enough, if that costs less. The last answer comes after [`Poller::cancel`].
    pub(super) fn watch(&mut self, fd: RawFd, once: bool, key: u64) -> io::Result<()> {
        match self {
            Poller::Ring(ring) => ring.watch(fd, once, key),
            Poller::Epoll(epoll) => epoll.watch(fd, key),
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
    /// `timeout_us` (`None`: until something comes) if nothing has come yet. Says whether that is all that had happened.
    pub(super) fn wait(&mut self, timeout_us: Option<u64>, answers: &mut Vec<Answer>) -> io::Result<bool> {
        match self {
            Poller::Ring(ring) => ring.wait(timeout_us, answers),
            Poller::Epoll(epoll) => epoll.wait(timeout_us, answers),
        }
    }
}

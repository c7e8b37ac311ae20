//! The runtime seam: everything the data plane asks of sockets, clocks and tasks.
//!
//! Only this folder names io_uring (and epoll). The HTTP driver is written against [`Rt`] and
//! [`Stream`]; it runs on [`sockets::Sockets`] (io_uring, or epoll where io_uring is refused) and
//! on [`memory::Memory`] (pipes, a virtual clock, scripted delays) alike.
//!
//! # The contract
//! - **Readiness, then bytes.** A task waits with [`Stream::readable`] or [`Stream::writable`] and
//!   holds no buffer meanwhile; bytes move by [`Stream::try_read`] and [`Stream::try_write`], which
//!   finish at once. So an operation that is pending never owns bytes or memory.
//! - **A time-out loses nothing.** A stream that is read from is watched for as long as it lives: a wait that ends with
//!   [`ErrorKind::TimedOut`](std::io::ErrorKind::TimedOut) ends nothing else, and what comes after it is told to the next
//!   wait. Other waits (room to write, the peer's end) are armed one by one: the deadline's timer asks the kernel to
//!   cancel, and the wait goes on until the kernel has answered, with the cancellation or with readiness that it saw
//!   first. Readiness that was seen wins over the deadline; what arrived stays to be read, and the stream stays usable.
//! - **Read until less comes than was asked for**, or nothing: a stream of which that is known is waited for without a
//!   system call. Who reads by other means than [`Stream::try_read`] has to tell, as [`Stream::move_into`] does.
//! - Deadlines are coarse: a wait ends at its deadline or up to [`wheel::TICK`] later.
//! - One thread. Nothing here is `Send`.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::task::Poll;

pub mod clock;
pub mod datagram;
pub mod either;
mod epoll;
mod exec;
pub mod lane;
pub mod memory;
pub mod pipe;
mod poller;
mod ring;
pub mod sockets;
mod soon;
mod sys;
mod wait;
mod watch;
pub mod wheel;

use crate::tls::Securable;

pub use clock::{NEVER, Now};
pub use pipe::Pipe;
pub use sockets::{Backend, Sockets};

/// Lets the other tasks that are ready run first.
pub async fn give_way() {
    let mut gave = false;
    poll_fn(|context| {
        if std::mem::replace(&mut gave, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs `first`; whoever it wakes or spawns runs behind all that are ready, as those who gave way do.
pub fn behind<T>(first: impl FnOnce() -> T) -> T {
    exec::behind(first)
}

/// Sockets, time and tasks of one worker thread.
pub trait Rt: Clone + 'static {
    /// A connected byte stream.
    type Stream: Securable;
    /// A listening socket.
    type Listener: 'static;

    /// The monotonic clock, microseconds, as it was when the task was polled, or after its last write: a request asks a
    /// dozen times, and its answer does not change by a microsecond in between.
    fn now(&self) -> Now;

    /// Starts a task on this thread; it runs when the current one waits.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// Completes at `at` or up to one tick later.
    fn sleep_until(&self, at: Now) -> impl Future<Output = ()>;

    /// Takes over a bound and listening socket.
    ///
    /// # Errors
    /// The socket could not be made non-blocking.
    fn listen(&self, socket: std::net::TcpListener) -> io::Result<Self::Listener>;

    /// Waits for the next connection; a dropped future loses none.
    ///
    /// # Errors
    /// What `accept4` says; `EMFILE` and the like are the caller's to back off from.
    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>>;

    /// Connects to `to`.
    ///
    /// # Errors
    /// `TimedOut` at the deadline; else what the system says. No byte was sent in any case.
    fn connect(&self, to: SocketAddr, deadline: Now) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Waits until a foreign descriptor (the mailbox's eventfd) is readable.
    ///
    /// # Errors
    /// The descriptor cannot be polled.
    fn fd_readable(&self, fd: std::os::fd::BorrowedFd<'_>) -> impl Future<Output = io::Result<()>>;
}

/// One connected stream; closed when dropped.
pub trait Stream: 'static {
    /// Reads what is there, at most `into.len()` bytes; 0 is the end of the peer's data.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; the connection's own error otherwise.
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize>;

    /// Copies what is there, at most `into.len()` bytes, and leaves it to be read; 0 is the end of the peer's data.
    ///
    /// # Errors
    /// As [`Stream::try_read`].
    fn try_peek(&self, into: &mut [u8]) -> io::Result<usize>;

    /// Writes as much of the pieces as fits now.
    ///
    /// # Errors
    /// `WouldBlock` if nothing fits; the connection's own error otherwise.
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Says whether bytes can go to and from it by a pipe.
    fn can_move(&self) -> bool {
        false
    }

    /// Moves what is there into an empty pipe, at most `most` bytes, without copying; 0 is the end of the peer's data.
    ///
    /// # Errors
    /// As [`Stream::try_read`]; `Unsupported` where [`Stream::can_move`] says so.
    fn move_into(&self, _pipe: &Pipe, _most: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Moves as much of what a pipe has as fits now.
    ///
    /// # Errors
    /// As [`Stream::try_write`]; `Unsupported` where [`Stream::can_move`] says so.
    fn move_out_of(&self, _pipe: &Pipe) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Takes urgent data for what it is without the mark: bytes in their place. Else a read drops the byte at the mark.
    fn heed_marks(&self) {}

    /// Lets the kernel take no more than 128 KiB of what is written that is not sent yet: what of it goes first cannot be
    /// chosen any more.
    fn queue_little(&self) {}

    /// Says whether bytes wait to be read. A system call: for who waits although there might be some, because reads end early
    /// at urgent data, and what is behind it is not told of.
    fn has_unread(&self) -> bool {
        false
    }

    /// Takes a short message that goes out a moment later, together with those of the other tasks that are ready; `false`:
    /// it has to be written as usual, and nobody asked for it. `fill` appends it, `most` bytes at most. What the peer does not take then goes out when it does; of a failure a read tells.
    fn write_soon(&self, _most: usize, _fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        false
    }

    /// Waits until a read would not block (data, end or error).
    ///
    /// # Errors
    /// `TimedOut` at the deadline ([`NEVER`] for none).
    fn readable(&self, deadline: Now) -> impl Future<Output = io::Result<()>> + Unpin;

    /// Says whether a deadline has come, by the clock of its waits.
    fn is_past(&self, moment: Now) -> bool;

    /// Waits until a write would not block.
    ///
    /// # Errors
    /// `TimedOut` at the deadline ([`NEVER`] for none).
    fn writable(&self, deadline: Now) -> impl Future<Output = io::Result<()>>;

    /// Waits until the peer has ended its side or the connection failed, however many bytes wait to be read. A peer that
    /// has closed cannot be told from one that has only said all that it will.
    fn hung_up(&self) -> impl Future<Output = ()>;

    /// Ends one or both directions; errors are of no use to the caller and are ignored.
    fn shutdown(&self, how: Shutdown);

    /// Makes the close that follows a reset, so that the peer cannot take a cut body for a whole
    /// one.
    fn reset_on_close(&self);

    /// Says whether the peer has closed, failed, or sent something, as the system knows it at this moment.
    fn is_spent(&self) -> bool;

    /// The same as of the last look at the sockets, without a system call where the stream is watched: an idle pooled
    /// connection of which this is true must not be used. What came before the event that woke the asking task is known.
    fn has_spoken(&self) -> bool {
        self.is_spent()
    }

    /// Says whether the connection is gone in both directions: the peer reset it, or answers no more. Of a peer that
    /// has only ended its side this is false.
    fn is_reset(&self) -> bool;

    /// How many bytes a write would take without waiting, where that can be told.
    fn room(&self) -> Option<usize>;

    /// How many bytes that were written the peer has not acknowledged; 0 where that cannot be told.
    fn unacknowledged(&self) -> usize;

    /// The smoothed round-trip time that the transport measured, microseconds.
    fn rtt_us(&self) -> Option<u32>;

    /// The address of our end.
    ///
    /// # Errors
    /// What the system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

//! Messages from the control thread to a worker.
//!
//! The channel is bounded and never makes the control thread wait; the worker learns of a message through
//! a file descriptor that its runtime reads (an eventfd: eight bytes, any value), or when it looks by itself.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use forebay_core::id::VsId;

use super::Running;
use super::seat::SeatListener;
use crate::limits::MAILBOX_MESSAGES_MAX;

/// What the control thread tells a worker.
#[derive(Debug)]
pub enum Message {
    /// The states of some pool's servers have changed: compare the generations.
    PoolsChanged,
    /// Take this configuration for all requests that begin from now on.
    Configure {
        /// The configuration.
        running: Arc<Running>,
        /// All sockets that the worker has by it.
        listeners: Vec<SeatListener>,
    },
    /// Accept on these sockets as well: their own worker is stuck.
    AcceptFor {
        /// The stuck worker.
        worker: usize,
        /// Its sockets.
        listeners: Vec<SeatListener>,
    },
    /// This worker goes on: accept for it no more, keep the connections.
    StopAcceptFor {
        /// The worker that was stuck.
        worker: usize,
    },
    /// Accept nothing more for now, on no socket, and count one up when that is so. What is served goes on.
    StopAccept(Arc<AtomicUsize>),
    /// End what is under way for the clients of some virtual services.
    CutServices(Arc<Cuts>),
    /// Look at [`ShutdownFlag`](super::ShutdownFlag).
    Shutdown,
    /// Panic at once: `forebay-se fault`, refused unless the engine was started with `--allow-faults`.
    Panic,
    /// Stand still for this many milliseconds: likewise.
    Sleep(u64),
}

/// Virtual services that have left, and what became of their clients.
#[derive(Debug, Default)]
pub struct Cuts {
    /// These services.
    pub services: Vec<VsId>,
    /// How many connections, requests and flows were cut.
    pub cut: AtomicUsize,
    /// How many workers have done it.
    pub done: AtomicUsize,
}

/// The control thread's end.
#[derive(Clone, Debug)]
pub struct Mailbox {
    sender: SyncSender<Message>,
    wake: Arc<OwnedFd>,
}

/// The worker's end.
#[derive(Debug)]
pub struct MailboxReceiver {
    receiver: Receiver<Message>,
    wake: Arc<OwnedFd>,
}

/// Makes a mailbox.
///
/// # Errors
/// The system has no file descriptor left.
pub fn mailbox() -> io::Result<(Mailbox, MailboxReceiver)> {
    // SAFETY: eventfd takes two integers and touches no memory of ours.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has just opened it, so nobody else owns it.
    let wake = Arc::new(unsafe { OwnedFd::from_raw_fd(fd) });
    let (sender, receiver) = sync_channel(MAILBOX_MESSAGES_MAX);
    Ok((Mailbox { sender, wake: Arc::clone(&wake) }, MailboxReceiver { receiver, wake }))
}

impl Mailbox {
    /// Leaves a message and wakes the worker.
    ///
    /// # Errors
    /// The message comes back when the box is full or the worker is gone; the worker is woken all the same.
    pub fn send(&self, message: Message) -> Result<(), Message> {
        let sent = self.sender.try_send(message).map_err(|error| match error {
            TrySendError::Full(message) | TrySendError::Disconnected(message) => message,
        });
        let one = 1_u64.to_ne_bytes();
        // A full counter means that the worker has a wake-up waiting already, so the result does not matter.
        // SAFETY: the buffer is eight valid bytes, and the descriptor is open as long as `self`.
        let _ = unsafe { libc::write(self.wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        sent
    }
}

impl MailboxReceiver {
    /// Becomes readable when a message waits: read eight bytes, then [`MailboxReceiver::try_recv`] until `None`.
    /// It is non-blocking.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.wake.as_fd()
    }

    /// The next message, if there is one.
    pub fn try_recv(&self) -> Option<Message> {
        self.receiver.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_makes_the_descriptor_readable_and_a_full_box_gives_it_back() {
        let (sender, receiver) = mailbox().expect("an eventfd");
        for _ in 0..MAILBOX_MESSAGES_MAX {
            sender.send(Message::PoolsChanged).expect("room");
        }
        assert!(matches!(sender.send(Message::Shutdown), Err(Message::Shutdown)));
        let mut buffer = [0_u8; 8];
        // SAFETY: the buffer is eight valid bytes, and the descriptor is open.
        let read = unsafe { libc::read(receiver.wake_fd().as_raw_fd(), buffer.as_mut_ptr().cast(), 8) };
        assert_eq!((read, u64::from_ne_bytes(buffer)), (8, MAILBOX_MESSAGES_MAX as u64 + 1));
        let mut got = 0;
        while receiver.try_recv().is_some() {
            got += 1;
        }
        assert_eq!(got, MAILBOX_MESSAGES_MAX);
    }
}

//! Short messages of one turn, sent together at its end.
//!
//! Who gets a message while it sleeps has to be woken, which costs the sender more than the bytes do. Messages that go out
//! one after another find all but the first receiver awake, where many connections lead to few processes.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, RawFd};

use super::sys;

/// A longer message is not worth the copy.
const MESSAGE_BYTES_MAX: usize = 2048;
/// Messages that wait at most: half of what a turn has time for. One more sends them.
const MESSAGES_MAX: usize = 64;
/// A write of this size takes as long as many messages: those that wait go first, and …
pub(super) const LARGE_BYTES: usize = 8192;
/// … many messages after it go out at once: answers to requests that were sent together come together, and a crowd of
/// large ones is more than the processor's cache holds (measured: a tenth dearer).
const AT_ONCE: u32 = 256;
/// While so many sockets have no room, nothing waits: each is tried with each turn, and peers that do not read must not
/// make that dear.
const STUCK_MAX: usize = 8;

/// Messages that wait for the turn's end.
#[derive(Default)]
pub(super) struct Soon {
    bytes: Vec<u8>,
    messages: Vec<Message>,
    /// A bit for each descriptor in `messages`, by its last six bits: most questions are answered by it.
    fds: u64,
    /// So many messages do not wait.
    at_once: u32,
    /// What its socket had no room for: tried again with each turn.
    stuck: Vec<Stuck>,
}

struct Message {
    fd: RawFd,
    end: usize,
}

struct Stuck {
    fd: RawFd,
    rest: Vec<u8>,
}

impl Soon {
    /// Takes a message of `most` bytes at most, which `fill` appends, of a task beside which `others` are ready, or not; it
    /// goes out with the next [`Soon::flush`]. `false`: it is not worth it, and was not filled in.
    pub(super) fn push(
        &mut self,
        fd: RawFd,
        most: usize,
        others: bool,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let is_fit = most <= MESSAGE_BYTES_MAX && self.stuck.len() < STUCK_MAX && !self.waits(fd);
        if !is_fit || (self.messages.is_empty() && !others) {
            return false;
        }
        if self.at_once > 0 {
            self.at_once -= 1;
            return false;
        }
        if self.messages.len() >= MESSAGES_MAX {
            self.flush();
        }
        fill(&mut self.bytes);
        self.messages.push(Message { fd, end: self.bytes.len() });
        self.fds |= bit(fd);
        true
    }

    /// So many bytes are about to be written to a socket. What waits for it goes first.
    ///
    /// # Errors
    /// `WouldBlock`: there is no room even for that.
    #[inline]
    pub(super) fn before(&mut self, fd: RawFd, bytes: usize) -> io::Result<()> {
        if bytes >= LARGE_BYTES {
            self.at_once = AT_ONCE;
            self.flush();
        }
        if self.waits(fd) {
            self.flush();
            if self.stuck.iter().any(|stuck| stuck.fd == fd) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        Ok(())
    }

    fn waits(&self, fd: RawFd) -> bool {
        (self.fds & bit(fd) != 0 && self.messages.iter().any(|message| message.fd == fd))
            || self.stuck.iter().any(|stuck| stuck.fd == fd)
    }

    /// The socket is about to be closed: what waits for it goes, as far as there is room.
    #[inline]
    pub(super) fn forget(&mut self, fd: RawFd) {
        if self.waits(fd) {
            self.flush();
            self.stuck.retain(|stuck| stuck.fd != fd);
        }
    }

    /// Says whether something waits for room in its socket.
    pub(super) fn is_stuck(&self) -> bool {
        !self.stuck.is_empty()
    }

    /// Sends all that waits.
    pub(super) fn flush(&mut self) {
        self.stuck.retain_mut(|stuck| {
            let sent = send(stuck.fd, &stuck.rest);
            stuck.rest.drain(..sent);
            !stuck.rest.is_empty()
        });
        let mut start = 0;
        for message in self.messages.drain(..) {
            let bytes = &self.bytes[start..message.end];
            start = message.end;
            let sent = send(message.fd, bytes);
            if sent < bytes.len() {
                self.stuck.push(Stuck { fd: message.fd, rest: bytes[sent..].to_vec() });
            }
        }
        self.bytes.clear();
        self.fds = 0;
    }
}

fn bit(fd: RawFd) -> u64 {
    1 << (fd & 63)
}

/// Sends what the socket takes; gives how many bytes are done with.
fn send(fd: RawFd, bytes: &[u8]) -> usize {
    // SAFETY: `forget` is called before a descriptor is closed, so this one is open.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    match sys::send(socket, &[IoSlice::new(bytes)]) {
        Ok(sent) => sent,
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
        Err(_) => {
            // Who waits for an answer learns of it by reading; of a failure that is not the connection's own as well.
            sys::shutdown(socket, Shutdown::Both);
            bytes.len()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("two sockets");
        ours.set_nonblocking(true).expect("non-blocking");
        theirs.set_nonblocking(true).expect("non-blocking");
        (ours, theirs)
    }

    fn push(soon: &mut Soon, fd: RawFd, bytes: &[u8], others: bool) -> bool {
        soon.push(fd, bytes.len(), others, |all| all.extend_from_slice(bytes))
    }

    fn got(from: &mut UnixStream) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        all
    }

    //= test SE-TURN-01
    #[test]
    fn messages_wait_for_the_end_of_the_turn_or_for_the_close_of_their_socket() {
        let mut soon = Soon::default();
        let mut pairs: Vec<_> = (0..MESSAGES_MAX + 1).map(|_| pair()).collect();
        assert!(!push(&mut soon, pairs[0].0.as_raw_fd(), b"alone", false), "nobody to wait for");
        assert!(!push(&mut soon, pairs[0].0.as_raw_fd(), &[0; MESSAGE_BYTES_MAX + 1], true), "too long");
        for (n, (ours, _)) in pairs.iter().enumerate().take(MESSAGES_MAX) {
            assert!(push(&mut soon, ours.as_raw_fd(), format!("request {n}").as_bytes(), true));
        }
        assert!(
            !push(&mut soon, pairs[3].0.as_raw_fd(), b"a second one", true),
            "its turn comes after the first"
        );
        assert_eq!(got(&mut pairs[0].1), b"");
        assert!(push(&mut soon, pairs[MESSAGES_MAX].0.as_raw_fd(), b"one more", true));
        for (n, (_, theirs)) in pairs.iter_mut().enumerate().take(MESSAGES_MAX) {
            assert_eq!(got(theirs), format!("request {n}").as_bytes(), "no more may wait");
        }
        assert_eq!(got(&mut pairs[MESSAGES_MAX].1), b"");
        soon.forget(pairs[MESSAGES_MAX].0.as_raw_fd());
        assert_eq!(got(&mut pairs[MESSAGES_MAX].1), b"one more", "a close loses nothing");
        assert!(push(&mut soon, pairs[0].0.as_raw_fd(), b"next", true));
        soon.flush();
        assert_eq!(got(&mut pairs[0].1), b"next");
    }

    //= test SE-TURN-01
    #[test]
    fn nothing_waits_while_many_sockets_have_no_room_and_closed_ones_are_forgotten() {
        let mut soon = Soon::default();
        let mut pairs: Vec<_> = (0..STUCK_MAX + 1).map(|_| pair()).collect();
        for (ours, _) in pairs.iter_mut().take(STUCK_MAX) {
            while ours.write(&[b'f'; 1000]).is_ok() {}
            assert!(push(&mut soon, ours.as_raw_fd(), b"answer", true));
        }
        soon.flush();
        assert!(!push(&mut soon, pairs[STUCK_MAX].0.as_raw_fd(), b"answer", true));
        soon.forget(pairs[0].0.as_raw_fd());
        assert!(push(&mut soon, pairs[STUCK_MAX].0.as_raw_fd(), b"answer", true));
    }

    //= test SE-TURN-01
    #[test]
    fn what_a_socket_has_no_room_for_is_sent_later_and_before_all_else() {
        let mut soon = Soon::default();
        let (mut ours, mut theirs) = pair();
        let fd = ours.as_raw_fd();
        let mut filled = 0;
        while let Ok(count) = ours.write(&[b'f'; 1000]) {
            filled += count;
        }
        assert!(push(&mut soon, fd, b"request", true));
        soon.flush();
        assert!(soon.is_stuck());
        assert!(!push(&mut soon, fd, b"second", true));
        assert_eq!(soon.before(fd, 1).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
        assert_eq!(got(&mut theirs).len(), filled);
        soon.before(fd, 1).expect("room");
        assert!(!soon.is_stuck());
        assert_eq!(got(&mut theirs), b"request");
        drop(theirs);
        assert!(push(&mut soon, fd, b"too late", true));
        soon.flush();
        assert!(!soon.is_stuck(), "a failed connection wants nothing more");
    }

    #[test]
    fn a_large_write_sends_what_waits_and_makes_many_messages_go_at_once() {
        let mut soon = Soon::default();
        let (ours, mut theirs) = pair();
        assert!(push(&mut soon, ours.as_raw_fd(), b"request", true));
        soon.before(-1, LARGE_BYTES).expect("nothing waits for it");
        assert_eq!(got(&mut theirs), b"request");
        for _ in 0..AT_ONCE {
            assert!(!push(&mut soon, ours.as_raw_fd(), b"next", true));
        }
        assert!(push(&mut soon, ours.as_raw_fd(), b"next", true));
    }
}

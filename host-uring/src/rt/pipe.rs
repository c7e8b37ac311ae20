//! A pipe of the kernel: bytes go from one socket to another through it without being copied (splice(2)).
//!
//! A pipe is filled and emptied between two waits, never across one: a task that waits leaves nothing in it, so that one
//! pipe serves all connections of a worker, and the bytes of a slow receiver are where all such bytes are, in memory that
//! the worker counts. A pipe in which something was left after all is closed: nobody gets another one's bytes.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::sys;

/// A pipe that does not block.
#[derive(Debug)]
pub struct Pipe {
    /// Where bytes go in.
    into: OwnedFd,
    /// Where they come out.
    out: OwnedFd,
    /// Bytes in it.
    bytes: Cell<usize>,
}

impl Pipe {
    /// A pipe that takes `capacity` bytes where every page is full.
    ///
    /// # Errors
    /// No descriptors or memory are left, or the system allows no pipe of that size (`fs.pipe-max-size`,
    /// `fs.pipe-user-pages-soft`).
    pub fn new(capacity: usize) -> io::Result<Self> {
        let (out, into) = sys::pipe()?;
        sys::set_pipe_capacity(into.as_fd(), capacity)?;
        Ok(Pipe { into, out, bytes: Cell::new(0) })
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.bytes.get()
    }

    /// Says whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Moves what `socket` has into it, at most `most` bytes. Fewer do not say that no more is there: small pieces take a
    /// page's place each.
    pub(super) fn fill(&self, socket: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        debug_assert!(self.is_empty(), "of a pipe with something in it nobody knows why it takes no more");
        let count = sys::splice(socket, self.into.as_fd(), most)?;
        self.bytes.set(self.bytes.get() + count);
        Ok(count)
    }

    /// Moves what it has to `socket`, as much as that takes now.
    pub(super) fn empty(&self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let count = sys::splice(self.out.as_fd(), socket, self.len())?;
        self.bytes.set(self.bytes.get() - count);
        Ok(count)
    }

    /// Copies all that it has out of it, behind what `into` has.
    ///
    /// # Errors
    /// What the system says; what was read so far is in `into`.
    pub fn copy_out(&self, into: &mut Vec<u8>) -> io::Result<()> {
        let start = into.len();
        into.resize(start + self.len(), 0);
        let mut at = start;
        while !self.is_empty() {
            match sys::read(self.out.as_fd(), &mut into[at..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    at += count;
                    self.bytes.set(self.bytes.get() - count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    into.truncate(at);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

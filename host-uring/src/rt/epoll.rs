//! Readiness by epoll, for machines where io_uring is refused: the same one-shot waits, at one
//! system call each, and the same lasting watches, at one for each connection.

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use super::poller::{Answer, Side};
use super::sys;

/// Events fetched at once; the rest comes with the next turn.
const EVENTS: usize = 1024;

#[derive(Clone, Copy, Default)]
struct Interest {
    /// The kernel knows this descriptor.
    known: bool,
    reader: Option<u64>,
    writer: Option<u64>,
    ender: Option<u64>,
    /// Wants to hear of everything that comes, until it is taken back.
    watcher: Option<u64>,
}

impl Interest {
    fn of(&mut self, side: Side) -> &mut Option<u64> {
        match side {
            Side::Read => &mut self.reader,
            Side::Write => &mut self.writer,
            Side::End => &mut self.ender,
        }
    }

    fn take_all(&mut self) -> impl Iterator<Item = u64> + use<> {
        [self.reader.take(), self.writer.take(), self.ender.take(), self.watcher.take()].into_iter().flatten()
    }
}

pub(super) struct Epoll {
    epoll: OwnedFd,
    /// By descriptor number: small and dense.
    interests: Vec<Interest>,
    cancelled: Vec<u64>,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Epoll {
            epoll: sys::epoll_create()?,
            interests: Vec::new(),
            cancelled: Vec::new(),
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS],
        })
    }

    pub(super) fn arm(&mut self, fd: RawFd, side: Side, key: u64) -> io::Result<()> {
        let slot = self.interest(fd).of(side);
        debug_assert!(slot.is_none(), "one task waits for one side of a stream");
        *slot = Some(key);
        let result = self.tell(fd);
        if result.is_err() {
            *self.interest(fd).of(side) = None;
        }
        result
    }

    pub(super) fn watch(&mut self, fd: RawFd, key: u64) -> io::Result<()> {
        let slot = &mut self.interest(fd).watcher;
        debug_assert!(slot.is_none(), "a socket is watched once");
        *slot = Some(key);
        let result = self.tell(fd);
        if result.is_err() {
            self.interest(fd).watcher = None;
        }
        result
    }

    fn interest(&mut self, fd: RawFd) -> &mut Interest {
        let index = fd as usize;
        if self.interests.len() <= index {
            self.interests.resize(index + 1, Interest::default());
        }
        &mut self.interests[index]
    }

    /// Renews the registration for what is awaited now: one-shot, or for each edge if the descriptor is watched.
    fn tell(&mut self, fd: RawFd) -> io::Result<()> {
        let interest = &mut self.interests[fd as usize];
        let mut events = match interest.watcher {
            Some(_) => (libc::EPOLLET | libc::EPOLLIN | libc::EPOLLRDHUP) as u32,
            None => libc::EPOLLONESHOT as u32,
        };
        if interest.reader.is_some() {
            events |= (libc::EPOLLIN | libc::EPOLLRDHUP) as u32;
        }
        if interest.writer.is_some() {
            events |= libc::EPOLLOUT as u32;
        }
        if interest.ender.is_some() {
            events |= libc::EPOLLRDHUP as u32;
        }
        let operation = if interest.known { libc::EPOLL_CTL_MOD } else { libc::EPOLL_CTL_ADD };
        interest.known = true;
        match sys::epoll_ctl(&self.epoll, operation, fd, events) {
            // The number was closed behind our back and given to another file.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                sys::epoll_ctl(&self.epoll, libc::EPOLL_CTL_ADD, fd, events)
            }
            other => other,
        }
    }

    pub(super) fn cancel(&mut self, fd: RawFd, key: u64) {
        let Some(interest) = self.interests.get_mut(fd as usize) else { return };
        for slot in [&mut interest.reader, &mut interest.writer, &mut interest.ender] {
            if *slot == Some(key) {
                *slot = None;
                // What the kernel may still report for this side finds nobody waiting.
                self.cancelled.push(key);
            }
        }
    }

    pub(super) fn forget(&mut self, fd: RawFd) {
        let Some(interest) = self.interests.get_mut(fd as usize) else { return };
        let mut gone = std::mem::take(interest);
        self.cancelled.extend(gone.take_all());
        if gone.known {
            // Removed by hand: a duplicate of the descriptor (a listener's) would keep the
            // registration alive after the close.
            let _ = sys::epoll_ctl(&self.epoll, libc::EPOLL_CTL_DEL, fd, 0);
        }
    }

    pub(super) fn wait(&mut self, timeout_us: Option<u64>, answers: &mut Vec<Answer>) -> io::Result<bool> {
        // Rounded up, so that a wait does not spin through the last millisecond.
        let timeout_ms = match timeout_us {
            _ if !self.cancelled.is_empty() => 0,
            None => -1,
            Some(us) => us.div_ceil(1000).min(i32::MAX as u64) as i32,
        };
        let mut events = std::mem::take(&mut self.events);
        let outcome = sys::epoll_wait(&self.epoll, &mut events, timeout_ms);
        let count = match outcome {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => {
                self.events = events;
                return Err(error);
            }
        };
        let events_max = events.len();
        for event in &events[..count] {
            self.answer(event.u64 as RawFd, event.events, answers);
        }
        self.events = events;
        answers.extend(self.cancelled.drain(..).map(|key| Answer::once(key, Err(libc::ECANCELED))));
        Ok(count < events_max)
    }

    fn answer(&mut self, fd: RawFd, events: u32, answers: &mut Vec<Answer>) {
        const BOTH: u32 = (libc::EPOLLHUP | libc::EPOLLERR) as u32;
        const READ: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP) as u32 | BOTH;
        const END: u32 = libc::EPOLLRDHUP as u32 | BOTH;
        const WRITE: u32 = libc::EPOLLOUT as u32 | BOTH;
        let Some(interest) = self.interests.get_mut(fd as usize) else { return };
        if events & READ != 0
            && let Some(key) = interest.reader.take()
        {
            answers.push(Answer::once(key, Ok(())));
        }
        if events & WRITE != 0
            && let Some(key) = interest.writer.take()
        {
            answers.push(Answer::once(key, Ok(())));
        }
        if events & END != 0
            && let Some(key) = interest.ender.take()
        {
            answers.push(Answer::once(key, Ok(())));
        }
        if let Some(key) = interest.watcher {
            // Every edge is told without being asked for again, after the kernel has looked whether it still holds.
            let is_end = events & END != 0;
            if events & READ != 0 {
                answers.push(Answer { key, result: Ok(()), is_end, may_be_old: false, is_last: false });
            }
        } else if (interest.reader.is_some() || interest.writer.is_some() || interest.ender.is_some())
            && let Err(error) = self.tell(fd)
        {
            let interest = &mut self.interests[fd as usize];
            let code = error.raw_os_error().unwrap_or(libc::EIO);
            answers.extend(interest.take_all().map(|key| Answer::once(key, Err(code))));
        }
    }
}

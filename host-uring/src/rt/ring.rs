//! Readiness by io_uring.
//!
//! SINGLE_ISSUER and DEFER_TASKRUN: completions are made in the worker's own time, when it asks for
//! them, which is worth 15 % of a small request here. Only polls and cancellations are queued: they
//! own no memory, so a worker that dies leaves nothing that the kernel could still write to.

use std::io;
use std::os::fd::RawFd;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::poller::{Answer, Side};

/// Waits and cancellations of one loop turn; a full queue is submitted early, nothing is lost.
const SUBMISSIONS: u32 = 1024;
/// Answers of one loop turn before the kernel has to keep them in its (slower) overflow list.
const COMPLETIONS: u32 = 8192;
/// The answer to a cancellation itself is of no interest: the cancelled wait's own answer is.
const CANCELLATION: u64 = u64::MAX;

/// Answers that one entry into the kernel makes at most, where it has a bound (Linux 6.14 and later): so many may be
/// all, or not.
const WORK_OF_ONE_ENTER: usize = 20;
/// Entries for one look: what 160 connections said is worth a turn of its own.
const ENTERS_MAX: usize = 8;

/// Pause before a cancellation that the kernel did not take is asked for again, microseconds.
const OWED_PAUSE_US: u64 = 1_000;

pub(super) struct Ring {
    ring: IoUring,
    /// Waits whose cancellation the kernel did not take: their deadlines are over, and nobody else would end them.
    owed: Vec<u64>,
    /// The kernel takes nothing: the test plays it.
    #[cfg(test)]
    refuses: bool,
}

impl Ring {
    /// Sets a ring up for the calling thread.
    ///
    /// # Errors
    /// What `io_uring_setup` says: forbidden, no memory may be locked, a kernel before 6.1.
    pub(super) fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Ring {
            ring,
            owed: Vec::new(),
            #[cfg(test)]
            refuses: false,
        })
    }

    pub(super) fn arm(&mut self, fd: RawFd, side: Side, key: u64) -> io::Result<()> {
        debug_assert_ne!(key, CANCELLATION);
        let events = match side {
            Side::Read => libc::POLLIN | libc::POLLRDHUP,
            Side::Write => libc::POLLOUT,
            Side::End => libc::POLLRDHUP,
        };
        let entry = opcode::PollAdd::new(Fd(fd), events as u32).build().user_data(key);
        self.push(&entry)
    }

    /// Arms a poll that stays armed and tells of each arrival, which saves a submission for each wait; or, `once`, one that
    /// need not be taken back if the connection ends with its answer.
    pub(super) fn watch(&mut self, fd: RawFd, once: bool, key: u64) -> io::Result<()> {
        let events = libc::POLLIN | libc::POLLRDHUP;
        let entry = opcode::PollAdd::new(Fd(fd), events as u32).multi(!once).build().user_data(key);
        self.push(&entry)
    }

    /// Asks for the end of a wait: now, or with the next turns of the loop if the kernel takes no submissions.
    //= SE-TIMEOUT-06
    pub(super) fn cancel(&mut self, key: u64) {
        if self.try_cancel(key).is_err() {
            self.owed.push(key);
        }
    }

    fn try_cancel(&mut self, key: u64) -> io::Result<()> {
        // A wait that was answered meanwhile has another key: then there is nothing to cancel.
        let flags = squeue::Flags::SKIP_SUCCESS;
        self.push(&opcode::AsyncCancel::new(key).build().flags(flags).user_data(CANCELLATION))
    }

    fn settle_owed(&mut self) {
        while let Some(key) = self.owed.last().copied() {
            if self.try_cancel(key).is_err() {
                return;
            }
            self.owed.pop();
        }
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        #[cfg(test)]
        if self.refuses {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        loop {
            // SAFETY: the entry names a descriptor and a key, no memory that would have to live on.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            match self.ring.submit() {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn wait(&mut self, timeout_us: Option<u64>, answers: &mut Vec<Answer>) -> io::Result<bool> {
        self.settle_owed();
        let timeout_us = match self.owed.is_empty() {
            true => timeout_us,
            false => Some(timeout_us.unwrap_or(OWED_PAUSE_US).min(OWED_PAUSE_US)),
        };
        self.enter(timeout_us)?;
        let mut taken = self.take(answers);
        for _ in 0..ENTERS_MAX {
            if taken < WORK_OF_ONE_ENTER {
                return Ok(true);
            }
            self.enter(Some(0))?;
            taken = self.take(answers);
        }
        Ok(false)
    }

    fn enter(&mut self, timeout_us: Option<u64>) -> io::Result<()> {
        let timeout =
            timeout_us.map(|us| Timespec::new().sec(us / 1_000_000).nsec((us % 1_000_000) as u32 * 1000));
        let submitted = match &timeout {
            None => self.ring.submit_and_wait(1),
            Some(timeout) => self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(timeout)),
        };
        match submitted {
            Ok(_) => Ok(()),
            // Time is up, a signal came, or the answers must be taken before more are made.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the answers that are there; gives how many.
    fn take(&mut self, answers: &mut Vec<Answer>) -> usize {
        const END: i32 = (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) as i32;
        let mut taken = 0;
        for entry in self.ring.completion() {
            taken += 1;
            let key = entry.user_data();
            if key != CANCELLATION {
                let result = entry.result();
                answers.push(Answer {
                    key,
                    result: if result < 0 { Err(-result) } else { Ok(()) },
                    is_end: result < 0 || result & END != 0,
                    // The kernel tells what woke it without looking again.
                    may_be_old: true,
                    is_last: !cqueue::more(entry.flags()),
                });
            }
        }
        taken
    }
}

#[cfg(test)]
#[path = "../../tests/support/skips.rs"]
mod skips;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    //= test SE-TIMEOUT-06
    #[test]
    fn a_cancellation_that_the_kernel_did_not_take_is_asked_for_again() {
        let mut ring = match Ring::new() {
            Ok(ring) => ring,
            Err(refusal) => return skips::no_io_uring(&skips::this_test(), &refusal),
        };
        let (near, _far) = UnixStream::pair().expect("a pair");
        let mut answers = Vec::new();
        ring.arm(near.as_raw_fd(), Side::Read, 7).expect("armed");
        ring.wait(Some(0), &mut answers).expect("submitted");
        ring.refuses = true;
        ring.cancel(7);
        let began = std::time::Instant::now();
        ring.wait(Some(10_000_000), &mut answers).expect("waited");
        assert_eq!(answers, [], "the wait goes on as long as the kernel takes nothing");
        assert!(began.elapsed().as_secs() < 5, "it looks again soon");
        ring.refuses = false;
        for _ in 0..100 {
            ring.wait(Some(100_000), &mut answers).expect("submitted");
            if !answers.is_empty() {
                break;
            }
        }
        assert_eq!(answers.len(), 1);
        assert_eq!((answers[0].key, answers[0].result), (7, Err(libc::ECANCELED)));
        assert!(ring.owed.is_empty());
    }

    #[test]
    fn the_ring_has_one_issuer_and_makes_its_answers_only_when_asked() {
        let mut ring = match Ring::new() {
            Ok(ring) => ring,
            Err(refusal) => {
                let what = format!("io_uring is refused here ({refusal}), so no ring's flags were seen");
                return skips::say(&skips::this_test(), &what);
            }
        };
        assert!(ring.ring.params().is_setup_single_issuer());
        let (ours, mut theirs) = UnixStream::pair().expect("two sockets");
        ring.arm(ours.as_raw_fd(), Side::Read, 7).expect("a wait");
        ring.ring.submit().expect("submitted");
        theirs.write_all(b"x").expect("written");
        // Without DEFER_TASKRUN the kernel has made the answer by the end of that system call, or of this one.
        std::thread::yield_now();
        assert_eq!(ring.ring.completion().len(), 0, "an answer that nobody asked for");
        let mut answers = Vec::new();
        ring.wait(Some(10_000_000), &mut answers).expect("an answer");
        assert_eq!(answers.len(), 1);
        assert_eq!((answers[0].key, answers[0].result), (7, Ok(())));
    }
}

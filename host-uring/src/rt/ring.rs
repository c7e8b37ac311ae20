//! Readiness by io_uring.
//!
//! SINGLE_ISSUER and DEFER_TASKRUN: completions are made in the worker's own time, when it asks for
//! them, which is worth 15 % of a small request here. Only polls and cancellations are queued: they
//! own no memory, so a worker that dies leaves nothing that the kernel could still write to.

use std::io;
use std::os::fd::RawFd;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};

use super::poller::{Answer, Side};

/// Waits and cancellations of one loop turn; a full queue is submitted early, nothing is lost.
const SUBMISSIONS: u32 = 1024;
/// Answers of one loop turn before the kernel has to keep them in its (slower) overflow list.
const COMPLETIONS: u32 = 8192;
/// The answer to a cancellation itself is of no interest: the cancelled wait's own answer is.
const CANCELLATION: u64 = u64::MAX;

pub(super) struct Ring {
    ring: IoUring,
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
        Ok(Ring { ring })
    }

    pub(super) fn arm(&mut self, fd: RawFd, side: Side, key: u64) -> io::Result<()> {
        debug_assert_ne!(key, CANCELLATION);
        let events = match side {
            Side::Read => libc::POLLIN | libc::POLLRDHUP,
            Side::Write => libc::POLLOUT,
        };
        let entry = opcode::PollAdd::new(Fd(fd), events as u32).build().user_data(key);
        self.push(&entry)
    }

    pub(super) fn cancel(&mut self, key: u64) {
        let entry = opcode::AsyncCancel::new(key).build().user_data(CANCELLATION);
        // If the kernel takes no submissions the wait goes on and its owner with it: late, not lost.
        let _ = self.push(&entry);
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
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

    pub(super) fn wait(&mut self, timeout_us: Option<u64>, answers: &mut Vec<Answer>) -> io::Result<()> {
        let timeout =
            timeout_us.map(|us| Timespec::new().sec(us / 1_000_000).nsec((us % 1_000_000) as u32 * 1000));
        let submitted = match &timeout {
            None => self.ring.submit_and_wait(1),
            Some(timeout) => self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(timeout)),
        };
        match submitted {
            Ok(_) => {}
            // Time is up, a signal came, or the answers must be taken before more are made.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) => {}
            Err(error) => return Err(error),
        }
        for entry in self.ring.completion() {
            let key = entry.user_data();
            if key != CANCELLATION {
                let result = entry.result();
                answers.push((key, if result < 0 { Err(-result) } else { Ok(()) }));
            }
        }
        Ok(())
    }
}

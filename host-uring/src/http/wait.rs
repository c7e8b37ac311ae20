//! Waiting with patience: one step at a time, and not longer than a request may take as a whole.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::Poll;

use super::gather::Gather;
use super::limits::{BURST_BYTES_MAX, GATHER_SLICES};
use crate::rt::{NEVER, Now, Rt, Stream};
use crate::worker::TimeOuts;

/// Why bytes stopped moving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// A deadline came.
    TimedOut,
    /// The connection ended or failed.
    Gone(ErrorKind),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::TimedOut => Halt::TimedOut,
            kind => Halt::Gone(kind),
        }
    }
}

/// The deadline of a request as a whole, which bounds each single wait.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    total: Now,
}

impl Patience {
    /// Patience until `total`.
    pub fn until(total: Now) -> Self {
        Patience { total }
    }

    /// No bound but each wait's own.
    pub fn endless() -> Self {
        Patience { total: NEVER }
    }

    /// The end of a wait that begins at `now` and may take `us` (0: no bound of its own).
    //= SE-TIMEOUT-04
    pub fn step(&self, now: Now, us: u64) -> Now {
        TimeOuts::at(now, us).min(self.total)
    }

    /// Says whether the whole request's time is over.
    pub fn is_over(&self, now: Now) -> bool {
        now >= self.total
    }
}

/// Writes what the stream takes now of what `gather` holds; `buffer` is what its content ranges point into. Gives
/// the number of bytes.
///
/// # Errors
/// The connection is gone.
pub fn write_some<S: Stream>(stream: &S, gather: &mut Gather, buffer: &[u8]) -> Result<u64, Halt> {
    let mut total = 0;
    while !gather.is_empty() {
        let written = {
            let mut slices = [IoSlice::new(&[]); GATHER_SLICES];
            let count = gather.slices(buffer, &mut slices);
            stream.try_write(&slices[..count])
        };
        match written {
            Ok(written) => {
                total += written as u64;
                gather.advance(written);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(total)
}

/// Leaves what `gather` holds to the runtime, which sends it a moment later with what the other tasks have to send;
/// `false`: it has to be written as usual.
//= SE-TURN-01
pub fn write_soon<S: Stream>(stream: &S, gather: &mut Gather) -> bool {
    let taken =
        gather.single().is_some_and(|text| stream.write_soon(text.len(), |all| all.extend_from_slice(text)));
    if taken {
        gather.clear();
    }
    taken
}

/// Writes everything that `gather` holds; `buffer` is what its content ranges point into. Gives the number of
/// bytes.
///
/// # Errors
/// No byte moved within `step_us`, or the connection is gone.
pub async fn write_all<R: Rt>(
    rt: &R,
    stream: &impl Stream,
    gather: &mut Gather,
    buffer: &[u8],
    patience: Patience,
    step_us: u64,
) -> Result<u64, Halt> {
    let mut total = write_some(stream, gather, buffer)?;
    while !gather.is_empty() {
        stream.writable(patience.step(rt.now(), step_us)).await?;
        total += write_some(stream, gather, buffer)?;
    }
    Ok(total)
}

/// What a task has passed on since the other tasks had a turn.
#[derive(Debug, Default)]
pub struct Burst {
    bytes: u64,
}

impl Burst {
    /// Counts bytes that were passed on; `true` when it is the others' turn: give buffers back, then wait for
    /// [`others_turn`].
    pub fn is_over(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        let over = self.bytes >= BURST_BYTES_MAX;
        if over {
            self.bytes = 0;
        }
        over
    }
}

/// Lets every other task that is ready go first.
//= SE-FAIR-01
pub async fn others_turn() {
    let mut asked = false;
    poll_fn(|context| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs two futures until the second has completed; the first one's result comes with it if it was earlier.
/// If `stop` says so of the first one's result, the second is given up.
pub async fn beside<A, B>(
    mut first: Pin<&mut impl Future<Output = A>>,
    mut second: Pin<&mut impl Future<Output = B>>,
    stop: impl Fn(&A) -> bool,
) -> (Option<A>, Option<B>) {
    let mut early = None;
    let late = poll_fn(|context| {
        if early.is_none()
            && let Poll::Ready(value) = first.as_mut().poll(context)
        {
            let stops = stop(&value);
            early = Some(value);
            if stops {
                return Poll::Ready(None);
            }
        }
        second.as_mut().poll(context).map(Some)
    })
    .await;
    (early, late)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    //= test SE-FAIR-01
    #[test]
    fn a_long_stream_lets_others_have_a_turn_and_goes_on_after_it() {
        let mut burst = Burst::default();
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(!burst.is_over(BURST_BYTES_MAX - 1));
            assert!(burst.is_over(1));
            let mut turn = pin!(others_turn());
            assert!(turn.as_mut().poll(&mut context).is_pending(), "the others come first");
            assert!(turn.as_mut().poll(&mut context).is_ready());
        }
    }
}

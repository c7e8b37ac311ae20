//! One stream of a connection, as the exchange of its request sees it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use forebay_http::h1::body::Decoder;
use forebay_http::h2::{Code, SendError};

use super::front::Front;
use super::lane::{Lane, State};
use crate::http::client::Client;
use crate::http::exchange::Outcome;
use crate::rt::{NEVER, Now, Rt, Stream};

/// A stream of a connection that speaks HTTP/2.
///
/// What is written to it is heads as `h1::write` writes them, the last of them a final one, and bare content behind that.
pub struct Part<R: Rt> {
    /// Its connection, until it ends.
    front: Option<Rc<Front<R>>>,
    id: u32,
    /// The request was HEAD.
    is_head: bool,
    /// The request was an extended CONNECT.
    is_connect: bool,
    /// The final head has gone.
    answered: Cell<bool>,
    /// Content that is still to go, if its length is known.
    left: Cell<Option<u64>>,
    /// Our side has ended, as it should.
    ended: Cell<bool>,
    /// It is not to end as if it were whole.
    cut: Cell<bool>,
}

/// What is said of a server that takes no upgrade.
const NO_TUNNEL: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";

/// What a head says of what follows it.
struct Said {
    len: usize,
    status: u16,
    length: Option<u64>,
}

impl Said {
    /// Reads a head of our own at the beginning of `bytes`.
    fn read(bytes: &[u8]) -> Option<Said> {
        let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.trim().parse().ok();
        let status = number(bytes.get(9..12)?)?;
        let mut length = None;
        // Each answer comes by here: only the lines' ends are looked for, and only names of the right length are read.
        for end in memchr::memchr_iter(b'\n', bytes) {
            let line = bytes.get(end + 1..)?;
            if line.starts_with(b"\r\n") {
                return Some(Said { len: end + 3, status: u16::try_from(status).ok()?, length });
            }
            if let Some((name, value)) = line.split_at_checked(15)
                && name[14] == b':'
                && name.eq_ignore_ascii_case(b"content-length:")
            {
                length = value.split(|&byte| byte == b'\r').next().and_then(number);
            }
        }
        None
    }
}

fn lost(_: SendError) -> io::Error {
    ErrorKind::ConnectionReset.into()
}

impl<R: Rt> Part<R> {
    /// A stream on which a request came.
    pub(super) fn new(front: &Rc<Front<R>>, id: u32, is_head: bool, is_connect: bool) -> Self {
        Part {
            front: Some(front.clone()),
            id,
            is_head,
            is_connect,
            answered: Cell::default(),
            left: Cell::default(),
            ended: Cell::default(),
            cut: Cell::default(),
        }
    }

    fn front(&self) -> &Rc<Front<R>> {
        self.front.as_ref().expect("nobody uses a stream that has left")
    }

    /// Ends the stream; what is left has only its memory. What has not ended as it should is reset.
    //= H2-HOST-03
    pub(in crate::http) fn leave(&mut self) {
        let Some(front) = self.front.take() else { return };
        let mut state = front.state.borrow_mut();
        state.close(self.id);
        state.reset(self.id, Code::Internal);
        let streams = &front.client.worker.streams;
        // The last one is the connection's own.
        streams.set(streams.get() - usize::from(state.lanes() > 0));
        drop(state);
        front.call();
    }

    /// The client whose connection it is.
    pub fn whole(&self) -> &Rc<Client<R>> {
        &self.front().client
    }

    /// The connection.
    pub(super) fn socket(&self) -> &R::Stream {
        self.front().socket()
    }

    fn now(&self) -> Now {
        self.front().client.worker.rt.now()
    }

    fn with_lane<T>(&self, with: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        self.front().state.borrow_mut().lane(self.id).map(with)
    }

    /// Reads content of the request.
    pub(super) fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.front().state.borrow_mut();
        let lane = state.lane(self.id).ok_or(ErrorKind::ConnectionReset)?;
        if lane.gone {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let (count, released) = lane.take(into);
        if count == 0 && !into.is_empty() {
            return if lane.ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let State { connection, out, .. } = &mut *state;
        let before = out.len();
        connection.release(self.id, released, out);
        let more = out.len() > before;
        drop(state);
        if more || self.front().is_deaf.get() {
            self.front().call();
        }
        Ok(count)
    }

    /// Writes heads and content, as much as the windows and the connection's buffer take.
    pub(super) fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.front().state.borrow_mut();
        if state.lane(self.id).is_none_or(|lane| lane.gone) {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let (mut written, mut all) = (0, true);
        for piece in pieces {
            let mut bytes: &[u8] = piece;
            while !self.answered.get() && !bytes.is_empty() {
                if state.is_full() {
                    break;
                }
                let len = self.head(&mut state, bytes)?;
                written += len;
                bytes = &bytes[len..];
            }
            let count = if self.answered.get() { self.content(&mut state, bytes)? } else { 0 };
            written += count;
            if count < bytes.len() {
                all = false;
                break;
            }
        }
        drop(state);
        self.front().call();
        if written == 0 && !all { Err(ErrorKind::WouldBlock.into()) } else { Ok(written) }
    }

    /// Hands a head over, with the stream's end if nothing follows.
    fn head(&self, state: &mut State, bytes: &[u8]) -> io::Result<usize> {
        let said = Said::read(bytes).ok_or(ErrorKind::InvalidData)?;
        let State { connection, out, .. } = state;
        //= H2-HOST-09
        if self.is_connect && matches!(said.status, 101 | 200..=299) {
            self.answered.set(true);
            if said.status == 101 {
                connection.head(self.id, &bytes[..said.len], &[], false, out).map_err(lost)?;
                return Ok(said.len);
            }
            // The server has answered the request as if it were no upgrade: to the client that would be a tunnel.
            connection.head(self.id, NO_TUNNEL, &[], true, out).map_err(lost)?;
            self.ended.set(true);
            return Err(ErrorKind::InvalidData.into());
        }
        let bare = self.is_head || matches!(said.status, 204 | 304) || said.length == Some(0);
        let end = said.status >= 200 && bare;
        connection.head(self.id, &bytes[..said.len], &[], end, out).map_err(lost)?;
        if said.status >= 200 {
            self.answered.set(true);
            self.ended.set(end);
            self.left.set(if bare { Some(0) } else { said.length });
        }
        Ok(said.len)
    }

    fn content(&self, state: &mut State, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            if self.ended.get() {
                return Err(ErrorKind::InvalidData.into());
            }
            let count = state.room(self.id, || self.now()).min(bytes.len() - written);
            if count == 0 {
                break;
            }
            let left = self.left.get().map(|left| left.saturating_sub(count as u64));
            let end = left == Some(0);
            let head = state.connection.data(self.id, count, end).map_err(lost)?;
            state.out.extend_from_slice(&head);
            state.out.extend_from_slice(&bytes[written..written + count]);
            if state.connection.has_ranks() {
                state.wrote(self.id, count, self.now());
            }
            self.left.set(left);
            self.ended.set(end);
            written += count;
        }
        Ok(written)
    }

    /// Sends the trailers of an answer whose content `decoder` has read, if it has any, and ends the stream with them.
    pub fn trailers(&self, decoder: &Decoder) {
        if self.ended.get() || decoder.trailers().next().is_none() {
            return;
        }
        let mut state = self.front().state.borrow_mut();
        let State { connection, out, .. } = &mut *state;
        if connection.trailers(self.id, decoder.trailers(), out).is_ok() {
            self.ended.set(true);
            self.left.set(Some(0));
        }
    }

    /// The server's side of a tunnel has ended.
    pub(super) fn end_tunnel(&self) {
        if !self.is_connect || !self.answered.get() || self.ended.replace(true) {
            return;
        }
        let mut state = self.front().state.borrow_mut();
        if let Ok(head) = state.connection.data(self.id, 0, true) {
            state.out.extend_from_slice(&head);
        }
        drop(state);
        self.front().call();
    }

    /// The exchange is over. The stream ends as it should if the answer was whole, otherwise by a reset.
    pub fn finish(&self, outcome: Outcome, open_ended: bool) {
        let whole = self.answered.get()
            && !open_ended
            && !self.cut.get()
            && outcome != Outcome::Reset
            && self.left.get().is_none_or(|left| left == 0);
        if !whole {
            return;
        }
        let mut state = self.front().state.borrow_mut();
        if !self.ended.replace(true)
            && let Ok(head) = state.connection.data(self.id, 0, true)
        {
            state.out.extend_from_slice(&head);
        }
        // What the client still sends of its request is of no use: no error of its.
        state.reset(self.id, Code::No);
    }

    /// What was written is not to be taken for a whole answer.
    pub(super) fn cut(&self) {
        self.cut.set(true);
    }

    /// How much content it takes now.
    pub(super) fn room(&self) -> usize {
        self.front().state.borrow().room(self.id, || self.now())
    }

    /// Says whether the stream has ended before its time.
    pub fn is_gone(&self) -> bool {
        self.with_lane(|lane| lane.gone).unwrap_or(true)
    }

    /// Says whether the connection was reset after its client had ended its side: nobody reads it any more.
    pub(super) fn is_reset(&self) -> bool {
        self.front().has_ended.get() && self.socket().is_reset()
    }

    /// Waits until there is content to read, or its end.
    pub(super) async fn readable(&self, deadline: Now) -> io::Result<()> {
        self.wait(deadline, |context| {
            self.with_lane(|lane| {
                let is_ready = lane.is_readable();
                if !is_ready {
                    lane.reader = Some(context.waker().clone());
                }
                is_ready
            })
        })
        .await
    }

    /// Waits until content can be written, or until `deadline` if meanwhile others were served and might not have been: the
    /// time in which we choose others is not the client's to answer for.
    //= H2-PRIO-06
    pub(super) async fn writable(&self, deadline: Now) -> io::Result<()> {
        let since = self.now();
        let waited = self.await_room(deadline).await;
        match &waited {
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                if self.front().state.borrow().was_passed_over(self.id, since) { Ok(()) } else { waited }
            }
            _ => waited,
        }
    }

    async fn await_room(&self, deadline: Now) -> io::Result<()> {
        self.wait(deadline, |context| {
            let mut state = self.front().state.borrow_mut();
            let heads = !self.answered.get();
            if if heads { !state.is_full() } else { state.room(self.id, || self.now()) > 0 } {
                return Some(true);
            }
            state.connection.want(self.id, true);
            if !heads && state.connection.has_ranks() {
                state.waits(self.id, self.now());
            }
            let holds = state.holds || state.has_waiting;
            let lane = state.lane(self.id)?;
            lane.heads = heads;
            lane.writer = Some(context.waker().clone());
            let gone = lane.gone;
            drop(state);
            if holds {
                // The connection's task keeps time for those that leave the room to others.
                self.front().call();
            }
            Some(gone)
        })
        .await
    }

    /// Says whether the stream has ended before its time; otherwise the task is woken when it does.
    pub fn watch(&self, context: &Context<'_>) -> bool {
        let watched = self.with_lane(|lane| {
            lane.watcher = Some(context.waker().clone());
            lane.gone
        });
        watched.unwrap_or(true)
    }

    /// Waits until the handshake of the connection is over, which its own task brings about.
    pub(super) async fn proven(&self, deadline: Now) -> io::Result<()> {
        self.wait(deadline, |context| Some(!self.front().is_unproven(context) || self.watch(context)))
            .await?;
        if self.is_gone() { Err(ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }

    /// Waits until the stream may open a connection to a server; `false` if it has ended before its time.
    //= H2-HOST-15
    pub async fn may_open(&self) -> bool {
        poll_fn(|context| {
            if self.watch(context) {
                return Poll::Ready(false);
            }
            let front = self.front();
            match front.share.take(&front.client.worker.rt, context.waker()) {
                true => Poll::Ready(true),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Waits until the stream has ended before its time.
    pub(super) async fn gone(&self) {
        poll_fn(|context| if self.watch(context) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Waits until `is_ready` says so; a stream that is not there any more is ready for its end.
    async fn wait(&self, deadline: Now, is_ready: impl Fn(&Context<'_>) -> Option<bool>) -> io::Result<()> {
        let rt = &self.front().client.worker.rt;
        let mut late = pin!(async {
            match deadline {
                NEVER => std::future::pending().await,
                _ => rt.sleep_until(deadline).await,
            }
        });
        poll_fn(|context| {
            if is_ready(context).unwrap_or(true) {
                return Poll::Ready(Ok(()));
            }
            late.as_mut().poll(context).map(|()| Err(ErrorKind::TimedOut.into()))
        })
        .await
    }
}

impl<R: Rt> Drop for Part<R> {
    fn drop(&mut self) {
        self.leave();
    }
}

//! A connection that speaks HTTP/2: its socket, its engine, and the frames of all its streams.
//!
//! One task reads, feeds the engine and writes. Each request that comes is a task of its own, which writes frames into the
//! connection's buffer and calls this one; it runs behind all that were ready, so that answers that are ready in one turn
//! leave in one write.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, IoSlice};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, Waker};

use forebay_http::h1::Framing;
use forebay_http::h1::Method;
use forebay_http::h2::{Code, Config, Connection, Event, Role};

use super::lane::{Lane, OUT_BYTES_MAX, State};
use super::part::Part;
use super::way::Way;
use crate::http::answer::linger;
use crate::http::buffer::Buffer;
use crate::http::client::Client;
use crate::http::conversation::Job;
use crate::http::limits::TEXT_KEPT_BYTES;
use crate::http::record::sample_rtt;
use crate::http::wait::others_turn;
use crate::http::work::Head;
use crate::rt::{NEVER, Now, Rt, Stream};
use crate::worker::TimeOuts;

/// A connection, as its task and its streams share it.
pub struct Front<R: Rt> {
    /// The client, who is counted once.
    pub(super) client: Rc<Client<R>>,
    pub(super) state: RefCell<State>,
    /// A stream has written something, or has ended.
    called: Cell<bool>,
    /// The client was told that the connection will end.
    leaving: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// How serving a connection ended.
enum End {
    /// All was said: the client gets what is still on its way.
    Said,
    /// The client has left, or takes nothing.
    Gone,
}

/// What happened.
enum Woken {
    Read,
    Write,
    Called,
    Dismissed,
    Late,
    Gone,
}

/// Goes on with a connection that speaks HTTP/2, in a task of its own: that of a client that waits is smaller.
pub fn begin<R: Rt>(client: Rc<Client<R>>, first: Buffer) {
    let rt = client.worker.rt.clone();
    rt.spawn(serve(client, first));
}

/// Serves a connection to its end; `first` is what was read of it, the preface in front.
async fn serve<R: Rt>(client: Rc<Client<R>>, first: Buffer) {
    let mut out = Vec::new();
    let config = Config { limits: client.limits(), extended_connect: false, ..Config::default() };
    let connection = Connection::new(Role::Server, &config, &mut out);
    let front = Rc::new(Front {
        client,
        state: RefCell::new(State::new(connection, out)),
        called: Cell::default(),
        leaving: Cell::default(),
        waker: Cell::default(),
    });
    let _over = Over(&front);
    let end = front.lead(first).await;
    front.state.borrow_mut().lose_all();
    if let End::Said = end {
        let mut sink = front.client.worker.buffers.head();
        linger(&front.client, &mut sink).await;
        front.client.worker.buffers.give_back(sink);
    }
}

/// The end of a connection's task, also where it is given up: its streams hear of it, and the socket closes with it although
/// their exchanges may last a moment longer.
struct Over<'f, R: Rt>(&'f Rc<Front<R>>);

impl<R: Rt> Drop for Over<'_, R> {
    fn drop(&mut self) {
        self.0.state.borrow_mut().lose_all();
        self.0.socket().shutdown(Shutdown::Both);
    }
}

impl<R: Rt> Front<R> {
    /// The connection's socket.
    pub(super) fn socket(&self) -> &R::Stream {
        match &self.client.stream {
            Way::Own(stream) => stream,
            Way::Part(part) => part.socket(),
        }
    }

    /// Lets the connection's task look at what there is to write.
    pub(super) fn call(&self) {
        self.called.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    async fn lead(self: &Rc<Self>, first: Buffer) -> End {
        let worker = self.client.worker.clone();
        let _place = worker.parked.enter(&self.client);
        let mut rest = Some(first);
        let mut fresh = true;
        let mut idle_since = worker.rt.now();
        let mut blocked_since = None;
        loop {
            if fresh && let Some(bytes) = rest.take() {
                rest = self.feed(bytes);
                fresh = false;
                // Requests that came together are answered together, as far as they can be at once.
                others_turn().await;
            }
            self.leave_if_due();
            if self.flush().is_err() {
                return End::Gone;
            }
            let now = worker.rt.now();
            let (pending, over, busy) = {
                let mut state = self.state.borrow_mut();
                state.wake_writers();
                (state.waiting(), state.connection.is_over(), state.has_lanes())
            };
            if over && pending == 0 && !busy {
                return End::Said;
            }
            if busy {
                idle_since = now;
            }
            blocked_since = (pending > 0).then(|| blocked_since.unwrap_or(now));
            let time_outs = self.client.time_outs();
            let idle = if busy || over { NEVER } else { TimeOuts::at(idle_since, time_outs.idle) };
            let stalled = blocked_since.map_or(NEVER, |since| TimeOuts::at(since, time_outs.body));
            // A client that does not take what is said to it is not heard either.
            let reads = pending < OUT_BYTES_MAX && !over;
            match self.wait(reads, pending > 0, idle, stalled).await {
                Woken::Called => {}
                Woken::Write => blocked_since = None,
                Woken::Read => match self.read(&mut rest) {
                    Ok(came) => fresh = came,
                    Err(()) => return End::Gone,
                },
                Woken::Dismissed => {
                    self.client.dismissed.set(false);
                    self.go();
                }
                Woken::Late if pending > 0 => {
                    worker.metrics.timeouts.body.inc();
                    self.socket().reset_on_close();
                    return End::Gone;
                }
                Woken::Late => {
                    worker.metrics.timeouts.idle.inc();
                    self.go();
                }
                Woken::Gone => return End::Gone,
            }
        }
    }

    /// Says that no more streams are taken.
    fn go(&self) {
        let mut state = self.state.borrow_mut();
        let State { connection, out, .. } = &mut *state;
        connection.go(Code::No, out);
    }

    /// Begins to end a connection that gets no further requests: what is under way is still taken.
    fn leave_if_due(&self) {
        let is_due = self.client.is_leaving() || self.client.has_had_all();
        if !is_due || self.leaving.replace(true) {
            return;
        }
        let mut state = self.state.borrow_mut();
        let State { connection, out, .. } = &mut *state;
        connection.going(out);
        // Its answer says that the client knows.
        connection.ping(*b"leaving.", out);
    }

    async fn wait(&self, reads: bool, writes: bool, idle: Now, stalled: Now) -> Woken {
        let socket = self.socket();
        let mut readable = reads.then(|| socket.readable(idle));
        let mut writable = pin!(async {
            match writes {
                true => socket.writable(stalled).await,
                false => std::future::pending().await,
            }
        });
        let woken = |waited: std::io::Result<()>, good| match waited {
            Ok(()) => good,
            Err(error) if error.kind() == ErrorKind::TimedOut => Woken::Late,
            Err(_) => Woken::Gone,
        };
        poll_fn(|context| {
            self.waker.set(Some(context.waker().clone()));
            self.client.waiting.set(Some(context.waker().clone()));
            if let Some(readable) = &mut readable
                && let Poll::Ready(waited) = Pin::new(readable).poll(context)
            {
                return Poll::Ready(woken(waited, Woken::Read));
            }
            if let Poll::Ready(waited) = writable.as_mut().poll(context) {
                return Poll::Ready(woken(waited, Woken::Write));
            }
            if self.called.take() {
                return Poll::Ready(Woken::Called);
            }
            if self.client.dismissed.get() {
                return Poll::Ready(Woken::Dismissed);
            }
            Poll::Pending
        })
        .await
    }

    /// Reads what is there behind `rest`; says whether that was anything.
    fn read(&self, rest: &mut Option<Buffer>) -> Result<bool, ()> {
        let buffers = &self.client.worker.buffers;
        let mut buffer = buffers.body();
        if let Some(before) = rest.take() {
            buffer.append(before.filled());
            buffers.give_back(before);
        }
        let most = buffer.space().len().min(buffers.read_max());
        let read = self.socket().try_read(&mut buffer.space()[..most]);
        let came = match read {
            Ok(0) => Err(()),
            Ok(count) => {
                buffer.commit(count);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(_) => Err(()),
        };
        if matches!(came, Ok(true)) {
            *rest = Some(buffer);
        } else {
            *rest = buffers.leftover(buffer.filled());
            buffers.give_back(buffer);
        }
        came
    }

    /// Gives the engine what was read, and keeps what it cannot use yet.
    fn feed(self: &Rc<Self>, mut buffer: Buffer) -> Option<Buffer> {
        let buffers = &self.client.worker.buffers;
        let now = self.client.worker.rt.now().0 / 1000;
        loop {
            let mut state = self.state.borrow_mut();
            let State { connection, inbox, out, .. } = &mut *state;
            let step = connection.feed(buffer.filled(), now, inbox, out);
            let is_last = matches!(step.event, Event::NeedInput | Event::Over { .. });
            let begun = take(&mut state, step.event, buffer.filled(), &self.client);
            drop(state);
            if let Some(begun) = begun {
                self.begin(begun);
            }
            buffer.consume(step.consumed);
            if is_last {
                break;
            }
        }
        let rest = buffers.leftover(buffer.filled());
        buffers.give_back(buffer);
        rest
    }

    /// Begins to serve a request in a task of its own.
    //= H2-HOST-02
    fn begin(self: &Rc<Self>, begun: Begun) {
        let Begun { stream, is_head, job, head } = begun;
        let whole = &self.client;
        whole.requests.set(whole.requests.get().saturating_add(1));
        sample_rtt(whole);
        let client = whole.beside(Way::Part(Box::new(Part::new(self, stream, is_head))));
        whole.worker.rt.spawn(async move {
            let mut conversation = client.worker.conversations.take();
            conversation.lead_with(&client, job, head).await;
            client.worker.conversations.give_back(conversation);
        });
    }

    /// Writes what the socket takes.
    fn flush(&self) -> Result<(), ()> {
        let mut state = self.state.borrow_mut();
        while state.waiting() > 0 {
            let written = self.socket().try_write(&[IoSlice::new(&state.out[state.sent..])]);
            match written {
                Ok(count) => state.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let sent = std::mem::take(&mut state.sent);
                    state.out.drain(..sent);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(()),
            }
        }
        state.sent = 0;
        state.out.clear();
        if !state.has_lanes() {
            state.out.shrink_to(TEXT_KEPT_BYTES);
        }
        Ok(())
    }
}

/// A request that came.
struct Begun {
    stream: u32,
    is_head: bool,
    job: Job,
    head: Option<Box<Head>>,
}

/// Does what an event asks for; a request is the caller's.
fn take<R: Rt>(state: &mut State, event: Event, input: &[u8], client: &Client<R>) -> Option<Begun> {
    let worker = &client.worker;
    let begin = worker.rt.now();
    match event {
        Event::Request { stream, end } => {
            let mut head = worker.works.head(&worker.buffers);
            head.bytes.append(&state.inbox.bytes);
            std::mem::swap(&mut head.request, &mut state.inbox.request);
            let chunked = head.request.framing == Framing::Chunked;
            let is_head = head.request.method == Method::Head;
            state.open(Lane::new(stream, chunked, end));
            Some(Begun { stream, is_head, job: Job::Request(begin), head: Some(head) })
        }
        Event::Refused { stream, reject } => {
            worker.metrics.requests_rejected.inc();
            state.open(Lane::new(stream, false, true));
            let job = Job::Refuse(reject.status, reject.rule.text(), begin);
            Some(Begun { stream, is_head: false, job, head: None })
        }
        Event::Data { stream, data, end } => {
            let data = input.get(data).unwrap_or(&[]);
            match state.lane(stream) {
                Some(lane) => {
                    lane.content(data, end);
                    super::lane::wake(&mut lane.reader);
                }
                // Its exchange is over: nobody will read it.
                None => {
                    let State { connection, out, .. } = state;
                    connection.release(stream, data.len(), out);
                }
            }
            None
        }
        Event::Trailers { stream } => {
            let inbox = std::mem::take(&mut state.inbox);
            if let Some(lane) = state.lane(stream) {
                lane.end(&inbox);
            }
            state.inbox = inbox;
            None
        }
        Event::Reset { stream, rule, .. } => {
            if rule.is_some() {
                worker.metrics.requests_rejected.inc();
            }
            if let Some(lane) = state.lane(stream) {
                lane.lose();
            }
            None
        }
        Event::Pong { .. } => {
            let State { connection, out, .. } = state;
            connection.go(Code::No, out);
            None
        }
        Event::Over { .. } => {
            worker.metrics.requests_rejected.inc();
            state.lose_all();
            None
        }
        Event::NeedInput | Event::GoAway { .. } | Event::Response { .. } => None,
    }
}

//! A connection that speaks HTTP/2: its socket, its engine, and the frames of all its streams.
//!
//! One task reads, feeds the engine and writes. Each request that comes is a task of its own, which writes frames into the
//! connection's buffer and calls this one; it runs behind all that were ready, so that answers that are ready in one turn
//! leave in one write.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use forebay_http::h2::{Code, Config, Connection, Event, Role, Rule};

use super::events::{Begun, STREAMS_MAX, take};
use super::lane::State;
use super::part::Part;
use super::share::{Share, TOLD_PER_TURN, Used};
use super::way::Way;
use crate::http::answer::linger;
use crate::http::buffer::{Buffer, Unfinished};
use crate::http::client::Client;
use crate::http::flush::flush;
use crate::http::limits::{DRAIN_IDLE_US, SLOW_READ_BYTES, TEXT_KEPT_BYTES};
use crate::http::record::sample_rtt;
use crate::http::wait::others_turn;
use crate::rt::lane::{STREAMS, turn};
use crate::rt::{NEVER, Now, Rt, Stream, behind};
use crate::worker::TimeOuts;

/// How many streams of a connection may send as much as a stream's window before a server has taken anything: more of them
/// share it.
const WINDOWS: u32 = 4;

/// A connection, as its task and its streams share it.
pub struct Front<R: Rt> {
    /// The client, who is counted once.
    pub(super) client: Rc<Client<R>>,
    pub(super) state: RefCell<State>,
    /// A stream has written something, or has ended.
    called: Cell<bool>,
    /// The client was told that the connection will end, and no more streams are taken from this moment on.
    leaving: Cell<Option<Now>>,
    /// Nothing is read for want of memory until the streams have read what they have.
    pub(super) is_deaf: Cell<bool>,
    /// The client has ended its side: it is answered what it has asked, and is not read.
    pub(super) has_ended: Cell<bool>,
    /// What is kept of a header block that is not finished.
    block: RefCell<Unfinished>,
    /// The stream of that block, or 0 for a part of a frame, and since when it has been there.
    unfinished: Cell<Option<(u32, Now)>>,
    waker: Cell<Option<Waker>>,
    /// Streams that wait for the end of the handshake.
    unproven: RefCell<Vec<Waker>>,
    /// Which of its streams may open a connection to a server.
    pub(super) share: Rc<Share>,
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
    Stalled,
    Gone,
}

/// Goes on with a connection that speaks HTTP/2, in a task of its own: that of a client that waits is smaller.
pub fn begin<R: Rt>(client: Rc<Client<R>>, first: Buffer) {
    let rt = client.worker.rt.clone();
    rt.spawn(serve(client, first));
}

/// What a client is offered, by the configuration of now; `None`: its service has gone.
fn offers<R: Rt>(client: &Client<R>) -> Option<Config> {
    let plan = client.current()?;
    let service = client.service(&plan);
    let config = Config {
        limits: service.head_limits,
        streams_max: STREAMS_MAX,
        //= H2-HOST-14
        stream_window: service.http2_window,
        connection_window: service.http2_window.saturating_mul(WINDOWS),
        extended_connect: service.websockets,
        ..Config::default()
    };
    Some(config)
}

/// Serves a connection to its end; `first` is what was read of it, the preface in front.
async fn serve<R: Rt>(client: Rc<Client<R>>, first: Buffer) {
    let mut out = Vec::new();
    let Some(config) = offers(&client) else { return };
    let connection = Connection::new(Role::Server, &config, &mut out);
    let block = RefCell::new(client.worker.buffers.unfinished());
    let front = Rc::new(Front {
        client,
        state: RefCell::new(State::new(connection, out)),
        called: Cell::default(),
        leaving: Cell::default(),
        is_deaf: Cell::default(),
        has_ended: Cell::default(),
        block,
        unfinished: Cell::default(),
        waker: Cell::default(),
        unproven: RefCell::default(),
        share: Rc::default(),
    });
    let _over = Over(&front);
    let end = front.lead(first).await;
    front.lose_all().await;
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
        let mut state = self.0.state.borrow_mut();
        state.lose_all();
        state.tell_lost(usize::MAX);
        drop(state);
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

    /// Says whether the connection's handshake is not over; then the task is woken when it is.
    pub(super) fn is_unproven(&self, context: &Context<'_>) -> bool {
        let is_early = self.client.stream.is_early();
        let mut unproven = self.unproven.borrow_mut();
        if is_early && !unproven.iter().any(|waker| waker.will_wake(context.waker())) {
            unproven.push(context.waker().clone());
        }
        is_early
    }

    /// Wakes those who wait for the end of the handshake, if that has come.
    fn tell_proven(&self) {
        if !self.unproven.borrow().is_empty() && !self.client.stream.is_early() {
            self.unproven.take().into_iter().for_each(Waker::wake);
        }
    }

    async fn lead(self: &Rc<Self>, first: Buffer) -> End {
        let worker = self.client.worker.clone();
        let _place = worker.parked.enter(&self.client);
        let mut rest = Some(first);
        let mut fresh = true;
        let begun = worker.rt.now();
        let (mut idle_since, mut was_busy) = (begun, false);
        let mut blocked_since = None;
        let mut held = worker.buffers.hold(0);
        loop {
            let mut own = None;
            while fresh && let Some(bytes) = rest.take() {
                (rest, fresh) = match own.is_none() {
                    true => self.feed(bytes, true),
                    false => behind(|| self.feed(bytes, false)),
                };
                // The next one's begins.
                drop(own.take());
                // Requests that came together are answered together, as far as they can be at once.
                match fresh && rest.is_some() {
                    true => own = Some(turn(&STREAMS).await),
                    false => others_turn().await,
                }
            }
            drop(own);
            fresh = false;
            self.leave_if_due();
            if self.flush().is_err() {
                return End::Gone;
            }
            // Its client knows first: until then it goes on.
            self.tell_lost().await;
            self.shorten_queue();
            let now = worker.rt.now();
            let ended = self.has_ended.get();
            let (pending, over, busy, full, again) = {
                let mut state = self.state.borrow_mut();
                //= H2-HOST-05
                let unread = state.unread();
                held.set(state.waiting() + state.content_bytes());
                let are_scarce = worker.buffers.are_scarce();
                self.is_deaf.set(are_scarce && unread > SLOW_READ_BYTES);
                state.bound_out(are_scarce);
                let over = state.connection.is_over();
                if state.waiting() > 0 {
                    state.slow_at = Some(now);
                }
                // Who is not heard has nobody who looks at the time.
                state.is_patient = !over && !ended && !self.is_deaf.get();
                let again = state.wake_writers(|| worker.rt.now());
                (state.waiting(), over, state.lanes() > 0, state.is_full(), again)
            };
            if (over || ended) && pending == 0 && !busy {
                return End::Said;
            }
            let leaving = self.leaving.get().filter(|_| !over).unwrap_or(NEVER);
            if now >= leaving {
                self.leaving.set(Some(NEVER));
                self.go();
                continue;
            }
            // Its last request may have ended long after this was looked at.
            if std::mem::replace(&mut was_busy, busy) || busy {
                idle_since = now;
            }
            blocked_since = (pending > 0).then(|| blocked_since.unwrap_or(now));
            let time_outs = self.client.time_outs();
            let idle = if busy || over { NEVER } else { TimeOuts::at(idle_since, time_outs.idle) };
            let idle = if leaving == NEVER { idle } else { leaving };
            let stalled = blocked_since.map_or(NEVER, |since| TimeOuts::at(since, time_outs.body));
            // A client that does not take what is said to it is not heard either.
            let reads = !full && !over && !ended && !self.is_deaf.get();
            let head_by = match reads {
                true => self.head_by(begun, time_outs.header),
                // What came of a head meanwhile is not looked at: its time begins anew.
                false => {
                    self.unfinished.set(self.unfinished.get().map(|(stream, _)| (stream, now)));
                    NEVER
                }
            };
            match self.wait(reads, pending > 0, idle.min(head_by).min(again), stalled).await {
                Woken::Called => {}
                Woken::Late if again <= idle.min(head_by) => {}
                Woken::Write => {
                    blocked_since = None;
                    // It may take all that is here now, and was slow until this moment.
                    self.state.borrow_mut().slow_at = Some(worker.rt.now());
                }
                Woken::Read => match self.read(&mut rest) {
                    Ok(came) => {
                        fresh = came;
                        self.tell_proven();
                    }
                    Err(()) => return End::Gone,
                },
                Woken::Dismissed => {
                    self.client.dismissed.set(false);
                    if self.leaving.get().is_some() {
                        self.go();
                    }
                }
                //= H2-HOST-08
                Woken::Stalled => {
                    worker.metrics.timeouts.body.inc();
                    self.socket().reset_on_close();
                    return End::Gone;
                }
                //= H2-HOST-12
                Woken::Late if head_by <= idle => {
                    worker.metrics.timeouts.header.inc();
                    match self.unfinished.get() {
                        Some(_) => self.cut(),
                        None => self.go(),
                    }
                }
                Woken::Late if leaving != NEVER => {}
                Woken::Late => {
                    worker.metrics.timeouts.idle.inc();
                    self.go();
                }
                Woken::Gone => return End::Gone,
            }
        }
    }

    /// What the kernel has taken goes in that order, whatever comes: where streams have ranks it is not to be much.
    //= H2-PRIO-05
    fn shorten_queue(&self) {
        let mut state = self.state.borrow_mut();
        if state.connection.has_ranks() && !std::mem::replace(&mut state.is_short, true) {
            self.socket().queue_little();
        }
    }

    /// When the head that is coming in has to be whole, or the first one has to be there.
    fn head_by(&self, begun: Now, time_us: u64) -> Now {
        let unfinished = self.unfinished.get().map(|(_, since)| since);
        let first = (self.client.requests.get() == 0).then_some(begun);
        unfinished.into_iter().chain(first).map(|since| TimeOuts::at(since, time_us)).min().unwrap_or(NEVER)
    }

    /// Notes since when part of a head, or of another frame, has been there; `used`: something before it was whole.
    fn note_unfinished(&self, used: bool, rest: usize) {
        let state = self.state.borrow();
        let block = state.connection.unfinished().map(|(stream, _)| stream);
        let now = self.client.worker.rt.now();
        self.unfinished.set(match (block.or((rest > 0).then_some(0)), self.unfinished.get()) {
            (None, _) => None,
            // The block's first frame may be the one of which a part was there.
            (Some(stream), Some((before, since))) if before == stream && (stream > 0 || !used) => {
                Some((stream, since))
            }
            (Some(stream), Some((0, since))) if stream > 0 => Some((stream, since)),
            (Some(stream), _) => Some((stream, now)),
        });
    }

    /// Ends the connection for a header block that is not finished, and all its streams: what follows the block could not
    /// be read.
    fn cut(&self) {
        let mut state = self.state.borrow_mut();
        let State { connection, out, .. } = &mut *state;
        connection.cut(Rule::BlockLength, out);
        state.lose_all();
    }

    /// The connection is over: every stream hears of it, and others have their turns meanwhile.
    async fn lose_all(&self) {
        self.state.borrow_mut().lose_all();
        self.share.forget();
        self.tell_lost().await;
    }

    /// Tells streams that have ended with the connection.
    //= H2-HOST-15
    async fn tell_lost(&self) {
        let mut own = None;
        while behind(|| self.state.borrow_mut().tell_lost(TOLD_PER_TURN)) {
            drop(own.take());
            own = Some(turn(&STREAMS).await);
        }
    }

    /// Says that no more streams are taken.
    fn go(&self) {
        let mut state = self.state.borrow_mut();
        let State { connection, out, .. } = &mut *state;
        connection.go(Code::No, out);
    }

    /// Says whether the client is to learn that its connection gets no further requests.
    fn has_to_leave(&self) -> bool {
        self.leaving.get().is_none() && (self.client.is_leaving() || self.client.has_had_all())
    }

    /// Begins to end a connection that gets no further requests: what is under way is still taken.
    //= H2-HOST-06
    fn leave_if_due(&self) {
        if !self.has_to_leave() {
            return;
        }
        self.leaving.set(Some(Now(self.client.worker.rt.now().0 + DRAIN_IDLE_US)));
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
        let woken = |waited: std::io::Result<()>, good, late| match waited {
            Ok(()) => good,
            Err(error) if error.kind() == ErrorKind::TimedOut => late,
            Err(_) => Woken::Gone,
        };
        poll_fn(|context| {
            self.waker.set(Some(context.waker().clone()));
            self.client.waiting.set(Some(context.waker().clone()));
            if let Some(readable) = &mut readable
                && let Poll::Ready(waited) = Pin::new(readable).poll(context)
            {
                return Poll::Ready(woken(waited, Woken::Read, Woken::Late));
            }
            if let Poll::Ready(waited) = writable.as_mut().poll(context) {
                return Poll::Ready(woken(waited, Woken::Write, Woken::Stalled));
            }
            if self.called.take() || self.has_to_leave() {
                return Poll::Ready(Woken::Called);
            }
            if self.client.dismissed.get() {
                return Poll::Ready(Woken::Dismissed);
            }
            Poll::Pending
        })
        .await
    }

    /// Reads what is there behind `rest`; says whether that was anything. A client that has ended its side gets what it has
    /// asked for; of a request that is not whole there will be no more.
    //= H2-HOST-13
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
            Ok(0) => {
                self.has_ended.set(true);
                let mut state = self.state.borrow_mut();
                match state.lose_unended() {
                    0 if state.waiting() == 0 => Err(()),
                    _ => Ok(false),
                }
            }
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

    /// Gives the engine what was read, as much as is one turn's, and keeps the rest; says whether that is to be given at once.
    fn feed(self: &Rc<Self>, mut buffer: Buffer, is_first: bool) -> (Option<Buffer>, bool) {
        let buffers = &self.client.worker.buffers;
        let now = self.client.worker.rt.now().0 / 1000;
        let mut used = false;
        let mut used_up = Used::new(is_first, self.client.requests.get());
        let more = loop {
            let mut state = self.state.borrow_mut();
            let State { connection, inbox, out, .. } = &mut *state;
            let step = connection.feed(buffer.filled(), now, inbox, out);
            let is_last = matches!(step.event, Event::NeedInput | Event::Over { .. });
            let is_reset = matches!(step.event, Event::Reset { .. });
            used |= step.consumed > 0;
            // A block that is whole is charged as a head from here on.
            let kept = connection.unfinished().map_or(0, |(_, bytes)| bytes);
            let fits = self.block.borrow_mut().set(kept);
            let begun = take(&mut state, step.event, buffer.filled(), &self.client);
            // What the largest head took is not kept between requests.
            state.inbox.bytes.clear();
            state.inbox.bytes.shrink_to(TEXT_KEPT_BYTES);
            drop(state);
            let of_stream = is_reset || begun.is_some();
            if let Some(begun) = begun {
                self.begin(begun);
            }
            buffer.consume(step.consumed);
            if !fits {
                self.client.worker.metrics.heads_refused_memory.inc();
                self.cut();
                buffer.clear();
                break false;
            }
            if is_last {
                break false;
            }
            if used_up.is_over(of_stream) {
                break true;
            }
        };
        self.note_unfinished(used, buffer.len());
        let rest = buffers.leftover(buffer.filled());
        buffers.give_back(buffer);
        (rest, more)
    }

    /// Begins to serve a request in a task of its own.
    //= H2-HOST-02
    fn begin(self: &Rc<Self>, begun: Begun) {
        let Begun { stream, is_head, is_connect, job, head } = begun;
        let whole = &self.client;
        whole.requests.set(whole.requests.get().saturating_add(1));
        sample_rtt(whole);
        let part = Part::new(self, stream, is_head, is_connect);
        whole.worker.conversations.serve(&whole.worker.rt, part, job, head);
    }

    /// Writes what the socket takes.
    fn flush(&self) -> Result<(), ()> {
        let mut state = self.state.borrow_mut();
        let State { out, sent, .. } = &mut *state;
        flush(self.socket(), out, sent)?;
        if state.out.is_empty() && state.lanes() == 0 {
            state.out.shrink_to(TEXT_KEPT_BYTES);
        }
        Ok(())
    }
}

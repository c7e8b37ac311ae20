//! Requests of one client, one after another, as long as bytes of a next one are there.
//!
//! The future that leads a request from its first byte to the last one of its answer takes several KiB: the largest
//! state of everything that can happen to a request. So it does not belong to the connection. A [`Conversation`] is
//! such a future that serves one client, waits for the next one, and is lent out again: what it costs is bounded by
//! the requests that are under way, and nothing is allocated, or even moved, for one.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use forebay_http::h1::{Parse, parse_request};
use forebay_http::h2::PREFACE;

use super::answer::{Saying, linger, say};
use super::buffer::{Buffer, Grown};
use super::client::Client;
use super::early;
use super::exchange::{Outcome, exchange};
use super::gather::Gather;
use super::h2::part::Part;
use super::limits::{REQUESTS_PER_TURN, SPARE_KEPT};
use super::record::{Trace, finish, sample_rtt};
use super::spare::Spare;
use super::wait::{Patience, others_turn};
use super::work::{Head, Work};
use crate::rt::{Now, Rt, Stream};
use crate::worker::{Generation, Service, TimeOuts};

/// What a client gets a conversation for.
pub enum Job {
    /// Its requests; the first head of the connection has to be there at the given moment.
    Serve(Option<Now>),
    /// It has no request, and is to go.
    Dismiss,
    /// One request that came on a stream of its own, at the given moment.
    Request(Now),
    /// One that is not taken: the status and the reason.
    Refuse(u16, &'static str, Now),
}

/// What follows after a conversation.
pub enum After {
    /// The client may send another request.
    Wait,
    /// The connection ends.
    End,
    /// It speaks HTTP/2, and this is how it began.
    Http2(Buffer),
}

/// For whom there is something to do, and what.
enum Task<R: Rt> {
    /// A client with a connection of its own.
    Own(Rc<Client<R>>, Job),
    /// A stream of a connection, and its request's head if it is one.
    Stream(Part<R>, Job, Option<Box<Head>>),
}

/// Where a conversation finds its next client, and says how it ended.
struct Desk<R: Rt> {
    job: RefCell<Option<Task<R>>>,
    after: Cell<Option<After>>,
    /// The task that waits for a stream.
    waker: Cell<Option<Waker>>,
    /// No more streams come.
    closed: Cell<bool>,
}

/// A future that serves one client after another.
pub struct Conversation<R: Rt> {
    desk: Rc<Desk<R>>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

impl<R: Rt> Conversation<R> {
    fn new() -> Self {
        let desk = Desk::new();
        Conversation { future: Box::pin(attend(desk.clone())), desk }
    }

    /// Serves a client, in the caller's task.
    pub fn lead(&mut self, client: &Rc<Client<R>>, job: Job) -> impl Future<Output = After> {
        *self.desk.job.borrow_mut() = Some(Task::Own(client.clone(), job));
        poll_fn(|context| {
            // It never completes: it would wait for the next client.
            let _ = self.future.as_mut().poll(context);
            self.desk.after.take().map_or(Poll::Pending, Poll::Ready)
        })
    }
}

impl<R: Rt> Desk<R> {
    fn new() -> Rc<Self> {
        Rc::new(Desk {
            job: RefCell::default(),
            after: Cell::new(None),
            waker: Cell::default(),
            closed: Cell::default(),
        })
    }

    /// Lets its task look.
    fn call(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Serves clients until nobody needs it any more. Between two it holds nothing but the memory of a stream's client.
async fn attend<R: Rt>(desk: Rc<Desk<R>>) {
    let mut retired = None;
    loop {
        let next = poll_fn(|context| match desk.job.borrow_mut().take() {
            None if desk.closed.get() => Poll::Ready(None),
            None => {
                desk.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
            job => Poll::Ready(job),
        });
        let (client, job, head) = match next.await {
            Some(Task::Own(client, job)) => (client, job, None),
            Some(Task::Stream(part, job, head)) => (Client::beside(part, retired.take()), job, head),
            None => return,
        };
        let worker = &client.worker;
        let mut head = head.unwrap_or_else(|| worker.works.head(&worker.buffers));
        let after = match job {
            Job::Serve(first_head) => converse(&client, &mut head, first_head).await,
            Job::Dismiss => {
                linger(&client, &mut head.bytes).await;
                After::End
            }
            Job::Request(begin) => {
                let outcome = match client.current() {
                    Some(plan) => request(&client, &plan, &mut head, begin).await,
                    None => Outcome::Reset,
                };
                client.finish(outcome);
                After::End
            }
            Job::Refuse(status, why, begin) => {
                if let Some(plan) = client.current() {
                    refuse(&client, &plan, &mut head, begin, status, why).await;
                    client.finish(Outcome::Linger);
                }
                After::End
            }
        };
        worker.works.give_back_head(head, &worker.buffers);
        match client.stream.part() {
            None => drop(client),
            Some(_) => {
                let worker = client.worker.clone();
                retired = client.retire();
                worker.conversations.waiting.give(Waiting(Some(desk.clone())));
            }
        }
        desk.after.set(Some(after));
    }
}

/// A conversation in a task of its own that has no stream; its end when it is dropped.
struct Waiting<R: Rt>(Option<Rc<Desk<R>>>);

impl<R: Rt> Drop for Waiting<R> {
    fn drop(&mut self) {
        if let Some(desk) = &self.0 {
            desk.closed.set(true);
            desk.call();
        }
    }
}

/// A worker's conversations that serve nobody.
pub struct Conversations<R: Rt> {
    spare: Spare<Conversation<R>>,
    /// Those that have a task, for streams.
    waiting: Spare<Waiting<R>>,
}

impl<R: Rt> Default for Conversations<R> {
    fn default() -> Self {
        Conversations { spare: Spare::new(SPARE_KEPT), waiting: Spare::new(SPARE_KEPT) }
    }
}

impl<R: Rt> Conversations<R> {
    /// One that serves nobody.
    pub fn take(&self) -> Conversation<R> {
        self.spare.take().unwrap_or_else(Conversation::new)
    }

    /// Takes one back that has ended a client's job.
    pub fn give_back(&self, conversation: Conversation<R>) {
        self.spare.give(conversation);
    }

    /// Serves a stream, beside all else; `head`: the request, if it is one.
    pub fn serve(&self, rt: &R, stream: Part<R>, job: Job, head: Option<Box<Head>>) {
        let task = Some(Task::Stream(stream, job, head));
        match self.waiting.take().and_then(|mut waiting| waiting.0.take()) {
            Some(desk) => {
                desk.job.replace(task);
                desk.call();
            }
            None => {
                let desk = Desk::new();
                desk.job.replace(task);
                rt.spawn(attend(desk));
            }
        }
    }

    /// Frees those that were not needed since the last call; gives how many bytes that were.
    pub fn release(&self) -> usize {
        (self.spare.release() + self.waiting.release()) * size_of_future(attend::<R>)
    }
}

fn size_of_future<A, F>(_: impl Fn(A) -> F) -> usize {
    size_of::<F>()
}

/// Serves requests as long as bytes of a next one are there.
//= SE-PIPELINE-01
async fn converse<R: Rt>(client: &Rc<Client<R>>, head: &mut Head, mut first_head: Option<Now>) -> After {
    let worker = &client.worker;
    let mut served = 0_u32;
    loop {
        // Requests that we answer ourselves never wait: a client that pipelines them must not keep the worker.
        //= SE-FAIR-01
        served = served.wrapping_add(1);
        if served.is_multiple_of(REQUESTS_PER_TURN) {
            others_turn().await;
        }
        let begin = worker.rt.now();
        let Some(plan) = client.current() else { return After::End };
        let plan = &*plan;
        let service = client.service(plan);
        let deadline = first_head.take().unwrap_or_else(|| TimeOuts::at(begin, service.time_outs.header));
        match read_head(client, service, head, deadline).await {
            HeadRead::Request => {}
            HeadRead::Nothing => return After::End,
            HeadRead::Http2 => return After::Http2(std::mem::take(&mut head.bytes)),
            HeadRead::Unknown => {
                worker.metrics.requests_rejected.inc();
                return After::End;
            }
            HeadRead::Cut => {
                worker.metrics.client_aborts.inc();
                return After::End;
            }
            //= SE-TIMEOUT-02
            HeadRead::Late => {
                worker.metrics.timeouts.header.inc();
                refuse(client, plan, head, begin, 408, "the request's head did not come in time").await;
                return After::End;
            }
            HeadRead::Refused(status, why) => {
                worker.metrics.requests_rejected.inc();
                refuse(client, plan, head, begin, status, why).await;
                return After::End;
            }
        }
        client.requests.set(client.requests.get() + 1);
        sample_rtt(client);
        match request(client, plan, head, begin).await {
            Outcome::Keep if head.bytes.is_empty() => return After::Wait,
            Outcome::Keep => {}
            Outcome::Reset => {
                client.stream.reset_on_close();
                return After::End;
            }
            _ if client.stream.is_early() => {
                early::part(client, plan, &mut head.bytes).await;
                return After::End;
            }
            Outcome::Linger => {
                linger(client, &mut head.bytes).await;
                return After::End;
            }
            Outcome::Close => return After::End,
        }
    }
}

/// Serves a request whose head is there.
async fn request<R: Rt>(client: &Rc<Client<R>>, plan: &Generation, head: &mut Head, begin: Now) -> Outcome {
    let worker = &client.worker;
    client.came_for(plan, head.request.host(head.bytes.filled()).unwrap_or(b""));
    client.service(plan).counts.requests.inc();
    let mut work = worker.works.work();
    work.trace.begin = begin;
    let mut told = Told { client, plan, head: &mut *head, work: &mut work, is_over: false };
    let outcome = exchange(client, plan, told.head, told.work).await;
    told.is_over = true;
    drop(told);
    client.let_go(worker.rt.now());
    worker.works.give_back(work);
    outcome
}

/// A request under way: where its task is dropped in the middle of it, it is told all the same.
struct Told<'c, R: Rt> {
    client: &'c Client<R>,
    plan: &'c Generation,
    head: &'c mut Head,
    work: &'c mut Work,
    /// It has ended by itself, and has been told.
    is_over: bool,
}

impl<R: Rt> Drop for Told<'_, R> {
    //= OBS-LOG-07
    fn drop(&mut self) {
        // Of the task that panics itself nothing is certain any more; its panic is in the process log.
        if self.is_over || std::thread::panicking() {
            return;
        }
        let is_stop = self.client.worker.draining.get();
        let work = &mut *self.work;
        work.trace.ended(if is_stop { "cut: the engine stopped" } else { "cut: its worker failed" });
        work.trace.rx_bytes = work.trace.rx_bytes.max(self.head.request.len as u64);
        finish(self.client, self.plan, self.head, &work.trace);
    }
}

/// How reading a head ended.
enum HeadRead {
    Request,
    /// The client speaks HTTP/2.
    Http2,
    /// What the client speaks is not HTTP/1, and not HTTP/2 either.
    Unknown,
    /// The client left, or sent nothing.
    Nothing,
    /// The client left in the middle of a head.
    Cut,
    /// It did not come in time.
    Late,
    /// It breaks a rule.
    Refused(u16, &'static str),
}

/// Says whether what comes now may be HTTP/2 without TLS.
fn may_be_http2<R: Rt>(client: &Client<R>, service: &Service) -> bool {
    service.http2 && client.requests.get() == 0 && !client.stream.is_secured()
}

/// Says whether the first line ends as one of HTTP/1 does.
fn names_http(bytes: &[u8]) -> bool {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.windows(6).any(|six| six == b" HTTP/")
}

async fn read_head<R: Rt>(client: &Client<R>, service: &Service, head: &mut Head, deadline: Now) -> HeadRead {
    let limits = &service.head_limits;
    // One byte more than a head may have, so that the parser sees that it is too long.
    let capacity_max = limits.head_bytes as usize + 1;
    loop {
        if !head.bytes.is_empty() {
            //= H2-HOST-01
            let have = head.bytes.len().min(PREFACE.len());
            let begins = may_be_http2(client, service) && head.bytes.filled()[..have] == PREFACE[..have];
            match parse_request(head.bytes.filled(), limits, &mut head.request) {
                _ if begins && have == PREFACE.len() => return HeadRead::Http2,
                _ if begins => {}
                Ok(Parse::Done { .. }) => return HeadRead::Request,
                Ok(Parse::NeedMore) => {}
                //= H2-HOST-10
                Err(_) if may_be_http2(client, service) && !names_http(head.bytes.filled()) => {
                    return HeadRead::Unknown;
                }
                Err(reject) => return HeadRead::Refused(reject.status, reject.rule.text()),
            }
        }
        match client.worker.buffers.grow_head(&mut head.bytes, capacity_max) {
            Grown::Room => {}
            Grown::TooLong => return HeadRead::Refused(431, "head is too long"),
            Grown::Scarce => {
                client.worker.metrics.heads_refused_memory.inc();
                return HeadRead::Refused(503, "large heads have no memory left");
            }
        }
        match client.stream.try_read(head.bytes.space()) {
            Ok(0) if head.bytes.is_empty() => return HeadRead::Nothing,
            Ok(0) => return HeadRead::Cut,
            Ok(count) => head.bytes.commit(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                match client.stream.readable(deadline).await {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::TimedOut => return HeadRead::Late,
                    Err(_) => return HeadRead::Cut,
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) if head.bytes.is_empty() => return HeadRead::Nothing,
            Err(_) => return HeadRead::Cut,
        }
    }
}

/// Answers what cannot be served, and closes.
async fn refuse<R: Rt>(
    client: &Client<R>,
    plan: &Generation,
    head: &mut Head,
    begin: Now,
    status: u16,
    why: &'static str,
) {
    let mut trace = Trace { begin, rx_bytes: head.bytes.len() as u64, ..Trace::default() };
    trace.ended(why);
    let mut gather = Gather::default();
    let saying = Saying { status, ..Saying::default() };
    let said = say(client, plan, None, saying, &mut gather, &mut trace, Patience::endless()).await;
    // What was understood of it is not logged: its positions may be half-way.
    head.request.reset();
    finish(client, plan, head, &trace);
    if said {
        linger(client, &mut head.bytes).await;
    }
}

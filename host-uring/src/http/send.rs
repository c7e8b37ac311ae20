//! The request's way to the server.

use std::cell::Cell;
use std::io::ErrorKind;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forebay_core::id::ServerIndex;
use forebay_core::persist::Kind;
use forebay_core::policy::On;
use forebay_core::retry::{self, Attempt, Retry, Sent};
use forebay_http::Reject;
use forebay_http::h1::body::Decoder;
use forebay_http::h1::write::{self, BadEdit, FieldEdit, Hop, RequestEdits};
use forebay_http::h1::{RequestHead, Version};

use super::buffer::Buffer;
use super::client::Client;
use super::early;
use super::gather::Gather;
use super::limits::{BURST_BYTES_MAX, TEXT_KEPT_BYTES};
use super::receive::Failure;
use super::room::Room;
use super::steer::Steer;
use super::wait::{Burst, Halt, Patience, others_turn, write_all, write_some, write_soon};
use crate::metrics::ServerMetrics;
use crate::rt::{Now, Rt, Stream};
use crate::upstream::ServerConn;
use crate::upstream::h2::{Link, Lost};
use crate::worker::{Generation, Route, Service, Worker};

/// One try of a request at one server: what both directions need to know.
pub struct Leg<'a, R: Rt> {
    /// The worker.
    pub worker: &'a Worker<R>,
    /// The client.
    pub client: &'a Client<R>,
    /// The configuration that the request began with.
    pub plan: &'a Generation,
    /// The virtual service's settings.
    pub service: &'a Service,
    /// The route.
    pub route: &'a Route,
    /// The server.
    pub server: ServerIndex,
    /// What is counted for the server.
    pub counts: &'a ServerMetrics,
    /// The request.
    pub request: &'a RequestHead,
    /// Its bytes, and what was read behind it.
    pub bytes: &'a [u8],
    /// How long the request may take.
    pub patience: Patience,
    /// What the service's rules say.
    pub steer: &'a Steer<'a>,
    /// The target that they rewrote, if they did.
    pub target: Option<&'a [u8]>,
    /// Tries of this request, this one included.
    pub attempts: u8,
    /// How far it has come.
    pub progress: Progress,
}

impl<R: Rt> Leg<'_, R> {
    /// Says whether the request may be sent again after a failure.
    //= SE-RETRY-01
    pub fn retry(&self, failure: &Failure) -> Retry {
        let attempt = Attempt {
            failure: failure.kind,
            sent: if self.progress.begun.get() { Sent::Something } else { Sent::Nothing },
            idempotent: retry::is_idempotent(self.request.method_bytes(self.bytes)),
            body_held: !self.progress.beyond.get(),
            answered: self.progress.said.get() || self.progress.interim.get(),
            reused: failure.reused,
            attempts: self.attempts,
        };
        retry::may_retry(&self.route.retry, &attempt)
    }

    /// A server that says that it did not look at a request has not been sent it, as long as all of it is held.
    //= H2BACK-RETRY-01
    pub fn untouched_if_unseen(&self, conn: &ServerConn<Link<R>>) {
        let lost = conn.stream.part().and_then(|part| part.lost());
        if lost == Some(Lost::Unseen) && !self.progress.beyond.get() {
            self.progress.begun.set(false);
        }
    }

    /// Counts bytes that went to the server.
    pub fn gave(&self, bytes: u64) {
        self.counts.tx_bytes.add(bytes);
        self.load(bytes);
    }

    /// Counts bytes that came from the server.
    pub fn got(&self, bytes: u64) {
        self.counts.rx_bytes.add(bytes);
        self.load(bytes);
    }

    /// Tells the pool of bytes while they move, some at a time: a download, an upload or a tunnel that lasts for hours
    /// is load all the while.
    //= SE-LOAD-01
    fn load(&self, bytes: u64) {
        let sum = self.progress.load.get() + bytes;
        self.progress.load.set(sum);
        if sum >= BURST_BYTES_MAX {
            self.settle_load();
        }
    }

    /// Tells the pool of what it was not told yet.
    pub fn settle_load(&self) {
        let bytes = self.progress.load.take();
        if bytes > 0 {
            let now = self.worker.rt.now();
            self.route.tell_pool(self.server, |pool, at| pool.transferred(at, bytes, now));
        }
    }
}

/// How far a try has come; both directions write it.
#[derive(Default)]
pub struct Progress {
    /// Bytes of the request may have gone out.
    pub begun: Cell<bool>,
    /// The last byte of the request went out.
    pub sent: Cell<Option<Now>>,
    /// The server took no more of the request; it may still answer, but not whenever it likes.
    pub stopped: Cell<Option<Now>>,
    /// A whole interim answer went to the client: the final one may still be ours.
    pub interim: Cell<bool>,
    /// The client has part of a head, or the final one: nothing but a close can follow.
    pub said: Cell<bool>,
    /// The final head has begun to go out: the server has judged the request, whole or not.
    pub answering: Cell<bool>,
    /// Content was read that is not kept: the request cannot be repeated.
    pub beyond: Cell<bool>,
    /// Bytes exchanged with the server that its pool was not told of yet.
    load: Cell<u64>,
    /// Bytes read from the client beyond those that came with the head.
    pub rx_bytes: Cell<u64>,
}

impl Progress {
    /// The moment from which the time for an answer runs; `None` while the request is on its way.
    pub fn answer_due_from(&self) -> Option<Now> {
        self.sent.get().or(self.stopped.get())
    }
}

/// What was made ready of a request.
pub struct Composed {
    /// Bytes of the client's buffer that belong to it.
    pub consumed: usize,
    /// All of its content is there.
    pub whole: bool,
}

/// Why a request could not be made ready.
pub enum Uncomposed {
    /// Its content breaks a rule.
    Rejected(Reject),
    /// Our own settings would break it.
    Ours(BadEdit),
}

/// Writes the request's head anew, with as much of its content as came with it.
pub fn compose<R: Rt>(
    leg: &Leg<'_, R>,
    to: &Link<R>,
    upward: &mut Decoder,
    to_server: &mut Gather,
) -> Result<Composed, Uncomposed> {
    let request = leg.request;
    upward.reset(request.framing, &leg.service.limits);
    to_server.clear();
    let default_host = match request.authority {
        Some(_) => String::new(),
        // HTTP/1.0 without Host: rare enough to pay for the text each time.
        None => leg.client.local.to_string(),
    };
    let pool = leg.route.pool.borrow();
    let cookie = match pool.profile().map(|profile| &profile.kind) {
        Some(Kind::HttpCookie(cookie)) => Some(cookie.name.as_bytes()),
        _ => None,
    };
    let edits = RequestEdits {
        target: leg.target,
        default_host: default_host.as_bytes(),
        hop: Some(Hop {
            client: leg.client.peer.ip().to_canonical(),
            port: leg.client.local.port(),
            tls: leg.client.stream.is_secured(),
        }),
        forwarding: leg.service.forwarding_of(leg.client.peer.ip()),
        via: leg.service.via.as_deref(),
        drop_cookies: cookie.as_slice(),
        //= H2BACK-CONV-02
        no_upgrade: to.part().is_some(),
        ..RequestEdits::default()
    };
    // Over HTTP/2 it does not come.
    //= H2-HOST-09
    let is_connect = request.upgrade.is_some() && leg.client.stream.part().is_some() && to.own().is_some();
    let key = is_connect.then(|| websocket_key(leg.worker));
    let key =
        key.as_deref().map(|value| FieldEdit::Add { name: b"Sec-WebSocket-Key", value: value.as_bytes() });
    let early = early::field(leg.client, leg.plan, leg.attempts);
    let own = leg.service.identity.edits(leg.client.stream.session()).chain(key).chain(early);
    leg.steer
        .with_edits(On::Request, own, |fields| {
            let edits = RequestEdits { fields, ..edits };
            to_server.text(|own| write::request(leg.bytes, request, &edits, own))
        })
        .map_err(Uncomposed::Ours)?;
    let rest = leg.bytes.get(request.len..).unwrap_or(&[]);
    let framing = to.framing(request.framing);
    let taken = to_server.content(upward, framing, true, rest, request.len).map_err(Uncomposed::Rejected)?;
    Ok(Composed { consumed: request.len + taken.consumed, whole: taken.done })
}

/// A key that no other upgrade has: it keeps caches out, and is no secret (RFC 6455).
fn websocket_key<R: Rt>(worker: &Worker<R>) -> String {
    let bits = (u128::from(worker.random()) << 64) | u128::from(worker.random());
    STANDARD.encode(bits.to_be_bytes())
}

/// How sending a request's content ended.
pub enum Uploaded {
    /// All of it went out. What was read behind it is the client's next request.
    Whole(Option<Buffer>),
    /// The client ended its side.
    ClientEnded,
    /// The client's connection failed.
    ClientGone,
    /// The client stood still.
    ClientLate,
    /// The content breaks a rule.
    Rejected(Reject),
    /// The server takes no more: it may have answered already.
    ServerGone,
    /// The server stood still.
    ServerLate,
}

impl Uploaded {
    /// Says whether there is no use in waiting for an answer: the request will never be whole. Once the final
    /// answer has begun (`answering`), the client need not send what the server did not wait for.
    //= SE-EARLY-01
    pub fn is_hopeless(&self, answering: bool) -> bool {
        match self {
            Uploaded::ClientEnded | Uploaded::ClientLate => !answering,
            Uploaded::ClientGone | Uploaded::Rejected(_) => true,
            Uploaded::Whole(_) | Uploaded::ServerGone | Uploaded::ServerLate => false,
        }
    }
}

/// Sends a request all of whose bytes are there.
pub async fn send_whole<R: Rt>(
    leg: &Leg<'_, R>,
    to: &Link<R>,
    upward: &Decoder,
    to_server: &mut Gather,
) -> Uploaded {
    let rt = &leg.worker.rt;
    let step = leg.service.time_outs.body;
    let written = match write_soon(to, to_server) {
        true => Ok(0),
        false => write_all(rt, to, to_server, leg.bytes, leg.patience, step).await,
    };
    leg.progress.sent.set(Some(rt.now()));
    match written {
        Ok(_) => {
            to.finish(upward);
            Uploaded::Whole(None)
        }
        Err(Halt::TimedOut) => Uploaded::ServerLate,
        Err(Halt::Gone(_)) => Uploaded::ServerGone,
    }
}

/// Sends what is ready, then the rest of the content as it comes. No buffer of it is held while the client is silent or
/// the server takes nothing; what a server did not take of what was read waits in no more memory than it needs.
//= SE-BODY-01
pub async fn upload<R: Rt>(
    leg: &Leg<'_, R>,
    to: &Link<R>,
    upward: &mut Decoder,
    to_server: &mut Gather,
) -> Uploaded {
    let worker = leg.worker;
    let step = leg.service.time_outs.body;
    let framing = to.framing(leg.request.framing);
    if let Err(halt) = write_all(&worker.rt, to, to_server, leg.bytes, leg.patience, step).await {
        return server_halt(leg, halt);
    }
    let mut burst = Burst::default();
    let mut room = Room::default();
    loop {
        let buffer = match read_content(leg, to, upward, &mut room).await {
            Ok(buffer) => buffer,
            Err(ended) => return ended,
        };
        let taken = match to_server.content(upward, framing, true, buffer.filled(), 0) {
            Ok(taken) => taken,
            Err(reject) => {
                worker.buffers.give_back(buffer);
                return Uploaded::Rejected(reject);
            }
        };
        let bytes = to_server.len();
        let written = write_some(to, to_server, buffer.filled());
        let slow = !to_server.is_empty();
        if slow {
            to_server.hold(buffer.filled());
        }
        let leftover = worker.buffers.leftover(&buffer.filled()[taken.consumed..]);
        worker.buffers.give_back(buffer);
        if let Err(halt) = written {
            return server_halt(leg, halt);
        }
        room.took(bytes);
        if slow {
            room.was_less();
            let _held = worker.buffers.hold(to_server.len());
            let rest = write_all(&worker.rt, to, to_server, &[], leg.patience, step).await;
            to_server.shrink(TEXT_KEPT_BYTES);
            if let Err(halt) = rest {
                if let Some(leftover) = leftover {
                    worker.buffers.give_back(leftover);
                }
                return server_halt(leg, halt);
            }
        }
        leg.gave(taken.consumed as u64);
        if taken.done {
            to.finish(upward);
            leg.progress.sent.set(Some(worker.rt.now()));
            return Uploaded::Whole(leftover);
        }
        if burst.is_over(taken.consumed as u64) {
            others_turn().await;
        }
    }
}

fn server_halt<R: Rt>(leg: &Leg<'_, R>, halt: Halt) -> Uploaded {
    leg.progress.stopped.set(Some(leg.worker.rt.now()));
    match halt {
        Halt::TimedOut => Uploaded::ServerLate,
        Halt::Gone(_) => Uploaded::ServerGone,
    }
}

/// Waits without a buffer until the server has room and the client content, then reads some.
async fn read_content<R: Rt>(
    leg: &Leg<'_, R>,
    to: &Link<R>,
    upward: &Decoder,
    room: &mut Room,
) -> Result<Buffer, Uploaded> {
    let worker = leg.worker;
    let step = leg.service.time_outs.body;
    loop {
        let most = match room.for_read(to, &worker.buffers) {
            Some(most) => most,
            None => {
                let deadline = leg.patience.step(worker.rt.now(), step);
                to.writable(deadline).await.map_err(|error| server_halt(leg, error.into()))?;
                room.after_wait(to)
            }
        };
        let mut buffer = worker.buffers.body();
        // Of a known length no byte too many is read: the next request stays in the socket.
        let left = usize::try_from(upward.remaining().unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let space = buffer.space();
        let most = left.min(most).min(space.len());
        match leg.client.stream.try_read(&mut space[..most]) {
            Ok(0) => {
                worker.buffers.give_back(buffer);
                return Err(Uploaded::ClientEnded);
            }
            Ok(count) => {
                leg.progress.beyond.set(true);
                leg.progress.rx_bytes.set(leg.progress.rx_bytes.get() + count as u64);
                buffer.commit(count);
                return Ok(buffer);
            }
            Err(error) => {
                worker.buffers.give_back(buffer);
                match error.kind() {
                    ErrorKind::WouldBlock => {
                        let deadline = leg.patience.step(worker.rt.now(), step);
                        match leg.client.stream.readable(deadline).await {
                            Ok(()) => {}
                            Err(error) if error.kind() == ErrorKind::TimedOut => {
                                return Err(Uploaded::ClientLate);
                            }
                            Err(_) => return Err(Uploaded::ClientGone),
                        }
                    }
                    ErrorKind::Interrupted => {}
                    _ => return Err(Uploaded::ClientGone),
                }
            }
        }
    }
}

/// Says whether the client understands interim answers.
pub fn takes_interims(request: &RequestHead) -> bool {
    request.version != Version::Http10
}

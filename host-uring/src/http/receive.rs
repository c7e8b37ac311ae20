//! The answer's way to the client.

use std::io::ErrorKind;

use forebay_core::policy::On;
use forebay_core::retry::{self, Retry};
use forebay_core::units::Micros;
use forebay_http::h1::body::Decoder;
use forebay_http::h1::write::{self, FieldEdit, ResponseEdits};
use forebay_http::h1::{Framing, Parse, RequestContext, ResponseHead, parse_response};

use super::buffer::Buffer;
use super::choose::{Memory, learn};
use super::gather::Gather;
use super::limits::{BODY_BUFFER_BYTES, MOVE_BYTES_MIN, SLOW_READ_BYTES, TEXT_KEPT_BYTES};
use super::mover::Moved;
use super::record::{Trace, class_of};
use super::room::for_pipe;
use super::send::{Leg, takes_interims};
use super::silence::{Unanswered, Unheard, await_answer, lost, lost_by, server_readable};
use super::strict;
use super::wait::{Burst, Halt, others_turn, write_all, write_some, write_soon};
use crate::rt::{Now, Rt, Stream};
use crate::upstream::ServerConn;
use crate::upstream::h2::Link;

/// How receiving an answer ended.
pub enum Received {
    /// The server failed, and the client was told nothing yet, or interim answers only.
    Failed(Failure),
    /// The client has the whole answer.
    Whole {
        /// The client's connection may stay open.
        client_keeps: bool,
        /// The server's connection may be used again.
        server_keeps: bool,
    },
    /// The server agreed to another protocol; these bytes of it came already.
    Upgraded(Buffer),
    /// The grace of a server that was disabled or found down is over.
    Withdrawn,
    /// The client left or stood still in the middle of the answer.
    ClientGone,
    /// The server left, stood still or broke a rule in the middle of the answer.
    Cut,
}

/// How a server failed before the client got anything of a final answer.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// What the client gets if nobody else can help.
    pub status: u16,
    /// What went wrong.
    pub kind: retry::Failure,
    /// The connection had served a request before.
    pub reused: bool,
    /// In words, for the log.
    pub why: &'static str,
}

/// The pieces of the working set that the answer's way needs.
pub struct Downward<'a> {
    /// The answer's head.
    pub response: &'a mut ResponseHead,
    /// Its content.
    pub decoder: &'a mut Decoder,
    /// What goes to the client.
    pub gather: &'a mut Gather,
    /// Our `Set-Cookie`, and what the answer waits for.
    pub memory: &'a mut Memory,
    /// What is told of the request.
    pub trace: &'a mut Trace,
}

/// Receives the answer and passes it on.
pub async fn receive<R: Rt>(
    leg: &Leg<'_, R>,
    conn: &ServerConn<Link<R>>,
    down: &mut Downward<'_>,
) -> Received {
    let mut context = RequestContext::of(leg.request);
    let mut buffer = match first_bytes(leg, conn, down.trace).await {
        Ok(buffer) => buffer,
        Err(unanswered) => return nothing(leg, unanswered, down.trace),
    };
    loop {
        down.response.reset();
        let answered = &mut down.trace.answered;
        let read = read_head(leg, conn, &mut buffer, &context, down.response, answered).await;
        if let Err(unanswered) = read {
            leg.worker.buffers.give_back(buffer);
            return nothing(leg, unanswered, down.trace);
        }
        if !down.response.is_interim() {
            break;
        }
        context.interims += 1;
        if let Err(halt) = pass_interim(leg, &mut buffer, down).await {
            leg.worker.buffers.give_back(buffer);
            return client_halt(leg, halt, down.trace);
        }
        // The time that counts is that of the final answer.
        if buffer.is_empty() {
            down.trace.answered = None;
        }
    }
    account(leg, down);
    let failure = Failure {
        status: down.response.status,
        kind: retry::Failure::Status(down.response.status),
        reused: conn.requests > 1,
        why: "the server's status leads to another server",
    };
    // Of most answers the status alone says that they are none to try again for.
    if leg.route.retry.statuses.contains(down.response.status) && !matches!(leg.retry(&failure), Retry::No(_))
    {
        leg.worker.buffers.give_back(buffer);
        return Received::Failed(failure);
    }
    let (worker, receipt) = (leg.worker, &mut down.memory.receipt);
    learn(worker, leg.plan, leg.route, leg.server, buffer.filled(), down.response, receipt);
    if let Some(receipt) = receipt.take() {
        let held = worker.buffers.fold(&mut buffer);
        worker.acknowledged(receipt).await;
        drop(held);
        worker.buffers.unfold(&mut buffer);
    }
    pass_answer(leg, conn, buffer, down).await
}

/// There is no answer to pass on.
fn nothing<R: Rt>(leg: &Leg<'_, R>, unanswered: Unanswered, trace: &mut Trace) -> Received {
    match unanswered {
        Unanswered::Failed(failure) => Received::Failed(failure),
        Unanswered::ClientGone => client_halt(leg, Halt::Gone(ErrorKind::ConnectionReset), trace),
    }
}

/// Counts the head of the final answer.
fn account<R: Rt>(leg: &Leg<'_, R>, down: &mut Downward<'_>) {
    let status = down.response.status;
    down.trace.server_status = status;
    let metrics = leg.counts;
    if let Some(class) = class_of(status) {
        metrics.responses[class].inc();
    }
    if let (Some(sent), Some(answered)) = (leg.progress.sent.get(), down.trace.answered) {
        let took = answered.0.saturating_sub(sent.0);
        metrics.response_time.observe_us(took);
        leg.route.tell_pool(leg.server, |pool, at| pool.response_time(at, Micros(took)));
    }
}

/// Waits for the answer without a buffer, then reads its first bytes.
async fn first_bytes<R: Rt>(
    leg: &Leg<'_, R>,
    conn: &ServerConn<Link<R>>,
    trace: &mut Trace,
) -> Result<Buffer, Unanswered> {
    let worker = leg.worker;
    loop {
        await_answer(leg, conn).await?;
        let mut buffer = worker.buffers.body();
        match conn.stream.try_read(piece(leg, &mut buffer)) {
            Ok(0) => {
                worker.buffers.give_back(buffer);
                return Err(lost(conn).into());
            }
            Ok(count) => {
                leg.got(count as u64);
                trace.answered = Some(worker.rt.now());
                buffer.commit(count);
                return Ok(buffer);
            }
            Err(error) => {
                worker.buffers.give_back(buffer);
                if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
                    return Err(lost_by(leg, conn, &error).into());
                }
            }
        }
    }
}

/// Room for what is read next.
//= SE-HELD-01
fn piece<'b, R: Rt>(leg: &Leg<'_, R>, buffer: &'b mut Buffer) -> &'b mut [u8] {
    let space = buffer.space();
    let most = space.len().min(leg.worker.buffers.read_max());
    &mut space[..most]
}

/// Reads the rest of a head, or the one behind an interim answer.
async fn read_head<R: Rt>(
    leg: &Leg<'_, R>,
    conn: &ServerConn<Link<R>>,
    buffer: &mut Buffer,
    context: &RequestContext,
    response: &mut ResponseHead,
    answered: &mut Option<Now>,
) -> Result<(), Unanswered> {
    let limits = &leg.service.server_limits;
    let reused = conn.requests > 1;
    let bad =
        |why| Unanswered::Failed(Failure { status: 502, kind: retry::Failure::BadResponse, reused, why });
    loop {
        if !buffer.is_empty() {
            match parse_response(buffer.filled(), context, limits, response) {
                Ok(Parse::Done { .. }) => return Ok(()),
                Ok(Parse::NeedMore) => {}
                Err(reject) => return Err(bad(reject.rule.text())),
            }
        }
        if !buffer.make_room(limits.head_bytes as usize + 1) {
            return Err(bad("the answer's head is too long"));
        }
        match conn.stream.try_read(piece(leg, buffer)) {
            // After an interim answer.
            Ok(0) if buffer.is_empty() => return Err(lost(conn).into()),
            Ok(0) => return Err(bad("the server closed the connection in the middle of a head")),
            Ok(count) => {
                leg.got(count as u64);
                answered.get_or_insert_with(|| leg.worker.rt.now());
                buffer.commit(count);
            }
            //= SE-HEAD-02
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let held = leg.worker.buffers.fold(buffer);
                await_answer(leg, conn).await?;
                drop(held);
                leg.worker.buffers.unfold(buffer);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(bad("the server reset the connection in the middle of a head")),
        }
    }
}

/// Passes the 1xx answer that `buffer` begins with on to a client that understands it, and takes it out of there. Once
/// it is whole, a final answer of ours may follow.
//= SE-INTERIM-01
async fn pass_interim<R: Rt>(
    leg: &Leg<'_, R>,
    buffer: &mut Buffer,
    down: &mut Downward<'_>,
) -> Result<(), Halt> {
    down.gather.clear();
    if takes_interims(leg.request) {
        let edits = ResponseEdits { via: leg.service.via.as_deref(), ..ResponseEdits::of(leg.request) };
        let head = buffer.filled();
        if down.gather.text(|own| write::response(head, down.response, &edits, own)).is_err() {
            // Our own `Via` is checked when the configuration is read.
            down.gather.clear();
        }
    }
    buffer.consume(down.response.len);
    if down.gather.is_empty() {
        return Ok(());
    }
    leg.progress.said.set(true);
    let (worker, to) = (leg.worker, &leg.client.stream);
    let mut bytes = write_some(to, down.gather, &[])?;
    //= SE-HEAD-02
    if !down.gather.is_empty() {
        let behind = worker.buffers.fold(buffer);
        down.gather.hold(&[]);
        let held = worker.buffers.hold(down.gather.len());
        let step = leg.service.time_outs.body;
        bytes += write_all(&worker.rt, to, down.gather, &[], leg.patience, step).await?;
        down.gather.shrink(TEXT_KEPT_BYTES);
        drop((behind, held));
        worker.buffers.unfold(buffer);
    }
    leg.progress.said.set(false);
    leg.progress.interim.set(true);
    down.trace.tx_bytes += bytes;
    Ok(())
}

fn client_halt<R: Rt>(leg: &Leg<'_, R>, halt: Halt, trace: &mut Trace) -> Received {
    match halt {
        Halt::TimedOut => {
            let counters = &leg.worker.metrics.timeouts;
            if leg.patience.is_over(leg.worker.rt.now()) {
                counters.total.inc();
            } else {
                counters.body.inc();
            }
            trace.ended("the client read too slowly");
        }
        Halt::Gone(_) => {
            leg.worker.metrics.client_aborts.inc();
            trace.ended("the client closed the connection");
        }
    }
    Received::ClientGone
}

/// Passes the final answer on, as it comes: at most one buffer of it is held.
//= SE-BODY-02
async fn pass_answer<R: Rt>(
    leg: &Leg<'_, R>,
    conn: &ServerConn<Link<R>>,
    mut buffer: Buffer,
    down: &mut Downward<'_>,
) -> Received {
    let worker = leg.worker;
    let client = leg.client;
    let limits = &leg.service.server_limits;
    let now = worker.rt.now();
    let date = worker.date.at(worker.unix_us(now) / 1_000_000);
    let cookie = FieldEdit::Add { name: b"Set-Cookie", value: &down.memory.set_cookie };
    let cookie = Some(cookie).filter(|_| !down.memory.set_cookie.is_empty());
    let whole_request = leg.progress.sent.get().is_some();
    let more = leg.service.requests_max == 0 || client.requests.get() < leg.service.requests_max;
    let edits = ResponseEdits {
        keep_alive: leg.request.keep_alive && whole_request && more && !client.is_leaving(),
        date: Some(&date),
        via: leg.service.via.as_deref(),
        ..ResponseEdits::of(leg.request)
    };
    let trailers = leg.request.te_trailers;
    down.gather.clear();
    let filled = buffer.filled();
    let strict = strict::field(leg.service.strict.as_deref(), filled, down.response, leg.steer);
    let head = leg.steer.with_edits(On::Response, cookie.into_iter().chain(strict), |fields| {
        let edits = ResponseEdits { fields, ..edits };
        down.gather.text(|own| write::response(filled, down.response, &edits, own))
    });
    let Ok(sent) = head else {
        worker.buffers.give_back(buffer);
        return Received::Failed(Failure {
            status: 502,
            kind: retry::Failure::BadResponse,
            reused: conn.requests > 1,
            why: "a field of ours does not fit the answer",
        });
    };
    down.decoder.reset(down.response.framing, limits);
    let own = client.stream.own();
    // Frames say where content on a stream ends.
    let framing = match sent.framing {
        Framing::Chunked if own.is_none() => Framing::UntilClose,
        framing => framing,
    };
    down.trace.status = down.response.status;
    let mut offset = down.response.len;
    // What an upgraded connection carries has ends of its own.
    let open_ended = (framing == Framing::UntilClose || own.is_none()) && down.response.status != 101;
    let step = leg.service.time_outs.body;
    let mut burst = Burst::default();
    // Our chunks need their sizes before them, and a tunnel carries no content.
    let movable = framing != Framing::Chunked && down.response.status != 101;
    let mut bulk = movable && buffer.space().is_empty();
    loop {
        let filled = buffer.filled();
        let taken = down.gather.content(down.decoder, framing, trailers, &filled[offset..], offset);
        let Ok(taken) = taken else {
            worker.buffers.give_back(buffer);
            if !leg.progress.said.get() {
                return Received::Failed(Failure {
                    status: 502,
                    kind: retry::Failure::BadResponse,
                    reused: conn.requests > 1,
                    why: "the answer's content is garbled",
                });
            }
            leg.counts.aborts.inc();
            down.trace.ended("the answer's content is garbled");
            return Received::Cut;
        };
        leg.progress.said.set(true);
        leg.progress.answering.set(true);
        client.open_ended.set(open_ended);
        let used = offset + taken.consumed;
        let left = down.gather.len() as u64;
        let soon = sent.keep_alive && down.decoder.is_done() && write_soon(&client.stream, down.gather);
        let written = if soon { Ok(left) } else { write_some(&client.stream, down.gather, filled) };
        let halted = match written {
            Ok(bytes) => {
                down.trace.tx_bytes += bytes;
                None
            }
            Err(halt) => Some(halt),
        };
        let written = match halted {
            Some(halt) => Err(halt),
            None if down.gather.is_empty() => {
                buffer.consume(used);
                Ok(0)
            }
            None => {
                down.gather.hold(filled);
                // Bytes behind the message's end are kept: they say that the connection is spent.
                buffer.consume(used);
                let held = (worker.buffers.hold(down.gather.len()), worker.buffers.fold(&mut buffer));
                let rest = write_all(&worker.rt, &client.stream, down.gather, &[], leg.patience, step).await;
                down.gather.shrink(TEXT_KEPT_BYTES);
                drop(held);
                worker.buffers.unfold(&mut buffer);
                rest
            }
        };
        match written {
            Ok(bytes) => down.trace.tx_bytes += bytes,
            Err(halt) => {
                worker.buffers.give_back(buffer);
                return client_halt(leg, halt, down.trace);
            }
        }
        offset = 0;
        if down.response.status == 101 {
            return Received::Upgraded(buffer);
        }
        if down.decoder.is_done() {
            let extra = !buffer.is_empty();
            if extra {
                down.trace.significant("the server sent more than it announced");
            }
            worker.buffers.give_back(buffer);
            if let (Some(part), true) = (client.stream.part(), trailers) {
                part.trailers(down.decoder);
            }
            client.open_ended.set(false);
            return Received::Whole {
                client_keeps: sent.keep_alive,
                server_keeps: down.response.keep_alive && !extra && whole_request,
            };
        }
        if burst.is_over(used as u64) && buffer.is_empty() {
            worker.buffers.give_back(buffer);
            others_turn().await;
            buffer = worker.buffers.body();
        }
        let run = if bulk { down.decoder.run() } else { 0 };
        buffer = match more_content(leg, conn, buffer, run).await {
            Ok(More::Copied { buffer, bulk: more }) => {
                bulk = movable && more;
                buffer
            }
            Ok(More::Moved { mut buffer, moved }) => {
                bulk = moved.came >= BODY_BUFFER_BYTES;
                down.decoder.skip(moved.came as u64);
                down.trace.tx_bytes += moved.went as u64;
                down.gather.text(|own| own.extend_from_slice(&moved.rest));
                if burst.is_over(moved.came as u64) {
                    worker.buffers.give_back(buffer);
                    others_turn().await;
                    buffer = worker.buffers.body();
                }
                buffer
            }
            Ok(More::End) => match down.decoder.end_of_input() {
                Ok(()) => {
                    down.gather.end(down.decoder, framing, trailers);
                    let last =
                        write_all(&worker.rt, &client.stream, down.gather, &[], leg.patience, step).await;
                    match last {
                        Ok(bytes) => down.trace.tx_bytes += bytes,
                        Err(halt) => return client_halt(leg, halt, down.trace),
                    }
                    client.open_ended.set(false);
                    return Received::Whole { client_keeps: sent.keep_alive, server_keeps: false };
                }
                Err(_) => {
                    leg.counts.aborts.inc();
                    down.trace.ended("the server closed the connection in the middle of the answer");
                    return Received::Cut;
                }
            },
            Err(Stalled::Client(halt)) => return client_halt(leg, halt, down.trace),
            Err(Stalled::Server(halt)) => {
                leg.counts.aborts.inc();
                if halt == Halt::TimedOut {
                    let counters = &worker.metrics.timeouts;
                    if leg.patience.is_over(worker.rt.now()) {
                        counters.total.inc();
                    } else {
                        counters.body.inc();
                    }
                    down.trace.ended("the server stood still in the middle of the answer");
                } else {
                    down.trace.ended("the server reset the connection in the middle of the answer");
                }
                return Received::Cut;
            }
        };
    }
}

/// Who stopped an answer.
enum Stalled {
    Client(Halt),
    Server(Halt),
}

/// What came next of an answer.
enum More {
    /// Bytes in a buffer, and whether it was filled.
    Copied { buffer: Buffer, bulk: bool },
    /// Content that went on without being copied; the buffer is empty.
    Moved { buffer: Buffer, moved: Moved },
    /// The end by the server's close.
    End,
}

/// Reads more of an answer. No buffer is held while the server is silent or the client has no room for what would be
/// read. Of the next `run` bytes of content as many as there are may be passed on without being copied.
//= SE-MOVE-04
async fn more_content<R: Rt>(
    leg: &Leg<'_, R>,
    conn: &ServerConn<Link<R>>,
    mut buffer: Buffer,
    run: u64,
) -> Result<More, Stalled> {
    let worker = leg.worker;
    let client = &leg.client.stream;
    let step = leg.service.time_outs.body;
    loop {
        let space = buffer.space();
        let mut most = space.len();
        let mut bulk = 0;
        if let Some(room) = client.room() {
            if room < SLOW_READ_BYTES {
                worker.buffers.give_back(buffer);
                let deadline = leg.patience.step(worker.rt.now(), step);
                let writable = client.writable(deadline).await;
                writable.map_err(|error| Stalled::Client(error.into()))?;
                buffer = worker.buffers.body();
                let space = buffer.space();
                most = space.len().min(SLOW_READ_BYTES);
            } else {
                most = most.min(room).min(worker.buffers.read_max());
                bulk = for_pipe(room, &worker.buffers).min(usize::try_from(run).unwrap_or(usize::MAX));
            }
        }
        let came = match conn.stream.own().filter(|_| bulk >= MOVE_BYTES_MIN) {
            Some(own) => match worker.mover.pass(own, client, bulk) {
                Err(error) if error.kind() == ErrorKind::Unsupported => Came::read(conn, &mut buffer, most),
                passed => passed.map(Came::Moved),
            },
            None => Came::read(conn, &mut buffer, most),
        };
        match came {
            Ok(Came::Moved(moved)) if moved.came > 0 => {
                leg.got(moved.came as u64);
                return match moved.failed {
                    None => Ok(More::Moved { buffer, moved }),
                    Some(error) => {
                        worker.buffers.give_back(buffer);
                        Err(Stalled::Client(error.into()))
                    }
                };
            }
            Ok(Came::Copied(count)) if count > 0 => {
                leg.got(count as u64);
                let bulk = count == most && most >= MOVE_BYTES_MIN;
                return Ok(More::Copied { buffer, bulk });
            }
            Ok(_) => {
                worker.buffers.give_back(buffer);
                return Ok(More::End);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                worker.buffers.give_back(buffer);
                let deadline = leg.patience.step(worker.rt.now(), step);
                server_readable(leg, conn, deadline).await.map_err(|unheard| match unheard {
                    Unheard::ClientGone => Stalled::Client(Halt::Gone(ErrorKind::ConnectionReset)),
                    Unheard::Late => Stalled::Server(Halt::TimedOut),
                    Unheard::ServerGone(kind) => Stalled::Server(Halt::Gone(kind)),
                })?;
                buffer = worker.buffers.body();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                worker.buffers.give_back(buffer);
                return Err(Stalled::Server(error.into()));
            }
        }
    }
}

/// How bytes came; none is the end.
enum Came {
    Copied(usize),
    Moved(Moved),
}

impl Came {
    fn read<S: Stream>(conn: &ServerConn<S>, buffer: &mut Buffer, most: usize) -> std::io::Result<Came> {
        let count = conn.stream.try_read(&mut buffer.space()[..most])?;
        buffer.commit(count);
        Ok(Came::Copied(count))
    }
}

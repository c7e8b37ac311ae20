//! One request, from its head to the last byte of its answer.

use std::net::Shutdown;
use std::pin::pin;
use std::rc::Rc;

use forebay_core::Verdict;
use forebay_core::id::ServerIndex;
use forebay_core::request::RequestView;
use forebay_core::retry::{self, Attempt, Retry, Sent};
use forebay_http::grpc;
use forebay_http::h1::{Framing, Method};

use super::answer::Saying;
use super::buffer::Buffer;
use super::choose::{Circumstances, choose};
use super::client::Client;
use super::connect::{Unconnected, connect, keep};
use super::early;
use super::place::{Busy, Waited, Waiting, leave};
use super::receive::{Downward, Failure, Received, receive};
use super::record::finish;
use super::refuse::{answer, no_pool, refused, ruled};
use super::send::{Composed, Leg, Progress, Uncomposed, Uploaded, compose, send_whole, upload};
use super::steer::{Steer, pick_route, steer};
use super::tunnel::{Carried, End, Tunnel};
use super::view::{View, client_of};
use super::wait::{Patience, beside};
use super::work::{Head, Work};
use crate::metrics::ServerMetrics;
use crate::rt::{Now, Rt, Stream};
use crate::upstream::ServerConn;
use crate::upstream::h2::Link;
use crate::worker::{Generation, Route, Service, TimeOuts, Why};

/// What becomes of the client's connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It may carry another request.
    Keep,
    /// It closes; what the client still sends is read for a moment first.
    Linger,
    /// It closes.
    Close,
    /// It is reset: the client must not take what it got for a whole answer.
    Reset,
}

/// How a request ended.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// Bytes of the client's buffer that belonged to it.
    pub(super) consumed: usize,
    /// Bytes of the next request that were read behind its content.
    pub(super) leftover: Option<Buffer>,
}

impl Ended {
    pub(super) fn with(outcome: Outcome) -> Self {
        Ended { outcome, consumed: 0, leftover: None }
    }
}

/// Serves one request.
pub async fn exchange<R: Rt>(
    client: &Rc<Client<R>>,
    plan: &Generation,
    head: &mut Head,
    work: &mut Work,
) -> Outcome {
    let worker = &client.worker;
    let service = client.service(plan);
    let patience = patience(head, service, work.trace.begin);
    if !service.websockets {
        head.request.upgrade = None;
    }
    let who = client_of(client.peer, &service.trusted_proxies, head.bytes.filled(), &head.request);
    client.show((who.ip, who.port).into());
    let tls = client.known_by_tls(plan);
    let view = View { bytes: head.bytes.filled(), head: &head.request, client: who, tls };

    let ended = match head.request.max_forwards {
        //= H2-HOST-16
        _ if client.stream.part().is_some_and(|part| part.is_gone()) => {
            worker.metrics.client_aborts.inc();
            work.trace.ended("the client took it back before its turn came");
            Ended::with(Outcome::Close)
        }
        _ if client.stream.is_early()
            && !early::is_harmless(&head.request)
            && !early::proven(client, plan, patience).await =>
        {
            work.trace.ended("the end of its client's TLS handshake did not come");
            Ended::with(Outcome::Reset)
        }
        //= TLS-HOST-02
        _ if client.is_misdirected(plan, view.host()) => {
            worker.metrics.requests_rejected.inc();
            work.trace.ended("its connection is for hosts with another TLS profile");
            answer(client, plan, head, work, Saying { status: 421, ..Saying::default() }, patience).await
        }
        //= SE-HOST-01
        _ if matches!(head.request.framing, Framing::Length(n) if n > service.limits.body_bytes) => {
            worker.metrics.requests_rejected.inc();
            work.trace.ended("its content is longer than its host takes");
            answer(client, plan, head, work, Saying { status: 413, ..Saying::default() }, patience).await
        }
        Some(0) => {
            // We are the last one that this request wants to reach (RFC 9110 7.6.2).
            let status = if head.request.method == Method::Options { 204 } else { 405 };
            answer(client, plan, head, work, Saying { status, ..Saying::default() }, patience).await
        }
        _ => {
            let steer = steer(client, plan, &view, &mut work.text);
            work.trace.rule = steer.ended_by();
            work.trace.answer_rule = steer.answered_by(plan.tree.service(service.index));
            match steer.end() {
                Some(end) => ruled(client, plan, head, &view, work, end, patience).await,
                None => attempts(client, plan, head, &view, &steer, work, patience).await,
            }
        }
    };
    let trace = &mut work.trace;
    trace.rx_bytes += ended.consumed.max(head.request.len) as u64;
    finish(client, plan, head, trace);
    if ended.outcome == Outcome::Keep {
        head.next_message(ended.consumed);
        if let Some(leftover) = ended.leftover {
            head.go_on_with(leftover, &worker.buffers);
        }
    }
    ended.outcome
}

/// How long a request may take: as the service says, or as it says itself if that is less.
//= GRPC-DEADLINE-01
fn patience(head: &Head, service: &Service, begin: Now) -> Patience {
    let total = TimeOuts::at(begin, service.time_outs.total);
    let (bytes, request) = (head.bytes.filled(), &head.request);
    let own = match grpc::is_request(bytes, request) {
        true => grpc::timeout_us(bytes, request),
        false => None,
    };
    Patience::until(own.map_or(total, |us| total.min(Now(begin.0.saturating_add(us)))))
}

/// Sends a request to one server after another, until one answers or none is left.
async fn attempts<R: Rt>(
    client: &Rc<Client<R>>,
    plan: &Generation,
    head: &Head,
    view: &View<'_>,
    steer: &Steer<'_>,
    work: &mut Work,
    patience: Patience,
) -> Ended {
    let Some(route_at) = pick_route(client, plan, steer, view) else {
        return no_pool(client, plan, head, work, patience).await;
    };
    // Kept beside the working set, which the tries fill anew.
    let target = std::mem::take(&mut work.text);
    let ended = try_servers(client, plan, head, view, steer, &target, route_at, work, patience).await;
    work.text = target;
    ended
}

/// Sends a request to one server of a route after another.
#[expect(
    clippy::too_many_arguments,
    reason = "called once: the loop of `attempts` with its pieces taken apart"
)]
async fn try_servers<R: Rt>(
    client: &Rc<Client<R>>,
    plan: &Generation,
    head: &Head,
    view: &View<'_>,
    steer: &Steer<'_>,
    target: &[u8],
    route_at: usize,
    work: &mut Work,
    patience: Patience,
) -> Ended {
    let worker = &*client.worker;
    let hash_key = steer.outcome.as_ref().and_then(|outcome| outcome.hash_key(view));
    let route = &plan.routes[route_at];
    let pool_metrics = &route.counts;
    pool_metrics.requests.inc();
    work.trace.route = Some(route_at);
    let mut last: Option<Failure> = None;
    let mut fresh = false;
    let mut waiting: Option<Waiting<'_>> = None;
    let mut sent_to: u8 = 0;
    loop {
        // Others came earlier: behind them.
        let behind = waiting.is_none() && !route.queue.is_empty();
        let circumstances = Circumstances {
            tried: &work.tried,
            full: &work.full,
            queued: waiting.is_some(),
            hash_key,
            waits: true,
        };
        let decision = choose(worker, plan, &**client, route, view, &circumstances, &mut work.memory);
        work.trace.reason = Some(decision.reason);
        let server = match decision.verdict {
            Verdict::Server(server) if !behind => server,
            Verdict::Server(_) | Verdict::Queue => {
                work.full.clear();
                if waiting.is_none() {
                    waiting = Waiting::enter(worker, plan, route);
                }
                let waited = match &waiting {
                    Some(place) => Some(place.wait(&worker.rt, &client.stream, patience).await),
                    None => None,
                };
                if waited == Some(Waited::Turn) {
                    continue;
                }
                leave(&mut waiting, worker, work);
                match waited {
                    Some(Waited::Gone) => {
                        worker.metrics.client_aborts.inc();
                        work.trace.ended("the client left while it waited for a server");
                        return Ended::with(Outcome::Close);
                    }
                    Some(_) => {
                        worker.metrics.timeouts.queue.inc();
                        work.trace.ended("no server came free in time");
                    }
                    None => {
                        pool_metrics.queue_full.inc();
                        work.trace.ended("the queue for a server is full");
                    }
                }
                return answer(
                    client,
                    plan,
                    head,
                    work,
                    Saying { status: 503, ..Saying::default() },
                    patience,
                )
                .await;
            }
            Verdict::Close | Verdict::Reject { .. } | Verdict::Site(_) => {
                leave(&mut waiting, worker, work);
                return refused(client, plan, head, work, route, decision.verdict, last, patience).await;
            }
        };
        let Some(busy) = Busy::take(worker, plan, route, server) else {
            work.full.push(server);
            continue;
        };
        work.full.clear();
        leave(&mut waiting, worker, work);
        sent_to = sent_to.saturating_add(1);
        work.trace.asks(server.at());
        let failure = match connect(client, plan, head, route, server, fresh, patience).await {
            Err(Unconnected::Gone) => {
                worker.metrics.client_aborts.inc();
                work.trace.ended("the client left before a server's connection was opened for it");
                return Ended::with(Outcome::Close);
            }
            Err(Unconnected::Short(failure)) => {
                // Another server's connection would want the same.
                Failed { retry: Retry::No(retry::WhyNot::Exhausted), failure }
            }
            Err(Unconnected::Failed(failure)) => {
                let attempt = Attempt {
                    failure: failure.kind,
                    sent: Sent::Nothing,
                    idempotent: false,
                    body_held: true,
                    answered: false,
                    reused: false,
                    attempts: sent_to,
                };
                Failed { retry: retry::may_retry(&route.retry, &attempt), failure }
            }
            Ok(conn) => {
                let target = steer.rewritten.then_some(target);
                let try_ =
                    Try { client, plan, head, steer, target, route, server, attempts: sent_to, patience };
                match talk(&try_, work, conn, &busy).await {
                    Talk::Ended(ended) => return ended,
                    Talk::Failed(failed) => failed,
                }
            }
        };
        drop(busy);
        let Failed { retry, failure } = failure;
        work.trace.significant(failure.why);
        let retry =
            if patience.is_over(worker.rt.now()) { Retry::No(retry::WhyNot::OutOfTime) } else { retry };
        match retry {
            Retry::SameServer => {
                // Servers may close a kept connection at any moment: once more, on a new one, and not to be
                // counted against the server.
                fresh = true;
                sent_to -= 1;
                work.trace.servers_tried = work.trace.servers_tried.saturating_sub(1);
            }
            Retry::OtherServer => {
                pool_metrics.retries.inc();
                work.tried.push(server);
                last = Some(failure);
            }
            Retry::No(_) => {
                work.trace.ended(failure.why);
                let saying = Saying { status: failure.status, ..Saying::default() };
                return answer(client, plan, head, work, saying, patience).await;
            }
        }
    }
}

/// What one try of a request works with.
struct Try<'a, R: Rt> {
    client: &'a Client<R>,
    plan: &'a Generation,
    head: &'a Head,
    steer: &'a Steer<'a>,
    target: Option<&'a [u8]>,
    route: &'a Route,
    server: ServerIndex,
    attempts: u8,
    patience: Patience,
}

enum Talk {
    Ended(Ended),
    Failed(Failed),
}

/// A failure, and what may be done about it.
struct Failed {
    failure: Failure,
    retry: Retry,
}

/// Sends a request to a server and passes the answer on.
async fn talk<R: Rt>(
    try_: &Try<'_, R>,
    work: &mut Work,
    mut conn: ServerConn<Link<R>>,
    busy: &Busy<'_>,
) -> Talk {
    let Try { client, plan, head, steer, target, route, server, attempts, patience } = *try_;
    let worker = &*client.worker;
    let leg = Leg {
        worker,
        client,
        plan,
        service: client.service(plan),
        route,
        server,
        counts: &route.servers[server.at()].counts,
        request: &head.request,
        bytes: head.bytes.filled(),
        patience,
        steer,
        target,
        attempts,
        progress: Progress::default(),
    };
    let composed = compose(&leg, &conn.stream, &mut work.upward, &mut work.to_server);
    let Composed { consumed, whole } = match composed {
        Ok(composed) => composed,
        Err(uncomposed) => {
            keep(worker, conn, route);
            let (status, why) = match uncomposed {
                Uncomposed::Rejected(reject) => (reject.status, reject.rule.text()),
                Uncomposed::Ours(_) => (500, "a field of ours does not fit the request"),
            };
            worker.metrics.requests_rejected.inc();
            work.trace.ended(why);
            let saying = Saying { status, ..Saying::default() };
            let mut ended = answer(client, plan, head, work, saying, patience).await;
            if ended.outcome == Outcome::Keep {
                ended.outcome = Outcome::Linger;
            }
            return Talk::Ended(ended);
        }
    };
    conn.requests += 1;
    if let Some(part) = conn.stream.part() {
        part.expects(head.request.framing);
    }
    let trace = &mut work.trace;
    trace.server_src = conn.local;
    trace.server_rtt_us = conn.rtt_us;
    trace.reused = conn.requests > 1;
    trace.answered = None;
    let mut down = Downward {
        response: &mut work.response,
        decoder: &mut work.downward,
        gather: &mut work.to_client,
        memory: &mut work.memory,
        trace,
    };
    let (uploaded, received) = {
        let exchanged = pin!(async {
            // A cut that came while the connection was being opened comes before this.
            leg.progress.begun.set(true);
            leg.gave(work.to_server.len() as u64);
            if whole {
                let uploaded = send_whole(&leg, &conn.stream, &work.upward, &mut work.to_server).await;
                // A server that has closed may have answered before it did.
                (Some(uploaded), Some(receive(&leg, &conn, &mut down).await))
            } else {
                let upload = pin!(upload(&leg, &conn.stream, &mut work.upward, &mut work.to_server));
                let receive = pin!(receive(&leg, &conn, &mut down));
                beside(upload, receive, |sent| sent.is_hopeless(leg.progress.answering.get())).await
            }
        });
        busy.ticket.unless_cut(exchanged).await.unwrap_or((None, Some(Received::Withdrawn)))
    };
    down.trace.sent = leg.progress.sent.get();
    down.trace.rx_bytes += leg.progress.rx_bytes.get();
    leg.settle_load();
    // The ring keeps a socket that is waited for open until its turn is over: a server would see one more than it is to.
    //= SE-LIMIT-01
    if route.servers[server.at()].limit != 0
        && !matches!(received, Some(Received::Whole { .. } | Received::Upgraded(_)))
        && let Some(own) = conn.stream.own()
    {
        own.shutdown(Shutdown::Write);
    }
    match received {
        None => {
            let said = leg.progress.said.get();
            Talk::Ended(hopeless(client, plan, head, work, uploaded, said, patience).await)
        }
        Some(received) => received_all(&leg, busy, head, work, conn, uploaded, received, consumed).await,
    }
}

/// The client spoilt its own request: tells it so, if no other answer has begun.
async fn hopeless<R: Rt>(
    client: &Client<R>,
    plan: &Generation,
    head: &Head,
    work: &mut Work,
    uploaded: Option<Uploaded>,
    said: bool,
    patience: Patience,
) -> Ended {
    let metrics = &client.worker.metrics;
    let (status, why) = match uploaded {
        Some(Uploaded::Rejected(reject)) => {
            metrics.requests_rejected.inc();
            (reject.status, reject.rule.text())
        }
        Some(Uploaded::ClientLate) => {
            if patience.is_over(client.worker.rt.now()) {
                metrics.timeouts.total.inc();
            } else {
                metrics.timeouts.body.inc();
            }
            (408, "the request's content did not come in time")
        }
        _ => {
            metrics.client_aborts.inc();
            work.trace.ended("the client left in the middle of its request");
            return Ended::with(Outcome::Close);
        }
    };
    work.trace.ended(why);
    if said {
        return Ended::with(Outcome::Close);
    }
    let saying = Saying { status, ..Saying::default() };
    let mut ended = answer(client, plan, head, work, saying, Patience::endless()).await;
    if ended.outcome == Outcome::Keep {
        ended.outcome = Outcome::Linger;
    }
    ended
}

#[expect(clippy::too_many_arguments, reason = "called once: the end of `talk`")]
async fn received_all<R: Rt>(
    leg: &Leg<'_, R>,
    busy: &Busy<'_>,
    head: &Head,
    work: &mut Work,
    conn: ServerConn<Link<R>>,
    uploaded: Option<Uploaded>,
    received: Received,
    consumed: usize,
) -> Talk {
    let Leg { client, route, worker, .. } = *leg;
    let (whole, leftover) = match uploaded {
        Some(Uploaded::Whole(leftover)) => (true, leftover),
        _ => (false, None),
    };
    let ended = match received {
        Received::Failed(failure) => {
            if let Some(leftover) = leftover {
                worker.buffers.give_back(leftover);
            }
            leg.untouched_if_unseen(&conn);
            let retry = leg.retry(&failure);
            //= SE-BLAME-01
            let lost = match failure.kind {
                retry::Failure::Closed | retry::Failure::BadResponse => true,
                retry::Failure::Timeout => !leg.patience.is_over(worker.rt.now()),
                retry::Failure::Connect | retry::Failure::Status(_) => false,
            };
            if lost && retry != Retry::SameServer {
                leg.counts.aborts.inc();
            }
            return Talk::Failed(Failed { failure, retry });
        }
        Received::Whole { client_keeps, server_keeps } => {
            if server_keeps && whole {
                keep(worker, conn, route);
            }
            let outcome = match (client_keeps && whole, whole) {
                (true, _) => Outcome::Keep,
                // A client that asked for the close and sent nothing more: there is nothing that a close could cut.
                (false, true)
                    if !leg.request.keep_alive
                        && leftover.is_none()
                        && head.bytes.len() == consumed
                        && !client.stream.is_spent() =>
                {
                    Outcome::Close
                }
                // Content that nobody will read: the next request must not be parsed out of it, and a close over
                // unread bytes is a reset, which takes the answer's end from the client.
                (false, _) => Outcome::Linger,
            };
            Ended { outcome, consumed, leftover }
        }
        Received::Upgraded(first_down) => {
            leg.service.counts.upgrades.inc();
            let mut first_up = worker.buffers.head();
            first_up.append(head.bytes.filled().get(consumed..).unwrap_or(&[]));
            let carried = Carried::default();
            // Of a server that speaks HTTP/2 no upgrade is asked.
            let Some(server) = conn.stream.own() else {
                worker.buffers.give_back(first_down);
                worker.buffers.give_back(first_up);
                return Talk::Ended(Ended { outcome: Outcome::Reset, consumed, leftover });
            };
            let tunnel = Tunnel {
                worker,
                client: &client.stream,
                server,
                idle_us: leg.service.time_outs.upgraded,
                carried: &carried,
                gave: &|bytes| leg.gave(bytes),
                got: &|bytes| leg.got(bytes),
            };
            let ended = busy.ticket.unless_cut(pin!(tunnel.carry(Some(first_up), Some(first_down)))).await;
            let why = busy.ticket.why();
            leg.settle_load();
            work.trace.rx_bytes += carried.up.get();
            work.trace.tx_bytes += carried.down.get();
            match ended {
                Some(End::Idle) => worker.metrics.timeouts.upgraded_idle.inc(),
                Some(_) => {}
                None => {
                    count_cut(leg.counts, why);
                    work.trace.ended(why.text());
                }
            }
            Ended { outcome: Outcome::Close, consumed, leftover }
        }
        //= SE-CUT-01
        Received::Withdrawn => {
            let why = busy.ticket.why();
            count_cut(leg.counts, why);
            // Who came for a service that has left is not taken elsewhere: its time is over.
            if !leg.progress.said.get() && why == Why::Server {
                let (status, kind) = (503, retry::Failure::Closed);
                let failure = Failure { status, kind, reused: false, why: why.text() };
                return Talk::Failed(Failed { retry: leg.retry(&failure), failure });
            }
            work.trace.ended(why.text());
            Ended { outcome: Outcome::Reset, consumed, leftover }
        }
        Received::ClientGone | Received::Cut => Ended { outcome: Outcome::Close, consumed, leftover },
    };
    Talk::Ended(ended)
}

/// Counts what was cut with its server.
fn count_cut(counts: &ServerMetrics, why: Why) {
    if why == Why::Server {
        counts.cuts.inc();
    }
}

//! A connection to a server for a request: a kept one, or a new one.

use forebay_core::id::ServerIndex;
use forebay_core::retry;

use super::client::Client;
use super::receive::Failure;
use super::wait::Patience;
use super::work::Head;
use crate::limits::is_shortage;
use crate::rt::Rt;
use crate::upstream::h2::{Link, part};
use crate::upstream::{For, ServerConn, Unready, ready};
use crate::worker::{Generation, Route, Worker};

/// Why there is no connection to a server.
pub(super) enum Unconnected {
    /// The server does not take it.
    Failed(Failure),
    /// We have nothing to open it with: no fault of the server's.
    Short(Failure),
    /// The client has left before one was opened.
    Gone,
}

/// Lends a kept connection to the server, or opens one.
pub(super) async fn connect<R: Rt>(
    client: &Client<R>,
    plan: &Generation,
    head: &Head,
    route: &Route,
    server: ServerIndex,
    fresh: bool,
    patience: Patience,
) -> Result<ServerConn<Link<R>>, Unconnected> {
    let worker = &*client.worker;
    let target = &route.servers[server.at()];
    let host = || head.request.host(head.bytes.filled());
    let asked = target.tls.as_ref().and_then(|reach| reach.asked(host()));
    // A connection that was introduced as another client's is no one else's.
    if !fresh
        && !route.http2
        && route.introduces.is_none()
        && let Some(conn) = worker.upstreams.kept(target, &route.keep, asked)
    {
        target.counts.reused.inc();
        return Ok(conn.map(Link::Own));
    }
    if !route.http2
        && let Some(part) = client.stream.part()
        && !part.may_open().await
    {
        return Err(Unconnected::Gone);
    }
    let us = plan.service(route.service).time_outs.connect;
    let deadline = patience.step(worker.rt.now(), us);
    let by = For { client: client.peer, local: client.local, asked };
    let limits = &plan.service(route.service).server_limits;
    let made = match route.http2 {
        true => part(worker, route, target, by, limits, fresh, deadline).await,
        false => ready(worker, route, target, by, deadline).await.map(|conn| conn.map(Link::Own)),
    };
    let unready = match made {
        Ok(conn) => {
            // Of a new connection no request was one before.
            if conn.is_reused() {
                target.counts.reused.inc();
            }
            // A second failure of the kind is the server's.
            if let (true, Some(part)) = (fresh, conn.stream.part()) {
                part.set_again();
            }
            return Ok(conn);
        }
        Err(unready) => unready,
    };
    //= SE-UPSTREAM-05
    if let Unready::Unopened(error) = &unready
        && is_shortage(error)
    {
        worker.metrics.connect_shortages.inc();
        return Err(Unconnected::Short(Failure {
            status: 503,
            kind: retry::Failure::Connect,
            reused: false,
            why: "no descriptor, memory or port left to connect to a server",
        }));
    }
    let late = unready.is_late();
    let counters = &worker.metrics.timeouts;
    //= SE-BLAME-01
    if late && patience.is_over(worker.rt.now()) {
        counters.total.inc();
    } else {
        if unready.is_servers(asked) {
            target.counts.connect_failures.inc();
        }
        if late {
            counters.connect.inc();
        }
    }
    Err(Unconnected::Failed(Failure {
        status: if late { 504 } else { 502 },
        kind: retry::Failure::Connect,
        reused: false,
        why: unready.why().unwrap_or(match late {
            true => "connecting to the server took too long",
            false => "the server refused the connection",
        }),
    }))
}

/// Keeps a connection whose last answer was read to its end. A stream ends with it.
pub(super) fn keep<R: Rt>(worker: &Worker<R>, conn: ServerConn<Link<R>>, route: &Route) {
    // Where servers are expected to speak HTTP/2 a limit is one of requests, and connections are kept all the same: one of
    // HTTP/1.1 would count beside them.
    let is_limited = || route.servers.iter().any(|server| server.limit != 0);
    if let Some(own) = conn.own()
        && !(route.http2_fallback && is_limited())
    {
        worker.upstreams.keep(own, &route.keep);
    }
}

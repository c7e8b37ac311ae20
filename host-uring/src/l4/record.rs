//! What is told of a connection when it has ended: counts, and one access record.

use std::net::SocketAddr;

use forebay_core::{ChosenBy, Reason};

use crate::config::ServiceIndex;
use crate::log::ConnectionRecord;
use crate::rt::{Now, Rt};
use crate::worker::{Generation, Worker};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides ended their data.
    Whole,
    /// The client reset it, or answers no more.
    ClientFailed,
    /// The server reset it, or answers no more.
    ServerFailed,
    /// Nothing moved for too long.
    Idle,
    /// No server could serve it.
    NoServer,
    /// No server took the connection.
    Unconnected,
    /// Nothing of ours was left to connect with.
    Shortage,
    /// Every server was at its limit, and there was no place to wait, or none came free in time.
    Queue,
    /// The grace of its server was over.
    Cut,
    /// The engine stopped.
    Stopped,
    /// Its worker failed.
    WorkerFailed,
    /// Its PROXY header was missing or wrong, or its peer may send none.
    ProxyHeader,
    /// Its place went to a newer flow of datagrams.
    Evicted,
    /// The address that its client sends datagrams to is listened on no more.
    Gone,
    /// Its TLS handshake failed.
    Handshake,
    /// Its TLS is passed on, and its first message was missing or wrong.
    Hello,
    /// Its TLS is passed on, and nobody has the name that it asked for.
    NameRefused,
    /// Its TLS is passed on, and it ended without a byte.
    Unbegun,
}

impl End {
    /// Every kind, in the order of [`ServiceMetrics::ended`](crate::metrics::ServiceMetrics).
    pub const ALL: [End; 18] = [
        End::Whole,
        End::ClientFailed,
        End::ServerFailed,
        End::Idle,
        End::NoServer,
        End::Unconnected,
        End::Shortage,
        End::Queue,
        End::Cut,
        End::Stopped,
        End::WorkerFailed,
        End::ProxyHeader,
        End::Evicted,
        End::Gone,
        End::Handshake,
        End::Hello,
        End::NameRefused,
        End::Unbegun,
    ];

    /// The word in metrics.
    pub fn word(self) -> &'static str {
        match self {
            End::Whole => "whole",
            End::ClientFailed => "client_failed",
            End::ServerFailed => "server_failed",
            End::Idle => "idle",
            End::NoServer => "no_server",
            End::Unconnected => "unconnected",
            End::Shortage => "shortage",
            End::Queue => "queue",
            End::Cut => "cut",
            End::Stopped => "stopped",
            End::WorkerFailed => "worker_failed",
            End::ProxyHeader => "proxy_header",
            End::Evicted => "evicted",
            End::Gone => "gone",
            End::Handshake => "tls_handshake",
            End::Hello => "tls_hello",
            End::NameRefused => "name_refused",
            End::Unbegun => "unbegun",
        }
    }

    /// What the log says.
    pub fn text(self) -> &'static str {
        match self {
            End::Whole => "complete",
            End::ClientFailed => "the client reset its connection",
            End::ServerFailed => "the server reset its connection",
            End::Idle => "idle: nothing moved for too long",
            End::NoServer => "no server could serve it",
            End::Unconnected => "no server took the connection",
            End::Shortage => "no descriptor, memory or port left to connect to a server",
            End::Queue => "every server was at its limit",
            End::Cut => "cut: the grace of its disabled or failed server is over",
            End::Stopped => "cut: the engine stopped",
            End::WorkerFailed => "cut: its worker failed",
            End::ProxyHeader => "its PROXY header was refused",
            End::Evicted => "evicted: a newer flow took its place",
            End::Gone => "cut: its address is listened on no more",
            End::Handshake => "its TLS handshake failed",
            End::Hello => "its ClientHello is missing or wrong",
            End::NameRefused => "it asked for a name that nobody has here",
            End::Unbegun => "it ended without a byte",
        }
    }

    /// It is the ordinary end of a connection, and deserves no look.
    fn is_ordinary(self) -> bool {
        matches!(self, End::Whole | End::Idle)
    }
}

/// What happened to a connection, collected on its way.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// When it was accepted.
    pub begin: Now,
    /// The route that it took.
    pub route: Option<usize>,
    /// The server, or the last one tried.
    pub server: Option<usize>,
    /// Our own address towards it.
    pub server_src: Option<SocketAddr>,
    /// Round trip to the client, microseconds; 0: not known.
    pub client_rtt_us: u32,
    /// Round trip to the server, microseconds; 0: not known.
    pub server_rtt_us: u32,
    /// From the accept to the server's connection, microseconds, without the queue.
    pub connect_us: u64,
    /// Waiting for a server, microseconds.
    pub queue_us: u64,
    /// Servers tried.
    pub servers_tried: u8,
    /// Why this server.
    pub reason: Option<Reason>,
    /// Bytes from the client that went to the server.
    pub rx_bytes: u64,
    /// Bytes from the server that went to the client.
    pub tx_bytes: u64,
    /// How it ended.
    pub end: Option<End>,
    /// Why its PROXY header was refused, or its TLS handshake failed, or that with the last server.
    pub refused: Option<&'static str>,
    /// The name that its TLS asks for, where that is passed on.
    pub name: Option<Box<str>>,
}

/// Who speaks to whom.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The client.
    pub client: SocketAddr,
    /// The address that it connected to.
    pub local: SocketAddr,
}

/// Counts a connection that has ended and logs it.
//= L4-LOG-01
pub fn finish<R: Rt>(
    worker: &Worker<R>,
    plan: &Generation,
    service: ServiceIndex,
    ends: Ends,
    trace: &Trace,
    end: End,
) {
    let now = worker.rt.now();
    let metrics = &plan.service(service).counts;
    metrics.rx_bytes.add(trace.rx_bytes);
    metrics.tx_bytes.add(trace.tx_bytes);
    metrics.ended[end as usize].inc();
    metrics.duration.observe_us(now.0.saturating_sub(trace.begin.0));
    let mut log = worker.log.borrow_mut();
    // Whoever looks every second whether the port is open would fill the log.
    let service = plan.tree.service(service);
    let is_wanted = service.client_logs.all || !end.is_ordinary();
    if !log.takes(is_wanted) || end == End::Unbegun {
        return;
    }
    let route = trace.route.map(|at| &plan.routes[at]);
    let server = match (route, trace.server) {
        (Some(route), Some(at)) => route.servers.get(at).map(|server| server.address),
        _ => None,
    };
    log.push(
        &ConnectionRecord {
            at_unix_us: worker.unix_us(trace.begin),
            service_engine: &plan.tree.engine.name,
            worker: worker.index,
            log_id: worker.request_id(),
            virtual_service: &service.name,
            protocol: service.protocol.word(),
            pool: route.map(|route| plan.pool_of(route)),
            client: ends.client,
            client_dest: ends.local,
            name: trace.name.as_deref(),
            server,
            server_src: trace.server_src,
            servers_tried: trace.servers_tried,
            persistence_used: trace.reason.is_some_and(|reason| reason.chosen_by == ChosenBy::Persistence),
            client_rtt_us: trace.client_rtt_us.into(),
            server_rtt_us: trace.server_rtt_us.into(),
            queue_us: trace.queue_us,
            connect_us: trace.connect_us,
            total_us: now.0.saturating_sub(trace.begin.0),
            rx_bytes: trace.rx_bytes,
            tx_bytes: trace.tx_bytes,
            state: trace.refused.unwrap_or(end.text()),
            significant: !end.is_ordinary(),
            reason: trace.reason.as_ref(),
        },
        is_wanted,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_end_has_its_own_place_and_word() {
        for (place, end) in End::ALL.into_iter().enumerate() {
            assert_eq!(end as usize, place);
            assert_eq!(End::ALL.iter().filter(|other| other.word() == end.word()).count(), 1);
            assert_eq!(End::ALL.iter().filter(|other| other.text() == end.text()).count(), 1);
        }
    }
}

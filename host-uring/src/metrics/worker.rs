//! One worker's counters.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Counter, Histogram, Open};

/// What one worker counts for the engine as a whole. Services, pools and servers have counts of their own
/// ([`PerWorker`](super::PerWorker)), which live as long as they do.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerMetrics {
    /// Turns of the worker's loop; the control thread calls a worker stuck when it stands still.
    pub ticks: AtomicU64,
    /// Number of the configuration that new requests take.
    pub generation: AtomicU64,
    /// Configurations by which requests still work, the current one included.
    pub generations: AtomicU64,
    /// Client connections.
    pub connections: Open,
    /// Flows of datagrams, each of which takes half the place of a connection.
    pub flows: Open,
    /// Connections refused because a limit of the engine was reached.
    pub connections_refused_limit: Counter,
    /// Failures to accept: no file descriptor or memory left.
    pub accept_errors: Counter,
    /// Connections to servers that could not be opened for want of descriptors, memory or ports.
    pub connect_shortages: Counter,
    /// Idle server connections that were closed to make room for others.
    pub upstream_evictions: Counter,
    /// What happened on connections to servers that speak HTTP/2.
    pub upstream_h2: UpstreamH2Counters,
    /// Requests refused as malformed or over a limit (400, 413, 414, 417, 431, 501, 505).
    pub requests_rejected: Counter,
    /// Requests whose head was refused because large heads had no memory left.
    pub heads_refused_memory: Counter,
    /// Streams of HTTP/2 refused because a limit of the engine was reached.
    pub streams_refused: Counter,
    /// Connections of HTTP/2 that the engine ended because their client broke a rule of the protocol.
    pub http2_cut: Counter,
    /// Bytes that went from one socket to another without being copied.
    pub moved_bytes: Counter,
    /// Times that no pipe could be had for that.
    pub pipe_shortages: Counter,
    /// Bytes of unused memory that the worker has freed, for the control thread, which gives them back to the system.
    pub freed_bytes: Counter,
    /// Client connections that ended without a whole request or answer.
    pub client_aborts: Counter,
    /// Time-outs, each kind by itself.
    pub timeouts: TimeoutCounters,
    /// Answers that waited for other engines.
    pub acks: AckCounters,
}

/// What became of answers that wait until another engine has a new entry.
#[derive(Debug, Default)]
pub struct AckCounters {
    /// Another engine had it in time.
    pub acknowledged: Counter,
    /// None had it in time, or too many answers waited.
    pub late: Counter,
    /// No other engine was connected: they did not wait.
    pub alone: Counter,
}

/// What happened on connections to servers that speak HTTP/2.
#[derive(Debug, Default)]
pub struct UpstreamH2Counters {
    /// Requests that a server has said it did not look at.
    pub unseen: Counter,
    /// Connections that ended for a rule that the server broke.
    pub broken: Counter,
    /// Connections that were given up because the server gave no sign of life.
    pub silent: Counter,
}

/// Time-outs, each kind by itself.
#[derive(Debug, Default)]
pub struct TimeoutCounters {
    /// Connecting to a server.
    pub connect: Counter,
    /// A request's head did not arrive.
    pub header: Counter,
    /// A body stood still.
    pub body: Counter,
    /// A server's answer did not begin.
    pub response: Counter,
    /// A kept client connection stayed quiet: the ordinary end of one.
    pub idle: Counter,
    /// A request took too long as a whole.
    pub total: Counter,
    /// A request waited too long for a server.
    pub queue: Counter,
    /// An upgraded connection stayed quiet.
    pub upgraded_idle: Counter,
    /// A header of the PROXY protocol did not come.
    pub proxy_header: Counter,
    /// A TLS handshake was not over.
    pub tls_handshake: Counter,
    /// A connection of a TCP service stayed quiet.
    pub tcp_idle: Counter,
}

/// Samples of round-trip times.
#[derive(Debug, Default)]
pub struct RttCounters {
    /// Microseconds of all of them.
    pub sum_us: Counter,
    /// How many there were.
    pub samples: Counter,
}

impl RttCounters {
    /// One more; one of nothing is none.
    //= MET-RTT-01
    pub fn sample(&self, us: u32) {
        if us > 0 {
            self.sum_us.add(us.into());
            self.samples.inc();
        }
    }
}

/// What a worker counts for a virtual service.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ServiceMetrics {
    /// Client connections.
    pub connections: Open,
    /// Requests whose head was read.
    pub requests: Counter,
    /// Answers by class, 1xx first.
    pub responses: [Counter; 5],
    /// Bytes from clients.
    pub rx_bytes: Counter,
    /// Bytes to clients.
    pub tx_bytes: Counter,
    /// Clients' round-trip times.
    pub rtt: RttCounters,
    /// Upgrades to WebSocket.
    pub upgrades: Counter,
    /// From a request's first byte to its answer's last; from a connection's accept to its end where it is passed on
    /// unread.
    pub duration: Histogram,
    /// How connections that are passed on unread ended, in the order of [`End::ALL`](crate::l4::record::End).
    pub ended: [Counter; crate::l4::record::End::ALL.len()],
    /// Datagrams of clients.
    pub datagrams_received: Counter,
    /// Datagrams to clients.
    pub datagrams_sent: Counter,
    /// Datagrams of clients and servers that went nowhere, in the order of
    /// [`Dropped::ALL`](crate::l4::udp::Dropped).
    pub datagrams_dropped: [Counter; crate::l4::udp::Dropped::ALL.len()],
    /// Connections closed for their PROXY header, in the order of
    /// [`Refused::ALL`](crate::l4::introduce::Refused).
    pub proxy_refused: [Counter; crate::l4::introduce::Refused::ALL.len()],
    /// TLS handshakes: of TLS 1.2 in full and resumed, then of TLS 1.3.
    pub tls_handshakes: [Counter; 4],
    /// TLS handshakes that failed, in the order of [`Unshaken::ALL`](crate::tls::Unshaken).
    pub tls_failures: [Counter; crate::tls::Unshaken::ALL.len()],
    /// Early data, in the order of [`EarlyData::ALL`](crate::tls::EarlyData).
    pub early_data: [Counter; crate::tls::EarlyData::ALL.len()],
    /// First messages of clients whose TLS is passed on, in the order of [`Heard::ALL`](crate::l4::hello::Heard).
    pub hellos: [Counter; crate::l4::hello::Heard::ALL.len()],
}

/// What a worker counts for a pool.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct PoolMetrics {
    /// Requests that came to the pool.
    pub requests: Counter,
    /// Requests for which no server could serve.
    pub no_server: Counter,
    /// Requests that waited for a server.
    pub queued: Counter,
    /// Requests refused because the queue was full.
    pub queue_full: Counter,
    /// Further servers tried.
    pub retries: Counter,
    /// What persistence found.
    pub persistence: PersistenceCounters,
    /// TLS handshakes with its servers: of TLS 1.2 in full and resumed, then of TLS 1.3.
    pub tls_handshakes: [Counter; 4],
    /// TLS handshakes with its servers that failed, in the order of [`Unreached::ALL`](crate::tls::Unreached).
    pub tls_failures: [Counter; crate::tls::Unreached::ALL.len()],
}

/// What persistence found.
#[derive(Debug, Default)]
pub struct PersistenceCounters {
    /// The key led to a server that served.
    pub hits: Counter,
    /// No key, or none known.
    pub misses: Counter,
    /// The key was not ours, damaged, or of another service; it was ignored.
    pub invalid: Counter,
    /// The key's server could not serve, and the policy for that decided.
    pub server_down: Counter,
}

/// What a worker counts for a server.
///
/// The passive monitor judges by these counts as well: the control thread reads them ten times a second.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ServerMetrics {
    /// Connections to it, idle ones included.
    pub connections: Open,
    /// Connections that failed to open.
    pub connect_failures: Counter,
    /// Requests under way.
    pub active: Open,
    /// Requests sent on a kept connection.
    pub reused: Counter,
    /// Answers by class, 1xx first.
    pub responses: [Counter; 5],
    /// Connections lost, garbled or timed out between a request's first byte and the answer's last.
    pub aborts: Counter,
    /// Requests and tunnels that were cut because its grace was over.
    pub cuts: Counter,
    /// Bytes from the server.
    pub rx_bytes: Counter,
    /// Bytes to the server.
    pub tx_bytes: Counter,
    /// Its round-trip times.
    pub rtt: RttCounters,
    /// From the request's last byte to the answer's first.
    pub response_time: Histogram,
}

impl WorkerMetrics {
    /// Says that the worker's loop has turned.
    #[inline]
    pub fn tick(&self) {
        self.ticks.store(self.ticks.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Closes what a panicked worker had open. Only for the control thread, between the worker's end and its new start:
    /// then there is no other writer.
    pub fn settle_after_panic(&self) {
        self.connections.settle();
        self.flows.settle();
    }
}

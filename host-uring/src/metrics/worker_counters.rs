//! What is counted for each worker by itself, as the metrics page shows it.

use std::sync::atomic::Ordering;

use super::WorkerMetrics;

/// Name, unit, meaning, and where the count stands.
pub(super) type WorkerCounter = (&'static str, &'static str, &'static str, fn(&WorkerMetrics) -> u64);

/// The counters with one sample for each worker.
pub(super) const WORKER_COUNTERS: [WorkerCounter; 18] = [
    ("forebay_worker_ticks", "", "Turns of the worker's loop.", |w| w.ticks.load(Ordering::Relaxed)),
    ("forebay_connections_refused", "", "Connections refused at the limit of connections.", |w| {
        w.connections_refused_limit.get()
    }),
    (
        "forebay_accept_errors",
        "",
        "Times that accepting failed: no file descriptor or memory, or the socket itself.",
        |w| w.accept_errors.get(),
    ),
    (
        "forebay_connect_shortages",
        "",
        "Requests answered 503 because no file descriptor, memory or port was left to connect to a server.",
        |w| w.connect_shortages.get(),
    ),
    (
        "forebay_server_idle_evictions",
        "",
        "Idle connections to servers that were closed to make room for others.",
        |w| w.upstream_evictions.get(),
    ),
    (
        "forebay_server_streams_unseen",
        "",
        "Requests over HTTP/2 that a server has said it did not look at.",
        |w| w.upstream_h2.unseen.get(),
    ),
    (
        "forebay_server_http2_broken",
        "",
        "Connections of HTTP/2 to servers that ended for a rule that the server broke.",
        |w| w.upstream_h2.broken.get(),
    ),
    (
        "forebay_server_http2_silent",
        "",
        "Connections of HTTP/2 to servers that were given up because the server gave no sign of life.",
        |w| w.upstream_h2.silent.get(),
    ),
    (
        "forebay_requests_rejected",
        "",
        "Requests refused as malformed or over a limit; those whose head was whole count among the requests as well.",
        |w| w.requests_rejected.get(),
    ),
    (
        "forebay_heads_refused_memory",
        "",
        "Requests refused because large heads had all the memory that they may have.",
        |w| w.heads_refused_memory.get(),
    ),
    (
        "forebay_http2_streams_refused",
        "",
        "Streams of clients refused at the limit of connections, of which each stream beyond the first takes a place.",
        |w| w.streams_refused.get(),
    ),
    (
        "forebay_http2_connections_cut",
        "",
        "Connections that the engine ended because their client broke a rule of HTTP/2 or one of its bounds.",
        |w| w.http2_cut.get(),
    ),
    (
        "forebay_moved_bytes",
        "bytes",
        "Bytes that went from one socket to another without being copied.",
        |w| w.moved_bytes.get(),
    ),
    (
        "forebay_pipe_shortages",
        "",
        "Times that no pipe could be had to move bytes without copying them.",
        |w| w.pipe_shortages.get(),
    ),
    (
        "forebay_client_aborts",
        "",
        "Client connections that ended in the middle of a request or answer.",
        |w| w.client_aborts.get(),
    ),
    (
        "forebay_persistence_acknowledged",
        "",
        "Answers that went out once another engine had the new entry that they tell of.",
        |w| w.acks.acknowledged.get(),
    ),
    (
        "forebay_persistence_acknowledged_late",
        "",
        "Answers that went out before another engine was known to have the entry: after 20 ms, or because too many waited.",
        |w| w.acks.late.get(),
    ),
    (
        "forebay_persistence_acknowledged_alone",
        "",
        "New entries whose answers did not wait because no other engine was connected.",
        |w| w.acks.alone.get(),
    ),
];

//! Every metric: `docs/spec/metrics.md` has the same list.

use forebay_wire::tally::{controller, engine, pool, server, service};

use crate::metric::{Entity, Metric, Of};

const COUNT: &str = "METRIC_COUNT";
const PER_SECOND: &str = "PER_SECOND";
const BITS: &str = "BITS_PER_SECOND";
const BYTES: &str = "BYTES_PER_SECOND";
const PERCENT: &str = "PERCENT";
const MS: &str = "MILLISECONDS";
const RATIO: &str = "RATIO";

const ANSWERS: &[usize] =
    &[service::RESPONSES + 1, service::RESPONSES + 2, service::RESPONSES + 3, service::RESPONSES + 4];
const ERRORS: &[usize] = &[service::RESPONSES + 3, service::RESPONSES + 4];
const OF_SERVERS: &[usize] =
    &[server::RESPONSES + 1, server::RESPONSES + 2, server::RESPONSES + 3, server::RESPONSES + 4];
const ERRORS_OF_SERVERS: &[usize] = &[server::RESPONSES + 3, server::RESPONSES + 4];

const fn client(id: &'static str, units: &'static str, of: Of, about: &'static str) -> Metric {
    Metric { id, units, entity: Entity::Client, of, about }
}

const fn servers(id: &'static str, units: &'static str, of: Of, about: &'static str) -> Metric {
    Metric { id, units, entity: Entity::Server, of, about }
}

const fn controllers(id: &'static str, of: Of, about: &'static str) -> Metric {
    Metric { id, units: PERCENT, entity: Entity::Controller, of, about }
}

const fn engines(id: &'static str, units: &'static str, of: Of, about: &'static str) -> Metric {
    Metric { id, units, entity: Entity::Engine, of, about }
}

/// Every metric, in the order of the documentation.
pub const METRICS: &[Metric] = &[
    client(
        "l4_client.avg_bandwidth",
        BITS,
        Of::Rate(&[service::RX_BYTES, service::TX_BYTES], 8),
        "Bits from and to clients.",
    ),
    client("l4_client.avg_rx_bytes", BYTES, Of::Rate(&[service::RX_BYTES], 1), "Bytes from clients."),
    client("l4_client.avg_tx_bytes", BYTES, Of::Rate(&[service::TX_BYTES], 1), "Bytes to clients."),
    client(
        "l4_client.avg_rx_pkts",
        PER_SECOND,
        Of::Rate(&[service::RX_DATAGRAMS], 1),
        "Datagrams from clients of a UDP service; packets of TCP are not counted.",
    ),
    client(
        "l4_client.avg_tx_pkts",
        PER_SECOND,
        Of::Rate(&[service::TX_DATAGRAMS], 1),
        "Datagrams to clients of a UDP service.",
    ),
    client(
        "l4_client.avg_complete_conns",
        PER_SECOND,
        Of::Rate(&[service::ENDED], 1),
        "Connections of clients that ended.",
    ),
    client(
        "l4_client.avg_new_established_conns",
        PER_SECOND,
        Of::Rate(&[service::CONNECTIONS], 1),
        "Connections of clients that began.",
    ),
    client(
        "l4_client.avg_total_connections",
        PER_SECOND,
        Of::Rate(&[service::CONNECTIONS], 1),
        "The same as avg_new_established_conns.",
    ),
    client(
        "l4_client.sum_finished_conns",
        COUNT,
        Of::Sum(&[service::ENDED]),
        "Connections of clients that ended.",
    ),
    client(
        "l4_client.avg_open_conns",
        COUNT,
        Of::Level(service::OPEN_MS),
        "Connections that were open, on the average.",
    ),
    client(
        "l4_client.max_open_conns",
        COUNT,
        Of::Top,
        "The most connections that were open at a time, looked at each second; over several engines the sum of theirs.",
    ),
    client(
        "l4_client.avg_errored_connections",
        PER_SECOND,
        Of::Rate(&[service::ERRORED], 1),
        "Connections that ended in an error: a handshake or PROXY header that failed; where they are passed on unread also a reset or the want of a server.",
    ),
    client("l4_client.sum_connection_errors", COUNT, Of::Sum(&[service::ERRORED]), "The same, as a sum."),
    client(
        "l4_client.pct_connection_errors",
        PERCENT,
        Of::Percent(&[service::ERRORED], &[service::CONNECTIONS]),
        "The same, of connections that began.",
    ),
    client(
        "l4_client.avg_total_rtt",
        MS,
        Of::Each(service::RTT_US, service::RTTS),
        "Round-trip times with clients as the kernel measures them, of HTTP with a connection's first request and each 1,024th after it, else at a connection's end; on the average of these.",
    ),
    client("l7_client.avg_total_requests", PER_SECOND, Of::Rate(&[service::REQUESTS], 1), "Requests."),
    client("l7_client.sum_total_requests", COUNT, Of::Sum(&[service::REQUESTS]), "Requests."),
    client(
        "l7_client.avg_complete_responses",
        PER_SECOND,
        Of::Rate(ANSWERS, 1),
        "Answers; those of class 1xx are no answers.",
    ),
    client("l7_client.sum_total_responses", COUNT, Of::Sum(ANSWERS), "Answers."),
    client("l7_client.avg_resp_1xx", PER_SECOND, Of::Rate(&[service::RESPONSES], 1), "Answers of class 1xx."),
    client(
        "l7_client.avg_resp_2xx",
        PER_SECOND,
        Of::Rate(&[service::RESPONSES + 1], 1),
        "Answers of class 2xx.",
    ),
    client(
        "l7_client.avg_resp_3xx",
        PER_SECOND,
        Of::Rate(&[service::RESPONSES + 2], 1),
        "Answers of class 3xx.",
    ),
    client(
        "l7_client.avg_resp_4xx",
        PER_SECOND,
        Of::Rate(&[service::RESPONSES + 3], 1),
        "Answers of class 4xx.",
    ),
    client(
        "l7_client.avg_resp_5xx",
        PER_SECOND,
        Of::Rate(&[service::RESPONSES + 4], 1),
        "Answers of class 5xx.",
    ),
    client(
        "l7_client.avg_error_responses",
        PER_SECOND,
        Of::Rate(ERRORS, 1),
        "Answers of classes 4xx and 5xx.",
    ),
    client("l7_client.sum_errors", COUNT, Of::Sum(ERRORS), "The same, as a sum."),
    client(
        "l7_client.pct_response_errors",
        PERCENT,
        Of::Percent(ERRORS, ANSWERS),
        "The same, of all answers.",
    ),
    client(
        "l7_client.avg_client_txn_latency",
        MS,
        Of::Mean(service::DURATION_US),
        "From a request's first byte to its answer's last, on the average.",
    ),
    client(
        "l7_client.p50_client_txn_latency",
        MS,
        Of::Percentile(50),
        "The same: half of them are not above.",
    ),
    client("l7_client.p95_client_txn_latency", MS, Of::Percentile(95), "The same: 95 of 100 are not above."),
    client("l7_client.p99_client_txn_latency", MS, Of::Percentile(99), "The same: 99 of 100 are not above."),
    client(
        "l7_client.apdexr",
        RATIO,
        Of::Apdex,
        "Apdex of these durations, by `apdex_response_threshold` of the service's analytics profile (500 ms where it says nothing), tolerated up to four times that.",
    ),
    client(
        "l7_client.avg_ssl_handshakes_new",
        PER_SECOND,
        Of::Rate(&[service::HANDSHAKES, service::HANDSHAKES + 2], 1),
        "TLS handshakes in full.",
    ),
    client(
        "l7_client.avg_ssl_handshakes_reused",
        PER_SECOND,
        Of::Rate(&[service::HANDSHAKES + 1, service::HANDSHAKES + 3], 1),
        "TLS handshakes that were resumed.",
    ),
    client(
        "l7_client.avg_ssl_ver_tls12",
        PER_SECOND,
        Of::Rate(&[service::HANDSHAKES, service::HANDSHAKES + 1], 1),
        "Handshakes of TLS 1.2.",
    ),
    client(
        "l7_client.avg_ssl_ver_tls13",
        PER_SECOND,
        Of::Rate(&[service::HANDSHAKES + 2, service::HANDSHAKES + 3], 1),
        "Handshakes of TLS 1.3.",
    ),
    client(
        "l7_client.avg_ssl_errors",
        PER_SECOND,
        Of::Rate(&[service::HANDSHAKES_FAILED], 1),
        "TLS handshakes that failed.",
    ),
    servers(
        "l4_server.avg_bandwidth",
        BITS,
        Of::Rate(&[server::RX_BYTES, server::TX_BYTES], 8),
        "Bits from and to servers.",
    ),
    servers("l4_server.avg_rx_bytes", BYTES, Of::Rate(&[server::RX_BYTES], 1), "Bytes from servers."),
    servers("l4_server.avg_tx_bytes", BYTES, Of::Rate(&[server::TX_BYTES], 1), "Bytes to servers."),
    servers(
        "l4_server.avg_complete_conns",
        PER_SECOND,
        Of::Rate(&[server::ENDED], 1),
        "Connections with servers that ended.",
    ),
    servers(
        "l4_server.avg_new_established_conns",
        PER_SECOND,
        Of::Rate(&[server::CONNECTIONS], 1),
        "Connections with servers that began.",
    ),
    servers(
        "l4_server.avg_open_conns",
        COUNT,
        Of::Level(server::OPEN_MS),
        "Connections with servers that were open, on the average.",
    ),
    servers(
        "l4_server.max_open_conns",
        COUNT,
        Of::Top,
        "The most connections with a server at a time, looked at each second; of several servers the sum of theirs.",
    ),
    servers(
        "l4_server.avg_errored_connections",
        PER_SECOND,
        Of::Rate(&[server::CONNECT_FAILED, server::ABORTED], 1),
        "Connections that could not be opened, or were lost in the middle of a request.",
    ),
    servers(
        "l4_server.sum_connection_errors",
        COUNT,
        Of::Sum(&[server::CONNECT_FAILED, server::ABORTED]),
        "The same, as a sum.",
    ),
    servers(
        "l4_server.avg_total_rtt",
        MS,
        Of::Each(server::RTT_US, server::RTTS),
        "Round-trip times with servers as the kernel measures them when a connection is opened, on the average.",
    ),
    servers(
        "l7_server.avg_total_requests",
        PER_SECOND,
        Of::Rate(&[server::REQUESTS], 1),
        "Requests to servers.",
    ),
    servers(
        "l7_server.avg_complete_responses",
        PER_SECOND,
        Of::Rate(OF_SERVERS, 1),
        "Answers of servers; those of class 1xx are no answers.",
    ),
    servers("l7_server.sum_total_responses", COUNT, Of::Sum(OF_SERVERS), "Answers of servers."),
    servers("l7_server.avg_resp_1xx", PER_SECOND, Of::Rate(&[server::RESPONSES], 1), "Answers of class 1xx."),
    servers(
        "l7_server.avg_resp_2xx",
        PER_SECOND,
        Of::Rate(&[server::RESPONSES + 1], 1),
        "Answers of class 2xx.",
    ),
    servers(
        "l7_server.avg_resp_3xx",
        PER_SECOND,
        Of::Rate(&[server::RESPONSES + 2], 1),
        "Answers of class 3xx.",
    ),
    servers(
        "l7_server.avg_resp_4xx",
        PER_SECOND,
        Of::Rate(&[server::RESPONSES + 3], 1),
        "Answers of class 4xx.",
    ),
    servers(
        "l7_server.avg_resp_5xx",
        PER_SECOND,
        Of::Rate(&[server::RESPONSES + 4], 1),
        "Answers of class 5xx.",
    ),
    servers(
        "l7_server.avg_error_responses",
        PER_SECOND,
        Of::Rate(ERRORS_OF_SERVERS, 1),
        "Answers of classes 4xx and 5xx.",
    ),
    servers(
        "l7_server.pct_response_errors",
        PERCENT,
        Of::Percent(ERRORS_OF_SERVERS, OF_SERVERS),
        "The same, of all answers.",
    ),
    servers(
        "l7_server.avg_resp_latency",
        MS,
        Of::Mean(server::DURATION_US),
        "From a request's last byte to its answer's first, on the average.",
    ),
    servers("l7_server.p95_resp_latency", MS, Of::Percentile(95), "The same: 95 of 100 are not above."),
    servers(
        "l7_server.apdexr",
        RATIO,
        Of::Apdex,
        "Apdex of these durations, by `apdex_server_response_threshold` (400 ms where it says nothing).",
    ),
    servers(
        "l7_server.avg_retries",
        PER_SECOND,
        Of::Rate(&[pool::RETRIES], 1),
        "Further servers that were tried; of a pool, not of a server.",
    ),
    servers(
        "l7_server.avg_queued_requests",
        PER_SECOND,
        Of::Rate(&[pool::QUEUED], 1),
        "Requests that waited for a server; of a pool.",
    ),
    servers(
        "l7_server.avg_no_server",
        PER_SECOND,
        Of::Rate(&[pool::NO_SERVER], 1),
        "Requests for which no server could serve; of a pool.",
    ),
    engines(
        "se_stats.avg_cpu_usage",
        PERCENT,
        Of::Percent(&[engine::CPU_MS], &[engine::CORE_MS]),
        "Processor time of the engine, of what its machine has.",
    ),
    engines(
        "se_stats.avg_mem_usage",
        PERCENT,
        Of::Percent(&[engine::MEMORY_MS], &[engine::MEMORY_MAX_MS]),
        "Resident memory of the engine, of what its machine has.",
    ),
    engines(
        "se_stats.avg_connections",
        COUNT,
        Of::Level(engine::OPEN_MS),
        "Connections of clients that were open, on the average.",
    ),
    engines(
        "se_stats.max_open_conns",
        COUNT,
        Of::Top,
        "The most connections of clients at a time, looked at each second.",
    ),
    engines(
        "se_stats.avg_connection_mem_usage",
        PERCENT,
        Of::Percent(&[engine::OPEN_MS], &[engine::OPEN_MAX_MS]),
        "Connections of clients, of those that the engine has memory for.",
    ),
    engines(
        "se_stats.avg_connections_dropped",
        PER_SECOND,
        Of::Rate(&[engine::REFUSED], 1),
        "Connections that were refused at the engine's limit.",
    ),
    engines(
        "se_stats.avg_new_established_conns",
        PER_SECOND,
        Of::Rate(&[engine::CONNECTIONS], 1),
        "Connections of clients that began.",
    ),
    engines(
        "se_stats.avg_persistent_table_usage",
        PERCENT,
        Of::Percent(&[engine::ENTRIES_MS], &[engine::ENTRIES_MAX_MS]),
        "Entries of persistence tables, of those that there is room for.",
    ),
    engines(
        "se_stats.avg_bandwidth",
        BITS,
        Of::Rate(&[engine::RX_BYTES, engine::TX_BYTES], 8),
        "Bits from and to clients.",
    ),
    engines(
        "se_if.avg_bandwidth",
        BITS,
        Of::Rate(&[engine::RX_BYTES, engine::TX_BYTES], 8),
        "The same: bits of clients' connections, not of frames.",
    ),
    engines("se_if.avg_rx_bytes", BYTES, Of::Rate(&[engine::RX_BYTES], 1), "Bytes from clients."),
    engines("se_if.avg_tx_bytes", BYTES, Of::Rate(&[engine::TX_BYTES], 1), "Bytes to clients."),
    controllers(
        "controller_stats.avg_cpu_usage",
        Of::Percent(&[controller::CPU_MS], &[controller::CORE_MS]),
        "Processor time of the Controller, of what its machine has.",
    ),
    controllers(
        "controller_stats.avg_mem_usage",
        Of::Percent(&[controller::MEMORY_MS], &[controller::MEMORY_MAX_MS]),
        "Resident memory of the Controller, of what its machine has.",
    ),
    controllers(
        "controller_stats.avg_disk_usage",
        Of::Percent(&[controller::DISK_MS], &[controller::DISK_MAX_MS]),
        "What is used of the disk of the Controller's folder, by whomever.",
    ),
];

//! The metrics page: every family with its name, unit and meaning.
//!
//! Names, units and labels are a promise to dashboards: `docs/spec/observability.md` lists them, and a test
//! compares the list with what is written here.

use std::sync::Arc;

use forebay_snapshot::Protocol;

use super::names::NamesView;
use super::objsync::ObjsyncView;
use super::process::Process;
use super::takeover::TakeoverView;
use super::text::{Kind, Page};
use super::worker_counters::WORKER_COUNTERS;
use super::{Counter, PoolMetrics, ServerMetrics, ServiceMetrics, WorkerMetrics};
use crate::config::{HealthState, Pool, Server, Service, Tree};
use crate::l4::introduce::Refused;
use crate::l4::record::End;
use crate::l4::udp::Dropped;
use crate::log::{LogCounts, ToldCounts};
use crate::sync::redis::MirrorStatus;

/// All that a page shows.
pub struct View<'a> {
    /// The configuration.
    pub tree: &'a Tree,
    /// Every worker's counters.
    pub workers: &'a [Arc<WorkerMetrics>],
    /// What the supervisor knows of each worker.
    pub supervised: &'a [Supervised],
    /// What became of the access log's lines.
    pub log: LogCounts,
    /// What became of records for the Controller.
    pub told: ToldCounts,
    /// The process.
    pub process: Process,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Client connections that the process takes.
    pub connections_max: u64,
    /// Persistence entries, room for them, and evictions.
    pub table: TableView,
    /// The host names of servers.
    pub names: NamesView,
    /// What became of attempts to load a configuration.
    pub reload: ReloadView,
    /// Processes that took over from each other.
    pub takeover: TakeoverView,
    /// The group, if the tables are shared.
    pub objsync: Option<ObjsyncView>,
    /// What is known of the Redis by way of which the tables are shared, if they are.
    pub redis: Option<MirrorStatus>,
}

/// What the supervisor knows of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Supervised {
    /// How often it panicked.
    pub panics: u64,
    /// How often it stood still.
    pub stuck: u64,
    /// Whether it stands still now.
    pub is_stuck: bool,
}

/// What is known of the persistence tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableView {
    /// Entries.
    pub entries: u64,
    /// Entries that there is room for.
    pub capacity: u64,
    /// Entries that went early because there was no room.
    pub evicted: u64,
    /// New entries that found no room: every entry in their reach had open connections.
    pub refused: u64,
    /// Bytes of memory that are reserved for entries.
    pub bytes: u64,
    /// Bytes of them that the engine has made resident.
    pub bytes_resident: u64,
}

/// What became of attempts to load a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReloadView {
    /// Number of the configuration that new requests take.
    pub generation: u64,
    /// Configurations by which requests still work, on the worker that has most.
    pub live: u64,
    /// Times that one was loaded.
    pub loaded: u64,
    /// Times that one was refused.
    pub refused: u64,
    /// Times that it was what it was.
    pub unchanged: u64,
    /// The last attempt was not refused.
    pub last_ok: bool,
    /// When it was, in seconds since 1970.
    pub last_unix_s: u64,
}

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Writes the page.
//= OBS-METRIC-01
pub fn render(view: &View<'_>) -> String {
    let mut page = Page::new();
    process(&mut page, view);
    workers(&mut page, view);
    services(&mut page, view);
    pools(&mut page, view);
    servers(&mut page, view);
    page.end()
}

fn process(page: &mut Page, view: &View<'_>) {
    page.family("forebay_build", Kind::Info, "", "The running version.");
    page.sample(&[("version", VERSION), ("engine", &view.tree.engine.name)], 1);
    page.family("forebay_uptime_seconds", Kind::Gauge, "seconds", "Time since the start.");
    page.sample_milli(&[], view.uptime_ms);
    page.family("process_resident_memory_bytes", Kind::Gauge, "bytes", "Resident memory.");
    page.sample(&[], view.process.resident_bytes);
    page.family("process_open_fds", Kind::Gauge, "", "Open file descriptors.");
    page.sample(&[], view.process.open_files);
    page.family("process_max_fds", Kind::Gauge, "", "File descriptors that may be open.");
    page.sample(&[], view.process.files_max);
    page.family("process_cpu_seconds", Kind::Counter, "seconds", "CPU time used.");
    page.sample_milli(&[], view.process.cpu_ms);
    page.family(
        "forebay_client_connections_max",
        Kind::Gauge,
        "",
        "Client connections that are taken at the same time; a flow of datagrams takes half the place of one.",
    );
    page.sample(&[], view.connections_max);
    page.family("forebay_access_log_lines", Kind::Counter, "", "Access log lines: written, dropped (a worker's ring was full) or lost (the log could not be written).");
    for (result, count) in
        [("written", view.log.written), ("dropped", view.log.dropped), ("lost", view.log.lost)]
    {
        page.sample(&[("result", result)], count);
    }
    let ToldCounts { told, dropped, throttled, lost } = view.told;
    page.family("forebay_client_log_records", Kind::Counter, "", "Records of requests and connections for the Controller: told, dropped (a worker's ring was full), throttled (beyond what their service lets through) or lost (the oldest, while the Controller was away or slow).");
    for (result, count) in [("told", told), ("dropped", dropped), ("throttled", throttled), ("lost", lost)] {
        page.sample(&[("result", result)], count);
    }
    reload(page, &view.reload);
    super::takeover::write(page, &view.takeover);
    super::objsync::write(page, view.objsync.as_ref());
    super::redis::write(page, view.redis.as_ref());
    let unplaced = view.tree.pools.iter().flat_map(|pool| &pool.unplaced);
    super::names::write(page, &view.names, unplaced.filter(|one| one.address.is_some()).count());
    let table = view.table;
    page.family("forebay_persistence_entries", Kind::Gauge, "", "Entries of the persistence tables.");
    page.sample(&[], table.entries);
    page.family("forebay_persistence_entries_max", Kind::Gauge, "", "Entries that there is room for.");
    page.sample(&[], table.capacity);
    page.family(
        "forebay_persistence_evictions",
        Kind::Counter,
        "",
        "Entries that went before their time because there was no room.",
    );
    page.sample(&[], table.evicted);
    page.family(
        "forebay_persistence_refusals",
        Kind::Counter,
        "",
        "New entries refused for want of room, all in reach having open connections; the client was served.",
    );
    page.sample(&[], table.refused);
    let help = "Memory that is reserved for entries of persistence tables.";
    page.family("forebay_persistence_memory_bytes", Kind::Gauge, "bytes", help);
    page.sample(&[], table.bytes);
    page.family(
        "forebay_persistence_memory_resident_bytes",
        Kind::Gauge,
        "bytes",
        "What the engine has made resident of that memory, by itself; all of it soon after the start.",
    );
    page.sample(&[], table.bytes_resident);
}

fn reload(page: &mut Page, reload: &ReloadView) {
    page.family(
        "forebay_config_generation",
        Kind::Gauge,
        "",
        "Number of the configuration that new requests take.",
    );
    page.sample(&[], reload.generation);
    page.family(
        "forebay_config_generations_live",
        Kind::Gauge,
        "",
        "Configurations by which requests still work, the current one included.",
    );
    page.sample(&[], reload.live);
    page.family(
        "forebay_config_reloads",
        Kind::Counter,
        "",
        "Times that the configuration was loaded again by result: loaded, refused, unchanged.",
    );
    for (result, count) in
        [("loaded", reload.loaded), ("refused", reload.refused), ("unchanged", reload.unchanged)]
    {
        page.sample(&[("result", result)], count);
    }
    page.family(
        "forebay_config_last_reload_ok",
        Kind::Gauge,
        "",
        "0 if the last attempt to load it was refused.",
    );
    page.sample(&[], reload.last_ok.into());
    page.family(
        "forebay_config_last_reload_timestamp_seconds",
        Kind::Gauge,
        "seconds",
        "When it was last tried, or the start, since 1970.",
    );
    page.sample(&[], reload.last_unix_s);
}

fn workers(page: &mut Page, view: &View<'_>) {
    for (name, unit, help, of) in WORKER_COUNTERS {
        page.family(name, Kind::Counter, unit, help);
        for (index, worker) in view.workers.iter().enumerate() {
            page.sample(&[("worker", &index.to_string())], of(worker));
        }
    }
    page.family(
        "forebay_worker_panics",
        Kind::Counter,
        "",
        "Times that the worker panicked and was started anew.",
    );
    for (index, worker) in view.supervised.iter().enumerate() {
        page.sample(&[("worker", &index.to_string())], worker.panics);
    }
    page.family("forebay_worker_stalls", Kind::Counter, "", "Times that the worker stood still.");
    for (index, worker) in view.supervised.iter().enumerate() {
        page.sample(&[("worker", &index.to_string())], worker.stuck);
    }
    page.family("forebay_worker_stuck", Kind::Gauge, "", "1 while the worker stands still.");
    for (index, worker) in view.supervised.iter().enumerate() {
        page.sample(&[("worker", &index.to_string())], worker.is_stuck.into());
    }
    //= OBS-TIMEOUT-01
    page.family("forebay_timeouts", Kind::Counter, "", "Time-outs by kind: connect, header, body, response, idle (the ordinary end of a kept connection), total, queue, upgraded_idle, proxy_header, tcp_idle, tls_handshake.");
    for (kind, of) in TIMEOUTS {
        page.sample(&[("kind", kind)], view.workers.iter().map(|w| of(w).get()).sum());
    }
}

type TimeoutOf = (&'static str, fn(&WorkerMetrics) -> &Counter);

const TIMEOUTS: [TimeoutOf; 11] = [
    ("connect", |w| &w.timeouts.connect),
    ("header", |w| &w.timeouts.header),
    ("body", |w| &w.timeouts.body),
    ("response", |w| &w.timeouts.response),
    ("idle", |w| &w.timeouts.idle),
    ("total", |w| &w.timeouts.total),
    ("queue", |w| &w.timeouts.queue),
    ("upgraded_idle", |w| &w.timeouts.upgraded_idle),
    ("proxy_header", |w| &w.timeouts.proxy_header),
    ("tcp_idle", |w| &w.timeouts.tcp_idle),
    ("tls_handshake", |w| &w.timeouts.tls_handshake),
];

/// Adds up one counter over the workers.
pub(crate) fn sum(workers: &[Arc<WorkerMetrics>], of: impl Fn(&WorkerMetrics) -> u64) -> u64 {
    workers.iter().map(|worker| of(worker)).sum()
}

type OfService = (&'static str, &'static str, &'static str, fn(&ServiceMetrics) -> u64);

fn services(page: &mut Page, view: &View<'_>) {
    let per_worker: [OfService; 2] = [
        ("forebay_client_connections", "", "Client connections accepted.", |s| s.connections.opened.get()),
        ("forebay_requests", "", "Requests whose head was read.", |s| s.requests.get()),
    ];
    for (name, unit, help, of) in per_worker {
        page.family(name, Kind::Counter, unit, help);
        each_service(view, |service| {
            for worker in 0..view.workers.len() {
                let labels = [("virtual_service", service.name.as_str()), ("worker", &worker.to_string())];
                page.sample(&labels, of(&service.shared.counts.of(worker)));
            }
        });
    }
    page.family(
        "forebay_client_connections_open",
        Kind::Gauge,
        "",
        "Client connections that are open; flows of UDP services count as such.",
    );
    each_service(view, |service| {
        let open = service.shared.counts.sum(|s| s.connections.now());
        page.sample(&[("virtual_service", &service.name)], open);
    });
    let counters: [OfService; 3] = [
        ("forebay_client_received_bytes", "bytes", "Bytes from clients.", |s| s.rx_bytes.get()),
        ("forebay_client_sent_bytes", "bytes", "Bytes to clients.", |s| s.tx_bytes.get()),
        ("forebay_upgrades", "", "Connections that were upgraded (WebSocket).", |s| s.upgrades.get()),
    ];
    for (name, unit, help, of) in counters {
        page.family(name, Kind::Counter, unit, help);
        each_service(view, |service| {
            page.sample(&[("virtual_service", &service.name)], service.shared.counts.sum(of));
        });
    }
    page.family("forebay_responses", Kind::Counter, "", "Answers to clients by class.");
    each_service(view, |service| {
        for (class, word) in CLASSES.iter().enumerate() {
            let count = service.shared.counts.sum(|s| s.responses[class].get());
            page.sample(&[("virtual_service", &service.name), ("class", word)], count);
        }
    });
    page.family(
        "forebay_request_duration_seconds",
        Kind::Histogram,
        "seconds",
        "From a request's first byte to its answer's last.",
    );
    each_service(view, |service| {
        if service.protocol == Protocol::Http {
            let durations = service.shared.counts.histogram(|s| &s.duration);
            page.histogram(&[("virtual_service", &service.name)], &durations);
        }
    });
    page.family(
        "forebay_proxy_headers_refused",
        Kind::Counter,
        "",
        "Connections closed for their PROXY header: untrusted (the peer may send none), malformed, late, cut (it ended before).",
    );
    each_service(view, |service| {
        for (place, kind) in Refused::ALL.iter().enumerate() {
            let count = service.shared.counts.sum(|s| s.proxy_refused[place].get());
            page.sample(&[("virtual_service", &service.name), ("why", kind.word())], count);
        }
    });
    super::tls::handshakes(page, view);
    super::tls::passed_on(page, view);
    unread(page, view);
    datagrams(page, view);
}

/// Services that pass bytes on unread.
fn unread(page: &mut Page, view: &View<'_>) {
    page.family(
        "forebay_connections_ended",
        Kind::Counter,
        "",
        "Connections of TCP services and flows of UDP services by how they ended.",
    );
    each_unread(view, |service| {
        for (place, end) in End::ALL.iter().enumerate() {
            let count = service.shared.counts.sum(|s| s.ended[place].get());
            page.sample(&[("virtual_service", &service.name), ("end", end.word())], count);
        }
    });
    page.family(
        "forebay_connection_duration_seconds",
        Kind::Histogram,
        "seconds",
        "From the accept of a TCP service's connection, or the first datagram of a flow, to its end.",
    );
    each_unread(view, |service| {
        let durations = service.shared.counts.histogram(|s| &s.duration);
        page.histogram(&[("virtual_service", &service.name)], &durations);
    });
}

type OfDatagrams = (&'static str, &'static str, fn(&ServiceMetrics) -> u64);

/// Services of datagrams.
fn datagrams(page: &mut Page, view: &View<'_>) {
    let counters: [OfDatagrams; 2] = [
        ("forebay_client_received_datagrams", "Datagrams from clients of flows.", |s| {
            s.datagrams_received.get()
        }),
        ("forebay_client_sent_datagrams", "Datagrams to clients.", |s| s.datagrams_sent.get()),
    ];
    for (name, help, of) in counters {
        page.family(name, Kind::Counter, "", help);
        each_of_datagrams(view, |service| {
            page.sample(&[("virtual_service", &service.name)], service.shared.counts.sum(of));
        });
    }
    let help = "Datagrams that went nowhere: every place for a flow was taken (flows), no_server, nothing left to reach one \
                with (shortage), a socket took none (full), stopping, came faster than they were read (unread).";
    page.family("forebay_datagrams_dropped", Kind::Counter, "", help);
    each_of_datagrams(view, |service| {
        for (place, why) in Dropped::ALL.iter().enumerate() {
            let count = service.shared.counts.sum(|s| s.datagrams_dropped[place].get());
            page.sample(&[("virtual_service", &service.name), ("why", why.word())], count);
        }
    });
}

fn each_of_datagrams(view: &View<'_>, mut of: impl FnMut(&Service)) {
    each_service(view, |service| {
        if service.protocol == Protocol::Udp {
            of(service);
        }
    });
}

pub(super) fn each_service(view: &View<'_>, of: impl FnMut(&Service)) {
    view.tree.services.iter().for_each(of);
}

fn each_unread(view: &View<'_>, mut of: impl FnMut(&Service)) {
    each_service(view, |service| {
        if service.protocol != Protocol::Http {
            of(service);
        }
    });
}

type OfPool = (&'static str, &'static str, fn(&PoolMetrics) -> u64);
type OfLookup = (&'static str, fn(&PoolMetrics) -> u64);

fn pools(page: &mut Page, view: &View<'_>) {
    let counters: [OfPool; 5] = [
        ("forebay_pool_requests", "Requests that came to the pool.", |p| p.requests.get()),
        ("forebay_pool_unserved", "Requests for which no server could serve.", |p| p.no_server.get()),
        ("forebay_pool_queued", "Requests that waited for a server.", |p| p.queued.get()),
        ("forebay_pool_queue_refused", "Requests refused because the queue was full.", |p| {
            p.queue_full.get()
        }),
        ("forebay_pool_retries", "Further servers tried after a failure.", |p| p.retries.get()),
    ];
    for (name, help, of) in counters {
        page.family(name, Kind::Counter, "", help);
        for pool in &view.tree.pools {
            page.sample(&[("pool", &pool.name)], pool.shared.counts.sum(of));
        }
    }
    page.family("forebay_pool_queue_length", Kind::Gauge, "", "Requests that wait for a server now.");
    for pool in &view.tree.pools {
        page.sample(&[("pool", &pool.name)], pool.shared.queued().into());
    }
    page.family("forebay_pool_servers_up", Kind::Gauge, "", "Servers that are up and enabled.");
    for pool in &view.tree.pools {
        let up =
            pool.servers.iter().filter(|s| s.is_enabled() && s.shared.state() == HealthState::Up).count();
        page.sample(&[("pool", &pool.name)], up as u64);
    }
    page.family("forebay_persistence_lookups", Kind::Counter, "", "Persistence by result: hit, miss, invalid (not ours or damaged, ignored), server_down (the policy decided).");
    let results: [OfLookup; 4] = [
        ("hit", |p| p.persistence.hits.get()),
        ("miss", |p| p.persistence.misses.get()),
        ("invalid", |p| p.persistence.invalid.get()),
        ("server_down", |p| p.persistence.server_down.get()),
    ];
    for pool in view.tree.pools.iter().filter(|pool| pool.persistence.is_some()) {
        for (result, of) in results {
            page.sample(&[("pool", &pool.name), ("result", result)], pool.shared.counts.sum(of));
        }
    }
    super::tls::with_servers(page, view);
}

type OfServer = (&'static str, &'static str, Kind, &'static str, fn(&ServerMetrics) -> u64);

fn servers(page: &mut Page, view: &View<'_>) {
    page.family("forebay_server_up", Kind::Gauge, "", "1 while the server is up by its monitors.");
    each_server(view, |server, labels| {
        page.sample(labels, (server.shared.state() == HealthState::Up).into())
    });
    page.family("forebay_server_state", Kind::StateSet, "", "The server's state by its monitors.");
    each_server(view, |server, labels| {
        let [pool, address] = *labels;
        for state in [HealthState::Checking, HealthState::Up, HealthState::Down, HealthState::Maintenance] {
            let is = (server.shared.state() == state).into();
            page.sample(&[pool, address, ("forebay_server_state", state.word())], is);
        }
    });
    page.family("forebay_server_state_changes", Kind::Counter, "", "Changes of the server's state.");
    each_server(view, |server, labels| page.sample(labels, server.shared.report().changes));
    page.family(
        "forebay_health_probes",
        Kind::Counter,
        "",
        "Probes of the server by result: passed, failed, maintenance, not_made (for want of something of our own).",
    );
    each_server(view, |server, labels| {
        let [pool, address] = *labels;
        let report = server.shared.report().clone();
        let counts = [
            ("passed", report.probes_passed),
            ("failed", report.probes_failed),
            ("maintenance", report.probes_maintenance),
            ("not_made", report.probes_not_made),
        ];
        for (result, count) in counts {
            page.sample(&[pool, address, ("result", result)], count);
        }
    });
    let families: [OfServer; 9] = [
        ("forebay_server_connections", "", Kind::Counter, "Connections opened to the server.", |s| {
            s.connections.opened.get()
        }),
        (
            "forebay_server_connections_open",
            "",
            Kind::Gauge,
            "Connections to the server that are open, idle ones included.",
            |s| s.connections.now(),
        ),
        (
            "forebay_server_connect_failures",
            "",
            Kind::Counter,
            "Connections to the server that failed to open.",
            |s| s.connect_failures.get(),
        ),
        ("forebay_server_requests_active", "", Kind::Gauge, "Requests under way.", |s| s.active.now()),
        ("forebay_server_connection_reuses", "", Kind::Counter, "Requests sent on a kept connection.", |s| {
            s.reused.get()
        }),
        (
            "forebay_server_aborts",
            "",
            Kind::Counter,
            "Connections lost, garbled or timed out in the middle of a request.",
            |s| s.aborts.get(),
        ),
        (
            "forebay_server_cuts",
            "",
            Kind::Counter,
            "Requests and upgraded connections that were cut: the grace of a disabled or failed server was over.",
            |s| s.cuts.get(),
        ),
        ("forebay_server_received_bytes", "bytes", Kind::Counter, "Bytes from the server.", |s| {
            s.rx_bytes.get()
        }),
        ("forebay_server_sent_bytes", "bytes", Kind::Counter, "Bytes to the server.", |s| s.tx_bytes.get()),
    ];
    for (name, unit, kind, help, of) in families {
        page.family(name, kind, unit, help);
        each_server(view, |server, labels| page.sample(labels, server.shared.counts.sum(of)));
    }
    page.family("forebay_server_responses", Kind::Counter, "", "Answers of the server by class.");
    each_server(view, |server, labels| {
        let [pool, address] = *labels;
        for (class, word) in CLASSES.iter().enumerate() {
            let count = server.shared.counts.sum(|s| s.responses[class].get());
            page.sample(&[pool, address, ("class", word)], count);
        }
    });
    page.family(
        "forebay_server_response_seconds",
        Kind::Histogram,
        "seconds",
        "From a request's last byte to the first byte of the server's answer.",
    );
    each_server(view, |server, labels| {
        page.histogram(labels, &server.shared.counts.histogram(|s| &s.response_time));
    });
}

fn each_server(view: &View<'_>, mut of: impl FnMut(&Server, &[(&str, &str); 2])) {
    for (pool, server) in view.tree.servers() {
        let pool: &Pool = pool;
        of(server, &[("pool", &pool.name), ("server", &server.address.to_string())]);
    }
}

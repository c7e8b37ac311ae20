//! Things that count, and what they have counted since they were looked at last.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use forebay_wire::proto::{Counted, Tally};
use forebay_wire::tally::{BOUNDS_US, TOP_OPEN, engine, pool, server, service};

use crate::config::{PoolShared, ServerShared, ServiceShared, Tree};
use crate::control::State;
use crate::l4::record::End;
use crate::metrics::{self, HistogramSum, Process};

// Both ends have the same buckets.
const _: () = {
    let mut at = 0;
    while at < BOUNDS_US.len() {
        assert!(BOUNDS_US[at] == metrics::BOUNDS_US[at]);
        at += 1;
    }
    assert!(BOUNDS_US.len() == metrics::BOUNDS_US.len());
};

/// What things have counted in a stretch of time.
pub type Tallies = BTreeMap<Name, Tally>;

/// Whose tally it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    of: i32,
    name: Arc<str>,
    server: Option<Arc<str>>,
}

impl Name {
    /// The engine's own.
    pub fn of_engine() -> Self {
        Name { of: Counted::Engine.into(), name: Arc::from(""), server: None }
    }
}

enum What {
    Service(Arc<ServiceShared>),
    Pool(Arc<PoolShared>),
    Server(Arc<ServerShared>),
}

/// A thing that counts: its counts live as long as it does, over changes of the configuration.
struct Thing {
    name: Name,
    what: What,
    told: Option<Counts>,
    /// Open connections times milliseconds, and the most of them, since it was told of last.
    open: (u64, u64),
    /// Nobody else has it any more.
    is_over: bool,
}

#[derive(Default)]
struct Counts {
    sums: Vec<u64>,
    durations: Vec<u64>,
}

/// All things that count.
pub struct Things {
    tree: Weak<Tree>,
    things: Vec<Thing>,
    engine: Counts,
    /// As of a [`Thing`].
    open: (u64, u64),
    /// Sums of readings times milliseconds: those of the engine's places from `MEMORY_MS` on.
    readings: [u64; engine::COUNT - engine::MEMORY_MS],
    cores: u64,
    memory_kib: u64,
    elapsed_ms: u64,
}

impl Things {
    /// Nothing is known yet.
    pub fn new() -> Self {
        let machine = super::machine::look();
        Things {
            tree: Weak::new(),
            things: Vec::new(),
            engine: Counts::default(),
            open: (0, 0),
            readings: Default::default(),
            cores: u64::from(machine.cores).max(1),
            memory_kib: machine.memory_bytes >> 10,
            elapsed_ms: 0,
        }
    }

    /// Looks how much is open, `ms` after the look before.
    pub fn look(&mut self, state: &State, ms: u64) {
        self.follow(&state.tree());
        let mut all = 0;
        for thing in &mut self.things {
            let open = match &thing.what {
                What::Service(shared) => shared.counts.sum(|counts| counts.connections.now()),
                What::Server(shared) => shared.counts.sum(|counts| counts.connections.now()),
                What::Pool(_) => continue,
            };
            thing.open = (thing.open.0 + open * ms, thing.open.1.max(open));
            if matches!(thing.what, What::Service(_)) {
                all += open;
            }
        }
        self.open = (self.open.0 + all * ms, self.open.1.max(all));
        self.elapsed_ms += ms;
        let table = state.table_view();
        let now = [
            Process::read().resident_bytes >> 10,
            self.memory_kib,
            table.entries,
            table.capacity,
            state.sizes.connections_max,
        ];
        for (sum, now) in self.readings.iter_mut().zip(now) {
            *sum += now * ms;
        }
    }

    /// Takes up what a configuration has brought. What it has taken away goes when it has counted its last.
    fn follow(&mut self, tree: &Arc<Tree>) {
        if std::ptr::eq(self.tree.as_ptr(), Arc::as_ptr(tree)) && self.tree.strong_count() > 0 {
            return;
        }
        self.tree = Arc::downgrade(tree);
        let known: std::collections::HashSet<usize> =
            self.things.iter().map(|thing| thing.what.place()).collect();
        let mut add = |of: Counted, name: &Arc<str>, server: Option<Arc<str>>, what: What| {
            if !known.contains(&what.place()) {
                let name = Name { of: of.into(), name: Arc::clone(name), server };
                self.things.push(Thing { name, what, told: None, open: (0, 0), is_over: false });
            }
        };
        for one in &tree.services {
            add(
                Counted::Service,
                &Arc::from(one.name.as_str()),
                None,
                What::Service(Arc::clone(&one.shared)),
            );
        }
        for one in &tree.pools {
            let name: Arc<str> = Arc::from(one.name.as_str());
            add(Counted::Pool, &name, None, What::Pool(Arc::clone(&one.shared)));
            for server in &one.servers {
                let address = Arc::from(server.address.to_string());
                add(Counted::Server, &name, Some(address), What::Server(Arc::clone(&server.shared)));
            }
        }
    }

    /// What has been counted since the last time, into `into`.
    pub fn cut(&mut self, state: &State, into: &mut Tallies) {
        self.follow(&state.tree());
        let mut of_pools: BTreeMap<Arc<str>, Tally> = BTreeMap::new();
        let mut clients = [0; 4];
        for thing in &mut self.things {
            // Before its counts are read: who let it go has counted before.
            thing.is_over = !thing.what.is_held();
            let now = thing.what.counts();
            let is_new = thing.told.is_none();
            let before = thing.told.get_or_insert_default();
            let mut tally = between(before, &now);
            *before = now;
            let (open_ms, most) = std::mem::take(&mut thing.open);
            put(&mut tally.tops, TOP_OPEN, most);
            match &thing.what {
                What::Service(_) => {
                    put(&mut tally.sums, service::OPEN_MS, open_ms);
                    for (sum, place) in clients.iter_mut().zip([
                        service::CONNECTIONS,
                        service::ENDED,
                        service::RX_BYTES,
                        service::TX_BYTES,
                    ]) {
                        *sum += tally.sums.get(place).copied().unwrap_or(0);
                    }
                }
                What::Server(_) => {
                    put(&mut tally.sums, server::OPEN_MS, open_ms);
                    // The tops of servers that are reached at different moments: no less than there were together.
                    let pool = of_pools.entry(Arc::clone(&thing.name.name)).or_default();
                    add(&mut pool.sums, &tally.sums);
                    add(&mut pool.tops, &tally.tops);
                    add(&mut pool.durations, &tally.durations);
                }
                What::Pool(_) => {}
            }
            if is_new || !is_empty(&tally) {
                merge(into, &thing.name, &tally);
            }
        }
        for (name, tally) in of_pools {
            if !is_empty(&tally) {
                merge(into, &Name { of: Counted::Pool.into(), name, server: None }, &tally);
            }
        }
        self.things.retain(|thing| !thing.is_over);
        self.cut_engine(state, clients, into);
    }

    fn cut_engine(&mut self, state: &State, clients: [u64; 4], into: &mut Tallies) {
        let refused = metrics::page::sum(&state.workers, |worker| worker.connections_refused_limit.get());
        let mut now = Counts { sums: vec![0; engine::COUNT], durations: Vec::new() };
        now.sums[engine::CPU_MS] = Process::read().cpu_ms;
        now.sums[engine::REFUSED] = refused;
        let mut tally = between(&self.engine, &now);
        self.engine = now;
        put(&mut tally.sums, engine::CORE_MS, std::mem::take(&mut self.elapsed_ms) * self.cores);
        let places = [engine::CONNECTIONS, engine::ENDED, engine::RX_BYTES, engine::TX_BYTES];
        for (place, sum) in places.into_iter().zip(clients) {
            put(&mut tally.sums, place, sum);
        }
        let (open_ms, most) = std::mem::take(&mut self.open);
        put(&mut tally.sums, engine::OPEN_MS, open_ms);
        put(&mut tally.tops, TOP_OPEN, most);
        for (at, sum) in std::mem::take(&mut self.readings).into_iter().enumerate() {
            put(&mut tally.sums, engine::MEMORY_MS + at, sum);
        }
        // It is told of in any case: that it has told shows that what is not told of has counted nothing.
        merge(into, &Name::of_engine(), &tally);
    }
}

impl What {
    /// Where its counts are: two things never have them in the same place.
    fn place(&self) -> usize {
        match self {
            What::Service(shared) => Arc::as_ptr(shared).addr(),
            What::Pool(shared) => Arc::as_ptr(shared).addr(),
            What::Server(shared) => Arc::as_ptr(shared).addr(),
        }
    }

    /// Whether others hold it: it may still count.
    fn is_held(&self) -> bool {
        match self {
            What::Service(shared) => Arc::strong_count(shared) > 1,
            What::Pool(shared) => Arc::strong_count(shared) > 1,
            What::Server(shared) => Arc::strong_count(shared) > 1,
        }
    }

    fn counts(&self) -> Counts {
        match self {
            What::Service(shared) => of_service(shared),
            What::Pool(shared) => of_pool(shared),
            What::Server(shared) => of_server(shared),
        }
    }
}

/// Ends that are no error: of its own, quiet for too long, by the engine's stop, or by its place or address being given away.
fn is_error(end: End) -> bool {
    !matches!(end, End::Whole | End::Idle | End::Stopped | End::Evicted | End::Gone | End::Unbegun)
}

fn of_service(shared: &ServiceShared) -> Counts {
    let counts = &shared.counts;
    let mut sums = vec![0; service::COUNT];
    // What ended is read first, so that no more ended than began.
    sums[service::ENDED] = counts.sum(|s| s.connections.closed.get());
    sums[service::CONNECTIONS] = counts.sum(|s| s.connections.opened.get());
    sums[service::REQUESTS] = counts.sum(|s| s.requests.get());
    for class in 0..5 {
        sums[service::RESPONSES + class] = counts.sum(|s| s.responses[class].get());
    }
    sums[service::RX_BYTES] = counts.sum(|s| s.rx_bytes.get());
    sums[service::TX_BYTES] = counts.sum(|s| s.tx_bytes.get());
    sums[service::UPGRADES] = counts.sum(|s| s.upgrades.get());
    for kind in 0..4 {
        sums[service::HANDSHAKES + kind] = counts.sum(|s| s.tls_handshakes[kind].get());
    }
    let failed = counts.sum(|s| s.tls_failures.iter().map(metrics::Counter::get).sum());
    sums[service::HANDSHAKES_FAILED] = failed;
    sums[service::RX_DATAGRAMS] = counts.sum(|s| s.datagrams_received.get());
    sums[service::TX_DATAGRAMS] = counts.sum(|s| s.datagrams_sent.get());
    sums[service::DROPPED_DATAGRAMS] =
        counts.sum(|s| s.datagrams_dropped.iter().map(metrics::Counter::get).sum());
    let ended = |s: &metrics::ServiceMetrics| {
        let all = End::ALL.into_iter().zip(&s.ended);
        all.filter(|(end, _)| is_error(*end)).map(|(_, count)| count.get()).sum::<u64>()
    };
    let unread = counts.sum(ended);
    let refused = counts.sum(|s| s.proxy_refused.iter().map(metrics::Counter::get).sum());
    // A connection that is passed on unread has its failed handshake among its ends.
    sums[service::ERRORED] = unread.max(failed + refused);
    let durations = counts.histogram(|s| &s.duration);
    sums[service::DURATION_US] = durations.sum_us;
    sums[service::RTT_US] = counts.sum(|s| s.rtt.sum_us.get());
    sums[service::RTTS] = counts.sum(|s| s.rtt.samples.get());
    Counts { sums, durations: buckets(&durations) }
}

fn of_pool(shared: &PoolShared) -> Counts {
    let counts = &shared.counts;
    let mut sums = vec![0; pool::COUNT];
    sums[pool::REQUESTS] = counts.sum(|p| p.requests.get());
    sums[pool::NO_SERVER] = counts.sum(|p| p.no_server.get());
    sums[pool::QUEUED] = counts.sum(|p| p.queued.get());
    sums[pool::QUEUE_FULL] = counts.sum(|p| p.queue_full.get());
    sums[pool::RETRIES] = counts.sum(|p| p.retries.get());
    sums[pool::PERSISTENCE_HITS] = counts.sum(|p| p.persistence.hits.get());
    sums[pool::PERSISTENCE_MISSES] = counts.sum(|p| p.persistence.misses.get());
    Counts { sums, durations: Vec::new() }
}

fn of_server(shared: &ServerShared) -> Counts {
    let counts = &shared.counts;
    let mut sums = vec![0; server::COUNT];
    sums[server::ENDED] = counts.sum(|s| s.connections.closed.get());
    sums[server::CONNECTIONS] = counts.sum(|s| s.connections.opened.get());
    sums[server::CONNECT_FAILED] = counts.sum(|s| s.connect_failures.get());
    sums[server::REQUESTS] = counts.sum(|s| s.active.opened.get());
    sums[server::REUSED] = counts.sum(|s| s.reused.get());
    for class in 0..5 {
        sums[server::RESPONSES + class] = counts.sum(|s| s.responses[class].get());
    }
    sums[server::ABORTED] = counts.sum(|s| s.aborts.get());
    sums[server::CUT] = counts.sum(|s| s.cuts.get());
    sums[server::RX_BYTES] = counts.sum(|s| s.rx_bytes.get());
    sums[server::TX_BYTES] = counts.sum(|s| s.tx_bytes.get());
    let durations = counts.histogram(|s| &s.response_time);
    sums[server::DURATION_US] = durations.sum_us;
    sums[server::RTT_US] = counts.sum(|s| s.rtt.sum_us.get());
    sums[server::RTTS] = counts.sum(|s| s.rtt.samples.get());
    Counts { sums, durations: buckets(&durations) }
}

fn buckets(durations: &HistogramSum) -> Vec<u64> {
    durations.buckets.to_vec()
}

/// What was counted between two looks. A counter only grows; a worker that reads while it does sees it a little later.
fn between(before: &Counts, now: &Counts) -> Tally {
    let less = |before: &[u64], now: &[u64]| {
        let before = before.iter().copied().chain(std::iter::repeat(0));
        let mut found: Vec<u64> =
            now.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect();
        found.truncate(found.iter().rposition(|sum| *sum > 0).map_or(0, |last| last + 1));
        found
    };
    Tally {
        sums: less(&before.sums, &now.sums),
        durations: less(&before.durations, &now.durations),
        ..Tally::default()
    }
}

/// Adds to the sum at a place.
fn put(sums: &mut Vec<u64>, place: usize, more: u64) {
    if more > 0 {
        if sums.len() <= place {
            sums.resize(place + 1, 0);
        }
        sums[place] += more;
    }
}

fn add(sums: &mut Vec<u64>, more: &[u64]) {
    for (place, more) in more.iter().enumerate() {
        put(sums, place, *more);
    }
}

fn is_empty(tally: &Tally) -> bool {
    tally.sums.is_empty() && tally.durations.is_empty() && tally.tops.is_empty()
}

/// Adds a tally to another one of the same thing.
pub fn merge(into: &mut Tallies, name: &Name, more: &Tally) {
    let tally = into.entry(name.clone()).or_insert_with(|| Tally {
        of: name.of,
        name: name.name.to_string(),
        server: name.server.as_deref().unwrap_or_default().to_owned(),
        ..Tally::default()
    });
    add(&mut tally.sums, &more.sums);
    add(&mut tally.durations, &more.durations);
    for (place, top) in more.tops.iter().enumerate() {
        let most = tally.tops.get(place).copied().unwrap_or(0);
        put(&mut tally.tops, place, top.saturating_sub(most));
    }
}

//! A decision allocates nothing: counted by the allocator itself.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::*;
use forebay_core::id::{ServerId, ServerIndex, SiteId, VsId};
use forebay_core::lb::{ALGORITHMS, Algorithm, Pool, PoolConfig, ServerState};
use forebay_core::persist::app_cookie::AppCookie;
use forebay_core::persist::client_ip::ClientIp;
use forebay_core::persist::custom_header::CustomHeader;
use forebay_core::persist::gslb_site::{self, GslbSite};
use forebay_core::persist::http_cookie::{self, HttpCookie};
use forebay_core::persist::key_value::Persist;
use forebay_core::persist::tls::Tls;
use forebay_core::persist::{
    self, KINDS, Kind, KindEntry, KindName, Learned, Memory, Profile, ServerDown, Stored, TableKey,
};
use forebay_core::policy::{
    Action, ClientMatch, Match, Names, Per, Policy, PolicyConfig, Rate, Rule, TextMatch,
};
use forebay_core::table::{
    Catalog, EngineSlot, Geometry, GroupMillis, Lifetime, Partition, TableId, TableMemory, TableSettings,
    Write, WriteKind,
};
use forebay_core::units::{Micros, Minutes, Now, UnixSeconds};
use forebay_core::{Effect, Input, Verdict, decide};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator with the same arguments; the counter is a thread-local
// cell without destructor, so counting itself allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller keeps alloc's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps dealloc's contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(f: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    f();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

/// The profile of a kind; a key that a rule computes needs none.
fn profile_of(kind: KindName) -> Option<Kind> {
    Some(match kind {
        KindName::HttpCookie => {
            Kind::HttpCookie(HttpCookie { name: "sticky".into(), always_send: true, ..HttpCookie::default() })
        }
        KindName::AppCookie => Kind::AppCookie(AppCookie { name: "sid".into(), timeout: Minutes(20) }),
        KindName::CustomHeader => Kind::CustomHeader(CustomHeader { name: "x-shard".into() }),
        KindName::ClientIp => Kind::ClientIp(ClientIp::default()),
        KindName::Tls => Kind::Tls(Tls::default()),
        KindName::GslbSite => Kind::GslbSite(GslbSite {
            cookie_name: "site".into(),
            local: SiteId(1),
            remote: vec![SiteId(2), SiteId(3)],
            service: VsId(99),
            http_only: false,
        }),
        KindName::KeyValue => return None,
    })
}

/// The table as a host keeps it.
struct Table {
    catalog: Catalog,
    partition: Partition,
    id: TableId,
}

impl Table {
    fn of(pool: &Pool) -> Self {
        let geometry = Geometry::for_entries(1_000).expect("a small table");
        let memory = TableMemory::reserve(&geometry);
        let mut catalog = Catalog::new(&memory, [7; 16], EngineSlot::new(0).expect("the first"));
        let lives = vec![Lifetime::For(Minutes(20).seconds())];
        let id = catalog.define(&TableSettings { name: 1, lives, synced: true }).expect("there is room");
        for at in pool.indices() {
            catalog.server(pool.id_of(at).0);
        }
        let partition = memory.into_partitions(&catalog, Now(0)).next().expect("it has one");
        Self { catalog, partition, id }
    }

    fn stored(&self, key: Option<TableKey>, now: Now) -> Stored {
        let key = key.map(|bytes| self.catalog.key(self.id, bytes));
        let slot = key.and_then(|key| self.partition.get(&self.catalog, &key, now));
        match slot.and_then(|slot| self.catalog.name_of(slot)) {
            Some(name) => Stored::Entry { server: ServerId(name), generation: 1 },
            None => Stored::Nothing,
        }
    }

    fn write(&mut self, key: TableKey, server: ServerId, kind: WriteKind, now: Now) {
        let key = self.catalog.key(self.id, key);
        let slot = self.catalog.slot_of(server.0).expect("every server of the pool is known");
        let write = Write { kind, ..Write::first(slot) };
        self.partition
            .put(&self.catalog, &key, write, now, GroupMillis(now.0 / 1000))
            .expect("there is room");
        self.partition.open(&self.catalog, &key, now);
        self.partition.close(&self.catalog, &key, now);
    }

    fn touch(&mut self, key: TableKey, now: Now) -> bool {
        let key = self.catalog.key(self.id, key);
        self.partition.touch(&self.catalog, &key, now).is_some()
    }
}

/// What the requests of one kind led to.
#[derive(Default)]
struct Done {
    bound: u32,
    policies: u32,
    writes: u32,
    touches: u32,
    cookies: u32,
}

/// What the host knows of the `i`-th request: of a cookie every second time, then of one whose server is down.
fn stored(kind: KindName, pool: &Pool, table: &Table, key: Option<TableKey>, i: u64) -> Stored {
    let at = ServerIndex(if i.is_multiple_of(4) { 3 } else { 6 });
    match kind {
        KindName::HttpCookie if i.is_multiple_of(2) => {
            Stored::Cookie(http_cookie::Payload::of(pool, at, Default::default()))
        }
        KindName::GslbSite if i.is_multiple_of(2) => {
            Stored::Site(gslb_site::Payload { service: VsId(99), site: SiteId(2) })
        }
        _ => table.stored(key, Now(i * 1_000_000)),
    }
}

/// Two hundred requests of twenty clients, with all that a host does for them.
fn serve(
    kind: KindName,
    profile: Option<&Profile>,
    pool: &mut Pool,
    table: &mut Table,
    request: &mut Request,
) -> Done {
    let mut done = Done::default();
    let tried = [ServerIndex(5)];
    for i in 0..200u64 {
        let now = Now(i * 1_000_000);
        request.client = i as u32 % 20;
        let computed = Persist { key: &request.uri, lifetime: None, pool: None };
        let found = profile.map_or(computed.found(), |profile| persist::find(profile, request));
        let key = found.table_key(&table.catalog);
        // Servers fail under their clients, and come back.
        for at in pool.indices() {
            let is_down = i % 40 >= 30 && u64::from(at.0) % 2 == i / 40 % 2;
            pool.set_state(at, if is_down { ServerState::DOWN } else { ServerState::UP }, now);
        }
        pool.set_state(ServerIndex(3), ServerState::DOWN, now);
        pool.set_site(SiteId(2), i % 8 < 4);
        let input = Input {
            now,
            seed: i,
            ticket: i,
            found,
            key,
            stored: stored(kind, pool, table, key, i),
            tried: if i.is_multiple_of(5) { &tried } else { &[] },
            ..Input::new(client(i as u32))
        };
        let decision = decide(pool, &input);
        done.bound += u32::from(matches!(decision.reason.key.as_str(), "hit" | "remote_site"));
        let is_remote_down = decision.reason.key.as_str() == "remote_site_down";
        done.policies += u32::from(decision.reason.policy.is_some() || is_remote_down);
        for effect in decision.effects.iter() {
            match effect {
                Effect::Write { key, server, generation, .. } => {
                    let kind = if *generation == 0 { WriteKind::First } else { WriteKind::Move };
                    table.write(*key, *server, kind, now);
                    done.writes += 1;
                }
                Effect::Touch { key, .. } => done.touches += u32::from(table.touch(*key, now)),
                Effect::SetCookie(payload) => {
                    std::hint::black_box(payload.encode(&mut [0; http_cookie::PAYLOAD_MAX]));
                    done.cookies += 1;
                }
                Effect::SetSiteCookie(payload) => {
                    std::hint::black_box(payload.encode());
                    done.cookies += 1;
                }
                Effect::SealTicket { .. } => {}
            }
        }
        let Verdict::Server(at) = decision.verdict else { continue };
        pool.connection_opened(at);
        pool.response_time(at, Micros(i));
        pool.transferred(at, i, now);
        pool.connection_closed(at);
        let learned = profile.map(|p| persist::learn_from_response(p, SESSION, UnixSeconds(i)));
        if let Some(Learned::Key { key, .. }) = learned {
            let key = key.bytes(&table.catalog);
            table.write(key, pool.id_of(at), WriteKind::First, now);
            done.writes += 1;
        }
    }
    table.partition.sweep(&table.catalog, Now(200_000_000), 16);
    done
}

const SESSION: &[u8] =
    b"sid=a-session-that-is-longer-than-sixteen-bytes; Path=/; Expires=Tue, 19 Jan 2038 03:14:08 GMT";

//= test LB-ORDER-02
#[test]
fn no_decision_allocates_whatever_the_algorithm_and_the_kind() {
    let session = "a-session-that-is-longer-than-sixteen-bytes";
    let mut request = Request::get("/a/path/that/a/rule/takes?b=c")
        .with("cookie", format!("x=y; sid={session}; sticky=00; site=00"))
        .with("x-shard", "shard-d");
    request.session = vec![9; 32];
    for KindEntry { name: kind, memory, .. } in KINDS {
        let mut all = Done::default();
        for policy in ServerDown::ALL {
            for entry in ALGORITHMS {
                let persistence = profile_of(kind).map(|kind| Profile { kind, server_down: policy });
                let algorithm = match Algorithm::of(entry.name) {
                    Algorithm::RoundRobin { .. } => Algorithm::RoundRobin { per_se: true },
                    other => other,
                };
                let mut config = PoolConfig { persistence, ramp: Minutes(10), ..config(16, algorithm) };
                for (letter, server) in (b'a'..).zip(&mut config.servers) {
                    server.header_value = [b"shard-".as_slice(), &[letter]].concat();
                }
                let mut pool = Pool::new(config).expect("good");
                let mut table = Table::of(&pool);
                let profile = pool.profile().cloned();
                let mut done = Done::default();
                let n = allocations(|| {
                    done = serve(kind, profile.as_ref(), &mut pool, &mut table, &mut request);
                });
                assert_eq!(n, 0, "{} with {kind} under {policy:?}", entry.name);
                all.bound += done.bound;
                all.policies += done.policies;
                all.writes += done.writes;
                all.touches += done.touches;
                all.cookies += done.cookies;
            }
        }
        // What is said to allocate nothing was done.
        assert!(all.bound > 0 && all.policies > 0, "{kind}: {} bound, {} policies", all.bound, all.policies);
        match memory {
            Memory::Client => assert!(all.cookies > 0, "{kind}"),
            Memory::Configuration => {}
            Memory::Table | Memory::TicketOrTable => {
                assert!(all.writes > 0 && all.touches > 0, "{kind}: {}, {}", all.writes, all.touches);
            }
        }
    }
}

//= test POL-ORDER-03
#[test]
fn no_walk_through_the_rules_allocates() {
    let rule =
        |name: &str, when: Match, then: Vec<Action>| Rule { name: name.into(), enabled: true, when, then };
    let text = |v: &str| Some(TextMatch { glob: vec![v.into()], ignore_case: true, ..TextMatch::default() });
    let config = PolicyConfig {
        escaped_slashes: forebay_core::policy::EscapedSlashes::Compare,
        rules: vec![
            rule(
                "a",
                Match { path: text("/x/*/y"), host: text("*.org"), ..Match::default() },
                vec![Action::Close],
            ),
            rule(
                "b",
                Match {
                    client: Some(ClientMatch {
                        within: vec!["10.0.0.0/8".parse().expect("a network")],
                        ..ClientMatch::default()
                    }),
                    ..Match::default()
                },
                vec![
                    Action::RateLimit(Rate {
                        count: 5,
                        period_ms: 1_000,
                        burst: 0,
                        per: Per::Client,
                        status: 429,
                    }),
                    Action::Pool("p".into()),
                ],
            ),
        ],
        ..PolicyConfig::default()
    };
    let names = Names { pool: &|_| Some(POOL), group: &|_| None };
    let policy = Policy::new(&config, &names).expect("good rules");
    let mut state = policy.state(2);
    let request = Request::get("/a/%2e%2e/b?c=d").with("cookie", "a=b");
    let n = allocations(|| {
        for i in 0..1_000 {
            std::hint::black_box(policy.evaluate(&mut state, &request, Now(i)));
        }
    });
    assert_eq!(n, 0);
}

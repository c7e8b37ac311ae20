//! A decision allocates nothing: counted by the allocator itself.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::*;
use forebay_core::id::ServerIndex;
use forebay_core::lb::{ALGORITHMS, Algorithm, Pool, PoolConfig, ServerState};
use forebay_core::persist::app_cookie::AppCookie;
use forebay_core::persist::client_ip::ClientIp;
use forebay_core::persist::http_cookie::HttpCookie;
use forebay_core::persist::{self, Kind, Profile, ServerDown, Stored};
use forebay_core::policy::{
    Action, ClientMatch, Match, Names, Per, Policy, PolicyConfig, Rate, Rule, TextMatch,
};
use forebay_core::units::{Minutes, Now};
use forebay_core::{Input, Verdict, decide};

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

//= test LB-ORDER-02
#[test]
fn no_decision_allocates_whatever_the_algorithm_and_the_kind() {
    let kinds = [
        Kind::HttpCookie(HttpCookie { name: "sticky".into(), always_send: true, ..HttpCookie::default() }),
        Kind::AppCookie(AppCookie { name: "sid".into(), timeout: Minutes(20) }),
        Kind::ClientIp(ClientIp::default()),
    ];
    let request = Request::get("/a?b=c").with("cookie", format!("sid={}; sticky=00", "x".repeat(40)));
    for entry in ALGORITHMS {
        for kind in &kinds {
            let persistence = Some(Profile { kind: kind.clone(), server_down: ServerDown::PickNewServer });
            let algorithm = match Algorithm::of(entry.name) {
                Algorithm::RoundRobin { .. } => Algorithm::RoundRobin { per_se: true },
                other => other,
            };
            let mut pool = Pool::new(PoolConfig { persistence, ramp: Minutes(10), ..config(16, algorithm) })
                .expect("good");
            pool.set_state(ServerIndex(3), ServerState::DOWN, Now(1));
            pool.set_state(ServerIndex(4), ServerState::DOWN, Now(1));
            pool.set_state(ServerIndex(4), ServerState::UP, Now(2));
            let profile = pool.profile().cloned().expect("it has one");
            let tried = [ServerIndex(5)];
            let n = allocations(|| {
                for i in 0..200u64 {
                    let found = persist::find(&profile, &request);
                    let stored = match i % 3 {
                        0 => Stored::Nothing,
                        1 => Stored::Entry { server: pool.id_of(ServerIndex(3)), generation: 1 },
                        _ => Stored::Cookie(persist::http_cookie::Payload::of(
                            &pool,
                            ServerIndex(3),
                            Default::default(),
                        )),
                    };
                    let input = Input {
                        now: Now(i * 10_000_000),
                        seed: i,
                        ticket: i,
                        found,
                        stored,
                        tried: &tried,
                        ..Input::new(client(i as u32))
                    };
                    if let Verdict::Server(at) = decide(&mut pool, &input).verdict {
                        pool.connection_opened(at);
                        pool.response_time(at, forebay_core::units::Micros(i));
                        pool.transferred(at, i, Now(i));
                        pool.connection_closed(at);
                    }
                }
            });
            assert_eq!(n, 0, "{} with {}", entry.name, profile.kind.name());
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

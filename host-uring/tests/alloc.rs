//! A worker in steady state allocates nothing per request.

#[path = "alloc/streams.rs"]
mod streams;
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay_host_uring::rt::Backend;
use support::{Engine, Server, eventually, read_answer, read_request};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// One test at a time: the count is of all workers of the process.
static COUNTS: Mutex<()> = Mutex::new(());

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    // A thread that ends has no flag any more, and is no worker under test.
    if COUNTED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no heap.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the contract is the trait's; whoever calls keeps it.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `alloc`'s contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the contract is the trait's; whoever calls keeps it.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    // SAFETY: the contract is the trait's; whoever calls keeps it.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `realloc`'s contract, which is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

//= test SE-COST-01
#[test]
fn a_worker_in_steady_state_allocates_nothing_per_request() {
    const REQUESTS: u64 = 2_000;
    let _alone = COUNTS.lock();
    static ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
    let server = Server::saying(ANSWER, false);
    let persistences = [
        ("", ""),
        (
            "persistence = \"p\"",
            "[[persistence]]\nname = \"p\"\ntype = \"http_cookie\"\ncookie_name = \"STICKY\"\n\
             [[cookie_key]]\nname = \"k1\"\nkey = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n",
        ),
        ("persistence = \"p\"", "[[persistence]]\nname = \"p\"\ntype = \"client_ip\"\n"),
    ];
    for backend in [Backend::IoUring, Backend::Epoll] {
        for (pool, more) in persistences {
            let document = format!(
                "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool = \"web\"\n\
                 [[pool]]\nname = \"web\"\n{pool}\n[[pool.server]]\naddress = \"{}\"\n{more}",
                server.address
            );
            let engine = Engine::start_with(backend, &document, 1, 100, || COUNTED.set(true));
            let mut client = engine.connect();
            let mut rest = Vec::new();
            let mut cookie = String::new();
            let mut ask = |count: u64, body: &str| {
                for _ in 0..count {
                    let request = format!(
                        "POST /p?q HTTP/1.1\r\nHost: x\r\nUser-Agent: t\r\n{cookie}Content-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    client.write_all(request.as_bytes()).expect("sent");
                    let answer = read_answer(&mut client, &mut rest, false).expect("an answer");
                    assert_eq!(answer.status, 200);
                    if let Some(set) = answer.field("Set-Cookie") {
                        cookie = format!("Cookie: a=b; {}\r\n", set.split(';').next().expect("a pair"));
                    }
                }
            };
            ask(200, "content");
            // The clockwork is part of the steady state: let it turn a few times.
            eventually("three ticks", || {
                ask(1, "content");
                engine.count(|m| m.ticks.load(Ordering::Relaxed)) >= 3
            });
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            ask(REQUESTS, "content");
            let after = ALLOCATIONS.load(Ordering::Relaxed);
            assert_eq!(after - before, 0, "{backend:?} {pool:?}: allocations in {REQUESTS} requests");
            // Bodies that come in many pieces use the buffers of earlier ones. How many are in use at once depends on
            // how the kernel cuts the pieces, so the worker may learn late what the most of it is; then it has them.
            let rounds = (0..30).find(|_| {
                let before = ALLOCATIONS.load(Ordering::Relaxed);
                ask(5, &"x".repeat(300_000));
                ALLOCATIONS.load(Ordering::Relaxed) == before
            });
            assert!(rounds.is_some(), "{backend:?} {pool:?}: large bodies");
            // The counter counts: a new connection is a new task.
            engine.talk("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            assert!(ALLOCATIONS.load(Ordering::Relaxed) > before, "nothing at all is counted");
        }
    }
}

//= test SE-IDLE-02
#[test]
fn a_crowd_whose_requests_are_all_under_way_at_once_allocates_nothing_when_it_comes_again() {
    const CROWD: usize = 200;
    static ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    static ARRIVED: AtomicU64 = AtomicU64::new(0);
    let _alone = COUNTS.lock();
    let server = Server::start(|mut stream| {
        let mut rest = Vec::new();
        while read_request(&mut stream, &mut rest).is_some() {
            // Nobody is answered before all are there.
            let due = ARRIVED.fetch_add(1, Ordering::SeqCst) / CROWD as u64 * CROWD as u64 + CROWD as u64;
            eventually("the crowd is there", || ARRIVED.load(Ordering::SeqCst) >= due);
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    });
    let document = format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool = \"web\"\n\
         [[pool]]\nname = \"web\"\nconnection_pool = {{ idle_connections_max = {CROWD} }}\n\
         [[pool.server]]\naddress = \"{}\"\n",
        server.address
    );
    let engine = Engine::start_with(Backend::IoUring, &document, 1, 2 * CROWD, || COUNTED.set(true));
    let mut clients: Vec<_> = (0..CROWD).map(|_| engine.connect()).collect();
    let mut come = || {
        for client in &mut clients {
            client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        }
        for client in &mut clients {
            assert_eq!(read_answer(client, &mut Vec::new(), false).expect("an answer").status, 200);
        }
    };
    come();
    come();
    // Where this thread has to wait for a second between two crowds, some of what the first one needed is freed meanwhile.
    let counts: Vec<u64> = (0..5)
        .map(|_| {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            come();
            ALLOCATIONS.load(Ordering::Relaxed) - before
        })
        .collect();
    assert!(counts.contains(&0), "{counts:?} allocations for {CROWD} requests at once");
}

/// A kind of request, and the configuration that it meets.
struct Scene {
    name: &'static str,
    /// Behind `[[virtual_service]]`, in `[[pool]]`, in `[[pool.server]]`, at the end.
    service: &'static str,
    pool: &'static str,
    server: &'static str,
    more: &'static str,
    /// The bytes of the n-th request.
    request: fn(u64) -> String,
    status: u16,
    /// What must stand in every answer: that the scene is what it says.
    shows: &'static str,
    /// The server is the one that persistence says.
    is_bound: bool,
}

const PLAIN: Scene = Scene {
    name: "plain",
    service: "",
    pool: "",
    server: "",
    more: "",
    request: |_| get("/", ""),
    status: 200,
    shows: "",
    is_bound: false,
};

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\nUser-Agent: t\r\n{fields}\r\n")
}

const APP_COOKIE: &str =
    "[[persistence]]\nname = \"p\"\ntype = \"app_cookie\"\ncookie_name = \"JSESSIONID\"\n";
const HEADER: &str = "[[persistence]]\nname = \"p\"\ntype = \"custom_header\"\nheader = \"X-Key\"\n";
const CLOSES: &str = "a kept connection that its server closed";
/// What only the good one of two servers says.
const GOOD: &str = "X-Name: good";
/// What only the other one says.
const OTHER: &str = "X-Name: busy";
/// After an answer to this, the server closes the connection without a word.
const CLOSE: &str = "/close";
const PERSISTENCE: &str = "persistence = \"p\"\n";

/// Rules that choose, edit, rewrite and count, of which all apply to one request.
const RULES: &str = r#"
[[virtual_service.rules]]
name = "count"
then = [{ rate_limit = { count = 1000000, period_ms = 3600000, per = "client" } }]
[[virtual_service.rules]]
name = "choose and edit"
when = { path = { begins_with = ["/api/"] }, method = ["GET"], header = [{ name = "user-agent", value = { equals = ["t"] } }] }
then = [{ pool = "web" }, { replace_prefix = ["/api/", "/v1/"] }, { set_query = "a=b" }, { header = { set = ["request", "X-In", "1"] } }, { header = { add = ["request", "X-More", "1"] } }, { header = { remove = ["request", "User-Agent"] } }, { header = { set = ["response", "X-Out", "yes"] } }]
"#;

const GROUP: &str =
    "[[virtual_service.rules]]\nname = \"g\"\nthen = [{ pool_group = \"g\" }, { set_path = \"/group\" }]\n";
const ANSWERS: &str = r#"
[[virtual_service.rules]]
name = "redirect"
when = { path = { equals = ["/old"] } }
then = [{ redirect = { status = 301, path = "/new" } }]
[[virtual_service.rules]]
name = "respond"
when = { path = { equals = ["/tea"] } }
then = [{ respond = { status = 418, body = "short and stout", content_type = "text/plain" } }]
[[virtual_service.rules]]
name = "limit"
when = { path = { equals = ["/limited"] } }
then = [{ rate_limit = { count = 1, period_ms = 3600000, status = 429 } }]
"#;
const TEXT: &str =
    "[[virtual_service.rules]]\nname = \"user\"\nthen = [{ hash_by = { header = \"x-user\" } }]\n";

/// Some of the scenes change the head of every request, as different clients would.
const SCENES: &[Scene] = &[
    Scene {
        name: "app_cookie, known",
        pool: PERSISTENCE,
        more: APP_COOKIE,
        request: |n| match n {
            0..10 => get(&format!("/login/a-session-of-many-bytes-{n}"), ""),
            _ => get("/", &format!("Cookie: a=b; JSESSIONID=a-session-of-many-bytes-{}\r\n", n % 10)),
        },
        is_bound: true,
        ..PLAIN
    },
    Scene {
        name: "app_cookie, learned anew",
        pool: PERSISTENCE,
        more: APP_COOKIE,
        request: |n| get(&format!("/login/a-session-of-many-bytes-{n:08}"), ""),
        shows: "Set-Cookie: JSESSIONID=a-session",
        ..PLAIN
    },
    Scene {
        name: "custom_header",
        pool: PERSISTENCE,
        server: "header_value = \"one\"\n",
        more: HEADER,
        request: |_| get("/", "X-Key: one\r\n"),
        is_bound: true,
        ..PLAIN
    },
    Scene {
        name: "rules that choose, edit, rewrite and count",
        service: RULES,
        request: |_| get("/api/users?x=1", ""),
        shows: "X-Out: yes",
        ..PLAIN
    },
    Scene {
        name: "a rule that chooses a pool group",
        service: GROUP,
        more: "[[pool_group]]\nname = \"g\"\n[[pool_group.member]]\npool = \"web\"\n",
        ..PLAIN
    },
    Scene {
        name: "a rule that redirects",
        service: ANSWERS,
        request: |_| get("/old", ""),
        status: 301,
        shows: "Location: http://x/new",
        ..PLAIN
    },
    Scene {
        name: "a rule that answers",
        service: ANSWERS,
        request: |_| get("/tea", ""),
        status: 418,
        shows: "text/plain",
        ..PLAIN
    },
    Scene {
        name: "a rule that refuses",
        service: ANSWERS,
        request: |_| get("/limited", ""),
        status: 429,
        ..PLAIN
    },
    Scene { name: "hash of the address", pool: "algorithm = \"consistent_hash\"\n", ..PLAIN },
    Scene {
        name: "hash of address and port",
        pool: "algorithm = \"consistent_hash\"\nhash_by = \"source_ip_port\"\n",
        ..PLAIN
    },
    Scene {
        name: "hash of the URI",
        pool: "algorithm = \"consistent_hash\"\nhash_by = \"uri\"\n",
        request: |n| get(&format!("/some/path/{n:05}"), ""),
        ..PLAIN
    },
    Scene {
        name: "hash of a header",
        pool: "algorithm = \"consistent_hash\"\nhash_by = \"custom_header\"\nhash_header = \"X-User\"\n",
        request: |n| get("/", &format!("X-User: {n:05}\r\n")),
        ..PLAIN
    },
    Scene {
        name: "hash of the call id",
        pool: "algorithm = \"consistent_hash\"\nhash_by = \"call_id\"\n",
        request: |n| get("/", &format!("Call-ID: {n:05}\r\n")),
        ..PLAIN
    },
    Scene {
        name: "hash of a rule's text",
        service: TEXT,
        pool: "algorithm = \"consistent_hash\"\nhash_by = \"custom_string\"\n",
        request: |n| get("/", &format!("X-User: {n:05}\r\n")),
        ..PLAIN
    },
    Scene {
        name: "content up by length, down in chunks",
        request: |_| "POST /chunked HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\ncontent".to_owned(),
        shows: "Transfer-Encoding: chunked",
        ..PLAIN
    },
    Scene {
        name: "content up in chunks, down by length",
        request: |_| {
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ncont\r\n3\r\nent\r\n0\r\n\r\n"
                .to_owned()
        },
        shows: "Content-Length: 7",
        ..PLAIN
    },
    Scene {
        name: "a retry on another server after a status",
        pool: "algorithm = \"round_robin\"\npassive_health_monitor = false\n\
               server_reselect = { enabled = true, statuses = [\"503\"] }\n",
        request: |_| get("/busy", ""),
        shows: GOOD,
        ..PLAIN
    },
    Scene {
        name: "a client whose server is out, and gets another one",
        pool: PERSISTENCE,
        server: "header_value = \"one\"\nenabled = false\n",
        more: HEADER,
        request: |_| get("/", "X-Key: one\r\n"),
        shows: OTHER,
        ..PLAIN
    },
    Scene { name: CLOSES, request: |_| get(CLOSE, ""), ..PLAIN },
];

/// Answers of the server that is busy.
static BUSY: AtomicU64 = AtomicU64::new(0);

/// Answers by the path; one that is not `good` says that it is busy where it is asked for it.
fn server_of_scenes(is_good: bool) -> Server {
    Server::start(move |mut stream| {
        let mut rest = Vec::new();
        while let Some((head, body)) = read_request(&mut stream, &mut rest) {
            let path = head.split(' ').nth(1).unwrap_or("/");
            let content = String::from_utf8_lossy(&body);
            let mut more = String::new();
            if let Some(session) = path.strip_prefix("/login/") {
                more = format!("Set-Cookie: JSESSIONID={session}; Path=/\r\n");
            }
            let status = if path == "/busy" && !is_good { "503 Busy" } else { "200 OK" };
            BUSY.fetch_add(u64::from(!is_good), Ordering::Relaxed);
            let name = if is_good { "good" } else { "busy" };
            let answer = match path {
                "/chunked" => format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7\r\n{content}\r\n0\r\n\r\n"
                ),
                _ => format!(
                    "HTTP/1.1 {status}\r\nX-Name: {name}\r\n{more}Content-Length: {}\r\n\r\n{content}",
                    content.len()
                ),
            };
            if stream.write_all(answer.as_bytes()).is_err() || path == CLOSE {
                return;
            }
        }
    })
}

//= test SE-COST-01
#[test]
fn no_kind_of_request_allocates_in_steady_state() {
    const REQUESTS: u64 = 400;
    let _alone = COUNTS.lock();
    let (good, busy) = (server_of_scenes(true), server_of_scenes(false));
    let mut wrong = Vec::new();
    for backend in [Backend::IoUring, Backend::Epoll] {
        for scene in SCENES {
            let Scene { service, pool, server, more, .. } = scene;
            let mut servers = format!("[[pool.server]]\naddress = \"{}\"\n{server}", good.address);
            let two = [GOOD, OTHER].contains(&scene.shows);
            if two {
                servers += &format!("[[pool.server]]\naddress = \"{}\"\n", busy.address);
            }
            let document = format!(
                "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool = \"web\"\n\
                 {service}[[pool]]\nname = \"web\"\n{pool}{servers}{more}"
            );
            let engine = Engine::start_with(backend, &document, 1, 100, || COUNTED.set(true));
            let mut client = engine.connect();
            let mut rest = Vec::new();
            let mut n = 0;
            let mut ask = |count: u64| {
                for _ in 0..count {
                    client.write_all((scene.request)(n).as_bytes()).expect("sent");
                    n += 1;
                    let answer = read_answer(&mut client, &mut rest, false).expect("an answer");
                    let is_first_of_limit = n == 1 && scene.status == 429;
                    assert!(answer.status == scene.status || is_first_of_limit, "{}: {answer:?}", scene.name);
                    assert!(answer.head.contains(scene.shows), "{}: {answer:?}", scene.name);
                }
            };
            ask(200);
            eventually("three ticks", || {
                ask(1);
                engine.count(|m| m.ticks.load(Ordering::Relaxed)) >= 3
            });
            engine.log();
            let (busy_before, connections) = (BUSY.load(Ordering::Relaxed), &good.connections);
            let connections_before = connections.load(Ordering::Relaxed);
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            ask(REQUESTS);
            let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
            if allocations != 0 {
                wrong.push(format!("{backend:?}, {}: {allocations} in {REQUESTS} requests", scene.name));
            }
            // The scene was what its name says.
            let retried = BUSY.load(Ordering::Relaxed) - busy_before;
            assert_eq!(retried != 0, two, "{retried} asked the busy server: {}", scene.name);
            let opened = u64::from(connections.load(Ordering::Relaxed) - connections_before);
            let closes = scene.name == CLOSES;
            assert_eq!(opened >= REQUESTS - 1, closes, "{opened} connections opened: {}", scene.name);
            let bound = engine.log().iter().filter(|r| r["persistence_used"] == true).count();
            assert_eq!(bound >= REQUESTS as usize - 1, scene.is_bound, "{bound} were bound: {}", scene.name);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//= test SE-COST-01
#[test]
fn requests_that_wait_in_a_queue_cost_no_allocation() {
    const CLIENTS: u64 = 4;
    const ROUNDS: u64 = 100;
    let _alone = COUNTS.lock();
    let server = Server::start(|mut stream| {
        let mut rest = Vec::new();
        while read_request(&mut stream, &mut rest).is_some() {
            // Sleep: long enough for all of a round to have come.
            std::thread::sleep(Duration::from_millis(2));
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    });
    for backend in [Backend::IoUring, Backend::Epoll] {
        let document = format!(
            "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool = \"web\"\n\
             [[pool]]\nname = \"web\"\nmax_concurrent_connections_per_server = 1\n\
             request_queue = {{ enabled = true, timeout_ms = 60000 }}\n[[pool.server]]\naddress = \"{}\"\n",
            server.address
        );
        let engine = Engine::start_with(backend, &document, 1, 100, || COUNTED.set(true));
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| (engine.connect(), Vec::new())).collect();
        let mut come = |rounds: u64| {
            for _ in 0..rounds {
                for (client, _) in &mut clients {
                    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
                }
                for (client, rest) in &mut clients {
                    assert_eq!(read_answer(client, rest, false).expect("an answer").status, 200);
                }
            }
        };
        come(50);
        eventually("three ticks", || {
            come(1);
            engine.count(|m| m.ticks.load(Ordering::Relaxed)) >= 3
        });
        let queued = || engine.pools(0, |pool| pool.queued.get());
        // What grows once, with the most that wait at a time, is not of a request: the best of a few.
        let mut seen = Vec::new();
        while seen.len() < 5 && seen.last() != Some(&0) {
            let (queued_before, before) = (queued(), ALLOCATIONS.load(Ordering::Relaxed));
            come(ROUNDS);
            seen.push(ALLOCATIONS.load(Ordering::Relaxed) - before);
            let waited = queued() - queued_before;
            assert!(waited >= ROUNDS, "{backend:?}: {waited} requests waited");
        }
        assert_eq!(
            seen.last(),
            Some(&0),
            "{backend:?}: allocations of {ROUNDS} rounds that waited: {seen:?}"
        );
    }
}

//= test SE-COST-01
#[test]
fn datagrams_of_flows_that_are_there_cost_no_allocation() {
    let _alone = COUNTS.lock();
    let echo = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let server = echo.local_addr().expect("bound");
    let ended = Arc::new(AtomicBool::new(false));
    let told = ended.clone();
    echo.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
    let serving = std::thread::spawn(move || {
        let mut bytes = [0; 2_000];
        while !told.load(Ordering::Relaxed) {
            if let Ok((len, from)) = echo.recv_from(&mut bytes) {
                echo.send_to(&bytes[..len], from).expect("sent");
            }
        }
    });
    for backend in [Backend::IoUring, Backend::Epoll] {
        let document = format!(
            "version = 1\n[[virtual_service]]\nname = \"dns\"\nlisten = [\"127.0.0.1:1\"]\npool = \"dns\"\n\
             protocol = \"udp\"\nudp_profile = \"p\"\n[[udp_profile]]\nname = \"p\"\nidle_timeout_ms = 600000\n\
             [[pool]]\nname = \"dns\"\n[[pool.server]]\naddress = \"{server}\"\n"
        );
        let engine = Engine::start_with(backend, &document, 1, 100, || COUNTED.set(true));
        let client = || {
            let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
            client.connect(engine.addresses[0]).expect("a way");
            client.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
            client
        };
        let clients: Vec<UdpSocket> = (0..20).map(|_| client()).collect();
        let ask = |client: &UdpSocket| {
            client.send(&[b'x'; 1_200]).expect("sent");
            assert_eq!(client.recv(&mut [0; 2_000]).expect("an answer"), 1_200);
        };
        let all = |rounds: usize| (0..rounds).for_each(|_| clients.iter().for_each(ask));
        all(20);
        eventually("three ticks", || {
            all(1);
            engine.count(|m| m.ticks.load(Ordering::Relaxed)) >= 3
        });
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        all(100);
        let after = ALLOCATIONS.load(Ordering::Relaxed);
        assert_eq!(after - before, 0, "{backend:?}: allocations for 2,000 datagrams and their answers");
        // The counter counts: a new flow is a new task.
        ask(&client());
        assert!(ALLOCATIONS.load(Ordering::Relaxed) > after, "nothing at all is counted");
    }
    ended.store(true, Ordering::Relaxed);
    serving.join().expect("no panic");
}

//! A worker in steady state allocates nothing per request.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_host_uring::rt::Backend;
use support::{Engine, Server, eventually, read_answer};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

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
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `alloc`'s contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }

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
            // Bodies that come in many pieces use the buffers of earlier ones.
            ask(5, &"x".repeat(300_000));
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            ask(5, &"x".repeat(300_000));
            assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before, "{backend:?} {pool:?}: large bodies");
            // The counter counts: a new connection is a new task.
            engine.talk("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            assert!(ALLOCATIONS.load(Ordering::Relaxed) > before, "nothing at all is counted");
        }
    }
}

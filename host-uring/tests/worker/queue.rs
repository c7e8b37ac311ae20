//! The queue before limited servers: strict order, no wake-up lost, and no place for who has left.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use crate::memory;
use crate::memory::{Lab, sleep_ms};
use forebay_host_uring::rt::memory::Memory;
use forebay_host_uring::rt::{Now, Rt};
use forebay_host_uring::worker::Queue;

/// Random numbers (SplitMix64), the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// Servers with places, as the engine uses the queue: a place that is given back calls.
struct Servers {
    queue: Queue,
    free: Cell<u32>,
    /// Who waits, in the order of coming: the model that the queue is compared with.
    line: RefCell<VecDeque<u32>>,
    served: Cell<u32>,
    left: Cell<u32>,
}

impl Servers {
    /// One request: comes, waits at most `patience_ms`, works for `work_ms`.
    async fn request(&self, rt: &Memory, number: u32, patience_ms: u64, work_ms: u64) {
        let until = Now(rt.now().0 + patience_ms * 1000);
        let mut place = None;
        loop {
            let behind = place.is_none() && !self.queue.is_empty();
            if self.free.get() > 0 && !behind {
                break;
            }
            if place.is_none() {
                place = Some(self.queue.enter());
                self.line.borrow_mut().push_back(number);
            }
            let own = place.as_ref().expect("entered above");
            own.wait(rt, until).await;
            if rt.now() >= until {
                self.line.borrow_mut().retain(|other| *other != number);
                self.left.set(self.left.get() + 1);
                return;
            }
            if !own.is_first() {
                panic!("{number} was woken although {:?} came earlier", self.line.borrow().front());
            }
        }
        self.free.set(self.free.get() - 1);
        if place.is_some() {
            assert_eq!(self.line.borrow_mut().pop_front(), Some(number), "first come first served");
        }
        drop(place);
        sleep_ms(rt, work_ms).await;
        self.free.set(self.free.get() + 1);
        self.served.set(self.served.get() + 1);
        self.queue.call();
    }
}

//= test SE-QUEUE-01
#[test]
fn over_random_comings_and_goings_the_first_is_served_first_and_at_once() {
    const REQUESTS: u32 = 300;
    for seed in 0..40 {
        let rt = Memory::new();
        let mut dice = Dice(seed);
        let servers = Rc::new(Servers {
            queue: Queue::default(),
            free: Cell::new(1 + dice.below(3) as u32),
            line: RefCell::default(),
            served: Cell::new(0),
            left: Cell::new(0),
        });
        let main = rt.clone();
        rt.block_on(async {
            let waits_idle = Rc::new(Cell::new(0_u64));
            for number in 0..REQUESTS {
                let (own, rt) = (servers.clone(), main.clone());
                let (patience, work) = (20 + dice.below(400), 1 + dice.below(40));
                main.spawn(async move { own.request(&rt, number, patience, work).await });
                // Often several in the same moment.
                if dice.below(3) > 0 {
                    sleep_ms(&main, dice.below(20)).await;
                    // The clock stands while one is ready, so this is one moment, in which all that can happen does.
                    for _ in 0..20 {
                        forebay_host_uring::rt::give_way().await;
                    }
                    if servers.free.get() > 0 && !servers.queue.is_empty() {
                        waits_idle.set(waits_idle.get() + 1);
                    }
                }
            }
            sleep_ms(&main, 60_000).await;
            assert_eq!(waits_idle.get(), 0, "seed {seed}: a place was free and somebody waited");
        });
        assert_eq!(servers.served.get() + servers.left.get(), REQUESTS, "seed {seed}: all have ended");
        assert!(servers.queue.is_empty() && servers.line.borrow().is_empty(), "seed {seed}");
        assert!(servers.served.get() > 50, "seed {seed}: {}", servers.served.get());
    }
}

const SERVER: &str = "10.0.0.1:80";

/// One server with one place, which works for two seconds on each request and says whose it was; a queue for `depth`.
fn lab(depth: u32) -> Lab {
    let lab = Lab::new(&format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
         [[pool]]\nname = \"web\"\nmax_concurrent_connections_per_server = 1\n\
         request_queue = {{ enabled = true, depth = {depth}, timeout_ms = 60000 }}\n\
         [[pool.server]]\naddress = \"{SERVER}\"\n"
    ));
    lab.server(SERVER, |rt, mut peer| async move {
        let head = peer.until("\r\n\r\n").await;
        let path = head.split(' ').nth(1).unwrap_or("").to_owned();
        sleep_ms(&rt, 2_000).await;
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len())).await;
        peer.all().await;
    });
    lab
}

async fn ask(lab: &Lab, name: &str, behind_it: &str) -> memory::Peer {
    let mut client = lab.client().await;
    client.send(format!("GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n{behind_it}")).await;
    lab.sleep_ms(10).await;
    client
}

//= test SE-QUEUE-02
#[test]
fn a_client_that_leaves_the_queue_frees_its_place_and_keeps_nobody_waiting() {
    // What waits behind the request in the socket must not hide that the client has gone.
    for behind_it in ["", "GET /next HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut lab = lab(2);
        lab.run(async {
            let begin = lab.now_us();
            let mut first = ask(&lab, "first", "").await;
            let gone = ask(&lab, "gone", behind_it).await;
            let mut third = ask(&lab, "third", "").await;
            let mut refused = ask(&lab, "refused", "").await;
            assert!(refused.until("\r\n\r\n").await.starts_with("HTTP/1.1 503 "), "the queue holds two");
            drop(gone);
            lab.sleep_ms(10).await;
            assert_eq!(lab.metrics.client_aborts.get(), 1, "noticed at once");
            let mut fourth = ask(&lab, "fourth", "").await;
            for (client, name) in [(&mut first, "/first"), (&mut third, "/third"), (&mut fourth, "/fourth")] {
                let answer = client.until(&format!("\r\n\r\n{name}")).await;
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            }
            // Three times two seconds, without a gap.
            let took = lab.now_us() - begin;
            assert!((6_000_000..6_100_000).contains(&took), "{took}");
        });
        let log = lab.log();
        let gone = log.iter().find(|record| record["uri_path"] == "/gone").expect("a record");
        assert_eq!(gone["request_state"], "the client left while it waited for a server");
        assert_eq!(gone["servers_tried"], 0, "{gone}");
    }
}

//= test SE-QUEUE-01
#[test]
fn the_first_leaves_the_queue_in_the_moment_of_a_call_and_the_second_is_served() {
    let rt = Memory::new();
    let queue = Rc::new(Queue::default());
    let served = Rc::new(Cell::new(None));
    let main = rt.clone();
    rt.block_on(async {
        let first = queue.enter();
        let (own, at, other) = (queue.clone(), served.clone(), main.clone());
        main.spawn(async move {
            let place = own.enter();
            place.wait(&other, Now(other.now().0 + 60_000_000)).await;
            at.set(Some((other.now(), place.is_first())));
        });
        sleep_ms(&main, 1).await;
        let began = main.now();
        // The call is for the first one, who has no use for it any more.
        queue.call();
        drop(first);
        sleep_ms(&main, 1).await;
        assert_eq!(served.get(), Some((began, true)), "the turn was passed on at once");
    });
}

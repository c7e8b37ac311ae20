//! Eight engines under traffic, of which one after another is killed.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use forebay_e2e::wait::{eventually, ms, secs};
use forebay_e2e::{Engine, Options, long_or};
use serde_json::json;

use crate::common::wait_until_gone;
use crate::group::{Group, entries, ready, synced};
use crate::machines::verified;

const ENGINES: usize = 8;
/// Threads that send clients whose entries were acknowledged to any engine.
const VISITORS: u64 = 3;
/// Clients of the test, who come new until its end: each comes again often enough that its entry does not end for want of
/// use.
const CLIENTS_MAX: u32 = 3_000;
/// New clients at a time.
const BATCH: u32 = 10;
/// How long one other engine has had a client's entry before the client goes to any: that one has it is what is acknowledged; the
/// others are told as well, or by it when the one that bound the client is killed, which takes a full machine a while.
const TOLD: Duration = secs(2);

/// An engine and whether it is one to be asked: odd while it is being killed or is not back.
struct Seat {
    engine: Mutex<Engine>,
    turn: AtomicU64,
}

impl Seat {
    /// The turn, if it is one to be asked.
    fn turn(&self) -> Option<u64> {
        Some(self.turn.load(Ordering::SeqCst)).filter(|turn| turn % 2 == 0)
    }
}

/// A sequence of numbers: which client, which engine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }
}

struct Scene {
    group: Group,
    seats: Vec<Seat>,
    /// Clients whose entries another engine has than the one that bound them, their servers, and since when.
    acknowledged: RwLock<Vec<(u32, String, Instant)>>,
    over: AtomicBool,
    visits: AtomicU32,
    cut: AtomicU32,
    unacknowledged: AtomicU32,
    wrong: Mutex<Vec<String>>,
    began: Instant,
}

impl Scene {
    fn new() -> Self {
        let group = Group::new(ENGINES);
        let seat = |engine| Seat { engine: Mutex::new(engine), turn: AtomicU64::new(0) };
        let seats = group.start_each(|_| options()).into_iter().map(seat).collect();
        Self {
            group,
            seats,
            acknowledged: RwLock::default(),
            over: AtomicBool::new(false),
            visits: AtomicU32::new(0),
            cut: AtomicU32::new(0),
            unacknowledged: AtomicU32::new(0),
            wrong: Mutex::default(),
            began: Instant::now(),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Those that another engine has had for so long.
    fn known(&self, told: Duration) -> Vec<(u32, String)> {
        let all = self.acknowledged.read().unwrap_or_else(PoisonError::into_inner);
        let settled = all.iter().take_while(|(.., since)| since.elapsed() >= told);
        settled.map(|(client, server, _)| (*client, server.clone())).collect()
    }

    fn is_wrong(&self, what: String) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// The server of a client at an engine; `None`: the engine was killed meanwhile.
    fn ask(&self, slot: usize, client: u32) -> Option<String> {
        let turn = self.seats[slot].turn()?;
        match self.group.try_by_address(slot, client) {
            Ok(server) => Some(server),
            Err(error) => {
                if self.seats[slot].turn() == Some(turn) {
                    self.is_wrong(format!("client {client} at engine {slot}, which nobody killed: {error}"));
                }
                self.cut.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// The server that an engine's table has for a client, by its place.
    fn look(&self, slot: usize, client: u32) -> Option<usize> {
        let ip = self.group.lab.client_ip(client);
        let engine = self.seats[slot].engine.lock().unwrap_or_else(PoisonError::into_inner);
        let answer =
            engine.admin(&json!({ "command": "objsync_debug", "pool": "ip", "deed": { "look": ip } }));
        answer["data"]["server"].as_u64().map(|place| place as usize)
    }

    /// Binds new clients at one engine until nobody wants more, and notes those that another engine knows.
    fn bind(&self) {
        let mut dice = Dice(0x5eed);
        let mut next = 0;
        while !self.is_over() {
            let due = self.began.elapsed().as_secs_f64() / lasts().as_secs_f64() * f64::from(CLIENTS_MAX);
            if f64::from(next) >= due {
                // Sleep: they come one after another for as long as engines are killed.
                std::thread::sleep(ms(1));
                continue;
            }
            let (at, other) = (dice.below(ENGINES), dice.below(ENGINES));
            let turns = (self.seats[at].turn(), self.seats[other].turn());
            if at == other || turns.0.is_none() || turns.1.is_none() {
                continue;
            }
            let bound: Vec<(u32, Option<String>)> =
                (next..next + BATCH).map(|client| (client, self.ask(at, client))).collect();
            next += BATCH;
            for (client, server) in bound {
                let still = || turns == (self.seats[at].turn(), self.seats[other].turn());
                let place = server
                    .as_ref()
                    .and_then(|server| self.group.servers.iter().position(|one| one.name == *server));
                let began = Instant::now();
                let mut seen = None;
                while place.is_some() && seen.is_none() && still() && !self.is_over() {
                    assert!(
                        began.elapsed() < secs(30),
                        "engine {other} is not told of client {client} by {at}"
                    );
                    seen = self.look(other, client);
                }
                match (server, place) {
                    (Some(server), Some(_)) if seen == place => {
                        let mut known = self.acknowledged.write().unwrap_or_else(PoisonError::into_inner);
                        known.push((client, server, Instant::now()));
                    }
                    (Some(server), Some(_)) if seen.is_some() => {
                        self.is_wrong(format!(
                            "{client} is bound to {server} at {at}, to {seen:?} at {other}"
                        ));
                    }
                    _ => _ = self.unacknowledged.fetch_add(1, Ordering::Relaxed),
                }
            }
        }
    }

    /// Sends clients to engines until it is over: each finds its server at each of them.
    fn visit(&self, seed: u64) {
        let mut dice = Dice(seed);
        while !self.is_over() {
            let known = self.known(TOLD);
            std::thread::yield_now();
            for _ in 0..50.min(known.len()) {
                let (client, home) = &known[dice.below(known.len())];
                let slot = dice.below(ENGINES);
                let Some(server) = self.ask(slot, *client) else { continue };
                self.visits.fetch_add(1, Ordering::Relaxed);
                if server != *home {
                    self.is_wrong(format!("client {client} of {home} gets {server} at engine {slot}"));
                }
            }
        }
    }

    /// Kills an engine, and starts it anew.
    fn kill(&self, slot: usize) {
        let seat = &self.seats[slot];
        let mut engine = seat.engine.lock().unwrap_or_else(PoisonError::into_inner);
        seat.turn.fetch_add(1, Ordering::SeqCst);
        engine.process.kill();
        wait_until_gone(&self.group, slot);
        *engine = self.group.spawn_with(slot, &options());
        ready(&engine);
        seat.turn.fetch_add(1, Ordering::SeqCst);
    }
}

/// For how long engines are killed.
fn lasts() -> Duration {
    secs(long_or(600, 45))
}

fn options() -> Options {
    Options { workers: 1, arguments: vec!["--allow-faults".to_owned()], ..Options::default() }
}

#[test]
fn whichever_of_eight_engines_is_killed_under_traffic_acknowledged_clients_keep_their_server() {
    let scene = Scene::new();
    let mut dice = Dice(0xface);
    let mut kills = 0;
    let began = scene.began;
    std::thread::scope(|scope| {
        scope.spawn(|| scene.bind());
        for n in 1..=VISITORS {
            let scene = &scene;
            scope.spawn(move || scene.visit(n * 7_919));
        }
        eventually("there is traffic", secs(30), || scene.visits.load(Ordering::Relaxed) > 50);
        while kills < 3 || began.elapsed() < lasts() {
            // Sleep: the moment of a kill is what this is about, and no state says when it is due.
            std::thread::sleep(Duration::from_millis(dice.below(1_500) as u64));
            scene.kill(dice.below(ENGINES));
            kills += 1;
        }
        scene.over.store(true, Ordering::SeqCst);
    });
    let known = scene.known(Duration::ZERO);
    let count = |number: &AtomicU32| number.load(Ordering::Relaxed);
    println!(
        "{kills} kills in {:.0} s, {} clients acknowledged and {} not, {} visits, {} cut",
        began.elapsed().as_secs_f64(),
        known.len(),
        count(&scene.unacknowledged),
        count(&scene.visits),
        count(&scene.cut),
    );
    let wrong = scene.wrong.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "{} of {} visits: {wrong:#?}", wrong.len(), count(&scene.visits));
    assert!(known.len() > 100, "{} clients whose entries were acknowledged", known.len());
    let engines: Vec<_> =
        scene.seats.iter().map(|seat| seat.engine.lock().unwrap_or_else(PoisonError::into_inner)).collect();
    for engine in &engines {
        synced(engine, ENGINES - 1);
        eventually("nothing differs", secs(60), || verified(engine));
        assert!(entries(engine) >= known.len());
    }
    drop(engines);
    for (client, home) in &known {
        let place = scene.group.servers.iter().position(|one| one.name == *home);
        for slot in 0..ENGINES {
            assert_eq!(scene.look(slot, *client), place, "client {client} at engine {slot} in the end");
        }
    }
}

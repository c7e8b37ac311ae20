//! Answers that wait until another engine has the entry that they tell their client of.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Client, Engine, Options, bin, config, long_or};

use crate::group::{Group, entries, ready, synced};

/// An answer that took longer may have been let go before another engine had the entry.
pub const WAIT: Duration = Duration::from_millis(20);

/// The file of an engine whose answers wait, or do not.
fn text(group: &Group, slot: usize, waits: bool) -> String {
    let word = if waits { "peer" } else { "off" };
    group
        .config(slot)
        .replace("snapshot_interval_s", &format!("persistence_ack = \"{word}\"\nsnapshot_interval_s"))
}

fn start(group: &Group, text: impl Fn(usize) -> String) -> Vec<Engine> {
    let spawn = |slot| Engine::spawn(&group.lab, &text(slot), &Options::default());
    let engines: Vec<Engine> = (0..group.vips.len()).map(spawn).collect();
    engines.iter().for_each(ready);
    engines.iter().for_each(|engine| synced(engine, engines.len() - 1));
    engines
}

fn count(engine: &Engine, what: &str) -> f64 {
    engine.metric(&format!("forebay_persistence_acknowledged{what}_total"), &[])
}

/// What a client was told: who it is, its server, and how long that took.
pub type Told = (u32, String, Duration);

/// New clients one after another, of four at once, until the engine is gone or there are no more.
pub fn clients(group: &Group, from: u32, to: u32, mut each: impl FnMut(usize)) -> Vec<Told> {
    let (next, told) = (AtomicU32::new(from), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while let Some(n) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < to) {
                        let mut client =
                            Client::new(group.vips[0][0]).from(group.lab.client_ip(n)).without_jar();
                        let begin = Instant::now();
                        let Ok(answer) = client.get_once("/") else { return };
                        let one = (n, answer.server().to_owned(), begin.elapsed());
                        told.lock().expect("nobody panicked").push(one);
                    }
                })
            })
            .collect();
        while !threads.iter().all(|thread| thread.is_finished()) {
            each(told.lock().expect("nobody panicked").len());
            // Sleep: how long clients go on before the engine is killed is the subject.
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    told.into_inner().expect("nobody panicked")
}

fn median_us(told: &[Told]) -> u128 {
    let mut all: Vec<u128> = told.iter().map(|(.., took)| took.as_micros()).collect();
    all.sort_unstable();
    all[all.len() / 2]
}

//= test SYNC-ACKED-01
#[test]
fn an_engine_that_is_killed_takes_no_client_with_it_whose_answer_waited_for_another_one() {
    let all = long_or(8_000, 1_200);
    let group = Group::new(2);
    let mut engines = start(&group, |slot| text(&group, slot, true));
    // The same clients, once without waiting: what it costs.
    engines[0].load(&text(&group, 0, false));
    let free = clients(&group, 100_000, 100_000 + all / 2, |_| {});
    assert_eq!((free.len() as u32, count(&engines[0], "")), (all / 2, 0.0), "nobody waited");
    engines[0].load(&text(&group, 0, true));
    let mut killed = false;
    let told = clients(&group, 0, all, |so_far| {
        if !killed && so_far as u32 >= all / 2 {
            engines[0].process.kill();
            killed = true;
        }
    });
    assert!(killed && told.len() as u32 >= all / 2, "{} answers", told.len());
    let (prompt, slow): (Vec<_>, Vec<_>) = told.iter().partition(|(.., took)| *took < WAIT);
    let is_lost = |told: &&&Told| group.by_address(1, told.0) != told.1;
    let lost = |of: &[&Told]| of.iter().filter(is_lost).count();
    println!(
        "{} answers, {} of them within 20 ms; half of them within {} us, without waiting {} us; lost: {}, and {} of the slow",
        told.len(),
        prompt.len(),
        median_us(&told),
        median_us(&free),
        lost(&prompt),
        lost(&slow)
    );
    assert_eq!(lost(&prompt), 0);
    assert!(prompt.len() * 4 >= told.len(), "too slow a machine to say anything");
    // Now nobody is there who could acknowledge.
    eventually("the other engine knows that it is alone", secs(10), || {
        engines[1].metric("forebay_objsync_peer_connected", &[]) == 0.0
    });
    let before = count(&engines[1], "_alone");
    group.by_address(1, 200_000);
    assert_eq!(count(&engines[1], "_alone"), before + 1.0);
}

//= test SYNC-ACKED-01
#[test]
fn an_answer_whose_entry_nobody_acknowledges_leaves_after_20_ms_and_is_counted() {
    let group = Group::new(2);
    let engines = start(&group, |slot| text(&group, slot, true));
    group.by_address(0, 1);
    assert_eq!(count(&engines[0], "") + count(&engines[0], "_late"), 1.0);
    engines[1].process.signal(libc::SIGSTOP);
    let late = count(&engines[0], "_late");
    let begin = Instant::now();
    group.by_address(0, 2);
    let took = begin.elapsed();
    engines[1].process.signal(libc::SIGCONT);
    assert!(took >= WAIT, "{took:?}");
    assert_eq!(count(&engines[0], "_late"), late + 1.0);
    // Who is known needs no answer to wait.
    // Sleep: for 20 ms its entry counts as new.
    std::thread::sleep(2 * WAIT);
    let sum = || count(&engines[0], "") + count(&engines[0], "_late") + count(&engines[0], "_alone");
    let before = sum();
    group.by_address(0, 2);
    assert_eq!(sum(), before);
}

//= test SYNC-ACKED-01
#[test]
fn sessions_http2_and_connections_passed_on_wait_as_well() {
    let group = Group::new(2);
    let [two, passed] = group.lab.addresses();
    let servers: Vec<_> = group.servers.iter().map(|server| server.address).collect();
    let more = |slot: usize| {
        let at = |address: std::net::SocketAddr| match slot {
            0 => address,
            _ => std::net::SocketAddr::new(address.ip(), address.port() + 10_000),
        };
        format!(
            "{}[[http_profile]]\nname = \"two\"\nhttp2 = true\n{}{}{}{}",
            text(&group, slot, true),
            config::service_with("two", at(two), "http_profile = \"two\""),
            config::service_with("passed", at(passed), "protocol = \"tcp\""),
            config::pool("two", "persistence = \"ip\"", &servers),
            config::pool("passed", "persistence = \"ip\"", &servers),
        )
    };
    let engines = start(&group, more);
    let sum = || count(&engines[0], "") + count(&engines[0], "_late");
    let waited = |what: &str, ask: &dyn Fn()| {
        let (before, had) = (sum(), entries(&engines[0]));
        ask();
        eventually(what, secs(5), || entries(&engines[0]) == had + 1);
        assert_eq!(sum(), before + 1.0, "{what}");
    };
    waited("a session is learnt", &|| {
        let answer = Client::new(group.vips[0][1]).get_once("/login").expect("an answer");
        assert!(answer.cookie("JSESSIONID").is_some());
    });
    waited("a request over HTTP/2", &|| {
        let mut curl = Command::new(bin::foreign("curl", "curl"));
        curl.args(["--silent", "--max-time", "20", "--http2-prior-knowledge", &format!("http://{two}/")]);
        assert!(curl.output().expect("curl starts").status.success());
    });
    waited("a connection that is passed on", &|| {
        Client::new(passed).from(group.lab.client_ip(9)).without_jar().get_once("/").expect("an answer");
    });
    assert!(count(&engines[0], "") > 0.0, "some were acknowledged");
}

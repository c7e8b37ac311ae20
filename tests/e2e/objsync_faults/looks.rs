//! People who look while tables are joined: nobody waits for them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_e2e::long_or;
use forebay_e2e::wait::{eventually, ms, secs};
use serde_json::{Value, json};

use crate::full::{bind, options};
use crate::group::{Group, entries};
use crate::processes::wait_until_gone;

/// What is looked at, again and again.
const WHAT: [&str; 5] =
    ["keyvalsummary", "keyvalsummaryobjsync", "pool_internal", "pool_objsync", "serviceengine_objsync"];

/// Looks; `None`: nobody answers at that socket yet.
fn look(socket: &Path, what: &str) -> Option<Duration> {
    let began = Instant::now();
    let mut socket = UnixStream::connect(socket).ok()?;
    socket.set_read_timeout(Some(secs(20))).expect("a time-out");
    let ask = json!({ "command": "show", "what": what, "filter": { "limit": 10 } });
    socket.write_all(format!("{ask}\n").as_bytes()).ok()?;
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).ok()?;
    let answer: Value = serde_json::from_str(&line).ok()?;
    assert_eq!(answer["ok"], true, "{what}: {answer}");
    Some(began.elapsed())
}

/// Tells threads that it is over, also where the test fails: nobody goes on for ever.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

//= test OBS-SYNC-01
#[test]
fn who_looks_while_a_table_is_joined_slows_neither_that_nor_requests() {
    let (many, rounds) = (long_or(1_000_000, 100_000), long_or(5, 2));
    let size = format!("persistence_mem_max_bytes = {}", long_or(80 << 20, 16 << 20));
    let group = Group::new(2);
    let mut engines = group.start_each(|_| options(&size));
    bind(&engines[0], 0, many);
    eventually("both have all", secs(60), || entries(&engines[1]) == many as usize);
    // By turns, so that both are of the same machine: with nobody, and with somebody who looks at both engines.
    let (mut joins, mut requests, mut looks) = ([vec![], vec![]], [vec![], vec![]], vec![]);
    for turn in 0..2 * rounds {
        let looked = turn % 2;
        engines[1].process.kill();
        wait_until_gone(&group, 1);
        let _ = std::fs::remove_file(group.lab.folder().join("1.snapshot"));
        let over = AtomicBool::new(false);
        let began = Instant::now();
        engines[1] = group.spawn_with(1, &options(&size));
        let sockets = [0, 1].map(|n: usize| engines[n].config.with_extension("sock"));
        std::thread::scope(|scope| {
            let end = Over(&over);
            let looker = (looked == 1).then(|| {
                scope.spawn(|| {
                    let mut took = Vec::new();
                    while !over.load(Ordering::SeqCst) {
                        for what in WHAT {
                            took.extend(sockets.iter().filter_map(|socket| look(socket, what)));
                        }
                        // Sleep: people look a few times in a second.
                        std::thread::sleep(ms(100));
                    }
                    took
                })
            });
            let client = scope.spawn(|| {
                let mut took = Vec::new();
                for n in 0.. {
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                    let began = Instant::now();
                    group.by_address(0, n % 1_000);
                    took.push(began.elapsed());
                    // Sleep: a client who comes now and then.
                    std::thread::sleep(ms(5));
                }
                took
            });
            eventually("it takes connections", secs(60), || TcpStream::connect(group.vips[1][0]).is_ok());
            joins[looked].push(began.elapsed());
            assert!(entries(&engines[1]) >= many as usize, "with all entries");
            drop(end);
            looks.extend(looker.into_iter().flat_map(|looker| looker.join().expect("answers")));
            requests[looked].extend(client.join().expect("answers"));
        });
    }
    let best = joins.each_ref().map(|took| *took.iter().min().expect("some rounds"));
    let of_requests = requests.each_mut().map(|took| median(took));
    let slowest = looks.iter().max().expect("somebody has looked");
    println!(
        "{many} entries joined within {:?} with nobody who looks and {:?} with somebody, half of the requests within {:?} \
         and {:?}; {} looks, the slowest took {slowest:?}",
        best[0],
        best[1],
        of_requests[0],
        of_requests[1],
        looks.len()
    );
    // What starts and what serves shares two processors with whoever looks; nobody waits for a look as such.
    assert!(best[1] <= best[0].mul_f64(1.5) + ms(300), "{joins:?}");
    assert!(of_requests[1] <= of_requests[0].mul_f64(2.0) + ms(5), "{of_requests:?}");
}

//! People who look while tables are joined: nobody waits for them. Times are compared, so it stands apart.

#[path = "../objsync_faults/common.rs"]
mod common;
#[allow(dead_code, reason = "engines that fail need more")]
#[path = "../objsync/group.rs"]
mod group;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_e2e::lively::Over;
use forebay_e2e::long_or;
use forebay_e2e::wait::{eventually, ms, secs};
use serde_json::{Value, json};

use common::{bind, options, wait_until_gone};
use group::{Group, entries};

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
    let best =
        |joins: &[Vec<Duration>; 2]| joins.each_ref().map(|took| *took.iter().min().expect("some rounds"));
    // What starts and what serves shares two processors with whoever looks; nobody waits for a look as such.
    let joins_alike = |best: [Duration; 2]| best[1] <= best[0].mul_f64(1.5) + ms(300);
    // Where the machine is busy with other things its noise may be all on one side: that gets further rounds, and a look that
    // slows a join loses all of them.
    let is_over = |turn: usize, joins: &[Vec<Duration>; 2]| {
        turn.is_multiple_of(2) && turn >= 2 * rounds && (turn >= 8 * rounds || joins_alike(best(joins)))
    };
    for turn in 0.. {
        if is_over(turn, &joins) {
            break;
        }
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
    let best = best(&joins);
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
    assert!(joins_alike(best), "{joins:?}");
    assert!(of_requests[1] <= of_requests[0].mul_f64(2.0) + ms(5), "{of_requests:?}");
}

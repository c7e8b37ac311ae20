//! What members cost that take and take and never read.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_core::table::GroupMillis;
use forebay_e2e::lively::Over;
use forebay_e2e::wait::{eventually, ms, secs};
use forebay_e2e::{Engine, system};
use forebay_objsync::wire::{Frame, Head, Step, Sums};

use crate::cable::Cable;
use crate::common::{bind, options};
use crate::group::{Group, entries, ready, synced};
use crate::impostor::{Impostor, hello, now_ms, proof, table_by_address};
use crate::machines::verified;
use crate::port::connected;

/// Clients of the engine that is asked: their sums fill most of an answer.
const CLIENTS: u32 = 60_000;

/// Answers to so many questions are about four times what may wait.
const QUESTIONS: u64 = 14_000;

/// What may wait for all members together.
const QUEUED_MAX: u64 = 32 << 20;

/// Says that it has nothing, range after range, each time as if for the first time.
fn questions(clock_ms: u64) -> Vec<u8> {
    let one = |number: u64| {
        let head = Head { clock: GroupMillis(clock_ms), number, ack: 0 };
        let step = Step { round: 1, fresh: true, range: (number % 64) as u8 };
        Frame::Sums(head, step, vec![Sums { table: table_by_address(), groups: Vec::new() }]).encode()
    };
    (1..=QUESTIONS).flat_map(one).collect()
}

fn queued(engine: &Engine) -> u64 {
    engine.metric("forebay_objsync_peer_queued_bytes", &[("slot", "0")]) as u64
}

//= test SYNC-QUEUE-01
#[test]
fn a_member_that_never_reads_is_given_up_before_more_than_32_mib_wait_for_it() {
    let group = Group::new(2);
    let mut engines = group.start_each(|_| options("persistence_mem_max_bytes = 8388608"));
    bind(&engines[1], 0, CLIENTS);
    eventually("both have them", secs(30), || entries(&engines[0]) == CLIENTS as usize);
    engines[0].process.kill();
    eventually("it is alone", secs(20), || !connected(&engines[1]));
    let at = group.lab.address();
    let cable =
        Cable::lay(at, Group::address(0), SocketAddr::new(Group::address(1), group.port), Duration::ZERO);
    let mut member = Impostor::calls_at(&group, at);
    let clock = now_ms();
    member.says(&hello(proof(&group), clock, 21));
    eventually("it is let in", secs(20), || connected(&engines[1]));
    let memory = || system::private_kib(engines[1].process.pid()) << 10;
    let (before, mut most, mut held) = (memory(), 0, 0);
    cable.stuff();
    let given_up = || engines[1].metric("forebay_objsync_peer_too_slow_total", &[("slot", "0")]);
    let (over, began) = (AtomicBool::new(false), Instant::now());
    let end = member.until();
    std::thread::scope(|scope| {
        let _end = (Over(&over), end);
        scope.spawn(|| {
            member.says(&questions(clock));
            while !over.load(Ordering::SeqCst) {
                // It lives, as far as can be told.
                member.says(&Frame::Ack(Head { clock: GroupMillis(clock), number: 0, ack: 0 }).encode());
                // Sleep: between two signs of life.
                std::thread::sleep(ms(5));
            }
        });
        while given_up() == 0.0 {
            (most, held) = (most.max(queued(&engines[1])), held.max(memory().saturating_sub(before)));
            assert!(began.elapsed() < secs(90), "{most} bytes wait, and nobody gives it up");
            std::thread::yield_now();
        }
    });
    println!("at most {most} bytes were seen to wait, and {held} bytes more were held than before");
    // Most times a fifth more is held than waits; where the engine's threads get no turn what it has read is held as well.
    assert!(most <= QUEUED_MAX && held <= 2 * QUEUED_MAX, "{most} bytes wait, {held} are held");
    let said = engines[1].process.printed();
    assert!(said.contains("it is so slow that too much waits for it"), "{said}");
    // The true one comes back and is compared with.
    drop((member, cable));
    eventually("the impostor is gone", secs(20), || !connected(&engines[1]));
    engines[0] = group.spawn(0);
    ready(&engines[0]);
    engines.iter().for_each(|engine| synced(engine, 1));
    eventually("nothing differs", secs(30), || verified(&engines[0]));
    assert_eq!(entries(&engines[0]), CLIENTS as usize);
}

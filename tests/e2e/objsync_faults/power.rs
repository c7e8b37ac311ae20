//! Two engines at the ends of a slow cable: the one whose power goes takes with it what is in the cable.

use std::net::SocketAddr;
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use forebay_e2e::wait::{eventually, ms, secs};
use forebay_e2e::{Engine, Options, long_or};

use crate::acks::{Told, WAIT, clients};
use crate::cable::Cable;
use crate::common::wait_until_gone;
use crate::group::{Group, ready, synced};

/// From one engine to the other: an acknowledgement comes after twice as long, half of what is waited for it.
const DELAY: Duration = ms(5);

/// The same where nobody waits for one: more than some answers take, so that there is something to lose for sure.
const LONG: Duration = ms(100);

/// Two engines of which the first calls the second by way of the cable.
struct Ends {
    group: Group,
    cable: Cable,
    port: u16,
}

impl Ends {
    fn new() -> Self {
        let (group, port) = (Group::new(2), crate::group::port());
        let there = |port| SocketAddr::new(Group::address(1), port);
        let cable = Cable::lay(there(port), Group::address(0), there(group.port), DELAY);
        Self { group, cable, port }
    }

    fn spawn(&self, slot: usize, waits: bool) -> Engine {
        let port = if slot == 0 { self.port } else { self.group.port };
        let section = self.group.section(slot, &[(0, self.group.port), (1, port)], self.group.port);
        let word = if waits { "peer" } else { "off" };
        let keys = format!("persistence_ack = \"{word}\"\nsnapshot_interval_s");
        let text = self.group.config_with(slot, &section.replace("snapshot_interval_s", &keys));
        Engine::spawn(&self.group.lab, &text, &Options::default())
    }

    /// The power of the first engine goes while clients come; those who had an answer, and what of them the other one has
    /// lost: of answers that came in less than 20 ms, and of others.
    fn power_goes(&self, first: &mut Engine, from: u32, after: usize) -> (Vec<Told>, usize, usize) {
        let mut gone = false;
        let told = clients(&self.group, from, from + 100_000, |so_far| {
            if !gone && so_far >= after {
                self.cable.unplug();
                first.process.kill();
                gone = true;
            }
        });
        let lost = |one: &&Told| self.group.by_address(1, one.0) != one.1;
        let (prompt, slow): (Vec<_>, Vec<_>) = told.iter().partition(|(.., took)| *took < WAIT);
        let lost = [prompt, slow].map(|of| of.into_iter().filter(lost).count());
        (told, lost[0], lost[1])
    }
}

//= test SYNC-ACKED-01
#[test]
fn who_is_without_power_takes_clients_with_it_unless_their_answers_waited() {
    let (kills, after) = (long_or(20, 3), long_or(400, 60));
    let ends = Ends::new();
    let second = ends.spawn(1, true);
    let mut next = 0;
    let (mut lost, mut prompt) = ([0, 0], 0);
    for n in 0..2 * kills {
        let waits = n % 2 == 1;
        ends.cable.plug_in();
        let mut first = ends.spawn(0, waits);
        for engine in [&first, &second] {
            ready(engine);
            synced(engine, 1);
        }
        // The engines have found one another: only now, so that this takes no longer than it must.
        ends.cable.takes(if waits { DELAY } else { LONG });
        let (told, of_prompt, of_slow) = ends.power_goes(&mut first, next, after as usize);
        println!("waits: {waits}; {} answers, lost: {of_prompt} prompt and {of_slow} slow ones", told.len());
        lost[usize::from(waits)] += of_prompt;
        prompt += told.iter().filter(|(.., took)| waits && *took < WAIT).count();
        next += told.len() as u32 + 100;
        wait_until_gone(&ends.group, 0);
        ends.cable.takes(DELAY);
        assert!(
            waits || of_prompt > 0,
            "what is in the cable is lost where nobody waits: else this shows nothing"
        );
    }
    assert_eq!(lost[1], 0, "of {prompt} clients whose answer waited for the other engine");
    assert!(prompt > 0, "too slow a machine to say anything");
}

//= test SYNC-ACKED-01
//= test SYNC-MERGE-01
#[test]
fn clients_whose_first_connections_race_on_two_engines_come_to_one_of_their_two_servers() {
    const PAIRS: u32 = 4;
    let all = long_or(2_000, 160);
    let ends = Ends::new();
    let engines = [ends.spawn(0, true), ends.spawn(1, true)];
    engines.iter().for_each(ready);
    engines.iter().for_each(|engine| synced(engine, 1));
    let answers = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for pair in 0..PAIRS {
            let (ends, answers) = (&ends, &answers);
            scope.spawn(move || {
                for client in (0..all).filter(|client| client % PAIRS == pair) {
                    // Every fourth one comes to one engine alone, and keeps whom it gets.
                    let races = client / PAIRS % 4 != 3;
                    let at_once = Barrier::new(if races { 2 } else { 1 });
                    let ask = |slot| {
                        at_once.wait();
                        ends.group.by_address(slot, client)
                    };
                    let told = std::thread::scope(|scope| {
                        let other = races.then(|| scope.spawn(|| ask(1)));
                        let first = ask(0);
                        (first.clone(), other.map_or(first, |other| other.join().expect("an answer")))
                    });
                    answers.lock().expect("nobody panicked").push((client, told));
                }
            });
        }
    });
    let answers = answers.into_inner().expect("nobody panicked");
    let raced = answers.iter().filter(|(_, told)| told.0 != told.1).count();
    println!("{} clients, of whom {raced} were told two servers", answers.len());
    assert!(raced > 0, "nobody raced: else this shows nothing");
    let both = |client: u32| [0, 1].map(|slot| ends.group.by_address(slot, client));
    eventually("each has one server", secs(20), || {
        answers.iter().all(|(client, _)| {
            let [first, second] = both(*client);
            first == second
        })
    });
    for (client, told) in &answers {
        let [home, _] = both(*client);
        assert!(home == told.0 || home == told.1, "client {client} was told {told:?} and gets {home}");
    }
}

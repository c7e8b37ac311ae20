//! Runs seeds: see the library.

use std::net::IpAddr;
use std::process::ExitCode;

use forebay_core::table::KeyBytes;
use forebay_sim::{Bulk, Cost, Plan, World};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    match words[..] {
        [seed] if number(seed).is_some() => one(number(seed).unwrap_or(0), Plan::of, None),
        [seed, client] if number(seed).is_some() && client.parse::<IpAddr>().is_ok() => {
            one(number(seed).unwrap_or(0), Plan::of, client.parse().ok().map(KeyBytes::of_ip))
        }
        ["--from", from, "--count", count] => match (number(from), number(count)) {
            (Some(from), Some(count)) => many(from, count, Plan::of),
            _ => usage(),
        },
        ["--lost", "--from", from, "--count", count] => match (number(from), number(count)) {
            (Some(from), Some(count)) => many(from, count, Plan::lost),
            _ => usage(),
        },
        ["--lost", seed] if number(seed).is_some() => one(number(seed).unwrap_or(0), Plan::lost, None),
        ["--cost"] => cost(),
        ["--bulk", entries] if entries.parse::<u32>().is_ok() => bulk(entries.parse().unwrap_or(0)),
        _ => usage(),
    }
}

/// What one engine costs, by how many there are.
fn cost() -> ExitCode {
    for engines in [2, 4, 8, 16, 32, 64] {
        // The same clients however many engines there are.
        match World::run_plan(Plan { keys: 100, ..Plan::crowd(engines) }, 1, false, None) {
            Ok(summary) => {
                let peers = u64::from(engines) * u64::from(engines - 1);
                println!(
                    "{engines} engines: {} bytes sent by each, {} to each peer; {} entries equal",
                    summary.bytes / u64::from(engines),
                    summary.bytes / peers,
                    summary.entries
                );
            }
            Err(violation) => {
                println!("{engines} engines, at {} us: {}", violation.at, violation.what);
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// What joining and mending take.
fn bulk(entries: u32) -> ExitCode {
    let mut bulk = Bulk::new(entries);
    let say = |what: &str, cost: Cost| {
        let Cost { cpu_ms, bytes, sent } = cost;
        println!("{what}: {cpu_ms} ms of both engines, {bytes} bytes, {sent} entries sent");
    };
    say("join of the second", bulk.join(1));
    say("join of the first", bulk.join(0));
    say("nothing differs", bulk.nothing());
    for percent in [1, 10, 100] {
        say(&format!("{percent} of 100 differ"), bulk.heal(percent));
    }
    if bulk.is_equal() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: sim SEED [CLIENT] | sim --from SEED --count N | sim --lost SEED | sim --lost --from SEED --count N | sim --cost | sim --bulk ENTRIES"
    );
    ExitCode::from(2)
}

fn one(seed: u64, plan: fn(u64) -> Plan, watched: Option<KeyBytes>) -> ExitCode {
    println!("{:#?}", plan(seed));
    match World::run_plan(plan(seed), seed, true, watched) {
        Ok(summary) => {
            println!("{summary:?}");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("at {} us: {}", violation.at, violation.what);
            ExitCode::FAILURE
        }
    }
}

fn many(from: u64, count: u64, plan: fn(u64) -> Plan) -> ExitCode {
    let (mut broken, mut overlapping, mut acknowledged) = (0, 0, 0);
    for seed in from..from.saturating_add(count) {
        if seed > from && (seed - from).is_multiple_of(500) {
            println!("{} seeds, {broken} broke a promise so far", seed - from);
        }
        let run = World::run_plan(plan(seed), seed, false, None);
        match run {
            Ok(summary) => {
                overlapping += u64::from(summary.overlapping >= 3);
                acknowledged += summary.acknowledged;
            }
            Err(violation) => {
                broken += 1;
                let what: String = violation.what.chars().take(300).collect();
                println!("seed {seed}, at {} us: {what}", violation.at);
            }
        }
    }
    println!(
        "{count} seeds, {broken} broke a promise; {overlapping} with three faults at once, \
         {acknowledged} writes acknowledged"
    );
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

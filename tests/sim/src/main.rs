//! Runs seeds: see the library.

use std::process::ExitCode;

use forebay_sim::{Plan, World};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    match words[..] {
        [seed] if number(seed).is_some() => one(number(seed).unwrap_or(0)),
        ["--from", from, "--count", count] => match (number(from), number(count)) {
            (Some(from), Some(count)) => many(from, count),
            _ => usage(),
        },
        ["--cost"] => cost(),
        _ => usage(),
    }
}

/// What one engine costs, by how many there are.
fn cost() -> ExitCode {
    for engines in [2, 4, 8, 16, 32, 64] {
        match World::run_plan(Plan::crowd(engines), 1, false) {
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

fn usage() -> ExitCode {
    eprintln!("usage: sim SEED | sim --from SEED --count N | sim --cost");
    ExitCode::from(2)
}

fn one(seed: u64) -> ExitCode {
    println!("{:#?}", Plan::of(seed));
    match World::run(seed, true) {
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

fn many(from: u64, count: u64) -> ExitCode {
    let (mut broken, mut overlapping, mut acknowledged) = (0, 0, 0);
    for seed in from..from.saturating_add(count) {
        let run = World::run(seed, false);
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

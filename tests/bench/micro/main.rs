//! `micro`: what single operations of the core cost on this machine.

use anyhow::{Context, bail};
use forebay_bench::host::{self, HostAllocator};
use forebay_bench::{decision, h2, logs, metrics, table};
use std::process::Command;

#[global_allocator]
static ALLOCATOR: HostAllocator = HostAllocator;

const USAGE: &str =
    "usage: micro table [--entries N] [--pages 4k|2m|both] [--steps N] [--rounds N] [--repeats N]
       micro decision [--steps N] [--rounds N]
       micro hash [--steps N] [--rounds N]
       micro h2 [--rounds N]
       micro logs [--records N] [--folder F]
       micro metrics [--services N] [--slots N] [--folder F]
JSON lines on standard output, the same for people on standard error.";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("table") => run_table(&args),
        Some("decision") => decision::run(steps(&args)?, rounds(&args)?),
        Some("hash") => decision::hash(steps(&args)?, rounds(&args)?),
        Some("h2") => h2::run(rounds(&args)?),
        Some("logs") => {
            let folder = value(&args, "--folder").map_or_else(std::env::temp_dir, Into::into);
            logs::run(number(&args, "--records", 10_000_000)?, &folder)
        }
        Some("metrics") => {
            let folder = value(&args, "--folder").map_or_else(std::env::temp_dir, Into::into);
            let (services, slots) = (number(&args, "--services", 10_000)?, number(&args, "--slots", 70)?);
            metrics::run(services, slots, &folder)
        }
        _ => {
            eprintln!("{USAGE}");
            bail!("no such scene: {}", args.first().map_or("(none)", |a| a))
        }
    }
}

fn run_table(args: &[String]) -> anyhow::Result<()> {
    let plan = table::Plan {
        entries: number(args, "--entries", 1_000_000)?,
        steps: steps(args)?,
        rounds: rounds(args)?,
        repeats: number(args, "--repeats", 3)?.max(1),
    };
    match value(args, "--pages").unwrap_or("both") {
        "4k" => table::run("table 4k", plan),
        "2m" => {
            // The tables, one after the other (nothing is given back), and the memory of the chase.
            let blocks = plan.repeats as usize + 1;
            host::place(plan.entries as usize * 64 * blocks + (64 << 20)).context("memory on 2 MiB pages")?;
            table::run("table 2m", plan)
        }
        // A process each: what one left behind would count for the other.
        "both" => ["4k", "2m"].iter().try_for_each(|pages| {
            let status =
                Command::new(std::env::current_exe()?).args(args).args(["--pages", pages]).status()?;
            if status.success() { Ok(()) } else { bail!("--pages {pages}: {status}") }
        }),
        other => bail!("--pages {other}: give 4k, 2m or both"),
    }
}

fn steps(args: &[String]) -> anyhow::Result<u64> {
    number(args, "--steps", 1_000_000)
}

fn rounds(args: &[String]) -> anyhow::Result<usize> {
    Ok(usize::try_from(number(args, "--rounds", 5)?)?)
}

/// The last value of an option: `both` adds another `--pages` behind the first.
fn value<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    let at = args.iter().rposition(|a| a == name)?;
    args.get(at + 1).map(String::as_str)
}

fn number(args: &[String], name: &str, default: u64) -> anyhow::Result<u64> {
    match value(args, name) {
        None => Ok(default),
        Some(text) => text.replace('_', "").parse().with_context(|| format!("{name} {text}: not a number")),
    }
}

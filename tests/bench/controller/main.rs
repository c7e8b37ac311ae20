//! `controller-figures`: what a real Controller with many services costs, and how soon it answers, while simulated engines
//! hang on it.

mod api;
mod figures;
mod fleet;
mod process;
mod scenes;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

/// Fills a Controller with services by its API, measures, and compares each figure with its bar.
#[derive(Parser)]
#[command(name = "controller-figures")]
pub struct Arguments {
    /// The Controller's program; without it: `forebay-controller` beside this one.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Virtual services, each with ten servers and an address of its own.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    services: u32,
    /// Simulated engines; their number times 1,000 is the most that can have a place.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=64))]
    engines: u32,
    /// Requests and changes of each kind that are measured.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Where the Controller keeps its store; without it: a folder for temporary files.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Leave what the Controllers have written there.
    #[arg(long)]
    keep: bool,
    /// Write the figures as JSON to this file as well; `-`: standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// End with failure if a bar is missed.
    #[arg(long)]
    judge: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("no runtime").and_then(|runtime| runtime.block_on(scenes::run(&arguments)));
    let written = done.and_then(|figures| {
        figures.print();
        if let Some(file) = &arguments.json {
            figures.write(file)?;
        }
        Ok(figures)
    });
    match written {
        Ok(figures) if arguments.judge && figures.misses() > 0 => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("controller-figures: {error:#}");
            ExitCode::from(2)
        }
    }
}

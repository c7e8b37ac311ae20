//! Every developer command. `cargo xtask help` lists them; each stands in its own file under `cmd`.
//!
//! Callers: people at a terminal, and `.ci/run`, which calls `cargo xtask test` and nothing else.
//! Invariant: the tree of dependencies stays small, because everything waits for this program to build.

mod check;
mod cmd;
mod gate;
mod tool;

use std::process::ExitCode;

use clap::Parser;

/// Forebay's developer commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: cmd::Command,
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

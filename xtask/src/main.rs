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

#[cfg(test)]
mod tests {
    #[test]
    fn ci_calls_the_gate_and_nothing_else() {
        let script = include_str!("../../.ci/run");
        let commands: Vec<&str> =
            script.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
        assert_eq!(commands, ["set -eu", "cd \"$(dirname \"$0\")/..\"", "exec cargo xtask test"]);
    }
}

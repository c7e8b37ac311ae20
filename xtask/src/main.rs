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
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_that_the_documents_name_exists() {
        let command = Cli::command();
        let known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        let files = tool::tree::read_all(&tool::tree::root()).expect("the tree can be read");
        let mut seen = 0;
        for file in files.iter().filter(|f| f.is("md")) {
            for (at, _) in file.text.match_indices("cargo xtask ") {
                let word: String =
                    file.text[at + 12..].chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect();
                assert!(
                    known.contains(&word.as_str()) || word == "help",
                    "{}: cargo xtask {word}",
                    file.path
                );
                seen += 1;
            }
        }
        assert!(seen > 10, "the documents name {seen} commands");
        for wanted in ["up", "test", "bench", "wasm", "deps", "fuzz", "fmt"] {
            assert!(known.contains(&wanted), "{wanted} is missing");
        }
    }

    #[test]
    fn ci_calls_the_gate_and_nothing_else() {
        let script = include_str!("../../.ci/run");
        let commands: Vec<&str> =
            script.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
        assert_eq!(commands, ["set -eu", "cd \"$(dirname \"$0\")/..\"", "exec cargo xtask test"]);
    }
}

//! `forebay`: the command line.
//!
//! `forebay up` runs a service engine with demo servers behind it, `forebay demo-server` is one of
//! those servers. Exit codes: 0 done, 1 failed, 2 usage, 6 time-out.

mod args;
mod base64;
mod demo;
mod http;
mod sys;
mod up;

use std::process::ExitCode;
use std::time::Instant;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};

fn main() -> ExitCode {
    let started = Instant::now();
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Up(options) => up::run(&options, cli.output, started),
        Command::DemoServer(options) => demo::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "forebay", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => clap_mangen::Man::new(Cli::command())
            .render(&mut std::io::stdout())
            .map(|()| ExitCode::SUCCESS)
            .map_err(anyhow::Error::from),
    };
    done.unwrap_or_else(|error| {
        eprintln!("forebay: {error:#}");
        ExitCode::from(up::exit_code(&error))
    })
}

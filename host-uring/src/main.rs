//! `forebay-se`: runs a service engine, checks its configuration, and asks a running one.

use std::process::ExitCode;

use clap::Parser;

mod cli;

fn main() -> ExitCode {
    cli::run(cli::args::Args::parse())
}

//! One file per command.

mod acceptance;
mod bench;
mod deps;
mod fmt;
mod fuzz;
mod licences;
mod package;
mod planted;
mod setup;
mod spec;
mod test;
mod tidy;
mod up;
pub mod wasm;

use std::process::ExitCode;

use clap::Subcommand;

use crate::check::Findings;

/// What `cargo xtask` can do.
#[derive(Subcommand)]
pub enum Command {
    /// Build and run Forebay on this machine, with demo servers and some traffic
    Up(up::Up),
    /// End what `up` runs and remove what it has made
    Down(up::Down),
    /// Run everything that gates a change
    Test(test::Test),
    /// Find what this machine lacks, name it, and install it with --install
    Setup(setup::Setup),
    /// Format all Rust files
    Fmt(fmt::Fmt),
    /// Check which crate may depend on which; --graph prints the picture
    Deps(deps::Deps),
    /// Check licences and duplicate versions against deny.toml
    Licences(licences::Licences),
    /// Check file sizes, left-overs, sleeps in tests and the like
    Tidy(tidy::Tidy),
    /// Check that every promise in docs/spec is built and tested
    Spec(spec::Spec),
    /// Check that every test named in docs/acceptance exists
    Acceptance(acceptance::Acceptance),
    /// Plant the faults of tests/planted.toml one by one and demand that each turns its test red
    Planted(planted::Planted),
    /// Check the pure crates for wasm32 and build the core component
    Wasm(wasm::Wasm),
    /// Measure: load against haproxy and nginx, a Controller, or the core's own figures
    Bench(bench::Bench),
    /// Build packages for Debian and Ubuntu
    Package(package::Pack),
    /// Run fuzz targets for a while
    Fuzz(fuzz::Fuzz),
}

impl Command {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Command::Up(c) => c.run(),
            Command::Down(c) => c.run(),
            Command::Test(c) => c.run(),
            Command::Setup(c) => c.run(),
            Command::Fmt(c) => c.run(),
            Command::Deps(c) => c.run(),
            Command::Licences(c) => c.run(),
            Command::Tidy(c) => c.run(),
            Command::Spec(c) => c.run(),
            Command::Acceptance(c) => c.run(),
            Command::Planted(c) => c.run(),
            Command::Wasm(c) => c.run(),
            Command::Bench(c) => c.run(),
            Command::Package(c) => c.run(),
            Command::Fuzz(c) => c.run(),
        }
    }
}

/// Prints what a check found; the exit code says whether it was clean.
fn report(name: &str, findings: &Findings) -> ExitCode {
    findings.print();
    println!("{name}: {findings}");
    if findings.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

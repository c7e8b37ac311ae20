use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::tool::process;

/// Run fuzz targets for a while
///
/// Without a target, all of them in turn. What is found is kept in the target's corpus and replayed by
/// every `cargo xtask test` from then on.
#[derive(Args)]
pub struct Fuzz {
    /// The target, as `cargo test -p forebay-fuzz -- --list` names it
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

impl Fuzz {
    pub fn run(self) -> Result<ExitCode> {
        if self.seconds == 0 {
            bail!("--seconds must be at least 1");
        }
        eprintln!("xtask: building the fuzz targets (a minute the first time), then {} s each", self.seconds);
        let mut command = process::cargo(&["test", "--profile=gate", "--package=forebay-fuzz", "--"]);
        command.args(["--nocapture", "--test-threads=1"]).args(&self.target);
        command.env("BOLERO_RANDOM_TEST_TIME_MS", (self.seconds * 1000).to_string());
        command.env("BOLERO_RANDOM_ITERATIONS", "1000000000000");
        Ok(if process::succeeds(&mut command)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

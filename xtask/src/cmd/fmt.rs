use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::tool::process;

/// Format all Rust files
#[derive(Args)]
pub struct Fmt {
    /// Change nothing, fail if something is not formatted
    #[arg(long)]
    check: bool,
}

impl Fmt {
    pub fn run(self) -> Result<ExitCode> {
        let mut command = process::cargo(&["fmt", "--all"]);
        if self.check {
            command.arg("--check");
        }
        Ok(if process::succeeds(&mut command)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

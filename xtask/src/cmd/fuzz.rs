use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::setup;
use crate::tool::process;

/// Run fuzz targets for a while
///
/// Without a target, all of them in turn. The first time it builds them with coverage counters, about a minute.
/// What `--keep` adds to the corpus is replayed by every `cargo xtask test` from then on.
#[derive(Args)]
pub struct Fuzz {
    /// The target; see --list
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Afterwards add inputs that reach new code to the committed corpus
    #[arg(long)]
    keep: bool,
    /// Name the targets and stop
    #[arg(long)]
    list: bool,
}

impl Fuzz {
    pub fn run(self) -> Result<ExitCode> {
        setup::ensure(if self.list { &["build"] } else { &["fuzz-search"] }, process::in_ci())?;
        let mut launch =
            process::cargo(&["run", "--quiet", "--profile=gate", "--package=forebay-fuzz", "--"]);
        launch.args(&self.target).arg(format!("--seconds={}", self.seconds));
        launch.args(self.keep.then_some("--keep")).args(self.list.then_some("--list"));
        Ok(if process::succeeds(&mut launch)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

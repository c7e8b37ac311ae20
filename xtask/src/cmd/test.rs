use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use super::setup;
use crate::gate::{self, Gate};
use crate::tool::process;

/// Run everything that gates a change
///
/// All stages run even if an early one fails. On two quiet cores this takes about 30 minutes, more from
/// nothing; the last line sums up the tests.
#[derive(Args)]
pub struct Test {
    /// Run in full the tests that the gate runs shortened (those that take over a minute)
    #[arg(long)]
    long: bool,
    /// Install what this machine lacks; implied when CI=true
    #[arg(long)]
    install: bool,
    /// Run this stage only; may be repeated
    #[arg(long, value_name = "STAGE")]
    only: Vec<String>,
    /// List the stages and what each takes
    #[arg(long)]
    list: bool,
    /// Stop at the first stage that fails
    #[arg(long)]
    fail_fast: bool,
}

impl Test {
    pub fn run(self) -> Result<ExitCode> {
        if self.list {
            for stage in gate::stages() {
                println!("{:<11} {} ({})", stage.name, stage.about, stage.takes);
            }
            return Ok(ExitCode::SUCCESS);
        }
        let names = gate::stage_names();
        if let Some(unknown) = self.only.iter().find(|o| !names.contains(&o.as_str())) {
            bail!("no stage is called {unknown}; there are {}", names.join(", "));
        }
        let chosen: Vec<&str> =
            if self.only.is_empty() { names } else { self.only.iter().map(String::as_str).collect() };
        setup::ensure(&chosen, self.install || process::in_ci())?;
        let good = Gate::new(self.long).run(&self.only, self.fail_fast);
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

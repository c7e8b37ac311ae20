use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::check::acceptance;
use crate::gate;
use crate::tool::tree;

/// Check that every test named in docs/acceptance exists
#[derive(Args)]
pub struct Acceptance {
    /// Print the named tests instead
    #[arg(long)]
    tests: bool,
}

impl Acceptance {
    pub fn run(self) -> Result<ExitCode> {
        let files = tree::read_all(&tree::root())?;
        if self.tests {
            acceptance::named_tests(&files).iter().for_each(|name| println!("{name}"));
            return Ok(ExitCode::SUCCESS);
        }
        Ok(super::report("acceptance", &acceptance::check(&files, &gate::stage_names())))
    }
}

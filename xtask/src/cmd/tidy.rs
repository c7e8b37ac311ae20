use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::check::tidy;
use crate::tool::tree;

/// Check file sizes, left-overs, sleeps in tests and the like
#[derive(Args)]
pub struct Tidy {}

impl Tidy {
    pub fn run(self) -> Result<ExitCode> {
        Ok(super::report("tidy", &tidy::check(&tree::read_all(&tree::root())?)))
    }
}

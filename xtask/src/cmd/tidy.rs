use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::check::{links, tidy};
use crate::tool::tree;

/// Check file sizes, left-overs, sleeps in tests and the like
#[derive(Args)]
pub struct Tidy {}

impl Tidy {
    pub fn run(self) -> Result<ExitCode> {
        let files = tree::read_all(&tree::root())?;
        let mut findings = tidy::check(&files);
        findings.join(tidy::check_exceptions(&files));
        findings.join(links::check(&files));
        findings.join(tidy::check_large(&tree::larger_than(&tree::root(), tidy::BYTES_MAX)?));
        Ok(super::report("tidy", &findings))
    }
}

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::check::{Findings, spec};
use crate::tool::tree;

/// Check that every promise in docs/spec is built and tested
#[derive(Args)]
pub struct Spec {
    /// Print every rule with what cites it
    #[arg(long)]
    table: bool,
}

impl Spec {
    pub fn run(self) -> Result<ExitCode> {
        let files = tree::read_all(&tree::root())?;
        if self.table {
            let mut findings = Findings::default();
            for (id, rule) in spec::table(&files, &mut findings) {
                let state = if rule.planned { " (planned)" } else { "" };
                println!("{id}{state}  {}", rule.place);
                rule.code.iter().for_each(|place| println!("    code {place}"));
                rule.tests.iter().for_each(|place| println!("    test {place}"));
            }
        }
        Ok(super::report("spec", &spec::check(&files)))
    }
}

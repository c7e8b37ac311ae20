use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::check::{arrows, manifests, seams};
use crate::tool::tree;
use crate::tool::workspace::Workspace;

/// Check which crate may depend on which; --graph prints the picture
#[derive(Args)]
pub struct Deps {
    /// Print who depends on whom instead of checking
    #[arg(long)]
    graph: bool,
}

impl Deps {
    pub fn run(self) -> Result<ExitCode> {
        let workspace = Workspace::load()?;
        if self.graph {
            print!("{}", arrows::graph(&workspace));
            return Ok(ExitCode::SUCCESS);
        }
        let files = tree::read_all(&tree::root())?;
        let mut findings = arrows::check(&workspace);
        findings.join(arrows::unused(&workspace));
        findings.join(manifests::check(&workspace, &files));
        findings.join(seams::check(&files));
        Ok(super::report("deps", &findings))
    }
}

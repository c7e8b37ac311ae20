use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::check::licences::{self, Lists};
use crate::tool::tree;
use crate::tool::workspace::Workspace;

/// Check licences and duplicate versions against deny.toml
#[derive(Args)]
pub struct Licences {}

impl Licences {
    pub fn run(self) -> Result<ExitCode> {
        let text = fs::read_to_string(tree::root().join("deny.toml")).context("reading deny.toml")?;
        let apart = Workspace::load_all_apart(&tree::read_all(&tree::root())?)?;
        Ok(super::report("licences", &licences::check(&Workspace::load()?, &apart, &Lists::read(&text)?)))
    }
}

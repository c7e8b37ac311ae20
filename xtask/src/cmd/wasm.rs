use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use clap::Args;

use super::setup::{self, WASM_SCRIPT};
use crate::check::arrows::PURE;
use crate::gate::report::Outcome;
use crate::tool::workspace::Workspace;
use crate::tool::{process, tree};

/// Check the pure crates for wasm32 and build the core component
#[derive(Args)]
pub struct Wasm {}

impl Wasm {
    pub fn run(self) -> Result<ExitCode> {
        setup::ensure(&["wasm"], process::in_ci())?;
        let outcome = gate(&Workspace::load()?)?;
        Ok(if outcome.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The stage: every pure crate compiles for a target without an operating system.
///
/// # Errors
/// The target cannot be made usable.
pub fn gate(workspace: &Workspace) -> Result<Outcome> {
    let cargo = cargo_wasm()?;
    let mut outcome = Outcome::default();
    let mut crates = 0;
    for package in workspace.members.iter().filter(|m| PURE.contains(&m.folder.as_str())) {
        let mut check = Command::new(&cargo);
        check.args(["check", "--profile=gate", "--package", &package.name]);
        check.current_dir(tree::root()).env("CARGO_TARGET_DIR", workspace.target.join("wasm"));
        crates += 1;
        if !process::succeeds(&mut check)? {
            outcome.problems += 1;
            outcome.red.push(format!("{} does not compile for wasm32-unknown-unknown", package.name));
        }
    }
    outcome.looked_at = Some((crates, "pure crates"));
    Ok(outcome)
}

/// A cargo whose target is wasm32, from the script that knows both ways to get it.
fn cargo_wasm() -> Result<PathBuf> {
    let line = process::output(Command::new("sh").arg(WASM_SCRIPT).current_dir(tree::root()))?;
    let path = Path::new(line.trim());
    if !path.is_file() {
        bail!("{WASM_SCRIPT} names {}, which is no file", path.display());
    }
    Ok(path.to_path_buf())
}

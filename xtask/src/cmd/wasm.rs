use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use clap::Args;

use super::setup::{self, WASM_SCRIPT};
use crate::check::arrows::PURE;
use crate::gate::report::Outcome;
use crate::tool::workspace::Workspace;
use crate::tool::{process, tree};

/// Check the pure crates for wasm32, rebuild the core component and its manifest
#[derive(Args)]
pub struct Wasm {
    /// Change nothing: fail if the prebuilt component is not what the sources say
    #[arg(long)]
    check: bool,
}

impl Wasm {
    pub fn run(self) -> Result<ExitCode> {
        setup::ensure(&["wasm"], process::in_ci())?;
        let workspace = Workspace::load()?;
        if !self.check {
            componentize(&cargo_wasm()?, "build")?;
        }
        let outcome = gate(&workspace)?;
        Ok(if outcome.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The stage: every pure crate compiles for a target without an operating system, and the prebuilt core
/// component is what the sources say.
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
    if !componentize(&cargo, "check")? {
        outcome.problems += 1;
        outcome.red.push("the prebuilt core component is not current: run `cargo xtask wasm`".to_owned());
    }
    outcome.looked_at = Some((crates, "pure crates"));
    Ok(outcome)
}

/// Builds or checks the core component. A program of its own, so that `xtask` builds without its dependencies.
fn componentize(cargo_wasm: &Path, what: &str) -> Result<bool> {
    let mut run =
        process::cargo(&["run", "--quiet", "--profile=gate", "--package", "forebay-componentize", "--"]);
    process::succeeds(run.arg(what).arg(cargo_wasm).current_dir(tree::root()))
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

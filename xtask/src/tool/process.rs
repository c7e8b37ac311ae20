//! Running programs: said before, checked after.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::tree;

/// Cargo of the pinned toolchain, at the workspace's root, never waiting for a person.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(tree::root()).stdin(Stdio::null());
    command
}

/// The command line as a person would type it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}

/// Runs with our own output; says whether it ended well.
pub fn succeeds(command: &mut Command) -> Result<bool> {
    let status = command.status().with_context(|| format!("starting `{}`", shown(command)))?;
    Ok(status.success())
}

/// Runs with our own output.
///
/// # Errors
/// The program is missing or ended badly.
pub fn run(command: &mut Command) -> Result<()> {
    if !succeeds(command)? {
        bail!("`{}` failed, see above", shown(command));
    }
    Ok(())
}

/// Runs and returns what it wrote to standard output; its errors go to ours.
///
/// # Errors
/// The program is missing or ended badly.
pub fn output(command: &mut Command) -> Result<String> {
    let out = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("starting `{}`", shown(command)))?;
    if !out.status.success() {
        bail!("`{}` failed, see above", shown(command));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Finds a program on PATH or where Debian keeps daemons, which a plain user's PATH leaves out.
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(Into::into))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// True in CI, where nobody answers and everything may be installed.
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|v| !v.is_empty() && v != "false" && v != "0")
}

//! Installing Debian packages without leaving a daemon behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::process;

/// Debian asks this file before it starts a freshly installed service; 101 means no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Packages that bring a service of the same name.
const SERVICES: &[&str] = &["haproxy", "nginx"];

/// The command line that [`install`] runs, for people.
pub fn shown(packages: &[&str]) -> String {
    let sudo = if is_root() { "" } else { "sudo " };
    format!("{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {}", packages.join(" "))
}

/// Installs the packages as root or through sudo. Services among them (haproxy, nginx) are not started: the
/// tests start their own, on ports of their own.
///
/// # Errors
/// There is no apt-get, no right to use it, or it failed.
pub fn install(packages: &[&str]) -> Result<()> {
    if process::find("apt-get").is_none() {
        bail!("this is not Debian or Ubuntu: install what these packages hold: {}", packages.join(" "));
    }
    if !is_root() && process::find("sudo").is_none() {
        bail!("installing needs root or sudo; as root: {}", shown(packages));
    }
    let _no_daemons = NoDaemons::begin()?;
    println!("xtask: apt-get update, then installing {} packages (about a minute)", packages.len());
    process::run(root(&["apt-get", "-qq", "update"]).env("DEBIAN_FRONTEND", "noninteractive"))?;
    let mut install = root(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "install", "-y"]);
    install.arg("--no-install-recommends").args(packages);
    process::run(&mut install)?;
    // Nor at the next start of the machine: the tests want programs, not services.
    let services: Vec<&str> = packages.iter().copied().filter(|p| SERVICES.contains(p)).collect();
    if !services.is_empty() && process::find("systemctl").is_some() {
        process::run(root(&["systemctl", "--quiet", "disable"]).args(&services))?;
    }
    Ok(())
}

/// While this lives, installing a package starts no service.
struct NoDaemons {
    ours: bool,
}

impl NoDaemons {
    fn begin() -> Result<Self> {
        if Path::new(POLICY).exists() {
            // The machine's owner has a policy; it stays.
            return Ok(NoDaemons { ours: false });
        }
        let draft = std::env::temp_dir().join(format!("forebay-policy-{}", std::process::id()));
        fs::write(&draft, "#!/bin/sh\nexit 101\n").context("writing a policy for services")?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755))?;
        let copied = process::run(root(&["install", "-m", "755"]).arg(&draft).arg(POLICY));
        fs::remove_file(&draft).ok();
        copied?;
        Ok(NoDaemons { ours: true })
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        if self.ours && process::run(&mut root(&["rm", "-f", POLICY])).is_err() {
            eprintln!("xtask: {POLICY} is left over, remove it by hand");
        }
    }
}

/// A command with root's rights.
fn root(words: &[&str]) -> Command {
    let mut command = if is_root() { Command::new(words[0]) } else { Command::new("sudo") };
    command.args(if is_root() { &words[1..] } else { words });
    command.stdin(std::process::Stdio::null());
    command
}

fn is_root() -> bool {
    // The owner of a fresh process's own folder in /proc is its effective user.
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

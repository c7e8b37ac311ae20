//! Packages for Debian and Ubuntu.

mod contents;
mod deb;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::tool::workspace::Workspace;
use crate::tool::{process, tree};
use contents::{Content, PACKAGES, Package};
use deb::Staged;

/// Build packages for Debian and Ubuntu: forebay-se, forebay-controller, forebay
///
/// The programs are built as they are shipped (profile dist, some ten minutes the first time). Each package has its
/// manual pages and completions, the servers' have systemd units and users of their own; nothing is started by
/// installing. The same commit gives the same bytes.
#[derive(Args)]
pub struct Pack {
    /// Where the packages are put; made if it is not there
    #[arg(long, value_name = "FOLDER", default_value = "target/packages")]
    out: PathBuf,
    /// Take the programs from this folder, and build nothing
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
    /// Do not compress: for tests
    #[arg(long)]
    plain: bool,
    /// Another version than the workspace's: for tests of upgrades
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
}

impl Pack {
    pub fn run(self) -> Result<ExitCode> {
        let programs = match &self.from {
            Some(folder) => folder.clone(),
            None => build()?,
        };
        let version = match self.version {
            Some(version) => version,
            None => version()?,
        };
        std::fs::create_dir_all(&self.out).with_context(|| format!("making {}", self.out.display()))?;
        for package in PACKAGES {
            let file = make(package, &programs, &self.out, &version, self.plain)
                .with_context(|| format!("the package {}", package.name))?;
            println!("{}", file.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Builds the programs as they are shipped, and says where they are.
fn build() -> Result<PathBuf> {
    let mut command = process::cargo(&["build", "--profile=dist", "--bins"]);
    command.args(PACKAGES.iter().map(|package| format!("--package={}", package.built_by)));
    process::run(&mut command)?;
    Ok(Workspace::load()?.target.join("dist"))
}

fn version() -> Result<String> {
    let workspace = Workspace::load()?;
    let own = workspace.members.iter().find(|member| member.folder == "cli");
    Ok(own.context("the workspace has no cli")?.version.clone())
}

/// Debian's name of this machine's architecture.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no packages are made for {other}: build on x86_64 or aarch64"),
    }
}

//= PACK-INSTALL-01
//= PACK-SAME-01
/// Puts a package together.
fn make(package: &Package, programs: &Path, out: &Path, version: &str, is_plain: bool) -> Result<PathBuf> {
    let program = programs.join(package.name);
    if !program.is_file() {
        bail!("{} is not there: build it first, or leave out --from", program.display());
    }
    // Beside the outcome: on the same disk, and in nobody's way.
    let folder = out.join(format!(".{}-{}", package.name, std::process::id()));
    let mut staged = Staged::new(folder)?;
    staged.program(&program, package.name)?;
    for (content, at, mode) in package.files {
        let bytes = match content {
            Content::File(path) => {
                std::fs::read(tree::root().join(path)).with_context(|| (*path).to_owned())?
            }
            Content::Said(arguments) => {
                let said = process::output(std::process::Command::new(&program).args(*arguments))?;
                if said.trim().is_empty() {
                    bail!("`{} {}` says nothing", package.name, arguments.join(" "));
                }
                said.into_bytes()
            }
        };
        staged.file(at, *mode, &bytes)?;
    }
    staged.pages(&program, package.pages)?;
    staged.document(package.name, "copyright", contents::COPYRIGHT.as_bytes(), false)?;
    let history = format!(
        "{} ({version}) unstable; urgency=medium\n\n  * Built from the repository, whose history says what has changed.\n\n \
         -- {}  {}\n",
        package.name,
        contents::MAINTAINER,
        deb::day()?
    );
    staged.document(package.name, "changelog", history.as_bytes(), true)?;
    for script in package.scripts {
        let from = tree::root().join("packaging").join(package.name).join(script);
        let text = std::fs::read(&from).with_context(|| from.display().to_string())?;
        staged.control(script, 0o755, &text)?;
    }
    staged.conffiles(package.settings)?;
    let needs = [deb::libraries(&program)?, package.needs.to_owned()];
    let needs: Vec<&str> = needs.iter().map(String::as_str).filter(|need| !need.is_empty()).collect();
    staged.describe(&format!(
        "Package: {}\nVersion: {version}\nArchitecture: {}\nMaintainer: {}\nSection: net\nPriority: optional\n\
         Depends: {}\nDescription: {}\n",
        package.name,
        architecture()?,
        contents::MAINTAINER,
        needs.join(", "),
        package.description,
    ))?;
    let file = out.join(format!("{}_{version}_{}.deb", package.name, architecture()?));
    staged.pack(&file, is_plain)?;
    Ok(file)
}

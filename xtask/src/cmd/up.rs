use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use super::setup;
use crate::tool::process;
use crate::tool::tree;
use crate::tool::workspace::Workspace;

/// Build and run Forebay on this machine, with demo servers and some traffic
///
/// `--install` installs what this machine lacks. Everything else after `up` goes to `forebay up`: try `cargo xtask up --help`, `--once`, or
/// `--server 127.0.0.1:9000` for servers of your own.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct Up {
    /// Arguments for `forebay up`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<String>,
}

/// End what `up` runs and remove what it has made
///
/// Everything after `down` goes to `forebay down`: try `cargo xtask down --help`.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct Down {
    /// Arguments for `forebay down`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<String>,
}

impl Down {
    pub fn run(self) -> Result<ExitCode> {
        let program = Workspace::load()?.target.join("gate").join("forebay");
        // Nothing is built for it: what is not built has run nothing.
        anyhow::ensure!(
            program.exists(),
            "{} is not built, so `cargo xtask up` has run nothing from here",
            tree::shown(&program)
        );
        let error = Command::new(&program).arg("down").args(self.args).exec();
        Err(error).with_context(|| format!("starting {}", tree::shown(&program)))
    }
}

/// What is run, and nothing else; cargo shows its progress.
const BUILD: &[&str] = &[
    "build",
    "--profile=gate",
    "--package=forebay",
    "--package=forebay-host-uring",
    "--package=forebay-controller",
    "--bins",
];

/// What a first build takes on two quiet cores; measured, see `docs/performance.md`, "The gate".
const FIRST_BUILD_MINUTES: u32 = 3;

impl Up {
    pub fn run(self) -> Result<ExitCode> {
        let (install, args) = split(self.args);
        setup::ensure(&["up"], install || process::in_ci())?;
        // The gate's profile: what `test` built is used again, and the first build does not wait for
        // link-time optimisation. Measure with `cargo xtask bench`, which builds what is shipped.
        let folder = Workspace::load()?.target.join("gate");
        let program = folder.join("forebay");
        eprintln!("{}", words_before_build(program.exists()));
        process::run(&mut process::cargo(BUILD))?;
        let mut up = Command::new(&program);
        up.arg("up").args(args);
        let error = up.exec();
        Err(error).with_context(|| format!("starting {}", tree::shown(&program)))
    }
}

/// What a person is told who may have to wait. Whether something changed since the last build, cargo alone knows, so it is
/// said each time.
fn words_before_build(built_before: bool) -> String {
    let minutes = FIRST_BUILD_MINUTES;
    let takes = if built_before {
        format!("seconds if nothing changed, up to about {minutes} minutes on two cores if much did")
    } else {
        format!("about {minutes} minutes on two cores the first time, seconds later")
    };
    format!("xtask: building forebay, forebay-se and forebay-controller: {takes}")
}

/// Whether to install what is missing, and what the program gets; after `--` everything is the program's.
fn split(args: Vec<String>) -> (bool, Vec<String>) {
    let ours = args.iter().position(|a| a == "--").unwrap_or(args.len());
    let (mut install, mut rest) = (false, Vec::new());
    for (number, arg) in args.into_iter().enumerate() {
        if number < ours && arg == "--install" {
            install = true;
        } else {
            rest.push(arg);
        }
    }
    (install, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn install_is_for_us_and_the_rest_for_the_program() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(split(words("--once --install --port 1")), (true, words("--once --port 1")));
        assert_eq!(split(words("--once -- --install")), (false, words("--once -- --install")));
    }

    #[test]
    fn up_builds_only_what_it_runs_and_says_how_long() {
        let text =
            process::output(&mut process::cargo(&["metadata", "--format-version=1", "--no-deps"])).unwrap();
        let metadata: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut programs: Vec<&str> = Vec::new();
        for package in metadata["packages"].as_array().unwrap() {
            if !BUILD.contains(&format!("--package={}", package["name"].as_str().unwrap()).as_str()) {
                continue;
            }
            let targets = package["targets"].as_array().unwrap();
            let bins = targets.iter().filter(|t| t["kind"][0] == "bin");
            programs.extend(bins.map(|t| t["name"].as_str().unwrap()));
        }
        programs.sort_unstable();
        assert_eq!(programs, ["forebay", "forebay-controller", "forebay-se"], "what is built is what is run");
        assert!(!BUILD.contains(&"--workspace") && !BUILD.contains(&"--quiet"));

        for built_before in [false, true] {
            let said = words_before_build(built_before);
            assert!(programs.iter().all(|p| said.contains(p)), "what is built: {said}");
            assert!(said.contains(&format!("about {FIRST_BUILD_MINUTES} minutes on two cores")), "{said}");
            assert!(said.contains("seconds"), "and what a later one takes: {said}");
        }
        let readme = std::fs::read_to_string(tree::root().join("README.md")).unwrap();
        let promised = format!("about {FIRST_BUILD_MINUTES} minutes on two cores");
        assert!(readme.contains(&promised), "the README says the same: {promised}");
    }
}

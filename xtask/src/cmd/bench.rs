use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::setup;
use crate::tool::workspace::Workspace;
use crate::tool::{process, tree};

/// Measure: load against haproxy and nginx, engines that share tables against haproxy, a Controller, or the core's own figures
///
/// `load` builds forebay-se as it is shipped (profile dist, about 5 minutes the first time), then runs it
/// and Debian's haproxy and nginx in turn on one core each: needs root, an otherwise idle machine, and
/// about five minutes, or one with `--quick`. `objsync` measures how soon engines know of one another's entries, and what
/// that costs, beside haproxy's peers, in about twenty minutes, or one with `--quick`. `micro` measures the table, the
/// decisions, and (`micro -- logs`) the store of request logs. `controller` fills a Controller with 10,000 services of ten
/// servers by its API, hangs 64 simulated engines on it and compares what it takes with the bars: some ten minutes, or
/// one with `-- --services 500`. What follows `--` goes to the program that measures.
#[derive(Args)]
pub struct Bench {
    /// What to measure
    #[arg(value_enum, default_value = "load")]
    what: What,
    /// Arguments for the program that measures
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Load,
    Objsync,
    Controller,
    Micro,
}

/// The harnesses, each kept by the folder that owns it.
const LOAD: &str = "tests/bench/load/run.py";
const OBJSYNC: &str = "tests/bench/objsync/run.py";

impl Bench {
    pub fn run(self) -> Result<ExitCode> {
        let good = match self.what {
            What::Load => self.harness(LOAD)?,
            What::Objsync => self.harness(OBJSYNC)?,
            What::Controller => {
                eprintln!(
                    "xtask: building forebay-controller as it is shipped (profile dist, about 5 minutes once)"
                );
                process::run(&mut process::cargo(&[
                    "build",
                    "--profile=dist",
                    "--package=forebay-controller",
                    "--bins",
                ]))?;
                self.program("controller-figures")?
            }
            What::Micro => self.program("micro")?,
        };
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Runs a program of ours that measures.
    fn program(&self, name: &str) -> Result<bool> {
        eprintln!("xtask: building {name} as it is shipped (profile dist, about a minute once)");
        let bin = format!("--bin={name}");
        let mut run = process::cargo(&["run", "--profile=dist", "--package=forebay-bench", &bin, "--"]);
        process::succeeds(run.args(&self.args))
    }

    /// Runs a program that measures engines as they are shipped.
    fn harness(&self, script: &str) -> Result<bool> {
        setup::ensure(&["bench"], process::in_ci())?;
        if !tree::root().join(script).is_file() {
            bail!("there is no {script}");
        }
        eprintln!("xtask: building forebay-se as it is shipped (profile dist, about 5 minutes once)");
        process::run(&mut process::cargo(&[
            "build",
            "--profile=dist",
            "--package=forebay-host-uring",
            "--bins",
        ]))?;
        let program = Workspace::load()?.target.join("dist").join("forebay-se");
        let mut harness = Command::new("python3");
        harness.arg(script).args(&self.args).env("PERF_BIN_FOREBAY", program);
        process::succeeds(harness.current_dir(tree::root()))
    }
}

#[cfg(test)]
mod tests {
    use crate::tool::tree;

    /// What others call them with, and what their own peers say of themselves.
    const OBJSYNC_OPTIONS: &[&str] = &[
        "--quick",
        "--systems",
        "--scenes",
        "--rates",
        "--sizes",
        "--rounds",
        "--secs",
        "--entries",
        "--json",
    ];
    const OPTIONS: &[&str] = &[
        "--quick",
        "--peers",
        "--base",
        "--scenes",
        "--rounds",
        "--secs",
        "--idle",
        "--proxy-core",
        "--gen-core",
        "--json",
        "--budget",
        "--more",
        "--also",
        "--judge",
    ];
    const PEERS: &[&str] = &["forebay", "haproxy", "haproxy-full", "nginx"];
    /// Programs without a configuration, which somebody else builds.
    const GIVEN: &[&str] = &["floor-monoio", "floor-raw"];

    #[test]
    fn the_harness_keeps_its_options_and_every_peer_its_form() {
        let bench = tree::root().join("tests/bench");
        let text = std::fs::read_to_string(bench.join("load/run.py")).unwrap();
        for option in OPTIONS {
            assert!(text.contains(&format!("add_argument(\"{option}\"")), "{option} is gone");
        }
        let text = std::fs::read_to_string(bench.join("objsync/run.py")).unwrap();
        for option in OBJSYNC_OPTIONS {
            assert!(text.contains(&format!("add_argument(\"{option}\"")), "{option} is gone");
        }
        for peer in PEERS.iter().chain(GIVEN) {
            let is_given = GIVEN.contains(peer);
            let text = std::fs::read_to_string(bench.join("peers").join(peer).join("peer.json")).unwrap();
            let peer: serde_json::Value = serde_json::from_str(&text).unwrap();
            let commands = peer["cmds"].as_array().expect("a list of commands");
            assert!(commands[0].as_str().unwrap().starts_with("{bin}"), "{peer}");
            assert!(peer["bin"].is_string() && peer["conf"].is_string() != is_given, "{peer}");
            assert!(peer["has"].as_array().unwrap().contains(&"h1".into()), "{peer}");
        }
    }
}

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::setup;
use crate::tool::workspace::Workspace;
use crate::tool::{process, tree};

/// Measure: load against haproxy and nginx, or the core's own figures
///
/// `load` builds forebay-se as it is shipped (profile dist, about 5 minutes the first time), then runs it
/// and Debian's haproxy and nginx in turn on one core each: needs root, an otherwise idle machine, and
/// about five minutes, or one with `--quick`. `micro` measures the table and the decisions. What follows `--` goes to
/// the program that measures.
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
    Micro,
}

/// The load harness, kept by the folder that owns it.
const HARNESS: &str = "tests/bench/load/run.py";

impl Bench {
    pub fn run(self) -> Result<ExitCode> {
        let good = match self.what {
            What::Load => {
                setup::ensure(&["bench"], process::in_ci())?;
                if !tree::root().join(HARNESS).is_file() {
                    bail!("there is no {HARNESS}");
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
                harness.arg(HARNESS).args(&self.args).env("PERF_BIN_FOREBAY", program);
                process::succeeds(harness.current_dir(tree::root()))?
            }
            What::Micro => {
                eprintln!(
                    "xtask: building the figures program as shipped (profile dist, about a minute once)"
                );
                let mut run = process::cargo(&[
                    "run",
                    "--profile=dist",
                    "--package=forebay-bench",
                    "--bin=micro",
                    "--",
                ]);
                process::succeeds(run.args(&self.args))?
            }
        };
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

#[cfg(test)]
mod tests {
    use crate::tool::tree;

    /// What others call it with, and what their own peers say of themselves.
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

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
/// Everything after `up` goes to `forebay up`: try `cargo xtask up --help`, `--once`, or
/// `--server 127.0.0.1:9000` for servers of your own.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct Up {
    /// Arguments for `forebay up`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<String>,
}

impl Up {
    pub fn run(self) -> Result<ExitCode> {
        setup::ensure(&["up"], process::in_ci())?;
        // The gate's profile: what `test` built is used again, and the first build does not wait for
        // link-time optimisation. Measure with `cargo xtask bench`, which builds what is shipped.
        let folder = Workspace::load()?.target.join("gate");
        let program = folder.join("forebay");
        if !program.exists() {
            eprintln!(
                "xtask: building forebay and forebay-se: about 2 minutes on two cores the first time, \
                 seconds later"
            );
        }
        process::run(&mut process::cargo(&[
            "build",
            "--profile=gate",
            "--package=forebay",
            "--package=forebay-host-uring",
            "--bins",
        ]))?;
        let mut up = Command::new(&program);
        up.arg("up").args(&self.args);
        let error = up.exec();
        Err(error).with_context(|| format!("starting {}", tree::shown(&program)))
    }
}

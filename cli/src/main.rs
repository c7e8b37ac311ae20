//! `forebay`: the command line.
//!
//! `forebay up` runs a service engine with demo servers behind it, `forebay demo-server` is one of
//! those servers. The other commands speak to a Controller, by its API and nothing else.
//! Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict, 5 no permission, 6 time-out, 7 unreachable,
//! 8 there are differences.

mod api;
mod args;
mod base64;
mod demo;
mod enter;
mod http;
mod objects;
mod shell;
mod sys;
mod up;

use std::process::ExitCode;
use std::time::Instant;

use api::Failure;
use args::{Cli, Command, Common, Output, Typed};
use objects::{cluster, engines, logs, many, scale, show, verbs};

fn main() -> ExitCode {
    let started = Instant::now();
    let done = match args::typed() {
        Typed::Objects(common, kind, asked) => {
            verbs::run(&mut || enter::session(&common), kind, &asked, common.output)
                .map_err(anyhow::Error::from)
        }
        Typed::Cluster(common, asked) => {
            with(&common, |api| cluster::run(api, &asked, common.output).map(|()| ExitCode::SUCCESS))
                .map_err(anyhow::Error::from)
        }
        Typed::Engines(common, asked) => {
            with(&common, |api| engines::run(api, &asked, common.output).map(|()| ExitCode::SUCCESS))
                .map_err(anyhow::Error::from)
        }
        Typed::Command(cli) => command(*cli, started),
    };
    done.unwrap_or_else(|error| {
        // What a Controller says of an object has the object's name in it, and anybody may have made that.
        eprintln!("forebay: {}", show::printable(&format!("{error:#}")));
        //= CLI-ERROR-01
        let code = error.downcast_ref::<Failure>().map_or_else(|| up::exit_code(&error), Failure::code);
        ExitCode::from(code)
    })
}

fn command(cli: Cli, started: Instant) -> anyhow::Result<ExitCode> {
    let common = Common { output: cli.output, controller: cli.controller, tenant: cli.tenant };
    let output = common.output;
    match cli.command {
        Command::Up(options) => match output {
            Output::Text | Output::Json => up::run(&options, output, started),
            _ => Err(api::usage("forebay up prints text or json").into()),
        },
        Command::Down(options) => match output {
            Output::Text | Output::Json => up::down(&options, output),
            _ => Err(api::usage("forebay down prints text or json").into()),
        },
        Command::DemoServer(options) => demo::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Login(options) => Ok(enter::login(&options)?),
        Command::Logout => Ok(enter::logout(&common)?),
        Command::Apply { files, dry_run, wait } => {
            Ok(with(&common, |api| many::apply(api, &files, dry_run, wait))?)
        }
        Command::Diff { files } => Ok(with(&common, |api| many::diff(api, &files))?),
        Command::Export { kinds, all } => Ok(with(&common, |api| many::export(api, &kinds, all, output))?),
        Command::Scaleout(asked) => scaled(&common, "scaleout", &asked),
        Command::Scalein(asked) => scaled(&common, "scalein", &asked),
        Command::Migrate(asked) => scaled(&common, "migrate", &asked),
        Command::Switchover(asked) => scaled(&common, "switchover", &asked),
        Command::Logs(asked) => {
            Ok(with(&common, |api| logs::run(api, &asked, output).map(|()| ExitCode::SUCCESS))?)
        }
        Command::Shell => Ok(with(&common, shell::run)?),
        Command::Kinds => {
            verbs::print(&kinds());
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut args::command(), "forebay", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => {
            clap_mangen::Man::new(args::command()).render(&mut std::io::stdout())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn scaled(common: &Common, action: &str, asked: &args::Scale) -> anyhow::Result<ExitCode> {
    Ok(with(common, |api| scale::run(api, action, asked).map(|()| ExitCode::SUCCESS))?)
}

/// Does something within a session.
fn with(
    common: &Common,
    done: impl FnOnce(&mut api::Api) -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    let mut api = enter::session(common)?;
    let done = done(&mut api);
    api.close();
    done
}

fn kinds() -> String {
    let mut rows = vec![["KIND", "SHORT", "NAME"].map(str::to_owned).to_vec()];
    for kind in forebay_model::kinds() {
        let short = objects::kinds::alias(kind).unwrap_or_default();
        rows.push([kind.path, short, kind.name].map(str::to_owned).to_vec());
    }
    show::columns(&rows)
}

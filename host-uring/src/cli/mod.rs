//! The commands.

pub mod args;
mod ask;
mod certificate;
mod distribute;
mod inline;
mod led;
mod objsync;
mod paths;
mod pki;
mod show;
mod table;
mod top;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use args::{Args, Command, Decision, Output};
use clap::CommandFactory;
use forebay_host_uring::control::admin::Request;
use forebay_host_uring::control::answers::Filter;
use forebay_host_uring::control::explain::Question;
use forebay_host_uring::control::overrides::Want;
use forebay_host_uring::control::{self, Source, Start};
use forebay_snapshot::engine::{LogLevel, ProcessFormat, ProcessLog};
use forebay_snapshot::{Problem, Snapshot};
use serde_json::json;

/// Exit codes, as in the help.
pub mod exit {
    /// It could not be done.
    pub const FAILED: u8 = 1;
    /// The command makes no sense.
    pub const USAGE: u8 = 2;
    /// What it names does not exist.
    pub const NOT_FOUND: u8 = 3;
    /// It is not allowed.
    pub const NO_PERMISSION: u8 = 5;
    /// No answer in time.
    pub const TIME_OUT: u8 = 6;
    /// No engine is there.
    pub const UNREACHABLE: u8 = 7;
}

/// Runs one command.
//= OBS-CLI-01
pub fn run(args: Args) -> ExitCode {
    let result = match args.command {
        Command::Run { config, led, take_over, allow_faults, objsync_protocol_max } => {
            let start = Start { take_over, allow_faults, objsync_protocol_max, ..Start::default() };
            return led::run(config.as_deref(), led, start);
        }
        Command::Check { config, output } => return check(&config, output),
        Command::Status(ask) => ask::show(&ask, &Request::Status {}, show::status),
        Command::Servers { pool, ask } => ask::show(&ask, &Request::Servers { pool }, show::servers),
        Command::Top { interval_s, ask } => top::run(&ask, interval_s),
        Command::Persistence { client, cookie, server, pool, limit, ask } => {
            let filter = Filter { client, cookie, server, pool, limit: Some(limit), ..Filter::default() };
            ask::show(&ask, &Request::Persistence(filter), show::persistence)
        }
        Command::Explain { url, service, method, headers, client, ask } => {
            let question =
                Question { virtual_service: service, method, url, headers, client, client_port: 0 };
            ask::show(&ask, &Request::Explain(question), show::explain)
        }
        Command::Show { what, filter, limit, ask } => objsync::show(what, filter, limit, &ask),
        Command::Objsync(args::Objsync::Verify(ask)) => match objsync::verify(&ask) {
            Ok(code) => return code,
            Err(failure) => Err(failure),
        },
        Command::Distribute { group, engines, password_file } => {
            distribute::run(&group, &engines, password_file.as_deref())
        }
        Command::Reload(ask) => ask::show(&ask, &Request::Reload {}, show::reload),
        Command::Upgrade(ask) => ask::show(&ask, &Request::Upgrade {}, show::upgraded),
        Command::Drain(decision) => decide(decision, Want::Drain),
        Command::Enable(decision) => decide(decision, Want::Enable),
        Command::Disable(decision) => decide(decision, Want::Disable),
        Command::Fault { worker, stall_ms, ask } => {
            ask::show(&ask, &Request::Fault { worker, stall_ms }, |_| "the fault is planted\n".to_owned())
        }
        Command::Certificate { name, chain, key } => certificate::write(&name, &chain, &key),
        Command::Pki(what) => pki::run(what),
        Command::Completions { shell } => completions(shell),
        Command::Man { folder } => man(folder.as_deref()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

fn decide(decision: Decision, want: Want) -> Result<(), Failure> {
    let Decision { server, reset, ask } = decision;
    let want = if reset { Want::Reset } else { want };
    ask::show(&ask, &Request::Server { server, want }, show::decided)
}

/// Why a command failed.
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub fix: String,
}

impl Failure {
    /// A failure.
    pub fn new(code: u8, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), fix: fix.into() }
    }

    fn tell(self) -> ExitCode {
        eprintln!("forebay-se: {}", self.reason);
        if !self.fix.is_empty() {
            eprintln!("  {}", self.fix);
        }
        ExitCode::from(self.code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(exit::FAILED, error.to_string(), "")
    }
}

/// Reads a file; tells what keeps it from being read.
fn read(config: &Path) -> Result<String, ExitCode> {
    std::fs::read_to_string(config).map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::NotFound => exit::NOT_FOUND,
            io::ErrorKind::PermissionDenied => exit::NO_PERMISSION,
            _ => exit::FAILED,
        };
        let fix = match error.kind() {
            io::ErrorKind::InvalidData => "save it as UTF-8: what was found is no text in that form",
            _ => "name the configuration with --config; an example is in docs/examples/se.toml",
        };
        Failure::new(code, format!("{}: {error}", config.display()), fix).tell()
    })
}

/// All problems of a configuration, those of its own place among them.
fn judged(config: &Path, text: &str) -> Result<Snapshot, Vec<Problem>> {
    judge(config, text).map_err(|(problems, files)| [problems, files].concat())
}

/// The same: what is wrong with the document, else what is wrong with the files that it names.
fn judge(config: &Path, text: &str) -> Result<Snapshot, (Vec<Problem>, Vec<Problem>)> {
    let mut snapshot = forebay_snapshot::check(text).map_err(|problems| (problems, Vec::new()))?;
    inline::lay_out(config, &mut snapshot);
    let mut problems = paths::on_itself(config, text, &snapshot);
    problems.extend(paths::unfit_files(config, text, &snapshot));
    problems.extend(paths::no_certificates(config, text, &snapshot));
    problems.extend(paths::no_suites(config, text, &snapshot));
    problems.extend(paths::no_authorities(config, text, &snapshot));
    problems.extend(paths::no_pki(config, text, &snapshot));
    problems.extend(paths::no_members(config, text, &snapshot));
    if problems.is_empty() { Ok(snapshot) } else { Err((Vec::new(), problems)) }
}

/// Reads and checks a file; tells its problems on standard error.
fn load(config: &Path) -> Result<Snapshot, ExitCode> {
    judged(config, &read(config)?).map_err(|problems| {
        for problem in &problems {
            eprintln!("{}", told(config, problem));
        }
        let count = problems.len();
        let word = if count == 1 { "problem" } else { "problems" };
        eprintln!("forebay-se: {}: {count} {word}", config.display());
        ExitCode::from(exit::FAILED)
    })
}

/// One problem, with file and line as compilers write them.
fn told(config: &Path, problem: &Problem) -> String {
    let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
    format!("{}{line}: {}: {}\n    {}", config.display(), problem.path, problem.reason, problem.fix)
}

/// What the engine would start with, and somebody should know of.
fn warnings(config: &Path, text: &str, snapshot: &Snapshot) -> Vec<Problem> {
    let mut all = forebay_snapshot::warnings(snapshot);
    all.extend(paths::expired(config, text, snapshot));
    all
}

fn check(config: &Path, output: Output) -> ExitCode {
    if output == Output::Json {
        let text = match read(config) {
            Ok(text) => text,
            Err(code) => return code,
        };
        let (problems, warnings) = match judged(config, &text) {
            Ok(snapshot) => (Vec::new(), warnings(config, &text, &snapshot)),
            Err(problems) => (problems, Vec::new()),
        };
        let list = |all: &[Problem]| -> Vec<_> {
            let one =
                |p: &Problem| json!({ "line": p.line, "path": p.path, "reason": p.reason, "fix": p.fix });
            all.iter().map(one).collect()
        };
        println!("{}", json!({ "problems": list(&problems), "warnings": list(&warnings) }));
        return if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) };
    }
    match load(config) {
        Ok(snapshot) => {
            // It was read a moment ago.
            let text = read(config).unwrap_or_default();
            for warning in warnings(config, &text, &snapshot) {
                eprintln!("warning: {}", told(config, &warning));
            }
            let servers: usize = snapshot.pool.iter().map(|pool| pool.server.len()).sum();
            println!(
                "{}: no problem: {} virtual services, {} pools, {servers} servers",
                config.display(),
                snapshot.virtual_service.len(),
                snapshot.pool.len()
            );
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

fn engine(config: &Path, start: Start) -> ExitCode {
    started(config, start).unwrap_or_else(|error| {
        tracing::error!(event = "SE_FAILED", "not started");
        Failure::new(exit::FAILED, format!("{error:#}"), "").tell()
    })
}

/// Runs an engine to its end, or says what keeps it from starting.
fn started(config: &Path, start: Start) -> anyhow::Result<ExitCode> {
    let mut snapshot = match load(config) {
        Ok(snapshot) => snapshot,
        Err(code) => return Ok(code),
    };
    paths::settle(config, &mut snapshot);
    process_log(&snapshot.engine.process_log);
    if start.allow_faults {
        tracing::warn!("faults may be planted through the admin socket: this is for tests only");
    }
    let source = Some(Source { path: config.to_owned(), settle: paths::settle });
    let start = Start { source, program: control::Program::own(), ..start };
    let ended = control::run(snapshot, start, forebay_host_uring::worker::make)?;
    // Whoever stopped it reads in the log how many; a script sees that the grace was too short.
    Ok(if ended.connections_cut == 0 { ExitCode::SUCCESS } else { ExitCode::from(exit::TIME_OUT) })
}

fn process_log(log: &ProcessLog) {
    use tracing_subscriber::EnvFilter;
    // What the resolver's library says of single packets is for who looks for its faults; names have events of their own.
    let level = match log.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn,hickory=error",
        LogLevel::Info => "info,hickory=error",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    // A second subscriber cannot be set; there is none before the command starts.
    let _ = match log.format {
        ProcessFormat::Json => builder.json().flatten_event(true).try_init(),
        ProcessFormat::Text => {
            use std::io::IsTerminal;
            let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colour).try_init()
        }
    };
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "forebay-se", &mut out);
    Ok(io::stdout().write_all(&out)?)
}

fn man(folder: Option<&Path>) -> Result<(), Failure> {
    let command = Args::command();
    match folder {
        Some(folder) => clap_mangen::generate_to(command, folder)
            .with_context(|| format!("{}: the pages cannot be written", folder.display()))
            .map_err(|error| Failure::new(exit::FAILED, format!("{error:#}"), "does the folder exist?")),
        None => {
            let mut out = Vec::new();
            clap_mangen::Man::new(command).render(&mut out)?;
            Ok(io::stdout().write_all(&out)?)
        }
    }
}

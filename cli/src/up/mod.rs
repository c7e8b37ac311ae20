//! `forebay up`: a Controller and two service engines that share their tables, with servers behind them, on loopback, in
//! one command.
//!
//! The order: claim a data folder, start servers, choose ports, start the Controller and the engines that join it, make
//! the services by its API, wait until they answer. With `--files` there is no Controller, and the engines work by files. Then either a live view until Ctrl-C, or the load of
//! `--once` and its report. With `--detach` it goes on in the background; `forebay down` ends it and removes what it made.

mod client;
mod config;
mod detach;
mod down;
mod engines;
mod folder;
mod from_log;
mod greeting;
mod led;
mod metrics;
mod once;
mod ports;
mod process;
mod record;
mod verdict;
mod view;

use std::io::{IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::args::{Output, Up};
use crate::sys;
use client::Client;
use config::{Plan, Seat, Service, Stick};
pub use down::run as down;
use engines::Engine;
use folder::DataFolder;
use ports::Ports;
use process::Process;
use record::Record;

/// How long the whole start may take, the service engine's included.
const START_WAIT: Duration = Duration::from_secs(20);
/// How long each of the servers that are not ours is waited for; after that one is enough.
const OWN_WAIT: Duration = Duration::from_secs(2);
/// Pause between two looks at whether something is ready.
const LOOK_EVERY: Duration = Duration::from_millis(3);
/// Demo servers.
const DEMO_SERVERS: u16 = 3;
/// First port tried for demo servers.
const DEMO_PORT: u16 = 9001;

/// Something did not become ready in time: exit code 6.
#[derive(Debug)]
struct TookTooLong(String);

impl std::fmt::Display for TookTooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TookTooLong {}

/// The exit code that tells scripts what kind of failure this is.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<TookTooLong>().is_some() { 6 } else { 1 }
}

/// All that runs.
pub struct Running {
    engines: Vec<Engine>,
    /// Who leads them; `None`: they work by files.
    controller: Option<led::Controller>,
    demo: Children,
    plan: Plan,
    folder: DataFolder,
    /// The service engines' program.
    program: PathBuf,
    first_byte: Duration,
    notes: Vec<String>,
    /// It goes on in the background.
    is_background: bool,
    /// How `forebay down` ends this run, as it is typed.
    down: String,
    /// Nobody else's for as long as this runs.
    _ports: Ports,
}

impl Running {
    /// What metrics call a service.
    fn label<'s>(&'s self, service: &'s Service) -> &'s str {
        let controller = self.controller.as_ref();
        controller.and_then(|controller| controller.label(service.name)).unwrap_or(service.name)
    }

    /// Fails, with the end of its log, if the Controller or an engine has ended.
    fn check(&mut self) -> Result<()> {
        if let Some(controller) = &mut self.controller {
            controller.process.check()?;
        }
        self.engines.iter_mut().try_for_each(|engine| engine.process.check())
    }
}

impl Drop for Running {
    /// Ends the engines at the same time, and only then the servers.
    fn drop(&mut self) {
        for engine in &mut self.engines {
            engine.process.ask_to_end();
        }
        self.engines.clear();
        self.controller = None;
        for (_, server) in &mut self.demo {
            server.ask_to_end();
        }
    }
}

/// Runs `forebay up`; `started` is when the program started.
pub fn run(options: &Up, output: Output, started: Instant) -> Result<ExitCode> {
    let is_background = options.detach && detach::is_background();
    if options.detach && !is_background {
        return detach::start();
    }
    sys::catch_stop_signals();
    let mut running = match start(options, started) {
        Ok(running) => running,
        Err(_) if sys::stop_asked() => return Ok(ExitCode::SUCCESS),
        Err(error) => return Err(error),
    };
    Record::of(&running).write(running.folder.path())?;
    for note in &running.notes {
        eprintln!("{note}");
    }
    if options.once {
        return once::run(options, &mut running);
    }
    a_little_traffic(&running);
    let mut out = std::io::stdout();
    match output {
        Output::Text => write!(out, "{}", greeting::text(&running))?,
        _ => writeln!(out, "{}", greeting::json(&running))?,
    }
    out.flush()?;
    if is_background {
        detach::go_on(running.folder.path())?;
    }
    let live = output == Output::Text && out.is_terminal();
    let ended = view::until_stopped(&mut running, live);
    if !live || ended.is_err() {
        eprintln!("stopping; what stays is {}", running.folder.path().display());
    } else {
        println!("\nstopping; what stays is {}", running.folder.path().display());
    }
    ended.map(|()| ExitCode::SUCCESS)
}

fn start(options: &Up, started: Instant) -> Result<Running> {
    let program = program(options.engine.as_deref(), "forebay-se", "forebay-host-uring", "--engine")?;
    let folder = DataFolder::claim(options.data.as_deref())?;
    Record::beginning().write(folder.path())?;
    let mut ports = Ports::default();
    let (servers, demo) = servers(options, &folder, &mut ports)?;
    let mut services = Vec::new();
    for ((name, stick), offset) in Stick::ALL.into_iter().zip(0..) {
        let address = ports.free(&format!("service {name}"), options.port.saturating_add(offset))?;
        services.push(Service { name, stick, address });
    }
    let after = options.port.saturating_add(Stick::ALL.len() as u16);
    let secure = ports.free("service https", after)?;
    let plan = Plan {
        seats: engines::seats(&mut ports)?,
        services,
        servers,
        demo: !demo.is_empty(),
        secure,
        workers: options.workers,
        cookie_key: new_key()?,
    };
    let data = folder.path();
    let (engines, controller) = if options.files {
        (engines::start(&program, data, &plan, &mut ports.notes)?, None)
    } else {
        let own = options.controller_program.as_deref();
        let own = self::program(own, "forebay-controller", "forebay-controller", "--controller-program")?;
        engines::make_certificate(&program, data, &mut ports.notes)?;
        let mut controller = led::Controller::start(&own, data, &mut ports)?;
        let engines = led::engines(&program, data, &controller, &plan.seats, plan.workers)?;
        led::make(&mut controller, &plan, data)?;
        (engines, Some(controller))
    };
    let notes = std::mem::take(&mut ports.notes);
    let first_byte = Duration::ZERO;
    let is_background = options.detach;
    let down = greeting::down(options.data.as_ref().map(|_| folder.path()));
    let mut running = Running {
        engines,
        controller,
        demo,
        plan,
        folder,
        program,
        first_byte,
        notes,
        is_background,
        down,
        _ports: ports,
    };
    wait_until_it_answers(&mut running, started)?;
    Ok(running)
}

/// 32 random bytes in base64.
fn new_key() -> Result<String> {
    let mut key = [0; 32];
    let mut random = std::fs::File::open("/dev/urandom").context("/dev/urandom")?;
    std::io::Read::read_exact(&mut random, &mut key).context("/dev/urandom")?;
    Ok(crate::base64::encode(&key))
}

/// The program that an option names, or the one beside this one.
fn program(named: Option<&Path>, name: &str, package: &str, option: &str) -> Result<PathBuf> {
    if let Some(named) = named {
        return named.canonicalize().with_context(|| format!("no {name} at {}", named.display()));
    }
    let own = std::env::current_exe().context("own path")?;
    let beside = own.with_file_name(name);
    if !beside.is_file() {
        bail!(
            "no {name} at {}: build it with `cargo build -p {package}`, or name it with {option}",
            beside.display()
        );
    }
    Ok(beside)
}

type Named = (String, SocketAddr);
type Children = Vec<(String, Process)>;

fn servers(options: &Up, folder: &DataFolder, ports: &mut Ports) -> Result<(Vec<Named>, Children)> {
    if !options.servers.is_empty() {
        return Ok((named_servers(options)?, Vec::new()));
    }
    let own = std::env::current_exe().context("own path")?;
    let mut started = Vec::new();
    for n in 0..DEMO_SERVERS {
        let name = format!("demo-{}", n + 1);
        let mut command = Command::new(&own);
        let address = ports.free(&name, DEMO_PORT + n)?;
        command.args(["demo-server", "--name", &name, "--listen", &address.to_string()]);
        started.push((name.clone(), address, Process::start(&name, command, folder.path(), true)?));
    }
    let (mut named, mut demo) = (Vec::new(), Vec::new());
    for (name, address, mut process) in started {
        process.first_line()?;
        named.push((name.clone(), address));
        demo.push((name, process));
    }
    Ok((named, demo))
}

/// The servers that `--server` names, each once.
fn named_servers(options: &Up) -> Result<Vec<Named>> {
    let mut found: Vec<Named> = Vec::new();
    for server in &options.servers {
        let (name, address) = resolve(server)?;
        if let Some((before, _)) = found.iter().find(|(_, a)| *a == address) {
            bail!("--server {name}: the same server as --server {before}; name each once");
        }
        found.push((name, address));
    }
    Ok(found)
}

fn resolve(server: &str) -> Result<Named> {
    let port = server.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none_or(|port| port == 0) {
        bail!("--server {server}: write it as host:port, for example 10.0.0.11:80 or [fd00::11]:80");
    }
    let mut found = server
        .to_socket_addrs()
        .with_context(|| format!("--server {server}: the name has no address that this machine finds"))?;
    let address = found.next().ok_or_else(|| anyhow!("--server {server}: the name has no address"))?;
    Ok((server.to_owned(), address))
}

fn wait_until_it_answers(running: &mut Running, started: Instant) -> Result<()> {
    let give_up = Instant::now() + START_WAIT;
    wait_for_servers(running, give_up)?;
    wait_for_engines(running, give_up)?;
    let services = running.plan.services.clone();
    // The service without persistence first: its first answer is the first proxied byte.
    for service in services.iter().rev() {
        let mut last;
        loop {
            last = match Client::new(Ipv4Addr::LOCALHOST, service.address).get("/", true) {
                Ok(a) if a.status < 500 => break,
                Ok(a) => format!("answers {}", a.status),
                Err(e) => e.to_string(),
            };
            running.check()?;
            if sys::stop_asked() {
                bail!("stopped");
            }
            if Instant::now() > give_up {
                let what = format!("service {} at {} is not ready: {last}", service.name, service.address);
                return Err(TookTooLong(what).into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        if running.first_byte.is_zero() {
            running.first_byte = started.elapsed();
        }
    }
    Ok(())
}

/// Waits until every engine takes clients and has the others' tables.
fn wait_for_engines(running: &mut Running, give_up: Instant) -> Result<()> {
    while let Some(what) = running.plan.seats.iter().find_map(engines::missing) {
        running.check()?;
        if sys::stop_asked() {
            bail!("stopped");
        }
        if Instant::now() > give_up {
            return Err(TookTooLong(format!("not ready within {} s: {what}", START_WAIT.as_secs())).into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Waits until health checks have passed, so that no request meets a pool without servers: all demo
/// servers', or at least one of servers that are not ours.
fn wait_for_servers(running: &mut Running, give_up: Instant) -> Result<()> {
    let patience = Instant::now() + OWN_WAIT;
    let mut said = false;
    loop {
        let missing = missing_servers(&running.plan, running.controller.is_some());
        if missing.is_empty() {
            return Ok(());
        }
        let late = !running.plan.demo && Instant::now() > patience;
        let names = missing.join(", ");
        if late && missing.len() < running.plan.servers.len() {
            running.notes.push(format!("not up, going on without: {names}"));
            return Ok(());
        }
        if late && !said {
            said = true;
            eprintln!("waiting for a server to come up: {names}");
        }
        running.check()?;
        if sys::stop_asked() {
            bail!("stopped");
        }
        if Instant::now() > give_up {
            let waited = START_WAIT.as_secs();
            let what = format!(
                "not up within {waited} s: {names}; each must accept TCP connections from this machine"
            );
            return Err(TookTooLong(what).into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The servers that are not up in every pool of every engine; where a Controller leads, of those that have the services.
fn missing_servers(plan: &Plan, is_led: bool) -> Vec<String> {
    // An engine that cannot be asked yet knows of no server.
    let pages: Vec<Vec<metrics::Row>> =
        plan.seats.iter().map(|seat| metrics::read(seat.metrics).unwrap_or_default()).collect();
    let is_asked = |rows: &&Vec<metrics::Row>| !is_led || led::has_services(rows);
    let pages: Vec<&Vec<metrics::Row>> = pages.iter().filter(is_asked).collect();
    let up_in = |rows: &[metrics::Row], address: SocketAddr| {
        let label = address.to_string();
        let of_server = |r: &&metrics::Row| r.name == "forebay_server_up" && r.label("server") == label;
        rows.iter().filter(of_server).filter(|r| r.value > 0.0).count()
    };
    let is_down = |address: SocketAddr| {
        pages.is_empty() || pages.iter().any(|rows| up_in(rows, address) < plan.services.len())
    };
    let down = plan.servers.iter().filter(|(_, address)| is_down(*address));
    down.map(|(name, _)| name.clone()).collect()
}

/// So that the first look at metrics and log shows something.
fn a_little_traffic(running: &Running) {
    for service in &running.plan.services {
        for n in 0..5_u8 {
            let mut client = Client::new(Ipv4Addr::new(127, 0, 1, n + 1), service.address);
            for path in ["/login", "/", "/bytes?n=2000"] {
                if sys::stop_asked() || client.get(path, path != "/login").is_err() {
                    return;
                }
            }
        }
    }
}

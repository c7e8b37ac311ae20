//! `forebay up`: a service engine with servers behind it, on loopback, in one command.
//!
//! The order: claim a data folder, start servers, choose ports, write the configuration, start the
//! service engine, wait until it answers. Then either a live view until Ctrl-C, or the load of
//! `--once` and its report.

mod client;
mod config;
mod folder;
mod from_log;
mod metrics;
mod once;
mod ports;
mod process;
mod verdict;
mod view;

use std::io::{IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;

use crate::args::{Output, Up};
use crate::sys;
use client::Client;
use config::{CHAIN_FILE, KEY_FILE, Plan, Service, Stick};
use folder::DataFolder;
use ports::{Ports, Turn};
use process::Process;

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
/// Seconds that a certificate has to be good for still: with less than a third of its time left a new one is made.
const CERTIFICATE_LEFT_S: i64 = 127 * 86_400;
/// First port tried for metrics.
const METRICS_PORT: u16 = 9100;

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

/// All that runs. The fields are dropped in this order: the engine first, then the servers.
pub struct Running {
    engine: Process,
    demo: Children,
    plan: Plan,
    folder: DataFolder,
    /// Bytes that the access log held before this run: of earlier runs in the same folder.
    log_before: u64,
    first_byte: Duration,
    notes: Vec<String>,
}

impl Running {
    fn access_log(&self) -> PathBuf {
        self.folder.path().join("access.log")
    }
}

/// Runs `forebay up`; `started` is when the program started.
pub fn run(options: &Up, output: Output, started: Instant) -> Result<ExitCode> {
    sys::catch_stop_signals();
    let mut running = match start(options, started) {
        Ok(running) => running,
        Err(_) if sys::stop_asked() => return Ok(ExitCode::SUCCESS),
        Err(error) => return Err(error),
    };
    for note in &running.notes {
        eprintln!("{note}");
    }
    if options.once {
        return once::run(options, &mut running);
    }
    a_little_traffic(&running);
    let mut out = std::io::stdout();
    match output {
        Output::Text => write!(out, "{}", greeting(&running))?,
        Output::Json => writeln!(out, "{}", as_json(&running))?,
    }
    out.flush()?;
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
    let engine = engine_program(options)?;
    let folder = DataFolder::claim(options.data.as_deref())?;
    let mut ports = Ports::default();
    let turn = Turn::take();
    let (servers, demo) = servers(options, &folder, &mut ports)?;
    let mut services = Vec::new();
    for ((name, stick), offset) in Stick::ALL.into_iter().zip(0..) {
        let address = ports.free(&format!("service {name}"), options.port.saturating_add(offset))?;
        services.push(Service { name, stick, address });
    }
    let after = options.port.saturating_add(Stick::ALL.len() as u16);
    let secure = ports.free("service https", after)?;
    let metrics = ports.free("metrics", METRICS_PORT)?;
    make_certificate(&engine, folder.path())?;
    let plan = Plan {
        services,
        servers,
        demo: !demo.is_empty(),
        secure,
        metrics,
        workers: options.workers,
        cookie_key: new_key()?,
    };
    let text = plan.text();
    if let Err(problems) = forebay_snapshot::check(&text) {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        bail!("the configuration that `up` made is wrong:\n{}", lines.join("\n"));
    }
    let file = folder.path().join("se.toml");
    // It holds a key.
    let mut open = std::fs::OpenOptions::new();
    let made = open.write(true).create(true).truncate(true).mode(0o600).open(&file);
    made.and_then(|mut f| f.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))?;
    let log_before = folder.path().join("access.log").metadata().map_or(0, |log| log.len());
    let mut command = Command::new(&engine);
    command.args(["run", "--config", "se.toml"]);
    let engine = Process::start("forebay-se", command, folder.path(), false)?;
    let notes = std::mem::take(&mut ports.notes);
    let mut running = Running { engine, demo, plan, folder, log_before, first_byte: Duration::ZERO, notes };
    wait_until_it_answers(&mut running, started)?;
    drop(turn);
    Ok(running)
}

/// Makes a certificate, if there is none that stays good for a while: a browser has to be told only once to trust it.
fn make_certificate(engine: &Path, folder: &Path) -> Result<()> {
    let (chain, key) = (folder.join(CHAIN_FILE), folder.join(KEY_FILE));
    if key.is_file() && seconds_left(engine, &chain).is_some_and(|left| left > CERTIFICATE_LEFT_S) {
        return Ok(());
    }
    for file in [&chain, &key] {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot replace {}", file.display()));
            }
            _ => {}
        }
    }
    let mut command = Command::new(engine);
    command.arg("certificate").args(["--name", "localhost", "--name", "127.0.0.1"]);
    command.arg("--chain").arg(&chain).arg("--key").arg(&key);
    let done = command.output().with_context(|| format!("cannot start {}", engine.display()))?;
    if !done.status.success() {
        bail!("no certificate could be made: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

/// Seconds for which the certificate in a file is good; `None` if there is none.
fn seconds_left(engine: &Path, chain: &Path) -> Option<i64> {
    let shown = Command::new(engine).args(["pki", "show", "--output", "json"]).arg(chain).output().ok()?;
    let told: serde_json::Value = serde_json::from_slice(&shown.stdout).ok()?;
    told[0]["seconds_left"].as_i64()
}

/// 32 random bytes in base64.
fn new_key() -> Result<String> {
    let mut key = [0; 32];
    let mut random = std::fs::File::open("/dev/urandom").context("/dev/urandom")?;
    std::io::Read::read_exact(&mut random, &mut key).context("/dev/urandom")?;
    Ok(crate::base64::encode(&key))
}

fn engine_program(options: &Up) -> Result<PathBuf> {
    if let Some(named) = &options.engine {
        return named.canonicalize().with_context(|| format!("no service engine at {}", named.display()));
    }
    let own = std::env::current_exe().context("own path")?;
    let beside = own.with_file_name("forebay-se");
    if !beside.is_file() {
        bail!(
            "no service engine at {}: build it with `cargo build -p forebay-host-uring`, or name it with --engine",
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
        let listen = format!("127.0.0.1:{}", DEMO_PORT + n);
        command.args(["demo-server", "--or-next", "--name", &name, "--listen", &listen]);
        started.push((name.clone(), listen, Process::start(&name, command, folder.path(), true)?));
    }
    let (mut named, mut demo) = (Vec::new(), Vec::new());
    for (name, wanted, mut process) in started {
        let line = process.first_line()?;
        let address = line.rsplit(' ').next().unwrap_or_default();
        if address != wanted && !wanted_by_another(address, &named) {
            ports.notes.push(format!("port of {wanted} is taken: {name} listens on {address}"));
        }
        named.push((name.clone(), address.parse().with_context(|| format!("{name} said: {line}"))?));
        demo.push((name, process));
    }
    Ok((named, demo))
}

fn wanted_by_another(address: &str, named: &[Named]) -> bool {
    named.iter().any(|(_, a)| a.to_string() == address)
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
            running.engine.check()?;
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

/// Waits until health checks have passed, so that no request meets a pool without servers: all demo
/// servers', or at least one of servers that are not ours.
fn wait_for_servers(running: &mut Running, give_up: Instant) -> Result<()> {
    let patience = Instant::now() + OWN_WAIT;
    let mut said = false;
    loop {
        let missing = match metrics::read(running.plan.metrics) {
            Ok(rows) => missing_servers(&running.plan, &rows),
            Err(_) => running.plan.servers.iter().map(|(name, _)| name.clone()).collect(),
        };
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
        running.engine.check()?;
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

/// The servers that are not up in every pool.
fn missing_servers(plan: &Plan, rows: &[metrics::Row]) -> Vec<String> {
    let up_in = |address: SocketAddr| {
        let label = address.to_string();
        let of_server = |r: &&metrics::Row| r.name == "forebay_server_up" && r.label("server") == label;
        rows.iter().filter(of_server).filter(|r| r.value > 0.0).count()
    };
    let down = plan.servers.iter().filter(|(_, address)| up_in(*address) < plan.services.len());
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

fn greeting(running: &Running) -> String {
    use std::fmt::Write;
    let folder = running.folder.path().display();
    let mut t = String::new();
    let mut line = |text: String| writeln!(t, "{text}").expect("a String takes all");
    line(format!(
        "Forebay is up: {} workers, {} servers; the first byte came after {} ms.\n",
        running.plan.workers,
        running.plan.servers.len(),
        running.first_byte.as_millis()
    ));
    line(format!("  {:<8} {:<24} {}", "service", "address", "knows a client by"));
    for s in &running.plan.services {
        line(format!("  {:<8} {:<24} {}", s.name, format!("http://{}", s.address), s.stick.words()));
    }
    let secure = format!("https://{}", running.plan.secure);
    line(format!("  {:<8} {:<24} {}", "https", secure, "the cookie; HTTP/2, with a certificate of its own"));
    line("\nTry:".into());
    for s in &running.plan.services {
        line(match s.stick {
            Stick::Cookie => format!("  curl -b {folder}/jar -c {folder}/jar http://{}/", s.address),
            Stick::Address => format!("  curl --interface 127.0.0.7 http://{}/", s.address),
            Stick::Session => format!("  curl -b {folder}/app -c {folder}/app http://{}/login", s.address),
            Stick::None => format!("  curl http://{}/ ; curl http://{}/", s.address, s.address),
        });
    }
    line(format!("  curl --cacert {folder}/{CHAIN_FILE} https://{}/", running.plan.secure));
    line(format!("  curl http://{}/metrics", running.plan.metrics));
    line(format!("  tail -f {folder}/access.log\n"));
    for (name, address) in &running.plan.servers {
        match running.demo.iter().find(|(n, _)| n == name) {
            Some((_, process)) => line(format!("  {name} {address} (stop it: kill {})", process.pid())),
            None => line(format!("  {name} {address}")),
        }
    }
    line(format!("\nStatus page: http://{}/", running.plan.metrics));
    line(format!("Data folder: {folder}\nCtrl-C stops all of it; only that folder stays.\n"));
    t
}

fn as_json(running: &Running) -> serde_json::Value {
    let services: Vec<_> = running
        .plan
        .services
        .iter()
        .map(|s| json!({ "name": s.name, "url": format!("http://{}", s.address), "knows_by": s.stick.words() }))
        .collect();
    let servers: Vec<_> = running
        .plan
        .servers
        .iter()
        .map(|(name, address)| {
            let pid = running.demo.iter().find(|(n, _)| n == name).map(|(_, p)| p.pid());
            json!({ "name": name, "address": address.to_string(), "pid": pid })
        })
        .collect();
    json!({
        "ready": true,
        "data": running.folder.path(),
        "engine_pid": running.engine.pid(),
        "workers": running.plan.workers,
        "services": services,
        "servers": servers,
        "https": format!("https://{}", running.plan.secure),
        "certificate": running.folder.path().join(CHAIN_FILE),
        "metrics": format!("http://{}/metrics", running.plan.metrics),
        "status_page": format!("http://{}/", running.plan.metrics),
        "first_byte_ms": running.first_byte.as_millis() as u64,
        "notes": running.notes,
    })
}

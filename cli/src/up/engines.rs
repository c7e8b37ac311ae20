//! The service engines of `up`: they share their addresses and their tables, and each has a folder of its own.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::config::{CHAIN_FILE, GROUP, KEY_FILE, PKI_FOLDER, Plan, Seat};
use super::folder::set_aside;
use super::metrics;
use super::ports::Ports;
use super::process::Process;

/// Where the engines reach one another: slot 1 at the first address, slot 2 at the second.
const SYNC_PLACES: [IpAddr; 2] = [place(2), place(3)];
/// First port tried for object sync.
const SYNC_PORT: u16 = 9001;
/// First port tried for metrics.
const METRICS_PORT: u16 = 9100;
/// Seconds that a certificate has to be good for still: with less than a third of its time left a new one is made.
const CERTIFICATE_LEFT_S: i64 = 127 * 86_400;

const fn place(last: u8) -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, last))
}

/// A service engine that runs.
pub struct Engine {
    /// Its place and its addresses.
    pub seat: Seat,
    /// The process.
    pub process: Process,
    /// Its folder, which is named as it is.
    pub folder: PathBuf,
    /// Bytes that its access log held before this run: of earlier runs in the same folder.
    pub log_before: u64,
}

impl Engine {
    /// Its access log.
    pub fn access_log(&self) -> PathBuf {
        self.folder.join("access.log")
    }

    /// The socket by which commands reach it.
    pub fn admin_socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }
}

/// Chooses addresses for the engines.
pub fn seats(ports: &mut Ports) -> Result<Vec<Seat>> {
    let sync = ports.free_at("object sync", &SYNC_PLACES, SYNC_PORT)?;
    let mut seats = Vec::new();
    for (place, slot) in SYNC_PLACES.into_iter().zip(1_u8..) {
        // The first one has the port before, which may be taken and told.
        let wanted = seats.last().map_or(METRICS_PORT, |before: &Seat| before.metrics.port() + 1);
        let metrics = ports.free(&format!("metrics of se-{slot}"), wanted)?;
        seats.push(Seat { slot, sync: SocketAddr::new(place, sync), metrics });
    }
    Ok(seats)
}

/// Starts the engines, with what they need in the data folder; `notes` gets what was replaced there, for people.
pub fn start(program: &Path, data: &Path, plan: &Plan, notes: &mut Vec<String>) -> Result<Vec<Engine>> {
    make_certificate(program, data, notes)?;
    make_members(program, data, &plan.seats, notes)?;
    // The lower slot calls the higher one, which is to be there by then.
    let mut engines: Vec<Engine> =
        plan.seats.iter().rev().map(|seat| one(program, data, plan, *seat)).collect::<Result<_>>()?;
    engines.reverse();
    Ok(engines)
}

fn one(program: &Path, data: &Path, plan: &Plan, seat: Seat) -> Result<Engine> {
    let text = plan.text(&seat);
    if let Err(problems) = forebay_snapshot::check(&text) {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        bail!("the configuration that `up` made is wrong:\n{}", lines.join("\n"));
    }
    let folder = data.join(seat.name());
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = folder.join("se.toml");
    // It holds a key.
    let mut open = std::fs::OpenOptions::new();
    let made = open.write(true).create(true).truncate(true).mode(0o600).open(&file);
    made.and_then(|mut f| f.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))?;
    let log_before = folder.join("access.log").metadata().map_or(0, |log| log.len());
    let mut command = Command::new(program);
    command.args(["run", "--config", "se.toml"]);
    let process = Process::start("forebay-se", command, &folder, false)?;
    Ok(Engine { seat, process, folder, log_before })
}

/// What an engine still lacks before it may get clients; `None`: nothing.
pub fn missing(seat: &Seat) -> Option<String> {
    let Ok(rows) = metrics::read(seat.metrics) else {
        return Some(format!("{} does not answer at {}", seat.name(), seat.metrics));
    };
    let is = |name: &str| rows.iter().any(|row| row.name == name && row.value == 1.0);
    let shares = is("forebay_objsync_joined") && is("forebay_objsync_peer_synced");
    (!shares).then(|| format!("{} does not share its tables yet", seat.name()))
}

/// Makes a certificate for HTTPS, if there is none that stays good for a while: a browser has to be told only once to
/// trust it.
pub fn make_certificate(program: &Path, data: &Path, notes: &mut Vec<String>) -> Result<()> {
    let (chain, key) = (data.join(CHAIN_FILE), data.join(KEY_FILE));
    if key.is_file() && is_good(program, &chain) {
        return Ok(());
    }
    for file in [&chain, &key] {
        notes.extend(set_aside(file)?);
    }
    let mut command = Command::new(program);
    command.arg("certificate").args(["--name", "localhost", "--name", "127.0.0.1"]);
    command.arg("--chain").arg(&chain).arg("--key").arg(&key);
    made(command)
}

/// Makes the certificates by which the engines know each other, and their group's secret, unless all of it is there.
fn make_members(program: &Path, data: &Path, seats: &[Seat], notes: &mut Vec<String>) -> Result<()> {
    let folder = data.join(PKI_FOLDER);
    let files =
        |seat: &Seat| ["pem", "key"].map(|kind| folder.join(format!("{GROUP}-{}.{kind}", seat.name())));
    let is_whole = |seat: &Seat| {
        let [chain, key] = files(seat);
        key.is_file() && is_good(program, &chain)
    };
    if ["ca.pem", &format!("{GROUP}.secret")].iter().all(|file| folder.join(file).is_file())
        && seats.iter().all(is_whole)
    {
        return Ok(());
    }
    // No file of it is replaced by the command that makes it, and those of another authority fit to nothing.
    notes.extend(set_aside(&folder)?);
    let pki = |what: &str| {
        let mut command = Command::new(program);
        command.args(["pki", what, "--folder"]).arg(&folder);
        command
    };
    made(pki("init"))?;
    for seat in seats {
        let mut command = pki("issue");
        command.args(["--group", GROUP, "--slot", &seat.slot.to_string()]);
        command.args(["--address", &seat.sync.ip().to_string()]);
        made(command)?;
    }
    Ok(())
}

fn made(mut command: Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let done = command.output().with_context(|| format!("cannot start {}", program.display()))?;
    if !done.status.success() {
        bail!("no certificate could be made: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

/// Whether a file has a certificate that stays good for a while.
fn is_good(program: &Path, chain: &Path) -> bool {
    let shown = Command::new(program).args(["pki", "show", "--output", "json"]).arg(chain).output();
    let told: Option<serde_json::Value> =
        shown.ok().and_then(|shown| serde_json::from_slice(&shown.stdout).ok());
    told.and_then(|told| told[0]["seconds_left"].as_i64()).is_some_and(|left| left > CERTIFICATE_LEFT_S)
}

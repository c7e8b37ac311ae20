//! `up` with a Controller: engines join it by token, and all that they serve is made by its API.

mod engines;
mod objects;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

pub use engines::start as engines;
pub use objects::make;

use super::ports::Ports;
use super::process::Process;
use super::{LOOK_EVERY, START_WAIT, Seat, TookTooLong};
use crate::api::{Api, Link};
use crate::sys;

/// First port tried for the API.
const API_PORT: u16 = 9443;
/// First port tried for engines.
const ENGINES_PORT: u16 = 8443;
/// An engine that died is noticed after six of these, seconds: a person waits for it.
const HEARTBEAT_S: u32 = 1;
/// Its folder, in the data folder.
pub const FOLDER: &str = "controller";
/// What it prints, in the data folder.
pub const LOG_FILE: &str = "forebay-controller.log";
/// Who `up` is, as a user of the Controller.
const USER: &str = "admin";

/// A Controller that runs.
pub struct Controller {
    /// The process.
    pub process: Process,
    /// Where its API is.
    pub at: SocketAddr,
    /// Where it lets engines in.
    pub door: SocketAddr,
    /// Its certificate's fingerprint.
    pub fingerprint: String,
    /// The password of `admin`.
    pub password: String,
    /// The services, by their names: their uuids, by which engines call them.
    pub services: BTreeMap<&'static str, String>,
}

impl Controller {
    /// Starts one with nothing in it: what an earlier run has left in its folder is removed.
    pub fn start(program: &Path, data: &Path, ports: &mut Ports) -> Result<Self> {
        let folder = data.join(FOLDER);
        remove(&folder)?;
        let at = ports.free("the Controller's API", API_PORT)?;
        let door = ports.free("the Controller's door for engines", ENGINES_PORT)?;
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(&folder).args(["--listen", &at.to_string()]);
        command.args(["--listen-engines", &door.to_string()]);
        command.args(["--engine-heartbeat", &HEARTBEAT_S.to_string()]);
        let mut process = Process::start("forebay-controller", command, data, true)?;
        let said = process.lines_until("password: ")?;
        let word = |name: &str| {
            let line = said.iter().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next()).map(str::to_owned);
            word.with_context(|| format!("the Controller does not say its {name}"))
        };
        let (fingerprint, password) = (word("certificate: ")?, word("password: ")?);
        Ok(Controller { process, at, door, fingerprint, password, services: BTreeMap::new() })
    }

    /// A session of its administrator.
    pub fn session(&self) -> Result<Api> {
        let at = self.at.to_string();
        let link = Link::open(&at, Some(&self.fingerprint))?;
        let credentials = json!({"username": USER, "password": self.password});
        Ok(Api::with(link, &at, USER, "admin", &credentials)?)
    }

    /// A token for an engine.
    fn token(&self, api: &mut Api) -> Result<String> {
        let made = api.ask("POST", "/api/se-token", Some(&json!({})))?;
        made["token"].as_str().map(str::to_owned).context("the Controller gave no token")
    }

    /// What the metrics call a service.
    pub fn label(&self, service: &str) -> Option<&str> {
        self.services.get(service).map(String::as_str)
    }

    /// Scales all services out to one more engine and waits until that one serves. They share an address, so they are
    /// where the first one is.
    pub fn scale_out(&self) -> Result<String> {
        let mut api = self.session()?;
        let uuid = self.services.values().next().context("there is no service")?;
        let path = format!("/api/virtualservice/{uuid}");
        api.ask("POST", &format!("{path}/scaleout"), Some(&json!({"vip_id": "1"})))?;
        let give_up = Instant::now() + START_WAIT;
        loop {
            let runtime = api.get(&format!("{path}/runtime"))?;
            let vip = &runtime["vip_summary"][0];
            let (done, last) = (&vip["last_scale_status"]["state"], &vip["last_scale_status"]);
            match done.as_str() {
                Some("SCALEOUT_SUCCESS") => {
                    api.close();
                    return Ok(last["scale_se"].as_str().unwrap_or_default().to_owned());
                }
                Some(_) => bail!("the scale-out failed: {}", last["reason"]),
                None => {}
            }
            if sys::stop_asked() {
                bail!("stopped");
            }
            if Instant::now() > give_up {
                let state = &vip["scale_status"]["state"];
                return Err(TookTooLong(format!("the scale-out is still at {state}")).into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The engine that is the services' primary, by its name.
    pub fn primary(&self) -> Result<String> {
        let mut api = self.session()?;
        let uuid = self.services.values().next().context("there is no service")?;
        let runtime = api.get(&format!("/api/virtualservice/{uuid}/runtime"))?;
        api.close();
        let engines = runtime["vip_summary"][0]["service_engine"].as_array();
        let first = engines.and_then(|all| all.iter().find(|engine| engine["primary"] == true));
        let name = first.and_then(|engine| engine["name"].as_str());
        name.map(str::to_owned).ok_or_else(|| anyhow!("no engine has the services: {runtime}"))
    }
}

/// An address as the API has it.
fn ip(of: SocketAddr) -> Value {
    json!({"addr": of.ip().to_string(), "type": if of.is_ipv4() { "V4" } else { "V6" }})
}

/// Removes a folder of an earlier run, if it is there: the data folder is one of `up`.
fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The name of an engine's folder for what the Controller has told it, in the engine's own.
const STATE_FOLDER: &str = "state";

/// Says whether an engine of this seat has been given services.
pub fn has_services(rows: &[super::metrics::Row]) -> bool {
    rows.iter().any(|row| row.name == "forebay_server_up")
}

/// What an engine says for itself: the Controller says the rest.
fn own_text(seat: &Seat, workers: u16) -> String {
    format!(
        "# Written by `forebay up`: what this engine says for itself. The Controller says the rest.\nversion = 1\n\n\
         [engine]\nname = \"{}\"\nworkers = {workers}\nmemory_gib = 1\n\
         persistence_mem_max_bytes = 33_554_432 # room for half a million entries, reserved in no time\n\
         admin_socket = \"admin.sock\"\nmetrics_listen = \"{}\"\n\
         access_log = {{ path = \"access.log\", format = \"json\" }}\n\n\
         [objsync] # where the other one reaches it\naddress = \"{}\"\nport = {}\n",
        seat.name(),
        seat.metrics,
        seat.sync.ip(),
        seat.sync.port()
    )
}

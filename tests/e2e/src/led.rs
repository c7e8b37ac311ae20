//! An engine that is led, as a process under test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::process::Process;
use crate::wait::{eventually, secs};
use crate::{Controller, Lab, bin};

/// How it is started.
#[derive(Clone, Default)]
pub struct Options {
    /// Further lines of its own file.
    pub own: String,
    /// Further lines of what its own file says of object sync.
    pub sync: String,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// What its environment has beside, as a clock of its own.
    pub env: Vec<(String, String)>,
}

/// An engine with its folder.
pub struct Led {
    /// Its process.
    pub process: Process,
    /// Its folder.
    pub state: PathBuf,
    /// Where its metrics are.
    pub metrics: SocketAddr,
    name: String,
    /// Where the others of its group reach it.
    sync: SocketAddr,
}

impl Led {
    /// Starts one that becomes a member by this token.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(lab: &Lab, controller: SocketAddr, token: &str, options: &Options) -> Self {
        let (metrics, sync) = (lab.address(), lab.address());
        let name = format!("led-{}", metrics.port());
        let token_file = lab.folder().join(format!("{name}.token"));
        std::fs::write(&token_file, token).expect("room");
        let mut options = options.clone();
        options.arguments.extend(["--token-file".to_owned(), token_file.display().to_string()]);
        let state = lab.folder().join(&name);
        let process = spawn(lab, &name, controller, &state, (metrics, sync), &options);
        Led { process, state, metrics, name, sync }
    }

    /// Starts one that is to be a member of the group for all, by a token of its own.
    ///
    /// # Panics
    /// If the Controller makes no token.
    pub fn new(lab: &Lab, controller: &Controller, options: &Options) -> Self {
        Led::start(lab, controller.engines, &token(controller), options)
    }

    /// Starts another process over what this one has left behind; it has no token.
    pub fn again(&mut self, lab: &Lab, controller: SocketAddr, options: &Options) {
        let addresses = (self.metrics, self.sync);
        self.process = spawn(lab, &self.name, controller, &self.state, addresses, options);
    }

    /// Others of its group reach it at another address from its next start on.
    pub fn moves(&mut self, to: SocketAddr) {
        self.sync = to;
    }

    /// Waits until it is a member and works by the configuration that it should have.
    ///
    /// # Panics
    /// If it does not.
    pub fn joins(&mut self, controller: &Controller) {
        self.says("SE_ENROLLED");
        let uuid = self.uuid();
        eventually("the engine is up and has its configuration", secs(20), || {
            let seen = seen(controller, &uuid);
            seen["up"] == true && seen["configuration"]["current"] == true
        });
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until its log has this.
    ///
    /// # Panics
    /// If it does not come.
    #[track_caller]
    pub fn says(&mut self, text: &str) {
        eventually(&format!("the engine says {text}"), secs(20), || self.process.printed().contains(text));
    }

    /// How often its log has this.
    pub fn said(&self, text: &str) -> usize {
        self.process.printed().matches(text).count()
    }

    /// Its uuid, as its certificate names it.
    ///
    /// # Panics
    /// If it has not said it.
    pub fn uuid(&self) -> String {
        let printed = self.process.printed();
        let (_, rest) = printed.split_once("engine=\"").expect("it said who it is");
        rest.split('"').next().expect("a word").to_owned()
    }
}

fn spawn(
    lab: &Lab,
    name: &str,
    controller: SocketAddr,
    state: &Path,
    (metrics, sync): (SocketAddr, SocketAddr),
    options: &Options,
) -> Process {
    let own = lab.folder().join(format!("{name}.toml"));
    let text = format!(
        "version = 1\n[engine]\nworkers = 1\nmemory_gib = 1\npersistence_mem_max_bytes = 4194304\n\
         admin_socket = \"{name}.sock\"\nmetrics_listen = \"{metrics}\"\naccess_log = {{ path = \"off\" }}\n{}\n\
         [objsync]\naddress = \"{}\"\nport = {}\n{}\n",
        options.own,
        sync.ip(),
        sync.port(),
        options.sync
    );
    std::fs::write(&own, text).expect("room");
    let program = bin::path("forebay-se");
    let mut command = Command::new(program);
    command.args(["run", "--config"]).arg(own).arg("--controller").arg(controller.to_string());
    command.arg("--state").arg(state).args(["--name", name]).args(&options.arguments);
    command.envs(options.env.iter().cloned());
    Process::start(name, command, lab.folder())
}

/// A token for an engine of the group for all.
///
/// # Panics
/// If there is none.
pub fn token(controller: &Controller) -> String {
    let (status, made) = controller.admin().send("POST", "/api/se-token", &json!({}));
    assert_eq!(status, 201, "{made}");
    made["token"].as_str().expect("a text").to_owned()
}

/// An engine that is a member and has its configuration.
///
/// # Panics
/// If it does not become one.
pub fn member(lab: &Lab, controller: &Controller, options: &Options) -> Led {
    let mut engine = Led::new(lab, controller, options);
    engine.joins(controller);
    engine
}

/// How it stands with an engine.
pub fn seen(controller: &Controller, uuid: &str) -> Value {
    controller.admin().get(&format!("/api/serviceengine/{uuid}/channel")).1
}

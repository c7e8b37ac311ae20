//! An engine that is led, as a process under test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use forebay_e2e::process::Process;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Lab, bin};

/// How it is started.
#[derive(Clone, Default)]
pub struct Options {
    /// Further lines of its own file.
    pub own: String,
    /// Further arguments.
    pub arguments: Vec<String>,
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

    /// Starts another process over what this one has left behind; it has no token.
    pub fn again(&mut self, lab: &Lab, controller: SocketAddr, options: &Options) {
        let addresses = (self.metrics, self.sync);
        self.process = spawn(lab, &self.name, controller, &self.state, addresses, options);
    }

    /// Waits until its log has this.
    #[track_caller]
    pub fn says(&mut self, text: &str) {
        eventually(&format!("the engine says {text}"), secs(20), || self.process.printed().contains(text));
    }

    /// How often its log has this.
    pub fn said(&self, text: &str) -> usize {
        self.process.printed().matches(text).count()
    }

    /// Its uuid, as its certificate names it.
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
         [objsync]\naddress = \"{}\"\nport = {}\n",
        options.own,
        sync.ip(),
        sync.port()
    );
    std::fs::write(&own, text).expect("room");
    let program = bin::path("forebay-se");
    let mut command = Command::new(program);
    command.args(["run", "--config"]).arg(own).arg("--controller").arg(controller.to_string());
    command.arg("--state").arg(state).args(["--name", name]).args(&options.arguments);
    Process::start(name, command, lab.folder())
}

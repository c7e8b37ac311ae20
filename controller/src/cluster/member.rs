//! This node's own member of etcd: a child that is started, looked after, and ends with us.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::identity::Files;
use super::kept::Kept;
use crate::store::HISTORY;

/// The pause before it is started again, and the longest one.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// One that has run for so long was well: the next pause is short again.
const WELL: Duration = Duration::from_secs(60);
/// Between two looks whether it lives.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// It has so long to end by itself.
const END: Duration = Duration::from_secs(5);

/// One node of a cluster: what it is called, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name, of letters, digits, `-`, `.`, `_` and `:`.
    pub name: String,
    /// Where the others reach it.
    pub address: IpAddr,
}

impl Node {
    /// Says whether a node may be called so: what Avi's clients call theirs, addresses among it.
    pub fn is_name(text: &str) -> bool {
        (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte))
    }
}

impl std::str::FromStr for Node {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text} is no node: NAME=ADDRESS is, the name of letters, digits, '-', '.', '_' and ':'")
        };
        let (name, address) = text.split_once('=').ok_or_else(wrong)?;
        match (Self::is_name(name), address.parse()) {
            (true, Ok(address)) => Ok(Node { name: name.to_owned(), address }),
            _ => Err(wrong()),
        }
    }
}

/// What a member is started with.
pub struct Plan {
    /// The program.
    pub program: PathBuf,
    /// Where it keeps its data.
    pub folder: PathBuf,
    /// Which node it is, and with which members it begins.
    pub kept: Kept,
    /// Its certificates.
    pub files: Files,
}

pub(super) fn url(address: IpAddr, port: u16) -> String {
    format!("https://{}", std::net::SocketAddr::new(address, port))
}

impl Plan {
    fn command(&self) -> Command {
        // The system ends it with us, however we end.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(&self.program);
        let Kept { own, initial, ports, .. } = &self.kept;
        let (clients, peers) = (url(own.address, ports.0), url(own.address, ports.1));
        let all: Vec<String> =
            initial.iter().map(|node| format!("{}={}", node.name, url(node.address, ports.1))).collect();
        let mut set = |name: &str, value: &str| {
            command.arg(format!("--{name}={value}"));
        };
        set("name", &own.name);
        set("data-dir", &self.folder.display().to_string());
        set("listen-client-urls", &clients);
        set("advertise-client-urls", &clients);
        set("listen-peer-urls", &peers);
        set("initial-advertise-peer-urls", &peers);
        // Of these three nothing counts once there is data.
        set("initial-cluster", &all.join(","));
        set("initial-cluster-token", "forebay");
        set("initial-cluster-state", if self.kept.joins { "existing" } else { "new" });
        set("auto-compaction-mode", "revision");
        set("auto-compaction-retention", &HISTORY.to_string());
        // A node that was cut off and comes back asks before it makes everybody vote anew: the leader stays.
        set("pre-vote", "true");
        set("logger", "zap");
        set("log-level", "error");
        let shown = |file: &Path| file.display().to_string();
        for front in ["", "peer-"] {
            set(&format!("{front}client-cert-auth"), "true");
            set(&format!("{front}trusted-ca-file"), &shown(&self.files.authority));
            set(&format!("{front}cert-file"), &shown(&self.files.certificate));
            set(&format!("{front}key-file"), &shown(&self.files.key));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

/// A member that runs, until this is dropped.
pub struct Member {
    stop: Option<mpsc::Sender<()>>,
    tending: Option<std::thread::JoinHandle<()>>,
}

impl Member {
    /// Where Controllers call these, one by one.
    pub fn endpoints(nodes: &[Node], ports: (u16, u16)) -> Vec<String> {
        nodes.iter().map(|node| url(node.address, ports.0)).collect()
    }

    /// Starts it, and starts it anew for as long as we run.
    ///
    /// # Errors
    /// It cannot be started at all: the text says what to do.
    //= CLUSTER-ETCD-01
    pub fn start(plan: Plan) -> Result<Self, String> {
        let (stop, stopping) = mpsc::channel();
        let (told, tells) = mpsc::channel();
        // A child that ends with the thread that started it: this one lives as long as it is wanted.
        let tending =
            std::thread::Builder::new().name("etcd".to_owned()).spawn(move || tend(&plan, &stopping, &told));
        let tending = tending.map_err(|error| format!("no thread for etcd: {error}"))?;
        let member = Member { stop: Some(stop), tending: Some(tending) };
        tells.recv().unwrap_or_else(|_| Err("etcd was not started".to_owned())).map(|()| member)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(tending) = self.tending.take() {
            let _ = tending.join();
        }
    }
}

fn tend(plan: &Plan, stopping: &mpsc::Receiver<()>, told: &mpsc::Sender<Result<(), String>>) {
    let mut pause = PAUSE;
    loop {
        let began = Instant::now();
        let mut child = match plan.command().spawn() {
            Ok(child) => child,
            Err(error) => {
                let text = format!(
                    "{} cannot be started by setpriv: {error}; install etcd-server and util-linux, or name another \
                     program by --etcd-program",
                    plan.program.display()
                );
                let _ = told.send(Err(text));
                return;
            }
        };
        let _ = told.send(Ok(()));
        let Some(status) = run(&mut child, stopping) else { return end(&mut child) };
        if began.elapsed() >= WELL {
            pause = PAUSE;
        }
        tracing::warn!(
            event = "CLUSTER_ETCD_ENDED",
            %status, pause_ms = pause.as_millis(),
            "this node's member of etcd has ended: it is started again after a pause"
        );
        if stopping.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

/// How it ended; `None`: it is to end.
fn run(child: &mut Child, stopping: &mpsc::Receiver<()>) -> Option<String> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.to_string()),
            Ok(None) => {}
            Err(error) => return Some(error.to_string()),
        }
        if stopping.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
            return None;
        }
    }
}

/// Ends it: it is asked to, and killed if it does not; what it has acknowledged is on its disk.
fn end(child: &mut Child) {
    let asked = Command::new("kill").arg(child.id().to_string()).stderr(Stdio::null()).status();
    let until = Instant::now() + END;
    while asked.is_ok() && Instant::now() < until {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_a_name_and_an_address() {
        let node: Node = "one=192.0.2.1".parse().expect("one");
        assert_eq!((node.name.as_str(), node.address), ("one", "192.0.2.1".parse().expect("one")));
        assert_eq!("2001:db8::1=2001:db8::1".parse::<Node>().expect("one").name, "2001:db8::1");
        for bad in
            ["", "one", "=192.0.2.1", "one=", "one=host", "a,b=192.0.2.1", "a b=192.0.2.1", "a=b=192.0.2.1"]
        {
            assert!(bad.parse::<Node>().expect_err(bad).contains("NAME=ADDRESS"));
        }
    }
}

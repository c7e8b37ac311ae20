//! A service engine as a process under test.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::client::Client;
use crate::metrics::Page;
use crate::process::Process;
use crate::wait::{eventually, eventually_some, secs};
use crate::{Lab, bin, system};

/// A table of usual size takes a second to reserve on a busy machine; a small one takes none.
const TABLE: &str = "persistence_mem_max_bytes = 16777216";

/// How a service engine is started.
pub struct Options {
    /// Worker threads.
    pub workers: u16,
    /// Further keys of `[engine]`.
    pub engine: String,
    /// A program (with arguments) that starts it, for example `prlimit --nofile=64`.
    pub under: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Path of the access log, relative to the lab's folder.
    pub access_log: String,
    /// Memory in GiB.
    pub memory_gib: u16,
    /// Further arguments of `forebay-se run`.
    pub arguments: Vec<String>,
    /// Refuse io_uring with this error number, as a container's filter or a memory limit would.
    pub io_uring_error: Option<i32>,
    /// Refuse these system calls with these error numbers.
    pub refused_calls: Vec<(libc::c_long, i32)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 2,
            engine: TABLE.to_owned(),
            under: Vec::new(),
            env: Vec::new(),
            access_log: "access.log".into(),
            memory_gib: 1,
            arguments: Vec::new(),
            io_uring_error: None,
            refused_calls: Vec::new(),
        }
    }
}

impl Options {
    /// The program, started under another one where that is wanted.
    fn started(&self, program: PathBuf) -> Command {
        match self.under.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        }
    }
}

/// A running service engine.
pub struct Engine {
    /// Its process; if started under another program, that one (which becomes it by exec).
    pub process: Process,
    /// Where metrics are.
    pub metrics: SocketAddr,
    /// Its configuration file.
    pub config: PathBuf,
    folder: PathBuf,
    access_log: PathBuf,
    /// What stands in its file before the configuration that it was started with.
    header: String,
}

impl Engine {
    /// Starts one and waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready within 15 s.
    pub fn start(lab: &Lab, config: &str, options: Options) -> Self {
        let mut engine = Self::spawn(lab, config, &options);
        let listens: Vec<SocketAddr> = listen_addresses(config);
        eventually("the service engine listens", secs(15), || {
            if let Some(status) = engine.process.ended() {
                panic!("the service engine ended: {status}\n{config}");
            }
            TcpStream::connect(engine.metrics).is_ok()
                && listens.iter().all(|a| TcpStream::connect(a).is_ok())
        });
        eventually("the service engine says that it is ready", secs(15), || {
            engine.get("/readyz") == Some(200)
        });
        engine
    }

    /// Starts one without waiting.
    pub fn spawn(lab: &Lab, config: &str, options: &Options) -> Self {
        let metrics = lab.address();
        let name = format!("forebay-se-{}", metrics.port());
        let header = format!(
            "version = 1\n[engine]\nworkers = {}\nmemory_gib = {}\nadmin_socket = \"{name}.sock\"\nmetrics_listen = \"{metrics}\"\naccess_log = {{ path = \"{}\" }}\n{}\n",
            options.workers, options.memory_gib, options.access_log, options.engine
        );
        let file = lab.folder().join(format!("{name}.toml"));
        std::fs::write(&file, format!("{header}{config}")).expect("the lab's folder can be written");
        let program = bin::path("forebay-se");
        let mut command = options.started(program);
        command.arg("run").arg("--config").arg(&file);
        command.args(&options.arguments);
        if let Some(error) = options.io_uring_error {
            system::refuse(&mut command, libc::SYS_io_uring_setup, error);
        }
        for (call, error) in &options.refused_calls {
            system::refuse(&mut command, *call, *error);
        }
        command.envs(options.env.iter().map(|(n, v)| (n, v)));
        let process = Process::start(&name, command, lab.folder()).brief();
        let access_log = lab.folder().join(&options.access_log);
        Self { process, metrics, config: file, folder: lab.folder().to_owned(), access_log, header }
    }

    /// Starts a process that takes over from this one by the same file, without waiting.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn successor(&self, options: &Options) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("successor-{}-{}", self.metrics.port(), COUNT.fetch_add(1, Ordering::Relaxed));
        let program = bin::path("forebay-se");
        let mut command = options.started(program);
        command.args(["run", "--take-over", "--config"]).arg(&self.config).args(&options.arguments);
        command.envs(options.env.iter().map(|(n, v)| (n, v)));
        let process = Process::start(&name, command, &self.folder).brief();
        let (config, folder) = (self.config.clone(), self.folder.clone());
        let (access_log, header) = (self.access_log.clone(), self.header.clone());
        Self { process, metrics: self.metrics, config, folder, access_log, header }
    }

    /// Lets a new process take over and waits until it has; gives the old one.
    ///
    /// # Panics
    /// If it has not within 20 s.
    #[track_caller]
    pub fn upgrade(&mut self, options: &Options) -> Self {
        let next = self.successor(options);
        let mut old = std::mem::replace(self, next);
        // The new one hears its last word.
        old.process.ends_in_good_order();
        eventually("the new process serves", secs(20), || {
            if let Some(status) = self.process.ended() {
                panic!("the new process ended: {status}\n{}", self.process.printed());
            }
            assert!(old.process.ended().is_none_or(|_| old.process.printed().contains("UPGRADE_GIVEN")));
            old.process.printed().contains("UPGRADE_GIVEN") && self.process.printed().contains("SE_UP")
        });
        old
    }

    /// Writes another configuration into its file, in one step; its own settings stay.
    ///
    /// # Panics
    /// If the lab's folder cannot be written.
    pub fn write(&self, config: &str) {
        let fresh = self.config.with_extension("new");
        std::fs::write(&fresh, format!("{}{config}", self.header)).expect("the lab's folder can be written");
        std::fs::rename(fresh, &self.config).expect("the lab's folder can be written");
    }

    /// Makes it load its file again; what it answers. Like the command it asks once more where the process before was met.
    pub fn reload(&self) -> Value {
        let ask = || self.admin(&serde_json::json!({ "command": "reload" }));
        let answer = ask();
        if answer["error"]["code"] == "moved" { ask() } else { answer }
    }

    /// Makes it work by another configuration.
    ///
    /// # Panics
    /// If it does not take it.
    #[track_caller]
    pub fn load(&self, config: &str) {
        self.write(config);
        let answer = self.reload();
        assert_eq!(answer["data"]["outcome"], "loaded", "{answer}");
    }

    /// Status of a GET on the metrics address; `None` without an answer.
    pub fn get(&self, path: &str) -> Option<u16> {
        Client::new(self.metrics).patience(secs(5)).get_once(path).ok().map(|a| a.status)
    }

    /// All metrics.
    ///
    /// # Panics
    /// If the page cannot be read.
    pub fn page(&self) -> Page {
        eventually_some("metrics can be read", secs(5), || Page::read(self.metrics))
    }

    /// Sum of a metric over the rows with these labels.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.page().sum(name, labels)
    }

    /// Whether it has a connection open over which somebody asked for metrics (IPv4).
    ///
    /// # Panics
    /// If the engine is gone.
    pub fn asked_for_metrics(&self) -> bool {
        const LISTEN: &str = "0A";
        let table = format!("/proc/{}/net/tcp", self.process.pid());
        let text = std::fs::read_to_string(table).expect("the engine runs");
        text.lines().skip(1).any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, state, inode) = (fields.next(), fields.nth(1), fields.nth(5));
            // The kernel writes the address in its own byte order, and the number of a closed socket as 0.
            let at_metrics = local.is_some_and(|local| local == hexadecimal(self.metrics));
            at_metrics && state != Some(LISTEN) && inode != Some("0")
        })
    }

    /// The lines of the access log so far.
    ///
    /// # Panics
    /// If one is no JSON object.
    pub fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.access_log).unwrap_or_default();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete
            .lines()
            .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("a log line is no JSON: {e}: {l}")))
            .collect()
    }

    /// Waits for log lines that fit, and returns them once there are `n`.
    ///
    /// # Panics
    /// If there are not within 5 s.
    pub fn log_lines(&self, n: usize, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        eventually_some(&format!("{n} fitting lines in the access log"), secs(5), || {
            let lines: Vec<Value> = self.log().into_iter().filter(&fits).collect();
            (lines.len() >= n).then_some(lines)
        })
    }

    /// Runs one of its commands against its admin socket and returns what it prints.
    ///
    /// # Panics
    /// If the command fails.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let socket = self.config.with_extension("sock");
        let mut command = Command::new(bin::path("forebay-se"));
        command.args(arguments).arg("--socket").arg(socket).current_dir(&self.folder);
        let done = command.output().expect("the program starts");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&done.stderr));
        text
    }

    /// What it says of the state of this server, and why.
    ///
    /// # Panics
    /// If it does not know the server.
    pub fn why(&self, server: SocketAddr) -> String {
        let answer: Value = serde_json::from_str(&self.ask(&["servers", "--output", "json"])).expect("JSON");
        let servers = answer["servers"].as_array().expect("a list of servers");
        let line = servers.iter().find(|s| s["server"] == server.to_string().as_str()).expect("the server");
        line["why"].as_str().unwrap_or_default().to_owned()
    }

    /// Sends one line to its admin socket and returns the answer.
    ///
    /// # Panics
    /// If the socket does not answer with JSON.
    pub fn admin(&self, request: &Value) -> Value {
        let mut socket = UnixStream::connect(self.config.with_extension("sock")).expect("the admin socket");
        socket.set_read_timeout(Some(secs(5))).expect("a time-out above zero");
        socket.write_all(format!("{request}\n").as_bytes()).expect("the admin socket takes a line");
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).expect("the admin socket answers");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }

    /// Waits until a server is up in every pool, or found down or in maintenance in every one (one that is not known yet
    /// is neither), as metrics say.
    ///
    /// # Panics
    /// If it does not within 15 s.
    pub fn wait_for_server(&self, server: SocketAddr, up: bool) {
        let states: &[&str] = if up { &["up"] } else { &["down", "maintenance"] };
        let label = server.to_string();
        eventually(&format!("{server} is {}", if up { "up" } else { "down" }), secs(15), || {
            let page = self.page();
            let pools = page.rows("forebay_server_up", &[("server", &label)]).count();
            let sum = |state: &&str| {
                page.sum("forebay_server_state", &[("server", &label), ("forebay_server_state", state)])
            };
            pools > 0 && states.iter().map(sum).sum::<f64>() == pools as f64
        });
    }

    /// Waits until this server is in this state ("checking", "up", "down", "maintenance") everywhere.
    ///
    /// # Panics
    /// If it is not within 15 s.
    pub fn wait_for_state(&self, server: SocketAddr, state: &str) {
        let label = server.to_string();
        eventually(&format!("{server} is in state {state}"), secs(15), || {
            let page = self.page();
            let row = [("server", label.as_str()), ("forebay_server_state", state)];
            let mut rows = page.rows("forebay_server_state", &row).peekable();
            rows.peek().is_some() && rows.all(|r| r.value == 1.0)
        });
    }
}

/// An IPv4 address and port as the kernel's tables of sockets write them.
///
/// # Panics
/// If it is an IPv6 address.
pub fn hexadecimal(address: SocketAddr) -> String {
    let SocketAddr::V4(v4) = address else { panic!("{address}: metrics are asked for by IPv4 in tests") };
    format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port())
}

fn listen_addresses(config: &str) -> Vec<SocketAddr> {
    // Nobody can connect to a service of datagrams.
    let is_udp =
        |section: &&str| section.split("[[").next().unwrap_or_default().contains("protocol = \"udp\"");
    config
        .split("[[virtual_service]]")
        .filter(|section| !is_udp(section))
        .flat_map(str::lines)
        .filter_map(|l| l.strip_prefix("listen = ["))
        .flat_map(|l| l.trim_end_matches(']').split(','))
        .filter_map(|a| a.trim().trim_matches('"').parse().ok())
        .collect()
}

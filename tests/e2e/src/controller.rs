//! A Controller as a process under test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::process::Process;
use crate::wait::{eventually, secs};
use crate::{Lab, bin};

/// A running Controller.
pub struct Controller {
    /// Its process.
    pub process: Process,
    /// Where its API is.
    pub address: SocketAddr,
    /// Where it lets engines in.
    pub engines: SocketAddr,
    /// The password of `admin`.
    pub password: String,
    /// Where it keeps everything.
    pub data: PathBuf,
    /// Further arguments of its program.
    arguments: Vec<String>,
    /// What starts its program, as in a namespace of its own.
    under: Vec<String>,
    /// What its environment has beside from its next start on, as a clock of its own.
    pub env: Vec<(String, String)>,
}

impl Controller {
    /// Starts one with an empty store and waits until its API answers.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(lab: &Lab) -> Self {
        Self::start_with(lab, &[])
    }

    /// As [`Controller::start`], with further arguments.
    ///
    /// # Panics
    /// As [`Controller::start`].
    pub fn start_with(lab: &Lab, arguments: &[&str]) -> Self {
        Self::start_under(lab, &[], arguments)
    }

    /// As [`Controller::start_with`], by another program that is given it to start.
    ///
    /// # Panics
    /// As [`Controller::start`].
    pub fn start_under(lab: &Lab, under: &[String], arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let data = lab.folder().join("controller");
        let address = lab.address();
        let engines = lab.address();
        let (process, log) = Self::spawn(lab, &data, (address, engines), (under, &arguments), &[]);
        let mut controller = Controller {
            process,
            address,
            engines,
            password: String::new(),
            data,
            arguments,
            under: under.to_vec(),
            env: Vec::new(),
        };
        controller.comes_up();
        let said = std::fs::read_to_string(log).expect("its output");
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix("password: "))
            .expect("it says its first password");
        controller.password = line.split(' ').next().expect("a word").to_owned();
        controller
    }

    /// Starts another process over what this one has left behind.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn again(&mut self, lab: &Lab) {
        let at = (self.address, self.engines);
        self.process = Self::spawn(lab, &self.data, at, (&self.under, &self.arguments), &self.env).0;
        self.comes_up();
    }

    fn spawn(
        lab: &Lab,
        data: &std::path::Path,
        (address, engines): (SocketAddr, SocketAddr),
        (under, arguments): (&[String], &[String]),
        env: &[(String, String)],
    ) -> (Process, PathBuf) {
        let name = format!("controller-{}", address.port());
        let program = bin::path("forebay-controller");
        let mut command = match under {
            [] => Command::new(program),
            [first, further @ ..] => {
                let mut command = Command::new(first);
                command.args(further).arg(program);
                command
            }
        };
        command.arg("--data-dir").arg(data).arg("--listen").arg(address.to_string());
        command.arg("--listen-engines").arg(engines.to_string()).args(arguments).envs(env.iter().cloned());
        (Process::start(&name, command, lab.folder()).brief(), lab.folder().join(format!("{name}.log")))
    }

    /// What it has printed and logged.
    ///
    /// # Panics
    /// If its log is gone.
    pub fn said(&self, lab: &Lab) -> String {
        let log = lab.folder().join(format!("controller-{}.log", self.address.port()));
        std::fs::read_to_string(log).expect("its output")
    }

    fn comes_up(&mut self) {
        let address = self.address;
        eventually("the Controller answers", secs(15), || {
            if let Some(status) = self.process.ended() {
                panic!("the Controller ended: {status}");
            }
            let (status, _) = Curl::at(address).get("/api/cluster/status");
            status == 200
        });
    }

    /// A client that is `admin`, by its password with each request.
    pub fn admin(&self) -> Curl {
        Curl::at(self.address).with(&["--user", &format!("admin:{}", self.password)])
    }

    /// A client that is nobody.
    pub fn nobody(&self) -> Curl {
        Curl::at(self.address)
    }
}

/// Requests by curl.
#[derive(Clone)]
pub struct Curl {
    base: String,
    arguments: Vec<String>,
}

impl Curl {
    /// At this Controller, as nobody.
    pub fn at(address: SocketAddr) -> Self {
        Curl { base: format!("https://{address}"), arguments: Vec::new() }
    }

    /// With further arguments of curl.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Asks for a path.
    pub fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, None)
    }

    /// Sends a document.
    pub fn send(&self, method: &str, path: &str, document: &Value) -> (u16, Value) {
        self.ask(method, path, Some(document.to_string().as_bytes()))
    }

    /// Sends bytes, and gives the status (0: no answer) and the content; what is no JSON is `Null`.
    ///
    /// # Panics
    /// If curl cannot be started.
    pub fn ask(&self, method: &str, path: &str, content: Option<&[u8]>) -> (u16, Value) {
        use std::io::Write;
        use std::process::Stdio;
        let mut command = Command::new(bin::foreign("curl", "curl"));
        command.args(["--silent", "--insecure", "--max-time", "20", "--write-out", "\n%{http_code}"]);
        command.args(["--request", method]).args(&self.arguments).arg(format!("{}{path}", self.base));
        if content.is_some() {
            command.args(["--header", "Content-Type: application/json", "--data-binary", "@-"]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("curl starts");
        let mut input = child.stdin.take().expect("a pipe");
        let content = content.unwrap_or_default().to_vec();
        // Who refuses long content does not read all of it.
        let writer = std::thread::spawn(move || {
            let _ = input.write_all(&content);
        });
        let out = child.wait_with_output().expect("curl ends");
        let _ = writer.join();
        let text = String::from_utf8_lossy(&out.stdout);
        let (content, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
        (status.parse().unwrap_or(0), serde_json::from_str(content).unwrap_or(Value::Null))
    }
}

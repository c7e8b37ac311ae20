//! The command line against a Controller.

mod enter;
mod files;
mod logs;
mod objects;
mod shell;

use std::io::Write;
use std::process::{Command, Stdio};

use forebay_e2e::{Controller, Lab, bin};

/// A user with a home of their own.
struct User {
    lab: Lab,
    controller: Controller,
}

/// What a command left behind.
struct Done {
    code: i32,
    out: String,
    err: String,
}

impl User {
    /// Of a Controller that nobody has logged in at.
    fn new() -> Self {
        let lab = Lab::new();
        let controller = Controller::start(&lab);
        User { lab, controller }
    }

    /// That has logged in.
    fn at_home() -> Self {
        let user = User::new();
        user.log_in().says(0, "you are admin");
        user
    }

    fn at(&self) -> String {
        self.controller.address.to_string()
    }

    /// The fingerprint that the Controller printed.
    fn fingerprint(&self) -> String {
        let said = self.controller.said(&self.lab);
        let mut lines = said.lines().filter_map(|line| line.strip_prefix("certificate: "));
        lines.next_back().expect("a fingerprint").to_owned()
    }

    fn log_in(&self) -> Done {
        let (at, fingerprint) = (self.at(), self.fingerprint());
        let password = self.controller.password.clone() + "\n";
        self.fed(&["login", &at, "--fingerprint", &fingerprint, "--password-stdin"], &password)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(bin::path("forebay"));
        command.args(arguments).env("HOME", self.lab.folder()).env("LC_ALL", "C.UTF-8");
        for name in ["XDG_CONFIG_HOME", "FOREBAY_CONTROLLER", "FOREBAY_TENANT"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        self.fed(arguments, "")
    }

    /// With something on standard input.
    fn fed(&self, arguments: &[&str], input: &str) -> Done {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        // Who ends before it has read all of it closes the pipe.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let out = child.wait_with_output().expect("it ends");
        Done {
            code: out.status.code().unwrap_or(-1),
            out: String::from_utf8(out.stdout).expect("text"),
            err: String::from_utf8(out.stderr).expect("text"),
        }
    }
}

impl Done {
    /// It ended with this code, and somewhere stands this text.
    #[track_caller]
    fn says(&self, code: i32, text: &str) -> &Self {
        let said = format!("{}{}", self.out, self.err);
        assert!(
            self.code == code && said.contains(text),
            "wanted {code} and {text:?}, got {}:\n{said}",
            self.code
        );
        self
    }
}

//! Clients that speak TLS, by other people's libraries: curl, OpenSSL, Python.

mod attacks;
mod certificates;
mod clients;
mod early;
mod files;
mod foreign;
mod handshakes;
mod identity;
mod idle;
mod persistence;
mod resumption;
mod secrets;
mod stapled;
mod strict;
mod undumped;
mod visitors;

use std::net::SocketAddr;
use std::process::{Command, Output};

use forebay_e2e::pki::{self, EC};
use forebay_e2e::{Demo, Engine, Lab, Options, bin, config};

/// A service `web` over TLS with a certificate for `app.test`, before three demo servers.
struct Secured {
    engine: Engine,
    _servers: [Demo; 3],
    at: SocketAddr,
    lab: Lab,
}

/// The certificate `app`, for the name `app.test`, by the authority `ca`.
fn app(lab: &Lab) {
    pki::authority(lab.folder(), "ca");
    pki::certificate(lab.folder(), "app", "ca", EC, "DNS:app.test", 2);
}

/// The scene; `keys` of the service, `pool` of the pool, and further sections.
fn secured(keys: &str, pool: &str, sections: &str) -> Secured {
    let lab = Lab::new();
    app(&lab);
    let servers = lab.demos(["a", "b", "c"]);
    let at = lab.address();
    let keys = format!("certificates = [\"app\"]\n{keys}");
    let text = format!(
        "{}{}{}{}{sections}",
        config::COOKIE_KEY,
        config::service_with("web", at, &keys),
        config::pool("web", pool, &servers.each_ref().map(|server| server.address)),
        pki::section("app"),
    );
    let engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    Secured { engine, _servers: servers, at, lab }
}

impl Secured {
    /// curl's answer.
    #[track_caller]
    fn curl(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.try_curl(arguments);
        let text = String::from_utf8_lossy(&stdout).into_owned();
        assert!(status.success(), "{arguments:?}: {status}\n{text}{}", String::from_utf8_lossy(&stderr));
        text
    }

    /// Runs curl, which knows where `app.test` is; a path of the service is given as `/path`.
    fn try_curl(&self, arguments: &[&str]) -> Output {
        let SocketAddr::V4(at) = self.at else { unreachable!("labs are IPv4") };
        let base = format!("https://app.test:{}", at.port());
        let mut command = Command::new(bin::foreign("curl", "curl"));
        command.args(["--silent", "--show-error", "--fail", "--max-time", "20", "--cacert", "ca.pem"]);
        command.args(["--resolve", &format!("app.test:{}:{}", at.port(), at.ip())]);
        for argument in arguments {
            match argument.strip_prefix('/') {
                Some(path) => command.arg(format!("{base}/{path}")),
                None => command.arg(argument),
            };
        }
        command.current_dir(self.lab.folder()).output().expect("curl starts")
    }

    /// What a Python program prints; `at()` gives it a connection, `talk(name)` one with a handshake made.
    #[track_caller]
    fn python(&self, script: &str) -> String {
        python(&self.lab, self.at, script)
    }
}

/// What a Python program prints that has a few words of its own for `at`.
#[track_caller]
fn python(lab: &Lab, at: SocketAddr, script: &str) -> String {
    let prelude = format!(
        "import hashlib, socket, ssl, sys, time\n\
         def at():\n    s = socket.create_connection(('{}', {}), 20)\n    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\n    return s\n\
         def context(**keys):\n    c = ssl.create_default_context(cafile='ca.pem')\n    [setattr(c, k, v) for k, v in keys.items()]\n    return c\n\
         def talk(name='app.test', over=None, **keys):\n    return context(**keys).wrap_socket(over or at(), server_hostname=name, suppress_ragged_eofs=False)\n\
         def rest(s):\n    out = b''\n    while True:\n        more = s.recv(65536)\n        if not more: return out\n        out += more\n",
        at.ip(),
        at.port()
    );
    let Output { status, stdout, stderr } = Command::new(bin::foreign("python3", "python3"))
        .args(["-c", &format!("{prelude}{script}")])
        .current_dir(lab.folder())
        .output()
        .expect("python3 starts");
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{status}\n{text}{}", String::from_utf8_lossy(&stderr));
    text
}

/// What `openssl s_client` says of a handshake, with further words.
fn s_client(lab: &Lab, at: SocketAddr, words: &str) -> String {
    let mut command = Command::new(bin::foreign("openssl", "openssl"));
    command
        .args(["s_client", "-connect", &at.to_string(), "-CAfile", "ca.pem"])
        .args(words.split_whitespace());
    command.current_dir(lab.folder()).stdin(std::process::Stdio::null());
    let Output { stdout, stderr, .. } = command.output().expect("openssl starts");
    String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr)
}

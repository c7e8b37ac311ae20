use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use clap::Args;

use crate::tool::{apt, process, tree};

/// Find what this machine lacks, name it, and install it with --install
#[derive(Args)]
pub struct Setup {
    /// Install what is missing (Debian packages as root or through sudo; parts of the Rust toolchain)
    #[arg(long)]
    install: bool,
}

/// A thing that may be missing.
struct Need {
    /// How to see that it is there.
    sign: Sign,
    cure: Cure,
    used_for: &'static str,
    /// The commands and stages of the gate that cannot do without.
    wanted: &'static [&'static str],
}

/// All that compiles something of ours.
const COMPILING: &[&str] =
    &["up", "build", "unit", "doc", "fuzz", "e2e", "wasm", "clippy", "bench", "fuzz-search"];
/// All that talks to foreign programs.
const FOREIGN: &[&str] = &["e2e"];
const LOADING: &[&str] = &["e2e", "bench"];

enum Sign {
    Program(&'static str),
    AnyFile(&'static [&'static str]),
    /// `cargo <word>` answers.
    Cargo(&'static str),
    PythonModule(&'static str),
    WasmTarget,
}

#[derive(PartialEq, Eq)]
enum Cure {
    Package(&'static str),
    Component(&'static str),
    WasmScript,
}

/// Makes the `wasm32-unknown-unknown` target usable, with or without rustup's download.
pub const WASM_SCRIPT: &str = "xtask/toolchain/wasm-toolchain.sh";

const NEEDS: &[Need] = &[
    need(Sign::Program("cc"), Cure::Package("gcc"), "linking, and the C parts of aws-lc", COMPILING),
    need(
        Sign::AnyFile(&["/usr/include/stdlib.h", "/usr/include/x86_64-linux-musl/stdlib.h"]),
        Cure::Package("libc6-dev"),
        "linking, and the C parts of aws-lc",
        COMPILING,
    ),
    need(Sign::Program("c++"), Cure::Package("g++"), "libFuzzer", &["fuzz-search"]),
    need(Sign::Cargo("fmt"), Cure::Component("rustfmt"), "the stage fmt", &["fmt"]),
    need(Sign::Cargo("clippy"), Cure::Component("clippy"), "the stage clippy", &["clippy"]),
    need(Sign::WasmTarget, Cure::WasmScript, "pure crates and the core component", &["wasm"]),
    need(Sign::Program("curl"), Cure::Package("curl"), "a foreign client", FOREIGN),
    need(Sign::Program("wrk"), Cure::Package("wrk"), "a foreign client under load", LOADING),
    need(Sign::Program("h2load"), Cure::Package("nghttp2-client"), "a foreign client under load", LOADING),
    need(Sign::Program("nghttpd"), Cure::Package("nghttp2-server"), "a foreign server of HTTP/2", FOREIGN),
    need(Sign::Program("go"), Cure::Package("golang-go"), "building judges of HTTP/2 and gRPC", LOADING),
    need(
        Sign::Program("haproxy"),
        Cure::Package("haproxy"),
        "a foreign peer and the measure of cost",
        LOADING,
    ),
    need(Sign::Program("nginx"), Cure::Package("nginx"), "a foreign server and the measure of cost", LOADING),
    need(
        Sign::AnyFile(&[
            "/usr/lib/nginx/modules/ngx_stream_module.so",
            "/usr/share/nginx/modules-available/mod-stream.conf",
        ]),
        Cure::Package("libnginx-mod-stream"),
        "nginx as a TCP proxy",
        LOADING,
    ),
    need(Sign::Program("python3"), Cure::Package("python3"), "the load harness", LOADING),
    need(
        Sign::PythonModule("websockets"),
        Cure::Package("python3-websockets"),
        "a foreign WebSocket client",
        FOREIGN,
    ),
    need(
        Sign::PythonModule("ensurepip"),
        Cure::Package("python3-venv"),
        "judges in Python, pinned beside their test",
        FOREIGN,
    ),
    need(Sign::Program("testssl"), Cure::Package("testssl.sh"), "a judge of TLS", FOREIGN),
    need(Sign::Program("chromium"), Cure::Package("chromium"), "a browser", FOREIGN),
    need(
        Sign::Program("redis-server"),
        Cure::Package("redis-server"),
        "tables by way of Redis, and a foreign TCP service",
        LOADING,
    ),
    need(Sign::Program("redis-cli"), Cure::Package("redis-tools"), "a foreign TCP client", FOREIGN),
    need(Sign::Program("etcd"), Cure::Package("etcd-server"), "the store of several Controllers", FOREIGN),
    need(Sign::Program("dig"), Cure::Package("bind9-dnsutils"), "a foreign client of datagrams", FOREIGN),
    need(Sign::Program("dnsmasq"), Cure::Package("dnsmasq-base"), "a foreign name server", FOREIGN),
    need(Sign::Program("iperf3"), Cure::Package("iperf3"), "foreign bulk traffic", FOREIGN),
    need(Sign::Program("ip"), Cure::Package("iproute2"), "network namespaces", LOADING),
    need(Sign::Program("faketime"), Cure::Package("faketime"), "clocks that jump", FOREIGN),
    need(Sign::Program("systemd-analyze"), Cure::Package("systemd"), "the unit file is checked", FOREIGN),
    need(
        Sign::Program("openssl"),
        Cure::Package("openssl"),
        "certificates, and a foreign TLS server",
        LOADING,
    ),
    need(
        Sign::AnyFile(&["/usr/include/openssl/ssl.h"]),
        Cure::Package("libssl-dev"),
        "the load generator",
        &["bench"],
    ),
];

const fn need(sign: Sign, cure: Cure, used_for: &'static str, wanted: &'static [&'static str]) -> Need {
    Need { sign, cure, used_for, wanted }
}

impl Setup {
    pub fn run(self) -> Result<ExitCode> {
        let all: Vec<&str> = NEEDS.iter().flat_map(|need| need.wanted).copied().collect();
        ensure(&all, self.install || process::in_ci())?;
        println!("xtask: nothing is missing for `cargo xtask up` and `cargo xtask test`");
        Ok(ExitCode::SUCCESS)
    }
}

/// Checks that nothing is missing for these commands and stages; installs if asked to.
///
/// # Errors
/// Something is missing and may not or could not be installed; the message names the one command.
pub fn ensure(wanted: &[&str], install: bool) -> Result<()> {
    let missing = missing(wanted);
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("xtask: this machine lacks");
    for need in &missing {
        eprintln!("  {:<42} for {}", name(&need.cure), need.used_for);
    }
    if !install {
        eprintln!("install all of it with: cargo xtask setup --install");
        eprintln!("which runs: {}", commands(&missing).join(" && "));
        bail!("{} things are missing", missing.len());
    }
    let packages = packages(&missing);
    if !packages.is_empty() {
        apt::install(&packages)?;
    }
    for need in &missing {
        match need.cure {
            Cure::Package(_) => {}
            Cure::Component(component) => {
                process::run(Command::new("rustup").args(["component", "add", component]))?;
            }
            Cure::WasmScript => {
                println!("xtask: making the wasm32 target usable (a minute, more without rustup's download)");
                process::output(Command::new("sh").arg(WASM_SCRIPT).current_dir(tree::root()))?;
            }
        }
    }
    let still = self::missing(wanted);
    if let Some(first) = still.first() {
        bail!("after installing, {} is still missing", name(&first.cure));
    }
    Ok(())
}

fn missing(wanted: &[&str]) -> Vec<&'static Need> {
    needed(wanted).filter(|need| !is_there(&need.sign)).collect()
}

/// What these commands and stages cannot do without, there or not.
fn needed(wanted: &[&str]) -> impl Iterator<Item = &'static Need> {
    NEEDS.iter().filter(|need| need.wanted.iter().any(|w| wanted.contains(w)))
}

fn is_there(sign: &Sign) -> bool {
    let quiet = |command: &mut Command| {
        command.current_dir(tree::root()).output().is_ok_and(|out| out.status.success())
    };
    match sign {
        Sign::Program(program) => process::find(program).is_some(),
        Sign::AnyFile(files) => files.iter().any(|file| Path::new(file).exists()),
        Sign::Cargo(word) => quiet(&mut process::cargo(&[word, "--version"])),
        Sign::PythonModule(module) => {
            // The distribution's Python: tests call it by its full path where they need its modules.
            quiet(Command::new("/usr/bin/python3").args(["-c", &format!("import {module}")]))
        }
        Sign::WasmTarget => quiet(Command::new("sh").args([WASM_SCRIPT, "--check"])),
    }
}

fn name(cure: &Cure) -> String {
    match cure {
        Cure::Package(package) => format!("the package {package}"),
        Cure::Component(component) => format!("the toolchain component {component}"),
        Cure::WasmScript => "the target wasm32-unknown-unknown".to_owned(),
    }
}

fn packages(missing: &[&'static Need]) -> Vec<&'static str> {
    let mut names: Vec<&str> = missing
        .iter()
        .filter_map(|need| match need.cure {
            Cure::Package(package) => Some(package),
            _ => None,
        })
        .collect();
    names.dedup();
    names
}

fn commands(missing: &[&'static Need]) -> Vec<String> {
    let mut lines = Vec::new();
    let packages = packages(missing);
    if !packages.is_empty() {
        lines.push(apt::shown(&packages));
    }
    for need in missing {
        match need.cure {
            Cure::Package(_) => {}
            Cure::Component(component) => lines.push(format!("rustup component add {component}")),
            Cure::WasmScript => lines.push(format!("sh {WASM_SCRIPT}")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_names_every_missing_thing_once() {
        let all: Vec<&Need> = NEEDS.iter().collect();
        let line = commands(&all).join(" && ");
        for word in ["apt-get install", " curl ", " haproxy ", "component add clippy", WASM_SCRIPT] {
            assert_eq!(line.matches(word).count(), 1, "{word} in {line}");
        }
    }

    #[test]
    fn a_program_that_does_not_exist_is_missing() {
        assert!(!is_there(&Sign::Program("no-such-program-anywhere")));
        assert!(is_there(&Sign::Program("sh")));
        assert!(!is_there(&Sign::AnyFile(&["/no/such/file"])));
    }

    #[test]
    fn every_foreign_program_of_the_tests_is_installed_by_us_or_part_of_any_system() {
        // Of packages that Debian marks as essential or required, and what runs this.
        const THERE: &[&str] = &["dpkg", "util-linux", "rustup"];
        let known: Vec<_> = NEEDS.iter().map(|need| name(&need.cure)).collect();
        let files = tree::read_all(&tree::root().join("tests")).expect("the tests");
        let mut seen = 0;
        for file in files.iter().filter(|file| file.is("rs")) {
            for (at, _) in file.text.match_indices("foreign(\"") {
                let package = file.text[at..].split('"').nth(3).expect("a package");
                seen += 1;
                let is_known = known.contains(&format!("the package {package}")) || THERE.contains(&package);
                assert!(is_known, "{}: {package} is installed by nobody", file.path);
            }
        }
        assert!(seen > 20, "the tests are read: {seen}");
    }

    #[test]
    fn up_needs_less_than_test() {
        let names = |wanted: &[&str]| needed(wanted).map(|n| name(&n.cure)).collect::<Vec<_>>();
        assert_eq!(names(&["up"]), ["the package gcc", "the package libc6-dev"]);
        let test = names(&crate::gate::stage_names());
        for foreign in ["curl", "wrk", "nghttp2-client", "haproxy", "nginx", "python3-websockets"] {
            assert!(
                test.contains(&format!("the package {foreign}")),
                "{foreign} is needed by tests: {test:?}"
            );
        }
        for part in ["rustfmt", "clippy"] {
            assert!(test.contains(&format!("the toolchain component {part}")), "{part}: {test:?}");
        }
    }

    #[test]
    fn a_need_names_only_stages_and_commands_that_exist() {
        let stages = crate::gate::stage_names();
        for word in NEEDS.iter().flat_map(|n| n.wanted) {
            assert!(stages.contains(word) || ["up", "bench", "fuzz-search"].contains(word), "{word}");
        }
    }
}

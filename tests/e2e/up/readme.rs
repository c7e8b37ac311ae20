//! The commands of the README, run as they stand there.

use std::path::{Path, PathBuf};
use std::process::Command;

use forebay_e2e::scene::tally;
use forebay_e2e::wait::secs;
use forebay_e2e::{Lab, Network, Process, bin, eventually, eventually_some};

/// The configuration file that the README runs.
const EXAMPLE: &str = "docs/examples/se.toml";

/// A new user's machine: all ports are free, the home is empty, everything is built.
struct Desk {
    lab: Lab,
    root: PathBuf,
    programs: PathBuf,
    windows: u32,
}

impl Desk {
    fn new() -> Self {
        let lab = Lab::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let programs = bin::path("forebay-xtask").parent().unwrap().to_owned();
        let desk = Self { lab, root, programs, windows: 0 };
        // A copy: what the engine makes lands beside its configuration, and never in the repository.
        let example = desk.lab.folder().join(EXAMPLE);
        std::fs::create_dir_all(example.parent().unwrap()).unwrap();
        std::fs::copy(desk.root.join(EXAMPLE), &example).unwrap();
        let shim = desk.lab.folder().join("path");
        std::fs::create_dir(&shim).unwrap();
        // The programs are there, and no older than their sources (`bin::path`): building them anew in
        // the middle of a test would show nothing but take minutes. All else is cargo's and xtask's own.
        let xtask = desk.programs.join("forebay-xtask");
        let real = bin::foreign("cargo", "rustup");
        let text = format!(
            "#!/bin/sh\ncase $1 in\nbuild) exit 0 ;;\nxtask) shift; exec {} \"$@\" ;;\nesac\nexec {} \"$@\"\n",
            xtask.display(),
            real.display()
        );
        let cargo = shim.join("cargo");
        std::fs::write(&cargo, text).unwrap();
        std::fs::set_permissions(&cargo, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        desk
    }

    /// A line as the shell gets it.
    fn shell(&self, line: &str) -> Command {
        let line = line.replace("target/gate/", &format!("{}/", self.programs.display()));
        // A failed request is to be seen.
        let line = line.replace("curl ", "curl --silent --show-error --fail ");
        let here = if line.contains("cargo ") { &self.root } else { self.lab.folder() };
        let line = format!("cd {} && {line}", here.display());
        let home = std::env::var("HOME").unwrap_or_default();
        let of_rust = |name: &str, folder: &str| std::env::var(name).unwrap_or(format!("{home}/{folder}"));
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command.args(["-c", &line]);
        command.env("CARGO_HOME", of_rust("CARGO_HOME", ".cargo"));
        command.env("RUSTUP_HOME", of_rust("RUSTUP_HOME", ".rustup"));
        command.env("CARGO_TARGET_DIR", self.programs.parent().unwrap());
        command.env("HOME", self.lab.folder()).env_remove("XDG_STATE_HOME").env_remove("CARGO");
        command.env("PATH", format!("{}:{path}", self.lab.folder().join("path").display()));
        command
    }

    /// Runs a line to its end; returns what it prints.
    fn run(&self, line: &str) -> String {
        let done = self.shell(line).output().unwrap();
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{line}\n{text}{}", String::from_utf8_lossy(&done.stderr));
        text
    }

    /// Starts a line in a window of its own and waits until it prints `ready`.
    fn open(&mut self, line: &str, ready: &str) -> (Process, String) {
        self.windows += 1;
        let process = Process::start(
            &format!("window-{}", self.windows),
            self.shell(&format!("exec {line}")),
            self.lab.folder(),
        );
        let text = eventually_some(&format!("{line} prints {ready:?}"), secs(30), || {
            Some(process.printed()).filter(|t| t.contains(ready))
        });
        (process, text)
    }
}

/// The commands of the README's shell blocks, each with the comment behind it.
fn commands(root: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root.join("README.md")).unwrap();
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let lines = blocks.flat_map(str::lines).filter(|line| !line.is_empty());
    let commands = lines.map(|line| {
        let (command, comment) = line.split_once(" # ").unwrap_or((line, ""));
        (command.trim().to_owned(), comment.to_owned())
    });
    commands.collect()
}

/// The `"server"` of each answer of a demo server.
fn servers(answers: &str) -> Vec<String> {
    let lines = answers.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    lines.filter_map(|answer| answer["server"].as_str().map(str::to_owned)).collect()
}

#[test]
fn every_command_of_the_readme_works_as_it_stands() {
    let Some(network) = Network::own() else { return };
    let mut desk = Desk::new();
    let mut windows = Vec::new();
    let mut greeting = String::new();
    let mut seen = Vec::new();
    for (command, comment) in commands(&desk.root) {
        let short = command.split(' ').filter(|w| !w.starts_with('-')).take(3).collect::<Vec<_>>().join(" ");
        match short.as_str() {
            "cargo xtask up" if !command.contains("--server") => {
                let (up, text) = desk.open(&command, "Ctrl-C stops all of it");
                for address in ["127.0.0.1:8080", "127.0.0.1:8083", "/.local/state/forebay/up"] {
                    assert!(text.contains(address), "the README counts on {address}: {text}");
                }
                windows.push(up);
                greeting = text;
            }
            "cargo xtask down" => {
                let text = desk.run(&command);
                let folder = desk.lab.folder().join(".local/state/forebay/up");
                assert!(text.contains(&format!("removed  {}\n", folder.display())), "{text}");
                assert!(!folder.exists(), "{text}");
            }
            // A person types yes and the password.
            "target/gate/forebay login 127.0.0.1:9443" => {
                let behind = |word: &str| {
                    let mut words = greeting.split_whitespace().skip_while(|held| *held != word).skip(1);
                    words.next().expect("up has said it").to_owned()
                };
                let (password, fingerprint) = (behind("password"), behind("--fingerprint"));
                let input = format!("echo '{password}' | {command} --password-stdin");
                desk.run(&format!("{input} --fingerprint {fingerprint}"));
            }
            "target/gate/forebay vs list" => assert!(desk.run(&command).contains("cookie"), "{command}"),
            "target/gate/forebay scaleout cookie" => {
                desk.run(&command);
            }
            "target/gate/forebay shell" => {
                for words in comment.split(": ").nth(1).expect("what to type").split(", ") {
                    desk.run(&format!("echo {words} | {command}"));
                }
            }
            "cargo xtask up" => {
                let there = ["10.0.0.11", "10.0.0.12"];
                network.add(there.map(|ip| ip.parse().unwrap()));
                let own = there.map(|ip| desk.lab.demo_at(ip, format!("{ip}:80").parse().unwrap()));
                let (mut up, text) = desk.open(&command, "Ctrl-C stops all of it");
                assert!(own.iter().all(|server| text.contains(&server.address.to_string())), "{text}");
                let url = text.split_whitespace().filter(|w| w.starts_with("http://")).nth(3).unwrap();
                let answers = (0..20).map(|_| desk.run(&format!("curl {url}"))).collect::<String>();
                assert_eq!(tally(servers(&answers)).keys().collect::<Vec<_>>(), there);
                up.signal(libc::SIGINT);
                assert!(up.wait(secs(15)).success(), "Ctrl-C stops it: {}", up.printed());
            }
            // The whole gate does not fit into one of its tests: that it is there and says what it does.
            "cargo xtask test" => {
                assert!(desk.run(&format!("{command} --list")).lines().count() > 10);
                assert!(desk.run(&format!("{command} --help")).contains("--install"));
            }
            line if line.starts_with("curl http") => {
                let answers = (0..10).map(|_| desk.run(&command)).collect::<String>();
                assert_eq!(tally(servers(&answers)).len(), 3, "{comment}: {answers}");
            }
            _ if command.starts_with("curl --cacert") => {
                let answers = (0..10).map(|_| desk.run(&command)).collect::<String>();
                assert_eq!(tally(servers(&answers)).into_values().sum::<usize>(), 10, "{answers}");
                assert!(answers.contains("https"), "servers hear of it: {answers}");
            }
            line if line.starts_with("curl") => {
                let answers = (0..10).map(|_| desk.run(&command)).collect::<String>();
                assert_eq!(tally(servers(&answers)).into_values().collect::<Vec<_>>(), [20], "{answers}");
            }
            "target/gate/forebay-se explain ~/.local/state/forebay/up/se-1/admin.sock" => {
                let text = desk.run(&command);
                assert!(text.contains("127.0.0.1:900"), "it names a server: {text}");
            }
            "target/gate/forebay-se persistence ~/.local/state/forebay/up/se-1/admin.sock" => {
                let text = desk.run(&command);
                assert!(text.contains("127.0.1.1"), "it lists the clients of `up`: {text}");
            }
            "target/gate/forebay-se status ~/.local/state/forebay/up/se-1/admin.sock" => {
                assert!(desk.run(&command).contains("cookie"));
            }
            "target/gate/forebay-se objsync verify" => {
                desk.run(&command);
            }
            "target/gate/forebay-se show serviceengine-objsync" => {
                assert!(desk.run(&command).contains("127.0.0.3"), "{command}");
            }
            "target/gate/forebay-se check docs/examples/se.toml" => {
                desk.run(&command);
            }
            "target/gate/forebay-se run docs/examples/se.toml" => {
                let (engine, _) = desk.open(&command, "");
                let (_, then) = comment.split_once("then, elsewhere: ").expect("what to try");
                eventually("the example serves", secs(15), || {
                    desk.shell(then).output().unwrap().status.success()
                });
                let beside = desk.lab.folder().join(EXAMPLE).with_file_name("access.log");
                assert!(beside.exists(), "the log is where the README says: {}", beside.display());
                windows.push(engine);
            }
            // What was built is what `bin::path` found; here it lands where a shell finds it.
            "cargo build gate" => {
                let words: Vec<&str> = command.split_whitespace().collect();
                let packages = words.windows(2).filter(|pair| pair[0] == "-p").map(|pair| pair[1]);
                assert_eq!(packages.clone().count(), 3, "{command}");
                for package in packages {
                    desk.run(&format!("cargo pkgid --package {package}"));
                }
                desk.run(&command);
                for program in ["forebay", "forebay-se", "forebay-controller"] {
                    let said = desk.run(&format!("~/.local/bin/{program} --version"));
                    assert!(said.starts_with(program), "{said}");
                }
            }
            _ => panic!("the README has a command that no test runs: {command}"),
        }
        seen.push(short);
    }
    assert!(seen.len() >= 10, "{seen:?}");
    for mut window in windows.into_iter().rev() {
        window.signal(libc::SIGINT);
        assert!(window.wait(secs(15)).success(), "{}", window.printed());
    }
}

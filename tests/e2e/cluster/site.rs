//! Three Controllers, each with a member of etcd of its own.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use forebay_e2e::controller::Curl;
use forebay_e2e::process::Process;
use forebay_e2e::wait::{eventually, eventually_some, secs};
use forebay_e2e::{Controller, Hosts, Lab, bin};
use serde_json::{Value, json};

/// Objects that the first one's file has.
pub const BROUGHT: u64 = 10;

pub struct Site {
    pub nodes: Vec<Node>,
    pub password: String,
}

pub struct Node {
    pub process: Process,
    pub api: SocketAddr,
    /// Where it lets engines in while it leads.
    pub engines: SocketAddr,
    log: PathBuf,
    /// Logs of earlier processes.
    before: String,
    arguments: Vec<String>,
}

impl Site {
    /// Starts one Controller with a file, has two others join it, and starts all three over etcd: what the file had is there.
    //= test CLUSTER-JOIN-01
    //= test CLUSTER-MOVE-01
    pub fn start(lab: &Lab) -> Self {
        let mut one = Controller::start(lab);
        let make = |path: &str, object: &Value| {
            let (status, made) = one.admin().send("POST", path, object);
            assert_eq!(status, 201, "{made}");
            made
        };
        for name in 0..BROUGHT {
            make("/api/pool", &json!({"name": format!("brought-{name}")}));
        }
        let exported = exported(&one.admin());
        for node in 1..3 {
            let token = make("/api/cluster/token", &json!({}))["token"].as_str().expect("a text").to_owned();
            let file = lab.folder().join("token");
            std::fs::write(&file, token).expect("room");
            let join = |folder: &str| {
                let mut command = Command::new(bin::path("forebay-controller"));
                command.arg("join").arg("--data-dir").arg(lab.folder().join(folder));
                command.arg("--controller").arg(format!("{},{}", lab.address(), one.engines));
                let out = command.arg("--token-file").arg(&file).output().expect("it runs");
                (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
            };
            let (is_done, said) = join(&format!("n{node}"));
            assert!(is_done, "{said}");
            let (is_done, said) = join(&format!("n{node}"));
            assert!(!is_done && said.contains("is there"), "{said}");
            let (is_done, said) = join("n8");
            assert!(!is_done && said.contains("used"), "{said}");
        }
        assert!(one.process.end(secs(10)).success());
        std::fs::rename(&one.data, lab.folder().join("n0")).expect("the same disk");
        let [_, number, high, low] = lab.ip().octets();
        let address = |node: u8| Ipv4Addr::new(127, 251 + node, high, low);
        let mut site = Self::start_at(lab, address, 21_000 + 10 * u16::from(number), |_, start| start());
        site.password = one.password;
        site.all_answer();
        assert!(exported == self::exported(&site.admin(1)), "all that was in the file, and nothing else");
        assert!(!lab.folder().join("n0/store.redb").exists(), "the file counts no more");
        site
    }

    /// What a backup of the leader has is that of a Controller alone: the way back.
    //= test CLUSTER-MOVE-01
    pub fn goes_back(&self, lab: &Lab, leader: usize) {
        let file = lab.folder().join("back").display().to_string();
        let run = |folder: &str, arguments: &[&str]| {
            let mut command = Command::new(bin::path("forebay-controller"));
            command.arg(format!("--data-dir={}", lab.folder().join(folder).display())).args(arguments);
            let out = command.env("FOREBAY_PASSPHRASE", "long enough").output().expect("it runs");
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        };
        let has = exported(&self.admin(leader));
        run(&format!("n{leader}"), &["backup", &file]);
        run("alone", &["restore", &file]);
        let mut command = Command::new(bin::path("forebay-controller"));
        let [api, engines] = lab.addresses::<2>();
        command.arg("--data-dir").arg(lab.folder().join("alone"));
        command.arg(format!("--listen={api}")).arg(format!("--listen-engines={engines}"));
        let _alone = Process::start("alone", command, lab.folder());
        let admin = Curl::at(api).with(&["--user", &format!("admin:{}", self.password)]);
        eventually("it answers", secs(15), || admin.get("/api/cluster/status").0 == 200);
        assert!(exported(&admin) == has, "all that was in etcd, and nothing else");
    }

    /// Starts three on machines of their own.
    pub fn start_on(lab: &Lab, hosts: &Hosts) -> Self {
        let mut key = [0; 32];
        std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut key)).expect("a key");
        for node in 0..3 {
            let data = lab.folder().join(format!("n{node}"));
            std::fs::create_dir_all(&data).expect("a folder");
            keep(&data.join("store.key"), &key);
        }
        Self::start_at(lab, |node| hosts.address(node), 21_000, |node, start| hosts.at(node, start)).begins()
    }

    fn start_at(
        lab: &Lab,
        address: impl Fn(u8) -> Ipv4Addr,
        first_port: u16,
        there: impl Fn(u8, &dyn Fn() -> Process) -> Process,
    ) -> Self {
        bin::foreign("etcd", "etcd-server");
        let all: Vec<String> = (0..3).map(|node| format!("n{node}={}", address(node))).collect();
        let nodes = (0..3)
            .map(|node| {
                let data = lab.folder().join(format!("n{node}"));
                let at = |port: u16| SocketAddr::from((address(node), port));
                let (api, engines) = (at(first_port), at(first_port + 1));
                let arguments = vec![
                    format!("--data-dir={}", data.display()),
                    format!("--listen={api}"),
                    format!("--listen-engines={engines}"),
                    format!("--listen-controllers={}", at(first_port + 4)),
                    "--store=etcd".to_owned(),
                    format!("--nodes={}", all.join(",")),
                    format!("--node=n{node}"),
                    format!("--etcd-ports={},{}", first_port + 2, first_port + 3),
                ];
                let log = lab.folder().join(format!("n{node}.log"));
                let process = there(node, &|| spawn(lab, node.into(), &arguments));
                Node { process, api, engines, log, before: String::new(), arguments }
            })
            .collect();
        Site { nodes, password: String::new() }
    }

    /// Waits for the password of a store that is new.
    fn begins(mut self) -> Self {
        self.all_answer();
        let said = eventually_some("the first password is shown", secs(10), || {
            self.nodes.iter().find_map(|node| {
                node.said()
                    .lines()
                    .find_map(|line| line.strip_prefix("password: ")?.split(' ').next().map(str::to_owned))
            })
        });
        self.password = said;
        self
    }

    /// Waits until each of those that run answers, by way of whoever leads.
    pub fn all_answer(&mut self) {
        for node in 0..self.nodes.len() {
            eventually(&format!("node {node} answers"), secs(30), || {
                if self.nodes[node].process.ended().is_some() {
                    panic!("node {node} ended: {}", self.nodes[node].said());
                }
                self.nobody(node).get("/api/cluster/status").0 == 200
            });
        }
    }

    /// Starts a node anew over what it has left behind.
    pub fn again(&mut self, lab: &Lab, number: usize) {
        let node = &mut self.nodes[number];
        node.before += &std::fs::read_to_string(&node.log).unwrap_or_default();
        node.process = spawn(lab, number, &node.arguments);
    }

    /// Which one leads: the one that said so last, of those in `of`.
    pub fn leader(&self, of: &[usize]) -> usize {
        eventually_some("one of them leads", secs(15), || {
            of.iter().copied().find(|node| self.nodes[*node].leads())
        })
    }

    /// Whoever is at the machine of another node than the leader's, and whoever finds a file of former days there, is told what to
    /// do; at the leader's a backup is made.
    //= test CLUSTER-MARK-01
    pub fn at_the_machine(&self, lab: &Lab, leader: usize) {
        let run = |node: usize, more: &[&str]| {
            let mut command = Command::new(bin::path("forebay-controller"));
            command.arg(format!("--data-dir={}", lab.folder().join(format!("n{node}")).display())).args(more);
            let out = command.env("FOREBAY_PASSPHRASE", "long enough").output().expect("it runs");
            (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
        };
        let file = lab.folder().join("backup").display().to_string();
        let other = (leader + 1) % 3;
        let (is_done, said) = run(other, &["password", "reset", "--local"]);
        assert!(!is_done && said.contains("leads: run this there"), "{said}");
        let (is_done, said) = run(other, &["backup", &file]);
        assert!(!is_done && said.contains("leads: run this there"), "{said}");
        let (is_done, said) = run(leader, &["backup", &file]);
        assert!(is_done, "{said}");
        for (arguments, advice) in [(&["restore", &file][..], "an empty folder"), (&[], "say --store etcd")] {
            let (is_done, said) = run(other, arguments);
            assert!(!is_done && said.contains("are in etcd") && said.contains(advice), "{said}");
        }
        // No process is there to ask.
        let stopped = lab.folder().join("n9");
        std::fs::create_dir_all(&stopped).expect("a folder");
        std::fs::write(stopped.join("store"), "etcd\n").expect("room");
        for arguments in [&["password", "reset", "--local"][..], &["backup", &format!("{file}-9")]] {
            let (is_done, said) = run(9, arguments);
            assert!(!is_done && said.contains("in the folder of the one that leads"), "{said}");
        }
    }

    pub fn nobody(&self, node: usize) -> Curl {
        Curl::at(self.nodes[node].api)
    }

    pub fn admin(&self, node: usize) -> Curl {
        self.nobody(node).with(&["--user", &format!("admin:{}", self.password)])
    }
}

impl Node {
    /// What it has printed and logged, now and before.
    pub fn said(&self) -> String {
        format!("{}{}", self.before, std::fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// The process of its member of etcd: the one that it has started.
    pub fn member(&self) -> Option<u32> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.process.pid())).ok()?;
        let children = threads
            .flatten()
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        let is_etcd = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "etcd")
        };
        let all: Vec<u32> =
            children.collect::<String>().split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        all.into_iter().find(is_etcd)
    }

    /// By the last thing that its process has said of it.
    fn leads(&self) -> bool {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = said.lines().rev().find(|line| {
            ["CLUSTER_LEADS", "CLUSTER_FOLLOWS", "CLUSTER_NOBODY", "CLUSTER_LEAD_LOST"]
                .iter()
                .any(|event| line.contains(&format!("\"{event}\"")))
        });
        last.is_some_and(|line| line.contains("\"CLUSTER_LEADS\""))
    }
}

/// Writes a key as people have to: for its owner alone.
pub fn keep(file: &Path, key: &[u8]) {
    let mut made =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).expect("it is not there");
    made.write_all(key).expect("room");
}

/// All objects, without the salt of an export.
fn exported(admin: &Curl) -> Value {
    let (status, mut said) = admin.get("/api/configuration/export");
    assert_eq!(status, 200, "{said}");
    said["META"] = Value::Null;
    said
}

fn spawn(lab: &Lab, number: usize, arguments: &[String]) -> Process {
    let mut command = Command::new(bin::path("forebay-controller"));
    command.args(arguments);
    Process::start(&format!("n{number}"), command, lab.folder())
}

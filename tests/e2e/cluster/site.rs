//! Three Controllers, each with a member of etcd of its own.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use forebay_e2e::controller::Curl;
use forebay_e2e::process::Process;
use forebay_e2e::wait::{eventually, eventually_some, secs};
use forebay_e2e::{Hosts, Lab, bin};

pub struct Site {
    pub nodes: Vec<Node>,
    pub password: String,
}

pub struct Node {
    pub process: Process,
    pub api: SocketAddr,
    log: PathBuf,
    /// Logs of earlier processes.
    before: String,
    arguments: Vec<String>,
}

impl Site {
    /// Starts three that share a key, and waits until each answers.
    pub fn start(lab: &Lab) -> Self {
        let [_, number, high, low] = lab.ip().octets();
        let address = |node: u8| Ipv4Addr::new(127, 251 + node, high, low);
        Self::start_at(lab, address, 21_000 + 10 * u16::from(number), |_, start| start())
    }

    /// Starts three on machines of their own.
    pub fn start_on(lab: &Lab, hosts: &Hosts) -> Self {
        Self::start_at(lab, |node| hosts.address(node), 21_000, |node, start| hosts.at(node, start))
    }

    fn start_at(
        lab: &Lab,
        address: impl Fn(u8) -> Ipv4Addr,
        first_port: u16,
        there: impl Fn(u8, &dyn Fn() -> Process) -> Process,
    ) -> Self {
        bin::foreign("etcd", "etcd-server");
        let all: Vec<String> = (0..3).map(|node| format!("n{node}={}", address(node))).collect();
        let mut key = [0; 32];
        std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut key)).expect("a key");
        let nodes = (0..3)
            .map(|node| {
                let data = lab.folder().join(format!("n{node}"));
                std::fs::create_dir_all(&data).expect("a folder");
                std::fs::write(data.join("store.key"), key).expect("room");
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
                Node { process, api, log, before: String::new(), arguments }
            })
            .collect();
        let mut site = Site { nodes, password: String::new() };
        site.all_answer();
        let said = eventually_some("the first password is shown", secs(10), || {
            site.nodes.iter().find_map(|node| {
                node.said()
                    .lines()
                    .find_map(|line| line.strip_prefix("password: ")?.split(' ').next().map(str::to_owned))
            })
        });
        site.password = said;
        site
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
        children.collect::<String>().split_whitespace().find_map(|pid| pid.parse().ok())
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

fn spawn(lab: &Lab, number: usize, arguments: &[String]) -> Process {
    let mut command = Command::new(bin::path("forebay-controller"));
    command.args(arguments);
    Process::start(&format!("n{number}"), command, lab.folder())
}

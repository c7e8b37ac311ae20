//! Three Controllers, each with a member of etcd of its own.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use forebay_e2e::controller::Curl;
use forebay_e2e::process::Process;
use forebay_e2e::wait::{eventually, eventually_some, secs};
use forebay_e2e::{Hosts, Lab, bin};
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
    /// Starts one Controller with a file, which is told of two others and goes on over etcd; they join it, and what the file had is
    /// there.
    //= test CLUSTER-JOIN-01
    //= test CLUSTER-JOIN-02
    //= test CLUSTER-GROW-01
    //= test CLUSTER-MOVE-01
    //= test CLUSTER-NODES-02
    //= test CLI-CLUSTER-01
    pub fn start(lab: &Lab) -> Self {
        bin::foreign("etcd", "etcd-server");
        let (address, first_port) = here(lab);
        let mut site = Site { nodes: Vec::new(), password: String::new() };
        site.nodes.push(Node::start(lab, 0, address(0), first_port, &[], &|start| start()));
        site = site.begins();
        for name in 0..BROUGHT {
            let (status, made) =
                site.admin(0).send("POST", "/api/pool", &json!({"name": format!("brought-{name}")}));
            assert_eq!(status, 201, "{made}");
        }
        let holder = right_is_given_up(&site.nodes[0]);
        let exported = exported(&site.admin(0));
        let whole = site.admin(0).get("/api/configuration/export").1;
        site.logs_in(lab);
        // What cannot be is refused before anything changes.
        let (done, said) = forebay(lab, &["cluster", "add", "n1=192.0.2.1", "n2=192.0.2.2"]);
        assert!(!done && said.contains("which of them this Controller is"), "{said}");
        let all: Vec<String> = (0..3).map(|node| format!("n{node}={}", address(node))).collect();
        let words: Vec<&str> =
            ["cluster", "add", "-o", "json"].into_iter().chain(all.iter().map(String::as_str)).collect();
        let (done, said) = forebay(lab, &words);
        assert!(done, "{said}");
        let tokens: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(tokens.len(), 2, "{said}");
        site.leader(&[0]);
        // In the same process, which has the same one beside it.
        assert_eq!(right_is_given_up(&site.nodes[0]), holder);
        for (node, made) in (1..3).zip(&tokens) {
            assert_eq!(made["node"], format!("n{node}"));
            let made = made["token"].as_str().expect("a text");
            site.joins(lab, node, (address(u8::try_from(node).expect("small")), first_port), made);
            let (done, said) = join(lab, &format!("n{node}"), site.nodes[0].engines, made);
            assert!(!done && said.contains("is there"), "{said}");
            let (done, said) = join(lab, "n8", site.nodes[0].engines, made);
            assert!(!done && said.contains("used"), "{said}");
        }
        site.all_answer();
        let now = self::exported(&site.admin(1));
        let rest = |mut all: Value| {
            all["Cluster"] = Value::Null;
            all
        };
        assert_eq!(now["Cluster"][0]["nodes"][2]["name"], "n2", "{}", now["Cluster"]);
        let now_nodes = now["Cluster"][0]["nodes"].clone();
        assert!(rest(exported) == rest(now), "all that was in the file, and nothing else");
        assert!(!lab.folder().join("n0/store.redb").exists(), "the file counts no more");
        // What it was before it had others takes none of them away.
        let (status, said) =
            site.admin(2).send("POST", "/api/configuration/import", &json!({"configuration": whole}));
        assert_eq!(status, 200, "{said}");
        assert_eq!(self::exported(&site.admin(1))["Cluster"][0]["nodes"], now_nodes);
        site
    }

    /// Has a node join by a token, and starts it.
    pub fn joins(&mut self, lab: &Lab, node: usize, (address, first_port): (Ipv4Addr, u16), token: &str) {
        let folder = format!("n{node}");
        let (done, said) = join(lab, &folder, self.nodes[self.leads_now()].engines, token);
        assert!(done, "{said}");
        let started = Node::start(lab, node, address, first_port, &[], &|start| start());
        match self.nodes.get_mut(node) {
            Some(held) => *held = started,
            None => self.nodes.push(started),
        }
    }

    fn leads_now(&self) -> usize {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        self.leader(&all)
    }

    /// A user of the command line, at whoever leads.
    pub fn logs_in(&self, lab: &Lab) {
        let node = &self.nodes[self.nodes.iter().position(Node::leads).unwrap_or(0)];
        let said = node.said();
        let fingerprint =
            said.lines().rev().find_map(|line| line.strip_prefix("certificate: ")).expect("one");
        let mut command = command(lab);
        command.args(["login", &node.api.to_string(), "--fingerprint", fingerprint, "--password-stdin"]);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it runs");
        let password = format!("{}\n", self.password);
        child.stdin.take().expect("a pipe").write_all(password.as_bytes()).expect("it reads");
        assert!(child.wait().expect("it ends").success());
    }

    /// Of three nodes there is one, and everything is there: one that is dead is taken away and comes again with an empty folder,
    /// and then both others go.
    //= test CLUSTER-JOIN-02
    //= test CLUSTER-GONE-01
    //= test CLUSTER-NODES-01
    pub fn shrinks(&mut self, lab: &Lab) {
        let leader = self.leader(&[0, 1, 2]);
        self.logs_in(lab);
        let has = exported(&self.admin(leader));
        let (done, said) = forebay(lab, &["cluster", "remove", &format!("n{leader}")]);
        assert!(!done && said.contains("end it first"), "{said}");
        let [lost, other] = [(leader + 1) % 3, (leader + 2) % 3];
        let name = format!("n{lost}");
        // Its machine is lost, with all that it had.
        self.nodes[lost].process.kill();
        let removed = |site: &Site| site.nodes[leader].said().matches("CLUSTER_NODE_REMOVED").count();
        let before = removed(self);
        let (done, said) = forebay(lab, &["cluster", "remove", &name]);
        assert!(done, "{said}");
        self.has_nodes(leader, 2);
        // Members of etcd that have not been together for some seconds let nobody be taken away; who comes again before has a
        // member still.
        eventually("its member is none any more", secs(30), || removed(self) > before);
        std::fs::remove_dir_all(lab.folder().join(&name)).expect("ours");
        let IpAddr::V4(address) = self.nodes[lost].api.ip() else { panic!("an address of another family") };
        let port = self.nodes[lost].api.port();
        let (done, said) = forebay(lab, &["cluster", "add", &format!("{name}={address}"), "-o", "json"]);
        assert!(done, "{said}");
        let made: Value = serde_json::from_str(said.lines().next().expect("a line")).expect("JSON");
        // Whoever leads by then says so.
        let votes = |site: &Site| -> usize {
            [leader, other]
                .map(|node| site.nodes[node].said().matches("CLUSTER_NODE_VOTES").count())
                .iter()
                .sum()
        };
        let before = votes(self);
        self.joins(lab, lost, (address, port), made["token"].as_str().expect("a text"));
        self.all_answer();
        eventually("the one that came again votes", secs(20), || votes(self) > before);
        // Both go; what they had is there.
        let (done, said) = forebay(lab, &["cluster", "remove", &name, &format!("n{other}"), "-o", "json"]);
        assert!(done, "{said}");
        self.has_nodes(leader, 1);
        for node in [lost, other] {
            eventually("it says that it was removed", secs(20), || {
                let (status, said) = self.nobody(node).get("/api/cluster/status");
                status == 503 && said.to_string().contains("removed from the others")
            });
            self.nodes[node].process.kill();
        }
        let (status, made) = self.admin(leader).send("POST", "/api/pool", &json!({"name": "alone"}));
        assert_eq!(status, 201, "{made}");
        let uuid = made["uuid"].as_str().expect("a uuid");
        assert_eq!(self.admin(leader).send("DELETE", &format!("/api/pool/{uuid}"), &json!({})).0, 204);
        let rest = |mut all: Value| {
            all["Cluster"] = Value::Null;
            all
        };
        assert!(rest(has) == rest(exported(&self.admin(leader))), "all that three had, and nothing else");
        // And after a start.
        self.nodes[leader].process.kill();
        self.again(lab, leader);
        eventually("it answers", secs(30), || self.nobody(leader).get("/api/cluster/status").0 == 200);
        let (done, said) = forebay(lab, &["cluster", "show"]);
        assert!(done && said.contains("LEADER") && said.contains("UP_NO_HA"), "{said}");
    }

    /// Waits until so many Controllers are shown, and as many members of etcd there are.
    pub fn has_nodes(&self, node: usize, count: usize) {
        eventually("the nodes are those that are wanted", secs(20), || {
            let runtime = self.admin(node).get("/api/cluster/runtime").1;
            runtime["node_states"].as_array().map(Vec::len) == Some(count)
        });
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

    /// Starts three on machines of their own, which listen at all addresses of theirs.
    pub fn start_on(lab: &Lab, hosts: &Hosts) -> Self {
        let listen = |_, port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let there = |node, start: &dyn Fn() -> Process| hosts.at(node, start);
        Self::start_at(lab, |node| hosts.address(node), (21_000, &listen), there)
    }

    /// Starts three on this machine.
    pub fn start_here(lab: &Lab) -> Self {
        let (address, port) = here(lab);
        let listen = |node, port| SocketAddr::from((address(node), port));
        Self::start_at(lab, &address, (port, &listen), |_, start| start())
    }

    fn start_at(
        lab: &Lab,
        address: impl Fn(u8) -> Ipv4Addr,
        (first_port, listen): (u16, &dyn Fn(u8, u16) -> SocketAddr),
        there: impl Fn(u8, &dyn Fn() -> Process) -> Process,
    ) -> Self {
        bin::foreign("etcd", "etcd-server");
        let mut key = [0; 32];
        std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut key)).expect("a key");
        for node in 0..3 {
            let data = lab.folder().join(format!("n{node}"));
            std::fs::create_dir_all(&data).expect("a folder");
            keep(&data.join("store.key"), &key);
        }
        let all: Vec<String> = (0..3).map(|node| format!("n{node}={}", address(node))).collect();
        let nodes = (0..3).map(|node| {
            let more = [
                format!("--listen={}", listen(node, first_port)),
                "--store=etcd".to_owned(),
                format!("--nodes={}", all.join(",")),
                format!("--node=n{node}"),
            ];
            let started = |start: &dyn Fn() -> Process| there(node, start);
            Node::start(lab, node.into(), address(node), first_port, &more, &started)
        });
        Site { nodes: nodes.collect(), password: String::new() }.begins()
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
        let (is_done, said) = run(other, &["restore", &file]);
        assert!(!is_done && said.contains("are in etcd") && said.contains("an empty folder"), "{said}");
        // No process is there to ask.
        let stopped = lab.folder().join("n9");
        std::fs::create_dir_all(&stopped).expect("a folder");
        std::fs::write(stopped.join("store"), "etcd\n").expect("room");
        let (is_done, said) = run(9, &[]);
        assert!(!is_done && said.contains("are in etcd") && said.contains("say --store etcd"), "{said}");
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
    /// Starts it at an address of its own.
    fn start(
        lab: &Lab,
        number: usize,
        address: Ipv4Addr,
        first_port: u16,
        more: &[String],
        there: &dyn Fn(&dyn Fn() -> Process) -> Process,
    ) -> Self {
        let at = |port: u16| SocketAddr::from((address, port));
        let (api, engines) = (at(first_port), at(first_port + 1));
        let mut arguments = vec![
            format!("--data-dir={}", lab.folder().join(format!("n{number}")).display()),
            format!("--listen-engines={engines}"),
            format!("--listen-controllers={}", at(first_port + 4)),
            format!("--etcd-ports={},{}", first_port + 2, first_port + 3),
        ];
        arguments.extend_from_slice(more);
        if !more.iter().any(|argument| argument.starts_with("--listen=")) {
            arguments.push(format!("--listen={api}"));
        }
        let log = lab.folder().join(format!("n{number}.log"));
        let process = there(&|| spawn(lab, number, &arguments));
        Node { process, api, engines, log, before: String::new(), arguments }
    }

    /// What it has printed and logged, now and before.
    pub fn said(&self) -> String {
        format!("{}{}", self.before, self.said_now())
    }

    /// What its process of now has.
    pub fn said_now(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The process of its member of etcd: the one that it has started.
    pub fn member(&self) -> Option<u32> {
        self.child_that(&|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "etcd")
        })
    }

    /// The process that it has started to do this.
    pub fn child(&self, word: &str) -> Option<u32> {
        self.child_that(&|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|part| part == word.as_bytes())
        })
    }

    fn child_that(&self, fits: &dyn Fn(u32) -> bool) -> Option<u32> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.process.pid())).ok()?;
        let children = threads
            .flatten()
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        let all: Vec<u32> =
            children.collect::<String>().split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        all.into_iter().find(|pid| fits(*pid))
    }

    /// Says whether its member answers, as one of those that have a leader.
    pub fn has_etcd(&self) -> bool {
        let said = self.etcd("maintenance/status", &json!({}));
        said["leader"].as_str().is_some_and(|leader| leader != "0")
    }

    /// Says whether its member leads the other members.
    pub fn leads_etcd(&self) -> bool {
        let said = self.etcd("maintenance/status", &json!({}));
        // One that does not answer may.
        said["leader"].is_null() || said["leader"] == said["header"]["member_id"]
    }

    /// Asks its member, as a Controller does.
    pub fn etcd(&self, path: &str, asked: &Value) -> Value {
        let folder = self.arguments[0].strip_prefix("--data-dir=").expect("it is the first");
        let at = SocketAddr::new(self.api.ip(), self.api.port() + 2);
        let mut command = Command::new("curl");
        command.args(["--silent", "--max-time", "2", "--data", &asked.to_string()]);
        for (option, file) in [("--cacert", "controllers.crt"), ("--cert", "node.crt"), ("--key", "node.key")]
        {
            command.arg(option).arg(format!("{folder}/{file}"));
        }
        let out = command.arg(format!("https://{at}/v3/{path}")).output().expect("curl");
        serde_json::from_slice(&out.stdout).unwrap_or_default()
    }

    /// By the last thing that its process has said of it.
    fn leads(&self) -> bool {
        let said = self.said_now();
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

/// Where three of this lab are on this machine, and the first of their ports.
fn here(lab: &Lab) -> (impl Fn(u8) -> Ipv4Addr, u16) {
    let [_, number, high, low] = lab.ip().octets();
    (move |node| Ipv4Addr::new(127, 251 + node, high, low), 21_000 + 10 * u16::from(number))
}

/// In no thread of a Controller anything is left of the rights to change addresses and to tell neighbours of them; the process
/// beside it has them, where this machine gives them away at all.
//= test CLUSTER-VIP-02
pub fn right_is_given_up(node: &Node) -> Option<u32> {
    // CAP_NET_ADMIN and CAP_NET_RAW.
    const BOTH: u64 = 1 << 12 | 1 << 13;
    let rights = |status: &Path| {
        let status = std::fs::read_to_string(status).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).expect("a line");
        u64::from_str_radix(line.trim(), 16).expect("a number") & BOTH
    };
    let own = PathBuf::from(format!("/proc/{}/task", node.process.pid()));
    for thread in std::fs::read_dir(own).expect("it runs").flatten() {
        // One of the runtime's may have ended.
        let status = thread.path().join("status");
        if status.exists() {
            assert_eq!(rights(&status), 0, "{} has them", status.display());
        }
    }
    if rights(Path::new("/proc/self/status")) != BOTH {
        return None;
    }
    let holder = node.child("hold-address").expect("the one that holds the address");
    assert_eq!(rights(Path::new(&format!("/proc/{holder}/status"))), BOTH, "the one that needs them");
    Some(holder)
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

fn command(lab: &Lab) -> Command {
    let mut command = Command::new(bin::path("forebay"));
    command.env("HOME", lab.folder()).env("LC_ALL", "C.UTF-8");
    for name in ["XDG_CONFIG_HOME", "FOREBAY_CONTROLLER", "FOREBAY_TENANT"] {
        command.env_remove(name);
    }
    command
}

/// Whether a command was done, and what it printed; of one that was not: why.
fn forebay(lab: &Lab, arguments: &[&str]) -> (bool, String) {
    let out = command(lab).args(arguments).output().expect("it runs");
    let said = if out.status.success() { out.stdout } else { out.stderr };
    (out.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Has a folder join, by way of who leads and of an address where nobody is.
fn join(lab: &Lab, folder: &str, engines: SocketAddr, token: &str) -> (bool, String) {
    let file = lab.folder().join("token");
    std::fs::write(&file, token).expect("room");
    let mut command = Command::new(bin::path("forebay-controller"));
    command.arg("join").arg("--data-dir").arg(lab.folder().join(folder));
    command.arg("--controller").arg(format!("{engines},{}", lab.address()));
    let out = command.arg("--token-file").arg(&file).output().expect("it runs");
    (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
}

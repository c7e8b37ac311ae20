//! An engine that runs what was compiled of objects, with servers that tell what came to them: many services on one engine,
//! so that the effects of many fields are seen at once.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Answer, Client, Engine, Lab, Options, Origin, Request, bin};
use serde_json::{Value, json};

use super::world::{Without, World};

/// Fields, as `kind path`, whose effect is seen by one look.
pub type Row = (&'static [&'static str], fn(&Stage));

/// What is played on an engine of its own.
pub struct Play {
    pub workers: u16,
    /// Its process reads the time of the lab's clock.
    pub has_clock: bool,
    pub make: fn(&mut Set),
    pub rows: &'static [Row],
}

/// Objects and what stands around them, before the engine starts.
pub struct Set<'l> {
    pub lab: &'l Lab,
    objects: Value,
    doors: BTreeMap<String, SocketAddr>,
    origins: BTreeMap<String, Origin>,
    flags: BTreeMap<String, Arc<AtomicBool>>,
    places: BTreeMap<String, SocketAddr>,
    kept: Vec<Box<dyn Any + Send + Sync>>,
}

/// A play that runs.
pub struct Stage {
    pub engine: Engine,
    doors: BTreeMap<String, SocketAddr>,
    pub origins: BTreeMap<String, Origin>,
    flags: BTreeMap<String, Arc<AtomicBool>>,
    places: BTreeMap<String, SocketAddr>,
    objects: Value,
    without: Option<(String, String)>,
    _kept: Vec<Box<dyn Any + Send + Sync>>,
    // Last: what lives in it goes first.
    pub lab: Lab,
}

/// An address as objects write it.
pub fn ip(of: IpAddr) -> Value {
    json!({"addr": of.to_string(), "type": if of.is_ipv4() { "V4" } else { "V6" }})
}

/// A server as pools write it.
pub fn server(at: SocketAddr) -> Value {
    json!({"ip": ip(at.ip()), "port": at.port()})
}

/// `first` with the fields of `more`.
pub fn with(mut first: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("fields") };
    first.as_object_mut().expect("fields").extend(more);
    first
}

/// A match on the beginning of the path.
pub fn begins(text: &str) -> Value {
    json!({"path": {"match_criteria": "BEGINS_WITH", "match_str": [text]}})
}

/// How an object is referred to.
pub fn at(kind: &str, name: &str) -> String {
    format!("/api/{kind}/{kind}-{name}")
}

/// What a server answers: the head that it got, its name, and a session of its own for each path. `/status/418` answers by that status, `/wait/300` so many
/// milliseconds later, and `/sick…` by 500 while `is_sick`.
fn told(name: &str, head: &str, is_sick: &AtomicBool) -> Vec<u8> {
    let target = head.split(' ').nth(1).unwrap_or_default();
    let mut parts = target.trim_start_matches('/').split(['/', '?']);
    let (first, number) =
        (parts.next().unwrap_or_default(), parts.next().and_then(|n| n.parse::<u16>().ok()));
    let status = match (first, number) {
        ("status", Some(status)) => status,
        ("wait", Some(ms)) => {
            // Sleep: a server that takes its time is what the test is about.
            std::thread::sleep(Duration::from_millis(ms.into()));
            200
        }
        _ if first.starts_with("sick") && is_sick.load(Ordering::SeqCst) => 500,
        _ => 200,
    };
    let body = format!("{name} {head}");
    let session = target.replace('/', "-");
    let head = format!("HTTP/1.1 {status} Told\r\nX-Server: {name}\r\nSet-Cookie: app={name}{session}\r\n");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

impl<'l> Set<'l> {
    fn new(lab: &'l Lab) -> Self {
        let objects =
            json!({"vsvip": {"vsvip-own": {"vip": [{"vip_id": "1", "ip_address": ip(lab.ip().into())}]}}});
        let (doors, origins, flags, places) = Default::default();
        Set { lab, objects, doors, origins, flags, places, kept: Vec::new() }
    }

    /// An object, named `KIND-NAME`.
    pub fn put(&mut self, kind: &str, name: &str, object: Value) {
        self.objects[kind][format!("{kind}-{name}")] = object;
    }

    /// A server of this name, which is started if it is not there yet.
    pub fn origin(&mut self, name: &str) -> Value {
        if !self.origins.contains_key(name) {
            self.origin_at(name, self.lab.address());
        }
        server(self.origins[name].address)
    }

    /// A server at a place of its own.
    pub fn origin_at(&mut self, name: &str, address: SocketAddr) {
        let flag = Arc::new(AtomicBool::new(false));
        self.flags.insert(name.to_owned(), Arc::clone(&flag));
        let own = name.to_owned();
        let origin = Origin::answering(address, move |head| Some(told(&own, head, &flag)));
        self.origins.insert(name.to_owned(), origin);
    }

    /// Makes a server sick from the start.
    pub fn sick(&mut self, name: &str) {
        self.origin(name);
        self.flags[name].store(true, Ordering::SeqCst);
    }

    /// Where a server is that is a process of its own.
    pub fn place(&mut self, name: &str, at: SocketAddr) {
        self.places.insert(name.to_owned(), at);
    }

    /// A server that does what it wants.
    pub fn other_origin(&mut self, name: &str, origin: Origin) -> Value {
        let told = server(origin.address);
        self.origins.insert(name.to_owned(), origin);
        told
    }

    /// What lives as long as the play.
    pub fn keep(&mut self, thing: impl Any + Send + Sync) {
        self.kept.push(Box::new(thing));
    }

    /// A pool of these servers, full shares from the start.
    pub fn pool(&mut self, name: &str, servers: &[&str], more: Value) {
        let servers: Vec<Value> = servers.iter().map(|name| self.origin(name)).collect();
        self.put("pool", name, with(json!({"servers": servers, "connection_ramp_duration": 0}), more));
    }

    /// A door with a free port.
    pub fn door(&mut self, name: &str) -> u16 {
        let at = self.lab.address();
        self.doors.insert(name.to_owned(), at);
        at.port()
    }

    /// A door with a port that is given.
    pub fn door_at(&mut self, name: &str, at: SocketAddr) {
        self.doors.insert(name.to_owned(), at);
    }

    /// A service with a door of its name, before the pool of its name, unless it is said otherwise.
    pub fn service(&mut self, name: &str, more: Value) {
        let mut service = json!({});
        if more.get("vip").is_none() {
            service["vsvip_ref"] = json!(at("vsvip", "own"));
        }
        if more.get("services").is_none() {
            service["services"] = json!([{"port": self.door(name)}]);
        }
        if self.objects["pool"].get(format!("pool-{name}")).is_some() {
            service["pool_ref"] = json!(at("pool", name));
        }
        self.put("virtualservice", name, with(service, more));
    }

    /// A service over TLS with these certificates.
    pub fn secured(&mut self, name: &str, certificates: &[&str], more: Value) {
        let refs: Vec<String> = certificates.iter().map(|name| at("sslkeyandcertificate", name)).collect();
        let port = self.door(name);
        let own =
            json!({"services": [{"port": port, "enable_ssl": true}], "ssl_key_and_certificate_refs": refs});
        self.service(name, with(own, more));
    }

    /// The text of a file of the lab.
    pub fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.lab.folder().join(name)).expect("it was made")
    }

    /// A certificate with its key, whose files are in the lab.
    pub fn certificate(&mut self, name: &str, more: Value) {
        let pair = json!({"certificate": {"certificate": self.file(&format!("{name}.pem"))},
            "key": self.file(&format!("{name}.key"))});
        self.put("sslkeyandcertificate", name, with(pair, more));
    }
}

impl Stage {
    /// The engine runs what is made of the objects, without a field of them.
    pub fn start(play: &Play, without: Without<'_>) -> Self {
        let lab = Lab::new();
        let mut set = Set::new(&lab);
        (play.make)(&mut set);
        let Set { objects, doors, origins, flags, places, kept, .. } = set;
        let document = World::of(&objects, without).document(without.is_none());
        let mut options = Options { workers: play.workers, ..Options::default() };
        if play.has_clock {
            options.env =
                forebay_e2e::clock::Clock::new(lab.folder(), forebay_e2e::clock::Moves::AllClocks).env();
        }
        let mut engine = Engine::spawn(&lab, &document, &options);
        eventually("the service engine is ready", secs(15), || {
            if let Some(status) = engine.process.ended() {
                panic!("the service engine ended: {status}\n{document}");
            }
            engine.get("/readyz") == Some(200)
        });
        let without = without.map(|(kind, path)| (kind.to_owned(), path.to_owned()));
        Stage { engine, doors, origins, flags, places, objects, without, _kept: kept, lab }
    }

    /// Where a server is.
    pub fn place(&self, server: &str) -> SocketAddr {
        self.places.get(server).copied().unwrap_or_else(|| self.origins[server].address)
    }

    /// Where a door is.
    pub fn at(&self, door: &str) -> SocketAddr {
        self.doors[door]
    }

    pub fn client(&self, door: &str) -> Client {
        Client::new(self.doors[door])
    }

    /// An answer on a connection of its own.
    pub fn get(&self, door: &str, target: &str) -> Answer {
        self.client(door).get_once(target).expect("an answer")
    }

    pub fn send(&self, door: &str, request: &Request) -> Answer {
        self.client(door).send(request).expect("an answer")
    }

    pub fn status(&self, door: &str, target: &str) -> u16 {
        self.get(door, target).status
    }

    /// Who answers, on a connection of its own.
    pub fn who(&self, door: &str) -> String {
        self.by(door, "/")
    }

    /// Who answers to this target.
    pub fn by(&self, door: &str, target: &str) -> String {
        self.get(door, target).field("x-server").unwrap_or("nobody").to_owned()
    }

    /// Who answers to so many requests.
    pub fn all(&self, door: &str, count: usize) -> Vec<String> {
        (0..count).map(|_| self.who(door)).collect()
    }

    /// Whether nobody is let in, or heard, there.
    pub fn is_closed(&self, door: &str) -> bool {
        self.client(door).get_once("/").is_err()
    }

    /// The `n`th client's first answer there; `None`: it gets none.
    pub fn from(&self, door: &str, n: u32) -> Option<Answer> {
        self.client(door).from(self.lab.client_ip(n)).get_once("/").ok()
    }

    /// Makes a server sick, or well again.
    pub fn sick(&self, server: &str, is_sick: bool) {
        self.flags[server].store(is_sick, Ordering::SeqCst);
    }

    /// What curl says of a target at a door, by TLS to `app.test`, whoever that is: status, head and content, and whether it
    /// got an answer.
    pub fn curl(&self, door: &str, target: &str, words: &[&str]) -> (bool, String) {
        let at = self.doors[door];
        let mut command = Command::new(bin::foreign("curl", "curl"));
        command.args(["--silent", "--show-error", "--include", "--max-time", "10"]);
        if !words.contains(&"--cacert") {
            command.arg("--insecure");
        }
        command.args(["--resolve", &format!("app.test:{}:{}", at.port(), at.ip())]).args(words);
        command.arg(format!("https://app.test:{}{target}", at.port())).current_dir(self.lab.folder());
        let Output { status, stdout, stderr } = command.output().expect("curl starts");
        (status.success(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
    }

    /// What `openssl s_client` says of a handshake at a door, and whether one was made.
    pub fn handshake(&self, door: &str, words: &str) -> (bool, String) {
        self.typed(door, words, "")
    }

    /// The same, with a text that is typed.
    pub fn typed(&self, door: &str, words: &str, text: &str) -> (bool, String) {
        let mut command = Command::new(bin::foreign("openssl", "openssl"));
        command.args(["s_client", "-servername", "app.test", "-connect"]).arg(self.doors[door].to_string());
        command.args(words.split_whitespace()).current_dir(self.lab.folder());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = command.spawn().expect("openssl starts");
        // One whose handshake failed may be gone.
        let _ = client.stdin.take().expect("it is piped").write_all(text.as_bytes());
        let Output { status, stdout, stderr } = client.wait_with_output().expect("openssl ends");
        (status.success(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
    }

    /// A socket of datagrams that is connected to a door.
    pub fn datagrams(&self, door: &str) -> UdpSocket {
        let socket = UdpSocket::bind((self.lab.ip(), 0)).expect("a socket");
        socket.connect(self.doors[door]).expect("a socket");
        socket.set_read_timeout(Some(secs(5))).expect("a time-out above zero");
        socket
    }

    /// The engine goes on by objects that `change` has changed.
    pub fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut objects = self.objects.clone();
        change(&mut objects);
        let without = self.without.as_ref().map(|(kind, path)| (kind.as_str(), path.as_str()));
        self.engine.load(&World::of(&objects, without).document(without.is_none()));
    }
}

/// A server of datagrams: what it gets, it sends back, with its name and the sender's port before it.
pub fn datagrams(name: &'static str, address: SocketAddr) -> impl Any + Send + Sync {
    struct End(Arc<AtomicBool>);
    impl Drop for End {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let socket = UdpSocket::bind(address).expect("an address of the lab");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out above zero");
    let end = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&end);
    std::thread::spawn(move || {
        let mut bytes = [0; 2048];
        while !ended.load(Ordering::SeqCst) {
            if let Ok((count, from)) = socket.recv_from(&mut bytes) {
                let text = format!("{name} {} {}", from.port(), String::from_utf8_lossy(&bytes[..count]));
                let _ = socket.send_to(text.as_bytes(), from);
            }
        }
    });
    End(end)
}

/// Looks that are made at the same time: most of their time is waiting.
const LOOKS_AT_ONCE: usize = 12;

/// Plays it, and names all fields whose effect is not seen.
pub fn play(play: &Play) {
    let stage = Stage::start(play, None);
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..LOOKS_AT_ONCE.min(play.rows.len()) {
            scope.spawn(|| {
                while let Some((fields, seen)) = play.rows.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if catch_unwind(AssertUnwindSafe(|| seen(&stage))).is_err() {
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).push(fields);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether a look is not satisfied where a field is not compiled.
pub fn is_missed(play: &Play, field: &str, seen: fn(&Stage)) -> bool {
    let (kind, path) = field.split_once(' ').expect("a kind and a path");
    missed(|| Stage::start(play, Some((kind, path))), seen)
}

/// Whether a look at something is not satisfied, or no document can be compiled to look at, or no engine takes it; whatever
/// else keeps it from starting says nothing of that.
pub fn missed<S>(start: impl FnOnce() -> S, seen: impl FnOnce(&S)) -> bool {
    match catch_unwind(AssertUnwindSafe(start)) {
        Ok(stage) => catch_unwind(AssertUnwindSafe(|| seen(&stage))).is_err(),
        Err(why) => match why.downcast_ref::<String>() {
            Some(text) if text.contains("Problem {") || text.contains("the service engine ended") => true,
            _ => resume_unwind(why),
        },
    }
}

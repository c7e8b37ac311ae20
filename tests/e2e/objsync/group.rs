//! A group of engines for a test.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use forebay_e2e::lab::Demo;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Client, Engine, Lab, Options, bin, config};

/// Servers, certificates and addresses of a group's engines.
pub struct Group {
    pub servers: Vec<Demo>,
    /// The port on which its engines listen for one another.
    pub port: u16,
    /// Where each engine's clients connect: by address, and by their application's cookie.
    pub vips: Vec<[SocketAddr; 2]>,
    pub lab: Lab,
}

impl Group {
    /// For so many engines; none runs yet.
    pub fn new(engines: usize) -> Self {
        let lab = Lab::new();
        pki(&lab, &["init", "--folder", "pki"]);
        for slot in 0..engines {
            pki(&lab, &["issue", "--folder", "pki", "--group", "shop", "--slot", &slot.to_string()]);
        }
        let servers = lab.demos(["a", "b", "c", "d"]).into();
        let vips = (0..engines).map(|_| lab.addresses()).collect();
        Self { servers, port: port(), vips, lab }
    }

    /// The management address of a slot, 0 to 9: what neither labs nor their clients have.
    pub fn address(slot: usize) -> IpAddr {
        const FREE: [u8; 10] = [250, 251, 252, 253, 254, 255, 216, 217, 218, 219];
        let pid = std::process::id();
        IpAddr::V4(Ipv4Addr::new(127, FREE[slot], (pid >> 8) as u8, (pid as u8).max(1)))
    }

    /// What an engine's file says of its group.
    pub fn section(&self, slot: usize, members: &[(usize, u16)], port: u16) -> String {
        let member = |(slot, port): &(usize, u16)| {
            format!("{{ slot = {slot}, address = \"{}\", port = {port} }}", Self::address(*slot))
        };
        let members: Vec<String> = members.iter().map(member).collect();
        format!(
            "[objsync]\naddress = \"{}\"\nport = {port}\nslot = {slot}\ngroup = \"shop\"\nca_file = \"pki/ca.pem\"\n\
             certificate_file = \"pki/shop-se-{slot}.pem\"\nkey_file = \"pki/shop-se-{slot}.key\"\n\
             secret_file = \"pki/shop.secret\"\nsnapshot_file = \"{slot}.snapshot\"\nsnapshot_interval_s = 5\n\
             members = [{}]\n",
            Self::address(slot),
            members.join(", ")
        )
    }

    /// The file of an engine in a group of `self.vips.len()`.
    pub fn config(&self, slot: usize) -> String {
        let members: Vec<(usize, u16)> = (0..self.vips.len()).map(|slot| (slot, self.port)).collect();
        self.config_with(slot, &self.section(slot, &members, self.port))
    }

    /// The file of an engine with a section of its own.
    pub fn config_with(&self, slot: usize, section: &str) -> String {
        let servers: Vec<SocketAddr> = self.servers.iter().map(|server| server.address).collect();
        let pool = |name: &str, persistence: &str| {
            let keys = format!("algorithm = \"round_robin\"\npersistence = \"{persistence}\"");
            config::pool(name, &keys, &servers)
        };
        let service = |name: &str, at: SocketAddr| config::service(name, at);
        section.to_owned()
            + &service("ip", self.vips[slot][0])
            + &service("cookie", self.vips[slot][1])
            + &pool("ip", "ip")
            + &pool("cookie", "cookie")
            + &config::persistence("ip", "client_ip", "")
            + &config::persistence("cookie", "app_cookie", "cookie_name = \"JSESSIONID\"")
    }

    /// Starts an engine without waiting.
    pub fn spawn(&self, slot: usize) -> Engine {
        self.spawn_with(slot, &Options::default())
    }

    /// As [`Group::spawn`], with options.
    pub fn spawn_with(&self, slot: usize, options: &Options) -> Engine {
        Engine::spawn(&self.lab, &self.config(slot), options)
    }

    /// Starts all engines, and waits until they serve and are in sync.
    pub fn start(&self) -> Vec<Engine> {
        self.start_with(&[])
    }

    /// As [`Group::start`], with further arguments.
    pub fn start_with(&self, arguments: &[&str]) -> Vec<Engine> {
        let options = || Options {
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            ..Options::default()
        };
        self.start_each(|_| options())
    }

    /// As [`Group::start`], with options for each engine.
    pub fn start_each(&self, options: impl Fn(usize) -> Options) -> Vec<Engine> {
        let start = |slot| self.spawn_with(slot, &options(slot));
        let engines: Vec<Engine> = (0..self.vips.len()).map(start).collect();
        for engine in &engines {
            ready(engine);
        }
        for engine in &engines {
            synced(engine, engines.len() - 1);
        }
        engines
    }

    /// The server of a client who is known by address.
    pub fn by_address(&self, slot: usize, client: u32) -> String {
        self.try_by_address(slot, client).unwrap_or_else(|error| panic!("client of engine {slot}: {error}"))
    }

    /// As [`Group::by_address`], of an engine that may be dying.
    ///
    /// # Errors
    /// No answer.
    pub fn try_by_address(&self, slot: usize, client: u32) -> io::Result<String> {
        let mut client = Client::new(self.vips[slot][0]).from(self.lab.client_ip(client)).without_jar();
        Ok(client.get_once("/")?.server().to_owned())
    }
}

/// Waits until an engine takes traffic.
#[track_caller]
pub fn ready(engine: &Engine) {
    eventually("the engine is ready", secs(45), || {
        TcpStream::connect(engine.metrics).is_ok() && engine.get("/readyz") == Some(200)
    });
}

/// Waits until an engine is in sync with so many members.
#[track_caller]
pub fn synced(engine: &Engine, members: usize) {
    eventually("the tables have been compared", secs(20), || {
        engine.metric("forebay_objsync_peer_synced", &[]) as usize == members
    });
}

/// Entries in an engine's tables.
pub fn entries(engine: &Engine) -> usize {
    engine.metric("forebay_persistence_entries", &[]) as usize
}

/// Runs `forebay-se pki`.
#[track_caller]
pub fn pki(lab: &Lab, words: &[&str]) {
    let mut command = Command::new(bin::path("forebay-se"));
    let done = command.arg("pki").args(words).current_dir(lab.folder()).output().expect("forebay-se starts");
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A port that no other group of this process has: engines of all groups have the same addresses.
pub fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(9_001);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

//! A place for one test: an address, a folder, servers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use crate::process::Process;
use crate::wait::{eventually, secs};
use crate::{Engine, Options, bin, system};

/// Below the ports that the kernel gives to connections and to who binds port 0.
const FIRST_PORT: u16 = 20_000;

/// A test's own address and folder. Declare it before what lives in it.
pub struct Lab {
    ip: Ipv4Addr,
    folder: PathBuf,
    next_port: AtomicU16,
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Lab {
    /// A fresh one.
    pub fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// One whose folder is in memory, if there is a gigabyte of room: members of etcd wait for each other by the second, and the
    /// disk of a machine that builds stands still for as long.
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if system::free_bytes(memory) >> 30 > 0 { Self::below(memory) } else { Self::new() }
    }

    fn below(place: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        // No two labs share an address, so no port can be taken by a neighbour.
        let ip = Ipv4Addr::new(127, 16 + (n % 200) as u8, (pid >> 8) as u8, (pid as u8).max(1));
        let folder = place.join(format!("forebay-e2e-{pid}-{n}"));
        std::fs::create_dir_all(&folder).expect("a folder for the lab");
        Self { ip, folder, next_port: AtomicU16::new(FIRST_PORT) }
    }

    /// Its loopback address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// An address with a free port that was given to nobody before.
    ///
    /// # Panics
    /// If there is none left.
    pub fn address(&self) -> SocketAddr {
        loop {
            let port = self.next_port.fetch_add(1, Ordering::Relaxed);
            assert!(port >= FIRST_PORT, "no free port on {}", self.ip);
            let address = SocketAddr::from((self.ip, port));
            // Bound and never listening: a child of another test, between its fork and its exec, holds this socket too,
            // and one that listened would keep the address taken meanwhile.
            if system::bind(address).is_ok() {
                return address;
            }
        }
    }

    /// `N` addresses, all different.
    pub fn addresses<const N: usize>(&self) -> [SocketAddr; N] {
        std::array::from_fn(|_| self.address())
    }

    /// Another loopback address of this lab's process, for the `n`th client; unlike any lab's own.
    pub fn client_ip(&self, n: u32) -> IpAddr {
        let [_, lab, ..] = self.ip.octets();
        IpAddr::V4(Ipv4Addr::new(127, 220 + lab % 30, (n >> 8) as u8, n as u8))
    }

    /// Gives the folder to the user without rights (65534), for an engine that runs as that one. Only root can.
    ///
    /// # Panics
    /// If the folder cannot be given away.
    pub fn give_to_nobody(&self) {
        std::os::unix::fs::chown(&self.folder, Some(65_534), Some(65_534)).expect("root gives folders away");
    }

    /// A demo server as a process of its own.
    pub fn demo(&self, name: &str) -> Demo {
        self.demo_at(name, self.address())
    }

    /// A demo server at a given address.
    pub fn demo_at(&self, name: &str, address: SocketAddr) -> Demo {
        let mut command = Command::new(bin::path("forebay"));
        command.args(["demo-server", "--name", name, "--listen", &address.to_string()]);
        let process = Process::start(name, command, &self.folder).brief();
        eventually("the demo server listens", secs(10), || TcpStream::connect(address).is_ok());
        Demo { name: name.to_owned(), address, process }
    }

    /// As many demo servers as names.
    pub fn demos<const N: usize>(&self, names: [&str; N]) -> [Demo; N] {
        names.map(|name| self.demo(name))
    }

    /// A service engine with this configuration (without `version` and `[engine]`), two workers.
    pub fn engine(&self, config: &str) -> Engine {
        Engine::start(self, config, Options::default())
    }

    /// A service engine with options.
    pub fn engine_with(&self, config: &str, options: Options) -> Engine {
        Engine::start(self, config, options)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the lab's folder stays: {}", self.folder.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// A running demo server.
pub struct Demo {
    /// Its name, which it tells in every answer.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub process: Process,
}

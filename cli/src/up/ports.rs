//! Free ports, and the turn-taking of runs that look for them at the same time.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::sys;

/// Ports tried from the wanted one on.
const TRIED_MAX: u16 = 500;
/// How long another run may keep us waiting: longer than a start takes.
const TURN_WAIT: Duration = Duration::from_secs(10);

/// Held from the choice of ports until the service engine listens on them, so that two runs that
/// start together do not choose the same. A name without a file: it goes with the process.
pub struct Turn {
    _held: Option<UnixListener>,
}

impl Turn {
    /// Waits for the turn; after ten seconds goes on without it.
    pub fn take() -> Self {
        let name = format!("forebay-up-ports-{}", sys::user_id());
        let give_up = Instant::now() + TURN_WAIT;
        loop {
            let held = UnixAddr::from_abstract_name(&name).and_then(|a| UnixListener::bind_addr(&a));
            match held {
                Ok(held) => return Self { _held: Some(held) },
                Err(e) if e.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(_) => return Self { _held: None },
            }
        }
    }
}

/// Hands out free loopback ports, each once, upwards from the wanted one.
#[derive(Default)]
pub struct Ports {
    given: Vec<u16>,
    /// What was passed over, for people.
    pub notes: Vec<String>,
}

impl Ports {
    /// The first free port from `wanted` on.
    pub fn free(&mut self, what: &str, wanted: u16) -> Result<SocketAddr> {
        let last = wanted.saturating_add(TRIED_MAX);
        for port in wanted..=last {
            if self.given.contains(&port) {
                continue;
            }
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
            // Plain bind, without SO_REUSEPORT: it fails if anybody listens there.
            if TcpListener::bind(address).is_ok() {
                self.given.push(port);
                if port != wanted {
                    self.notes.push(format!("port {wanted} is taken: {what} listens on {port}"));
                }
                return Ok(address);
            }
        }
        bail!("no free port for {what} from {wanted} to {last}; choose another start with --port")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over_and_said() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut ports = Ports::default();
        let got = ports.free("web", port).unwrap();
        assert!(got.port() > port);
        assert!(ports.notes[0].contains(&port.to_string()), "{:?}", ports.notes);
        assert_ne!(ports.free("web2", got.port()).unwrap(), got, "a port is handed out once");
    }
}

//! Free ports, of which no two runs choose the same.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

use anyhow::{Result, bail};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Ports tried from the wanted one on.
const TRIED_MAX: u16 = 500;

/// Hands out free loopback ports, each once, upwards from the wanted one. They stay this run's until it is dropped, also
/// while nobody listens on them: who takes the port of a server that was stopped would be asked in its place.
#[derive(Default)]
pub struct Ports {
    claims: Vec<Claim>,
    /// What was passed over, for people.
    pub notes: Vec<String>,
}

/// A name without a file, which no two runs have at the same time; it goes with the process.
struct Claim {
    _held: UnixListener,
}

impl Claim {
    /// `None`: a run has it, this one or another.
    fn of(address: SocketAddr) -> Option<Self> {
        let name = UnixAddr::from_abstract_name(format!("forebay-up-{address}")).ok()?;
        UnixListener::bind_addr(&name).ok().map(|held| Self { _held: held })
    }
}

impl Ports {
    /// The first free port from `wanted` on.
    pub fn free(&mut self, what: &str, wanted: u16) -> Result<SocketAddr> {
        Ok(SocketAddr::new(LOCALHOST, self.free_at(what, &[LOCALHOST], wanted)?))
    }

    /// The first port from `wanted` on that is free at all of these addresses.
    pub fn free_at(&mut self, what: &str, places: &[IpAddr], wanted: u16) -> Result<u16> {
        let last = wanted.saturating_add(TRIED_MAX);
        for port in wanted..=last {
            let addresses = places.iter().map(|place| SocketAddr::new(*place, port));
            // Plain bind, without SO_REUSEPORT: it fails if anybody listens there.
            let free = |address| Claim::of(address).filter(|_| TcpListener::bind(address).is_ok());
            if let Some(claims) = addresses.map(free).collect::<Option<Vec<Claim>>>() {
                self.claims.extend(claims);
                if port != wanted {
                    self.notes.push(format!("port {wanted} is taken: {what} listens on {port}"));
                }
                return Ok(port);
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

    #[test]
    fn a_port_for_several_addresses_is_free_at_all_of_them() {
        let places = [2, 3].map(|n| IpAddr::from([127, 0, 0, n]));
        let taken = TcpListener::bind(SocketAddr::new(places[1], 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut ports = Ports::default();
        let got = ports.free_at("sync", &places, port).unwrap();
        assert!(got > port, "one of the two has it: {got}");
        assert_ne!(ports.free_at("sync", &places[..1], got).unwrap(), got);
    }

    #[test]
    fn a_port_stays_with_its_run_while_nobody_listens_there() {
        let (mut one, mut other) = (Ports::default(), Ports::default());
        let wanted = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let got = one.free("a server", wanted).unwrap();
        assert_ne!(other.free("a server", got.port()).unwrap(), got);
        drop(one);
        assert_eq!(Ports::default().free("a server", got.port()).unwrap(), got);
    }
}

//! Which addresses an engine has for itself, as other engines of this machine see it.
//!
//! The kernel lets two engines of one user listen on one address: both set SO_REUSEPORT for their workers. An engine
//! whose service does not set `shared_listener` therefore holds a name in the kernel's own list of sockets, which goes
//! with it however it ends, and one whose service does set it looks there.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as Name, UnixDatagram};
use std::sync::Arc;

use crate::config::Transport;

/// The name's begin; ports of TCP and of UDP are not the same ports.
fn prefix(transport: Transport) -> &'static str {
    match transport {
        Transport::Stream => "forebay-se/alone/",
        Transport::Datagrams => "forebay-se/alone/udp/",
    }
}

/// An address that nobody else may listen on, as long as this lives.
#[derive(Clone, Debug)]
pub struct Claim(Arc<UnixDatagram>);

impl AsFd for Claim {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Claim {
    /// The claim of `address` that another process has handed over.
    ///
    /// # Errors
    /// It is none.
    pub fn handed(file: OwnedFd, address: SocketAddr, transport: Transport) -> io::Result<Self> {
        let socket = UnixDatagram::from(file);
        let name = format!("{}{address}", prefix(transport));
        if socket.local_addr()?.as_abstract_name() != Some(name.as_bytes()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is no claim of {address}")));
        }
        Ok(Self(Arc::new(socket)))
    }
}

/// Says that this engine has `address` for itself. To be called before it is looked whether anybody listens there.
///
/// # Errors
/// Another engine has said so.
//= OBS-BIND-02
pub fn claim(address: SocketAddr, transport: Transport) -> io::Result<Claim> {
    let name = Name::from_abstract_name(format!("{}{address}", prefix(transport)))?;
    UnixDatagram::bind_addr(&name).map(|socket| Claim(Arc::new(socket)))
}

/// Fails if another engine has `address`, or one that covers it, for itself. To be called after the sockets are bound.
///
/// # Errors
/// It has.
//= OBS-BIND-02
pub fn nobody_claims(address: SocketAddr, transport: Transport) -> io::Result<()> {
    let list = fs::read_to_string("/proc/net/unix")?;
    let mark = format!("@{}", prefix(transport));
    let claims = list.lines().filter_map(|line| line.rsplit_once(&mark)?.1.parse().ok());
    match claims.into_iter().find(|claimed: &SocketAddr| overlap(*claimed, address)) {
        None => Ok(()),
        Some(claimed) => Err(io::Error::other(format!(
            "another engine listens on {claimed} and shares it with nobody; set shared_listener = true for its service \
             as well, stop it, or change the port"
        ))),
    }
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test OBS-BIND-02
    #[test]
    fn a_claim_covers_its_address_and_goes_with_its_holder() {
        let address = |text: &str| -> SocketAddr { text.parse().expect("an address") };
        let all = claim(address("0.0.0.0:60123"), Transport::Stream).expect("nobody else has it");
        assert!(claim(address("0.0.0.0:60123"), Transport::Stream).is_err());
        assert!(nobody_claims(address("127.0.0.1:60123"), Transport::Stream).is_err());
        assert!(nobody_claims(address("[::1]:60123"), Transport::Stream).is_ok(), "the families are apart");
        assert!(nobody_claims(address("127.0.0.1:60123"), Transport::Datagrams).is_ok(), "and so is UDP");
        assert!(nobody_claims(address("127.0.0.1:60124"), Transport::Stream).is_ok());
        drop(all);
        assert!(nobody_claims(address("127.0.0.1:60123"), Transport::Stream).is_ok());
    }
}

//! A probe over UDP: a datagram, and what comes back.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use forebay_health::limits::WINDOW_BYTES;
use forebay_health::{Evaluator, Failure, Udp, Verdict};
use tokio::net::UdpSocket;

use super::{said, wait_for_our_own};
use crate::limits::is_shortage;

/// Talks until there is a verdict; `short` is set while something of ours is wanting.
pub async fn talk(address: SocketAddr, udp: &Udp, evaluator: &mut Evaluator, short: &AtomicBool) -> Verdict {
    let socket = loop {
        match send(address, &udp.request).await {
            Ok(socket) => break socket,
            Err(error) if is_shortage(&error) => wait_for_our_own(address, &error, short).await,
            Err(error) => return unreachable(&error),
        }
    };
    short.store(false, Ordering::Relaxed);
    // What a datagram holds beyond this is cut off, and would not count.
    let mut buffer = [0; WINDOW_BYTES];
    loop {
        let verdict = match socket.recv(&mut buffer).await {
            Ok(read) => evaluator.receive(&buffer[..read]),
            Err(error) => unreachable(&error),
        };
        if verdict != Verdict::NeedMore {
            return verdict;
        }
    }
}

/// A socket of its own for each probe: connected, so the kernel tells it what ICMP says of this server, and on a port of
/// its own, so a late answer to an earlier probe is nobody's.
async fn send(address: SocketAddr, request: &[u8]) -> io::Result<UdpSocket> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    socket.send(request).await?;
    Ok(socket)
}

//= HM-UDP-01
fn unreachable(error: &io::Error) -> Verdict {
    Verdict::Fail(Failure::Unreachable(match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens on the port (ICMP)".to_owned(),
        _ => said(error),
    }))
}

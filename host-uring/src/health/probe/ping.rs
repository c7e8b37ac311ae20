//! A probe by ICMP echo.
//!
//! The kernel offers two kinds of sockets for it: one for everybody in the groups of `net.ipv4.ping_group_range`, and raw
//! ones for who has CAP_NET_RAW. The first is tried first: it shows us nobody else's packets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use forebay_health::{Failure, Verdict, ping};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::{said, wait_for_our_own};
use crate::limits::is_shortage;

/// Bytes of an answer with the IPv4 header that raw sockets show, options included.
const ANSWER_BYTES: usize = 128;

/// Talks until there is a verdict; `short` is set while something of ours is wanting.
pub async fn talk(address: SocketAddr, short: &AtomicBool) -> Verdict {
    let is_v6 = address.is_ipv6();
    let mut token = [0; ping::TOKEN_BYTES];
    // Without random numbers the token is of zeroes, and a forged answer would pass: try again with the next probe.
    if aws_lc_rs::rand::fill(&mut token).is_err() {
        short.store(true, Ordering::Relaxed);
        return std::future::pending().await;
    }
    let identifier = u16::from_be_bytes([token[0], token[1]]);
    let socket = loop {
        match send(address, &ping::request(is_v6, identifier, token)).await {
            Ok(socket) => break socket,
            Err(error) if is_shortage(&error) || error.kind() == io::ErrorKind::PermissionDenied => {
                wait_for_our_own(address, &error, short).await;
            }
            Err(error) => return Verdict::Fail(Failure::Unreachable(said(&error))),
        }
    };
    short.store(false, Ordering::Relaxed);
    let mut buffer = [0; ANSWER_BYTES];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(read) if ping::is_reply(is_v6, &buffer[..read], token) => return Verdict::Pass,
            Ok(_) => {}
            Err(error) => return Verdict::Fail(Failure::Unreachable(said(&error))),
        }
    }
}

async fn send(address: SocketAddr, request: &[u8]) -> io::Result<UdpSocket> {
    // Whatever the kind, tokio needs a socket that sends and receives datagrams, which both do.
    let socket = UdpSocket::from_std(open(address.is_ipv6())?.into())?;
    socket.connect(SocketAddr::new(address.ip(), 0)).await?;
    socket.send(request).await?;
    Ok(socket)
}

fn open(is_v6: bool) -> io::Result<Socket> {
    let (domain, protocol) =
        if is_v6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
    let socket = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Socket::new(domain, Type::RAW, Some(protocol))
        }
        tried => tried,
    }?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Fails if this process may not send echo requests to an address of this family.
///
/// # Errors
/// What is missing, and how to give it.
//= HM-PING-02
pub fn can_ping(address: IpAddr) -> Result<(), String> {
    let (is_v6, any): (_, IpAddr) = match address {
        IpAddr::V4(_) => (false, Ipv4Addr::UNSPECIFIED.into()),
        IpAddr::V6(_) => (true, Ipv6Addr::UNSPECIFIED.into()),
    };
    let opened = open(is_v6).and_then(|socket| socket.bind(&SocketAddr::new(any, 0).into()));
    match opened {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(
            "the engine may not send echo requests: let its group do so (sysctl net.ipv4.ping_group_range=\"0 2147483647\"), \
             give it the right to (setcap cap_net_raw+ep, or AmbientCapabilities=CAP_NET_RAW), or use a monitor of type tcp"
                .to_owned(),
        ),
        // Any other trouble may be over by the time of the first probe.
        _ => Ok(()),
    }
}

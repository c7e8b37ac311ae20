//! Time-outs, limits and habits of a service.

use core::fmt;
use core::str::FromStr;
use std::net::IpAddr;

use crate::read::{section, words};
use crate::rules;

section! {
    /// Time-outs, limits and header habits of an HTTP service.
    pub struct HttpProfile {
        /// Its name.
        name: String = "default".to_owned(), is rules::name;
        /// Milliseconds to connect to a server.
        connect_timeout_ms: u32 = 5_000, in 1..=3_600_000;
        /// Milliseconds for a request's head, from its first byte (from the accept for the first request).
        header_timeout_ms: u32 = 10_000, in 1..=3_600_000;
        /// Milliseconds without a byte of a body that is being sent, either way.
        body_timeout_ms: u32 = 30_000, in 1..=3_600_000;
        /// Milliseconds until a server's head is there, from the request's end.
        response_timeout_ms: u32 = 60_000, in 1..=3_600_000;
        /// Milliseconds that a client's connection may wait for its next request.
        idle_timeout_ms: u32 = 30_000, in 1..=3_600_000;
        /// Milliseconds for a request from its first byte to its answer's last; 0: no bound.
        total_timeout_ms: u32 = 0, in 0..=86_400_000;
        /// Milliseconds without a byte after an upgrade (WebSocket).
        upgraded_idle_timeout_ms: u32 = 600_000, in 1..=86_400_000;
        /// Bytes of a request's or answer's head.
        head_bytes_max: u32 = 49_152, in 1_024..=262_144;
        /// Bytes of one header line.
        field_bytes_max: u32 = 12_288, in 256..=262_144;
        /// Bytes of the request line.
        request_line_bytes_max: u32 = 8_192, in 64..=65_536;
        /// Header lines of a head.
        fields_max: u16 = 256, in 8..=1_024;
        /// Bytes of a request's body; 0: no bound.
        body_bytes_max: u64 = 0;
        /// Requests on one client connection; 0: no limit. Avi: `max_keepalive_requests`, by default 100.
        requests_per_connection_max: u32 = 0;
        /// Whether clients may speak HTTP/2: by ALPN over TLS, without TLS by beginning with it. Avi: `http2_enabled`.
        http2: bool = false;
        /// KiB that such a client may send on one stream before a server has taken them, and four times as many on all of its streams. Avi: `http2_initial_window_size`, by default 64.
        http2_initial_window_kib: u32 = 256, in 64..=32_768;
        /// Whether upgrades to WebSocket pass.
        websockets: bool = true;
        /// What becomes of `X-Forwarded-For`. Avi: `xff_update`, by default `replace`.
        x_forwarded_for: ForwardedFor = ForwardedFor::Append;
        /// Write `X-Forwarded-Proto` and `X-Forwarded-Port`; what a trusted proxy says of them stays. Avi: `x_forwarded_proto_enabled`, by default off.
        x_forwarded_proto: bool = true;
        /// Add our element to `Forwarded` (RFC 7239); without, what came is treated as `x_forwarded_for` says.
        forwarded: bool = false;
        /// Tell clients whose connections speak TLS to come by TLS only (`Strict-Transport-Security`), where the server or a rule says nothing of it. Avi: the same name.
        hsts_enabled: bool = false;
        /// Days for which they shall. Avi: `hsts_max_age`.
        hsts_max_age_days: u32 = 365, in 0..=10_000;
        /// That holds for all names below the host's as well. Avi: the same name.
        hsts_subdomains_enabled: bool = true;
        /// Browsers may put the host on the list that they come with.
        hsts_preload: bool = false;
        /// Our name in `Via`; empty: no `Via`.
        via: String = "forebay".to_owned(), is rules::via;
        /// Senders whose `X-Forwarded-For` names the client, and who are believed about scheme and port.
        trusted_proxies: Vec<Network> = Vec::new();
    }

    /// Time-outs of a TCP service.
    pub struct TcpProfile {
        /// Its name.
        name: String = "default".to_owned(), is rules::name;
        /// Milliseconds to connect to a server.
        connect_timeout_ms: u32 = 5_000, in 1..=3_600_000;
        /// Milliseconds without a byte in either direction before both connections are reset.
        idle_timeout_ms: u32 = 600_000, in 1..=86_400_000;
    }

    /// Bounds of a UDP service's flows. A flow is one address and port of a client, with one server.
    pub struct UdpProfile {
        /// Its name.
        name: String = "default".to_owned(), is rules::name;
        /// Milliseconds without a datagram in either direction before a flow ends.
        idle_timeout_ms: u32 = 10_000, in 10..=3_600_000;
        /// Datagrams of the server after which a flow ends: 1 for DNS and the like; 0: no bound.
        answers_per_flow: u32 = 0;
    }
}

words! {
    /// What becomes of `X-Forwarded-For`.
    pub enum ForwardedFor {
        /// The client's address is added to what it sent.
        Append = "append",
        /// Only the client's address.
        Replace = "replace",
        /// Left as it came.
        Keep = "keep",
        /// Removed.
        Remove = "remove",
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// An address in it.
    pub ip: IpAddr,
    /// Bits that all its addresses share.
    pub prefix_bits: u8,
}

impl Network {
    pub(crate) fn unset() -> Self {
        Self { ip: IpAddr::from([0, 0, 0, 0]), prefix_bits: 32 }
    }

    /// Whether `ip` lies in it; an IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip.to_canonical(), ip.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32_u32.saturating_sub(u32::from(self.prefix_bits));
                a.to_bits().checked_shr(shift).unwrap_or(0) == b.to_bits().checked_shr(shift).unwrap_or(0)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128_u32.saturating_sub(u32::from(self.prefix_bits));
                a.to_bits().checked_shr(shift).unwrap_or(0) == b.to_bits().checked_shr(shift).unwrap_or(0)
            }
            _ => false,
        }
    }
}

/// The text is no range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANetwork;

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits.parse::<u8>().map_err(|_| NotANetwork)?)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| NotANetwork)?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let prefix_bits = bits.unwrap_or(most);
        if prefix_bits > most { Err(NotANetwork) } else { Ok(Self { ip, prefix_bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix_bits)
    }
}

crate::read::text_serde!(Network);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_that_share_its_first_bits() {
        let net: Network = "192.0.2.0/24".parse().expect("a network");
        assert!(net.contains("192.0.2.255".parse().expect("ip")));
        assert!(net.contains("::ffff:192.0.2.1".parse().expect("ip")));
        assert!(!net.contains("192.0.3.0".parse().expect("ip")));
        let all: Network = "::/0".parse().expect("a network");
        assert!(all.contains("2001:db8::1".parse().expect("ip")));
        assert!(!all.contains("192.0.2.1".parse().expect("ip")));
    }
}

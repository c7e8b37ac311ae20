//! Names of things: virtual services, pools, servers, sites.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::hash;

/// A virtual service, unique within a service engine's configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct VsId(pub u32);

/// A pool, unique within a service engine's configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PoolId(pub u32);

/// A site of a global service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SiteId(pub u32);

/// A server, the same on every service engine and over every change of its pool.
///
/// It is a fixed hash of address and port. Two servers of one pool with the same id are a configuration
/// problem, which [`PoolConfig::check`](crate::lb::PoolConfig::check) reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ServerId(pub u64);

//= PERS-GONE-02
impl ServerId {
    /// Returns the id of the server at `endpoint`.
    pub fn of(endpoint: Endpoint) -> Self {
        let mut bytes = [0u8; 18];
        bytes[..16].copy_from_slice(&ip_bytes(endpoint.ip));
        bytes[16..].copy_from_slice(&endpoint.port.to_le_bytes());
        Self(hash::fixed64(&bytes))
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Where a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Endpoint {
    /// IPv4 or IPv6 address.
    pub ip: IpAddr,
    /// TCP or UDP port.
    pub port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(a: SocketAddr) -> Self {
        Self { ip: a.ip(), port: a.port() }
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(e: Endpoint) -> Self {
        SocketAddr::new(e.ip, e.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

/// A server's place in its pool's list. It changes when the pool is rebuilt: what outlives a request keeps
/// the [`ServerId`] instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ServerIndex(pub u16);

impl ServerIndex {
    /// As an index into the pool's lists.
    pub const fn at(self) -> usize {
        self.0 as usize
    }
}

/// The 16 bytes of an address: IPv6 as it is, IPv4 in its mapped form, so that a client that arrives as
/// `::ffff:10.0.0.1` is the same client as `10.0.0.1`.
pub fn ip_bytes(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The reverse of [`ip_bytes`].
pub fn ip_from_bytes(bytes: [u8; 16]) -> IpAddr {
    let v6 = Ipv6Addr::from(bytes);
    match v6.to_ipv4_mapped() {
        Some(v4) => IpAddr::V4(v4),
        None => IpAddr::V6(v6),
    }
}

/// A pool group, unique within a service engine's configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupId(pub u32);

//! Headers that we send.

use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::binary::{FIXED_BYTES, MARK};
use crate::{TEXT_BYTES_MAX, Version};

/// Bytes of a header that we write at most: a line of version 1 with the longest addresses.
pub const WRITTEN_BYTES_MAX: usize = TEXT_BYTES_MAX;

/// Writes a header that names a client and what it connected to, and gives its length. Where the two are of different
/// families, the one of IPv4 is written as an IPv6 address (`::ffff:192.0.2.1`).
//= PP-WRITE-01
pub fn write(
    version: Version,
    source: SocketAddr,
    destination: SocketAddr,
    out: &mut [u8; WRITTEN_BYTES_MAX],
) -> usize {
    let ends = match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (IpAddr::V4(from), IpAddr::V4(to)),
        (from, to) => (IpAddr::V6(wide(from)), IpAddr::V6(wide(to))),
    };
    let ports = (source.port(), destination.port());
    let mut line = Line { out, len: 0 };
    match version {
        Version::V1 => {
            let family = if ends.0.is_ipv4() { "TCP4" } else { "TCP6" };
            // The longest line there is fits, so nothing is cut.
            let _ = write!(line, "PROXY {family} {} {} {} {}\r\n", ends.0, ends.1, ports.0, ports.1);
        }
        Version::V2 => {
            line.put(MARK);
            let (family, bytes) = if ends.0.is_ipv4() { (0x11, 12_u16) } else { (0x21, 36) };
            line.put(&[0x21, family]);
            line.put(&bytes.to_be_bytes());
            debug_assert_eq!(line.len, FIXED_BYTES);
            for ip in [ends.0, ends.1] {
                match ip {
                    IpAddr::V4(ip) => line.put(&ip.octets()),
                    IpAddr::V6(ip) => line.put(&ip.octets()),
                }
            }
            line.put(&ports.0.to_be_bytes());
            line.put(&ports.1.to_be_bytes());
        }
    }
    line.len
}

/// The header of a connection that the proxy makes for itself, as for a health probe: it names nobody.
//= PP-WRITE-01
pub fn write_own(version: Version) -> &'static [u8] {
    match version {
        Version::V1 => b"PROXY UNKNOWN\r\n",
        Version::V2 => b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    }
}

fn wide(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

struct Line<'o> {
    out: &'o mut [u8; WRITTEN_BYTES_MAX],
    len: usize,
}

impl Line<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(place) = self.out.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
            self.len = end;
        }
    }
}

impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

//! Version 2: the binary form.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::checksum::crc32c;
use crate::{HEADER_BYTES_MAX, Header, Malformed, Named, Parse, Version};

pub(crate) const MARK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before the addresses.
pub(crate) const FIXED_BYTES: usize = 16;
/// Two addresses and two ports.
const V4_BYTES: usize = 12;
const V6_BYTES: usize = 36;
/// Two names of Unix sockets.
const UNIX_BYTES: usize = 216;
/// The typed value that holds a checksum.
const CRC32C: u8 = 0x03;

//= PP-V2-01
pub(crate) fn parse(bytes: &[u8]) -> Result<Parse, Malformed> {
    // Each byte is judged as soon as it is there: nobody waits for the rest of what is refused anyway.
    let is_local = match bytes.get(12) {
        None => return Ok(Parse::NeedMore),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(Malformed::Command),
    };
    let Some(&family) = bytes.get(13) else { return Ok(Parse::NeedMore) };
    // A proxy that speaks for itself may write any family: it is to be ignored.
    let addresses = match family {
        _ if is_local => 0,
        0x00 => 0,
        0x11 | 0x12 => V4_BYTES,
        0x21 | 0x22 => V6_BYTES,
        0x31 | 0x32 => UNIX_BYTES,
        _ => return Err(Malformed::Family),
    };
    let Some(&[high, low]) = bytes.get(14..FIXED_BYTES).and_then(|b| b.first_chunk()) else {
        return Ok(Parse::NeedMore);
    };
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    //= PP-LENGTH-01
    if len > HEADER_BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    if len < FIXED_BYTES + addresses {
        return Err(Malformed::Address);
    }
    let Some(whole) = bytes.get(..len) else { return Ok(Parse::NeedMore) };
    let named = match family {
        _ if is_local => None,
        0x11 => Some(v4(whole).ok_or(Malformed::Address)?),
        0x21 => Some(v6(whole).ok_or(Malformed::Address)?),
        _ => None,
    };
    if !is_local && family != 0 {
        values(whole, FIXED_BYTES + addresses)?;
    }
    Ok(Parse::Done(Header { version: Version::V2, len, named }))
}

fn v4(whole: &[u8]) -> Option<Named> {
    let at = |n: usize| whole.get(FIXED_BYTES + n..)?.first_chunk::<4>().map(|b| Ipv4Addr::from(*b));
    let source = SocketAddr::new(at(0)?.into(), port(whole, FIXED_BYTES + 8)?);
    let destination = SocketAddr::new(at(4)?.into(), port(whole, FIXED_BYTES + 10)?);
    Some(Named { source, destination })
}

fn v6(whole: &[u8]) -> Option<Named> {
    let at = |n: usize| whole.get(FIXED_BYTES + n..)?.first_chunk::<16>().map(|b| Ipv6Addr::from(*b));
    let source = SocketAddr::new(at(0)?.into(), port(whole, FIXED_BYTES + 32)?);
    let destination = SocketAddr::new(at(16)?.into(), port(whole, FIXED_BYTES + 34)?);
    Some(Named { source, destination })
}

fn port(whole: &[u8], at: usize) -> Option<u16> {
    whole.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

/// Goes through the typed values behind the addresses: they must fill the header exactly. One is read: the checksum.
//= PP-VALUES-01
fn values(whole: &[u8], from: usize) -> Result<(), Malformed> {
    let mut at = from;
    let mut checked = false;
    while at < whole.len() {
        let Some(&[kind, high, low]) = whole.get(at..).and_then(|b| b.first_chunk()) else {
            return Err(Malformed::Values);
        };
        let (value, end) = (at + 3, at + 3 + usize::from(u16::from_be_bytes([high, low])));
        let Some(bytes) = whole.get(value..end) else { return Err(Malformed::Values) };
        if kind == CRC32C {
            let Some(said) = bytes.first_chunk().filter(|_| bytes.len() == 4 && !checked) else {
                return Err(Malformed::Values);
            };
            checked = true;
            // The sum is that of the header with zeros in the sum's own place.
            let zeros = value..end;
            let sum = crc32c(whole.iter().enumerate().map(|(n, b)| if zeros.contains(&n) { 0 } else { *b }));
            if u32::from_be_bytes(*said) != sum {
                return Err(Malformed::Checksum);
            }
        }
        at = end;
    }
    Ok(())
}

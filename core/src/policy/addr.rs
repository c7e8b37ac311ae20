//! Addresses and networks.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use crate::id::ip_bytes;

/// An address or a network: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    ip: IpAddr,
    bits: u8,
}

impl Prefix {
    /// A network; `None` if an address of that family has fewer bits.
    pub fn new(ip: IpAddr, bits: u8) -> Option<Self> {
        (bits <= if ip.is_ipv4() { 32 } else { 128 }).then_some(Self { ip, bits })
    }

    /// Its address as it was written.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// How many bits of the address are those of the network.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// The addresses of the network as numbers, first and last; IPv4 in its mapped form.
    fn range(&self) -> (u128, u128) {
        let base = u128::from_be_bytes(ip_bytes(self.ip));
        let bits = if self.ip.is_ipv4() { 96 + u32::from(self.bits) } else { u32::from(self.bits) };
        let host = u128::MAX.checked_shr(bits).unwrap_or(0);
        (base & !host, base | host)
    }

    /// Says whether an address of the same family is in the network.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let (first, last) = self.range();
        let n = u128::from_be_bytes(ip_bytes(ip));
        self.ip.is_ipv4() == ip.is_ipv4() && (first..=last).contains(&n)
    }

    /// Says whether two networks of one family have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        let ((first, last), (from, to)) = (self.range(), other.range());
        self.ip.is_ipv4() == other.ip.is_ipv4() && first <= to && from <= last
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (text, None),
        };
        let ip: IpAddr =
            ip.parse().map_err(|_| format!("{text:?} is not an address; write for example 10.0.0.0/8"))?;
        let max = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => max,
            Some(bits) => bits
                .parse::<u8>()
                .ok()
                .filter(|b| *b <= max)
                .ok_or_else(|| format!("{text:?}: the mask must be a number from 0 to {max}"))?,
        };
        Ok(Self { ip, bits })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Prefix {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Prefix {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Networks as sorted ranges that do not touch: one binary search, whatever their number.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    list: Vec<(u128, u128)>,
}

impl Ranges {
    pub fn new<'a>(prefixes: impl Iterator<Item = &'a Prefix>) -> Self {
        let mut all: Vec<_> = prefixes.map(Prefix::range).collect();
        all.sort_unstable();
        let mut list: Vec<(u128, u128)> = Vec::with_capacity(all.len());
        for (from, to) in all {
            match list.last_mut() {
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => list.push((from, to)),
            }
        }
        Self { list }
    }

    //= POL-CLIENT-01
    pub fn contains(&self, ip: IpAddr) -> bool {
        let n = u128::from_be_bytes(ip_bytes(ip));
        let after = self.list.partition_point(|(from, _)| *from <= n);
        after > 0 && n <= self.list[after - 1].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    //= test POL-CLIENT-01
    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        let r = Ranges::new([prefix("10.0.0.0/8"), prefix("2001:db8::/32"), prefix("192.0.2.7")].iter());
        for (ip, inside) in [
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("::ffff:10.1.1.1", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("192.0.2.7", true),
            ("192.0.2.6", false),
        ] {
            assert_eq!(r.contains(ip.parse().unwrap()), inside, "{ip}");
        }
        let all = Ranges::new([prefix("0.0.0.0/0")].iter());
        assert!(all.contains("8.8.8.8".parse().unwrap()) && !all.contains("2001::".parse().unwrap()));
        assert!(Ranges::new([prefix("::/0")].iter()).contains("8.8.8.8".parse().unwrap()));
    }

    #[test]
    fn what_is_not_a_network_is_refused_with_what_to_write() {
        for text in ["10.0.0.0/33", "10.0.0/8", "x", "::/129", "10.0.0.0/-1", "10.0.0.0/"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    proptest! {
        //= test POL-CLIENT-01
        #[test]
        fn merged_ranges_hold_what_any_prefix_holds(list in prop::collection::vec((any::<u32>(), 0u8..=32), 0..20), ip: u32) {
            let prefixes: Vec<Prefix> =
                list.iter().map(|(ip, bits)| Prefix { ip: IpAddr::V4((*ip).into()), bits: *bits }).collect();
            let plain = list.iter().any(|(base, bits)| {
                let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
                base & mask == ip & mask
            });
            prop_assert_eq!(Ranges::new(prefixes.iter()).contains(IpAddr::V4(ip.into())), plain);
        }
    }
}

//! Sets of addresses: what single addresses, ranges, networks and groups of them have together or apart.

use std::net::{IpAddr, Ipv6Addr};

use super::cx::{Cx, Making};
use super::place::Held;
use super::view::View;

/// The first and the last of the IPv4 addresses, as they stand among those of IPv6.
const IPV4: (u128, u128) = (0xffff_0000_0000, 0xffff_ffff_ffff);
/// Bits of an address.
const BITS: u32 = 128;

/// A set of addresses: ranges that neither touch nor overlap, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Networks(Vec<(u128, u128)>);

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl Networks {
    /// All addresses.
    pub fn all() -> Self {
        Networks(vec![(0, u128::MAX)])
    }

    /// Of these ranges, in any order.
    fn of(mut ranges: Vec<(u128, u128)>) -> Self {
        ranges.sort_unstable();
        let mut joined: Vec<(u128, u128)> = Vec::new();
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        Networks(joined)
    }

    /// What a match, or a group, names: `addrs`, `ranges` and `prefixes`.
    pub fn named(view: View<'_>) -> Self {
        let mut ranges = Vec::new();
        let parsed = |text: &str| text.parse::<IpAddr>().ok();
        for (_, addr) in view.entries("addrs") {
            ranges.extend(parsed(addr.text("addr")).map(|ip| (number(ip), number(ip))));
        }
        for (_, range) in view.entries("ranges") {
            let (begin, end) =
                (range.address("begin").and_then(parsed), range.address("end").and_then(parsed));
            if let (Some(begin), Some(end)) = (begin, end) {
                ranges.push((number(begin), number(end)));
            }
        }
        for (_, prefix) in view.entries("prefixes") {
            let Some(ip) = prefix.address("ip_addr").and_then(parsed) else { continue };
            let mask = prefix.int("mask").and_then(|mask| u32::try_from(mask).ok()).unwrap_or(BITS);
            let bits = if ip.is_ipv4() { mask.min(32) + 96 } else { mask.min(BITS) };
            let host = u128::MAX.checked_shr(bits).unwrap_or(0);
            ranges.push((number(ip) & !host, number(ip) | host));
        }
        Networks::of(ranges)
    }

    /// What a match on addresses stands for, its groups and its criterion included.
    pub fn matched(cx: &Cx<'_>, making: &mut Making, held: &Held, path: &str, by: View<'_>) -> Self {
        let mut ranges = Networks::named(by).0;
        for (at, uuid) in by.references("group_refs").into_iter().enumerate() {
            let field = format!("{path}.group_refs[{at}]");
            let Some(group) = cx.follow(making, held, &field, "ipaddrgroup", &uuid) else { continue };
            ranges.extend(Networks::named(group.view()).0);
            if group.view().texts("country_codes").next().is_some() {
                making.wrong(held, &field, "no engine knows countries yet", "name networks in the group");
            }
        }
        let networks = Networks::of(ranges);
        if by.text("match_criteria") == "IS_NOT_IN" { Networks::all().without(&networks) } else { networks }
    }

    /// Those of this set that are not in the other.
    pub fn without(&self, other: &Networks) -> Networks {
        let mut left = Vec::new();
        let mut others = other.0.iter().copied().peekable();
        for (first, last) in self.0.iter().copied() {
            let mut from = Some(first);
            while let Some((begin, end)) = others.peek().copied() {
                let Some(at) = from.filter(|_| begin <= last) else { break };
                if end < at {
                    others.next();
                    continue;
                }
                if begin > at {
                    left.push((at, begin - 1));
                }
                from = end.checked_add(1).filter(|next| *next <= last);
                if end > last {
                    break;
                }
                others.next();
            }
            left.extend(from.map(|at| (at, last)));
        }
        Networks(left)
    }

    /// Those of either set.
    pub fn with(&self, other: &Networks) -> Networks {
        Networks::of(self.0.iter().chain(&other.0).copied().collect())
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says whether these are all.
    pub fn are_all(&self) -> bool {
        *self == Networks::all()
    }

    /// As networks, the largest that fit.
    pub fn prefixes(&self) -> Vec<String> {
        let mut out = Vec::new();
        for (first, last) in &self.0 {
            // Addresses of IPv4 are written as such.
            let parts = [
                (*first, (*last).min(IPV4.0 - 1)),
                (*first.max(&IPV4.0), *last.min(&IPV4.1)),
                (*first.max(&(IPV4.1 + 1)), *last),
            ];
            for (from, to) in parts.into_iter().filter(|(from, to)| from <= to) {
                cover(from, to, &mut out);
            }
        }
        out
    }
}

/// Networks that together have these addresses and no others.
fn cover(mut from: u128, to: u128, out: &mut Vec<String>) {
    loop {
        // As many bits as its first address has zeros at the end, and as there are addresses left.
        let room = (to - from).checked_add(1).map_or(BITS, |left| BITS - 1 - left.leading_zeros());
        let host = from.trailing_zeros().min(room);
        let ip = Ipv6Addr::from_bits(from);
        out.push(match ip.to_ipv4_mapped() {
            Some(ip) if host <= 32 => format!("{ip}/{}", 32 - host),
            _ => format!("{ip}/{}", BITS - host),
        });
        let size = 1_u128.checked_shl(host).unwrap_or(0);
        match from.checked_add(size).filter(|next| size != 0 && *next <= to) {
            Some(next) => from = next,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(&str, &str)]) -> Networks {
        let one = |text: &str| number(text.parse().expect("an address"));
        Networks::of(ranges.iter().map(|(first, last)| (one(first), one(last))).collect())
    }

    #[test]
    fn sets_are_joined_and_taken_from_one_another() {
        let all = set(&[("10.0.0.0", "10.0.0.255")]);
        let some = set(&[("10.0.0.16", "10.0.0.31"), ("10.0.0.200", "10.0.1.4"), ("9.0.0.0", "9.0.0.1")]);
        assert_eq!(all.without(&some), set(&[("10.0.0.0", "10.0.0.15"), ("10.0.0.32", "10.0.0.199")]));
        assert!(all.without(&Networks::all()).is_empty());
        assert_eq!(all.without(&Networks::default()), all);
        assert_eq!(set(&[("10.0.0.0", "10.0.0.1")]).with(&set(&[("10.0.0.2", "10.0.0.3")])).0.len(), 1);
        let two = set(&[("10.0.0.0", "10.0.0.9"), ("10.0.0.20", "10.0.0.29")]);
        assert_eq!(
            two.without(&set(&[("10.0.0.5", "10.0.0.24")])),
            set(&[("10.0.0.0", "10.0.0.4"), ("10.0.0.25", "10.0.0.29")])
        );
    }

    #[test]
    fn networks_cover_a_set_and_nothing_else() {
        assert_eq!(set(&[("10.0.0.0", "10.0.0.255")]).prefixes(), ["10.0.0.0/24"]);
        assert_eq!(
            set(&[("10.0.0.1", "10.0.0.4")]).prefixes(),
            ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32"]
        );
        assert_eq!(set(&[("0.0.0.0", "255.255.255.255")]).prefixes(), ["0.0.0.0/0"]);
        assert_eq!(set(&[("2001:db8::", "2001:db8::1")]).prefixes(), ["2001:db8::/127"]);
        // What is no address of IPv4, and what is: together they are all there are.
        let all = Networks::all().prefixes();
        assert!(all.contains(&"0.0.0.0/0".to_owned()) && all.contains(&"8000::/1".to_owned()), "{all:?}");
        let back: Vec<(u128, u128)> = all
            .iter()
            .map(|text| {
                let (ip, bits) = text.split_once('/').expect("a network");
                let ip: IpAddr = ip.parse().expect("an address");
                let bits = bits.parse::<u32>().expect("bits") + if ip.is_ipv4() { 96 } else { 0 };
                let host = u128::MAX.checked_shr(bits).unwrap_or(0);
                (number(ip), number(ip) | host)
            })
            .collect();
        assert!(Networks::of(back).are_all());
    }
}

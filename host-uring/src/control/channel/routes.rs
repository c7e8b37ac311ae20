//! The machine's routes, as far as they say where an address of a service may be.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use forebay_wire::proto::Network;

use super::machine::bytes;

/// Routes that are told. Who has more has a router's table, in which each engine would have a way to everything.
const ROUTES_MAX: usize = 1_024;

/// Bytes of the kernel's lists that are read.
const BYTES_MAX: u64 = 1 << 20;

/// Flags of a route (`route.h` and `ipv6_route.h` of the kernel).
const UP: u32 = 1;
const REJECT: u32 = 0x200;
const LOCAL: u32 = 0x8000_0000;

/// The routes of the main tables but for the default ones, by which everything would be in reach.
//= PLACE-NETWORK-01
pub(super) fn routes() -> Vec<Network> {
    let lines = |path: &str| {
        let read = File::open(path).map(|file| BufReader::new(file.take(BYTES_MAX)).lines());
        read.into_iter().flatten().map_while(Result::ok)
    };
    let v4 = lines("/proc/net/route").skip(1).filter_map(|line| v4(&line));
    let v6 = lines("/proc/net/ipv6_route").filter_map(|line| v6(&line));
    let mut all: Vec<Network> = v4.chain(v6).take(ROUTES_MAX).collect();
    all.sort_by(|a, b| (&a.address, a.prefix_length).cmp(&(&b.address, b.prefix_length)));
    all.dedup();
    all
}

/// A line of `/proc/net/route`: addresses are numbers in the machine's own order of bytes.
fn v4(line: &str) -> Option<Network> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| u32::from_str_radix(words.get(at)?, 16).ok();
    let (destination, flags, mask) = (number(1)?, number(3)?, number(7)?);
    let address = Ipv4Addr::from(destination.to_ne_bytes());
    network(address.into(), mask.count_ones(), flags)
}

/// A line of `/proc/net/ipv6_route`.
fn v6(line: &str) -> Option<Network> {
    let mut words = line.split_whitespace();
    let address = Ipv6Addr::from(u128::from_str_radix(words.next()?, 16).ok()?);
    let length = u32::from_str_radix(words.next()?, 16).ok()?;
    let flags = u32::from_str_radix(words.nth(6)?, 16).ok()?;
    network(address.into(), length, flags)
}

fn network(address: IpAddr, prefix_length: u32, flags: u32) -> Option<Network> {
    let leads = flags & UP != 0 && flags & (REJECT | LOCAL) == 0;
    let is_own = match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast(),
    };
    let is_told = leads && prefix_length > 0 && !is_own;
    is_told.then(|| Network { address: bytes(address), prefix_length })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(address: IpAddr, prefix_length: u32) -> Option<Network> {
        Some(Network { address: bytes(address), prefix_length })
    }

    //= test PLACE-NETWORK-01
    #[test]
    fn routes_lead_to_networks_and_the_default_one_to_none() {
        let line = |destination: [u8; 4], flags: u32, mask: [u8; 4]| {
            let [destination, mask] = [destination, mask].map(u32::from_ne_bytes);
            v4(&format!("eth1\t{destination:08X}\t0100000A\t{flags:04X}\t0\t0\t0\t{mask:08X}\t0\t0\t0"))
        };
        let net = IpAddr::from([203, 0, 113, 0]);
        assert_eq!(line([203, 0, 113, 0], 3, [255, 255, 255, 0]), told(net, 24));
        assert_eq!(line([0, 0, 0, 0], 3, [0, 0, 0, 0]), None, "everything is no network");
        assert_eq!(line([203, 0, 113, 0], 0x203, [255, 255, 255, 0]), None, "it is refused");
        assert_eq!(line([169, 254, 0, 0], 1, [255, 255, 0, 0]), None, "it ends at the link");
        let line = |address: &str, length: u32, flags: u32| {
            let zero = "0".repeat(32);
            v6(&format!(
                "{address} {length:02x} {zero} 00 {zero} 00000400 00000001 00000000 {flags:08x} eth1"
            ))
        };
        let net = "20010db8000000000000000000000000";
        let address = "2001:db8::".parse::<IpAddr>().expect("an address");
        assert_eq!(line(net, 32, 3), told(address, 32));
        assert_eq!(line(net, 128, 0x8000_0001), None, "its own address");
        assert_eq!(line(&"0".repeat(32), 0, 3), None);
        assert_eq!(line("fe800000000000000000000000000000", 64, 1), None);
        for garbage in ["", "eth0", "eth0 x y z", "Iface Destination Gateway Flags"] {
            assert_eq!((v4(garbage), v6(garbage)), (None, None));
        }
    }
}

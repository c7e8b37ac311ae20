//! What the engine runs on: cores, memory, interfaces with their networks, routes.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use forebay_wire::proto::{Interface, Machine, Network};

use super::routes::routes;

/// Interfaces that are told.
const INTERFACES_MAX: usize = 1_024;

/// Looks at the machine as it is now.
pub fn look() -> Machine {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Machine {
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        memory_bytes: crate::limits::cgroup::memory_limit().into_iter().chain(memory()).min().unwrap_or(0),
        interfaces: interfaces(),
        routes: routes(),
    }
}

/// An address as it travels.
pub fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Bytes of the machine's memory.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

fn interfaces() -> Vec<Interface> {
    let mut all: BTreeMap<String, Interface> = BTreeMap::new();
    let mut first = std::ptr::null_mut();
    // SAFETY: the call writes where a list begins, which is ours until it is given back below.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Vec::new();
    }
    let mut next = first;
    while !next.is_null() {
        // SAFETY: it is an entry of the list, which nobody else knows.
        let entry = unsafe { &*next };
        next = entry.ifa_next;
        // SAFETY: every entry has a name, which ends with a zero.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy().into_owned();
        if all.len() == INTERFACES_MAX && !all.contains_key(&name) {
            continue;
        }
        let interface = all.entry(name.clone()).or_insert_with(|| described(name, entry.ifa_flags));
        // SAFETY: where they are not null they are addresses of the family that they say.
        let own = unsafe { address(entry.ifa_addr) };
        // SAFETY: as above.
        let mask = unsafe { address(entry.ifa_netmask) };
        if let (Some(address), Some(mask)) = (own, mask) {
            interface.networks.push(Network { address: bytes(address), prefix_length: ones(mask) });
        }
    }
    // SAFETY: it was given by the call above and is not used any more.
    unsafe { libc::freeifaddrs(first) };
    all.into_values().collect()
}

fn described(name: String, flags: libc::c_uint) -> Interface {
    let has = |flag: libc::c_int| flags & flag as libc::c_uint != 0;
    let said =
        |what: &str| std::fs::read_to_string(format!("/sys/class/net/{name}/{what}")).unwrap_or_default();
    let mac = said("address").trim().to_owned();
    Interface {
        mac: if mac == "00:00:00:00:00:00" { String::new() } else { mac },
        networks: Vec::new(),
        is_up: has(libc::IFF_UP) && has(libc::IFF_RUNNING),
        is_loopback: has(libc::IFF_LOOPBACK),
        mtu: said("mtu").trim().parse().unwrap_or(0),
        name,
    }
}

/// # Safety
/// It is null, or points to a socket address of the family that it says.
unsafe fn address(at: *const libc::sockaddr) -> Option<IpAddr> {
    if at.is_null() {
        return None;
    }
    // SAFETY: as the caller says.
    match libc::c_int::from(unsafe { (*at).sa_family }) {
        libc::AF_INET => {
            // SAFETY: by its family it is one of these.
            let v4 = unsafe { &*at.cast::<libc::sockaddr_in>() };
            Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr))))
        }
        libc::AF_INET6 => {
            // SAFETY: by its family it is one of these.
            let v6 = unsafe { &*at.cast::<libc::sockaddr_in6>() };
            Some(IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

/// How many bits a mask has set.
fn ones(mask: IpAddr) -> u32 {
    match mask {
        IpAddr::V4(mask) => u32::from(mask).count_ones(),
        IpAddr::V6(mask) => u128::from(mask).count_ones(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_a_loopback_interface_with_its_network() {
        let machine = look();
        assert!(machine.cores > 0 && machine.memory_bytes > 0);
        let loopback = machine.interfaces.iter().find(|one| one.is_loopback).expect("there is one");
        let v4 = Network { address: vec![127, 0, 0, 1], prefix_length: 8 };
        assert!(loopback.is_up && loopback.networks.contains(&v4), "{loopback:?}");
        assert!(loopback.mac.is_empty() && loopback.mtu > 0);
    }
}

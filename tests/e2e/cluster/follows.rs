//! The address that goes with the lead, as machines on the same wire see it.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use forebay_e2e::Hosts;
use forebay_e2e::controller::Curl;
use forebay_e2e::wait::{eventually, secs};
use serde_json::json;

use crate::site::Site;

const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);

fn ip(arguments: &[&str]) -> String {
    let out = Command::new("ip").args(arguments).output().expect("iproute2");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The word behind another one.
fn behind(text: &str, word: &str) -> Option<String> {
    text.split_whitespace().skip_while(|at| *at != word).nth(1).map(str::to_owned)
}

/// From now on there is one.
pub fn begins(site: &Site) {
    let change = json!({"replace": {"virtual_ip": {"addr": VIRTUAL.to_string(), "type": "V4"}}});
    let (status, said) = site.admin(0).send("PATCH", "/api/cluster", &change);
    assert_eq!(status, 200, "{said}");
}

/// Waits until this node has it and nobody else, and until this machine's own kernel was told so, without being asked; then it
/// answers there.
//= test CLUSTER-VIP-01
pub fn is_at(site: &Site, hosts: &Hosts, leader: usize) {
    let of = |node: usize| u8::try_from(node).expect("one of three");
    let own =
        hosts.at(of(leader), || behind(&ip(&["-o", "link", "show", "eth0"]), "link/ether")).expect("one");
    let virtual_ip = VIRTUAL.to_string();
    eventually("the virtual address is where the leader is, and nowhere else", secs(10), || {
        (0..3).all(|node| {
            let held = hosts.at(of(node), || ip(&["-o", "addr", "show", "to", &virtual_ip]));
            held.contains(&virtual_ip) == (node == leader)
        })
    });
    // Whoever has spoken to it before has the old one's hardware address until it is told of the new one.
    let neighbour = || behind(&ip(&["neigh", "show", &virtual_ip]), "lladdr");
    if neighbour().is_some() {
        eventually("neighbours are told", secs(5), || neighbour().as_ref() == Some(&own));
    }
    let at = SocketAddr::from((VIRTUAL, site.nodes[leader].api.port()));
    eventually("it answers there", secs(10), || Curl::at(at).get("/api/cluster/status").0 == 200);
    assert_eq!(neighbour(), Some(own), "by the hardware address of the leader's machine");
}

/// Of the leader's process nothing is left of the right to change addresses.
//= test CLUSTER-VIP-02
pub fn right_is_given_up(site: &Site, leader: usize) {
    const NET_ADMIN: u64 = 1 << 12;
    let rights = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = behind(&status, "CapPrm:").expect("a line");
        u64::from_str_radix(&line, 16).expect("a number")
    };
    let own = site.nodes[leader].process.pid();
    assert_eq!(rights(own) & NET_ADMIN, 0, "the Controller has it");
    let holder = site.nodes[leader].child("hold-address").expect("the one that holds the address");
    assert_ne!(rights(holder) & NET_ADMIN, 0, "the one that needs it has it not");
}

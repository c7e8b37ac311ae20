//! The addresses that go with the lead, as machines on the same wire see them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use forebay_e2e::controller::Curl;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Hosts, Lab};
use serde_json::{Value, json};

use crate::site::{Site, right_is_given_up};

const VIRTUAL: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100)), IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100))];
/// The system itself takes an address away within this when nobody says that it stays, and a second for a machine that does other
/// things.
const LIFETIME: Duration = Duration::from_secs(4);
/// Between two looks at what stays as it is.
const LOOK_EVERY: Duration = Duration::from_millis(20);

fn ip(arguments: &[&str]) -> String {
    let out = Command::new("ip").args(arguments).output().expect("iproute2");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The word behind another one.
fn behind(text: &str, word: &str) -> Option<String> {
    text.split_whitespace().skip_while(|at| *at != word).nth(1).map(str::to_owned)
}

fn host(node: usize) -> u8 {
    u8::try_from(node).expect("one of three")
}

/// A machine has this address.
fn has(hosts: &Hosts, node: usize, address: IpAddr) -> bool {
    let text = address.to_string();
    hosts.at(host(node), || ip(&["-o", "addr", "show", "to", &text])).contains(&text)
}

fn hardware(hosts: &Hosts, node: usize) -> String {
    hosts.at(host(node), || behind(&ip(&["-o", "link", "show", "eth0"]), "link/ether")).expect("one")
}

/// Whose this machine's own kernel takes an address for, if it has spoken to it.
fn neighbour(address: IpAddr) -> Option<String> {
    behind(&ip(&["neigh", "show", &address.to_string()]), "lladdr")
}

fn named(site: &Site, node: usize, addresses: [IpAddr; 2]) -> (u16, Value) {
    let [four, six] = addresses.map(|address| address.to_string());
    let change = json!({"replace": {
        "virtual_ip": {"addr": four, "type": "V4"},
        "virtual_ip6": {"addr": six, "type": "V6"},
    }});
    site.admin(node).send("PATCH", "/api/cluster", &change)
}

/// From now on there are some: none that a node has for itself, and none that another machine answers for.
//= test CLUSTER-VIP-04
pub fn begins(site: &Site, hosts: &Hosts) {
    let of_node = [hosts.address(1).into(), VIRTUAL[1]];
    let (status, said) = named(site, 0, of_node);
    assert!(status == 400 && said.to_string().contains("virtual_ip is 10.77.0.3"), "{status} {said}");
    // Those of this machine, where the calling thread is.
    let taken = [hosts.middle().into(), IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1))];
    let (status, said) = named(site, 0, taken);
    assert_eq!(status, 200, "{said}");
    let leader = site.leader(&[0, 1, 2]);
    for address in taken {
        let refused = |line: &str| {
            ["CLUSTER_ADDRESS_FAILED", "answers for it", &format!("\"{address}\"")]
                .iter()
                .all(|text| line.contains(text))
        };
        eventually("who has it already is heard", secs(10), || {
            site.nodes[leader].said().lines().any(refused)
        });
        assert!((0..3).all(|node| !has(hosts, node, address)), "{address} is that of another machine");
    }
    let (status, said) = named(site, 0, VIRTUAL);
    assert_eq!(status, 200, "{said}");
}

/// Waits until this node has them and nobody else, and until this machine's own kernel was told so, without being asked; then it
/// answers there.
//= test CLUSTER-VIP-01
pub fn is_at(site: &Site, hosts: &Hosts, leader: usize) {
    let own = hardware(hosts, leader);
    for address in VIRTUAL {
        eventually("the virtual address is where the leader is, and nowhere else", secs(10), || {
            (0..3).all(|node| has(hosts, node, address) == (node == leader))
        });
        // Whoever has spoken to it before has the old one's hardware address until it is told of the new one.
        if neighbour(address).is_some() {
            eventually("neighbours are told", secs(5), || neighbour(address).as_ref() == Some(&own));
        }
        let at = SocketAddr::from((address, site.nodes[leader].api.port()));
        eventually("it answers there", secs(10), || Curl::at(at).get("/api/cluster/status").0 == 200);
        assert_eq!(neighbour(address), Some(own.clone()), "by the hardware address of the leader's machine");
    }
}

/// The process that holds the address dies: the address goes, and so does the Controller, so that another one leads and has it.
//= test CLUSTER-VIP-03
pub fn goes_without_its_holder(site: &mut Site, lab: &Lab, hosts: &Hosts) {
    let leader = site.leader(&[0, 1, 2]);
    is_at(site, hosts, leader);
    let holder = right_is_given_up(&site.nodes[leader]).expect("it has one");
    signal(holder, "-KILL");
    let status = site.nodes[leader].process.wait(secs(15));
    assert!(!status.success(), "whoever looks after it starts it anew: {status}");
    elsewhere(site, lab, hosts, leader);
}

/// The Controller at this node has ended for that reason: the addresses are elsewhere; and it comes back.
fn elsewhere(site: &mut Site, lab: &Lab, hosts: &Hosts, leader: usize) {
    assert!(
        site.nodes[leader].said().contains("has ended or stands still, and this one may not start another")
    );
    let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    is_at(site, hosts, site.leader(&others));
    hosts.at(host(leader), || site.again(lab, leader));
    site.all_answer();
}

/// The process that holds the address stands still, and then its Controller as well: the system takes the address away; and what
/// goes on reads words that are over, and neither takes the address nor says that it has it. Where it alone stands still, its
/// Controller ends.
//= test CLUSTER-VIP-03
pub fn goes_where_all_stand_still(site: &mut Site, lab: &Lab, hosts: &Hosts) {
    let leader = site.leader(&[0, 1, 2]);
    is_at(site, hosts, leader);
    let holder = right_is_given_up(&site.nodes[leader]).expect("it has one");
    signal(holder, "-STOP");
    let began = Instant::now();
    for address in VIRTUAL {
        eventually("the system takes it away", LIFETIME, || !has(hosts, leader, address));
    }
    println!("the system took the addresses away after {:?}", began.elapsed());
    // Meanwhile the Controller has said more and more words.
    site.nodes[leader].process.signal(19);
    let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    let next = site.leader(&others);
    is_at(site, hosts, next);
    let own = hardware(hosts, next);
    signal(holder, "-CONT");
    let began = Instant::now();
    while began.elapsed() < secs(2) {
        for address in VIRTUAL {
            assert!(!has(hosts, leader, address), "who reads late has taken {address} again");
            assert!(
                neighbour(address).is_none_or(|at| at == own),
                "who reads late has said that it has {address}"
            );
        }
        // Sleep: that nothing happens has no sign.
        std::thread::sleep(LOOK_EVERY);
    }
    site.nodes[leader].process.signal(18);
    site.all_answer();
    is_at(site, hosts, next);
    // Where it alone stands still its Controller ends.
    let holder = right_is_given_up(&site.nodes[next]).expect("it has one");
    signal(holder, "-STOP");
    let began = Instant::now();
    assert!(!site.nodes[next].process.wait(secs(15)).success());
    println!("a Controller whose holder stands still ended after {:?}", began.elapsed());
    elsewhere(site, lab, hosts, next);
    signal(holder, "-CONT");
}

fn signal(pid: u32, which: &str) {
    let done = Command::new("kill").args([which, &pid.to_string()]).status();
    assert!(done.expect("kill").success(), "{which} {pid}");
}

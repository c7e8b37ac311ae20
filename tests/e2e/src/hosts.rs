//! Several machines on one wire, each a network namespace: links between them can be cut, one way as well.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use crate::Network;

/// Machines `0..n` at 10.77.0.2, 10.77.0.3 and so on, and the wire's own end at 10.77.0.1, where the calling thread is; and of
/// fd77::/64 those that end alike. Cuts are of IPv4.
pub struct Hosts {
    wire: Network,
    home: File,
    machines: Vec<File>,
}

/// The local table is looked into after the rules that cut.
const LOCAL: u32 = 100;
const CUT: u32 = 10;

impl Hosts {
    /// Moves the calling thread to the wire; `None`, and [`crate::skip`] told why, where this machine does not allow it.
    ///
    /// # Panics
    /// If the namespaces or the links cannot be made.
    pub fn new(count: u8) -> Option<Self> {
        let wire = Network::own()?;
        let home = this_namespace();
        wire.ip("link add wire type bridge");
        wire.ip("addr add 10.77.0.1/24 dev wire");
        wire.ip("addr add fd77::1/64 dev wire nodad");
        wire.ip("link set wire up");
        let mut hosts = Self { wire, home, machines: Vec::new() };
        for n in 0..count {
            let network = Network::own().expect("the first one was allowed");
            let machine = this_namespace();
            // Cuts come before it; nothing is local for a moment, and nobody is there yet.
            network.ip(&format!("rule add pref {LOCAL} lookup local"));
            network.ip("rule del pref 0");
            hosts.machines.push(machine);
            hosts.enter(&hosts.home);
            let path =
                format!("/proc/{}/fd/{}", std::process::id(), hosts.machines[usize::from(n)].as_raw_fd());
            hosts.wire.ip(&format!("link add to{n} type veth peer name eth0 netns {path}"));
            hosts.wire.ip(&format!("link set to{n} master wire up"));
            hosts.at(n, || {
                network.ip(&format!("addr add {}/24 dev eth0", hosts.address(n)));
                network.ip(&format!("addr add {}/64 dev eth0 nodad", hosts.address6(n)));
                network.ip("link set eth0 up");
            });
        }
        Some(hosts)
    }

    /// The address of a machine.
    pub fn address(&self, n: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 2 + n)
    }

    /// Its address of IPv6.
    pub fn address6(&self, n: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, (2 + n).into())
    }

    /// The wire's own address, for what all machines reach.
    pub fn middle(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 1)
    }

    /// Does something on a machine: what is started and connected there lives on it.
    pub fn at<R>(&self, n: u8, work: impl FnOnce() -> R) -> R {
        struct Back<'a>(&'a Hosts);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.enter(&self.0.home);
            }
        }
        self.enter(&self.machines[usize::from(n)]);
        let _back = Back(self);
        work()
    }

    /// From now on machine `to` hears nothing of machine `from`, and neither is told.
    pub fn cut(&self, from: u8, to: u8) {
        self.rule("add", from, to);
    }

    /// Takes a cut back.
    pub fn heal(&self, from: u8, to: u8) {
        self.rule("del", from, to);
    }

    fn rule(&self, word: &str, from: u8, to: u8) {
        let from = self.address(from);
        self.at(to, || self.wire.ip(&format!("rule {word} pref {CUT} from {from} iif eth0 blackhole")));
    }

    fn enter(&self, namespace: &File) {
        // SAFETY: a system call without memory; it changes the calling thread only.
        let done = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(done, 0, "setns: {}", std::io::Error::last_os_error());
    }
}

fn this_namespace() -> File {
    File::open("/proc/thread-self/ns/net").expect("Linux has namespaces")
}

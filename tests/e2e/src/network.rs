//! A network of one's own: every port and address is free in it, and nobody else sees it.

use std::io;
use std::net::IpAddr;
use std::process::Command;

use crate::bin;

/// The calling thread's own network, with a loopback interface and nothing else. What the thread
/// starts and connects from now on lives in it; it goes with the last of them.
pub struct Network(());

impl Network {
    /// Moves the calling thread into a network of its own; `None`, and [`crate::skip`] told why, where
    /// this machine does not allow it.
    ///
    /// # Panics
    /// If root is refused for another reason than a missing right.
    pub fn own() -> Option<Self> {
        // SAFETY: a system call without memory; it changes the calling thread only.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            let error = io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::EPERM), "a network of its own: {error}");
            crate::skip("no right to make a network namespace; run the tests as root");
            return None;
        }
        let network = Self(());
        network.ip("link set lo up");
        Some(network)
    }

    /// Gives the loopback interface further addresses.
    ///
    /// # Panics
    /// If it does not take them.
    pub fn add(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        for address in addresses {
            match address {
                IpAddr::V4(v4) => self.ip(&format!("addr add {v4}/32 dev lo")),
                // No search for a second owner: an address is to be usable at once.
                IpAddr::V6(v6) => self.ip(&format!("addr add {v6}/128 dev lo nodad")),
            }
        }
    }

    /// Takes an IPv4 or IPv6 address from the loopback interface again.
    ///
    /// # Panics
    /// If it has no such address.
    pub fn remove(&self, address: IpAddr) {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        self.ip(&format!("addr del {address}/{bits} dev lo"));
    }

    pub(crate) fn ip(&self, words: &str) {
        let done = Command::new(bin::foreign("ip", "iproute2")).args(words.split(' ')).output();
        let done = done.expect("the program starts");
        assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

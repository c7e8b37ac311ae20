//! The address that is always that of the Controller that leads: `virtual_ip` of the object `cluster`.
//!
//! A small process beside this one has it: what it takes to change addresses of the machine (`CAP_NET_ADMIN`), and to tell
//! neighbours of them (`CAP_NET_RAW`), it alone keeps, and this one gives up at its start. It is told again and again that we
//! lead: it gives the address back when it hears nothing more, and that before another Controller may lead.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};
use std::net::IpAddr;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use caps::{CapSet, Capability};
use forebay_model::Object;
use pnet_datalink::{Channel, Config, NetworkInterface};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Who leads says so this often.
pub(super) const EVERY: Duration = Duration::from_millis(400);
/// Neighbours are told so long after it was taken, and from then on as often as the last one says: a switch may have been deaf.
const TOLD: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(10)];
/// What it takes.
const RIGHTS: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];

/// The process, as we hold it.
pub struct Address {
    pipe: Mutex<Option<ChildStdin>>,
    held: Mutex<BTreeSet<IpAddr>>,
    said: Mutex<bool>,
}

/// The addresses that go with the lead.
pub fn wanted(cluster: &Object) -> BTreeSet<IpAddr> {
    let texts =
        ["virtual_ip", "virtual_ip6"].into_iter().filter_map(|field| cluster.get(field)?["addr"].as_str());
    texts.filter_map(|text| text.parse().ok()).collect()
}

impl Address {
    /// Starts it, where this process may have addresses changed at all, and gives up that right.
    //= CLUSTER-VIP-02
    pub fn start() -> Self {
        let may = RIGHTS.iter().all(|right| caps::has_cap(None, CapSet::Permitted, *right).unwrap_or(false));
        let started = may.then(|| {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("hold-address").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()
        });
        for right in RIGHTS {
            for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
                // What is not there is given up already.
                let _ = caps::drop(None, set, right);
            }
        }
        let pipe = match started {
            Some(Ok(mut child)) => {
                let pipe = child.stdin.take();
                std::thread::spawn(move || child.wait());
                pipe
            }
            Some(Err(error)) => {
                tracing::warn!(event = "CLUSTER_ADDRESS_FAILED", %error, "no process that holds the virtual address");
                None
            }
            None => None,
        };
        Address { pipe: Mutex::new(pipe), held: Mutex::default(), said: Mutex::new(false) }
    }

    /// We lead for so long at least: these are ours meanwhile, and no others.
    pub fn hold(&self, wanted: &BTreeSet<IpAddr>, left: Duration) {
        let before = std::mem::replace(&mut *lock(&self.held), wanted.clone());
        before.difference(wanted).for_each(|address| self.say("leave", *address));
        let word = format!("hold-{}", left.as_millis());
        wanted.iter().for_each(|address| self.say(&word, *address));
    }

    /// We do not lead: none of these is ours, nor what we had.
    pub fn leave(&self, known: &BTreeSet<IpAddr>) {
        let before = std::mem::take(&mut *lock(&self.held));
        before.union(known).for_each(|address| self.say("leave", *address));
    }

    fn say(&self, word: &str, address: IpAddr) {
        let mut pipe = lock(&self.pipe);
        let is_said = pipe.as_mut().is_some_and(|to| writeln!(to, "{word} {address}").is_ok());
        if !is_said {
            *pipe = None;
            if word != "leave" && !std::mem::replace(&mut *lock(&self.said), true) {
                tracing::warn!(
                    event = "CLUSTER_ADDRESS_FAILED",
                    %address,
                    error = "this Controller may not change addresses: give it CAP_NET_ADMIN and CAP_NET_RAW",
                    "the virtual address is not taken"
                );
            }
        }
    }
}

fn lock<T>(held: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An address that is held.
struct Held {
    /// Nobody else leads before.
    until: Instant,
    since: Instant,
    /// How often neighbours were told.
    told: usize,
}

/// What the small process does, until nobody holds its pipe.
///
/// # Errors
/// As a text: signals cannot be listened to.
//= CLUSTER-VIP-01
pub async fn keep() -> Result<(), String> {
    // Whoever ends the whole group ends it too early: it goes with its pipe.
    let kept: Result<Vec<_>, _> = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()]
        .into_iter()
        .map(signal)
        .collect();
    let _kept = kept.map_err(|error| error.to_string())?;
    let (tell, mut told) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if tell.blocking_send(line).is_err() {
                break;
            }
        }
    });
    let mut held: BTreeMap<IpAddr, Held> = BTreeMap::new();
    loop {
        let line = tokio::time::timeout(EVERY / 4, told.recv()).await;
        let now = Instant::now();
        match line {
            Ok(Some(line)) => match read(&line) {
                Some((address, Some(left))) => match held.get_mut(&address) {
                    Some(known) => known.until = now + left,
                    None if take(address) => {
                        held.insert(address, Held { until: now + left, since: now, told: 0 });
                    }
                    None => {}
                },
                Some((address, None)) => {
                    held.remove(&address);
                    give_back(address);
                }
                None => {}
            },
            Ok(None) => break,
            Err(_) => {}
        }
        held.retain(|address, known| {
            let is_ours = now < known.until;
            if !is_ours {
                give_back(*address);
            }
            is_ours
        });
        for (address, known) in &mut held {
            let last = TOLD[TOLD.len() - 1];
            let next = TOLD.get(known.told).copied().unwrap_or(last);
            if known.since + next <= now {
                announce(*address);
                known.told += 1;
                if known.told >= TOLD.len() {
                    known.since = now;
                }
            }
        }
    }
    held.keys().for_each(|address| give_back(*address));
    Ok(())
}

/// An address, and how long it is ours; `None`: it is not.
fn read(line: &str) -> Option<(IpAddr, Option<Duration>)> {
    let (word, text) = line.split_once(' ')?;
    let address = text.parse().ok()?;
    match word.strip_prefix("hold-") {
        Some(left) => Some((address, Some(Duration::from_millis(left.parse().ok()?)))),
        None => (word == "leave").then_some((address, None)),
    }
}

/// The whole of one address: it brings no route of its own.
fn alone(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The interface in whose network an address is, by another address of it.
fn interface(address: IpAddr) -> Option<NetworkInterface> {
    pnet_datalink::interfaces().into_iter().find(|one| {
        one.is_up()
            && one.ips.iter().any(|network| network.prefix() < alone(address) && network.contains(address))
    })
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let out = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    match out {
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()),
        Err(error) => Err(format!("ip cannot be started: {error}; install iproute2")),
    }
}

fn take(address: IpAddr) -> bool {
    let done = match interface(address) {
        Some(one) => {
            let whole = format!("{address}/{}", alone(address));
            let mut arguments = vec!["addr", "replace", &whole, "dev", &one.name];
            if address.is_ipv6() {
                // It was that of another machine a moment ago, which may be there yet.
                arguments.push("nodad");
            }
            ip(&arguments).map(|()| one.name.clone())
        }
        None => Err("no interface has an address of its network".to_owned()),
    };
    match &done {
        Ok(interface) => {
            tracing::info!(event = "CLUSTER_ADDRESS_TAKEN", %address, interface, "the virtual address is here");
        }
        Err(error) => {
            tracing::warn!(event = "CLUSTER_ADDRESS_FAILED", %address, error, "the virtual address is not taken");
        }
    }
    done.is_ok()
}

/// Takes it off wherever it stands alone: what somebody else has set up with a network is left.
fn give_back(address: IpAddr) {
    for one in pnet_datalink::interfaces() {
        if !one.ips.iter().any(|network| network.ip() == address && network.prefix() == alone(address)) {
            continue;
        }
        match ip(&["addr", "del", &format!("{address}/{}", alone(address)), "dev", &one.name]) {
            Ok(()) => {
                tracing::info!(event = "CLUSTER_ADDRESS_GIVEN", %address, interface = one.name, "the virtual address is gone");
            }
            Err(error) => {
                tracing::warn!(event = "CLUSTER_ADDRESS_FAILED", %address, error, "the virtual address is not given back");
            }
        }
    }
}

/// Tells all neighbours whose it is.
fn announce(address: IpAddr) {
    let told = interface(address).and_then(|one| {
        let frame = frame(address, one.mac?.octets());
        let config = Config { promiscuous: false, ..Config::default() };
        match pnet_datalink::channel(&one, config).ok()? {
            Channel::Ethernet(mut to, _) => to.send_to(&frame, None)?.ok(),
            _ => None,
        }
    });
    if told.is_none() {
        tracing::warn!(
            event = "CLUSTER_ADDRESS_FAILED", %address, error = "no frame can be sent", "neighbours are not told of the virtual address"
        );
    }
}

/// What a machine with this hardware address tells everybody of an address: a gratuitous ARP request, or an unsolicited
/// neighbour advertisement that overrides.
fn frame(address: IpAddr, own: [u8; 6]) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => {
            let mut frame = [[0xff; 6], own].concat();
            // ARP; of Ethernet for IPv4, lengths of both, a request.
            frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
            frame.extend(own);
            frame.extend(address.octets());
            frame.extend([0; 6]);
            frame.extend(address.octets());
            frame
        }
        IpAddr::V6(address) => {
            let all = [[0xff, 2, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1]].concat();
            // A neighbour advertisement that overrides; its sum comes later.
            let mut said = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
            said.extend(address.octets());
            said.extend([2, 1]);
            said.extend(own);
            let sum = sum(&[&address.octets(), &all, &[0, 0, 0, 32, 0, 0, 0, 58], &said]);
            said[2..4].copy_from_slice(&sum.to_be_bytes());
            let mut frame = [[0x33, 0x33, 0, 0, 0, 1], own].concat();
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
            frame.extend(address.octets());
            frame.extend(all);
            frame.extend(said);
            frame
        }
    }
}

/// The sum of the Internet's protocols over parts of even lengths.
fn sum(parts: &[&[u8]]) -> u16 {
    let pairs = parts.iter().flat_map(|part| part.chunks_exact(2));
    let total: u32 = pairs.map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (total & 0xffff) + (total >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_neighbours_are_told_is_what_the_protocols_say() {
        let own = [2, 0, 0, 0, 0, 9];
        let arp = frame("192.0.2.7".parse().expect("one"), own);
        assert_eq!(arp.len(), 42);
        assert_eq!((&arp[..6], &arp[12..14]), (&[0xff; 6][..], &[8, 6][..]));
        assert_eq!(
            (&arp[22..28], &arp[28..32], &arp[38..42]),
            (&own[..], &[192, 0, 2, 7][..], &[192, 0, 2, 7][..])
        );
        let na = frame("2001:db8::7".parse().expect("one"), own);
        assert_eq!((na.len(), na[54], na[58], &na[80..86]), (86, 136, 0x20, &own[..]));
        // With its own sum in it, a message sums up to nothing.
        assert_eq!(sum(&[&na[22..54], &[0, 0, 0, 32, 0, 0, 0, 58], &na[54..]]), 0);
        let cluster =
            json!({"virtual_ip": {"addr": "192.0.2.7", "type": "V4"}, "virtual_ip6": {"addr": "host"}});
        assert_eq!(
            wanted(cluster.as_object().expect("one")),
            BTreeSet::from(["192.0.2.7".parse().expect("one")])
        );
    }
}

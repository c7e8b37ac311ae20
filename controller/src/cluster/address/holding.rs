//! What the small process does that holds the address.

use std::collections::BTreeMap;
use std::io::{BufRead, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pnet_datalink::NetworkInterface;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{EVERY, wire};
use crate::clock::Moment;

/// Neighbours are told so long after it was taken, and from then on as often as the last one says: a switch may have been deaf.
const TOLD: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(10)];
/// The system takes an address away by itself after so many seconds: it counts in whole ones, and is late by one at most.
const LIFETIME_S: u64 = 2;
/// It is told so often that the address stays: a second that it is late costs nothing.
const AGAIN: Duration = Duration::from_millis(800);
/// An address that another machine answers for is asked for again after so long.
const RETRY: Duration = Duration::from_millis(300);
/// `ip` takes milliseconds. While it is waited for nothing is given back.
const IP: Duration = Duration::from_secs(1);
/// An answer is one byte.
const ANSWERING: Duration = Duration::from_millis(1);
/// Between two looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// An address that is held.
struct Held {
    /// Nobody else leads before.
    until: Moment,
    /// When the system was told last that it stays.
    given: Moment,
    since: Moment,
    /// How often neighbours were told.
    told: usize,
}

/// Addresses that are held, and those that could not be taken.
#[derive(Default)]
struct Holding {
    held: BTreeMap<IpAddr, Held>,
    /// Why not, and when it is tried again.
    refused: BTreeMap<IpAddr, (String, Moment)>,
}

/// Does it until nobody holds its pipe.
///
/// # Errors
/// As a text: signals cannot be listened to, or standard input is no line to a Controller.
//= CLUSTER-VIP-01
pub async fn keep() -> Result<(), String> {
    // Whoever ends the whole group ends it too early: it goes with its pipe.
    let kept: Result<Vec<_>, _> = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()]
        .into_iter()
        .map(signal)
        .collect();
    let text = |error: std::io::Error| error.to_string();
    let _kept = kept.map_err(text)?;
    // Each word is answered when it was looked at, at the line on which it came. One who does not listen is not waited for.
    let mut line = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(text)?);
    line.set_write_timeout(Some(ANSWERING)).map_err(text)?;
    let (tell, mut told) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if tell.blocking_send(line).is_err() {
                break;
            }
        }
    });
    let mut holding = Holding::default();
    loop {
        match tokio::time::timeout(EVERY / 2, told.recv()).await {
            Ok(Some(word)) => {
                match read(&word) {
                    Some((address, Some(until))) => holding.hold(address, until),
                    Some((address, None)) => holding.leave(address),
                    None => {}
                }
                holding.look();
                let _ = line.write_all(b".");
            }
            Ok(None) => break,
            Err(_) => holding.look(),
        }
    }
    holding.held.keys().for_each(|address| give_back(*address));
    Ok(())
}

impl Holding {
    /// It is ours until then. Whoever stood still reads late, and what is over by then was ours.
    //= CLUSTER-VIP-03
    //= CLUSTER-VIP-04
    fn hold(&mut self, address: IpAddr, until: Moment) {
        if let Some(known) = self.held.get_mut(&address) {
            known.until = known.until.max(until);
            return;
        }
        let is_early = self.refused.get(&address).is_some_and(|(_, again)| !again.is_over());
        if until.is_over() || is_early {
            return;
        }
        let before = self.refused.remove(&address).map(|(why, _)| why);
        match take(address, until) {
            Ok(interface) => {
                tracing::info!(event = "CLUSTER_ADDRESS_TAKEN", %address, interface, "the virtual address is here");
                let now = Moment::now();
                self.held.insert(address, Held { until, given: now, since: now, told: 0 });
            }
            Err(error) => {
                if before.as_ref() != Some(&error) {
                    tracing::warn!(event = "CLUSTER_ADDRESS_FAILED", %address, error, "the virtual address is not taken");
                }
                self.refused.insert(address, (error, Moment::now().after(RETRY)));
            }
        }
    }

    fn leave(&mut self, address: IpAddr) {
        self.held.remove(&address);
        self.refused.remove(&address);
        give_back(address);
    }

    /// Gives back what is over, before anything is said of it; what is ours stays, and neighbours hear of it.
    fn look(&mut self) {
        self.held.retain(|address, known| {
            let is_ours = !known.until.is_over();
            if !is_ours {
                give_back(*address);
            }
            is_ours
        });
        for (address, known) in &mut self.held {
            if known.given.after(AGAIN).is_over() && lasts(known.until) {
                known.given = Moment::now();
                if let Err(error) = give(*address) {
                    tracing::warn!(event = "CLUSTER_ADDRESS_FAILED", %address, error, "the virtual address may not stay");
                }
            }
            let last = TOLD[TOLD.len() - 1];
            let next = TOLD.get(known.told).copied().unwrap_or(last);
            if known.since.after(next).is_over() && !known.until.is_over() {
                announce(*address);
                known.told += 1;
                if known.told >= TOLD.len() {
                    known.since = Moment::now();
                }
            }
        }
    }
}

/// What is given to the system now is over when this is, but for what the system is late.
fn lasts(until: Moment) -> bool {
    until.left() >= Duration::from_secs(LIFETIME_S)
}

/// An address, and until when it is ours; `None`: it is not.
fn read(line: &str) -> Option<(IpAddr, Option<Moment>)> {
    let (word, text) = line.split_once(' ')?;
    let address = text.parse().ok()?;
    match word.strip_prefix("hold-") {
        Some(until) => Some((address, Some(Moment::of_millis(until.parse().ok()?)))),
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
    let mut command = Command::new("ip");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| format!("ip cannot be started: {error}; install iproute2"))?;
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(_)) => break,
            Ok(None) if began.elapsed() < IP => std::thread::sleep(LOOK_EVERY),
            Ok(None) => {
                let _ = (child.kill(), child.wait());
                return Err(format!("ip has not ended within {} s", IP.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    let mut said = String::new();
    let read = child.stderr.take().map(|mut from| from.read_to_string(&mut said));
    drop(read);
    Err(said.trim().to_owned())
}

/// Has the system keep it for [`LIFETIME_S`], on the interface that is said.
//= CLUSTER-VIP-03
fn give(address: IpAddr) -> Result<NetworkInterface, String> {
    let one = interface(address).ok_or("no interface has an address of its network")?;
    let (whole, lifetime) = (format!("{address}/{}", alone(address)), LIFETIME_S.to_string());
    // What this machine asks others for it asks by its own address, which stays.
    let lives = ["valid_lft", &lifetime, "preferred_lft", "0"];
    let mut arguments = [&["addr", "replace", &whole, "dev", &one.name][..], &lives].concat();
    if address.is_ipv6() {
        // It is asked for by ourselves.
        arguments.push("nodad");
    }
    ip(&arguments)?;
    Ok(one)
}

/// The name of the interface that has it now.
fn take(address: IpAddr, until: Moment) -> Result<String, String> {
    let one = interface(address).ok_or("no interface has an address of its network")?;
    if let Some(holder) = wire::holder(&one, address) {
        return Err(format!(
            "the machine at {holder} answers for it: take the address from that one, or name one that nobody has"
        ));
    }
    // It may have been asked for long ago.
    match lasts(until) {
        true => give(address).map(|one| one.name),
        false => Err("the lead is not certain for long enough".to_owned()),
    }
}

/// Takes it off wherever it stands alone: what somebody else has set up with a network is left, and what stands on the machine
/// itself (`lo`) is not ours.
fn give_back(address: IpAddr) {
    for one in pnet_datalink::interfaces() {
        let mut networks = one.ips.iter();
        let has_it = networks.any(|network| network.ip() == address && network.prefix() == alone(address));
        if one.is_loopback() || !has_it {
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
    if interface(address).and_then(|one| wire::announce(&one, address)).is_none() {
        tracing::warn!(
            event = "CLUSTER_ADDRESS_FAILED", %address, error = "no frame can be sent", "neighbours are not told of the virtual address"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test CLUSTER-VIP-03
    #[test]
    fn a_word_that_is_read_late_gives_nothing() {
        let address: IpAddr = "192.0.2.7".parse().expect("one");
        let at = |until: Moment| format!("hold-{} {address}", until.millis());
        let hour = Duration::from_secs(3_600);
        let (told, until) = read(&at(Moment::now().after(hour))).expect("a word");
        assert!(told == address && until.is_some_and(|until| !until.is_over() && until.left() <= hour));
        assert_eq!(read(&format!("leave {address}")), Some((address, None)));
        assert_eq!((read("hold-x 192.0.2.7"), read("hold 192.0.2.7"), read("leave x")), (None, None, None));
        // What was said before this process stood still is over: it takes nothing, and has nothing tried.
        let mut holding = Holding::default();
        let now = Moment::now();
        holding.hold(address, now);
        assert!(holding.held.is_empty() && holding.refused.is_empty());
        // And it takes from what is held as little as it gives.
        let known = now.after(hour);
        holding.held.insert(address, Held { until: known, given: known, since: known, told: 0 });
        holding.hold(address, now);
        assert_eq!(holding.held[&address].until, known);
        holding.hold(address, known.after(hour));
        assert_eq!(holding.held[&address].until, known.after(hour));
    }
}

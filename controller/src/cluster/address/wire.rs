//! What machines on the same wire say to each other of an address: ARP, and neighbour discovery of IPv6.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender, MacAddr, NetworkInterface};

/// Who has an address is asked so often, so long apart: an answer takes milliseconds, and a frame may be lost.
const ASKED: usize = 2;
/// See [`ASKED`].
const APART: Duration = Duration::from_millis(120);
/// A wire that says nothing is looked at this often.
const LOOK: Duration = Duration::from_millis(20);

type Ends = (Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>);

fn open(interface: &NetworkInterface) -> Option<Ends> {
    let config = Config { promiscuous: false, read_timeout: Some(LOOK), ..Config::default() };
    match pnet_datalink::channel(interface, config).ok()? {
        Channel::Ethernet(to, from) => Some((to, from)),
        _ => None,
    }
}

/// The other machine that answers for an address, if one does. Where nobody can be asked nobody answers.
//= CLUSTER-VIP-04
pub fn holder(interface: &NetworkInterface, address: IpAddr) -> Option<MacAddr> {
    let own = interface.mac?.octets();
    let (mut to, mut from) = open(interface)?;
    let question = question(address, own);
    for _ in 0..ASKED {
        to.send_to(&question, None)?.ok()?;
        let began = Instant::now();
        while began.elapsed() < APART {
            let other = from.next().ok().and_then(|frame| claims(frame, address));
            if let Some(other) = other.filter(|other| *other != own) {
                return Some(other.into());
            }
        }
    }
    None
}

/// Tells all neighbours whose it is.
pub fn announce(interface: &NetworkInterface, address: IpAddr) -> Option<()> {
    let (mut to, _) = open(interface)?;
    to.send_to(&told(address, interface.mac?.octets()), None)?.ok()
}

/// What a machine with this hardware address tells everybody of an address: a gratuitous ARP request, or an unsolicited
/// neighbour advertisement that overrides.
fn told(address: IpAddr, own: [u8; 6]) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(own, address.octets(), address.octets()),
        IpAddr::V6(address) => {
            // A neighbour advertisement that overrides; its sum comes later.
            let mut said = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
            said.extend(address.octets());
            said.extend([2, 1]);
            said.extend(own);
            icmp(own, address, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), said)
        }
    }
}

/// What a machine asks that has no address yet: whether anybody has this one.
fn question(address: IpAddr, own: [u8; 6]) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(own, [0; 4], address.octets()),
        IpAddr::V6(address) => {
            let mut said = vec![135, 0, 0, 0, 0, 0, 0, 0];
            said.extend(address.octets());
            let [.., low] = address.segments();
            let [.., high] = address.segments()[..7] else { return Vec::new() };
            // All whose addresses end as this one does.
            let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low);
            icmp(own, Ipv6Addr::UNSPECIFIED, group, said)
        }
    }
}

/// A request of ARP to everybody.
fn arp(own: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut frame = [[0xff; 6], own].concat();
    // ARP; of Ethernet for IPv4, lengths of both, a request.
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(own);
    frame.extend(sender);
    frame.extend([0; 6]);
    frame.extend(target);
    frame
}

/// A message of ICMPv6 to a group, with its sum. Its length is even.
fn icmp(own: [u8; 6], from: Ipv6Addr, group: Ipv6Addr, mut said: Vec<u8>) -> Vec<u8> {
    let length = u8::try_from(said.len()).unwrap_or(0);
    let sum = sum(&[&from.octets(), &group.octets(), &[0, 0, 0, length, 0, 0, 0, 58], &said]);
    said[2..4].copy_from_slice(&sum.to_be_bytes());
    let [.., a, b, c, d] = group.octets();
    let mut frame = [[0x33, 0x33, a, b, c, d], own].concat();
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, length, 58, 255]);
    frame.extend(from.octets());
    frame.extend(group.octets());
    frame.extend(said);
    frame
}

/// The hardware address of who says in this frame that it has the address.
fn claims(frame: &[u8], address: IpAddr) -> Option<[u8; 6]> {
    let from = |at: usize| frame.get(at..at + 6)?.try_into().ok();
    let is_at = |at: usize, bytes: &[u8]| frame.get(at..at + bytes.len()) == Some(bytes);
    match address {
        IpAddr::V4(address) => {
            let is_so = is_at(12, &[8, 6, 0, 1, 8, 0, 6, 4]) && is_at(28, &address.octets());
            if is_so { from(22) } else { None }
        }
        IpAddr::V6(address) => {
            // An advertisement, without headers between.
            let is_so = is_at(12, &[0x86, 0xdd])
                && is_at(20, &[58])
                && is_at(54, &[136])
                && is_at(62, &address.octets());
            if is_so { from(6) } else { None }
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

    #[test]
    fn what_neighbours_are_told_is_what_the_protocols_say() {
        let own = [2, 0, 0, 0, 0, 9];
        let arp = told("192.0.2.7".parse().expect("one"), own);
        assert_eq!(arp.len(), 42);
        assert_eq!((&arp[..6], &arp[12..14]), (&[0xff; 6][..], &[8, 6][..]));
        assert_eq!(
            (&arp[22..28], &arp[28..32], &arp[38..42]),
            (&own[..], &[192, 0, 2, 7][..], &[192, 0, 2, 7][..])
        );
        let na = told("2001:db8::7".parse().expect("one"), own);
        assert_eq!((na.len(), na[54], na[58], &na[80..86]), (86, 136, 0x20, &own[..]));
        // With its own sum in it, a message sums up to nothing.
        assert_eq!(sum(&[&na[22..54], &[0, 0, 0, 32, 0, 0, 0, 58], &na[54..]]), 0);
    }

    //= test CLUSTER-VIP-04
    #[test]
    fn who_has_an_address_is_asked_by_one_that_claims_none_and_known_by_its_answer() {
        let (own, other) = ([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 5]);
        let (v4, v6): (IpAddr, IpAddr) =
            ("192.0.2.7".parse().expect("one"), "2001:db8::1:2:3".parse().expect("one"));
        let probe = question(v4, own);
        assert_eq!((&probe[28..32], &probe[38..42]), (&[0; 4][..], &[192, 0, 2, 7][..]));
        let solicitation = question(v6, own);
        assert_eq!(&solicitation[..6], &[0x33, 0x33, 0xff, 2, 0, 3]);
        let group: Ipv6Addr = "ff02::1:ff02:3".parse().expect("one");
        assert_eq!((&solicitation[22..38], &solicitation[38..54]), (&[0; 16][..], &group.octets()[..]));
        assert_eq!(sum(&[&solicitation[22..54], &[0, 0, 0, 24, 0, 0, 0, 58], &solicitation[54..]]), 0);
        for (address, asked) in [(v4, probe), (v6, solicitation)] {
            assert_eq!(claims(&asked, address), None, "who asks has not said that it has it");
            let answer = told(address, other);
            assert_eq!(claims(&answer, address), Some(other));
            assert_eq!(claims(&answer, "192.0.2.8".parse().expect("one")), None);
            for cut in 0..answer.len() {
                assert!(claims(&answer[..cut], address).is_none_or(|by| by == other), "{cut}");
            }
        }
    }
}

//! How many requests one client has under way at this node, and how much all of them have sent.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The most of one client: as many as one connection of HTTP/2 has streams.
pub const OF_ONE_MAX: usize = 64;

/// So much of each request is taken in any case, bytes: most are shorter.
const SHORT: usize = 16 << 10;

/// Bytes of all longer ones together, whoever sends them: who asks is not known before the leader has looked.
const LONG_MAX: usize = 64 << 20;

/// Clients that wait for answers, and for how many.
#[derive(Clone, Default)]
pub struct Guests {
    of: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    long: Arc<AtomicUsize>,
}

/// One request; it is over when this goes.
pub struct Guest {
    guests: Guests,
    client: IpAddr,
    bytes: usize,
}

impl Guest {
    /// So many bytes more of its content; `false`: there is no room for them.
    //= CLUSTER-ANY-02
    pub fn takes(&mut self, bytes: usize) -> bool {
        let before = self.bytes.saturating_sub(SHORT);
        self.bytes += bytes;
        let more = self.bytes.saturating_sub(SHORT) - before;
        self.guests.long.fetch_add(more, Ordering::AcqRel) + more <= LONG_MAX
    }
}

impl Guests {
    /// One more of this client; `None`: it has too many.
    pub fn enter(&self, client: IpAddr) -> Option<Guest> {
        let client = whose(client);
        let mut all = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(client).or_default();
        if *count >= OF_ONE_MAX {
            return None;
        }
        *count += 1;
        Some(Guest { guests: self.clone(), client, bytes: 0 })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.long.fetch_sub(self.bytes.saturating_sub(SHORT), Ordering::AcqRel);
        let mut all = self.guests.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.client);
            }
        }
    }
}

/// Whose an address is: of those of IPv6 one client has a whole network.
pub fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        short @ IpAddr::V4(_) => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_requests_and_another_one_has_its_own() {
        let guests = Guests::default();
        let of = |text: &str| guests.enter(text.parse().expect("an address"));
        let held: Vec<_> = std::iter::from_fn(|| of("2001:db8::1")).collect();
        assert_eq!(held.len(), OF_ONE_MAX);
        assert!(of("2001:db8::2").is_none(), "it is the same network");
        assert!(of("2001:db8:0:1::1").is_some() && of("192.0.2.1").is_some());
        drop(held);
        assert!(of("2001:db8::1").is_some());
        assert!(guests.of.lock().expect("whole").is_empty());
    }

    //= test CLUSTER-ANY-02
    #[test]
    fn who_sends_much_leaves_room_for_what_is_short() {
        let guests = Guests::default();
        let enter = |n: u8| guests.enter(IpAddr::from([192, 0, 2, n])).expect("it is the first");
        let long = 4 << 20;
        let mut held = Vec::new();
        for n in 0..100 {
            let mut guest = enter(n);
            if !guest.takes(long) {
                break;
            }
            held.push(guest);
        }
        assert_eq!(held.len(), LONG_MAX / (long - SHORT));
        let mut short = enter(200);
        assert!(short.takes(SHORT / 2) && short.takes(SHORT / 2), "it is taken in any case");
        assert!(!short.takes(long));
        drop((short, held));
        assert!(enter(201).takes(long));
        assert_eq!(guests.long.load(Ordering::Relaxed), 0);
    }
}

//! How many requests one client has under way at this node.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The most of one client: as many as one connection of HTTP/2 has streams.
pub const OF_ONE_MAX: usize = 64;

/// Clients that wait for answers, and for how many.
#[derive(Clone, Default)]
pub struct Guests(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One request; it is over when this goes.
pub struct Guest {
    guests: Guests,
    client: IpAddr,
}

impl Guests {
    /// One more of this client; `None`: it has too many.
    pub fn enter(&self, client: IpAddr) -> Option<Guest> {
        let client = whose(client);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(client).or_default();
        if *count >= OF_ONE_MAX {
            return None;
        }
        *count += 1;
        Some(Guest { guests: self.clone(), client })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut all = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.client);
            }
        }
    }
}

/// Whose an address is: of those of IPv6 one client has a whole network.
fn whose(address: IpAddr) -> IpAddr {
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
        assert!(guests.0.lock().expect("whole").is_empty());
    }
}

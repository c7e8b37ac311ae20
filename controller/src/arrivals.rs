//! How many connections one address may have at once, so that nobody takes all places.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cluster::whose;

/// What is said of one address is said for all for so long.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Who is here, by address.
pub struct Arrivals {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    counts: HashMap<IpAddr, usize>,
    said: Option<Instant>,
}

/// A place, until it is dropped.
pub struct Arrival {
    arrivals: Arc<Arrivals>,
    from: IpAddr,
}

impl Arrivals {
    /// Each address may have `most`.
    pub fn of(most: usize) -> Arc<Self> {
        Arc::new(Arrivals { most, held: Mutex::default() })
    }

    /// A place for a connection from this address; `None`: it has all that it may.
    //= API-SLOW-01
    pub fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Arrival> {
        let from = whose(from);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Held { counts, said } = &mut *held;
        let count = counts.entry(from).or_default();
        if *count >= self.most {
            if said.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
                *said = Some(Instant::now());
                tracing::warn!(
                    event = "CONTROLLER_ADDRESS_FULL", %from, most = self.most,
                    "an address has as many connections as it may; further ones are closed"
                );
            }
            return None;
        }
        *count += 1;
        Some(Arrival { arrivals: Arc::clone(self), from })
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut held = self.arrivals.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                held.counts.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test API-SLOW-01
    #[test]
    fn an_address_has_its_part_and_leaves_nothing_behind() {
        let arrivals = Arrivals::of(2);
        let enter = |text: &str| arrivals.enter(text.parse::<IpAddr>().expect("an address"));
        let first = enter("192.0.2.1");
        let second = enter("::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some() && enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        drop(second);
        assert!(enter("192.0.2.1").is_some());
        let six: Vec<_> = ["2001:db8::1", "2001:db8::2"].into_iter().map(enter).collect();
        assert!(six.iter().all(Option::is_some) && enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::1").is_some(), "another network");
        drop((first, six));
        assert!(arrivals.held.lock().expect("whole").counts.is_empty());
    }
}

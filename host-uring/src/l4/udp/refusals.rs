//! Which servers have refused whom a moment ago.
//!
//! The datagram that a server refused is gone, and its client sends it again: then the server is passed over, although
//! neither a monitor nor the count of its failures has taken it out yet.

use std::collections::VecDeque;
use std::net::IpAddr;

use forebay_core::id::{PoolId, ServerId};

use crate::http::limits::{REFUSAL_US, REFUSALS_KEPT_MAX};
use crate::rt::Now;

/// The last ones, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Refusals(VecDeque<Refusal>);

#[derive(Debug)]
struct Refusal {
    client: IpAddr,
    pool: PoolId,
    server: ServerId,
    until: Now,
}

impl Refusals {
    /// Remembers one; the oldest goes if there are too many.
    pub(super) fn add(&mut self, client: IpAddr, pool: PoolId, server: ServerId, now: Now) {
        if self.0.len() == REFUSALS_KEPT_MAX {
            self.0.pop_front();
        }
        let until = Now(now.0.saturating_add(REFUSAL_US));
        self.0.push_back(Refusal { client, pool, server, until });
    }

    /// The servers of a pool that have refused this client.
    pub(super) fn of(&mut self, client: IpAddr, pool: PoolId, now: Now) -> impl Iterator<Item = ServerId> {
        while self.0.front().is_some_and(|oldest| oldest.until <= now) {
            self.0.pop_front();
        }
        let own = move |refusal: &&Refusal| (refusal.client, refusal.pool) == (client, pool);
        self.0.iter().filter(own).map(|refusal| refusal.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_forgotten_after_a_while_and_so_is_the_oldest_of_too_many() {
        let client = |n: u8| IpAddr::from([192, 0, 2, n]);
        let (pool, mut refusals) = (PoolId(1), Refusals::default());
        refusals.add(client(1), pool, ServerId(7), Now(0));
        assert_eq!(refusals.of(client(1), pool, Now(1)).collect::<Vec<_>>(), [ServerId(7)]);
        assert_eq!(refusals.of(client(2), pool, Now(1)).count(), 0, "another client's");
        assert_eq!(refusals.of(client(1), PoolId(2), Now(1)).count(), 0, "another pool's");
        assert_eq!(refusals.of(client(1), pool, Now(REFUSAL_US)).count(), 0, "its time is over");
        for _ in 0..=REFUSALS_KEPT_MAX {
            refusals.add(client(3), pool, ServerId(8), Now(0));
        }
        assert_eq!(refusals.of(client(3), pool, Now(1)).count(), REFUSALS_KEPT_MAX);
    }
}

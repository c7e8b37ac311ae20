//! The Maglev table: each server fills slots in an order of its own, in turn with the others.
//!
//! After "Maglev: A Fast and Reliable Software Network Load Balancer" (Eisenbud and others, NSDI 2016),
//! section 3.4, with weights: a server of ratio 3 fills three slots in its turn.

use alloc::vec;
use alloc::vec::Vec;

use super::ServerConfig;
use crate::hash;
use crate::id::{Endpoint, ServerId, ServerIndex};
use crate::limits::HASH_SLOTS;

/// A look-up table from hashes to servers.
#[derive(Clone, Debug)]
pub struct Maglev {
    slots: Vec<u16>,
}

const FREE: u16 = u16::MAX;

impl Maglev {
    /// Builds the table. `ignore_port`: servers of one address share an order, whatever their port.
    ///
    /// Servers fill in the order of their ids, so their order in the list does not matter. Servers of ratio 0
    /// get no slot; without any other the table is empty.
    //= LB-CH-01
    pub fn of_servers(servers: &[ServerConfig], ignore_port: bool) -> Self {
        let size = HASH_SLOTS;
        let mut fill: Vec<Filler> = (0u16..)
            .zip(servers)
            .filter(|(_, s)| s.ratio != 0)
            .map(|(i, s)| {
                //= LB-CH-05
                let port = if ignore_port { 0 } else { s.endpoint.port };
                let order = ServerId::of(Endpoint { ip: s.endpoint.ip, port });
                Filler::new(order, ServerId::of(s.endpoint), i, s.ratio, size)
            })
            .collect();
        if fill.is_empty() {
            return Self { slots: Vec::new() };
        }
        fill.sort_unstable_by_key(|f| (f.order, f.id));
        let mut slots = vec![FREE; size as usize];
        let mut free = size;
        while free > 0 {
            for f in &mut fill {
                for _ in 0..f.ratio {
                    if free == 0 {
                        break;
                    }
                    while slots[f.next as usize] != FREE {
                        f.step(size);
                    }
                    slots[f.next as usize] = f.server;
                    f.step(size);
                    free -= 1;
                }
            }
        }
        Self { slots }
    }

    /// Returns the server of `hash`; `None` if the table is empty.
    #[inline]
    pub fn get(&self, hash: u64) -> Option<ServerIndex> {
        let n = u32::try_from(self.slots.len()).ok().filter(|n| *n != 0)?;
        self.slots.get(hash::reduce(hash, n) as usize).map(|s| ServerIndex(*s))
    }

    /// All slots, in order: for tests and figures.
    pub fn slots(&self) -> &[u16] {
        &self.slots
    }
}

/// One server's way through the table: a start and a step; the size is prime, so it meets every slot.
struct Filler {
    order: ServerId,
    id: ServerId,
    server: u16,
    ratio: u8,
    next: u32,
    skip: u32,
}

impl Filler {
    fn new(order: ServerId, id: ServerId, server: u16, ratio: u8, size: u32) -> Self {
        let next = hash::reduce(hash::mix64(order.0), size);
        let skip = 1 + hash::reduce(hash::mix64(!order.0), size - 1);
        Self { order, id, server, ratio, next, skip }
    }

    fn step(&mut self, size: u32) {
        self.next += self.skip;
        if self.next >= size {
            self.next -= size;
        }
    }
}

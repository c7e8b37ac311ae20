//! The servers that engines tell of: who told of which first, and who tells of it now.

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::table::{Catalog, EngineSlot};

/// Servers of one group: 16 MiB.
const SERVERS_MAX: usize = 250_000;
/// So many that nobody tells of any more are worth beginning anew: an eighth.
const UNUSED: usize = SERVERS_MAX / 8;

/// A server with a name.
#[derive(Clone, Copy)]
struct Name {
    /// Who told of it first: it counts for that one.
    owner: EngineSlot,
    /// Who tells of it, one bit a slot.
    by: u64,
}

/// Names of servers; they stand in the catalog for good.
#[derive(Default)]
pub struct Names {
    all: BTreeMap<u64, Name>,
    /// Of each engine that tells of servers: how many there is no room for.
    left_out: BTreeMap<EngineSlot, usize>,
}

impl Names {
    /// An engine tells of these. None may have more names, of those that it told of first, than it leaves to the others: one that
    /// makes names up leaves them half of all.
    pub fn told(&mut self, catalog: &mut Catalog, by: EngineSlot, servers: &[u64]) {
        let bit = 1 << by.get();
        let mut owned = 0;
        for name in self.all.values_mut() {
            name.by &= !bit;
            owned += usize::from(name.owner == by);
        }
        self.left_out.insert(by, 0);
        let mut left_out = 0;
        for server in servers {
            if let Some(name) = self.all.get_mut(server) {
                name.by |= bit;
            } else if owned < SERVERS_MAX - self.all.len() {
                owned += 1;
                self.all.insert(*server, Name { owner: by, by: bit });
                catalog.server(*server);
            } else {
                left_out += 1;
            }
        }
        self.left_out.insert(by, left_out);
    }

    /// Names with their owners of which somebody tells, and of these.
    pub fn kept(&self, used: impl Iterator<Item = u64>) -> Vec<(u64, EngineSlot)> {
        let used: BTreeSet<u64> = used.collect();
        let is_kept = |(server, name): &(&u64, &Name)| name.by != 0 || used.contains(server);
        self.all.iter().filter(is_kept).map(|(server, name)| (*server, name.owner)).collect()
    }

    /// It has this name from before.
    pub fn keep(&mut self, catalog: &mut Catalog, server: u64, owner: EngineSlot) {
        self.all.insert(server, Name { owner, by: 0 });
        catalog.server(server);
    }

    /// Servers that there is no room for.
    pub fn left_out(&self) -> usize {
        self.left_out.values().sum()
    }

    /// The same of one engine.
    #[cfg(test)]
    pub fn left_out_of(&self, slot: EngineSlot) -> usize {
        self.left_out.get(&slot).copied().unwrap_or_default()
    }

    /// Servers that have names.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// There was no room for some, while many have names of which nobody tells.
    pub fn are_worn(&self) -> bool {
        self.left_out() > 0 && self.all.values().filter(|name| name.by == 0).count() >= UNUSED
    }
}

//! Errors of memory, made on purpose: for tests of what finds them.

use forebay_core::id::ServerId;
use forebay_core::table::{EngineSlot, Key, Record};
use forebay_core::units::Now;

use super::Store;

impl Store {
    /// Changes the server of an entry under the version that it has; `false` if there is no such entry or server. Nobody is
    /// told.
    pub fn flip_server(&self, key: &Key, server: ServerId, now: Now) -> bool {
        let Some(slot) = self.catalog.slot_of(server.0) else { return false };
        self.rewrite(key, now, |record| record.server = slot)
    }

    /// Changes one bit of an entry: whether another engine has connections of its client open. Nobody is told.
    pub fn flip_bit(&self, key: &Key, now: Now) -> bool {
        let other = if self.me == EngineSlot::default() { 1 } else { 0 };
        self.rewrite(key, now, |record| record.open ^= 1 << other)
    }

    fn rewrite(&self, key: &Key, now: Now, change: impl FnOnce(&mut Record)) -> bool {
        let Some(mut partition) = self.partition(key) else { return false };
        let Some(mut view) = partition.entry(&self.catalog, key, now) else { return false };
        change(&mut view.record);
        partition.damage(&self.catalog, key, view.record.server, view.record.open)
    }
}

//! How the control thread looks into the store: counts, entries, what a request would find.

use std::collections::BTreeMap;

use forebay_core::persist::{ClientKey, Found, Kind, Profile};
use forebay_core::table::{EntryView, Stats};
use forebay_core::units::Now;

use super::store::Store;
use super::{Binding, Remembered};
use forebay_snapshot::Persistence;

use crate::config::{PoolIndex, ServiceIndex};
use crate::control::tables::{Clients, Clocks, TableEntry};
use crate::control::{Peek, Tables};
use crate::metrics::page::TableView;
use crate::rt::clock;

/// Buckets that one hold of a partition's lock counts: well below 0.1 ms.
const COUNT_SLICE_BUCKETS: u32 = 256;

impl Tables for Store {
    fn view(&self) -> TableView {
        let mut sum = Stats::default();
        for partition in 0..Tables::partitions(self) {
            self.with_partition(partition, |partition, _| sum.add(&partition.stats()));
        }
        TableView {
            entries: u64::from(sum.entries),
            capacity: self.capacity(),
            evicted: sum.evicted,
            refused: sum.refused,
            bytes: self.table_bytes().0,
            bytes_resident: self.table_bytes().1,
        }
    }

    fn touch_more(&self, bytes: u64) -> bool {
        Store::touch_more(self, bytes)
    }

    fn partitions(&self) -> usize {
        Store::partitions(self) as usize
    }

    fn cookie_key(&self, value: &str) -> String {
        text(&forebay_core::table::KeyBytes(self.table_key(ClientKey::Opaque(value.as_bytes())).0))
    }

    fn keeps(&self, pool: PoolIndex) -> bool {
        self.keeps_clients_of(pool)
    }

    fn count(&self, partition: usize, clients: &mut Clients) {
        let (now, mut next) = (clock::now(), 0);
        let mut found = BTreeMap::new();
        while next < self.buckets() {
            self.with_partition(partition, |partition, catalog| {
                let slice = next..next.saturating_add(COUNT_SLICE_BUCKETS);
                for entry in partition.entries(catalog, slice, now).filter(|e| !e.record.tombstone) {
                    *found.entry((entry.table, entry.record.server)).or_insert(0_u64) += 1;
                }
            });
            next += COUNT_SLICE_BUCKETS;
        }
        for ((table, slot), count) in found {
            if let (Some((_, pool)), Some(server)) = (self.owner(table), self.server_of(slot)) {
                *clients.entry((pool, server)).or_insert(0) += count;
            }
        }
    }

    fn entries(&self, partition: usize, each: &mut dyn FnMut(TableEntry)) {
        let now = clock::now();
        let mut copies: Vec<EntryView> = Vec::new();
        // Copied under the lock, put into words outside of it.
        self.with_partition(partition, |partition, catalog| {
            copies.extend(partition.entries(catalog, 0..u32::MAX, now).filter(|e| !e.record.tombstone));
        });
        for entry in &copies {
            if let Some(entry) = self.in_words(entry) {
                each(entry);
            }
        }
    }
}

impl Store {
    fn in_words(&self, entry: &EntryView) -> Option<TableEntry> {
        let (service, pool) = self.owner(entry.table)?;
        let (service, pool) = (self.tree().service(service), self.tree().pool(pool));
        let (kind, key) = match &pool.persistence {
            Some(Persistence::ClientIp(_)) => ("client_ip", entry.key.to_ip().to_string()),
            Some(Persistence::Tls(_)) => ("tls", hex(&entry.key)),
            _ => ("app_cookie", text(&entry.key)),
        };
        let server = self.server_of(entry.record.server);
        let address = pool.servers.iter().find(|s| Some(s.id) == server).map(|s| s.address);
        Some(TableEntry {
            virtual_service: service.name.clone(),
            pool: pool.name.clone(),
            kind,
            key,
            server: address,
            version: u64::from(entry.record.version.switches),
            open_connections: u64::from(entry.connections),
            idle_s: entry.record.age_ms / 1000,
            expires_in_s: entry.left_ms.map(|ms| ms / 1000),
            clocks: Clocks {
                age_ms: entry.record.age_ms,
                left_ms: entry.left_ms,
                engines: entry.record.open.count_ones(),
                open_elsewhere: entry.record.open & !(1 << self.me.get()) != 0,
                own: entry.record.version.origin == self.me,
            },
        })
    }
}

/// The cookie's value where the key holds it, else the key in hexadecimal digits.
fn text(key: &forebay_core::table::KeyBytes) -> String {
    match key.text() {
        Some(text) => String::from_utf8_lossy(text).into_owned(),
        None => hex(key),
    }
}

fn hex(key: &forebay_core::table::KeyBytes) -> String {
    key.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Peek for Store {
    fn remembered(
        &self,
        service: ServiceIndex,
        pool: PoolIndex,
        profile: &Profile,
        found: &Found<'_>,
        now: Now,
    ) -> Remembered {
        let binding = match &profile.kind {
            Kind::HttpCookie(cookie) => {
                let tree = self.tree();
                let pool = tree.pool(pool);
                Some(
                    Binding::new(tree.service(service).keeps_as, pool.id, &cookie.name)
                        .by(pool.cookie_keys()),
                )
            }
            _ => None,
        };
        Store::remembered(self, binding.as_ref(), self.table(service, pool), found, now)
    }

    fn next_ticket(&self, pool: PoolIndex) -> u64 {
        Store::next_ticket(self, pool)
    }
}

//! Which tables a configuration needs.

use std::collections::BTreeSet;

use forebay_core::hash;
use forebay_core::persist::Kind;
use forebay_core::table::{Catalog, Lifetime, TableId, TableSettings};

use super::StoreProblem;
use crate::config::{PoolIndex, ServiceIndex, Tree};

/// What a service's pool wants of its table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The same on every engine and after a restart.
    pub(super) name: u64,
    /// The kind of its keys.
    pub(super) kind: &'static str,
    pub(super) life: Lifetime,
}

/// The tables that a configuration needs; one that several services share is said to be the first one's.
//= PERS-NAME-01
pub(super) fn wanted(tree: &Tree) -> Vec<(ServiceIndex, PoolIndex, Wanted)> {
    let mut seen = BTreeSet::new();
    (0..tree.services.len())
        .map(ServiceIndex)
        .flat_map(|service| {
            let pools = tree.pools_of(tree.service(service)).iter();
            pools.filter_map(move |pool| Some((service, *pool, Wanted::by(tree, service, *pool)?)))
        })
        .filter(|(.., wanted)| seen.insert(wanted.name))
        .collect()
}

pub(super) fn define(catalog: &mut Catalog, wanted: Wanted, synced: bool) -> Result<TableId, StoreProblem> {
    let settings = TableSettings { name: wanted.name, lives: vec![wanted.life], synced };
    catalog.define(&settings).map_err(|problem| StoreProblem(format!("persistence tables: {problem}")))
}

impl Wanted {
    /// For how long entries live; the most there is: for ever.
    pub(super) fn seconds(&self) -> u32 {
        match self.life {
            Lifetime::For(seconds) => seconds.0,
            _ => u32::MAX,
        }
    }

    /// What members have to agree on beside the name.
    pub(super) fn settings(&self) -> u64 {
        let life = match self.life {
            Lifetime::For(seconds) => u64::from(seconds.0),
            _ => u64::MAX,
        };
        hash::fixed64(&[self.kind.as_bytes(), &u64::to_le_bytes(life)].concat())
    }

    /// By a service's pool; `None` if the pool needs no table.
    fn by(tree: &Tree, service: ServiceIndex, pool: PoolIndex) -> Option<Self> {
        let config = tree.pool(pool).decision_config(tree.service(service));
        let (kind, life) = match config.persistence?.kind {
            Kind::ClientIp(c) if c.timeout.0 > 0 => ("client_ip", c.timeout.seconds()),
            Kind::AppCookie(c) => ("app_cookie", c.timeout.seconds()),
            Kind::Tls(c) => ("tls", c.lifetime),
            _ => return None,
        };
        Some(Self { name: table_name(tree, service, pool), kind, life: Lifetime::For(life) })
    }
}

/// The same on every engine and after a restart.
pub(super) fn table_name(tree: &Tree, service: ServiceIndex, pool: PoolIndex) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&tree.service(service).keeps_as.0.to_le_bytes());
    bytes[4..].copy_from_slice(&tree.pool(pool).id.0.to_le_bytes());
    hash::fixed64(&bytes)
}

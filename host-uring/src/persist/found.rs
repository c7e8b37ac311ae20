//! What we remember of the key that a request carries: one look for traffic, pool groups and `explain`.

use forebay_core::id::ServerIndex;
use forebay_core::lb::{self, Bound};
use forebay_core::persist::{Found, Stored, TableKey};
use forebay_core::table::{Key, TableId};
use forebay_core::units::Now;

use super::{Binding, Store};

/// What is remembered of a request's key.
#[derive(Clone, Copy, Debug)]
pub struct Remembered {
    /// The key under the table's secret.
    pub table_key: Option<TableKey>,
    /// The key in the pool's table.
    pub key: Option<Key>,
    /// What stands in the cookie or in the table.
    pub stored: Stored,
}

impl Store {
    /// Opens the cookies or looks up the key of `found`, without touching an entry. `binding` and `table` are those of
    /// the service's pool.
    pub fn remembered(
        &self,
        binding: Option<&Binding>,
        table: Option<TableId>,
        found: &Found<'_>,
        now: Now,
    ) -> Remembered {
        let mut known = Remembered { table_key: None, key: None, stored: Stored::Nothing };
        match found {
            Found::Sealed(cookies) => {
                let opened = binding
                    .and_then(|binding| cookies.iter().find_map(|value| self.sealer().open(binding, value)));
                known.stored = opened.map_or(Stored::Nothing, Stored::Cookie);
            }
            Found::Key(bytes) => {
                let bytes = self.table_key(*bytes);
                known.table_key = Some(bytes);
                known.key = table.map(|table| self.key(table, bytes));
                let server = known.key.as_ref().and_then(|key| self.get(key, now));
                known.stored =
                    server.map_or(Stored::Nothing, |server| Stored::Entry { server, generation: 0 });
            }
            _ => {}
        }
        known
    }
}

/// Says whether the client is bound to a server of this pool, and whether that server keeps it.
pub fn bound_to(pool: &lb::Pool, found: &Found<'_>, stored: &Stored) -> Option<Bound> {
    let server = match (found, stored) {
        (Found::Sealed(_), Stored::Cookie(payload)) => pool.index_of_endpoint(payload.server),
        (Found::Key(_), Stored::Entry { server, .. }) => pool.index_of(*server),
        (Found::Sealed(_) | Found::Key(_), Stored::Nothing) => return None,
        (Found::Sealed(_) | Found::Key(_), _) => None,
        (Found::Header(value), _) => {
            let servers = &pool.config().servers;
            let at = servers.iter().position(|server| server.header_value == *value)?;
            u16::try_from(at).ok().map(ServerIndex)
        }
        _ => return None,
    };
    Some(Bound { pool: pool.id(), keeps: server.is_some_and(|at| pool.keeps(at)) })
}

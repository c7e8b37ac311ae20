//! How the servers of pools are reached by TLS: as the document says, and as it was read from files.

use std::sync::{Arc, OnceLock};

use forebay_core::id::PoolId;
use forebay_snapshot::{Certificate, Pool, TlsProfile};

use super::Tree;
use crate::fault::Fault;
use crate::tls::{Back, BackWanted, Changed};

/// What connections to a pool's servers are secured with. As for clients, files are read once the tree stands, and before
/// it is published.
#[derive(Debug)]
pub struct Reencrypted {
    wanted: BackWanted,
    back: OnceLock<Arc<Back>>,
}

impl Reencrypted {
    pub(super) fn wants(wanted: BackWanted) -> Self {
        Reencrypted { wanted, back: OnceLock::new() }
    }

    /// What was read.
    ///
    /// # Panics
    /// Nothing was: a tree whose files were not read is never published.
    pub fn back(&self) -> &Arc<Back> {
        self.back.get().expect("read before the tree is published")
    }
}

/// What the document says of how a pool's servers are reached by TLS; `None`: they are not.
pub(super) fn wanted(
    pool: &Pool,
    certificates: &[Certificate],
    profiles: &[TlsProfile],
) -> Option<BackWanted> {
    let tls = pool.tls.as_ref()?;
    let profile =
        profiles.iter().find(|profile| profile.name == tls.tls_profile).cloned().unwrap_or_default();
    let own = |name: &String| certificates.iter().find(|one| one.name == *name).cloned();
    Some(BackWanted {
        profile,
        authorities: tls.ca_file.clone().filter(|_| tls.verify),
        is_name_checked: tls.host_check_enabled,
        is_name_told: tls.sni_enabled,
        name: tls.server_name.clone(),
        certificate: tls.certificate.as_ref().and_then(own),
    })
}

impl Tree {
    /// Reads the authorities and certificates of all pools; what `before` has read of the same files stays. Gives all that
    /// is wrong with them.
    //= TLS-SERVER-RELOAD-01
    pub(super) fn read_backs(&self, before: Option<&Tree>) -> Vec<Fault> {
        let mut problems = Vec::new();
        for pool in &self.pools {
            let Some(secured) = &pool.tls else { continue };
            let old = before.and_then(|before| before.back_of(pool.id));
            let kept = old.clone().filter(|back| back.is_current(&secured.wanted));
            let load = || Back::load(&secured.wanted, old.as_deref()).map(Arc::new);
            match kept.map_or_else(load, Ok) {
                Ok(back) => {
                    let _ = secured.back.set(back);
                }
                Err(why) => {
                    let of = |why: Fault| {
                        why.or_of("pool", &pool.name).within(&format!("pool \"{}\".tls", pool.name))
                    };
                    problems.extend(why.into_iter().map(of));
                }
            }
        }
        problems
    }

    /// Takes over what `before` has read, for a tree of the same document; says whether that is all.
    pub(super) fn keep_backs(&self, before: &Tree) -> bool {
        let mut is_all = true;
        for pool in &self.pools {
            let Some(secured) = &pool.tls else { continue };
            match before.back_of(pool.id) {
                Some(back) => {
                    let _ = secured.back.set(back);
                }
                None => is_all = false,
            }
        }
        is_all
    }

    /// Files of pools that have changed since they were read, as they are now.
    pub(super) fn changed_backs(&self) -> impl Iterator<Item = Changed> {
        self.pools.iter().filter_map(|pool| pool.tls.as_ref()).flat_map(|secured| secured.back().changed())
    }

    fn back_of(&self, pool: PoolId) -> Option<Arc<Back>> {
        let pool = self.pools.iter().find(|one| one.id == pool)?;
        pool.tls.as_ref()?.back.get().cloned()
    }
}

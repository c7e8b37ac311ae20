//! What is known of servers, from one process to the next.

use std::collections::BTreeMap;

use super::wire::ServerSaid;
use crate::config::{HealthState, Override, Tree};
use crate::limits::HANDOVER_WHY_BYTES_MAX;

/// All servers of which something is known.
pub(super) fn known(tree: &Tree) -> Vec<ServerSaid> {
    let said = tree.servers().map(|(pool, server)| {
        let report = server.shared.report();
        let mut why = report.why.clone();
        why.truncate(why.floor_char_boundary(HANDOVER_WHY_BYTES_MAX));
        ServerSaid {
            pool: pool.id.0,
            server: server.id.0,
            state: report.state as u8,
            decided: server.shared.admin_override() as u8,
            since_unix_s: report.since_unix_s,
            why,
        }
    });
    said.filter(|said| said.state != HealthState::Checking as u8 || said.decided != Override::None as u8)
        .collect()
}

/// Begins with what another process knew: the states, until the own monitors judge, and what operators have decided.
//= UPG-STATE-01
pub(super) fn inherit(tree: &Tree, list: &[ServerSaid]) {
    let said: BTreeMap<(u32, u64), &ServerSaid> =
        list.iter().map(|said| ((said.pool, said.server), said)).collect();
    for (pool, server) in tree.servers() {
        let Some(said) = said.get(&(pool.id.0, server.id.0)) else { continue };
        server.shared.set_override(Override::from_u8(said.decided));
        let state = HealthState::from_u8(said.state);
        if !pool.config.health_monitors.is_empty() && state != HealthState::Checking {
            server.shared.publish(state);
            let mut report = server.shared.report();
            report.state = state;
            report.since_unix_s = said.since_unix_s;
            report.why.clone_from(&said.why);
        }
        pool.shared.bump();
    }
}

/// Takes over what operators have decided meanwhile.
pub(super) fn decide(tree: &Tree, list: &[ServerSaid]) {
    let said: BTreeMap<(u32, u64), u8> =
        list.iter().map(|said| ((said.pool, said.server), said.decided)).collect();
    for (pool, server) in tree.servers() {
        let decided = Override::from_u8(said.get(&(pool.id.0, server.id.0)).copied().unwrap_or_default());
        if server.shared.admin_override() != decided {
            server.shared.set_override(decided);
            pool.shared.bump();
        }
    }
}

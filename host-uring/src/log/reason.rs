//! The decision's reason as JSON: the log, `explain` and the tests read the same form.

use forebay_core::Reason;
use forebay_core::id::ServerIndex;

use super::json::{Key, Object, key, number};
use crate::config::Pool;

/// Appends `reason` as one JSON object; servers are named by their addresses in `pool`.
//= OBS-REASON-01
pub fn write(reason: &Reason, pool: Option<&Pool>, out: &mut Vec<u8>) {
    let mut o = Object::begin(out);
    o.word(key!("chosen_by"), reason.chosen_by.as_str());
    o.word(key!("algorithm"), reason.algorithm.as_str());
    if let Some(kind) = reason.persistence {
        o.word(key!("persistence"), kind.as_str());
        o.word(key!("key"), reason.key.as_str());
    }
    if let Some(applied) = reason.policy {
        o.word(key!("server_down_policy"), applied.policy.as_str());
        server(&mut o, key!("bound_server"), applied.server, pool);
        o.word(key!("bound_server_is"), applied.why.as_str());
    }
    if let Some(refusal) = reason.refusal {
        o.word(key!("refusal"), refusal.as_str());
    }
    o.number(key!("attempt"), reason.attempt.into());
    if reason.skipped_count() > 0 {
        let list = o.key(key!("skipped"));
        list.push(b'[');
        for (n, skipped) in reason.skipped.iter().flatten().enumerate() {
            if n > 0 {
                list.push(b',');
            }
            let mut one = Object::begin(list);
            server(&mut one, key!("server"), skipped.server, pool);
            one.word(key!("why"), skipped.why.as_str());
            one.close();
        }
        list.push(b']');
        o.number(key!("skipped_more"), reason.skipped_more.into());
    }
    o.close();
}

fn server(o: &mut Object<'_>, name: Key, index: ServerIndex, pool: Option<&Pool>) {
    match pool.and_then(|pool| pool.servers.get(index.at())) {
        Some(server) => o.address(name, server.address),
        None => number(o.key(name), index.0.into()),
    }
}

#[cfg(test)]
mod tests {
    use forebay_core::Input;
    use forebay_core::lb;
    use forebay_core::lb::ServerState;
    use forebay_core::request::ClientAddr;
    use forebay_core::units::Now;

    use super::*;
    use crate::config::Tree;

    //= test OBS-REASON-01
    #[test]
    fn a_reason_names_the_servers_that_were_skipped_and_why() {
        let snapshot = forebay_snapshot::check(
            "version = 1\n[[virtual_service]]\nname = \"v\"\nlisten = [\"127.0.0.1:80\"]\npool = \"p\"\n\
             [[pool]]\nname = \"p\"\nserver = [{ address = \"192.0.2.1:81\" }, { address = \"192.0.2.2:82\" }]",
        )
        .expect("a right document");
        let tree = Tree::build(snapshot);
        let mut pool = lb::Pool::new(tree.pools[0].decision_config(&tree.services[0])).expect("a right pool");
        pool.set_state(ServerIndex(0), ServerState::DOWN, Now(1));
        pool.set_state(ServerIndex(1), ServerState::UP, Now(1));
        let client = ClientAddr::new("192.0.2.9".parse().expect("an address"), 1);
        let decision = forebay_core::decide(&mut pool, &Input { now: Now(2), ..Input::new(client) });
        let mut out = Vec::new();
        write(&decision.reason, Some(&tree.pools[0]), &mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(value["chosen_by"], "algorithm");
        assert_eq!(value["algorithm"], "least_connections");
        assert_eq!(value["skipped"][0], serde_json::json!({"server": "192.0.2.1:81", "why": "down"}));
    }
}

//! The Controllers of this store, as they are now.

use forebay_model::{Kind, Object};
use forebay_wire::Token;
use serde_json::{Value, json};

use super::App;
use super::answer::{Answer, bad, json as answer};
use super::request::{Asked, hours};
use super::session::Who;
use crate::cluster::{self, Kept, Neighbour, Node};
use crate::objects::{Change, Denied, Tenant};
use crate::store::Store;

/// `POST /api/cluster/token`: what another Controller joins by, once.
//= CLUSTER-JOIN-01
pub async fn token<S: Store>(app: &App<S>, asked: &Asked, who: &Who) -> Result<Answer, Answer> {
    let said = if asked.content.is_empty() { serde_json::Map::new() } else { asked.object()? };
    let node = said.get("node").and_then(Value::as_str).unwrap_or_default();
    if !node.is_empty() && !Node::is_name(node) {
        return Err(bad(400, "node: no node is called so; put the name of one there, or nothing"));
    }
    let made = cluster::token(&app.store, hours(&said)?, node).await;
    let made = made.map_err(|refusal| Answer::from(Denied::Store(refusal)))?;
    tracing::warn!(
        event = "CLUSTER_TOKEN",
        user = who.user,
        uuid = made.uuid,
        "a token for a Controller was made"
    );
    let token = Token { secret: made.secret, authority: app.authority.certificate().to_vec() };
    let said = json!({
        "uuid": made.uuid,
        "token": token.text(),
        "expires_at": made.until,
        "controllers": app.cluster.doors(),
    });
    Ok(answer(201, said))
}

/// Says whether there can be the Controllers that a change of the object names; what to begin with when it is made.
///
/// # Errors
/// It is refused, or names what cannot be.
//= CLUSTER-NODES-01
//= CLUSTER-GROW-01
pub async fn judged<S: Store>(
    app: &App<S>,
    kind: &'static Kind,
    change: Change<'_>,
    tenant: &Tenant,
) -> Result<Option<Kept>, Answer> {
    let held = app.objects.try_change(kind, change, tenant).await?;
    let object = held.object();
    let nodes = cluster::wanted(&object).map_err(|text| bad(400, &text))?;
    let there = || app.cluster.all().into_iter().map(|one| Node { name: one.name, address: one.address });
    let known = if nodes.is_empty() { there().collect() } else { nodes.clone() };
    cluster::judge_address(&object, &known).map_err(|text| bad(400, &text))?;
    let cluster = app.cluster.clone();
    // Programs and ports are tried.
    let judged = tokio::task::spawn_blocking(move || cluster.judge(&nodes)).await;
    judged.map_err(|error| error.to_string()).flatten().map_err(|text| bad(400, &text))
}

/// What there is to say of the nodes that the object names, beside that they can be.
//= CLUSTER-NODES-03
pub fn advised(object: &Object) -> Option<String> {
    let count = cluster::wanted(object).unwrap_or_default().len();
    (count > 0 && count.is_multiple_of(2)).then(|| match count {
        2 => "with 2 nodes nobody leads once either of them is lost: name 1, 3, 5 or 7".to_owned(),
        _ => format!(
            "with {count} nodes no more of them can be lost than with {}: name 1, 3, 5 or 7",
            count - 1
        ),
    })
}

/// How it stands with all of them; who asks need not be anybody.
pub fn status(all: &[Neighbour]) -> Value {
    let heard = all.iter().filter(|one| one.since.is_some()).count();
    let state = match all.len() {
        0 | 1 => "CLUSTER_UP_NO_HA",
        _ if heard == all.len() => "CLUSTER_UP_HA_ACTIVE",
        _ => "CLUSTER_UP_HA_COMPROMISED",
    };
    let since = all.iter().find(|one| one.leads).and_then(|one| one.since);
    json!({"cluster_state": {"state": state, "progress": 100, "up_since": since.map(moment)}})
}

/// Each of them as well.
//= CLUSTER-SHOWN-01
pub fn runtime(all: &[Neighbour]) -> Value {
    let node = |one: &Neighbour| {
        let mut node = json!({
            "name": one.name,
            "mgmt_ip": one.address.to_string(),
            "role": if one.leads { "CLUSTER_LEADER" } else { "CLUSTER_FOLLOWER" },
            "state": if one.since.is_some() { "CLUSTER_ACTIVE" } else { "CLUSTER_INACTIVE" },
        });
        if let Some(since) = one.since {
            node["up_since"] = moment(since).into();
        }
        node
    };
    let mut said = status(all);
    said["node_states"] = all.iter().map(node).collect();
    let leader = all.iter().find(|one| one.leads);
    said["node_info"] = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "mgmt_ip": leader.map(|one| one.address.to_string()),
    });
    said
}

/// A moment (seconds of the epoch) as people read it, in UTC.
fn moment(at: u64) -> String {
    let (days, rest) = (at / 86_400, at % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

/// The date of a day since 1970-01-01. Years are taken from March on, so that the odd day is a year's last one.
fn date(days: u64) -> (u64, u64, u64) {
    // 400 years have 146,097 days; 0000-03-01 was 719,468 days before.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months have 153 days.
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let (month, further) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + further, month, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, leads: bool, since: Option<u64>) -> Neighbour {
        Neighbour {
            name: name.to_owned(),
            address: [192, 0, 2, 1].into(),
            engines: None,
            controllers: None,
            leads,
            since,
        }
    }

    //= test CLUSTER-SHOWN-01
    #[test]
    fn who_leads_who_follows_and_who_is_gone_is_shown() {
        let alone = status(&[node("a", true, Some(0))]);
        assert_eq!(alone["cluster_state"]["state"], "CLUSTER_UP_NO_HA");
        let two = [node("a", true, Some(1_709_164_800)), node("b", false, Some(5))];
        assert_eq!(status(&two)["cluster_state"]["state"], "CLUSTER_UP_HA_ACTIVE");
        let all = [two[0].clone(), two[1].clone(), node("c", false, None)];
        let said = runtime(&all);
        assert_eq!(said["cluster_state"]["state"], "CLUSTER_UP_HA_COMPROMISED");
        assert_eq!(said["cluster_state"]["up_since"], "2024-02-29 00:00:00");
        assert_eq!(said["node_states"][0]["role"], "CLUSTER_LEADER");
        assert_eq!(said["node_states"][1]["up_since"], "1970-01-01 00:00:05");
        assert_eq!(said["node_states"][2]["state"], "CLUSTER_INACTIVE");
        assert!(said["node_states"][2]["up_since"].is_null());
    }

    //= test CLUSTER-NODES-03
    #[test]
    fn an_even_number_of_nodes_is_taken_and_said_to_be_no_better() {
        let of = |count: u8| {
            let ip = |node| json!({"addr": format!("192.0.2.{node}"), "type": "V4"});
            let nodes: Vec<Value> =
                (1..=count).map(|node| json!({"name": format!("n{node}"), "ip": ip(node)})).collect();
            advised(json!({"nodes": nodes}).as_object().expect("one"))
        };
        assert_eq!([0, 1, 3, 5, 7].map(of), [const { None }; 5]);
        assert!(of(2).expect("two").contains("once either of them is lost"));
        assert!(of(4).expect("four").contains("than with 3"));
    }

    #[test]
    fn moments_are_dates() {
        for (at, text) in [
            (951_782_399, "2000-02-28 23:59:59"),
            (951_868_800, "2000-03-01 00:00:00"),
            (4_107_542_399, "2100-02-28 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (1_767_225_599, "2025-12-31 23:59:59"),
        ] {
            assert_eq!(moment(at), text);
        }
    }
}

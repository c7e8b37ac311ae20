//! Members of etcd become what the object `cluster` says, and each node hears of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use forebay_etcd::Failure;
use forebay_etcd::proto::Member;
use forebay_model::{Object, kind};
use serde_json::{Value, json};

use super::kept::{self, Kept};
use super::member::{self, Node};
use super::roster::{Roster, is_member, names, wanted};
use super::{LOOKED, NodeNow, Role, address};
use crate::api::App;
use crate::objects::{Change, Tenant};
use crate::store::{Refusal, Step, Store};

/// Where the store says which nodes there are: what each of them looks at.
pub(super) const NODES: &str = "cluster/nodes";
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Another member takes the lead within this, or does not: etcd gives up after its election's time, which is a second.
const PASSED: Duration = Duration::from_secs(3);
/// Nobody can write while it is tried: after one that failed it rests.
const REST: Duration = Duration::from_secs(5);

/// What was told last, so that it is told once.
#[derive(Default)]
struct Told(String);

impl Told {
    fn say(&mut self, now: String) {
        if self.0 != now && !now.is_empty() {
            tracing::warn!(
                event = "CLUSTER_NODES_WAIT",
                why = now,
                "the nodes are not yet those that are wanted"
            );
        }
        self.0 = now;
    }
}

/// The object `cluster`, and its uuid.
pub(super) fn object<S: Store>(app: &App<S>) -> Option<(String, Object)> {
    let now = app.objects.now();
    let held = now.all("cluster").next()?;
    Some((held.uuid.clone(), held.object()))
}

/// The nodes that the object names. Where it does not read, those that there are. Where it names none, or where the store `is_new` here (it may have been made elsewhere), it names
/// those from now on that there are.
///
/// # Errors
/// It cannot be written, or this node is one no more.
//= CLUSTER-GONE-01
pub(super) async fn settle<S: Store>(
    app: &App<S>,
    roster: &Roster,
    is_new: bool,
) -> Result<Vec<Node>, String> {
    let Some((uuid, said)) = object(app) else { return Ok(roster.nodes()) };
    // It may be of days when it said nothing.
    let Ok(named) = wanted(&said) else { return Ok(roster.nodes()) };
    if names(&named, &roster.own) {
        return Ok(named);
    }
    if !named.is_empty() && !is_new {
        return Err(REMOVED.to_owned());
    }
    let nodes = roster.nodes();
    let shown = |node: &Node| {
        let (field, kind) = if node.address.is_ipv4() { ("ip", "V4") } else { ("ip6", "V6") };
        json!({"name": node.name, field: {"addr": node.address.to_string(), "type": kind}})
    };
    let change = json!({"replace": {"nodes": nodes.iter().map(shown).collect::<Vec<Value>>()}});
    if let (Some(kind), Some(change)) = (kind("cluster"), change.as_object()) {
        let done = app.objects.change(kind, Change::Patch(&uuid, change), &Tenant::admin()).await;
        done.map_err(|denied| format!("the object cluster: {denied:?}"))?;
    }
    Ok(nodes)
}

/// Makes members of etcd what is wanted, for as long as this Controller leads.
pub(super) async fn tend<S: Store>(app: Arc<App<S>>, roster: Roster) {
    let (mut told, mut rests, mut tries) = (Told::default(), Instant::now(), 0);
    loop {
        told.say(step(&app, &roster).await.err().unwrap_or_default());
        if Instant::now() >= rests
            && let Err(failure) = pass_on(&app, &roster, tries).await
        {
            tries += 1;
            rests = Instant::now() + REST;
            tracing::warn!(event = "CLUSTER_ETCD_STAYS", %failure, "this node's member of etcd leads the others");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Where this node's member leads the others, another one that is heard is to: a machine that is lost takes one of the two leaders
/// with it then. Else the lease of a Controller that is lost would begin anew when etcd has elected another leader. Each try takes
/// another one: who was lost a moment ago counts as heard yet.
//= CLUSTER-LEADER-06
async fn pass_on<S: Store>(app: &App<S>, roster: &Roster, tries: usize) -> Result<(), Failure> {
    let Ok(status) = roster.beside.status().await else { return Ok(()) };
    if status.header.is_none_or(|header| header.member_id != status.leader) {
        return Ok(());
    }
    let heard = app.cluster.all();
    let is_heard = |member: &&Member| {
        let named = heard.iter().find(|one| one.name == member.name);
        !member.is_learner && named.is_some_and(|one| !one.leads && one.since.is_some())
    };
    let members = roster.client.members().await?;
    let others: Vec<&Member> = members.iter().filter(is_heard).collect();
    let Some(other) = tries.checked_rem(others.len()).map(|at| others[at]) else { return Ok(()) };
    // Who is heard may have been lost a moment ago, and while etcd waits for it nobody writes.
    let at = other.client_ur_ls.first().and_then(|url| url.parse().ok());
    let at = at.ok_or_else(|| Failure::Unreached(format!("{} says no address", other.name)))?;
    roster.client.only(at, LOOKED).status().await?;
    roster.beside.apart(PASSED).pass_on(other.id).await?;
    tracing::info!(
        event = "CLUSTER_ETCD_PASSED_ON",
        to = other.name,
        "another node's member leads etcd from now on"
    );
    Ok(())
}

/// Who leads etcd and is to be a member no more gives the lead to the member beside us first: else nobody could write until another
/// one is elected, and the lease might be over by then.
async fn relieve(roster: &Roster, member: &Member) {
    let Ok(status) = roster.beside.status().await else { return };
    let (Some(own), true) = (status.header.map(|header| header.member_id), status.leader == member.id) else {
        return;
    };
    if let Some(at) = member.client_ur_ls.first().and_then(|url| url.parse().ok()) {
        // It may be gone: then another one is elected.
        let _ = roster.client.only(at, PASSED).pass_on(own).await;
    }
}

/// One look, and what comes of it.
//= CLUSTER-JOIN-02
async fn step<S: Store>(app: &App<S>, roster: &Roster) -> Result<(), String> {
    let unread = object(app).and_then(|(_, said)| wanted(&said).err());
    let nodes = settle(app, roster, false).await?;
    roster.set(nodes.clone());
    let members = roster.client.members().await.map_err(|failure| failure.to_string())?;
    for member in members.iter().filter(|member| member.is_learner) {
        // It is refused for as long as it lacks something.
        if roster.client.promote(member.id).await.is_ok() {
            tracing::info!(
                event = "CLUSTER_NODE_VOTES",
                node = roster.known(member, &nodes).map(|node| node.name).unwrap_or_default(),
                "a node's member of etcd votes from now on"
            );
        }
    }
    let mut why = unread
        .as_ref()
        .map(|why| format!("{why}; until PUT /api/cluster names them all stay that there are"));
    let (gone, mut there) = roster.parted(&members, &nodes, unread.is_none());
    for (member, node) in gone {
        relieve(roster, member).await;
        match roster.client.remove(member.id).await {
            Ok(()) => {
                tracing::warn!(
                    event = "CLUSTER_NODE_REMOVED",
                    node = node.name,
                    "a node's member of etcd is none any more"
                );
            }
            Err(failure) => {
                why = Some(format!("{} cannot be removed: {failure}", node.name));
                // It hears of it when it is.
                there.push(node);
            }
        }
    }
    let addresses = object(app).map(|(_, object)| address::wanted(&object)).unwrap_or_default();
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let said = json!({"nodes": kept::list(&there), "addresses": addresses}).to_string().into_bytes();
    let before = app.store.get(NODES).await.map_err(|refusal| refusal.to_string())?;
    if before.is_none_or(|before| before.value != said) {
        let step = Step::default().write(NODES, Some(said));
        app.store.commit(step).await.map_err(|refusal| refusal.to_string())?;
    }
    why.map_or(Ok(()), Err)
}

/// Has [`NODES`] name one more, before that one is given what it needs to look there. Where nothing stands there yet, nobody is
/// left out by it.
///
/// # Errors
/// Those of the store; it is named by another step meanwhile.
//= CLUSTER-JOIN-03
pub(super) async fn name_too(store: &impl Store, node: &Node) -> Result<(), Refusal> {
    let Some(before) = store.get(NODES).await? else { return Ok(()) };
    let Some(mut nodes) = listed(&before.value).filter(|nodes| !names(nodes, node)) else { return Ok(()) };
    nodes.push(node.clone());
    let mut said: Value = serde_json::from_slice(&before.value).unwrap_or_default();
    said["nodes"] = kept::list(&nodes);
    let step = Step::default().demand(NODES, Some(before.revision));
    store.commit(step.write(NODES, Some(said.to_string().into_bytes()))).await.map(drop)
}

/// The nodes that [`NODES`] names, if it does.
pub(super) fn listed(said: &[u8]) -> Option<Vec<Node>> {
    let said: Value = serde_json::from_slice(said).ok()?;
    kept::nodes(&said["nodes"]).filter(|nodes| !nodes.is_empty())
}

/// Says whether this node is none of those that [`NODES`] names: it may not lead then.
//= CLUSTER-GONE-01
pub(super) fn is_left_out(said: &[u8], own: &Node) -> bool {
    listed(said).is_some_and(|nodes| !names(&nodes, own))
}

/// Follows which nodes there are, whoever leads: where etcd is called, and what the folder says. Ends when this one is none.
//= CLUSTER-GONE-01
pub(super) async fn follow(node: Arc<NodeNow>, mut kept: Kept) {
    let quick = node.reach.leading().quick();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Ok(Some(said)) = quick.peek(NODES).await else { continue };
        let nodes = listed(&said);
        let said: Value = serde_json::from_slice(&said).unwrap_or_default();
        // What an earlier process has left here is that of who leads.
        if !matches!(&*node.front.role(), Role::Leads(_)) {
            let known = said["addresses"].as_array().into_iter().flatten();
            node.address.leave(&known.filter_map(|text| text.as_str()?.parse().ok()).collect());
        }
        let Some(nodes) = nodes.filter(|nodes| *nodes != kept.nodes) else { continue };
        if !names(&nodes, &kept.own) {
            // Who has just joined may be named a moment later.
            match quick.client.members().await {
                Ok(members) if !is_member(&members, &kept.own, kept.ports) => break,
                _ => continue,
            }
        }
        kept.nodes = nodes;
        if let Err(why) = kept.write(&node.settings.folder) {
            tracing::warn!(event = "CLUSTER_NODES_UNKEPT", why, "which nodes there are is not in the folder");
        }
        let urls = member::Member::endpoints(&kept.own_first(), kept.ports);
        node.reach.endpoints.set(urls.iter().filter_map(|url| url.parse().ok()).collect());
        node.guard.asks(&urls);
    }
    node.is_removed.store(true, Ordering::Relaxed);
    node.front.set(Role::Nobody(REMOVED.to_owned()));
    tracing::warn!(
        event = "CLUSTER_REMOVED",
        node = kept.own.name,
        "this Controller was removed from the others"
    );
    let member = node.member.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    // It takes its time to end.
    let _ = tokio::task::spawn_blocking(move || drop(member)).await;
}

/// What a node that was removed says.
pub(super) const REMOVED: &str = "this Controller was removed from the others: stop it, or have it join again (forebay-controller join) with an empty folder";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Embedded;
    use crate::store::suite::Folder;

    //= test CLUSTER-JOIN-03
    #[tokio::test]
    async fn who_joins_is_named_before_it_looks() {
        let folder = Folder::new("named-too");
        let store = Embedded::open(&folder.0.join("store")).expect("a store");
        let [a, b, c]: [Node; 3] =
            ["a=192.0.2.1", "b=192.0.2.2", "c=192.0.2.3"].map(|text| text.parse().expect("one"));
        name_too(&store, &c).await.expect("nothing stands there");
        assert_eq!(store.get(NODES).await.expect("readable"), None);
        let said = json!({"nodes": kept::list(&[a, b]), "addresses": ["192.0.2.9"]}).to_string();
        let step = Step::default().write(NODES, Some(said.clone().into_bytes()));
        store.commit(step).await.expect("room");
        assert!(is_left_out(said.as_bytes(), &c));
        for _ in 0..2 {
            name_too(&store, &c).await.expect("room");
            let said = store.get(NODES).await.expect("readable").expect("it stands there").value;
            assert!(!is_left_out(&said, &c));
            let said: Value = serde_json::from_slice(&said).expect("JSON");
            assert_eq!(
                (said["nodes"].as_array().map(Vec::len), &said["addresses"][0]),
                (Some(3), &json!("192.0.2.9"))
            );
        }
    }

    //= test CLUSTER-GONE-01
    #[test]
    fn who_is_not_named_does_not_lead() {
        let [a, b, c]: [Node; 3] =
            ["a=192.0.2.1", "b=192.0.2.2", "c=192.0.2.3"].map(|text| text.parse().expect("one"));
        let said = json!({"nodes": kept::list(&[a.clone(), b]), "addresses": []}).to_string().into_bytes();
        assert!(is_left_out(&said, &c) && !is_left_out(&said, &a));
        let called = Node { name: "otherwise".to_owned(), ..a };
        assert!(!is_left_out(&said, &called), "a name takes the lead from nobody");
        // What says nothing of nodes leaves nobody out.
        for said in ["", "{}", "{\"nodes\": []}"] {
            assert!(!is_left_out(said.as_bytes(), &c), "{said}");
        }
    }
}

//! Who leads, and this node's own terms.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

use super::moving::{self, May};
use super::roster::Roster;
use super::{Cluster, NodeNow, Role, address, presence, tending};
use crate::backup;
use crate::channel::Authority;
use crate::sealed::Seal;
use crate::start;
use crate::store::{Etcd, Leading, Refusal};

/// Between two looks who leads.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// What is under way when the lead ends has so long.
const LEAVE: Duration = Duration::from_secs(1);
/// Who sits beside the member that leads etcd lets others go first for so long: a machine that is lost takes one leader with it
/// then, and not both, of whom each is missed for some seconds.
const DEFER: Duration = Duration::from_millis(600);
/// Who does not hear of etcd goes on passing requests to the leader for so long: it may be slow, and the leader well.
const BLIND: Duration = Duration::from_secs(5);
/// Who cannot lead for a reason of its own leaves it to others for so long, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Says once what is new.
#[derive(Default)]
struct Told(String);

impl Told {
    fn say(&mut self, now: String, is_well: bool) {
        if self.0 != now && !now.is_empty() {
            match is_well {
                true => tracing::info!(event = "CLUSTER_FOLLOWS", leader = now, "another Controller leads"),
                false => tracing::warn!(
                    event = "CLUSTER_NOBODY",
                    why = now,
                    "no Controller leads that this one knows of"
                ),
            }
        }
        self.0 = now;
    }
}

/// Why a term ended.
enum End {
    /// It was over, or is to be.
    Over(String),
    /// This node cannot lead: others may.
    Unfit(String),
}

/// Follows whoever leads, and leads where nobody does, for ever.
pub(super) async fn terms(node: &Arc<NodeNow>, place: &Arc<Semaphore>) {
    let (leading, front) = (node.reach.leading().quick(), &node.front);
    let (mut told, mut is_settled) = (Told::default(), false);
    // After terms that failed for a reason of this node: what it was, until when others go first, and the pause after that.
    let (mut unfit, mut until, mut pause) = (String::new(), Instant::now(), PAUSE.0);
    let (mut deferred, mut failing) = (None, None::<Instant>);
    loop {
        if node.is_removed.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        let looked = leading.leader().await;
        if looked.is_ok() {
            failing = None;
        }
        match looked {
            Ok(Some(shown)) => match whose(&shown) {
                Some(at) => {
                    deferred = None;
                    if !node.is_removed.load(Ordering::Relaxed) {
                        front.set(Role::Follows(at));
                    }
                    // A file that was brought just before this process ended counts no more.
                    is_settled = is_settled || moving::may(&node.settings.folder, &leading).await.is_ok();
                    told.say(at.to_string(), true);
                }
                None => {
                    let why = "what leads has another form: upgrade this Controller".to_owned();
                    front.set(Role::Nobody(why.clone()));
                    told.say(why, false);
                }
            },
            //= CLUSTER-LEADER-04
            Ok(None) if Instant::now() < until => front.set(Role::Nobody(unfit.clone())),
            //= CLUSTER-LEADER-05
            Ok(None) if is_early(&mut deferred) && node.reach.is_beside().await => {
                front.set(Role::Nobody("another one is about to".to_owned()));
            }
            Ok(None) => {
                front.set(Role::Nobody("one is about to".to_owned()));
                match term(node, place).await {
                    Ok(()) => {
                        pause = PAUSE.0;
                        // Whoever leads next is news.
                        told.say(String::new(), true);
                    }
                    Err(End::Over(why)) => {
                        pause = PAUSE.0;
                        front.set(Role::Nobody(why.clone()));
                        told.say(why, false);
                    }
                    Err(End::Unfit(why)) => {
                        until = Instant::now() + pause;
                        pause = (2 * pause).min(PAUSE.1);
                        unfit.clone_from(&why);
                        front.set(Role::Nobody(why.clone()));
                        told.say(why, false);
                    }
                }
            }
            // Whoever led knows itself whether it does yet.
            Err(_) if failing.get_or_insert_with(Instant::now).elapsed() < BLIND => {}
            Err(refusal) => {
                front.set(Role::Nobody(refusal.to_string()));
                told.say(refusal.to_string(), false);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Says whether there is still time to let others go first.
fn is_early(deferred: &mut Option<Instant>) -> bool {
    deferred.get_or_insert_with(Instant::now).elapsed() < DEFER
}

/// Where Controllers reach the one that leads.
fn whose(shown: &[u8]) -> Option<SocketAddr> {
    let said: Value = serde_json::from_slice(shown).ok()?;
    said["controllers"].as_str()?.parse().ok()
}

/// One term, in a thread and a runtime of its own: when it ends, nothing of what it had begun is left, no connection of an
/// engine either.
async fn term(node: &Arc<NodeNow>, place: &Arc<Semaphore>) -> Result<(), End> {
    let taken = Arc::clone(place).acquire_owned().await.map_err(|error| End::Over(error.to_string()))?;
    let node = Arc::clone(node);
    let (done, ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("leading".to_owned()).spawn(move || {
        // Timers and sockets are looked at between any two tasks: each engine's configuration takes its time to make, and engines
        // must not wait for all of them.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(1).build();
        let said = match runtime {
            Ok(runtime) => {
                let said = runtime.block_on(lead(&node));
                runtime.shutdown_timeout(LEAVE);
                said
            }
            Err(error) => Err(End::Unfit(format!("no runtime: {error}"))),
        };
        drop(taken);
        // A panic drops it.
        let _ = done.send(said);
    });
    thread.map_err(|error| End::Unfit(format!("no thread: {error}")))?;
    ended.await.unwrap_or_else(|_| Err(End::Unfit("the Controller's thread ended early".to_owned())))
}

async fn lead(node: &NodeNow) -> Result<(), End> {
    let settings = &node.settings;
    let (leading, mut stopping) = (node.reach.leading(), node.stopping.clone());
    // What can be wrong with this node is found before others wait for it.
    //= CLUSTER-LEADER-04
    let door = start::door(settings.listen_engines).await.map_err(End::Unfit)?;
    let seal = Seal::open(&settings.folder.join(backup::KEY)).map_err(End::Unfit)?;
    let told = |refusal: Refusal| End::Over(refusal.to_string());
    if let May::Wait(why) = moving::may(&settings.folder, &leading).await.map_err(told)? {
        return Err(End::Over(why));
    }
    let sealed = leading.peek(Authority::KEY).await.map_err(told)?;
    if sealed.is_some_and(|sealed| !Authority::opens(&sealed, &seal)) {
        return Err(End::Unfit(Authority::FOREIGN.to_owned()));
    }
    //= CLUSTER-GONE-01
    if let (Some(kept), Some(said)) = (settings.kept(), leading.peek(tending::NODES).await.map_err(told)?)
        && tending::is_left_out(&said, &kept.own)
    {
        return Err(End::Unfit(tending::REMOVED.to_owned()));
    }
    let further = leading.clone();
    let Some(store) = leading.lead().await.map_err(told)? else { return Ok(()) };
    node.guard.holds(store.lease());
    let done = tokio::select! {
        why = store.lost() => Err(End::Over(why)),
        _ = stopping.wait_for(|stops| *stops) => Ok(()),
        why = serve(node, (&store, further), seal, door) => Err(End::Unfit(why)),
    };
    node.front.set(Role::Nobody("this Controller leads no more".to_owned()));
    node.address.leave(&BTreeSet::new());
    store.resign().await;
    node.guard.holds(0);
    done
}

/// Leads until something goes wrong, and says what.
async fn serve(node: &NodeNow, (store, leading): (&Etcd, Leading), seal: Seal, door: TcpListener) -> String {
    let settings = &node.settings;
    let roster = settings.kept().map(|kept| Roster {
        client: leading.client.clone(),
        beside: node.reach.beside().unwrap_or_else(|| leading.client.clone()),
        own: kept.own.clone(),
        ports: kept.ports,
        nodes: Arc::new(RwLock::new(kept.nodes.clone())),
    });
    let cluster = match roster.clone() {
        Some(roster) => Cluster::of_members(node.own.address, roster),
        None => Cluster::alone(node.own.address),
    };
    let cluster = cluster.that_asks(Arc::clone(&node.asking));
    let is_new = match (leading.peek(tending::NODES).await, &roster) {
        // It was removed a moment ago.
        (Ok(Some(said)), Some(roster)) if tending::is_left_out(&said, &roster.own) => {
            return tending::REMOVED.to_owned();
        }
        (Ok(said), roster) => {
            // What the folder said when this process began may be over.
            if let (Some(roster), Some(nodes)) = (roster, said.as_deref().and_then(tending::listed)) {
                roster.set(nodes);
            }
            said.is_none()
        }
        (Err(refusal), _) => return refusal.to_string(),
    };
    // Another one may have led meanwhile.
    match moving::may(&settings.folder, &leading).await {
        Ok(May::Lead) => {}
        Ok(May::Bring) => {
            if let Err(why) = moving::bring(&settings.folder, store, &node.own.name).await {
                return why;
            }
        }
        Ok(May::Wait(why)) => return why,
        Err(refusal) => return refusal.to_string(),
    }
    let held = match node.stores.open() {
        Ok(held) => held,
        Err(why) => return why,
    };
    let (cluster_now, logs) = (cluster.clone(), Some(held.logs));
    let mut begun = match start::begin(store.clone(), seal, settings.heartbeat, cluster_now, logs).await {
        Ok(begun) => begun,
        Err(why) => return why,
    };
    begun.keep_metrics(held.series, &settings.folder);
    if let Some(exported) = settings.otlp.clone() {
        begun.export(exported);
    }
    let client = leading.client.clone();
    if let Some(roster) = &roster {
        match tending::settle(&begun.app, roster, is_new).await {
            Ok(nodes) => roster.set(nodes),
            Err(why) => return why,
        }
        tokio::spawn(tending::tend(Arc::clone(&begun.app), roster.clone()));
    }
    // Engines are told of all of them from the first one on.
    let own = node.own.clone();
    let nodes = move || roster.as_ref().map(Roster::nodes).unwrap_or_default();
    presence::look(&leading, &nodes(), &own, &cluster).await;
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(presence::EVERY).await;
            presence::look(&leading, &nodes(), &own, &cluster).await;
        }
    });
    match begun.open_door(door, forebay_wire::PROTOCOL) {
        Ok(at) => println!("engines: {at}"),
        Err(why) => return why,
    }
    if let Some(password) = begun.first.take() {
        println!("user: admin");
        println!("password: {password} (shown this once)");
    }
    let etcd = client.status().await.map(|status| status.version).unwrap_or_default();
    node.front.set(Role::Leads(Arc::clone(&begun.app)));
    tracing::info!(event = "CLUSTER_LEADS", etcd, "this Controller leads");
    //= CLUSTER-VIP-01
    loop {
        if store.is_led() {
            let wanted = tending::object(&begun.app).map(|(_, object)| address::wanted(&object));
            node.address.hold(&wanted.unwrap_or_default(), store.led_until());
        }
        tokio::time::sleep(address::EVERY).await;
    }
}

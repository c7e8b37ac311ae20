//! Which Controllers there are: each says so in etcd, under a lease of its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::NodeNow;
use super::asking::Asking;
use super::grow::Grow;
use super::kept::Kept;
use super::member::Node;
use super::roster::Roster;
use crate::api::clock;
use crate::store::{Leading, Refusal};

/// Who is not heard for so many seconds is taken for gone.
const LEASE_SECONDS: i64 = 10;
/// Each says so often that it is there, and who leads looks so often who is.
pub(super) const EVERY: Duration = Duration::from_secs(2);

/// A Controller, as who leads knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Where it lets engines in while it leads.
    pub engines: Option<SocketAddr>,
    /// Where other Controllers call, if it has ever run.
    pub controllers: Option<SocketAddr>,
    /// It leads.
    pub leads: bool,
    /// Since when it has run, seconds of the epoch; `None`: it is not heard.
    pub since: Option<u64>,
}

/// The Controllers of this store.
#[derive(Clone)]
pub struct Cluster {
    seen: Arc<watch::Sender<Vec<Neighbour>>>,
    way: Arc<Way>,
    /// How others are asked for what they have, if there may be any.
    asking: Option<Arc<Asking>>,
    /// Since when this one leads, milliseconds since 1970.
    led_since: u64,
}

/// Others may have taken samples of engines for so long after this one has begun to lead, by its clock, in milliseconds: clocks
/// differ.
const LATER_MS: u64 = 60_000;

/// How there come to be others.
enum Way {
    /// Not at all, or as somebody else says.
    Never,
    /// This one has a file, and may go on over etcd.
    Grow(Grow),
    /// Each has a member of etcd.
    Members(Roster),
}

impl Cluster {
    /// One Controller with a store of its own, at this address, which stays alone.
    pub fn alone(address: IpAddr) -> Self {
        Self::of(address, Way::Never)
    }

    /// One with a file, that may become one of several.
    pub fn that_grows(address: IpAddr, grow: Grow) -> Self {
        Self::of(address, Way::Grow(grow))
    }

    /// The one that leads, of those whose members it tends.
    pub(super) fn of_members(address: IpAddr, roster: Roster) -> Self {
        Self::of(address, Way::Members(roster))
    }

    fn of(address: IpAddr, way: Way) -> Self {
        let since = Some(now());
        let (name, controllers) = (address.to_string(), None);
        let own = Neighbour { name, address, engines: None, controllers, leads: true, since };
        let seen = Arc::new(watch::Sender::new(vec![own]));
        Cluster { seen, way: Arc::new(way), asking: None, led_since: clock() }
    }

    /// Which asks the others for their part of logs and series from now on.
    pub(super) fn that_asks(self, asking: Arc<Asking>) -> Self {
        Cluster { asking: Some(asking), ..self }
    }

    pub(super) fn asking(&self) -> Option<&Arc<Asking>> {
        self.asking.as_ref()
    }

    /// Says whether another one may have been told something of the time from this moment on, in milliseconds since 1970.
    pub fn had_another(&self, from: u64) -> bool {
        self.asking.is_some() && from < self.led_since.saturating_add(LATER_MS)
    }

    /// The members of etcd, if they are ours.
    pub fn roster(&self) -> Option<&Roster> {
        match &*self.way {
            Way::Members(roster) => Some(roster),
            Way::Never | Way::Grow(_) => None,
        }
    }

    /// Says whether there can be these Controllers; what is to be begun with once that is written.
    ///
    /// # Errors
    /// As a text that says what to do.
    pub fn judge(&self, nodes: &[Node]) -> Result<Option<Kept>, String> {
        match &*self.way {
            Way::Never => Ok(None),
            Way::Grow(grow) => grow.judge(nodes),
            Way::Members(roster) => roster.judge(nodes).map(|()| None),
        }
    }

    /// Begins with that.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn begin(&self, kept: &Kept) -> Result<(), String> {
        match &*self.way {
            Way::Grow(grow) => grow.begin(kept),
            Way::Never | Way::Members(_) => Ok(()),
        }
    }

    /// All of them, who leads among them.
    pub fn all(&self) -> Vec<Neighbour> {
        self.seen.borrow().clone()
    }

    /// Where engines may find one that leads.
    pub fn doors(&self) -> Vec<String> {
        self.seen.borrow().iter().filter_map(|one| one.engines).map(|at| at.to_string()).collect()
    }

    pub(super) fn set(&self, all: Vec<Neighbour>) {
        self.seen.send_if_modified(|held| {
            let is_new = *held != all;
            *held = all;
            is_new
        });
    }
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What a node says of itself.
#[derive(Clone)]
pub(super) struct Own {
    pub name: String,
    pub address: IpAddr,
    pub controllers: SocketAddr,
    pub api: SocketAddr,
    pub engines: SocketAddr,
    pub since: u64,
}

impl Own {
    pub(super) fn shown(&self) -> Vec<u8> {
        let shown = json!({
            "name": self.name,
            "address": self.address.to_string(),
            "controllers": self.controllers.to_string(),
            "api": self.api.to_string(),
            "engines": self.engines.to_string(),
            "since": self.since,
        });
        shown.to_string().into_bytes()
    }
}

/// Says for ever that this node is there.
pub(super) async fn say(node: Arc<NodeNow>) {
    let (leading, own, mut lease) = (node.reach.leading(), &node.own, None);
    loop {
        if node.is_removed.load(Ordering::Relaxed) {
            if let Some(held) = lease.take() {
                let _ = leading.client.revoke(held).await;
            }
            return;
        }
        let done = async {
            match lease {
                Some(held) if leading.client.renew(held, EVERY).await? => {}
                _ => {
                    let made = leading.client.grant(LEASE_SECONDS).await?;
                    leading.show(&own.name, own.shown(), made).await?;
                    lease = Some(made);
                }
            }
            Ok::<(), Refusal>(())
        };
        if done.await.is_err() {
            lease = None;
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Looks who is there, beside those that must be: `nodes`.
pub(super) async fn look(leading: &Leading, nodes: &[Node], own: &Own, cluster: &Cluster) {
    if let Ok(mut shown) = leading.shown().await {
        // It may not have said so yet.
        shown.push((true, own.shown()));
        cluster.set(neighbours(&shown, nodes, own));
    }
}

/// All that have ever said that they are there, or must be; whoever is heard says since when.
fn neighbours(shown: &[(bool, Vec<u8>)], nodes: &[Node], own: &Own) -> Vec<Neighbour> {
    let is_member = |name: &str| nodes.is_empty() || nodes.iter().any(|node| node.name == name);
    let mut all: Vec<Neighbour> = Vec::new();
    for (is_heard, said) in shown {
        let Some(one) = read(said, *is_heard, own).filter(|one| is_member(&one.name)) else { continue };
        match all.iter_mut().find(|held| held.name == one.name) {
            Some(held) if *is_heard => *held = one,
            Some(_) => {}
            None => all.push(one),
        }
    }
    for node in nodes {
        if !all.iter().any(|held| held.name == node.name) {
            let (name, address) = (node.name.clone(), node.address);
            let (engines, controllers) = (None, None);
            all.push(Neighbour { name, address, engines, controllers, leads: false, since: None });
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn read(said: &[u8], is_heard: bool, own: &Own) -> Option<Neighbour> {
    let said: Value = serde_json::from_slice(said).ok()?;
    let name = said["name"].as_str()?.to_owned();
    let leads = name == own.name;
    Some(Neighbour {
        address: said["address"].as_str()?.parse().ok()?,
        engines: said["engines"].as_str().and_then(|at| at.parse().ok()),
        controllers: said["controllers"].as_str().and_then(|at| at.parse().ok()),
        leads,
        since: said["since"].as_u64().filter(|_| is_heard || leads),
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_there_once_or_must_be_is_known_and_who_is_heard_says_since_when() {
        let own = |name: &str, last: u8, since: u64| {
            let at = |port| SocketAddr::from(([192, 0, 2, last], port));
            let (address, name) = (at(0).ip(), name.to_owned());
            Own { name, address, controllers: at(9444), api: at(9443), engines: at(8443), since }
        };
        let (a, b) = (own("a", 1, 7), own("b", 2, 8));
        let nodes: Vec<Node> =
            ["a=192.0.2.1", "b=192.0.2.2", "c=192.0.2.3"].map(|text| text.parse().expect("one")).to_vec();
        let shown =
            [(false, a.shown()), (false, b.shown()), (false, own("gone", 9, 1).shown()), (true, a.shown())];
        let all = neighbours(&shown, &nodes, &a);
        let seen: Vec<_> =
            all.iter().map(|one| (one.name.as_str(), one.leads, one.since, one.engines.is_some())).collect();
        let wanted = [("a", true, Some(7), true), ("b", false, None, true), ("c", false, None, false)];
        assert_eq!(seen, wanted);
        let cluster = Cluster::alone(a.address);
        cluster.set(all);
        assert_eq!(cluster.doors(), ["192.0.2.1:8443", "192.0.2.2:8443"]);
        // Of an etcd that is somebody else's nobody says which nodes there are.
        assert_eq!(neighbours(&shown, &[], &a).len(), 3);
    }
}

//! Which Controllers there are to be, as the object `cluster` says, and their members of etcd.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use forebay_etcd::proto::Member;
use forebay_etcd::{Client, Failure};
use forebay_model::Object;
use serde_json::Value;

use super::member::{Node, url};

/// The name of a node that its maker gave none: that of Avi's tables.
const NO_NAME: &str = "node";

/// The nodes that the object `cluster` names.
///
/// # Errors
/// With what is wrong of them.
//= CLUSTER-NODES-01
pub fn wanted(cluster: &Object) -> Result<Vec<Node>, String> {
    let mut nodes: Vec<Node> = Vec::new();
    for (at, said) in cluster.get("nodes").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let address = ["ip", "ip6"].into_iter().find_map(|field| said[field]["addr"].as_str());
        let address = address.unwrap_or_default();
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(format!(
                "nodes[{at}].ip: '{address}' is no address; name one by which the others reach it"
            ));
        };
        let name = match said["name"].as_str() {
            None | Some("" | NO_NAME) => address.to_string(),
            Some(name) => name.to_owned(),
        };
        if !Node::is_name(&name) {
            return Err(format!(
                "nodes[{at}].name: '{name}' is taken for none; use letters, digits, '-', '.', '_' and ':', at most 64"
            ));
        }
        if nodes.iter().any(|node| node.name == name) {
            return Err(format!(
                "nodes[{at}].name: two nodes are called {name}; give each a name of its own"
            ));
        }
        if nodes.iter().any(|node| node.address == address) {
            return Err(format!("nodes[{at}].ip: two nodes are at {address}; name each once"));
        }
        nodes.push(Node { name, address });
    }
    Ok(nodes)
}

/// Says whether a node is among these: by its address, whatever it is called.
pub fn names(nodes: &[Node], own: &Node) -> bool {
    nodes.iter().any(|node| node.address == own.address)
}

/// Says whether a node has a member, as one that votes or does not yet.
pub fn is_member(members: &[Member], node: &Node, ports: (u16, u16)) -> bool {
    let peer = url(node.address, ports.1);
    members.iter().any(|member| member.peer_ur_ls.contains(&peer))
}

/// The members of a node's own etcd, as the Controller that leads tends them.
#[derive(Clone)]
pub struct Roster {
    /// With connections of the term's own.
    pub client: Client,
    /// For this node's member alone.
    pub beside: Client,
    /// The one that leads.
    pub own: Node,
    /// Where members take calls of Controllers, and of one another.
    pub ports: (u16, u16),
    /// Those that there are to be.
    pub nodes: Arc<RwLock<Vec<Node>>>,
}

/// What a Controller that joins is told.
pub struct Place {
    /// The members, itself among them.
    pub nodes: Vec<Node>,
    /// Where they take calls.
    pub ports: (u16, u16),
}

impl Roster {
    /// Those that there are to be.
    pub fn nodes(&self) -> Vec<Node> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, nodes: Vec<Node>) {
        *self.nodes.write().unwrap_or_else(PoisonError::into_inner) = nodes;
    }

    /// Says what is wrong with these; none: nobody says which there are to be.
    ///
    /// # Errors
    /// This one is not among them, or one that is there is to be called otherwise or to be elsewhere.
    //= CLUSTER-NODES-01
    pub fn judge(&self, nodes: &[Node]) -> Result<(), String> {
        if !nodes.is_empty() && !nodes.contains(&self.own) {
            return Err(format!(
                "nodes: {} at {} leads, and cannot be left out or called otherwise; end it first, so that another one leads",
                self.own.name, self.own.address
            ));
        }
        let present = self.nodes();
        for node in nodes {
            let is_other = |there: &&Node| (there.name == node.name) != (there.address == node.address);
            if let Some(there) = present.iter().find(is_other) {
                return Err(format!(
                    "nodes: {} at {} is there, and {} at {} is named: a node keeps its name and its address; leave it out \
                     first (forebay cluster remove), and add it then",
                    there.name, there.address, node.name, node.address
                ));
            }
        }
        Ok(())
    }

    /// Of the members those that go, as these are the nodes; and the nodes that stay. Where nobody has said which there are to be
    /// (`is_said`), all stay.
    pub fn parted<'a>(
        &self,
        members: &'a [Member],
        nodes: &[Node],
        is_said: bool,
    ) -> (Vec<(&'a Member, Node)>, Vec<Node>) {
        let (mut gone, mut stay) = (Vec::new(), nodes.to_vec());
        for member in members {
            let Some(node) = self.known(member, nodes) else { continue };
            if names(&stay, &node) || node.address == self.own.address {
                continue;
            }
            match is_said {
                true => gone.push((member, node)),
                false => stay.push(node),
            }
        }
        (gone, stay)
    }

    /// Where others reach a node's member.
    pub fn peer(&self, node: &Node) -> String {
        url(node.address, self.ports.1)
    }

    /// Makes a node a member, which does not vote yet. Asked for again, it is what it was.
    ///
    /// # Errors
    /// As a text, and whether it is worth while to ask again.
    //= CLUSTER-JOIN-02
    pub async fn admit(&self, node: &Node, nodes: &[Node]) -> Result<Place, (String, bool)> {
        let told = |failure: Failure| (failure.to_string(), true);
        let mut members = self.client.members().await.map_err(told)?;
        let peer = self.peer(node);
        match members.iter().find(|member| member.peer_ur_ls.contains(&peer)) {
            Some(member) if member.name.is_empty() => {}
            Some(_) => {
                let text = "is a member already; where it has lost what it had, remove it (forebay cluster remove), and \
                            add it again";
                return Err((format!("{} {text}", node.name), false));
            }
            None if members.iter().any(|member| member.is_learner) => {
                return Err(("another Controller is about to join".to_owned(), true));
            }
            None => members = self.client.add_learner(&peer).await.map_err(told)?,
        }
        let known = |member: &Member| self.known(member, nodes);
        let nodes: Option<Vec<Node>> = members.iter().map(known).collect();
        let nodes = nodes.ok_or(("a member of etcd has no address".to_owned(), false))?;
        Ok(Place { nodes, ports: self.ports })
    }

    /// A member as a node: by its address one of those that are to be, or as it says itself.
    pub fn known(&self, member: &Member, nodes: &[Node]) -> Option<Node> {
        let is_its = |node: &&Node| member.peer_ur_ls.contains(&self.peer(node));
        nodes.iter().find(is_its).cloned().or_else(|| {
            let uri: axum::http::Uri = member.peer_ur_ls.first()?.parse().ok()?;
            let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
            Some(Node { name: member.name.clone(), address: host.parse().ok()? })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Of a node that has no neighbours yet.
    fn roster(own: &Node) -> Roster {
        Roster {
            client: Client::new(Vec::new(), None),
            beside: Client::new(Vec::new(), None),
            own: own.clone(),
            ports: (2379, 2380),
            nodes: Arc::default(),
        }
    }

    //= test CLUSTER-NODES-01
    #[test]
    fn nodes_have_names_and_addresses_of_their_own_and_who_leads_stays() {
        let read = |nodes: Value| wanted(json!({"name": "c", "nodes": nodes}).as_object().expect("one"));
        let ip = |text: &str| json!({"addr": text, "type": "V4"});
        let nodes = read(json!([
            {"name": "a", "ip": ip("192.0.2.1")},
            {"name": "node", "ip": ip("192.0.2.2")},
            {"ip6": {"addr": "2001:db8::3", "type": "V6"}},
        ]))
        .expect("three");
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["a", "192.0.2.2", "2001:db8::3"]);
        for (bad, why) in [
            (json!([{"name": "a", "ip": ip("host.example")}]), "nodes[0].ip"),
            (json!([{"name": "a b", "ip": ip("192.0.2.1")}]), "nodes[0].name"),
            (
                json!([{"name": "a", "ip": ip("192.0.2.1")}, {"name": "a", "ip": ip("192.0.2.2")}]),
                "two nodes are called",
            ),
            (
                json!([{"name": "a", "ip": ip("192.0.2.1")}, {"name": "b", "ip": ip("192.0.2.1")}]),
                "two nodes are at",
            ),
        ] {
            let said = read(bad).expect_err("wrong");
            assert!(said.contains(why), "{said}");
        }
        let roster = roster(&nodes[0]);
        assert!(roster.judge(&nodes).is_ok() && roster.judge(&[]).is_ok());
        assert!(roster.judge(&nodes[1..]).expect_err("it leads").contains("end it first"));
        roster.set(nodes.clone());
        assert!(
            roster.judge(&nodes).is_ok() && roster.judge(&nodes[..2]).is_ok(),
            "who is there may stay or go"
        );
        let (b, c) = (&nodes[1], &nodes[2]);
        let at = |name: &Node, at: &Node| Node { name: name.name.clone(), address: at.address };
        let new: Node = "d=192.0.2.4".parse().expect("one");
        for wrong in [
            vec![nodes[0].clone(), at(b, c), at(c, b)],
            vec![nodes[0].clone(), at(&new, b), c.clone()],
            vec![nodes[0].clone(), at(b, &new), c.clone()],
        ] {
            assert!(roster.judge(&wrong).expect_err("one that is there").contains("leave it out"));
        }
        assert!(roster.judge(&[nodes[0].clone(), b.clone(), new.clone()]).is_ok());
        let member = |url: &str| Member { peer_ur_ls: vec![url.to_owned()], ..Member::default() };
        assert_eq!(roster.known(&member("https://192.0.2.1:2380"), &nodes), Some(nodes[0].clone()));
        let gone = roster.known(&member("https://[2001:db8::9]:2380"), &nodes).expect("an address");
        assert_eq!(gone.address, "2001:db8::9".parse::<IpAddr>().expect("one"));
    }

    //= test CLUSTER-NODES-01
    //= test CLUSTER-GONE-01
    #[test]
    fn nobody_goes_for_a_name_or_for_an_object_that_does_not_read() {
        let nodes: Vec<Node> = ["a=192.0.2.1", "b=192.0.2.2"].map(|text| text.parse().expect("one")).to_vec();
        let roster = roster(&nodes[0]);
        let member = |name: &str, host: u8| Member {
            name: name.to_owned(),
            peer_ur_ls: vec![format!("https://192.0.2.{host}:2380")],
            ..Member::default()
        };
        let members = [member("a", 1), member("of old", 2), member("c", 3)];
        let (gone, stay) = roster.parted(&members, &nodes, true);
        let gone: Vec<&str> = gone.iter().map(|(_, node)| node.name.as_str()).collect();
        assert_eq!((gone, stay), (vec!["c"], nodes.clone()));
        let (gone, stay) = roster.parted(&members, &nodes, false);
        assert!(gone.is_empty() && stay.len() == 3, "{stay:?}");
        let other: Node = "other=192.0.2.2".parse().expect("one");
        assert!(names(&nodes, &other), "it is called otherwise, and is there");
        let new: Node = "b=192.0.2.9".parse().expect("one");
        assert!(!names(&nodes, &new), "it has the name of one that is elsewhere");
        assert!(is_member(&members, &other, (2379, 2380)) && !is_member(&members, &new, (2379, 2380)));
    }
}

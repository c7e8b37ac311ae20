//! Nodes that are called otherwise, that were never said, and that were taken away while they were off.

use std::io::Write;
use std::process::{Command, Stdio};

use forebay_e2e::Lab;
use forebay_e2e::wait::{eventually, secs};
use serde_json::{Value, json};

use crate::site::Site;

/// By the program of the system.
fn base64(bytes: &[u8], arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new("base64");
    let mut child =
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("coreutils");
    child.stdin.take().expect("a pipe").write_all(bytes).expect("it reads");
    let mut out = child.wait_with_output().expect("it ends").stdout;
    while out.last() == Some(&b'\n') {
        out.pop();
    }
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(base64(bytes, &["--wrap=0"])).expect("ASCII")
}

impl Site {
    /// Writes an object into the store as it never comes in by the API, in the place of `now`.
    fn smuggle(&self, node: usize, now: &Value, change: impl FnOnce(&mut Value)) {
        let key = format!("/forebay/d/object/cluster/{}", now["uuid"].as_str().expect("a uuid"));
        let key = text(key.as_bytes());
        let found = self.nodes[node].etcd("kv/range", &json!({"key": key}));
        let held = found["kvs"][0]["value"].as_str().unwrap_or_else(|| panic!("{found}"));
        let mut held: Value =
            serde_json::from_slice(&base64(held.as_bytes(), &["--decode"])).expect("an object");
        change(&mut held);
        let done =
            self.nodes[node].etcd("kv/put", &json!({"key": key, "value": text(held.to_string().as_bytes())}));
        assert!(done["header"]["revision"].is_string(), "{done}");
    }

    /// Ends all of them at once, as a power cut does, and starts them.
    fn power_cut(&mut self, lab: &Lab) {
        for node in &mut self.nodes {
            node.process.kill();
        }
        for node in 0..self.nodes.len() {
            self.again(lab, node);
        }
    }

    fn cluster(&self, node: usize) -> Value {
        let (status, said) = self.admin(node).get("/api/cluster");
        assert_eq!(status, 200, "{said}");
        said
    }
}

//= test CLUSTER-NODES-01
//= test CLUSTER-NODES-03
//= test CLUSTER-GONE-01
#[test]
fn no_name_no_old_object_and_no_node_that_was_off_takes_the_others_with_it() {
    let lab = Lab::in_memory();
    let mut site = Site::start_here(&lab);
    let leader = site.leader(&[0, 1, 2]);
    let [one, other] = [(leader + 1) % 3, (leader + 2) % 3];
    // Other names for nodes that are there, and the same one elsewhere, are refused; all three serve.
    eventually("who there is stands in the object", secs(10), || {
        site.cluster(leader)["nodes"].as_array().map(Vec::len) == Some(3)
    });
    let cluster = site.cluster(leader);
    let name = |node: usize| cluster["nodes"][node]["name"].clone();
    let mut exchanged = cluster.clone();
    exchanged["nodes"][one]["name"] = name(other);
    exchanged["nodes"][other]["name"] = name(one);
    let mut renamed = cluster.clone();
    renamed["nodes"][one]["name"] = "tidy".into();
    let mut moved = cluster.clone();
    moved["nodes"][one]["ip"]["addr"] = "127.9.9.9".into();
    for wrong in [exchanged, renamed, moved] {
        let (status, said) = site.admin(other).send("PUT", "/api/cluster", &wrong);
        assert!(status == 400 && said.to_string().contains("leave it out first"), "{status} {said}");
    }
    // An object of former days that does not read: it is said, nobody goes, and it is put right by the API.
    site.smuggle(leader, &cluster, |held| {
        held["nodes"][one]["ip"] = json!({"addr": "host.example", "type": "DNS"})
    });
    site.power_cut(&lab);
    site.all_answer();
    let leader = site.leader(&[0, 1, 2]);
    eventually("it is said", secs(10), || {
        let said = site.nodes[leader].said();
        said.contains("CLUSTER_NODES_WAIT") && said.contains("'host.example' is no address")
    });
    site.has_nodes(leader, 3);
    let mut right = site.cluster(leader);
    right["nodes"] = cluster["nodes"].clone();
    let (status, said) = site.admin(leader).send("PUT", "/api/cluster", &right);
    assert_eq!(status, 200, "{said}");
    // Who is taken away while it is off comes back with the others, and does not lead.
    let gone = (leader + 1) % 3;
    let stay: Vec<usize> = (0..3).filter(|node| *node != gone).collect();
    site.nodes[gone].process.kill();
    let mut less = site.cluster(leader);
    less["nodes"].as_array_mut().expect("a list").remove(gone);
    let heads = lab.folder().join("heads");
    let client = site.admin(leader).with(&["--dump-header", &heads.display().to_string()]);
    let (status, said) = client.send("PUT", "/api/cluster", &less);
    assert_eq!(status, 200, "{said}");
    let heads = std::fs::read_to_string(heads).expect("heads");
    assert!(heads.to_lowercase().contains("x-forebay-warning: with 2 nodes nobody leads"), "{heads}");
    site.has_nodes(leader, 2);
    site.power_cut(&lab);
    for node in &stay {
        eventually("those that stay serve", secs(30), || {
            site.nobody(*node).get("/api/cluster/status").0 == 200
        });
    }
    eventually("it says that it was removed", secs(20), || {
        let (status, said) = site.nobody(gone).get("/api/cluster/status");
        status == 503 && said.to_string().contains("removed from the others")
    });
    site.has_nodes(stay[0], 2);
    assert_eq!(site.cluster(stay[0])["nodes"].as_array().map(Vec::len), Some(2), "nobody has put it back");
    assert!(!site.nodes[gone].said_now().contains("CLUSTER_LEADS"), "it has led");
}

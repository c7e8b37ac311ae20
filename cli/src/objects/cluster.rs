//! `forebay cluster show`, `add` and `remove`: the Controllers of a site.

use std::net::IpAddr;

use forebay_model::Object;
use serde_json::{Value, json};

use super::verbs::print;
use super::{kinds, show, yaml};
use crate::api::{Api, Failure, usage};
use crate::args::{OfCluster, Output};

/// Where the Controllers let engines and one another in, by custom.
const DOOR: u16 = 8443;

/// Does what was asked for.
///
/// # Errors
/// What the user or the Controller did not like.
//= CLI-CLUSTER-01
pub fn run(api: &mut Api, asked: &OfCluster, output: Output) -> Result<(), Failure> {
    match asked {
        OfCluster::Show => shown(api, output),
        OfCluster::Add { nodes } => add(api, nodes, output),
        OfCluster::Remove { names } => remove(api, names, output),
    }
}

fn shown(api: &mut Api, output: Output) -> Result<(), Failure> {
    let runtime = api.get("/api/cluster/runtime")?;
    let nodes = runtime["node_states"].as_array().cloned().unwrap_or_default();
    match output {
        Output::Text => {
            let mut rows = vec![["NAME", "ADDRESS", "ROLE", "STATE", "UP SINCE"].map(str::to_owned).to_vec()];
            for node in &nodes {
                let word = |field: &str| show::printable(&short(&node[field]));
                rows.push(["name", "mgmt_ip", "role", "state", "up_since"].map(word).to_vec());
            }
            print(&show::columns(&rows));
            print(&format!("{}\n", short(&runtime["cluster_state"]["state"])));
        }
        Output::Name => {
            for node in &nodes {
                print(&format!("{}\n", show::printable(&short(&node["name"]))));
            }
        }
        Output::Json | Output::Yaml => tell(&runtime, output),
    }
    Ok(())
}

/// A word of Avi's without its front: LEADER.
fn short(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    text.strip_prefix("CLUSTER_").unwrap_or(text).to_owned()
}

fn tell(document: &Value, output: Output) {
    print(&match output {
        Output::Yaml => yaml::write(document),
        Output::Text | Output::Json | Output::Name => format!("{document}\n"),
    });
}

/// A node as it was typed.
fn read(typed: &str) -> Result<Value, Failure> {
    let wrong = || usage(format!("{typed}: write NAME=ADDRESS, as in forebay cluster add b=10.0.0.2"));
    let (name, address) = typed.split_once('=').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let (field, kind) = if address.is_ipv4() { ("ip", "V4") } else { ("ip6", "V6") };
    match name.is_empty() {
        true => Err(wrong()),
        false => Ok(json!({"name": name, field: {"addr": address.to_string(), "type": kind}})),
    }
}

fn nodes(cluster: &Object) -> Vec<Value> {
    cluster.get("nodes").and_then(Value::as_array).cloned().unwrap_or_default()
}

fn write(api: &mut Api, mut cluster: Object, nodes: Vec<Value>) -> Result<(), Failure> {
    cluster.insert("nodes".to_owned(), Value::Array(nodes));
    // It carries `_last_modified`: who was faster than we has it refused.
    api.ask("PUT", "/api/cluster", Some(&Value::Object(cluster))).map(drop)
}

fn add(api: &mut Api, typed: &[String], output: Output) -> Result<(), Failure> {
    let cluster = api.one(kinds::find("cluster")?, "")?;
    let mut all = nodes(&cluster);
    let before = all.clone();
    for typed in typed {
        let node = read(typed)?;
        // One that is there already is given a token for its next start.
        if !before.iter().any(|held| held["name"] == node["name"]) {
            all.push(node);
        }
    }
    if all.len() < 2 {
        return Err(usage(
            "this Controller is the only one: name it as well, by the address at which others reach it",
        )
        .next(format!("forebay cluster add a=ADDRESS {}", typed.join(" "))));
    }
    // Which of them this one is, while it is alone, the Controller finds out: no token is made for it.
    let runtime = api.get("/api/cluster/runtime")?;
    let host = api.at.rsplit_once(':').map_or(api.at.as_str(), |(host, _)| host).to_owned();
    let here: Vec<Value> = runtime["node_states"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|node| node["mgmt_ip"].clone())
        .chain([Value::from(host.trim_matches(['[', ']']))])
        .collect();
    let is_new = |node: &Value| match before.is_empty() {
        false => typed.iter().any(|typed| typed.split('=').next() == node["name"].as_str()),
        true => !["ip", "ip6"].iter().any(|field| here.contains(&node[*field]["addr"])),
    };
    let coming: Vec<Value> = all.iter().filter(|node| is_new(node)).cloned().collect();
    // A Controller that was alone starts anew when this is written: tokens are made before.
    let mut tokens = Vec::new();
    for node in &coming {
        let name = node["name"].as_str().unwrap_or_default();
        let made = api.ask("POST", "/api/cluster/token", Some(&json!({"node": name})))?;
        tokens.push((name.to_owned(), made));
    }
    if all != before {
        write(api, cluster, all)?;
    }
    for (name, made) in tokens {
        let doors: Vec<&str> =
            made["controllers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let doors = if doors.is_empty() { format!("{host}:{DOOR}") } else { doors.join(",") };
        match output {
            Output::Text => print(&format!(
                "{name}: on its machine, within an hour, with this in TOKENFILE:\n{}\n  \
                 forebay-controller join --controller {doors} --token-file TOKENFILE\n  forebay-controller\n",
                made["token"].as_str().unwrap_or_default()
            )),
            _ => tell(
                &json!({
                    "node": name,
                    "token": made["token"],
                    "expires_at": made["expires_at"],
                    "controllers": doors,
                }),
                output,
            ),
        }
    }
    Ok(())
}

fn remove(api: &mut Api, names: &[String], output: Output) -> Result<(), Failure> {
    let cluster = api.one(kinds::find("cluster")?, "")?;
    let before = nodes(&cluster);
    for name in names {
        if !before.iter().any(|node| node["name"] == name.as_str()) {
            return Err(
                usage(format!("no Controller is called {name}")).next("forebay cluster show".to_owned())
            );
        }
    }
    let left: Vec<Value> =
        before.into_iter().filter(|node| !names.iter().any(|name| node["name"] == name.as_str())).collect();
    write(api, cluster, left)?;
    match output {
        Output::Text => {
            for name in names {
                print(&format!(
                    "{name} is removed: stop it, and delete its folder, which holds the key to every secret\n"
                ));
            }
        }
        _ => tell(&json!({"removed": names}), output),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_a_name_and_an_address() {
        let node = read("b=10.0.0.2").expect("one");
        assert_eq!(node, json!({"name": "b", "ip": {"addr": "10.0.0.2", "type": "V4"}}));
        assert_eq!(read("c=2001:db8::1").expect("one")["ip6"]["type"], "V6");
        for bad in ["b", "b=", "=10.0.0.2", "b=host"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(short(&json!("CLUSTER_LEADER")), "LEADER");
    }
}

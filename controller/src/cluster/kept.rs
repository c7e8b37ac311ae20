//! What a node knows of the others while nobody tells it: a file in its folder.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::member::Node;
use crate::files::{rename, write_private};

/// In the folder of a Controller with a member of etcd of its own.
const FILE: &str = "nodes";

/// The nodes as a node knows them, and how its own member began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// This one.
    pub own: Node,
    /// All that there are to be.
    pub nodes: Vec<Node>,
    /// The members with which its own one begins.
    pub initial: Vec<Node>,
    /// They were there before.
    pub joins: bool,
    /// Where members take calls of Controllers, and of one another.
    pub ports: (u16, u16),
}

impl Kept {
    /// Reads it; `None`: it is not there.
    ///
    /// # Errors
    /// It is there and says something else.
    pub fn read(folder: &Path) -> Result<Option<Self>, String> {
        let file = folder.join(FILE);
        if !file.exists() {
            return Ok(None);
        }
        let said = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let said: Value = serde_json::from_slice(&said).unwrap_or_default();
        match Self::of(&said) {
            Some(kept) => Ok(Some(kept)),
            None => Err(format!(
                "{} does not say which Controllers there are: remove it, and name them by --nodes and --node",
                file.display()
            )),
        }
    }

    fn of(said: &Value) -> Option<Self> {
        let (own, nodes, initial) = (node(&said["own"])?, nodes(&said["nodes"])?, nodes(&said["initial"])?);
        let port = |at: usize| u16::try_from(said["ports"][at].as_u64()?).ok();
        let ports = (port(0)?, port(1)?);
        (!initial.is_empty()).then_some(())?;
        Some(Kept { own, nodes, initial, joins: said["joins"].as_bool()?, ports })
    }

    /// Writes it in the place of the one that is there.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write(&self, folder: &Path) -> Result<(), String> {
        let file = folder.join(FILE);
        let new = self.write_beside(folder)?;
        rename(&new, &file).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// Writes it, and takes it away: it can be written.
    ///
    /// # Errors
    /// It cannot.
    pub fn try_write(&self, folder: &Path) -> Result<(), String> {
        let new = self.write_beside(folder)?;
        std::fs::remove_file(&new).map_err(|error| format!("{}: {error}", new.display()))
    }

    fn write_beside(&self, folder: &Path) -> Result<PathBuf, String> {
        let new = folder.join("nodes.new");
        let told = |error: std::io::Error| format!("{}: {error}", new.display());
        let _ = std::fs::remove_file(&new);
        let said = json!({
            "own": shown(&self.own),
            "nodes": list(&self.nodes),
            "initial": list(&self.initial),
            "joins": self.joins,
            "ports": [self.ports.0, self.ports.1],
        });
        write_private(&new, format!("{said}\n").as_bytes()).map_err(told)?;
        Ok(new)
    }

    /// All of them, this one first.
    pub fn own_first(&self) -> Vec<Node> {
        let others = self.nodes.iter().filter(|node| node.address != self.own.address);
        std::iter::once(&self.own).chain(others).cloned().collect()
    }
}

fn shown(node: &Node) -> Value {
    json!({"name": node.name, "address": node.address.to_string()})
}

/// Nodes as they are written down.
pub fn list(nodes: &[Node]) -> Value {
    nodes.iter().map(shown).collect()
}

fn node(said: &Value) -> Option<Node> {
    let address: IpAddr = said["address"].as_str()?.parse().ok()?;
    Some(Node { name: said["name"].as_str()?.to_owned(), address })
}

/// Nodes that were written down.
pub fn nodes(said: &Value) -> Option<Vec<Node>> {
    said.as_array()?.iter().map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite::Folder;

    #[test]
    fn what_is_written_down_is_read_again_and_anything_else_is_refused() {
        let folder = Folder::new("kept");
        assert_eq!(Kept::read(&folder.0), Ok(None));
        let [a, b]: [Node; 2] = ["a=192.0.2.1", "b=2001:db8::2"].map(|text| text.parse().expect("one"));
        let nodes = vec![b.clone(), a.clone()];
        let mut kept = Kept { own: a.clone(), nodes, initial: vec![a.clone()], joins: false, ports: (1, 2) };
        kept.write(&folder.0).expect("room");
        kept.joins = true;
        kept.write(&folder.0).expect("room");
        assert_eq!(Kept::read(&folder.0), Ok(Some(kept.clone())));
        assert_eq!(kept.own_first(), [a, b]);
        std::fs::write(folder.0.join(FILE), "{}").expect("room");
        assert!(Kept::read(&folder.0).expect_err("nothing").contains("--nodes"));
    }
}

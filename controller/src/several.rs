//! Arguments of a Controller that shares its store with others.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use forebay_controller::cluster::{Files, Grow, Kept, Node, Settings, Whose};
use forebay_controller::{logs, otlp};
use tokio::sync::watch;

/// Where other Controllers call, by custom.
const PORT: u16 = 9444;

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Store {
    /// One file, for one Controller.
    Embedded,
    /// etcd, for several.
    Etcd,
}

/// What several Controllers need.
#[derive(Args)]
pub struct Several {
    /// Where objects are kept.
    #[arg(long, value_enum, default_value_t = Store::Embedded)]
    store: Store,
    /// An etcd that is there already; without it each Controller starts a member of its own.
    #[arg(long, value_name = "URL", value_delimiter = ',', conflicts_with = "nodes")]
    etcd_endpoints: Vec<String>,
    /// Whom of that etcd to trust: PEM.
    #[arg(long, value_name = "FILE", requires_all = ["etcd_cert", "etcd_key"])]
    etcd_ca: Option<PathBuf>,
    /// What to show there: PEM.
    #[arg(long, value_name = "FILE", requires = "etcd_ca")]
    etcd_cert: Option<PathBuf>,
    /// Its key: PEM.
    #[arg(long, value_name = "FILE", requires = "etcd_ca")]
    etcd_key: Option<PathBuf>,
    /// What all keys in etcd begin with.
    #[arg(long, value_name = "TEXT", default_value = "/forebay/")]
    etcd_prefix: String,
    /// The program that is started as a member: etcd 3.4 or newer.
    #[arg(long, value_name = "FILE", default_value = "etcd")]
    etcd_program: PathBuf,
    /// Where the members take calls, of Controllers and of one another.
    #[arg(long, value_name = "PORT,PORT", value_delimiter = ',', num_args = 1, default_values_t = [2379, 2380])]
    etcd_ports: Vec<u16>,
    /// All Controllers, the same list on each.
    #[arg(long, value_name = "NAME=ADDRESS", value_delimiter = ',', requires = "node")]
    nodes: Vec<Node>,
    /// Which of them this one is.
    #[arg(long, value_name = "NAME", requires = "nodes")]
    node: Option<String>,
    /// Where other Controllers call; port 9444 of the node's address by default.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen_controllers: Option<SocketAddr>,
}

impl Several {
    /// How to run over etcd; `None`: over a file.
    ///
    /// # Errors
    /// What is said does not fit together; the text says what to do.
    pub fn settings(
        &self,
        folder: &Path,
        listen: SocketAddr,
        (listen_engines, heartbeat): (SocketAddr, Duration),
        logs: &logs::Settings,
        otlp: Option<otlp::Exported>,
    ) -> Result<Option<Settings>, String> {
        let is_more = !self.etcd_endpoints.is_empty() || !self.nodes.is_empty();
        // What the folder says counts: nodes may have come and gone since it was started first.
        let known = if self.etcd_endpoints.is_empty() { Kept::read(folder)? } else { None };
        match (self.store, is_more) {
            (Store::Embedded, true) => {
                return Err("etcd is described, and not used: say --store etcd as well".to_owned());
            }
            (Store::Embedded, false) if known.is_none() => return Ok(None),
            (Store::Embedded | Store::Etcd, _) => {}
        }
        let ports = self.ports()?;
        let kept = match known {
            Some(kept) => {
                if let Some(name) = self.node.as_ref().filter(|name| **name != kept.own.name) {
                    return Err(format!("--node {name}: this folder is that of {}", kept.own.name));
                }
                kept
            }
            None => {
                let (own, nodes) = self.first()?;
                Kept { own, initial: nodes.clone(), nodes, joins: false, ports }
            }
        };
        let address = if self.etcd_endpoints.is_empty() { kept.own.address } else { listen.ip() };
        let listen_controllers = self.listen_controllers.unwrap_or_else(|| SocketAddr::new(address, PORT));
        if listen_controllers.ip().is_unspecified() {
            return Err(format!(
                "{listen_controllers}: others call at this address: name one that they reach by --listen-controllers"
            ));
        }
        let etcd = if self.etcd_endpoints.is_empty() {
            Whose::Own { program: self.etcd_program.clone(), kept }
        } else {
            let files = match (&self.etcd_ca, &self.etcd_cert, &self.etcd_key) {
                (Some(authority), Some(certificate), Some(key)) => Some(Files {
                    authority: authority.clone(),
                    certificate: certificate.clone(),
                    key: key.clone(),
                }),
                _ => None,
            };
            Whose::Outside(self.etcd_endpoints.clone(), files)
        };
        Ok(Some(Settings {
            folder: folder.to_owned(),
            listen,
            listen_engines,
            heartbeat,
            logs: logs.clone(),
            otlp,
            listen_controllers,
            prefix: self.etcd_prefix.clone(),
            etcd,
        }))
    }

    fn ports(&self) -> Result<(u16, u16), String> {
        match self.etcd_ports[..] {
            [clients, peers] => Ok((clients, peers)),
            _ => Err("--etcd-ports takes two ports: of Controllers, and of members".to_owned()),
        }
    }

    /// What a Controller with a file needs to become one of several; it is told at `told`.
    ///
    /// # Errors
    /// What is said does not fit together.
    pub fn grow(&self, folder: &Path, listen: SocketAddr, told: watch::Sender<bool>) -> Result<Grow, String> {
        let called = self.listen_controllers;
        Ok(Grow {
            folder: folder.to_owned(),
            listen,
            controllers: (called.map(|at| at.ip()), called.map_or(PORT, |at| at.port())),
            program: self.etcd_program.clone(),
            ports: self.ports()?,
            told,
        })
    }

    /// This node and all of them, as the arguments say.
    fn first(&self) -> Result<(Node, Vec<Node>), String> {
        let (mut nodes, mut own) = (self.nodes.clone(), 0);
        if nodes.is_empty() {
            nodes.push(Node { name: "one".to_owned(), address: IpAddr::from([127, 0, 0, 1]) });
        } else if nodes.len() % 2 == 0 || nodes.len() > 7 {
            return Err(format!(
                "--nodes has {} nodes: 1, 3, 5 or 7 can outvote those that fail",
                nodes.len()
            ));
        } else {
            let name = self.node.as_deref().unwrap_or_default();
            own = nodes
                .iter()
                .position(|node| node.name == name)
                .ok_or_else(|| format!("--node {name} is none of those in --nodes"))?;
        }
        Ok((nodes[own].clone(), nodes))
    }
}

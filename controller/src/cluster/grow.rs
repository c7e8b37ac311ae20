//! A Controller with a file that is to be one of several: it goes on over etcd.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tokio::sync::watch;

use super::kept::Kept;
use super::member::Node;

/// What is needed to begin with a member of etcd, and who is told that it is to.
pub struct Grow {
    /// The Controller's folder.
    pub folder: PathBuf,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where other Controllers are to call: an address if one was named, and a port.
    pub controllers: (Option<IpAddr>, u16),
    /// The program of etcd.
    pub program: PathBuf,
    /// Where members take calls of Controllers, and of one another.
    pub ports: (u16, u16),
    /// Becomes true when the folder says that there are several.
    pub told: watch::Sender<bool>,
}

impl Grow {
    /// What the folder is to say, if these Controllers can be begun with; `None`: there is only one.
    ///
    /// # Errors
    /// As a text that says what to do.
    //= CLUSTER-GROW-01
    pub fn judge(&self, nodes: &[Node]) -> Result<Option<Kept>, String> {
        if nodes.len() < 2 {
            return Ok(None);
        }
        let is_here = |node: &&Node| {
            let listens = self.listen.ip();
            match listens.is_unspecified() {
                true => TcpListener::bind((node.address, 0)).is_ok(),
                false => node.address == listens,
            }
        };
        let mut here = nodes.iter().filter(is_here);
        let (Some(own), None) = (here.next(), here.next()) else {
            return Err(format!(
                "nodes: which of them this Controller is, is not clear; it listens at {}: name one node with its address, or \
                 start it with --listen at the address of one",
                self.listen
            ));
        };
        let called = self.controllers.0.unwrap_or(own.address);
        let places = [(own.address, self.ports.0), (own.address, self.ports.1), (called, self.controllers.1)];
        for (address, port) in places {
            TcpListener::bind((address, port)).map_err(|error| {
                format!(
                    "nodes: several Controllers need {address}:{port} here: {error}; free it, or start this one with other \
                     --etcd-ports and --listen-controllers"
                )
            })?;
        }
        for program in [PathBuf::from("setpriv"), self.program.clone()] {
            let ran =
                Command::new(&program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !ran.is_ok_and(|status| status.success()) {
                return Err(format!(
                    "nodes: {} cannot be started, and several Controllers need it: install etcd-server and util-linux, or \
                     name another program by --etcd-program",
                    program.display()
                ));
            }
        }
        let kept = Kept {
            own: own.clone(),
            nodes: nodes.to_vec(),
            initial: vec![own.clone()],
            joins: false,
            ports: self.ports,
        };
        kept.try_write(&self.folder).map_err(|why| {
            format!("nodes: which there are has to stand in this Controller's folder: {why}; mend that first")
        })?;
        Ok(Some(kept))
    }

    /// Says so in the folder, and to whoever waits for it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(&self, kept: &Kept) -> Result<(), String> {
        kept.write(&self.folder)?;
        tracing::warn!(
            event = "CLUSTER_GROWS",
            node = kept.own.name,
            nodes = kept.nodes.len(),
            "this Controller is one of several from now on: it starts anew, over etcd"
        );
        self.told.send_replace(true);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite::Folder;

    //= test CLUSTER-GROW-01
    #[test]
    fn what_is_missing_for_several_is_said_before_anything_is_changed() {
        let folder = Folder::new("grow");
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("its address").port();
        let mut grow = Grow {
            folder: folder.0.clone(),
            listen: ([127, 0, 0, 1], 9443).into(),
            controllers: (None, 0),
            program: PathBuf::from("true"),
            ports: (0, 0),
            told: watch::Sender::new(false),
        };
        let nodes: Vec<Node> = ["a=127.0.0.1", "b=192.0.2.2"].map(|text| text.parse().expect("one")).to_vec();
        assert_eq!(grow.judge(&nodes[..1]), Ok(None));
        let kept = grow.judge(&nodes).expect("it can").expect("two");
        assert_eq!((&kept.own, &kept.initial[..]), (&nodes[0], &nodes[..1]));
        let left = std::fs::read_dir(&folder.0).expect("it is there").count();
        assert_eq!(left, 0, "nothing is begun with before it is written");
        grow.folder = folder.0.join("nowhere");
        assert!(grow.judge(&nodes).expect_err("no folder").contains("mend that first"));
        grow.folder.clone_from(&folder.0);
        assert!(
            grow.judge(&[nodes[1].clone(), nodes[1].clone()])
                .expect_err("none is here")
                .contains("not clear")
        );
        grow.program = PathBuf::from("no-such-program");
        assert!(grow.judge(&nodes).expect_err("no etcd").contains("--etcd-program"));
        grow.ports.1 = port;
        assert!(grow.judge(&nodes).expect_err("it is taken").contains("--etcd-ports"));
    }
}

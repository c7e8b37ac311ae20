//! A group whose engines are on machines of their own.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

use forebay_e2e::lab::Demo;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Engine, Hosts, Options, bin};

use crate::group::{Group, ready, synced};

/// Engine `n` is on machine `n`; the servers are on the wire.
pub struct Machines {
    pub engines: Vec<Engine>,
    _servers: Vec<Demo>,
    pub group: Group,
    pub hosts: Hosts,
}

impl Machines {
    /// Starts all engines, and waits until they serve and are in sync; `None`: this machine allows no namespaces.
    pub fn start(count: usize) -> Option<Self> {
        let hosts = Hosts::new(count as u8)?;
        let group = Group::new(count);
        let at = |n: u16| SocketAddr::from((hosts.middle(), 8_000 + n));
        let servers: Vec<Demo> =
            group.servers.iter().zip(0..).map(|(old, n)| group.lab.demo_at(&old.name, at(n))).collect();
        let config = |slot: usize| {
            let mut text = group.config(slot);
            for n in 0..count {
                let there = hosts.address(n as u8).to_string();
                text = text.replace(&format!("\"{}\"", Group::address(n)), &format!("\"{there}\""));
            }
            for (old, new) in group.servers.iter().zip(&servers) {
                text = text.replace(&old.address.to_string(), &new.address.to_string());
            }
            text
        };
        let spawn = |slot: usize| {
            hosts.at(slot as u8, || Engine::spawn(&group.lab, &config(slot), &Options::default()))
        };
        let engines: Vec<Engine> = (0..count).map(spawn).collect();
        let machines = Self { engines, _servers: servers, group, hosts };
        for slot in 0..count {
            machines.at(slot, ready);
        }
        for slot in 0..count {
            machines.at(slot, |engine| synced(engine, count - 1));
        }
        Some(machines)
    }

    /// Does something on the machine of an engine.
    pub fn at<R>(&self, slot: usize, work: impl FnOnce(&Engine) -> R) -> R {
        self.hosts.at(slot as u8, || work(&self.engines[slot]))
    }

    /// The server of a client who comes to an engine.
    pub fn server(&self, slot: usize, client: u32) -> String {
        self.hosts.at(slot as u8, || self.group.by_address(slot, client))
    }

    /// Waits until an engine has lost the other one, or has it again.
    pub fn wait_for_peer(&self, slot: usize, connected: bool) {
        eventually(&format!("engine {slot}: the other one is connected: {connected}"), secs(60), || {
            self.at(slot, |e| e.metric("forebay_objsync_peer_connected", &[]))
                == f64::from(u8::from(connected))
        });
    }

    /// Waits until both engines say that nothing differs, then checks that each client has one server.
    pub fn become_equal(&self, clients: impl Iterator<Item = u32>) {
        for slot in 0..self.engines.len() {
            eventually("nothing differs", secs(60), || verified(&self.engines[slot]));
        }
        for client in clients {
            let servers: BTreeSet<String> =
                (0..self.engines.len()).map(|slot| self.server(slot, client)).collect();
            assert_eq!(servers.len(), 1, "client {client} goes to {servers:?}");
        }
    }
}

/// Whether an engine finds nothing that differs.
pub fn verified(engine: &Engine) -> bool {
    let mut command = Command::new(bin::path("forebay-se"));
    let socket = engine.config.with_extension("sock");
    let done =
        command.args(["objsync", "verify", "--socket"]).arg(socket).output().expect("forebay-se starts");
    done.status.success()
}

//! What is told of an engine that serves several tenants. Of services that the reader does not see only their number is told,
//! and what may be about any service of the engine is told to who sees all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use forebay_model::compile::uuid_of;
use serde_json::{Value, json as value};

use super::App;
use crate::engines::{Engine, Interface};
use crate::objects::{Catalogue, Tenant};
use crate::placement::Wanted;
use crate::store::Store;

/// Kinds of what engines tell of.
const KINDS: [&str; 2] = ["virtualservice", "pool"];

/// An engine did not take its configuration. What it says may be of any service of the engine, and is told with the engine.
//= CHAN-SEEN-02
pub fn refused(engine: &str, problems: usize) -> String {
    format!(
        "did not take its configuration (problems: {problems}, shown at /api/serviceengine/{engine}/channel)"
    )
}

/// Who reads about engines.
pub struct Reader<'a> {
    now: &'a Catalogue,
    tenant: &'a Tenant,
}

impl<'a> Reader<'a> {
    /// This one.
    pub fn new(now: &'a Catalogue, tenant: &'a Tenant) -> Self {
        Reader { now, tenant }
    }

    /// Says whether a service or a pool is seen. One that is gone is not: nobody can say any more whose it was.
    fn sees(&self, uuid: &str) -> bool {
        let held = || KINDS.iter().find_map(|kind| self.now.get(kind, uuid));
        self.is_of_all() || held().is_some_and(|held| self.tenant.sees(held))
    }

    fn is_of_all(&self) -> bool {
        self.tenant.reads_everywhere("PERMISSION_VIRTUALSERVICE")
            && self.tenant.reads_everywhere("PERMISSION_POOL")
    }

    /// Says whether everything is seen that an engine has, and that it had lately.
    fn sees_all_of<S: Store>(&self, app: &App<S>, engine: &Engine) -> bool {
        if self.is_of_all() {
            return true;
        }
        let known = app.placement.known();
        let placed: Vec<String> = known.on(&engine.uuid).into_iter().map(|assigned| assigned.vs).collect();
        let children = placed.iter().flat_map(|vs| known.children(vs));
        placed.iter().cloned().chain(children).all(|vs| self.sees(&vs))
            && engine.given.all().all(|uuid| self.sees(uuid))
            && engine.services.keys().all(|name| self.sees(uuid_of(name)))
            && engine.left_out.keys().chain(engine.untaken.keys()).all(|vs| self.sees(vs))
    }

    /// Words that may be about any service of an engine, and how many of them are not told.
    //= CHAN-SEEN-02
    pub fn texts<'t, S: Store>(
        &self,
        app: &App<S>,
        engine: &Engine,
        texts: &'t [String],
    ) -> (&'t [String], usize) {
        match texts.is_empty() || self.sees_all_of(app, engine) {
            true => (texts, 0),
            false => (&[], texts.len()),
        }
    }

    /// The same as a state's reason.
    pub fn reason<S: Store>(&self, app: &App<S>, engine: &Engine, texts: &[String]) -> Vec<String> {
        let (told, others) = self.texts(app, engine, texts);
        let others = (others > 0).then(|| {
            format!("problems of its configuration, shown to who sees all of its services: {others}")
        });
        told.iter().cloned().chain(others).collect()
    }

    /// What there is of services, by their uuids, and of how many it is not told.
    //= CHAN-SEEN-02
    pub fn services<'e>(
        &self,
        all: impl Iterator<Item = (&'e String, &'e Vec<String>)>,
    ) -> (BTreeMap<&'e String, &'e Vec<String>>, usize) {
        let mut others = 0;
        let told = all.filter(|(vs, _)| {
            let is_told = self.sees(vs);
            others += usize::from(!is_told);
            is_told
        });
        let told = told.collect();
        (told, others)
    }

    /// The addresses of services that are not seen, but for those that a service has that is.
    fn addresses<S: Store>(&self, app: &App<S>) -> BTreeSet<IpAddr> {
        if self.is_of_all() {
            return BTreeSet::new();
        }
        let known = app.placement.known();
        let (seen, others): (Vec<_>, Vec<_>) = known
            .world
            .wanted
            .values()
            .partition(|wanted| wanted.services.iter().any(|vs| self.sees(&vs.uuid)));
        let of = |all: Vec<&Wanted>| -> BTreeSet<IpAddr> {
            all.into_iter().flat_map(|wanted| &wanted.vips).map(|vip| vip.address).collect()
        };
        &of(others) - &of(seen)
    }

    /// The interfaces of an engine and its routes, without the addresses of services that are not seen.
    //= CHAN-SEEN-02
    pub fn networks<S: Store>(&self, app: &App<S>, engine: &Engine) -> (Vec<Value>, Vec<String>) {
        let others = self.addresses(app);
        let texts = |all: &[(IpAddr, u8)]| -> Vec<String> {
            let is_told = |address: &IpAddr| engine.address == Some(*address) || !others.contains(address);
            let told = all.iter().filter(|(address, _)| is_told(address));
            told.map(|(address, length)| format!("{address}/{length}")).collect()
        };
        let one = |interface: &Interface| {
            value!({
                "name": interface.name, "mac": interface.mac, "up": interface.is_up,
                "addresses": texts(&interface.addresses),
            })
        };
        (engine.machine.interfaces.iter().map(one).collect(), texts(&engine.machine.routes))
    }

    /// What an engine says of the other members, without the tables that differ: those are named by their services.
    //= CHAN-SEEN-02
    pub fn members<S: Store>(&self, app: &App<S>, engine: &Engine, told: &mut Value) {
        if self.sees_all_of(app, engine) {
            return;
        }
        for peer in told["peers"].as_array_mut().into_iter().flatten() {
            let Some(differ) = peer.get_mut("tables_differ") else { continue };
            let count = differ.as_array().map_or(0, Vec::len);
            *differ = match count {
                0 => value!([]),
                _ => value!([format!("shown to who sees all services of the engine: {count}")]),
            };
        }
    }
}

//! A document of which a part is made anew: what has changed concerns few of an engine's services.
//!
//! The services concerned are made as if they were alone, and take the place of what they were in the document. Where anything
//! speaks against that (two parts that might not fit together, a service that is left out), the answer is `None`, and the
//! whole is made by [`super::compile`], which says what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use forebay_snapshot::{Snapshot, name_id};

use super::cx::Cx;
use super::hosting::Shut;
use super::{Compiled, Input, engine, monitor, uuid_of};
use crate::Problem;

/// Parts of all kinds: beyond some thousands bounds of lists and of the document's length come near, and the whole is judged.
const PARTS_MAX: usize = 8_000;
/// Bytes of all parts, for the same reason.
const BYTES_MAX: usize = 8 << 20;

/// What the keys of monitors begin with.
pub(super) const MONITOR: &str = "health_monitor/";

/// What is known of a document beside its text, and by which a part of it can be made anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The keys of the parts that each service stands on, by the service's uuid.
    parts: BTreeMap<String, BTreeSet<String>>,
    /// What was asked for and does nothing, by the uuid of the service.
    warnings: BTreeMap<String, Vec<Problem>>,
    /// Where each service of the document listens, and whether for datagrams.
    listens: BTreeMap<String, Vec<(SocketAddr, bool)>>,
    /// Parts whose clients get session tickets.
    tickets: BTreeSet<String>,
    /// Monitors of which nothing else follows.
    leaves: BTreeSet<String>,
    /// The servers of each pool.
    servers: BTreeMap<String, Vec<SocketAddr>>,
    /// Pools of which a server is known by a host name.
    named: BTreeSet<String>,
}

impl Outline {
    /// Of a document that was found good.
    pub(super) fn of(
        snapshot: &Snapshot,
        parts: BTreeMap<String, BTreeSet<String>>,
        warnings: BTreeMap<String, Vec<Problem>>,
        (tickets, leaves): (BTreeSet<String>, BTreeSet<String>),
    ) -> Self {
        let mut outline = Outline { parts, warnings, tickets, leaves, ..Outline::default() };
        for service in &snapshot.virtual_service {
            let is_udp = service.protocol == forebay_snapshot::Protocol::Udp;
            let listens = service.listen.iter().map(|at| (*at, is_udp)).collect();
            outline.listens.insert(service.name.clone(), listens);
        }
        for pool in &snapshot.pool {
            let known =
                pool.server.iter().filter_map(|one| one.address.with_default(pool.default_server_port));
            let known: Vec<SocketAddr> = known.collect();
            if known.len() < pool.server.len() {
                outline.named.insert(pool.name.clone());
            }
            outline.servers.insert(pool.name.clone(), known);
        }
        outline
    }

    /// A service stands in the document.
    pub fn has(&self, service: &str) -> bool {
        self.parts.contains_key(service)
    }

    /// Pools and groups that a service stands on: their text follows from all that use them.
    pub fn pools<'o>(&'o self, service: &str) -> impl Iterator<Item = &'o String> + use<'o> {
        self.parts.get(service).into_iter().flatten().filter(|key| is_of_all(key))
    }
}

/// Parts whose text follows from all services that stand on them.
fn is_of_all(key: &str) -> bool {
    key.starts_with("pool/") || key.starts_with("pool_group/")
}

/// Makes an engine's document of one that was made before, of these parts and this outline: what it was made of has changed
/// only as far as these services stand on it, and as far as these monitors do, by their uuids: of a monitor nothing else
/// follows, however many services stand on it. It is what [`super::compile`] gives, or `None`: then that is to be asked.
//= COMPILE-AGAIN-01
pub fn compile_after(
    input: &Input<'_>,
    sections: &BTreeMap<String, String>,
    outline: &Outline,
    changed: &BTreeSet<String>,
    monitors: &BTreeSet<String>,
) -> Option<Compiled> {
    let probed;
    let sections = match monitors.is_empty() {
        true => sections,
        false => {
            probed = with_monitors(input, sections, outline, monitors)?;
            &probed
        }
    };
    let placed: BTreeSet<&str> = input.services.iter().map(|placed| placed.service.as_str()).collect();
    if placed.len() != input.services.len() {
        return None;
    }
    let anew = anew(&placed, outline, changed);
    if anew.len() * 2 > placed.len() {
        return None;
    }
    let own = Input {
        objects: input.objects,
        engine: input.engine.clone(),
        services: input.services.iter().filter(|one| anew.contains(one.service.as_str())).cloned().collect(),
        ticket_keys: input.ticket_keys.clone(),
    };
    let made = super::compile(&own).ok()?;
    if !made.left_out.is_empty() {
        return None;
    }
    let stay = || placed.iter().filter(|uuid| !anew.contains(**uuid));
    let kept: BTreeSet<&String> = stay().filter_map(|uuid| outline.parts.get(*uuid)).flatten().collect();
    if made.sections.keys().any(|key| is_of_all(key) && kept.contains(key)) {
        return None;
    }
    let stays = |name: &str| placed.contains(uuid_of(name)) && !anew.contains(uuid_of(name));
    // One key by two names is nothing that a document may have, and the other one may be a part that stays.
    let is_new_key = |(key, text): (&String, &String)| {
        key.starts_with("cookie_key/") && sections.get(key).is_none_or(|before| before != text)
    };
    if !made.outline.named.is_empty() || made.sections.iter().any(is_new_key) {
        return None;
    }
    if !fits(&made.outline, outline, &kept, &stays) || ids_meet(&made.sections, &kept) {
        return None;
    }
    let mut whole = Compiled { sections: made.sections, outline: made.outline, ..Compiled::default() };
    for key in kept {
        let text = sections.get(key)?;
        match whole.sections.get(key) {
            // What both stand on is the same, or more has changed than was said.
            Some(own) if own != text => return None,
            Some(_) => {}
            None => {
                whole.sections.insert(key.clone(), text.clone());
            }
        }
        whole.outline.tickets.extend(outline.tickets.get(key).cloned());
        whole.outline.leaves.extend(outline.leaves.get(key).cloned());
        if let Some((key, servers)) =
            key.strip_prefix("pool/").and_then(|name| outline.servers.get_key_value(name))
        {
            whole.outline.servers.insert(key.clone(), servers.clone());
            whole.outline.named.extend(outline.named.get(key).cloned());
        }
    }
    for (name, listens) in outline.listens.iter().filter(|(name, _)| stays(name)) {
        whole.outline.listens.insert(name.clone(), listens.clone());
    }
    for placed in input.services.iter().filter(|placed| !anew.contains(placed.service.as_str())) {
        let parts = outline.parts.get(&placed.service)?.clone();
        whole.outline.parts.insert(placed.service.clone(), parts);
        for uuid in placed.children.iter().chain([&placed.service]) {
            if let Some(warnings) = outline.warnings.get(uuid) {
                whole.outline.warnings.insert(uuid.clone(), warnings.clone());
            }
        }
    }
    if !whole.outline.tickets.is_empty() {
        whole.sections.extend(engine::ticket_keys(input));
    }
    let bytes: usize = whole.sections.values().map(String::len).sum();
    whole.warnings = whole.outline.warnings.clone();
    (whole.sections.len() <= PARTS_MAX && bytes <= BYTES_MAX).then_some(whole)
}

/// The parts with these monitors as they are now.
fn with_monitors(
    input: &Input<'_>,
    sections: &BTreeMap<String, String>,
    outline: &Outline,
    monitors: &BTreeSet<String>,
) -> Option<BTreeMap<String, String>> {
    let own = Input {
        objects: input.objects,
        engine: input.engine.clone(),
        services: Vec::new(),
        ticket_keys: Vec::new(),
    };
    let mut alone = super::compile(&own).ok()?.sections;
    let shut = Shut::new();
    let mut cx = Cx::new(&own, &shut);
    let mut all = sections.clone();
    for uuid in monitors {
        let key = format!("{MONITOR}{uuid}");
        let made = monitor::alone(&mut cx, uuid)?;
        if !outline.leaves.contains(&key) || !made.is_leaf() {
            return None;
        }
        all.insert(key.clone(), made.text.clone());
        alone.insert(key, made.text);
    }
    forebay_snapshot::check(&super::document(&alone)).is_ok().then_some(all)
}

/// The services to be made anew: those that have changed or are new, and those that share a pool with one of these, or with one
/// that is gone.
fn anew<'p>(placed: &BTreeSet<&'p str>, outline: &Outline, changed: &BTreeSet<String>) -> BTreeSet<&'p str> {
    let is_new = |uuid: &&&str| changed.contains(**uuid) || !outline.parts.contains_key(**uuid);
    let mut anew: BTreeSet<&str> = placed.iter().filter(is_new).copied().collect();
    let gone = outline.parts.keys().filter(|uuid| !placed.contains(uuid.as_str()));
    let mut touched: BTreeSet<&String> = gone.flat_map(|uuid| outline.pools(uuid)).collect();
    touched.extend(anew.iter().flat_map(|uuid| outline.pools(uuid)));
    loop {
        let shares =
            |uuid: &&&str| !anew.contains(**uuid) && outline.pools(uuid).any(|key| touched.contains(key));
        let more: Vec<&str> = placed.iter().filter(shares).copied().collect();
        if more.is_empty() {
            return anew;
        }
        touched.extend(more.iter().flat_map(|uuid| outline.pools(uuid)));
        anew.extend(more);
    }
}

/// Says whether no address is wanted twice, and no server is a listener of the same engine: what then follows is judged over
/// the whole.
fn fits(made: &Outline, before: &Outline, kept: &BTreeSet<&String>, stays: &impl Fn(&str) -> bool) -> bool {
    let listens = |outline: &Outline, with: &dyn Fn(&str) -> bool| -> BTreeSet<(SocketAddr, bool)> {
        outline.listens.iter().filter(|(name, _)| with(name)).flat_map(|(_, at)| at.iter().copied()).collect()
    };
    let (own, others) = (listens(made, &|_| true), listens(before, stays));
    let covers = |ip: IpAddr| ip.is_unspecified();
    if own.iter().chain(&others).any(|(at, _)| covers(at.ip())) || !own.is_disjoint(&others) {
        return false;
    }
    let leads = |servers: &Vec<SocketAddr>, to: &BTreeSet<(SocketAddr, bool)>| {
        servers.iter().any(|at| to.contains(&(*at, false)) || to.contains(&(*at, true)))
    };
    let kept = before.servers.iter().filter(|(name, _)| kept.contains(&format!("pool/{name}")));
    !made.servers.values().any(|servers| leads(servers, &others))
        && !kept.into_iter().any(|(_, servers)| leads(servers, &own))
}

/// Says whether two names have one id, by which engines know services and pools.
fn ids_meet(made: &BTreeMap<String, String>, kept: &BTreeSet<&String>) -> bool {
    ["virtual_service/", "pool/", "pool_group/"].iter().any(|kind| {
        let id = |key: &String| key.strip_prefix(kind).map(name_id);
        let ids: BTreeSet<u32> = kept.iter().filter_map(|key| id(key)).collect();
        made.keys().filter(|key| !kept.contains(key)).filter_map(id).any(|id| ids.contains(&id))
    })
}

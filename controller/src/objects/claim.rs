//! Addresses and ports: what an object takes of them, and that nobody takes what another one has.
//!
//! An address belongs to one tenant within its cloud (engines know no VRFs yet), and a port of it to one virtual service: who came first has it. What was
//! so before, by an older version, may stay and be written again; what an engine does about it stands in the compiler.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use forebay_model::{Kind, Object, Problem};
use serde_json::Value;

use super::Denied;
use super::catalogue::{Catalogue, Held, Id};
use crate::access::Tenant;
use crate::cluster::virtual_addresses;

/// The group of engines of services that name none.
const DEFAULT_GROUP: &str = "Default-Group";
/// Services that one engine may have where their group does not say.
const SERVICES_MAX: u64 = 10;

/// What a VsVip or a virtual service takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    addresses: BTreeSet<IpAddr>,
    ports: Vec<Ports>,
    /// Where its addresses stand, if not in itself.
    vsvip: Option<String>,
    group: Option<String>,
    is_enabled: bool,
    /// The parent of a child, and the hosts by which it is chosen.
    parent: Option<String>,
    hosts: BTreeSet<String>,
    is_child: bool,
}

/// Ports of a service, the last one included, and the network profile that says what they carry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ports {
    first: u64,
    last: u64,
    profile: String,
}

/// Datagrams or not, the first and the last port.
type Range = (bool, u64, u64);

fn behind(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?;
    text.rsplit('/').next().filter(|uuid| !uuid.is_empty()).map(str::to_owned)
}

fn entries<'o>(object: &'o Object, name: &str) -> &'o [Value] {
    object.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
}

/// A host without regard to its case, and to the dot at its end.
fn own(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// What an entry of `vh_matches` takes of its host: all of it, or requests by these conditions.
fn matched(entry: &Value) -> Vec<String> {
    let host = own(entry["host"].as_str().unwrap_or_default());
    let by = |name: &str| entry[name].as_array().cloned().unwrap_or_default();
    let rules = by("rules").into_iter().map(|rule| rule["matches"].clone());
    let conditions: Vec<Value> = by("path").into_iter().chain(rules).collect();
    match conditions.as_slice() {
        [] => vec![host],
        some => some.iter().map(|by| format!("{host} by {by}")).collect(),
    }
}

impl Claim {
    /// That of an object; `None`: it is of a kind that takes none.
    pub(super) fn of(kind: &Kind, object: &Object) -> Option<Box<Self>> {
        let is_service = kind.path == "virtualservice";
        if !is_service && kind.path != "vsvip" {
            return None;
        }
        let vsvip = behind(object.get("vsvip_ref"));
        let is_child = is_service && object.get("type").and_then(Value::as_str) == Some("VS_TYPE_VH_CHILD");
        let mut claim = Claim { vsvip, is_child, ..Claim::default() };
        if is_child {
            claim.parent = behind(object.get("vh_parent_vs_ref"));
            let hosts = entries(object, "vh_domain_name").iter().filter_map(Value::as_str).map(own);
            let matches = entries(object, "vh_matches").iter().flat_map(matched);
            claim.hosts = hosts.chain(matches).collect();
        }
        // Children are reached by their parents' addresses.
        if !is_child && claim.vsvip.is_none() {
            let vips = entries(object, "vip").iter();
            let texts = vips.flat_map(|vip| ["ip_address", "ip6_address"].map(|name| &vip[name]["addr"]));
            let parsed = texts.filter_map(|text| text.as_str()?.parse::<IpAddr>().ok());
            claim.addresses = parsed.map(|ip| ip.to_canonical()).collect();
        }
        if is_service && !is_child {
            let standard = behind(object.get("network_profile_ref"));
            claim.ports.extend(entries(object, "services").iter().filter_map(|entry| {
                let first = entry["port"].as_u64()?;
                let last = entry["port_range_end"].as_u64().filter(|last| *last != 0).unwrap_or(first);
                let own = behind(entry.get("override_network_profile_ref"));
                let profile = own.or_else(|| standard.clone()).unwrap_or_default();
                Some(Ports { first, last, profile })
            }));
            claim.group = behind(object.get("se_group_ref"));
            claim.is_enabled = object.get("enabled") != Some(&Value::Bool(false));
        }
        Some(Box::new(claim))
    }

    /// The addresses that stand in the object itself.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &IpAddr> {
        self.addresses.iter()
    }
}

/// The group of a service that names none.
pub(crate) fn default_group(now: &Catalogue, cloud: &str) -> String {
    let of_cloud = now.named("serviceenginegroup", DEFAULT_GROUP).find(|group| group.cloud == cloud);
    let any = of_cloud.or_else(|| now.named("serviceenginegroup", DEFAULT_GROUP).next());
    any.map(|group| group.uuid.clone()).unwrap_or_default()
}

/// The objects and one that is about to be among them.
struct Look<'l> {
    now: &'l Catalogue,
    held: &'l Held,
    /// Network profiles of datagrams, as far as they were looked at.
    datagrams: HashMap<String, bool>,
}

/// Says whether an object takes nothing that another one has.
///
/// # Errors
/// What it takes, and who has it as far as the tenant sees that.
//= PLACE-ADDRESS-01
pub(super) fn is_free(
    now: &Catalogue,
    tenant: &Tenant,
    before: Option<&Held>,
    held: &Held,
) -> Result<(), Denied> {
    if held.kind.path == "cluster" {
        return are_controllers(now, tenant, before, held);
    }
    let Some(claim) = &held.claim else { return Ok(()) };
    let had = before
        .filter(|before| (&before.cloud, &before.tenant) == (&held.cloud, &held.tenant))
        .and_then(|before| before.claim.as_deref());
    if had.is_some_and(|had| had == &**claim) {
        return Ok(());
    }
    let mut look = Look { now, held, datagrams: HashMap::new() };
    look.hosts(claim, tenant)?;
    look.addresses(claim, had)?;
    look.ports(claim, tenant)?;
    look.room(claim, had)?;
    look.group(claim, had, tenant)
}

/// Says whether the addresses that go with the Controllers' lead are no service's.
//= CLUSTER-VIP-04
fn are_controllers(
    now: &Catalogue,
    tenant: &Tenant,
    before: Option<&Held>,
    held: &Held,
) -> Result<(), Denied> {
    let had = before.map(|before| virtual_addresses(&before.object())).unwrap_or_default();
    for address in virtual_addresses(&held.object()).difference(&had) {
        let holder = now.at(&address.to_canonical()).find_map(|id| now.get(id.kind, &id.uuid));
        if let Some(holder) = holder {
            let whose = match tenant.sees(holder) {
                true => format!("{} {}", holder.kind.name, holder.name),
                false => "a service that you may not see".to_owned(),
            };
            let field = if address.is_ipv4() { "virtual_ip" } else { "virtual_ip6" };
            let reason = format!("{address} is an address of {whose}");
            return Err(wrong(field, reason, "name one at which no service is: engines answer for that one"));
        }
    }
    Ok(())
}

impl<'l> Look<'l> {
    /// Who has these addresses in the cloud of `of`, that one left out. An engine has one network, whatever VRFs are named: the
    /// same address in another one would be listened on beside it.
    fn holders(&self, addresses: &BTreeSet<IpAddr>, of: &'l Held) -> Vec<&'l Held> {
        let ids: BTreeSet<&Id> = addresses.iter().flat_map(|address| self.now.at(address)).collect();
        let others = ids.into_iter().filter_map(|id| self.now.get(id.kind, &id.uuid));
        let others = others.filter(|other| other.id() != of.id()).map(|other| &**other);
        others.filter(|other| other.cloud == of.cloud).collect()
    }

    /// The services at the addresses of a VsVip.
    fn services(&self, vsvip: &Id) -> Vec<&'l Held> {
        let by = self.now.referrers(vsvip).filter(|by| by.kind.path == "virtualservice");
        by.filter(|by| by.claim.as_ref().is_some_and(|claim| !claim.is_child)).map(|by| &**by).collect()
    }

    /// A host is one child's of its parent.
    fn hosts(&self, claim: &Claim, tenant: &Tenant) -> Result<(), Denied> {
        let Some(uuid) = &claim.parent else { return Ok(()) };
        let id = Id { kind: "virtualservice", uuid: uuid.clone() };
        for other in self.now.referrers(&id).filter(|other| other.uuid != self.held.uuid) {
            let taken = other.claim.as_ref().and_then(|other| other.hosts.intersection(&claim.hosts).next());
            if let Some(host) = taken {
                let reason = format!("{host} is chosen by {} already", name(other, tenant));
                return Err(wrong("vh_domain_name", reason, "give each name to one child"));
            }
        }
        Ok(())
    }

    fn addresses(&self, claim: &Claim, had: Option<&Claim>) -> Result<(), Denied> {
        let had = had.map(|had| &had.addresses);
        let new = claim.addresses.iter().filter(|address| had.is_none_or(|had| !had.contains(*address)));
        let of_controllers: BTreeSet<IpAddr> =
            self.now.all("cluster").flat_map(|cluster| virtual_addresses(&cluster.object())).collect();
        for address in new {
            //= CLUSTER-VIP-04
            if of_controllers.iter().any(|of| of.to_canonical() == *address) {
                return Err(wrong(
                    "vip",
                    format!("{address} is the virtual address of the Controllers"),
                    "give it another one: the Controller that leads has that",
                ));
            }
            let holders = self.holders(&BTreeSet::from([*address]), self.held);
            if holders.iter().any(|other| other.tenant != self.held.tenant) {
                return Err(wrong(
                    "vip",
                    format!("{address} is an address of another tenant in this cloud"),
                    "give it an address of your own: engines know no VRFs yet",
                ));
            }
        }
        Ok(())
    }

    fn ports(&mut self, claim: &Claim, tenant: &Tenant) -> Result<(), Denied> {
        let own: Vec<&Held> = match self.held.kind.path {
            "vsvip" => self.services(&self.held.id()),
            _ => vec![self.held],
        };
        let shared = claim.vsvip.as_ref().map(|uuid| Id { kind: "vsvip", uuid: uuid.clone() });
        let stands = shared.as_ref().and_then(|id| self.now.get(id.kind, &id.uuid)).map(|held| &**held);
        let (addresses, place) = match stands {
            Some(vsvip) => (vsvip.claim.as_ref().map_or(&claim.addresses, |claim| &claim.addresses), vsvip),
            None => (&claim.addresses, self.held),
        };
        if own.is_empty() || addresses.is_empty() && shared.is_none() {
            return Ok(());
        }
        let mut others: Vec<&Held> = Vec::new();
        for holder in self.holders(addresses, place) {
            match holder.kind.path {
                "vsvip" => others.extend(self.services(&holder.id())),
                _ => others.push(holder),
            }
        }
        others.extend(shared.iter().flat_map(|id| self.services(id)));
        others.retain(|other| other.id() != self.held.id());
        let mut taken: Vec<(Range, &Held)> = Vec::new();
        for other in others {
            taken.extend(self.ranges(other).into_iter().map(|range| (range, other)));
        }
        taken.sort_by_key(|(range, _)| *range);
        // Up to each one the range that reaches farthest: those of older versions may overlap.
        let mut farthest: Vec<usize> = Vec::with_capacity(taken.len());
        for (at, ((kind, _, last), _)) in taken.iter().enumerate() {
            let best = farthest.last().copied();
            let best = best.filter(|best| taken[*best].0.0 == *kind && taken[*best].0.2 >= *last);
            farthest.push(best.unwrap_or(at));
        }
        for service in own {
            for (kind, first, last) in self.ranges(service) {
                let behind = taken.partition_point(|((other, from, _), _)| (*other, *from) <= (kind, last));
                let Some(best) = behind.checked_sub(1).map(|at| farthest[at]) else { continue };
                let ((other, from, to), holder) = taken[best];
                if other == kind && to >= first {
                    return Err(in_use(first.max(from), holder, tenant));
                }
            }
        }
        Ok(())
    }

    fn ranges(&mut self, service: &Held) -> Vec<Range> {
        let Some(claim) = &service.claim else { return Vec::new() };
        claim.ports.iter().map(|ports| (self.is_udp(&ports.profile), ports.first, ports.last)).collect()
    }

    fn is_udp(&mut self, profile: &str) -> bool {
        if let Some(known) = self.datagrams.get(profile) {
            return *known;
        }
        let object = self.now.get("networkprofile", profile).map(|held| held.object()).unwrap_or_default();
        let kind = object.get("profile").and_then(|profile| profile["type"].as_str());
        let is_udp = kind.is_some_and(|kind| kind.starts_with("PROTOCOL_TYPE_UDP"));
        self.datagrams.insert(profile.to_owned(), is_udp);
        is_udp
    }

    /// Services that share addresses fit on one engine together.
    //= PLACE-GROUP-02
    fn room(&self, claim: &Claim, had: Option<&Claim>) -> Result<(), Denied> {
        let is_as_before = had.is_some_and(|had| (&had.vsvip, &had.group) == (&claim.vsvip, &claim.group));
        let Some(vsvip) = claim.vsvip.as_ref().filter(|_| !claim.is_child && !is_as_before) else {
            return Ok(());
        };
        if self.held.kind.path != "virtualservice" {
            return Ok(());
        }
        let standard = default_group(self.now, &self.held.cloud);
        let group = self.now.get("serviceenginegroup", claim.group.as_ref().unwrap_or(&standard));
        let object = group.map(|group| group.object()).unwrap_or_default();
        let most = object.get("max_vs_per_se").and_then(Value::as_u64).unwrap_or(SERVICES_MAX);
        let id = Id { kind: "vsvip", uuid: vsvip.clone() };
        let others = self.services(&id).into_iter().filter(|other| other.uuid != self.held.uuid).count();
        if u64::try_from(others).is_ok_and(|others| others < most) {
            return Ok(());
        }
        let name = group.map_or("that it names", |group| group.name.as_str());
        Err(wrong(
            "vsvip_ref",
            format!(
                "{others} virtual services have these addresses, and are on the same engines: max_vs_per_se of the group \
                 {name} is {most}"
            ),
            "give it addresses of its own, or raise max_vs_per_se",
        ))
    }

    /// Services that share addresses are on the same engines.
    //= PLACE-GROUP-01
    fn group(&self, claim: &Claim, had: Option<&Claim>, tenant: &Tenant) -> Result<(), Denied> {
        let same = |had: &Claim| {
            (&had.vsvip, &had.group, had.is_enabled) == (&claim.vsvip, &claim.group, claim.is_enabled)
        };
        let Some(vsvip) = claim.vsvip.as_ref().filter(|_| claim.is_enabled && !had.is_some_and(same)) else {
            return Ok(());
        };
        let standard = default_group(self.now, &self.held.cloud);
        let group = claim.group.as_ref().unwrap_or(&standard);
        let id = Id { kind: "vsvip", uuid: vsvip.clone() };
        let other =
            self.services(&id).into_iter().filter(|other| other.uuid != self.held.uuid).find(|other| {
                let claim = other.claim.as_ref().filter(|claim| claim.is_enabled);
                claim.is_some_and(|claim| claim.group.as_ref().unwrap_or(&standard) != group)
            });
        match other {
            None => Ok(()),
            Some(other) => Err(wrong(
                "se_group_ref",
                format!("{} has the same addresses, and another group of engines", name(other, tenant)),
                "name the same group, or give it addresses of its own; to move all of them, disable them first",
            )),
        }
    }
}

fn wrong(path: &str, reason: String, fix: &str) -> Denied {
    Denied::Wrong(vec![Problem { line: None, path: path.to_owned(), reason, fix: fix.to_owned() }])
}

fn in_use(port: u64, holder: &Held, tenant: &Tenant) -> Denied {
    let reason = format!("port {port} of its address is in use by {}", name(holder, tenant));
    wrong("services", reason, "choose another port, or another address")
}

fn name(held: &Held, tenant: &Tenant) -> String {
    match tenant.sees(held) {
        true => format!("VirtualService {}", held.name),
        false => "a virtual service that you may not see".to_owned(),
    }
}

//! An engine becomes a member.

use forebay_model::kind;
use forebay_wire::limits::PATIENCE;
use forebay_wire::proto::{Enrolled, Enrollment, Interface, Machine};
use serde_json::{Value, json};
use tonic::Status;

use super::tokens::{self, Bad};
use crate::api::App;
use crate::engines::{KIND, group_name, secret};
use crate::objects::{Denied, Tenant};
use crate::store::{Refusal, Store};

/// The longest name that an engine may ask for, characters.
const NAME_MAX: usize = 128;
/// Interfaces that an object has at most.
const INTERFACES_MAX: usize = 256;

/// For a token, a certificate; the engine's object is made.
//= CHAN-ENROLL-01
pub async fn enroll<S: Store>(app: &App<S>, asked: Enrollment) -> Result<Enrolled, Status> {
    let grant =
        tokens::take(&app.store, &asked.secret, &asked.public_key).await.map_err(|bad| match bad {
            Bad::Unknown => {
                Status::permission_denied("the token is unknown or over: make a new one (POST /api/se-token)")
            }
            Bad::Used => {
                Status::permission_denied("the token was used already: make a new one (POST /api/se-token)")
            }
            Bad::Store(refusal) => unavailable(&refusal),
        })?;
    let slot = app.members.enter(&app.store, &grant.engine, &grant.group).await;
    let slot = slot.map_err(|refusal| match refusal {
        Refusal::TooLarge(why) => Status::resource_exhausted(why),
        refusal => unavailable(&refusal),
    })?;
    let made = answer(app, &grant.engine, &grant.group, slot, &asked.public_key).await?;
    let kind = kind(KIND).ok_or_else(|| Status::internal("there is no kind of engines"))?;
    let tenant = Tenant { uuid: grant.tenant.clone(), ..Tenant::admin() };
    if app.objects.now().get(KIND, &grant.engine).is_none() {
        let name = name(&asked.name, &grant.engine);
        let mut sent = json!({
            "uuid": grant.engine,
            "name": name,
            "se_group_ref": format!("/api/serviceenginegroup/{}", grant.group),
            "controller_created": false,
        });
        if let Some(machine) = &asked.machine {
            sent["data_vnics"] = interfaces(machine);
            sent["resources"] = resources(machine);
        }
        let sent = sent.as_object().cloned().unwrap_or_default();
        match app.objects.create(kind, &sent, &tenant).await {
            Ok(_) => {}
            // Another engine has the name: this one gets one of its own.
            Err(Denied::Taken(_)) => {
                let mut sent = sent;
                sent.insert("name".to_owned(), Value::from(grant.engine.clone()));
                app.objects.create(kind, &sent, &tenant).await.map_err(unmade)?;
            }
            Err(denied) => return Err(unmade(denied)),
        }
    }
    // The certificate is good for nothing before the engine is known.
    let mut follows = app.engines.follow();
    let known = async {
        while app.engines.get(&grant.engine).is_none() {
            if follows.changed().await.is_err() {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(PATIENCE / 2, known).await;
    app.engines.seated(&grant.engine, &grant.group, slot);
    tracing::info!(
        event = "ENGINE_ENROLLED",
        engine = grant.engine,
        group = grant.group,
        slot,
        "an engine joined"
    );
    Ok(made)
}

/// A new certificate for an engine that has one, by the group that it is in now.
//= CHAN-ENROLL-03
pub async fn renew<S: Store>(app: &App<S>, uuid: &str, public_key: &[u8]) -> Result<Enrolled, Status> {
    let engine = app.engines.get(uuid).ok_or_else(|| Status::permission_denied("there is no such engine"))?;
    let slot = app.members.enter(&app.store, uuid, &engine.group).await;
    let slot = slot.map_err(|refusal| unavailable(&refusal))?;
    app.engines.seated(uuid, &engine.group, slot);
    let made = answer(app, uuid, &engine.group, slot, public_key).await?;
    tracing::info!(event = "ENGINE_RENEWED", engine = uuid, slot, "an engine has a new certificate");
    Ok(made)
}

async fn answer<S: Store>(
    app: &App<S>,
    uuid: &str,
    group: &str,
    slot: u8,
    public_key: &[u8],
) -> Result<Enrolled, Status> {
    let name = group_name(group);
    let member = format!("se-{slot}.{name}.forebay.internal");
    let issued = app.authority.issue(uuid, member, public_key).map_err(Status::invalid_argument)?;
    let group_secret =
        secret(&app.store, app.objects.seal(), group).await.map_err(|refusal| unavailable(&refusal))?;
    Ok(Enrolled {
        engine: uuid.to_owned(),
        certificate: issued.certificate,
        authority: issued.authority,
        group: name,
        slot: slot.into(),
        group_secret,
    })
}

fn unavailable(refusal: &Refusal) -> Status {
    Status::unavailable(refusal.to_string())
}

fn unmade(denied: Denied) -> Status {
    match denied {
        Denied::Store(refusal) => unavailable(&refusal),
        other => Status::failed_precondition(format!("the engine's object cannot be made: {other:?}")),
    }
}

/// What the engine is called: what it asks for, if that is a name.
fn name(asked: &str, uuid: &str) -> String {
    let is_name =
        !asked.trim().is_empty() && asked.chars().count() <= NAME_MAX && !asked.chars().any(char::is_control);
    if is_name { asked.to_owned() } else { uuid.to_owned() }
}

/// Interfaces in the form of the API, those that lead nowhere else left out.
fn interfaces(machine: &Machine) -> Value {
    let mut seen = std::collections::BTreeSet::new();
    let shown = |interface: &Interface| {
        let networks: Vec<Value> = interface.networks.iter().filter_map(network).collect();
        json!({
            "if_name": interface.name, "linux_name": interface.name, "mac_address": interface.mac,
            "connected": true, "link_up": interface.is_up, "mtu": interface.mtu, "vnic_networks": networks,
        })
    };
    // Interfaces that are bundled share an address, by which the API tells them apart: the first one stands for them.
    let is_its_own = |interface: &&Interface| {
        !interface.is_loopback && !interface.mac.is_empty() && seen.insert(interface.mac.clone())
    };
    machine.interfaces.iter().filter(is_its_own).take(INTERFACES_MAX).map(shown).collect()
}

fn network(network: &forebay_wire::proto::Network) -> Option<Value> {
    let address = super::told::address(&network.address)?;
    let kind = if address.is_ipv4() { "V4" } else { "V6" };
    Some(json!({
        "ip": {"ip_addr": {"addr": address.to_string(), "type": kind}, "mask": network.prefix_length},
        "mode": "STATIC",
    }))
}

fn resources(machine: &Machine) -> Value {
    json!({
        "num_vcpus": machine.cores,
        "memory": machine.memory_bytes >> 20,
        "disk": 0,
    })
}

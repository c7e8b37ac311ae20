//! What children say of how they are served, where it is not what their parent says: profiles of their hosts.

use std::collections::BTreeSet;

use forebay_snapshot::hosts::OwnHosts;
use forebay_snapshot::limits::{HOST_TLS_PROFILES_MAX, SNI_NAMES_MAX};
use toml::Value;

use super::super::cx::{Cx, Making};
use super::super::place::Held;
use super::super::service::Listener;
use super::super::table::Part;
use super::super::{http, tls};
use super::hosts::Conditions;
use super::{Child, trace};

/// What of a profile counts before it is known which host a request is for.
const BEFORE_THE_HOST: &[&str] = &[
    "keepalive_timeout",
    "client_header_timeout",
    "max_keepalive_requests",
    "client_max_header_size",
    "client_max_request_size",
    "max_header_count",
];

impl Child {
    /// Its own application profile, where it has one of requests: by it its rules are made as well.
    pub fn application(&self, cx: &Cx<'_>, from: &mut Making, listener: &Listener) -> Option<Held> {
        let field = "application_profile_ref";
        let uuid = self.held.view().refers(field).filter(|uuid| *uuid != listener.application.uuid)?;
        let profile = cx.follow(from, &self.held, field, "applicationprofile", &uuid)?;
        if profile.view().text("type") != "APPLICATION_PROFILE_TYPE_HTTP" {
            from.idle(&self.held, field, "a child speaks as its parent does", "choose one of HTTP");
            return None;
        }
        Some(profile)
    }

    /// The hosts of which all requests are its own, whatever their path.
    pub fn own_hosts<'c>(&self, children: impl Iterator<Item = &'c Child> + Clone) -> Vec<&str> {
        let is_own = |host: &&str| {
            let mut others = children.clone().filter(|other| other.held.uuid != self.held.uuid);
            !others.any(|other| other.hosts().any(|theirs| theirs == *host))
        };
        self.whole_hosts().filter(|host| is_own(host) && OwnHosts::is_name(host)).collect()
    }
}

/// Hosts of children with profiles of their own. `answer_ms`: how long servers of the parent may take; `secured`: its TLS
/// profile, where its clients speak TLS.
//= COMPILE-CHILD-03
pub(in super::super) fn own(
    cx: &mut Cx<'_>,
    making: &mut Making,
    children: &[Child],
    (whole, answer_ms, secured): (&Listener, Option<i64>, Option<&str>),
) -> Vec<Value> {
    let mut entries = Vec::new();
    let mut profiles = BTreeSet::new();
    let mut room = SNI_NAMES_MAX;
    for child in children.iter().filter(|child| !child.is_shut && child.is_at(whole)) {
        let mut from = Making::new(String::new(), &child.held);
        let application = child.application(cx, &mut from, whole);
        let own_ms = answer(cx, child);
        let profile = secured.and_then(|parents| {
            let uuid = child.held.view().refers("ssl_profile_ref").filter(|uuid| uuid != parents)?;
            cx.follow(&mut from, &child.held, "ssl_profile_ref", "sslprofile", &uuid)
        });
        let mut fields: Vec<&str> = Vec::new();
        fields.extend(application.as_ref().map(|_| "application_profile_ref"));
        fields.extend(profile.as_ref().map(|_| "ssl_profile_ref"));
        let speaks_so = application.is_some() || own_ms != answer_ms;
        let hosts = child.own_hosts(children.iter());
        if hosts.is_empty() || hosts.len() > room {
            for field in fields {
                let reason = match hosts.is_empty() {
                    true => "it has no host alone: what is chosen by a path speaks as its parent does",
                    false => "its parent has more hosts than an engine keeps profiles for",
                };
                from.idle(&child.held, field, reason, "set it in the parent");
            }
            trace(cx, &child.held.uuid, from);
            continue;
        }
        let mut entry = Part::default();
        entry.set_list("names", hosts.iter().copied());
        if speaks_so {
            if let Some(profile) = &application {
                before_the_host(&mut from, profile, &whole.application);
            }
            let application = application.unwrap_or_else(|| whole.application.again());
            let own = whole.by(format!("{}/{}", whole.name, child.held.uuid), application);
            http::profile(cx, &mut from, &own, own_ms);
            entry.set("http_profile", own.name.as_str());
        }
        let mut has_profile = false;
        if let Some(profile) = profile {
            let (name, lives) = tls::of_host(cx, &mut from, &profile, whole);
            has_profile = profiles.contains(&name) || profiles.len() < HOST_TLS_PROFILES_MAX;
            if has_profile {
                entry.set("tls_profile", name.as_str());
                making.has_tickets |= lives && !tls::asks(&whole.application);
                profiles.insert(name);
            } else {
                let reason = format!(
                    "children of its parent have {HOST_TLS_PROFILES_MAX} other ones, and an engine has room for no more"
                );
                from.idle(&child.held, "ssl_profile_ref", reason, "give some children a parent of their own");
            }
        }
        if speaks_so || has_profile {
            room -= hosts.len();
            entries.push(Value::from(entry));
            making.needs.extend(from.needs.iter().cloned());
        }
        trace(cx, &child.held.uuid, from);
    }
    entries
}

/// How long a server of its pool may take, milliseconds, where that says so.
fn answer(cx: &Cx<'_>, child: &Child) -> Option<i64> {
    let pool = cx.get("pool", &child.held.view().refers("pool_ref")?)?;
    pool.view().int("server_timeout").filter(|ms| *ms != 0)
}

/// Says what of a child's profile is the parent's all the same.
fn before_the_host(from: &mut Making, profile: &Held, parents: &Held) {
    let (own, whole) = (profile.view().part("http_profile"), parents.view().part("http_profile"));
    let reason =
        "it counts before it is known which child a request is for: that of the parent's profile holds";
    for name in BEFORE_THE_HOST.iter().filter(|name| own.int(name) != whole.int(name)) {
        from.idle(profile, &format!("http_profile.{name}"), reason, "set it in the profile of the parent");
    }
}

/// Whether a profile sends those to TLS who come without.
fn sends_to_tls(profile: &Held) -> bool {
    profile.view().part("http_profile").is_on("http_to_https")
}

/// The rule by which a child's clients come by TLS, where its own profile says so and its parent has ports with TLS.
pub(super) fn to_tls(
    cx: &mut Cx<'_>,
    from: &mut Making,
    child: &Child,
    hosts: &[&str],
    own: &Listener,
) -> Option<Value> {
    sends_to_tls(&own.application).then(|| {
        let name = format!("{}/{}/tls", own.name, child.held.uuid);
        let mut conditions = Conditions { cx, making: from, held: &child.held, name };
        redirect(&child.held.uuid, conditions.on(hosts.iter().copied(), false))
    })
}

/// The rule by which the clients of all others come by TLS, where some children's profiles do not ask for it and the parent's
/// does; `None`: all are to come so, or nobody.
pub(in super::super) fn others_to_tls(
    cx: &mut Cx<'_>,
    making: &mut Making,
    parent: &Held,
    (children, whole): (&[Child], &Listener),
) -> Option<Value> {
    let mut left: Vec<&str> = Vec::new();
    for child in children.iter().filter(|child| !child.is_shut && child.is_at(whole)) {
        let mut aside = Making::new(String::new(), &child.held);
        if child.application(cx, &mut aside, whole).is_some_and(|profile| !sends_to_tls(&profile)) {
            left.extend(child.own_hosts(children.iter()));
        }
    }
    if left.is_empty() || !sends_to_tls(&whole.application) {
        return None;
    }
    let mut conditions = Conditions { cx, making, held: parent, name: format!("{}/tls", whole.name) };
    Some(redirect(&parent.uuid, conditions.on(left.into_iter(), true)))
}

/// As the engine's own setting does.
fn redirect(uuid: &str, host: Value) -> Value {
    let to = Part::default().with("status", 308).with("scheme", "https");
    let mut rule = Part::named(&format!("{uuid} http_to_https"));
    rule.set("when", Part::default().with("host", host));
    rule.set_list("then", [Part::default().with("redirect", to)]);
    rule.into()
}

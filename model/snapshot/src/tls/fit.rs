//! What does not fit between services, their certificates and their profiles.

use std::collections::BTreeMap;

use super::{ClientCertificateMode, KeyGroup, TlsProfile, TlsVersion};
use crate::Snapshot;
use crate::ignored::report;
use crate::limits;
use crate::read::{Reader, printable};
use crate::service::{Protocol, VirtualService};

/// What does not fit between services, their certificates and their profiles.
//= TLS-CHECK-01
pub(crate) fn find(reader: &mut Reader, snapshot: &Snapshot) {
    super::clients::find(reader, snapshot);
    super::strict::find(reader, snapshot);
    if snapshot.ticket_key.len() > limits::TICKET_KEYS_MAX {
        let (got, max) = (snapshot.ticket_key.len(), limits::TICKET_KEYS_MAX);
        report(reader, "ticket_key", &format!("{got} keys, at most {max} are taken"), "remove the oldest");
    }
    let is_used = |service: &VirtualService| !service.certificates.is_empty();
    if !snapshot.ticket_key.is_empty() && !snapshot.virtual_service.iter().any(is_used) {
        let fix = "give a service certificates, or remove it";
        report(reader, "ticket_key[0]", "no service's clients speak TLS", fix);
    } else if !snapshot.ticket_key.is_empty() {
        let has_sessions = |service: &VirtualService| {
            let of_hosts = service.hosts.iter().filter_map(|own| own.tls_profile.as_ref());
            of_hosts.chain([&service.tls_profile]).any(|name| {
                let profile = snapshot.tls_profile.iter().find(|profile| profile.name == *name);
                // A profile that is not there is a problem of its own.
                profile.is_none_or(|profile| profile.session_lifetime_s != 0)
            })
        };
        if !snapshot.virtual_service.iter().filter(|service| is_used(service)).any(has_sessions) {
            let reason = "no service has tickets: session_lifetime_s = 0 in the tls_profile of each";
            report(reader, "ticket_key[0]", reason, "raise session_lifetime_s, or remove the key");
        }
    }
    for (index, profile) in snapshot.tls_profile.iter().enumerate() {
        judge(reader, &format!("tls_profile[{index}]"), profile);
    }
    for (index, service) in snapshot.virtual_service.iter().enumerate() {
        let at = format!("virtual_service[{index}]");
        let list = format!("{at}.certificates");
        if service.certificates.is_empty() {
            let is_passed_on = !service.sni_routes.is_empty();
            if service.tls_profile != "default" && !is_passed_on && !reader.is_bad_within(&list) {
                let fix = "name a [[certificate]] in certificates, or remove it";
                report(reader, &format!("{at}.tls_profile"), "the service's clients speak no TLS", fix);
            }
            continue;
        }
        early(reader, snapshot, service, &at);
        if service.certificates.len() > limits::SERVICE_CERTIFICATES_MAX {
            let (got, max) = (service.certificates.len(), limits::SERVICE_CERTIFICATES_MAX);
            report(
                reader,
                &list,
                &format!("{got} certificates, at most {max} are taken"),
                "split the service",
            );
        }
        if service.protocol == Protocol::Udp {
            let fix = "set protocol = \"http\" or \"tcp\", or remove it";
            report(reader, &list, "TLS needs a stream of bytes, and datagrams are none", fix);
        }
        let mut seen = BTreeMap::new();
        for (n, name) in service.certificates.iter().enumerate() {
            let path = format!("{list}[{n}]");
            if let Some(first) = seen.insert(name.as_str(), n) {
                let reason = format!("\"{}\" is {list}[{first}] already", printable(name));
                report(reader, &path, &reason, "remove one of the two");
            }
        }
    }
}

/// Early data where there can be none.
//= TLS-EARLY-CHECK-01
fn early(reader: &mut Reader, snapshot: &Snapshot, service: &VirtualService, at: &str) {
    early_by(reader, snapshot, service, (&service.tls_profile, &format!("{at}.tls_profile")));
    for (n, own) in service.hosts.iter().enumerate() {
        if let Some(name) = &own.tls_profile {
            early_by(reader, snapshot, service, (name, &format!("{at}.hosts[{n}].tls_profile")));
        }
    }
}

/// The same of one of its profiles, which is named at a place.
fn early_by(reader: &mut Reader, snapshot: &Snapshot, service: &VirtualService, (name, at): (&str, &str)) {
    let profile = snapshot.tls_profile.iter().find(|profile| profile.name == name);
    if !profile.is_some_and(|profile| profile.early_data) {
        return;
    }
    let fix = "name a profile without early_data";
    if service.protocol == Protocol::Tcp {
        let reason =
            "it takes early data, which may come twice, and a server of a TCP service cannot be told";
        report(reader, at, reason, fix);
    }
    if service.client_certificate.mode != ClientCertificateMode::None {
        let reason =
            "it takes early data, and where clients are asked for certificates no session is gone on with";
        report(reader, at, reason, fix);
    }
}

//= TLS-CHECK-01
fn judge(reader: &mut Reader, at: &str, profile: &TlsProfile) {
    let (low, high) = (profile.min_version, profile.max_version);
    if low > high {
        let reason = format!("it is above max_version = \"{high}\"");
        report(reader, &format!("{at}.min_version"), &reason, "lower it, or raise max_version");
        return;
    }
    //= TLS-EARLY-CHECK-01
    if profile.early_data && high < TlsVersion::V13 {
        let reason = "only TLS 1.3 has early data, and the profile does not speak it";
        report(reader, &format!("{at}.early_data"), reason, "remove it, or raise max_version");
    } else if profile.early_data && profile.session_lifetime_s == 0 {
        let reason = "early data goes with sessions, and session_lifetime_s is 0";
        report(reader, &format!("{at}.early_data"), reason, "remove it, or raise session_lifetime_s");
    }
    let spoken = |version: TlsVersion| low <= version && version <= high;
    let mut seen = Vec::new();
    for (n, suite) in profile.cipher_suites.iter().enumerate() {
        let path = format!("{at}.cipher_suites[{n}]");
        if !spoken(suite.version()) {
            let reason = format!("it belongs to TLS {}, which the profile does not speak", suite.version());
            report(reader, &path, &reason, "remove it");
        } else if seen.contains(suite) {
            report(reader, &path, "it stands in the list already", "remove it");
        }
        seen.push(*suite);
    }
    for version in [TlsVersion::V12, TlsVersion::V13].into_iter().filter(|version| spoken(*version)) {
        let has = profile.cipher_suites.iter().any(|suite| suite.version() == version);
        if !profile.cipher_suites.is_empty() && !has && !reader.is_bad_within(&format!("{at}.cipher_suites"))
        {
            let reason = format!("none of them belongs to TLS {version}, which the profile speaks");
            let fix = "add one, or speak the other version only (min_version, max_version)";
            report(reader, &format!("{at}.cipher_suites"), &reason, fix);
        }
    }
    let mut seen = Vec::new();
    for (n, group) in profile.groups.iter().enumerate() {
        if seen.contains(group) {
            report(reader, &format!("{at}.groups[{n}]"), "it stands in the list already", "remove it");
        }
        seen.push(*group);
    }
    let unread = reader.is_bad_within(&format!("{at}.groups"));
    if profile.groups == [KeyGroup::X25519MlKem768] && low == TlsVersion::V12 && !unread {
        let reason = "TLS 1.2, which the profile speaks, has none of them";
        report(reader, &format!("{at}.groups"), reason, "add \"x25519\", or set min_version = \"1.3\"");
    }
}

//! Clients who are to come by TLS only: what does not fit there.

use crate::Snapshot;
use crate::ignored::report;
use crate::profile::HttpProfile;
use crate::read::Reader;
use crate::service::{Protocol, VirtualService};

/// Days that browsers demand of a host which is to be on their list.
const PRELOAD_DAYS: u32 = 365;

//= TLS-HTTPS-02
pub(super) fn find(reader: &mut Reader, snapshot: &Snapshot) {
    for (index, service) in snapshot.virtual_service.iter().enumerate() {
        redirects(reader, &format!("virtual_service[{index}].http_to_https"), service);
    }
    for (index, profile) in snapshot.http_profile.iter().enumerate() {
        let at = format!("http_profile[{index}]");
        strict(reader, &at, profile);
        let secured = |service: &VirtualService| {
            let of_hosts = || service.hosts.iter().filter_map(|own| own.http_profile.as_ref());
            !service.certificates.is_empty()
                && (service.http_profile == profile.name || of_hosts().any(|name| *name == profile.name))
        };
        if profile.hsts_enabled && !snapshot.virtual_service.iter().any(secured) {
            let reason = "it is said over TLS only, and no service with this profile has certificates";
            let fix = "name it in a service with certificates, or remove it";
            report(reader, &format!("{at}.hsts_enabled"), reason, fix);
        }
    }
}

fn redirects(reader: &mut Reader, path: &str, service: &VirtualService) {
    if !service.http_to_https {
        return;
    }
    if service.protocol != Protocol::Http {
        let reason = format!("protocol = \"{}\" has no requests", service.protocol);
        report(reader, path, &reason, "set protocol = \"http\", or remove it");
    } else if !service.certificates.is_empty() {
        let reason = "its clients speak TLS already: they would be redirected for ever";
        report(reader, path, reason, "set it for the service of the port without TLS");
    }
}

fn strict(reader: &mut Reader, at: &str, profile: &HttpProfile) {
    let default = HttpProfile::default();
    let idle = [
        ("hsts_max_age_days", profile.hsts_max_age_days != default.hsts_max_age_days),
        ("hsts_subdomains_enabled", profile.hsts_subdomains_enabled != default.hsts_subdomains_enabled),
        ("hsts_preload", profile.hsts_preload),
    ];
    for (key, is_set) in idle {
        if is_set && !profile.hsts_enabled && !reader.is_bad(&format!("{at}.hsts_enabled")) {
            let fix = "set hsts_enabled = true, or remove it";
            report(reader, &format!("{at}.{key}"), "clients are told nothing of it", fix);
        }
    }
    let is_kept = profile.hsts_max_age_days >= PRELOAD_DAYS && profile.hsts_subdomains_enabled;
    if profile.hsts_enabled && profile.hsts_preload && !is_kept {
        let reason =
            "browsers take no host onto their list for less than 365 days, or without the names below it";
        let fix = "set hsts_max_age_days = 365 or more and hsts_subdomains_enabled = true, or remove it";
        report(reader, &format!("{at}.hsts_preload"), reason, fix);
    }
}

//! Pools whose servers speak TLS.

use std::collections::BTreeSet;

use crate::ignored::{reach, report};
use crate::read::{Reader, printable, section};
use crate::rules;
use crate::service::Protocol;
use crate::tls::TlsProfile;
use crate::{Problem, Snapshot};

section! {
    /// How connections to a pool's servers are secured.
    pub struct PoolTls {
        /// The `[[tls_profile]]` with versions, cipher suites and groups, and with the time for which a session goes on; `default` needs no section of its own. A handshake is part of the time for connecting. Avi: `ssl_profile_ref`.
        tls_profile: String = "default".to_owned();
        /// The authorities that may have signed the servers' certificates, a file in PEM form; a relative path counts from the configuration's folder. Avi: `pki_profile_ref`.
        ca_file: Option<String> = None, is rules::path_if_given;
        /// Judge the servers' certificates by `ca_file`. `false`: whoever answers is believed, and `check` warns of it.
        verify: bool = true;
        /// Demand that a server's certificate is for the name that it is asked for. Avi: off by default.
        host_check_enabled: bool = true;
        /// Tell a server the name that it is asked for (SNI).
        sni_enabled: bool = true;
        /// The name that servers are asked for; absent: that of the request's `Host`, or, where there is none, the server's own: a host name or its IP address. An address is not told.
        server_name: Option<String> = None, is rules::host_if_given;
        /// The `[[certificate]]` that a server sees that asks for one. Avi: `ssl_key_and_certificate_ref`.
        certificate: Option<String> = None;
    }
}

/// What does not fit in how pools' servers are secured.
//= TLS-SERVER-CHECK-01
pub(crate) fn find(reader: &mut Reader, snapshot: &Snapshot) {
    for (index, pool) in snapshot.pool.iter().enumerate() {
        let Some(tls) = &pool.tls else { continue };
        let at = format!("pool[{index}].tls");
        judging(reader, &at, tls);
        let judged = tls.verify && tls.host_check_enabled;
        if tls.server_name.is_some() && !tls.sni_enabled && !judged {
            let reason = "the name is neither told to a server nor sought in its certificate";
            let fix = "set sni_enabled = true, or remove it";
            report(reader, &format!("{at}.server_name"), reason, fix);
        }
        let udp = snapshot.virtual_service.iter().find(|service| {
            service.protocol == Protocol::Udp && reach(service, snapshot).contains(pool.name.as_str())
        });
        if let Some(udp) = udp {
            let name = printable(&udp.name);
            let reason =
                format!("virtual_service \"{name}\" sends datagrams, and TLS needs a stream of bytes");
            report(reader, &at, &reason, "give that service a pool of its own, or remove it");
        }
    }
    handshake_times(reader, snapshot);
}

/// Whether it is said whom to believe, and no more than that.
//= TLS-SERVER-CHECK-01
fn judging(reader: &mut Reader, at: &str, tls: &PoolTls) {
    if reader.is_bad(&format!("{at}.verify")) {
        return;
    }
    match (tls.verify, &tls.ca_file) {
        (true, None) => {
            let fix = "name a file of authorities (PEM), or set verify = false to believe whoever answers";
            report(reader, &format!("{at}.ca_file"), "nothing says which certificates are believed", fix);
        }
        (false, Some(_)) => {
            let reason = "with verify = false no certificate is judged";
            report(reader, &format!("{at}.ca_file"), reason, "set verify = true, or remove it");
        }
        _ => {}
    }
    if !tls.verify && !tls.host_check_enabled {
        let reason = "with verify = false no certificate is judged, nor its name";
        report(reader, &format!("{at}.host_check_enabled"), reason, "remove it");
    }
}

/// A time that nobody keeps: the handshake with a server is part of the time for connecting to it.
//= TLS-SERVER-CHECK-01
fn handshake_times(reader: &mut Reader, snapshot: &Snapshot) {
    let secured = |profile: &&TlsProfile| {
        snapshot.pool.iter().filter_map(|pool| pool.tls.as_ref()).any(|tls| tls.tls_profile == profile.name)
    };
    let served: BTreeSet<&str> = snapshot
        .virtual_service
        .iter()
        .filter(|service| !service.certificates.is_empty() || !service.sni_routes.is_empty())
        .map(|service| service.tls_profile.as_str())
        .collect();
    for (index, profile) in snapshot.tls_profile.iter().enumerate() {
        let is_set = profile.handshake_timeout_ms != TlsProfile::default().handshake_timeout_ms;
        if profile.early_data && secured(&profile) && !served.contains(profile.name.as_str()) {
            let reason = "only pools go by this profile, and servers are sent nothing early";
            report(reader, &format!("tls_profile[{index}].early_data"), reason, "remove it");
        }
        if is_set && secured(&profile) && !served.contains(profile.name.as_str()) {
            let reason =
                "only pools go by this profile, and a handshake with a server is part of connect_timeout_ms";
            report(reader, &format!("tls_profile[{index}].handshake_timeout_ms"), reason, "remove it");
        }
    }
}

/// What is allowed and still deserves a word: certificates of servers that nobody judges.
pub(crate) fn warnings(snapshot: &Snapshot) -> impl Iterator<Item = Problem> {
    let unjudged = |pool: &&crate::Pool| pool.tls.as_ref().is_some_and(|tls| !tls.verify);
    snapshot.pool.iter().enumerate().filter(move |(_, pool)| unjudged(pool)).map(|(index, pool)| Problem {
        line: None,
        path: format!("pool[{index}].tls.verify"),
        reason: format!(
            "the certificates of the servers of pool \"{}\" are not judged: whoever answers is believed",
            printable(&pool.name)
        ),
        fix: "name a file of authorities in ca_file, and remove verify".to_owned(),
    })
}

//! Persistence by TLS sessions, where a service's clients have none.

use crate::Snapshot;
use crate::ignored::{reach, report};
use crate::persistence::Persistence;
use crate::read::{Reader, printable};
use crate::service::VirtualService;
use crate::tls::ClientCertificateMode;

/// Each service that reaches a pool with such a persistence has to give its clients sessions.
//= TLS-CHECK-03
pub(crate) fn find(reader: &mut Reader, snapshot: &Snapshot) {
    for (index, pool) in snapshot.pool.iter().enumerate() {
        let named = pool.persistence.as_ref();
        let kind = named.and_then(|name| snapshot.persistence.iter().find(|p| p.name() == name));
        if !matches!(kind, Some(Persistence::Tls(_))) {
            continue;
        }
        let reaches = |service: &&VirtualService| reach(service, snapshot).contains(pool.name.as_str());
        let path = format!("pool[{index}].persistence");
        for service in snapshot.virtual_service.iter().filter(reaches) {
            let of = format!("virtual_service \"{}\"", printable(&service.name));
            let profile = snapshot.tls_profile.iter().find(|profile| profile.name == service.tls_profile);
            if service.certificates.is_empty() {
                let fix = "give that service certificates, or another pool";
                report(reader, &path, &format!("the clients of {of} speak no TLS and have no sessions"), fix);
            } else if service.client_certificate.mode != ClientCertificateMode::None {
                let reason = format!("{of} asks its clients for certificates, and gives them no sessions");
                let fix = "give that service another pool, or let the pool know clients by something else";
                report(reader, &path, &reason, fix);
            } else if profile.is_some_and(|profile| profile.session_lifetime_s == 0) {
                let reason =
                    format!("{of} gives its clients no sessions: session_lifetime_s = 0 in its profile");
                report(reader, &path, &reason, "raise session_lifetime_s, or give that service another pool");
            }
        }
    }
}

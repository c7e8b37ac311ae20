//! What the metrics page says of TLS.

use super::page::{View, each_service};
use super::text::{Kind, Page};
use crate::l4::hello::Heard;
use crate::tls::{EarlyData, Unreached, Unshaken};

/// The kinds of [`ServiceMetrics::tls_handshakes`](super::ServiceMetrics), and of a pool's.
const HANDSHAKES: [(&str, &str); 4] =
    [("1.2", "full"), ("1.2", "resumed"), ("1.3", "full"), ("1.3", "resumed")];

/// Handshakes of services whose clients speak TLS.
pub(super) fn handshakes(page: &mut Page, view: &View<'_>) {
    page.family(
        "forebay_tls_handshakes",
        Kind::Counter,
        "",
        "TLS handshakes with clients, by version, in full or resumed.",
    );
    each_service(view, |service| {
        for (place, (version, kind)) in HANDSHAKES.iter().enumerate() {
            let count = service.shared.counts.sum(|s| s.tls_handshakes[place].get());
            page.sample(&[("virtual_service", &service.name), ("version", version), ("kind", kind)], count);
        }
    });
    page.family(
        "forebay_tls_handshake_failures",
        Kind::Counter,
        "",
        "TLS handshakes with clients that failed: late, unbegun (the client left without a byte: it is not logged), gone (the client left later), no_tls, version, nothing_in_common (no cipher suite, group or certificate suits both), alert (the client ended it), malformed, no_certificate, certificate_untrusted, certificate_expired (or not valid yet), certificate_revoked, certificate_unchecked (its authority has no list of revocations, or an old one), certificate_too_deep, certificate_unfit.",
    );
    each_service(view, |service| {
        for (place, why) in Unshaken::ALL.iter().enumerate() {
            let count = service.shared.counts.sum(|s| s.tls_failures[place].get());
            page.sample(&[("virtual_service", &service.name), ("why", why.word())], count);
        }
    });
    early(page, view);
    by_id(page, view);
    stapled(page, view);
    revocations(page, view);
}

/// Requests that came with their client's first message.
//= TLS-EARLY-04
fn early(page: &mut Page, view: &View<'_>) {
    page.family(
        "forebay_tls_early_data",
        Kind::Counter,
        "",
        "Early data of clients (early_data of the service's tls_profile): taken (a client's with its first message), forwarded (a request that went to a server before its client's handshake was over), waited (a request that waited for the end of the handshake), unfinished (that end did not come).",
    );
    each_service(view, |service| {
        for (place, outcome) in EarlyData::ALL.iter().enumerate() {
            let count = service.shared.counts.sum(|s| s.early_data[place].get());
            page.sample(&[("virtual_service", &service.name), ("outcome", outcome.word())], count);
        }
    });
}

/// What authorities say of certificates.
//= TLS-OCSP-02
fn stapled(page: &mut Page, view: &View<'_>) {
    page.family(
        "forebay_tls_ocsp_next_update_seconds",
        Kind::Gauge,
        "",
        "When what its authority says of a certificate (ocsp_file) is too old, in seconds since 1970; clients are shown the certificate without it from then on.",
    );
    each_service(view, |service| {
        let Some(secure) = &service.tls else { return };
        for (certificate, until) in secure.front().stapled() {
            let labels = [("virtual_service", service.name.as_str()), ("certificate", certificate)];
            page.sample(&labels, until.max(0).cast_unsigned());
        }
    });
}

/// What authorities have revoked.
//= TLS-CLIENT-07
fn revocations(page: &mut Page, view: &View<'_>) {
    page.family(
        "forebay_tls_crl_next_update_seconds",
        Kind::Gauge,
        "",
        "When the newest list of revocations of an authority (crl_files of a pki_profile) should have been renewed, in seconds since 1970; from then on its clients are refused unless the profile says otherwise.",
    );
    each_service(view, |service| {
        let Some(secure) = &service.tls else { return };
        for (profile, authority, until) in secure.front().revocation_lists() {
            let labels =
                [("virtual_service", service.name.as_str()), ("pki_profile", profile), ("issuer", authority)];
            page.sample(&labels, until.max(0).cast_unsigned());
        }
    });
}

/// Sessions of clients that take no tickets.
//= TLS-ID-02
fn by_id(page: &mut Page, view: &View<'_>) {
    page.family(
        "forebay_tls_sessions_by_id",
        Kind::Gauge,
        "",
        "Sessions that a service keeps itself: of TLS 1.2 for clients that take no tickets, of all clients where early data is taken.",
    );
    each_service(view, |service| {
        if let Some(secure) = &service.tls {
            page.sample(&[("virtual_service", &service.name)], secure.front().sessions_by_id().0);
        }
    });
    page.family(
        "forebay_tls_sessions_by_id_evicted",
        Kind::Counter,
        "",
        "Such sessions that went before their time because newer ones needed the room.",
    );
    each_service(view, |service| {
        if let Some(secure) = &service.tls {
            page.sample(&[("virtual_service", &service.name)], secure.front().sessions_by_id().1);
        }
    });
}

/// First messages of clients whose TLS is passed on.
pub(super) fn passed_on(page: &mut Page, view: &View<'_>) {
    page.family(
        "forebay_tls_hellos",
        Kind::Counter,
        "",
        "First messages of clients whose TLS is passed on: named (by a route), other_name and no_name (with all others), refused (another name, or none), late, unbegun (the client left without a byte: it is not logged), gone (the client left later), no_tls, malformed, too_long.",
    );
    each_service(view, |service| {
        if service.sni.is_some() {
            for (place, heard) in Heard::ALL.iter().enumerate() {
                let count = service.shared.counts.sum(|s| s.hellos[place].get());
                page.sample(&[("virtual_service", &service.name), ("outcome", heard.word())], count);
            }
        }
    });
}

/// Handshakes with servers of pools that are reached by TLS.
pub(super) fn with_servers(page: &mut Page, view: &View<'_>) {
    let pools = || view.tree.pools.iter().filter(|pool| pool.tls.is_some());
    page.family(
        "forebay_server_tls_handshakes",
        Kind::Counter,
        "",
        "TLS handshakes with servers, by version, in full or resumed.",
    );
    for pool in pools() {
        for (place, (version, kind)) in HANDSHAKES.iter().enumerate() {
            let count = pool.shared.counts.sum(|p| p.tls_handshakes[place].get());
            page.sample(&[("pool", &pool.name), ("version", version), ("kind", kind)], count);
        }
    }
    page.family(
        "forebay_server_tls_handshake_failures",
        Kind::Counter,
        "",
        "TLS handshakes with servers that failed: late, gone (the server left), no_tls, version, nothing_in_common, alert (the server ended it), malformed, unknown_authority, expired, other_name (the certificate is not for the name), certificate (it is no good otherwise), our_certificate (the server wants one of us, or another one), no_name (the request's host is none).",
    );
    for pool in pools() {
        for (place, why) in Unreached::ALL.iter().enumerate() {
            let count = pool.shared.counts.sum(|p| p.tls_failures[place].get());
            page.sample(&[("pool", &pool.name), ("why", why.word())], count);
        }
    }
}

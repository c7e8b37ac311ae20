//! What the metrics page says of TLS.

use super::page::{View, each_service};
use super::text::{Kind, Page};
use crate::tls::Unshaken;

/// The kinds of [`ServiceMetrics::tls_handshakes`](super::ServiceMetrics).
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
        "TLS handshakes with clients that failed: late, unbegun (the client left without a byte: it is not logged), gone (the client left later), no_tls, version, nothing_in_common (no cipher suite, group or certificate suits both), alert (the client ended it), malformed.",
    );
    each_service(view, |service| {
        for (place, why) in Unshaken::ALL.iter().enumerate() {
            let count = service.shared.counts.sum(|s| s.tls_failures[place].get());
            page.sample(&[("virtual_service", &service.name), ("why", why.word())], count);
        }
    });
}

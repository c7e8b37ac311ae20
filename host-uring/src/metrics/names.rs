//! What the metrics page says of the host names of servers.

use super::text::{Kind, Page};

/// What is known of the host names of servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamesView {
    /// Names whose last lookup gave addresses.
    pub resolved: u64,
    /// Names that keep the addresses that they had, because the last lookup failed.
    pub lost: u64,
    /// Names that never had an address.
    pub unresolved: u64,
    /// Lookups that gave addresses.
    pub answered: u64,
    /// Lookups that failed.
    pub failed: u64,
}

/// Writes the families of the names; `left_out` addresses of theirs are no servers.
pub(super) fn write(page: &mut Page, names: &NamesView, left_out: usize) {
    page.family(
        "forebay_server_names",
        Kind::Gauge,
        "",
        "Host names of servers: resolved, lost (the last lookup failed; the addresses before it count on), unresolved (no address ever).",
    );
    for (state, count) in
        [("resolved", names.resolved), ("lost", names.lost), ("unresolved", names.unresolved)]
    {
        page.sample(&[("state", state)], count);
    }
    page.family(
        "forebay_server_name_lookups",
        Kind::Counter,
        "",
        "Lookups of host names of servers by result.",
    );
    for (result, count) in [("answered", names.answered), ("failed", names.failed)] {
        page.sample(&[("result", result)], count);
    }
    page.family(
        "forebay_server_name_addresses_left_out",
        Kind::Gauge,
        "",
        "Addresses of host names that are no servers: another one of the pool is there, the engine itself, or nobody can be.",
    );
    page.sample(&[], left_out as u64);
}

//! What the metrics page says of processes that take over from each other.

use super::text::{Kind, Page};

/// What is known of take-overs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakeoverView {
    /// Times that another process was to take over from this one, was given to, and did not serve.
    pub failed: u64,
    /// Times that one asked which could not be given to.
    pub refused: u64,
    /// Milliseconds that this process took, from asking to serving; 0: it did not take over.
    pub took_ms: u64,
    /// Entries of the persistence tables that it was told until it served, one that changed as often as it did.
    pub entries: u64,
}

/// Writes the families of take-overs.
pub(super) fn write(page: &mut Page, view: &TakeoverView) {
    page.family(
        "forebay_takeovers_failed",
        Kind::Counter,
        "",
        "Times that another process wanted to take over from this one and did not: refused (nothing was begun), failed (it was begun, and this one went on).",
    );
    for (result, count) in [("failed", view.failed), ("refused", view.refused)] {
        page.sample(&[("result", result)], count);
    }
    page.family(
        "forebay_takeover_seconds",
        Kind::Gauge,
        "seconds",
        "How long this process took to take over from another one, from asking to serving; 0 if it was started anew.",
    );
    page.sample_milli(&[], view.took_ms);
    page.family(
        "forebay_takeover_entries",
        Kind::Gauge,
        "",
        "Entries of persistence tables that it was told before it served, with their changes.",
    );
    page.sample(&[], view.entries);
}

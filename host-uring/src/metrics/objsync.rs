//! What the metrics page says of the group whose tables this engine shares.

use super::text::{Kind, Page};

/// What is known of one member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberView {
    /// Its place.
    pub slot: u8,
    /// A connection with it stands.
    pub is_connected: bool,
    /// The tables were compared since, and all that was missing was told.
    pub is_synced: bool,
}

/// What is known of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjsyncView {
    /// The tables are complete, or were waited for long enough.
    pub has_joined: bool,
    /// Connections to the object sync port that were refused, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// The other members.
    pub members: Vec<MemberView>,
}

/// Writes the families of object sync; where the tables are shared with nobody they are empty.
pub(super) fn write(page: &mut Page, view: Option<&ObjsyncView>) {
    page.family(
        "forebay_objsync_joined",
        Kind::Gauge,
        "",
        "1 once the tables are complete or were waited for long enough, and the engine serves.",
    );
    if let Some(view) = view {
        page.sample(&[], u64::from(view.has_joined));
    }
    let members = |page: &mut Page, of: fn(&MemberView) -> bool| {
        for member in view.iter().flat_map(|view| &view.members) {
            page.sample(&[("slot", &member.slot.to_string())], u64::from(of(member)));
        }
    };
    page.family(
        "forebay_objsync_peer_connected",
        Kind::Gauge,
        "",
        "1 while a connection with the member of this slot stands.",
    );
    members(page, |member| member.is_connected);
    page.family(
        "forebay_objsync_peer_synced",
        Kind::Gauge,
        "",
        "1 while the tables have been compared with the member of this slot since it came, and all that was missing was told.",
    );
    members(page, |member| member.is_synced);
    page.family(
        "forebay_objsync_refused",
        Kind::Counter,
        "",
        "Connections to the object sync port that were refused: address (no member calls from there), rate (more than ten tries a second), busy (too many handshakes under way), handshake (no certificate of the group, an expired one, another member's, or silence).",
    );
    for (reason, count) in view.iter().flat_map(|view| &view.refused) {
        page.sample(&[("reason", reason)], *count);
    }
}

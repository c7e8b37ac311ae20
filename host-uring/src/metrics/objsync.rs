//! What the metrics page says of the group whose tables this engine shares.

use forebay_core::units::Now;
use forebay_objsync::{Figures, PeerFigures};

use super::text::{Kind, Page};

/// What is known of one member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberView {
    /// Its place.
    pub slot: u8,
    /// What the engine knows of it.
    pub figures: PeerFigures,
    /// Connections with it that stood.
    pub connections: u64,
    /// Bytes that wait to be sent to it.
    pub queued: u64,
    /// Connections that were ended because too much waited for it.
    pub too_slow: u64,
    /// Tables that it keeps otherwise, or that one of the two has alone.
    pub tables_differ: usize,
    /// When that was.
    pub now: Now,
}

/// What is known of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjsyncView {
    /// The tables are complete, or were waited for long enough.
    pub has_joined: bool,
    /// The thread of object sync has panicked: the tables are shared with nobody until the engine is started anew.
    pub has_failed: bool,
    /// What the engine has counted.
    pub figures: Figures,
    /// Microseconds of processor time for the group.
    pub busy_us: u64,
    /// Connections to the object sync port that were refused, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// The other members.
    pub members: Vec<MemberView>,
}

/// A family with a row for each member: its name, kind, unit and meaning.
type OfMember = (&'static str, Kind, &'static str, &'static str, fn(&PeerFigures) -> u64);

const OF_MEMBERS: [OfMember; 10] = [
    (
        "forebay_objsync_peer_connected",
        Kind::Gauge,
        "",
        "1 while a connection with the member of this slot stands.",
        |peer| u64::from(peer.connected),
    ),
    (
        "forebay_objsync_peer_synced",
        Kind::Gauge,
        "",
        "1 while the tables have been compared with the member of this slot since it came, and all that was missing was told.",
        |peer| u64::from(peer.synced),
    ),
    (
        "forebay_objsync_peer_lag_entries",
        Kind::Gauge,
        "",
        "Changes of this engine that the member has not acknowledged.",
        |peer| peer.behind as u64,
    ),
    (
        "forebay_objsync_peer_cells_differing",
        Kind::Gauge,
        "",
        "Cells, of 65,536 of each table, that differed in the last comparison with the member, or differ in the one under way as far as it has come.",
        |peer| u64::from(peer.differing),
    ),
    (
        "forebay_objsync_peer_comparisons",
        Kind::Counter,
        "",
        "Comparisons of all tables with the member that are through.",
        |peer| peer.rounds,
    ),
    (
        "forebay_objsync_peer_received_bytes",
        Kind::Counter,
        "bytes",
        "Bytes of frames that came from the member.",
        |peer| peer.bytes_in,
    ),
    (
        "forebay_objsync_peer_sent_bytes",
        Kind::Counter,
        "bytes",
        "Bytes of frames that were sent to it.",
        |peer| peer.bytes_out,
    ),
    (
        "forebay_objsync_peer_told",
        Kind::Counter,
        "",
        "Changes of entries that were told to the member.",
        |peer| peer.told,
    ),
    (
        "forebay_objsync_peer_applied",
        Kind::Counter,
        "",
        "Entries of the member that changed something here.",
        |peer| peer.applied,
    ),
    (
        "forebay_objsync_peer_repaired",
        Kind::Counter,
        "",
        "Entries that were sent to the member because a comparison showed that it lacked them.",
        |peer| peer.repaired,
    ),
];

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
    page.family(
        "forebay_objsync_failed",
        Kind::Gauge,
        "",
        "1 once object sync has panicked: the engine serves on and shares its tables with nobody until it is started anew.",
    );
    if let Some(view) = view {
        page.sample(&[], u64::from(view.has_failed));
    }
    let all = || view.iter().flat_map(|view| &view.members);
    page.family(
        "forebay_objsync_peer_tables_differing",
        Kind::Gauge,
        "",
        "Tables that the member keeps otherwise (kind of keys, time-out, servers) or that one of the two has alone.",
    );
    for member in all() {
        page.sample(&[("slot", &member.slot.to_string())], member.tables_differ as u64);
    }
    for (name, kind, unit, about, of) in OF_MEMBERS {
        page.family(name, kind, unit, about);
        for member in all() {
            page.sample(&[("slot", &member.slot.to_string())], of(&member.figures));
        }
    }
    page.family(
        "forebay_objsync_peer_connections",
        Kind::Counter,
        "",
        "Connections with the member that stood.",
    );
    for member in all() {
        page.sample(&[("slot", &member.slot.to_string())], member.connections);
    }
    page.family(
        "forebay_objsync_peer_queued_bytes",
        Kind::Gauge,
        "bytes",
        "Bytes that wait to be sent to the member; 32 MiB for all members together at most.",
    );
    for member in all() {
        page.sample(&[("slot", &member.slot.to_string())], member.queued);
    }
    page.family(
        "forebay_objsync_peer_too_slow",
        Kind::Counter,
        "",
        "Connections with the member that were ended because too much waited for it.",
    );
    for member in all() {
        page.sample(&[("slot", &member.slot.to_string())], member.too_slow);
    }
    let ms = |since: Now, now: Now| now.since(since).0 / 1_000;
    page.family(
        "forebay_objsync_peer_lag_seconds",
        Kind::Gauge,
        "seconds",
        "For how long the oldest change that the member has not acknowledged has waited.",
    );
    for member in all() {
        let lag = member.figures.behind_since.map_or(0, |since| ms(since, member.now));
        page.sample_milli(&[("slot", &member.slot.to_string())], lag);
    }
    page.family(
        "forebay_objsync_peer_proven_age_seconds",
        Kind::Gauge,
        "seconds",
        "How long ago that part of the tables was last found equal to the member's which was so longest ago; absent before every part was.",
    );
    for member in all() {
        if let Some(at) = member.figures.proven {
            page.sample_milli(&[("slot", &member.slot.to_string())], ms(at, member.now));
        }
    }
    page.family(
        "forebay_objsync_entries",
        Kind::Counter,
        "",
        "Entries by what became of them: told (changes that were sent), repaired (sent because a member lacked them), applied (they came and changed something), unknown (they came for a table or server that is not configured here), refused (they came and found no room).",
    );
    if let Some(ObjsyncView { figures, .. }) = view {
        let rows = [
            ("told", figures.told),
            ("repaired", figures.repaired),
            ("applied", figures.applied),
            ("unknown", figures.unknown),
            ("refused", figures.refused),
        ];
        for (what, count) in rows {
            page.sample(&[("what", what)], count);
        }
    }
    page.family(
        "forebay_objsync_cpu_seconds",
        Kind::Counter,
        "seconds",
        "Processor time that object sync took.",
    );
    if let Some(view) = view {
        page.sample_milli(&[], view.busy_us / 1_000);
    }
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

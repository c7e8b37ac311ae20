//! What the metrics page says of the Redis by way of which this engine shares its tables.

use super::text::{Kind, Page};
use crate::sync::redis::MirrorStatus;

/// A family: its name, kind, unit and meaning.
type Family = (&'static str, Kind, &'static str, &'static str, fn(&MirrorStatus) -> u64);

const FAMILIES: [Family; 5] = [
    (
        "forebay_objsync_redis_connected",
        Kind::Gauge,
        "",
        "1 while a connection with the engine's Redis stands and all its entries are there.",
        |redis| u64::from(redis.connected),
    ),
    (
        "forebay_objsync_redis_sessions",
        Kind::Counter,
        "",
        "Connections with the engine's Redis that stood.",
        |redis| redis.sessions,
    ),
    (
        "forebay_objsync_redis_waiting_entries",
        Kind::Gauge,
        "",
        "Entries that wait to be written to the engine's Redis.",
        |redis| redis.waiting,
    ),
    (
        "forebay_objsync_redis_lost",
        Kind::Counter,
        "",
        "How often notes of other engines were lost on the way, and everything was read anew.",
        |redis| redis.lost,
    ),
    (
        "forebay_objsync_redis_others",
        Kind::Gauge,
        "",
        "Other engines of the group that were heard of in the last 15 s by way of the distributor.",
        |redis| redis.others.len() as u64,
    ),
];

/// Writes the families; where the tables are not shared by way of a Redis they are empty.
pub(super) fn write(page: &mut Page, redis: Option<&MirrorStatus>) {
    for (name, kind, unit, about, of) in FAMILIES {
        page.family(name, kind, unit, about);
        if let Some(redis) = redis {
            page.sample(&[], of(redis));
        }
    }
    page.family(
        "forebay_objsync_redis_entries",
        Kind::Counter,
        "",
        "Entries by what became of them by way of Redis: told (changes that were written for the others), applied (they came and changed something), unknown (they came for a table or server that is not configured here), refused (they came and found no room, made no sense, or were made tomorrow).",
    );
    if let Some(redis) = redis {
        let rows = [
            ("told", redis.told),
            ("applied", redis.applied),
            ("unknown", redis.unknown),
            ("refused", redis.refused),
        ];
        for (what, count) in rows {
            page.sample(&[("what", what)], count);
        }
    }
}

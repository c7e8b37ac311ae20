//! What stands where in a Redis, and what a note says.

use forebay_core::table::{EngineSlot, KeyBytes};

/// The keys of a group.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// What every entry's key begins with.
    pub entries: Vec<u8>,
    /// What the engine has changed.
    pub outbox: Vec<u8>,
    /// What others have changed.
    pub inbox: Vec<u8>,
    /// The engine's [`Sign`], while it lives.
    pub session: Vec<u8>,
    /// When the engine was here last: milliseconds since 1970.
    pub seen: Vec<u8>,
}

impl Names {
    /// Those of a group.
    pub fn of(group: &str) -> Self {
        let name = |what: &str| format!("forebay:{group}:{what}").into_bytes();
        Self {
            entries: name("entry:"),
            outbox: name("outbox"),
            inbox: name("inbox"),
            session: name("session"),
            seen: name("seen"),
        }
    }

    /// The key of an entry.
    pub fn entry(&self, table: u64, key: &KeyBytes) -> Vec<u8> {
        [self.entries.as_slice(), &table.to_be_bytes(), &key.0].concat()
    }

    /// The entry whose key it is.
    pub fn entry_of(&self, name: &[u8]) -> Option<(u64, KeyBytes)> {
        let rest = name.strip_prefix(self.entries.as_slice())?;
        let (table, key) = rest.split_first_chunk::<8>()?;
        Some((u64::from_be_bytes(*table), KeyBytes(key.try_into().ok()?)))
    }
}

/// One connection of an engine with its Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Session {
    /// The engine's incarnation: another number after each start.
    pub boot: u64,
    /// Which connection since then.
    pub number: u32,
}

impl Session {
    /// As it stands in Redis.
    pub fn bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.boot.to_le_bytes());
        bytes[8..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    /// What stands there.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (boot, number) = bytes.split_first_chunk::<8>()?;
        Some(Self { boot: u64::from_le_bytes(*boot), number: u32::from_le_bytes(number.try_into().ok()?) })
    }
}

/// Who writes to a Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sign {
    /// The engine's session.
    pub session: Session,
    /// The engine.
    pub slot: EngineSlot,
    /// All its entries are there.
    pub stands: bool,
}

impl Sign {
    /// As it stands in Redis.
    pub fn bytes(self) -> [u8; 14] {
        let mut bytes = [0; 14];
        bytes[..12].copy_from_slice(&self.session.bytes());
        bytes[12..].copy_from_slice(&[self.slot.get(), u8::from(self.stands)]);
        bytes
    }

    /// What stands there.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (session, [slot, stands]) = bytes.split_first_chunk::<12>()? else { return None };
        Some(Self { session: Session::of(session)?, slot: EngineSlot::new(*slot)?, stands: *stands != 0 })
    }
}

/// What a note is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Entries: each with how long it has lain in Redis (milliseconds, `u32`), and a frame of object sync.
    Entries = 1,
    /// The engine lives.
    Alive = 2,
    /// All entries of all others have been told since the receiver began the session in the body.
    Complete = 3,
}

/// Bytes in front of a note's body.
const HEAD: usize = 1 + 1 + 12 + 8 + 8;

/// What stands in outboxes and inboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note<'a> {
    /// What it is.
    pub kind: Kind,
    /// Whose it is.
    pub from: EngineSlot,
    /// The engine's session.
    pub session: Session,
    /// In an inbox: which connection of the distributor wrote it.
    pub link: u64,
    /// The number of the note in this outbox and session, or of this link: from 1, without a gap.
    pub number: u64,
    /// What it says.
    pub body: &'a [u8],
}

impl<'a> Note<'a> {
    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.body.len());
        bytes.push(self.kind as u8);
        bytes.push(self.from.get());
        bytes.extend_from_slice(&self.session.bytes());
        bytes.extend_from_slice(&self.link.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(self.body);
        bytes
    }

    /// What bytes say; `None`: it is no note.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let (head, body) = bytes.split_first_chunk::<HEAD>()?;
        let kind = match head[0] {
            1 => Kind::Entries,
            2 => Kind::Alive,
            3 => Kind::Complete,
            _ => return None,
        };
        let long = |at: usize| head[at..].first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
        Some(Self {
            kind,
            from: EngineSlot::new(head[1])?,
            session: Session::of(&head[2..14])?,
            link: long(14)?,
            number: long(22)?,
            body,
        })
    }
}

/// An entry in Redis: the life that it had left when it was written (milliseconds; all ones: it is open, or never ends), and
/// a frame of object sync.
pub(super) fn value(left_ms: Option<u64>, frame: &[u8]) -> Vec<u8> {
    [&left_ms.unwrap_or(u64::MAX).to_le_bytes(), frame].concat()
}

/// The frame of a value, and how long ago it was written, by the life that Redis says it has left (milliseconds; negative:
/// it has no end).
pub(super) fn read_value(value: &[u8], left_now: i64) -> Option<(u32, &[u8])> {
    let (left, frame) = value.split_first_chunk::<8>()?;
    let left = u64::from_le_bytes(*left);
    let away = match u64::try_from(left_now) {
        Ok(now) if left != u64::MAX => left.saturating_sub(now),
        _ => 0,
    };
    Some((u32::try_from(away).unwrap_or(u32::MAX), frame))
}

/// Adds an entry to the body of a note.
pub(super) fn add(body: &mut Vec<u8>, away_ms: u32, frame: &[u8]) {
    body.extend_from_slice(&away_ms.to_le_bytes());
    body.extend_from_slice(frame);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_and_keys_are_read_as_they_were_written() {
        let session = Session { boot: 77, number: 3 };
        let from = EngineSlot::new(5).expect("below 64");
        let note = Note { kind: Kind::Entries, from, session, link: 9, number: 12, body: b"abc" };
        let bytes = note.bytes();
        assert_eq!(Note::of(&bytes), Some(note));
        for end in 0..HEAD {
            assert_eq!(Note::of(&bytes[..end]), None, "{end}");
        }
        assert_eq!(Note::of(&[&[9], &bytes[1..]].concat()), None, "another kind");
        let names = Names::of("shop");
        let key = KeyBytes([7; 16]);
        assert_eq!(names.entry_of(&names.entry(4, &key)), Some((4, key)));
        assert_eq!(names.entry_of(b"forebay:shop:entry:x"), None);
        assert_eq!(Session::of(&session.bytes()), Some(session));
        for stands in [false, true] {
            let sign = Sign { session, slot: from, stands };
            assert_eq!(Sign::of(&sign.bytes()), Some(sign));
        }
        assert_eq!(Sign::of(&session.bytes()), None);
    }

    #[test]
    fn how_long_an_entry_has_lain_is_told_by_the_life_it_has_left() {
        let written = value(Some(60_000), b"frame");
        assert_eq!(read_value(&written, 45_000), Some((15_000, &b"frame"[..])));
        assert_eq!(read_value(&written, 61_000), Some((0, &b"frame"[..])));
        assert_eq!(read_value(&value(None, b"frame"), -1), Some((0, &b"frame"[..])), "it is open");
    }
}

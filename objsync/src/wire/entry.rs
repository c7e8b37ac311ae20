//! Entries as they travel: what many have in common stands once.

use alloc::vec::Vec;

use forebay_core::table::limits::BIRTH_MAX;
use forebay_core::table::{Class, EngineSlot, KeyBytes, Version};
use serde::{Deserialize, Serialize};

use crate::merge::Entry;

/// The first bytes of the key of an IPv4 address.
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// Milliseconds of one unit of age: what the table can tell apart.
const AGE_UNIT_MS: u64 = 125;

/// Entries of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pack<'a> {
    /// What the group calls the table.
    pub table: u64,
    /// The servers that the entries name.
    servers: Vec<u64>,
    /// The latest stamp and birth; entries say how much earlier theirs are.
    stamp: u64,
    birth: u32,
    #[serde(borrow)]
    rows: Vec<Row<'a>>,
}

/// One entry: 19 bytes for an idle IPv4 client of the last half hour.
//= SYNC-WIRE-04
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Row<'a> {
    /// 4 bytes of an IPv4 address, or all 16.
    key: &'a [u8],
    server: u32,
    /// Origin (6 bits), class (4 bits), tombstone, lasting.
    marks: u16,
    stamp_before: u64,
    birth_before: u32,
    switches: u32,
    open: u64,
    age: u64,
}

const TOMBSTONE: u16 = 1 << 10;
const LASTING: u16 = 1 << 11;

impl Pack<'_> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The entries; `None` for one that cannot be.
    pub fn entries(&self) -> impl Iterator<Item = Option<Entry>> + '_ {
        self.rows.iter().map(|row| self.entry(row))
    }

    fn entry(&self, row: &Row<'_>) -> Option<Entry> {
        let key = match *row.key {
            [a, b, c, d] => {
                let mut key = [0; 16];
                key[..12].copy_from_slice(&MAPPED);
                key[12..].copy_from_slice(&[a, b, c, d]);
                key
            }
            _ => <[u8; 16]>::try_from(row.key).ok()?,
        };
        let class = Class::new((row.marks >> 6 & 0xf) as u8)?;
        let version = Version {
            birth: self.birth.checked_sub(row.birth_before).filter(|birth| *birth <= BIRTH_MAX)?,
            switches: row.switches,
            stamp: self.stamp.checked_sub(row.stamp_before)?,
            origin: EngineSlot::new((row.marks & 0x3f) as u8)?,
        };
        Some(Entry {
            key: KeyBytes(key),
            server: *self.servers.get(row.server as usize)?,
            class,
            version,
            tombstone: row.marks & TOMBSTONE != 0,
            lasting: row.marks & LASTING != 0,
            open: row.open,
            age_ms: row.age.checked_mul(AGE_UNIT_MS)?,
        })
    }
}

/// Entries on their way into a frame.
#[derive(Debug)]
pub struct Packer {
    table: u64,
    entries: Vec<Entry>,
    bytes: usize,
}

/// An entry of 16 bytes of key takes no more than this, its server and its share of the rest included.
const ENTRY_BYTES_MAX: usize = 72;

impl Packer {
    /// Nothing yet, of a table.
    pub fn new(table: u64) -> Self {
        Self { table, entries: Vec::new(), bytes: 0 }
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: Entry) {
        self.bytes += if entry.key.0.starts_with(&MAPPED) { 22 } else { 34 };
        self.entries.push(entry);
    }

    /// About how many bytes there are; never more than three times as many.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries as they travel.
    pub fn pack(&self) -> Pack<'_> {
        let stamp = self.entries.iter().map(|e| e.version.stamp).max().unwrap_or(0);
        let birth = self.entries.iter().map(|e| e.version.birth).max().unwrap_or(0);
        let mut servers: Vec<u64> = self.entries.iter().map(|e| e.server).collect();
        servers.sort_unstable();
        servers.dedup();
        let rows = self.entries.iter().map(|entry| {
            let whole = &entry.key.0[..];
            let Version { birth: born, switches, stamp: stamped, origin } = entry.version;
            let flag = |on: bool, bit: u16| if on { bit } else { 0 };
            Row {
                key: whole.strip_prefix(&MAPPED).unwrap_or(whole),
                // Every server stands in the list.
                server: servers.binary_search(&entry.server).unwrap_or(0) as u32,
                marks: u16::from(origin.get())
                    | u16::from(entry.class.get()) << 6
                    | flag(entry.tombstone, TOMBSTONE)
                    | flag(entry.lasting, LASTING),
                stamp_before: stamp - stamped,
                birth_before: birth - born,
                switches,
                open: entry.open,
                age: entry.age_ms / AGE_UNIT_MS,
            }
        });
        let rows = rows.collect();
        Pack { table: self.table, servers, stamp, birth, rows }
    }
}

const _: () = assert!(crate::limits::BATCH_BYTES / 22 * ENTRY_BYTES_MAX < crate::limits::FRAME_MAX);

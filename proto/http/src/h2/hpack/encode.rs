//! Writing header blocks.

use alloc::vec::Vec;

use super::decode::TABLE_DEFAULT;
use super::kind::Kind;
use super::table::{ENTRY_COST, Table};
use super::{fixed, huffman, integer};
use crate::Known;

/// Who may put a field into a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// The encoder decides.
    Open,
    /// Nobody: its sender forbade it, or it is a secret that an attacker could guess byte by byte.
    Never,
}

/// One direction's table, and what the peer has to hear about its size.
#[derive(Debug)]
pub(crate) struct Encoder {
    table: Table,
    /// Our own bound, whatever the peer would hold.
    bound: usize,
    /// The smallest size since the last block, if the size has changed.
    smallest: Option<usize>,
    /// Counts the changes of the table: while it stands, the same field becomes the same bytes.
    epoch: u32,
}

/// The largest value that gets into the table: it shall not throw out all others.
const VALUE_MAX: usize = 256;

impl Encoder {
    /// Uses tables of at most `bound` bytes; 0 uses none.
    pub(crate) fn new(bound: usize) -> Encoder {
        let first = bound.min(TABLE_DEFAULT);
        // The peer takes the default for granted.
        let smallest = (first != TABLE_DEFAULT).then_some(first);
        Encoder { table: Table::new(first), bound, smallest, epoch: 0 }
    }

    pub(crate) fn memory(&self) -> usize {
        self.table.memory()
    }

    /// The peer's settings say what it holds.
    //= H2-HPACK-06
    pub(crate) fn allowed(&mut self, max: usize) {
        let max = max.min(self.bound);
        if max != self.table.max() {
            self.smallest = Some(self.smallest.unwrap_or(max).min(max));
            self.table.resize(max);
            self.epoch = self.epoch.wrapping_add(1);
        }
    }

    /// Tells the state of the table from all earlier ones.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Begins a block.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(smallest) = self.smallest.take() {
            integer::encode(smallest, 5, 0x20, out);
            if smallest != self.table.max() {
                integer::encode(self.table.max(), 5, 0x20, out);
            }
        }
    }

    /// Appends a field; `name` in any case, written in lower case.
    pub(crate) fn field(&mut self, name: &[u8], value: &[u8], secrecy: Secrecy, out: &mut Vec<u8>) {
        let fixed = fixed::index_of(name);
        if secrecy == Secrecy::Never {
            // As it is: its code would tell of its letters, and is dear for what comes once.
            named(fixed, 4, 0x10, name, out);
            plain(value, out);
            return;
        }
        let whole = fixed::index_of_value(fixed, value);
        if whole != 0 {
            integer::encode(whole, 7, 0x80, out);
            return;
        }
        if !repeats(fixed) || value.len() > VALUE_MAX || self.table.max() < TABLE_MIN {
            literal(fixed, 4, 0, name, value, out);
            return;
        }
        let hash = hash(name, value);
        if let Some(age) = self.table.find(name, value, hash) {
            integer::encode(fixed::COUNT + 1 + age, 7, 0x80, out);
            return;
        }
        literal(fixed, 6, 0x40, name, value, out);
        self.table.add(name, value, hash, Known::Other, Kind::Plain);
        self.epoch = self.epoch.wrapping_add(1);
    }
}

/// A smaller table would change with every message.
const TABLE_MIN: usize = 8 * ENTRY_COST;

/// Fields of the static table whose values come again on the same connection.
const REPEATING: [&str; 19] = [
    ":authority",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "access-control-allow-origin",
    "allow",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-type",
    "date",
    "referer",
    "server",
    "strict-transport-security",
    "user-agent",
    "vary",
    "via",
];

static REPEATS: [bool; fixed::COUNT + 1] = repeating();

const fn repeating() -> [bool; fixed::COUNT + 1] {
    let mut table = [false; fixed::COUNT + 1];
    let mut i = 0;
    while i < fixed::COUNT {
        let mut k = 0;
        while k < REPEATING.len() {
            let (a, b) = (fixed::ENTRIES[i].0.as_bytes(), REPEATING[k].as_bytes());
            if fixed::same(a, b) {
                table[i + 1] = true;
            }
            k += 1;
        }
        i += 1;
    }
    table
}

fn repeats(index: usize) -> bool {
    REPEATS.get(index).copied().unwrap_or(false)
}

fn literal(index: usize, prefix: u32, pattern: u8, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    named(index, prefix, pattern, name, out);
    string(value, out);
}

fn named(index: usize, prefix: u32, pattern: u8, name: &[u8], out: &mut Vec<u8>) {
    integer::encode(index, prefix, pattern, out);
    if index == 0 {
        integer::encode(name.len(), 7, 0, out);
        out.extend(name.iter().map(u8::to_ascii_lowercase));
    }
}

/// Appends a string in the shorter of both forms.
fn string(text: &[u8], out: &mut Vec<u8>) {
    let coded = huffman::encoded_len(text);
    if coded < text.len() {
        integer::encode(coded, 7, 0x80, out);
        huffman::encode(text, out);
    } else {
        plain(text, out);
    }
}

fn plain(text: &[u8], out: &mut Vec<u8>) {
    integer::encode(text.len(), 7, 0, out);
    out.extend_from_slice(text);
}

/// Tells entries apart quickly; what is the same is compared byte by byte.
fn hash(name: &[u8], value: &[u8]) -> u32 {
    let mut hash = (name.len() as u64) << 32 | value.len() as u64;
    let (words, tail) = value.as_chunks::<8>();
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }
    for &b in tail.iter().chain(name.first()).chain(name.last()) {
        hash = (hash ^ u64::from(b | 0x20)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }
    (hash >> 32) as u32
}

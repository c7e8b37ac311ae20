//! The dynamic table (RFC 7541 2.3.2, 4): both ends keep one for each direction.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::kind::Kind;
use crate::Known;

/// What an entry costs beside its bytes (RFC 7541 4.1).
pub(crate) const ENTRY_COST: usize = 32;

/// Entries, newest first, with their bytes in one buffer that grows as they need it.
#[derive(Debug)]
pub(crate) struct Table {
    bytes: Vec<u8>,
    /// What stood in front of `bytes` before it was thrown away; positions count from there and wrap.
    base: u32,
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u32,
    name: u32,
    value: u32,
    /// Of name and value; the encoder looks for it.
    hash: u32,
    known: Known,
    kind: Kind,
}

/// An entry as it is read.
pub(crate) struct Line<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    pub known: Known,
    pub kind: Kind,
}

impl Table {
    /// Returns an empty table of at most `max` bytes by RFC 7541 4.1; memory comes with the entries.
    pub(crate) fn new(max: usize) -> Table {
        Table { bytes: Vec::new(), base: 0, entries: VecDeque::new(), size: 0, max }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    #[cfg(test)]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the memory that is held, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Changes the bound and throws out what does not fit any more.
    pub(crate) fn resize(&mut self, max: usize) {
        self.max = max;
        self.evict(0);
    }

    /// Returns the entry of this age; 0 is the newest.
    pub(crate) fn get(&self, age: usize) -> Option<Line<'_>> {
        let entry = self.entries.get(age)?;
        let (name, value) = self.text(entry);
        Some(Line { name, value, known: entry.known, kind: entry.kind })
    }

    /// Returns the age of an entry with this name (lower case), value and hash.
    pub(crate) fn find(&self, name: &[u8], value: &[u8], hash: u32) -> Option<usize> {
        self.entries.iter().position(|e| {
            e.hash == hash && {
                let (n, v) = self.text(e);
                n.eq_ignore_ascii_case(name) && v == value
            }
        })
    }

    /// Adds an entry; one that is larger than the table empties it and is not kept.
    //= H2-HPACK-03
    pub(crate) fn add(&mut self, name: &[u8], value: &[u8], hash: u32, known: Known, kind: Kind) {
        let cost = name.len() + value.len() + ENTRY_COST;
        self.evict(cost);
        if cost > self.max {
            return;
        }
        let more = name.len() + value.len();
        if self.bytes.len() + more > self.bytes.capacity().max(MEMORY_MIN) {
            self.tidy();
        }
        let at = self.base.wrapping_add(self.bytes.len() as u32);
        self.bytes.extend(name.iter().map(u8::to_ascii_lowercase));
        self.bytes.extend_from_slice(value);
        // Lengths are below the largest table, which is below 2^32.
        let (name, value) = (name.len() as u32, value.len() as u32);
        self.entries.push_front(Entry { at, name, value, hash, known, kind });
        self.size += cost;
    }

    fn text(&self, entry: &Entry) -> (&[u8], &[u8]) {
        let start = entry.at.wrapping_sub(self.base) as usize;
        let end = start + (entry.name + entry.value) as usize;
        let text = self.bytes.get(start..end).unwrap_or(&[]);
        text.split_at_checked(entry.name as usize).unwrap_or((&[], &[]))
    }

    fn evict(&mut self, cost: usize) {
        while self.size + cost > self.max {
            let Some(old) = self.entries.pop_back() else { return };
            self.size -= (old.name + old.value) as usize + ENTRY_COST;
        }
        if self.entries.is_empty() {
            self.bytes.clear();
        }
    }

    /// Throws away the bytes of entries that are gone; only if that frees a quarter, else the buffer shall grow.
    fn tidy(&mut self) {
        let Some(oldest) = self.entries.back() else { return };
        let gone = oldest.at.wrapping_sub(self.base) as usize;
        if gone * 4 >= self.bytes.len() {
            self.bytes.drain(..gone);
            self.base = self.base.wrapping_add(gone as u32);
        }
    }
}

/// Below this a buffer grows without looking for what could be thrown away.
const MEMORY_MIN: usize = 256;

//! The beginning of the last response's head, and the block that it became.
//!
//! What one server answers on one connection begins the same over and over: status, the fields that describe the server and
//! the kind of content. While nothing new gets into the table, the same lines become the same bytes, so they are copied.

use alloc::vec::Vec;

/// The most bytes of a head that are remembered: the usual dozen of fields.
const TEXT_MAX: usize = 512;

/// What was written last, line by line.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    text: Vec<u8>,
    block: Vec<u8>,
    /// Where each line ends in both.
    ends: Vec<(u16, u16)>,
    /// The state of the table at which the block was written.
    epoch: u32,
}

impl Memo {
    pub(crate) fn memory(&self) -> usize {
        self.text.capacity() + self.block.capacity() + self.ends.capacity() * size_of::<(u16, u16)>()
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.block.clear();
        self.ends.clear();
    }

    /// Keeps the lines that `head` begins with as well; gives how long they are, and their block.
    pub(crate) fn agree(&mut self, head: &[u8], epoch: u32) -> (usize, &[u8]) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.clear();
        } else if !head.starts_with(&self.text) {
            let mut start = 0;
            let same = self.ends.iter().take_while(|(end, _)| {
                let end = usize::from(*end);
                let is_same =
                    head.get(start..end).is_some_and(|line| self.text.get(start..end) == Some(line));
                start = end;
                is_same
            });
            let same = same.count();
            self.ends.truncate(same);
            let (text, block) = self.ends.last().copied().unwrap_or_default();
            self.text.truncate(text.into());
            self.block.truncate(block.into());
        }
        (self.text.len(), &self.block)
    }

    /// Adds a line and what it became; gives `false` if no more are remembered.
    pub(crate) fn add(&mut self, line: &[u8], block: &[u8]) -> bool {
        if self.text.len() + line.len() > TEXT_MAX || self.block.len() + block.len() > TEXT_MAX {
            return false;
        }
        self.text.extend_from_slice(line);
        self.block.extend_from_slice(block);
        // Neither is longer than the bound.
        self.ends.push((self.text.len() as u16, self.block.len() as u16));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_lines_are_kept_as_are_the_same() {
        let mut memo = Memo::default();
        assert_eq!(memo.agree(b"one\r\ntwo\r\n", 1), (0, &b""[..]));
        assert!(memo.add(b"one\r\n", b"1") && memo.add(b"two\r\n", b""));
        assert_eq!(memo.agree(b"one\r\ntwo\r\nthree\r\n", 1), (10, &b"1"[..]));
        assert!(memo.add(b"three\r\n", b"3"));
        assert_eq!(memo.agree(b"one\r\ntwo\r\nthree\r\n", 1), (17, &b"13"[..]));
        assert_eq!(memo.agree(b"one\r\ntwo\r\nthr", 1), (10, &b"1"[..]));
        assert_eq!(memo.agree(b"one\r\ntwx\r\n", 1), (5, &b"1"[..]));
        assert_eq!(memo.agree(b"one\r\n", 2), (0, &b""[..]), "the table is another one");
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let mut memo = Memo::default();
        memo.agree(b"", 1);
        assert!(memo.add(&[b'a'; 500], b"a"));
        assert!(!memo.add(&[b'b'; 13], b"b") && memo.add(&[b'b'; 12], b"b"));
        assert!(!memo.add(b"", &[b'c'; 511]));
        assert!(memo.memory() < 4 * TEXT_MAX);
    }
}

//! A change of a configuration in pieces.

use std::fmt;

use prost::Message;

use crate::limits::{CONFIGURATION_BYTES_MAX, PART_BYTES};
use crate::proto::{Change, Part};

/// Cuts a change into pieces, the last of which may be empty; `from` is the version on which it builds, 0: on none.
pub fn parts(change: &Change, version: u64, from: u64, digest: [u8; 32]) -> Vec<Part> {
    let content = bytes::Bytes::from(change.encode_to_vec());
    let total = content.len() as u64;
    let begins = (0..content.len().max(1)).step_by(PART_BYTES);
    begins
        .map(|begin| Part {
            version,
            from,
            digest: digest.to_vec(),
            offset: begin as u64,
            total,
            content: content.slice(begin..content.len().min(begin + PART_BYTES)),
        })
        .collect()
}

/// Why pieces do not make a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// A piece is missing, or belongs to another configuration.
    Order,
    /// It is more than a configuration may have.
    TooLong,
    /// The bytes are no change.
    Garbled,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::Order => f.write_str("a piece of the configuration is missing"),
            Misfit::TooLong => write!(f, "the configuration has more than {CONFIGURATION_BYTES_MAX} bytes"),
            Misfit::Garbled => f.write_str("the pieces make no configuration"),
        }
    }
}

/// A whole change, as its pieces have come.
#[derive(Debug, PartialEq)]
pub struct Whole {
    /// What changes.
    pub change: Change,
    /// The version that it leads to.
    pub version: u64,
    /// The version on which it builds; 0: on none.
    pub from: u64,
    /// The sum over what it leads to.
    pub digest: Vec<u8>,
}

/// Puts pieces together.
#[derive(Debug, Default)]
pub struct Collector {
    head: Option<(u64, u64, Vec<u8>, u64)>,
    content: Vec<u8>,
}

impl Collector {
    /// Takes the next piece; gives the whole when it was the last one. After an error it waits for a first piece again.
    ///
    /// # Errors
    /// Why it does not fit.
    //= CHAN-CONFIG-02
    pub fn take(&mut self, part: Part) -> Result<Option<Whole>, Misfit> {
        let taken = self.fit(&part);
        if taken.is_err() {
            *self = Self::default();
        }
        taken?;
        if (self.content.len() as u64) < part.total {
            return Ok(None);
        }
        let content = std::mem::take(&mut self.content);
        self.head = None;
        let change = Change::decode(content.as_slice()).map_err(|_| Misfit::Garbled)?;
        Ok(Some(Whole { change, version: part.version, from: part.from, digest: part.digest }))
    }

    fn fit(&mut self, part: &Part) -> Result<(), Misfit> {
        if part.total > CONFIGURATION_BYTES_MAX as u64 {
            return Err(Misfit::TooLong);
        }
        let head = (part.version, part.from, part.digest.clone(), part.total);
        if part.offset == 0 {
            // Another one may have been begun and not ended: this one counts.
            self.content.clear();
            self.head = Some(head);
        } else if self.head.as_ref() != Some(&head) || part.offset != self.content.len() as u64 {
            return Err(Misfit::Order);
        }
        let after = self.content.len() as u64 + part.content.len() as u64;
        if after > part.total || (part.content.is_empty() && part.total > 0) {
            return Err(Misfit::Order);
        }
        self.content.extend_from_slice(&part.content);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Section;

    fn change(bytes: usize) -> Change {
        let set = vec![Section { key: "pool/p".to_owned(), text: "x".repeat(bytes) }];
        Change { set, gone: vec!["pool/q".to_owned()] }
    }

    //= test CHAN-CONFIG-02
    #[test]
    fn pieces_make_the_whole_and_nothing_less_does() {
        for bytes in [0, 1, PART_BYTES - 40, PART_BYTES, 3 * PART_BYTES + 1] {
            let all = parts(&change(bytes), 7, 6, [1; 32]);
            assert!(all.iter().all(|part| part.encoded_len() < PART_BYTES + 200), "{bytes}");
            let mut collector = Collector::default();
            // One that was begun and never ended is in nobody's way.
            let cut = parts(&change(2 * PART_BYTES), 6, 5, [2; 32]);
            assert_eq!(collector.take(cut[0].clone()), Ok(None));
            let (last, before) = all.split_last().expect("one at least");
            for part in before {
                assert_eq!(collector.take(part.clone()), Ok(None), "{bytes}");
            }
            let whole = collector.take(last.clone()).expect("it fits").expect("the last one");
            assert_eq!((whole.change, whole.version, whole.from), (change(bytes), 7, 6));
        }
        let empty = parts(&Change::default(), 2, 1, [0; 32]);
        assert!(Collector::default().take(empty[0].clone()).expect("it fits").is_some());
    }

    //= test CHAN-CONFIG-02
    #[test]
    fn a_piece_that_is_missing_or_of_another_configuration_is_found() {
        let all = parts(&change(3 * PART_BYTES), 7, 0, [1; 32]);
        let mut collector = Collector::default();
        assert_eq!(collector.take(all[1].clone()), Err(Misfit::Order), "it has no beginning");
        collector.take(all[0].clone()).expect("it fits");
        assert_eq!(collector.take(all[2].clone()), Err(Misfit::Order), "one is missing");
        assert_eq!(collector.take(all[1].clone()), Err(Misfit::Order), "it begins anew after that");
        collector.take(all[0].clone()).expect("it fits");
        let other = Part { version: 8, ..all[1].clone() };
        assert_eq!(collector.take(other), Err(Misfit::Order));
        let long = Part { total: CONFIGURATION_BYTES_MAX as u64 + 1, ..all[0].clone() };
        assert_eq!(collector.take(long), Err(Misfit::TooLong));
        let garbled = Part { total: 3, content: bytes::Bytes::from_static(&[0xff; 3]), ..all[0].clone() };
        assert_eq!(collector.take(garbled), Err(Misfit::Garbled));
        let more = Part { total: 3, content: bytes::Bytes::from_static(&[0; 4]), ..all[0].clone() };
        assert_eq!(collector.take(more), Err(Misfit::Order));
        let silent = Part { total: 3, content: bytes::Bytes::new(), ..all[0].clone() };
        assert_eq!(collector.take(silent), Err(Misfit::Order), "it would never end");
    }
}

//! Cookies that a thread has opened before.
//!
//! A client sends the same bytes with each request. To open them again would give the same payload, or the same refusal:
//! the outcome depends on the keys, the binding and the bytes, on no clock. So what opened once is known by exactly
//! these three. Whether it has expired is not decided here but with each request.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_core::persist::http_cookie::Payload;

/// Cookies that a thread knows: 200 KiB. Each has one place; a newer cookie takes it.
const PLACES: usize = 1024;
/// A longer cookie, by the name of its key, is opened each time.
const TEXT_MAX: usize = 128;
const WORDS: usize = TEXT_MAX / 8;

/// Tells one set of keys, or one binding, from every other one that this process ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl Mark {
    /// One that nobody had before.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Mark(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Clone, Copy)]
struct Entry {
    keys: Mark,
    binding: Mark,
    text: Text,
    payload: Payload,
}

/// A cookie's bytes, and how many they are; what is behind them is zero.
#[derive(Clone, Copy)]
struct Text {
    words: [u64; WORDS],
    len: usize,
}

impl Text {
    /// `None`: it is too long.
    fn of(bytes: &[u8]) -> Option<Self> {
        let mut padded = [0; TEXT_MAX];
        padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let mut words = [0; WORDS];
        for (word, eight) in words.iter_mut().zip(padded.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*eight);
        }
        Some(Text { words, len: bytes.len() })
    }

    /// Its place: by all of it, as every byte of a sealed value is as good as random.
    fn place(&self) -> usize {
        let sum = self.words.iter().fold(self.len as u64, |sum, word| sum.rotate_left(7) ^ word);
        (sum.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % PLACES
    }

    /// In the same time wherever they differ, so that nobody learns another one's cookie byte by byte.
    fn is(&self, other: &Text) -> bool {
        let differ = self.words.iter().zip(&other.words).fold(0, |differ, (a, b)| differ | (a ^ b));
        differ == 0 && self.len == other.len
    }
}

thread_local! {
    static OPENED: RefCell<Vec<Option<Entry>>> = const { RefCell::new(Vec::new()) };
}

/// What a cookie holds by `keys` and `binding`: as it was when this thread opened it, or else as `open` says now.
//= PERS-SEAL-04
pub(super) fn known_or(
    keys: Mark,
    binding: Mark,
    value: &[u8],
    open: impl FnOnce() -> Option<Payload>,
) -> Option<Payload> {
    let Some(text) = Text::of(value) else { return open() };
    let at = text.place();
    OPENED.with_borrow_mut(|opened| {
        if let Some(Some(entry)) = opened.get(at)
            && entry.keys == keys
            && entry.binding == binding
            && entry.text.is(&text)
        {
            return Some(entry.payload);
        }
        let payload = open()?;
        if opened.is_empty() {
            opened.resize(PLACES, None);
        }
        opened[at] = Some(Entry { keys, binding, text, payload });
        Some(payload)
    })
}

#[cfg(test)]
mod tests {
    use forebay_core::id::{Endpoint, PoolId, VsId};
    use forebay_core::units::UnixSeconds;

    use super::*;

    fn payload(port: u16) -> Payload {
        let server = Endpoint { ip: "10.0.0.3".parse().expect("an address"), port };
        Payload { vs: VsId(7), pool: PoolId(9), server, issued: UnixSeconds(1) }
    }

    //= test PERS-SEAL-04
    #[test]
    fn what_was_opened_is_known_by_its_keys_its_binding_and_all_of_its_bytes() {
        let (keys, binding) = (Mark::new(), Mark::new());
        let value = [b"k1.".as_slice(), &[b'x'; 64]].concat();
        assert_eq!(known_or(keys, binding, &value, || None), None);
        assert_eq!(
            known_or(keys, binding, &value, || Some(payload(1))),
            Some(payload(1)),
            "a refusal is not kept"
        );
        assert_eq!(known_or(keys, binding, &value, || None), Some(payload(1)));
        assert_eq!(known_or(Mark::new(), binding, &value, || None), None, "other keys");
        assert_eq!(known_or(keys, Mark::new(), &value, || None), None, "another service");
        for at in 0..value.len() {
            let mut other = value.clone();
            other[at] ^= 1;
            assert_eq!(known_or(keys, binding, &other, || None), None, "byte {at} is another");
        }
        assert_eq!(known_or(keys, binding, &value[..value.len() - 1], || None), None);
        assert_eq!(known_or(keys, binding, &[&value[..], &[0]].concat(), || None), None);
        let long = vec![b'x'; TEXT_MAX + 1];
        assert_eq!(known_or(keys, binding, &long, || Some(payload(2))), Some(payload(2)));
        assert_eq!(known_or(keys, binding, &long, || None), None, "it has no place");
    }
}

//! Keys of session tickets as they travel from one process to the next. They are on no disk and in no log; what they lay in
//! on their way is wiped.

use zeroize::Zeroizing;

use crate::tls::HandedKey;

/// Bytes of one key.
const BYTES: usize = 56;

/// Keys as bytes.
pub(super) fn write(keys: &[HandedKey]) -> Zeroizing<Vec<u8>> {
    // It never grows, which would leave a copy behind.
    let mut out = Zeroizing::new(Vec::with_capacity(keys.len() * BYTES));
    for key in keys {
        out.extend_from_slice(&key.service.to_le_bytes());
        out.extend_from_slice(&key.policy.to_le_bytes());
        out.extend_from_slice(&key.id);
        out.extend_from_slice(&key.bytes[..]);
        out.extend_from_slice(&key.made_s.to_le_bytes());
    }
    out
}

/// Reads keys; `None` if these bytes are none.
pub(super) fn read(bytes: &[u8]) -> Option<Vec<HandedKey>> {
    let (list, rest) = bytes.as_chunks::<BYTES>();
    rest.is_empty().then(|| list.iter().map(one).collect())
}

fn one(bytes: &[u8; BYTES]) -> HandedKey {
    fn at<const N: usize>(bytes: &[u8; BYTES], from: usize) -> [u8; N] {
        bytes[from..].first_chunk().copied().expect("within a key")
    }
    HandedKey {
        service: u32::from_le_bytes(at(bytes, 0)),
        policy: u32::from_le_bytes(at(bytes, 4)),
        id: at(bytes, 8),
        bytes: Zeroizing::new(at(bytes, 16)),
        made_s: u64::from_le_bytes(at(bytes, 48)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_arrive_as_they_left_and_nothing_else_is_one() {
        let key = |n: u8| HandedKey {
            service: 7 + u32::from(n),
            policy: 9,
            id: [n; 8],
            bytes: Zeroizing::new([n ^ 0x55; 32]),
            made_s: 1_000 + u64::from(n),
        };
        let keys = [key(1), key(2)];
        let bytes = write(&keys);
        assert_eq!(read(&bytes).expect("keys"), keys);
        assert!(read(&bytes[1..]).is_none());
        assert!(read(&[]).expect("none at all").is_empty());
    }
}

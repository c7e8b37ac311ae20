//! What identifies a client: 16 bytes.

use super::hash::Hasher;
use core::net::{IpAddr, Ipv6Addr};

/// The 16 bytes of a key before its table is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct KeyBytes(pub [u8; 16]);

/// Texts up to this length stand in the key themselves, so that `show` can print them.
const TEXT_WHOLE_MAX: usize = 15;

/// Last byte of the key of a longer text.
const TEXT_HASHED: u8 = 0xff;

impl KeyBytes {
    /// The key of an address; IPv4 addresses as `::ffff:a.b.c.d`. The caller applies the mask.
    //= TBL-KEY-01
    pub const fn of_ip(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self(v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => Self(v6.octets()),
        }
    }

    /// The address of a key made by [`KeyBytes::of_ip`]; IPv4-mapped ones as IPv4.
    pub const fn to_ip(self) -> IpAddr {
        Ipv6Addr::from_octets(self.0).to_canonical()
    }

    /// The key of a text (cookie, header value): the text itself up to 15 bytes, else 120 bits of a keyed
    /// hash. The last byte tells which, so no short text equals a long one or a padded one.
    //= TBL-KEY-02
    pub(super) fn of_text(hasher: &Hasher, text: &[u8]) -> Self {
        let mut key;
        if text.len() <= TEXT_WHOLE_MAX {
            key = [0; 16];
            key[..text.len()].copy_from_slice(text);
            key[15] = text.len() as u8;
        } else {
            key = hasher.hash128_bytes(text).to_le_bytes();
            key[15] = TEXT_HASHED;
        }
        Self(key)
    }

    /// The text of a key made from one, if it was short enough to be kept.
    pub fn text(&self) -> Option<&[u8]> {
        self.0.get(..usize::from(self.0[15])).filter(|t| t.len() <= TEXT_WHOLE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test TBL-KEY-02
    #[test]
    fn short_texts_are_kept_and_long_ones_hashed() {
        let h = Hasher::new([7; 16]);
        let short = KeyBytes::of_text(&h, b"abc");
        assert_eq!(short.text(), Some(&b"abc"[..]));
        assert_ne!(short, KeyBytes::of_text(&h, b"abc\0"));
        let long = KeyBytes::of_text(&h, &[b'x'; 16]);
        assert_eq!(long.text(), None);
        assert_ne!(long, KeyBytes::of_text(&h, &[b'x'; 17]));
        assert_ne!(long, KeyBytes::of_text(&Hasher::new([8; 16]), &[b'x'; 16]));
        assert_eq!(KeyBytes::of_text(&h, b"").text(), Some(&b""[..]));
    }

    //= test TBL-KEY-01
    #[test]
    fn an_address_is_a_key_and_back() {
        for ip in ["10.1.2.3", "2001:db8::7", "::"] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(KeyBytes::of_ip(ip).to_ip(), ip);
        }
    }
}

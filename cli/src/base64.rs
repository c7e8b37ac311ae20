//! Base64 (RFC 4648), encoding only.

/// With padding.
pub fn encode(bytes: &[u8]) -> String {
    const SET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let n = part.iter().fold(0_u32, |n, b| (n << 8) | u32::from(*b)) << (8 * (3 - part.len()));
        for i in 0..4 {
            let digit = SET[(n >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= part.len() { digit as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_as_the_rfc_says() {
        assert_eq!(["", "f", "fo", "foo"].map(|t| encode(t.as_bytes())), ["", "Zg==", "Zm8=", "Zm9v"]);
    }
}

//! CRC-32C (RFC 9260, appendix A), four bits at a time: it is needed for a few hundred bytes once a connection.

const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut n = 0;
    while n < 16 {
        let mut value = n as u32;
        let mut bit = 0;
        while bit < 4 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[n] = value;
        n += 1;
    }
    table
};

pub(crate) fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    let step = |sum: u32, nibble: u32| sum >> 4 ^ TABLE[((sum ^ nibble) & 15) as usize];
    !bytes.fold(u32::MAX, |sum, byte| step(step(sum, byte.into()), u32::from(byte) >> 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_values_of_the_specifications_come_out() {
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
        assert_eq!(crc32c([0; 32].into_iter()), 0x8a91_36aa);
        assert_eq!(crc32c([0xff; 32].into_iter()), 0x62a8_ab43);
    }
}

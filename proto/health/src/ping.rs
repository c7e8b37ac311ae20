//! ICMP echo as a ping monitor needs it: one request, and which packet is its answer.
//!
//! Whoever may send ICMP may also forge an answer, so each probe carries a token that only it knows.

/// Bytes of the token: nobody guesses it within a receive time-out.
pub const TOKEN_BYTES: usize = 16;
/// Bytes of a request: its header and the token.
pub const REQUEST_BYTES: usize = HEADER_BYTES + TOKEN_BYTES;

/// ICMP header of an echo: type, code, checksum, identifier, sequence (RFC 792, RFC 4443).
const HEADER_BYTES: usize = 8;

/// Returns an echo request. `identifier` keeps apart what several senders of one machine ask; the kernel may replace it.
///
/// The checksum of ICMPv6 covers addresses that only the kernel knows, so it is left to it.
//= HM-PING-01
pub fn request(is_v6: bool, identifier: u16, token: [u8; TOKEN_BYTES]) -> [u8; REQUEST_BYTES] {
    let mut packet = [0; REQUEST_BYTES];
    let (header, rest) = packet.split_at_mut(HEADER_BYTES);
    rest.copy_from_slice(&token);
    let [high, low] = identifier.to_be_bytes();
    header.copy_from_slice(&[if is_v6 { 128 } else { 8 }, 0, 0, 0, high, low, 0, 1]);
    if !is_v6 {
        let sum = checksum(&packet).to_be_bytes();
        if let Some(place) = packet.get_mut(2..4) {
            place.copy_from_slice(&sum);
        }
    }
    packet
}

/// Whether `packet` answers the request with this token. An IPv4 header before it, as raw sockets deliver, is skipped.
//= HM-PING-01
pub fn is_reply(is_v6: bool, packet: &[u8], token: [u8; TOKEN_BYTES]) -> bool {
    let packet = match packet.first() {
        // The type of an ICMPv4 echo reply is 0, so a first half-byte of 4 is an IP version.
        Some(first) if !is_v6 && first >> 4 == 4 => packet.get(usize::from(first & 15) * 4..).unwrap_or(&[]),
        _ => packet,
    };
    let reply = if is_v6 { 129 } else { 0 };
    matches!(packet, [kind, 0, ..] if *kind == reply) && packet.get(HEADER_BYTES..) == Some(&token[..])
}

/// The one's complement of the one's complement sum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            [high] => u32::from(*high) << 8,
            _ => 0,
        })
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

//! A WebSocket echo (RFC 6455), so that an upgrade can be tried through the service engine.

use std::io::{self, Write};
use std::net::TcpStream;

use crate::base64;
use crate::http::{Head, Reader, bad};

/// Longest frame that is echoed, in bytes.
const FRAME_MAX: u64 = 1 << 20;
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Answers the upgrade and echoes frames until the client closes.
pub fn serve(
    head: &Head,
    reader: &mut Reader<TcpStream>,
    out: &mut impl Write,
    name: &str,
) -> io::Result<()> {
    let key = head.get("sec-websocket-key").ok_or_else(|| bad("no Sec-WebSocket-Key"))?;
    let accept = base64::encode(&sha1(format!("{key}{GUID}").as_bytes()));
    write!(
        out,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nX-Demo-Server: {name}\r\n\r\n"
    )?;
    out.flush()?;
    loop {
        let (first, payload) = frame(reader)?;
        let opcode = first & 0x0f;
        // A ping is answered by a pong; all else goes back as it came, its FIN bit too.
        let back = if opcode == PING { 0x80 | PONG } else { first };
        if opcode != PONG {
            write_frame(out, back, &payload)?;
            out.flush()?;
        }
        if opcode == CLOSE {
            return Ok(());
        }
    }
}

fn frame(reader: &mut Reader<TcpStream>) -> io::Result<(u8, Vec<u8>)> {
    let start = take(reader, 2)?;
    let (first, second) = (start[0], start[1]);
    if second & 0x80 == 0 {
        return Err(bad("a client's frame must be masked"));
    }
    let len = match second & 0x7f {
        126 => take(reader, 2)?.iter().fold(0, |n, b| (n << 8) | u64::from(*b)),
        127 => take(reader, 8)?.iter().fold(0, |n, b| (n << 8) | u64::from(*b)),
        n => u64::from(n),
    };
    if len > FRAME_MAX {
        return Err(bad("the frame is too long"));
    }
    let mask = take(reader, 4)?;
    let mut payload = take(reader, len)?;
    for (i, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[i % 4];
    }
    Ok((first, payload))
}

fn take(reader: &mut Reader<TcpStream>, n: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.exactly(n, &mut |part: &[u8]| bytes.extend_from_slice(part))?;
    Ok(bytes)
}

fn write_frame(out: &mut impl Write, first: u8, payload: &[u8]) -> io::Result<()> {
    out.write_all(&[first])?;
    match payload.len() {
        n @ 0..=125 => out.write_all(&[n as u8])?,
        n @ 126..=0xffff => {
            out.write_all(&[126])?;
            out.write_all(&(n as u16).to_be_bytes())?;
        }
        n => {
            out.write_all(&[127])?;
            out.write_all(&(n as u64).to_be_bytes())?;
        }
    }
    out.write_all(payload)
}

/// SHA-1 (FIPS 180-4), which the WebSocket handshake prescribes; it protects nothing here.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut w = [0_u32; 80];
        for (word, bytes) in w.iter_mut().zip(block.chunks_exact(4)) {
            *word = bytes.iter().fold(0, |n, b| (n << 8) | u32::from(*b));
        }
        for i in 16..80 {
            w[i] = (w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (i, word) in w.iter().enumerate() {
            let (f, k) = match i / 20 {
                0 => ((b & c) | (!b & d), 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a.rotate_left(5).wrapping_add(f).wrapping_add(e).wrapping_add(k).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (s, v) in state.iter_mut().zip([a, b, c, d, e]) {
            *s = s.wrapping_add(v);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_answer_is_the_one_of_the_rfc() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(base64::encode(&sha1(format!("{key}{GUID}").as_bytes())), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}

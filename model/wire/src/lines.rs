//! Records of requests and connections on their way: lines, compressed.

use crate::limits::LOG_BATCH_BYTES;
use crate::proto::Logs;

/// How hard they are compressed: 1 takes a core for some hundred megabytes a second, and leaves a sixth of such lines.
const LEVEL: i32 = 1;

/// Compresses lines.
///
/// # Errors
/// There are more than [`LOG_BATCH_BYTES`] of them, or no memory.
pub fn pack(number: u64, lines: &[u8]) -> std::io::Result<Logs> {
    let too_long = || std::io::Error::other("more than one message holds");
    let bytes = u32::try_from(lines.len()).ok().filter(|_| lines.len() <= LOG_BATCH_BYTES);
    let bytes = bytes.ok_or_else(too_long)?;
    Ok(Logs { number, lines: zstd::bulk::compress(lines, LEVEL)?, bytes, ..Logs::default() })
}

/// The lines of a message.
///
/// # Errors
/// It is none: too long, or not what it says.
pub fn unpack(logs: &Logs) -> std::io::Result<Vec<u8>> {
    let odd = |why: &str| std::io::Error::other(why.to_owned());
    let bytes = usize::try_from(logs.bytes).ok().filter(|bytes| *bytes <= LOG_BATCH_BYTES);
    let bytes = bytes.ok_or_else(|| odd("it says that it is longer than a message may be"))?;
    // Whatever it says of itself, no more memory is taken than that.
    let lines = zstd::bulk::decompress(&logs.lines, bytes)?;
    match lines.len() == bytes {
        true => Ok(lines),
        false => Err(odd("it is shorter than it says")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_were_and_nothing_longer_than_it_says() {
        let lines = "{\"a\":1}\n".repeat(1_000).into_bytes();
        let logs = pack(7, &lines).expect("it fits");
        assert!(logs.lines.len() < lines.len() / 10);
        assert_eq!(unpack(&logs).expect("whole"), lines);
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).expect("memory");
        for (bytes, of) in
            [(100, &logs.lines[..]), (100_000, &logs.lines[..]), (65_536, &bomb[..]), (10, b"odd")]
        {
            let odd = Logs { number: 1, lines: of.to_vec(), bytes, ..Logs::default() };
            assert!(unpack(&odd).is_err(), "{bytes}");
        }
        assert!(pack(1, &vec![b'x'; LOG_BATCH_BYTES + 1]).is_err());
    }
}

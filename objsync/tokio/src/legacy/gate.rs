//! What somebody else may say to a Redis by way of this engine: what a distributor says, and nothing that is done with the
//! machine or the Redis itself.

use std::ops::Range;

/// What a distributor says.
const ALLOWED: [&[u8]; 10] =
    [b"DEL", b"GET", b"INFO", b"PTTL", b"SCAN", b"UNLINK", b"XADD", b"XLEN", b"XREAD", b"XREVRANGE"];
/// Words of one command, and bytes of it: a note of a distributor has ten words, and a few kilobytes.
const WORDS_MAX: usize = 64;
/// See [`WORDS_MAX`].
const BYTES_MAX: usize = 1 << 20;
/// Digits of a number, with what stands before and behind it.
const NUMBER_BYTES_MAX: usize = 16;

/// Reads commands as they come.
#[derive(Default)]
pub struct Gate {
    rest: Vec<u8>,
}

impl Gate {
    /// The commands that are whole by now.
    ///
    /// # Errors
    /// One is none that a distributor says: which, in words. Nothing more is let through then.
    //= LEGACY-LED-02
    pub fn let_through(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        self.rest.extend_from_slice(bytes);
        let mut end = 0;
        while let Some((word, length)) = command(&self.rest[end..])? {
            let word = &self.rest[end..][word];
            if !ALLOWED.iter().any(|allowed| word.eq_ignore_ascii_case(allowed)) {
                let word: String = String::from_utf8_lossy(word).chars().take(32).collect();
                return Err(format!("it says {word:?}, which no distributor says"));
            }
            end += length;
        }
        let rest = self.rest.split_off(end);
        Ok(std::mem::replace(&mut self.rest, rest))
    }
}

/// The first command: where its first word stands, and how long it is; `None`: it is not whole.
fn command(bytes: &[u8]) -> Result<Option<(Range<usize>, usize)>, String> {
    let mut at = 0;
    let Some(words) = number(bytes, &mut at, b'*')? else { return Ok(None) };
    if !(1..=WORDS_MAX).contains(&words) {
        return Err(format!("it says a command of {words} words; 1 to {WORDS_MAX} are taken"));
    }
    let mut first = None;
    for _ in 0..words {
        let Some(length) = number(bytes, &mut at, b'$')? else { return Ok(None) };
        if length > BYTES_MAX || at + length > BYTES_MAX {
            return Err(format!("it says a command of more than {BYTES_MAX} bytes"));
        }
        let word = at..at + length;
        at += length;
        match bytes.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(_) => return Err("it says something that is no command of Redis".to_owned()),
            None => return Ok(None),
        }
        first.get_or_insert(word);
    }
    Ok(first.map(|word| (word, at)))
}

/// A number behind a sign, to the end of its line.
fn number(bytes: &[u8], at: &mut usize, sign: u8) -> Result<Option<usize>, String> {
    let line = &bytes[*at..];
    let wrong = || Err("it says something that is no command of Redis".to_owned());
    let Some(end) = line.windows(2).take(NUMBER_BYTES_MAX).position(|two| two == b"\r\n") else {
        return if line.len() > NUMBER_BYTES_MAX || line.first().is_some_and(|byte| *byte != sign) {
            wrong()
        } else {
            Ok(None)
        };
    };
    let (Some(first), digits) = (line.first(), line.get(1..end).unwrap_or_default()) else { return wrong() };
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    let (Some(number), true) = (number, *first == sign && digits.iter().all(u8::is_ascii_digit)) else {
        return wrong();
    };
    *at += end + 2;
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::legacy::resp;

    fn said(words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        resp::command(&mut bytes, words);
        bytes
    }

    //= test LEGACY-LED-02
    #[test]
    fn a_distributors_commands_pass_in_whatever_pieces_they_come_and_others_do_not() {
        let all =
            [said(&[b"GET", b"k"]), said(&[b"xadd", b"s", b"*", b"m", b"\r\n*1\r\n$8\r\nFLUSHALL\r\n"])]
                .concat();
        for piece in 1..all.len() {
            let mut gate = Gate::default();
            let passed: Vec<u8> =
                all.chunks(piece).flat_map(|part| gate.let_through(part).expect("it may")).collect();
            assert_eq!(passed, all, "pieces of {piece}");
        }
        let others: [&[&[u8]]; 5] = [
            &[b"CONFIG", b"SET", b"dir", b"/tmp"],
            &[b"MODULE", b"LOAD", b"x"],
            &[b"EVAL", b"return 1", b"0"],
            &[b"GETDEL", b"k"],
            &[b""],
        ];
        for words in others {
            let mut gate = Gate::default();
            let mut bytes = said(&[b"GET", b"k"]);
            bytes.extend(said(words));
            assert!(gate.let_through(&bytes).is_err(), "{words:?}");
        }
        let noise: [&[u8]; 6] = [
            b"FLUSHALL\r\n",
            b"*0\r\n",
            b"*-1\r\n",
            b"*1\r\n$99999999\r\n",
            b"*1\r\n$3\r\nGETXY",
            b"*11111111111111111111",
        ];
        for bytes in noise {
            assert!(Gate::default().let_through(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}

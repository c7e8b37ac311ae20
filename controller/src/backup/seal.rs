//! The form of a backup: a line that says how it is sealed, then pieces of AES-256-GCM under a key that argon2id makes of
//! the passphrase.
//!
//! The nonce of a piece has its number and whether it is the last one, and each piece vouches for the first line: pieces
//! that are changed, moved, left out or cut off do not open.

use std::io::{self, BufRead, Read, Write};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

/// How every backup begins.
const FRONT: &str = "FOREBAY-BACKUP ";
/// The form that this version writes, and the newest that it reads.
const FORM: u64 = 1;
/// Plain bytes of a piece.
const PIECE: usize = 64 * 1024;
/// What sealing adds to a piece.
const TAG: usize = 16;
/// Memory of the key's function, KiB, and its rounds: a third of a second for each guess.
const KIB: u32 = 64 * 1024;
const ROUNDS: u32 = 3;
/// The most that a file may ask for.
const KIB_MAX: u64 = 1024 * 1024;
const ROUNDS_MAX: u64 = 32;
/// The longest first line, bytes.
const LINE_MAX: u64 = 4096;
/// The longest name, and the longest content of a record.
const NAME_MAX: usize = 512;
const CONTENT_MAX: usize = 1 << 20;

fn bytes_of(passphrase: &str, salt: &[u8], kib: u32, rounds: u32) -> Result<[u8; 32], String> {
    let parameters = Params::new(kib, rounds, 1, Some(32)).map_err(|error| error.to_string())?;
    let mut bytes = [0_u8; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_into(passphrase.as_bytes(), salt, &mut bytes)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn key(passphrase: &str, salt: &[u8], kib: u32, rounds: u32) -> Result<LessSafeKey, String> {
    let bytes = bytes_of(passphrase, salt, kib, rounds)?;
    UnboundKey::new(&AES_256_GCM, &bytes).map(LessSafeKey::new).map_err(|_| "no key".to_owned())
}

/// Says whether a file is a backup by how it begins, or has nothing in it yet.
///
/// # Errors
/// It cannot be read.
pub fn is_ours(file: &std::path::Path) -> io::Result<bool> {
    let mut front = Vec::new();
    std::fs::File::open(file)?.take(FRONT.len() as u64).read_to_end(&mut front)?;
    Ok(FRONT.as_bytes().starts_with(&front))
}

/// The key that a passphrase makes by the parameters of this version.
pub fn key_of(passphrase: &str, salt: &[u8]) -> Result<[u8; 32], String> {
    bytes_of(passphrase, salt, KIB, ROUNDS)
}

fn nonce(front: &[u8; 7], number: u32, is_last: bool) -> Nonce {
    let mut bytes = [0_u8; NONCE_LEN];
    bytes[..7].copy_from_slice(front);
    bytes[7..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(is_last);
    Nonce::assume_unique_for_key(bytes)
}

/// A backup that is being written.
pub struct Sealing<W> {
    out: W,
    key: LessSafeKey,
    line: String,
    front: [u8; 7],
    number: u32,
    plain: Vec<u8>,
}

impl<W: Write> Sealing<W> {
    /// Writes the first line.
    pub fn begin(mut out: W, passphrase: &str, now: u64) -> Result<Self, String> {
        let (mut salt, mut front) = ([0_u8; 16], [0_u8; 7]);
        let filled = rand::fill(&mut salt).and_then(|()| rand::fill(&mut front));
        filled.map_err(|_| "the system gives no random numbers")?;
        let head = json!({
            "form": FORM, "made_by": env!("CARGO_PKG_VERSION"), "made_at": now, "kib": KIB, "rounds": ROUNDS,
            "salt": STANDARD_NO_PAD.encode(salt), "nonce": STANDARD_NO_PAD.encode(front),
        });
        let line = format!("{FRONT}{head}\n");
        out.write_all(line.as_bytes()).map_err(|error| error.to_string())?;
        let key = key(passphrase, &salt, KIB, ROUNDS)?;
        Ok(Sealing { out, key, line, front, number: 0, plain: Vec::with_capacity(PIECE + TAG) })
    }

    /// Writes a record.
    pub fn record(&mut self, sort: u8, name: &[u8], content: &[u8]) -> io::Result<()> {
        let too_long = || io::Error::other("a record is too long for a backup");
        if name.len() > NAME_MAX || content.len() > CONTENT_MAX {
            return Err(too_long());
        }
        let lengths =
            [name.len(), content.len()].map(|length| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        for bytes in [&[sort][..], &lengths[0], &lengths[1], name, content] {
            self.write(bytes)?;
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // A full piece goes when more comes: which is the last one is known at the end only.
            if self.plain.len() == PIECE {
                self.piece(false)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.plain.len()));
            self.plain.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn piece(&mut self, is_last: bool) -> io::Result<()> {
        let nonce = nonce(&self.front, self.number, is_last);
        let sealed =
            self.key.seal_in_place_append_tag(nonce, Aad::from(self.line.as_bytes()), &mut self.plain);
        sealed.map_err(|_| io::Error::other("a piece could not be sealed"))?;
        self.out.write_all(&self.plain)?;
        self.plain.clear();
        self.number = self.number.checked_add(1).ok_or_else(|| io::Error::other("too much for a backup"))?;
        Ok(())
    }

    /// Writes the last piece.
    pub fn end(mut self) -> io::Result<W> {
        self.piece(true)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// A backup that is being read.
pub struct Opening<R> {
    from: R,
    key: LessSafeKey,
    line: String,
    front: [u8; 7],
    number: u32,
    plain: Vec<u8>,
    at: usize,
    is_over: bool,
}

impl<R: BufRead> Opening<R> {
    /// Reads the first line.
    pub fn begin(mut from: R, passphrase: &str) -> Result<Self, String> {
        let mut line = Vec::new();
        from.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
        let line = String::from_utf8(line).unwrap_or_default();
        let head = line.strip_prefix(FRONT).and_then(|head| head.strip_suffix('\n'));
        let head: Value = head
            .and_then(|head| serde_json::from_str(head).ok())
            .ok_or("this is no backup of a Controller")?;
        let form = head["form"].as_u64().unwrap_or(0);
        if form != FORM {
            return Err(format!(
                "it was made by version {} in form {form}, and this version reads form {FORM}: restore it by that version",
                head["made_by"].as_str().unwrap_or("?")
            ));
        }
        let damaged = "its first line is damaged: take another backup";
        let number = |name: &str, most: u64| head[name].as_u64().filter(|number| *number <= most);
        let kib = number("kib", KIB_MAX).and_then(|kib| u32::try_from(kib).ok()).ok_or(damaged)?;
        let rounds =
            number("rounds", ROUNDS_MAX).and_then(|rounds| u32::try_from(rounds).ok()).ok_or(damaged)?;
        let bytes = |name: &str| head[name].as_str().and_then(|text| STANDARD_NO_PAD.decode(text).ok());
        let salt = bytes("salt").filter(|salt| salt.len() == 16).ok_or(damaged)?;
        let front: [u8; 7] = bytes("nonce").and_then(|front| front.try_into().ok()).ok_or(damaged)?;
        let key = key(passphrase, &salt, kib, rounds)?;
        let mut opening =
            Opening { from, key, line, front, number: 0, plain: Vec::new(), at: 0, is_over: false };
        opening.piece()?;
        Ok(opening)
    }

    fn piece(&mut self) -> Result<(), String> {
        if self.is_over {
            return Err("it ends too soon: take another backup".to_owned());
        }
        let mut sealed = Vec::with_capacity(PIECE + TAG);
        let limit = u64::try_from(PIECE + TAG).unwrap_or(u64::MAX);
        self.from.by_ref().take(limit).read_to_end(&mut sealed).map_err(|error| error.to_string())?;
        let is_last = self.from.fill_buf().map_err(|error| error.to_string())?.is_empty();
        let nonce = nonce(&self.front, self.number, is_last);
        let opened = self.key.open_in_place(nonce, Aad::from(self.line.as_bytes()), &mut sealed);
        let Ok(plain) = opened else {
            return Err(match self.number {
                0 => "the passphrase does not open it, or it is damaged at its beginning: try another passphrase or another backup".to_owned(),
                number => format!("it is damaged or cut in piece {number}: take another backup"),
            });
        };
        self.plain = plain.to_vec();
        self.at = 0;
        self.number = self.number.checked_add(1).ok_or("it is too long")?;
        self.is_over = is_last;
        Ok(())
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            if self.at == self.plain.len() {
                self.piece()?;
            }
            let end = (self.at + length - bytes.len()).min(self.plain.len());
            bytes.extend_from_slice(&self.plain[self.at..end]);
            self.at = end;
        }
        Ok(bytes)
    }

    /// The next record.
    pub fn record(&mut self) -> Result<(u8, Vec<u8>, Vec<u8>), String> {
        let head: [u8; 9] = self.bytes(9)?.try_into().map_err(|_| "it ends too soon")?;
        let length = |at: usize| {
            let bytes: [u8; 4] = [head[at], head[at + 1], head[at + 2], head[at + 3]];
            usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX)
        };
        if length(1) > NAME_MAX || length(5) > CONTENT_MAX {
            return Err("a record in it is too long: restore it by the version that made it".to_owned());
        }
        Ok((head[0], self.bytes(length(1))?, self.bytes(length(5))?))
    }

    /// Says whether nothing is left.
    pub fn end(&self) -> Result<(), String> {
        match self.is_over && self.at == self.plain.len() {
            true => Ok(()),
            false => Err("it goes on behind its end: take another backup".to_owned()),
        }
    }
}

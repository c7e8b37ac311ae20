//! A key, and a certificate that it signs itself: to try HTTPS out, where nobody has given one yet.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Failure, exit};

/// Days that it is good for: browsers take no longer ones.
const DAYS: u64 = 397;
/// Seconds before now from which it is good: other clocks may be behind.
const EARLIER_S: u64 = 3_600;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const TEXT: u8 = 0x0c;
const TIME_SHORT: u8 = 0x17;
const TIME: u8 = 0x18;

const ECDSA_WITH_SHA256: &[u8] = &[OBJECT, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const COMMON_NAME: &[u8] = &[OBJECT, 3, 0x55, 4, 3];
const KEY_USAGE: &[u8] = &[OBJECT, 3, 0x55, 0x1d, 0x0f];
const ALTERNATIVE_NAMES: &[u8] = &[OBJECT, 3, 0x55, 0x1d, 0x11];
const EXTENDED_USAGE: &[u8] = &[OBJECT, 3, 0x55, 0x1d, 0x25];
const SERVER_AUTHENTICATION: &[u8] = &[OBJECT, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1];

/// One value in the form of DER, its content in pieces.
fn value(tag: u8, pieces: &[&[u8]]) -> Vec<u8> {
    let len: usize = pieces.iter().map(|piece| piece.len()).sum();
    let mut bytes = vec![tag];
    match len {
        0..0x80 => bytes.push(len as u8),
        0x80..0x100 => bytes.extend_from_slice(&[0x81, len as u8]),
        // No certificate of ours is longer than 64 KiB.
        _ => bytes.extend_from_slice(&[0x82, (len >> 8) as u8, len as u8]),
    }
    pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
    bytes
}

/// A moment as certificates write it.
fn time(unix_s: u64) -> Vec<u8> {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    // Years from March to February: the day that leap years have more is the last one.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day = shifted % 146_097;
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let part = (5 * day + 2) / 153;
    let month = if part < 10 { part + 3 } else { part - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let day = day - (153 * part + 2) / 5 + 1;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    // Years before 2050 have two digits.
    if year < 2050 { value(TIME_SHORT, &[&text.as_bytes()[2..]]) } else { value(TIME, &[text.as_bytes()]) }
}

fn extension(id: &[u8], content: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[id, &value(OCTETS, &[content])])
}

/// The key in PKCS #8 and the certificate, both in DER. `names` are host names and addresses, at least one.
fn make(names: &[String], now_s: u64) -> Result<(Vec<u8>, Vec<u8>), aws_lc_rs::error::Unspecified> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
    let mut serial = [0; 16];
    fill(&mut serial)?;
    // Positive, and in its shortest form.
    serial[0] = serial[0] & 0x7f | 0x40;
    let algorithm = value(SEQUENCE, &[ECDSA_WITH_SHA256]);
    let subject = names.first().map_or("", |name| name);
    let subject = value(
        SEQUENCE,
        &[&value(SET, &[&value(SEQUENCE, &[COMMON_NAME, &value(TEXT, &[subject.as_bytes()])])])],
    );
    let names: Vec<u8> = names
        .iter()
        .flat_map(|name| match name.parse() {
            Ok(IpAddr::V4(ip)) => value(0x87, &[&ip.octets()]),
            Ok(IpAddr::V6(ip)) => value(0x87, &[&ip.octets()]),
            Err(_) => value(0x82, &[name.as_bytes()]),
        })
        .collect();
    let extensions = [
        extension(ALTERNATIVE_NAMES, &value(SEQUENCE, &[&names])),
        // Signatures only.
        extension(KEY_USAGE, &value(BITS, &[&[7, 0x80]])),
        extension(EXTENDED_USAGE, &value(SEQUENCE, &[SERVER_AUTHENTICATION])),
    ]
    .concat();
    let good = [time(now_s - EARLIER_S), time(now_s - EARLIER_S + DAYS * 86_400)].concat();
    let told = value(
        SEQUENCE,
        &[
            &value(0xa0, &[&value(INTEGER, &[&[2]])]),
            &value(INTEGER, &[&serial]),
            &algorithm,
            &subject,
            &value(SEQUENCE, &[&good]),
            &subject,
            pair.public_key().as_der()?.as_ref(),
            &value(0xa3, &[&value(SEQUENCE, &[&extensions])]),
        ],
    );
    let signature = pair.sign(&SystemRandom::new(), &told)?;
    let certificate = value(SEQUENCE, &[&told, &algorithm, &value(BITS, &[&[0], signature.as_ref()])]);
    Ok((pair.to_pkcs8v1()?.as_ref().to_vec(), certificate))
}

fn pem(kind: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

/// Makes both files; the key's can be read by its owner only.
//= TLS-SELF-01
pub fn write(names: &[String], chain: &Path, key: &Path) -> Result<(), Failure> {
    let unfit = |name: &&String| {
        let is_text = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-*:_".contains(&byte));
        name.is_empty() || name.len() > 253 || !is_text
    };
    if let Some(name) = names.iter().find(unfit) {
        let fix = "write a host name, such as www.example.com, or an IP address";
        return Err(Failure::new(
            exit::USAGE,
            format!("--name {name}: neither a host name nor an address"),
            fix,
        ));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let made = make(names, now.max(EARLIER_S));
    let (secret, certificate) =
        made.map_err(|_| Failure::new(exit::FAILED, "no key could be made", "try again"))?;
    for (path, text, mode) in
        [(key, pem("PRIVATE KEY", &secret), 0o600), (chain, pem("CERTIFICATE", &certificate), 0o644)]
    {
        let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        written.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
            let fix = "name files that are not there yet, in a folder that you may write to";
            Failure::new(exit::FAILED, format!("{}: {error}", path.display()), fix)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (unix_s, text) in [
            (0, "700101000000Z"),
            (951_782_399, "000228235959Z"),
            (951_782_400, "000229000000Z"),
            (1_767_225_599, "251231235959Z"),
            (4_107_542_400, "21000301000000Z"),
        ] {
            assert_eq!(time(unix_s)[2..], *text.as_bytes(), "{unix_s}");
        }
    }
}

//! What an authority says of a certificate (OCSP, RFC 6960), as far as it has to be known to show it or not: clients judge
//! its signature.

use rustls::pki_types::CertificateDer;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::asn1::GeneralizedTime;
use x509_cert::der::{AnyRef, Decode, Reader, SliceReader, Tag, Tagged};

/// Until when an answer is good, seconds since 1970; `None`: it does not say so.
pub(super) type Until = Option<i64>;

/// Reads an answer about a certificate.
///
/// # Errors
/// Why it cannot be shown with that certificate, with the remedy.
pub(super) fn read(answer: &[u8], certificate: &CertificateDer<'_>) -> Result<Until, &'static str> {
    let certificate =
        CertificateInner::<Raw>::from_der(certificate).map_err(|_| "it is about no certificate")?;
    let (status, singles) = singles(answer).ok_or("it is no answer of OCSP; write one in DER form")?;
    if status != [0] {
        return Err("it says that the authority gave no answer; ask again");
    }
    let serial = plain(certificate.tbs_certificate().serial_number().as_bytes());
    let ours = singles.iter().find(|single| plain(single.serial) == serial);
    let ours = ours.ok_or("it is about another certificate; ask about this one")?;
    match ours.status {
        0 => Ok(ours.next_update),
        1 => Err("it says that the certificate was revoked; get a new one"),
        _ => Err("it says that the authority does not know the certificate; ask the one that signed it"),
    }
}

/// What is said of one certificate.
struct Single<'d> {
    serial: &'d [u8],
    /// 0: good, 1: revoked, 2: unknown.
    status: u32,
    next_update: Until,
}

/// The elements of a structure.
fn parts(of: AnyRef<'_>) -> Option<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(of.value()).ok()?;
    let mut parts = Vec::new();
    while !reader.is_finished() {
        parts.push(AnyRef::decode(&mut reader).ok()?);
    }
    Some(parts)
}

/// The status of an answer, and all that it says of certificates.
fn singles(answer: &[u8]) -> Option<(&[u8], Vec<Single<'_>>)> {
    let whole = parts(AnyRef::from_der(answer).ok().filter(|whole| whole.tag() == Tag::Sequence)?)?;
    let (status, rest) = whole.split_first()?;
    if status.tag() != Tag::Enumerated {
        return None;
    }
    let Some(wrapped) = rest.first() else { return Some((status.value(), Vec::new())) };
    let [typed] = parts(*wrapped)?[..] else { return None };
    let [_, content] = parts(typed)?[..] else { return None };
    let basic = parts(AnyRef::from_der(content.value()).ok()?)?;
    // Of version, who says so, when, and the list only the list is a plain sequence.
    let said = parts(*basic.first()?)?;
    let list = said.iter().find(|part| part.tag() == Tag::Sequence)?;
    let all: Option<Vec<Single<'_>>> = parts(*list)?.into_iter().map(single).collect();
    Some((status.value(), all?))
}

fn single(of: AnyRef<'_>) -> Option<Single<'_>> {
    let parts_of_it = parts(of)?;
    let [id, status, _, rest @ ..] = &parts_of_it[..] else { return None };
    let serial = parts(*id)?.last().filter(|part| part.tag() == Tag::Integer)?.value();
    let Tag::ContextSpecific { number, .. } = status.tag() else { return None };
    let is_next =
        |part: &&AnyRef<'_>| matches!(part.tag(), Tag::ContextSpecific { number, .. } if number.value() == 0);
    let next_update = match rest.iter().find(is_next) {
        None => None,
        Some(part) => {
            let time = GeneralizedTime::from_der(part.value()).ok()?;
            Some(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX))
        }
    };
    Some(Single { serial, status: number.value(), next_update })
}

/// A number without what only says that it is not negative.
fn plain(number: &[u8]) -> &[u8] {
    match number {
        [0, rest @ ..] if !rest.is_empty() => rest,
        whole => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_answer_is_said_and_no_panic() {
        let certificate = super::super::x509::tests::site();
        let read = |bytes: &[u8]| read(bytes, &certificate);
        assert_eq!(read(b""), Err("it is no answer of OCSP; write one in DER form"));
        assert_eq!(read(&certificate), Err("it is no answer of OCSP; write one in DER form"));
        // The authority is to be asked later.
        let later = [0x30, 3, 0x0a, 1, 3];
        assert_eq!(read(&later), Err("it says that the authority gave no answer; ask again"));
        for at in 0..later.len() {
            for byte in 0..=u8::MAX {
                let mut changed = later;
                changed[at] = byte;
                assert!(read(&changed).is_err(), "byte {at} as {byte}");
                assert!(read(&changed[..at]).is_err(), "cut to {at}");
            }
        }
    }
}

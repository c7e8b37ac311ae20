//! What a certificate says of itself, as far as it counts for a score.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// What a certificate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// The last second, since 1970.
    pub not_after: i64,
    /// Its issuer is its subject.
    pub is_self_signed: bool,
}

impl About {
    /// Reads the first one of a PEM text.
    pub fn read(pem: &[u8]) -> Option<Self> {
        let der = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
        let (_, whole, _) = element(&der)?;
        let (_, mut rest, _) = element(whole)?;
        // The version may be left out.
        if rest.first() == Some(&0xa0) {
            rest = element(rest)?.2;
        }
        let (_, _, rest) = element(rest)?;
        let (_, _, rest) = element(rest)?;
        let (_, issuer, rest) = element(rest)?;
        let (_, validity, rest) = element(rest)?;
        let (_, subject, _) = element(rest)?;
        let (_, _, after) = element(validity)?;
        let (tag, after, _) = element(after)?;
        Some(About { not_after: moment(tag, after)?, is_self_signed: issuer == subject })
    }
}

/// The first element of DER: its tag, its content, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..0x80 => (usize::from(short), rest),
        long => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let length = digits
                .iter()
                .try_fold(0_usize, |all, digit| all.checked_mul(256)?.checked_add(usize::from(*digit)));
            (length?, rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// `YYMMDDHHMMSSZ` (tag 23, the years 1950 to 2049) or `YYYYMMDDHHMMSSZ` (tag 24).
fn moment(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let year = match tag {
        23 => {
            let year: i32 = text.get(..2)?.parse().ok()?;
            if year < 50 { 2000 + year } else { 1900 + year }
        }
        _ => text.get(..4)?.parse().ok()?,
    };
    let rest = text.get(if tag == 23 { 2.. } else { 4.. })?;
    let part = |at: usize| rest.get(at..at + 2);
    let stamp = format!("{year:04}-{}-{}T{}:{}:{}Z", part(0)?, part(2)?, part(4)?, part(6)?, part(8)?);
    forebay_logs::moment(&stamp).map(|micros| micros / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test MET-HEALTH-04
    #[test]
    fn a_certificate_says_how_long_it_lasts_and_who_signed_it() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).expect("a name");
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let own = params.self_signed(&key).expect("signed");
        let about = About::read(own.pem().as_bytes()).expect("a certificate");
        assert_eq!(about, About { not_after: 1_927_843_200, is_self_signed: true });
        let mut later = params.clone();
        later.not_after = rcgen::date_time_ymd(2150, 1, 1);
        later.distinguished_name = rcgen::DistinguishedName::new();
        let other = rcgen::KeyPair::generate().expect("a key");
        let issuer = rcgen::Issuer::new(params, key);
        let signed = later.signed_by(&other, &issuer).expect("signed");
        let about = About::read(signed.pem().as_bytes()).expect("a certificate");
        assert_eq!(about, About { not_after: 5_680_281_600, is_self_signed: false });
        for odd in ["", "-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n"] {
            assert_eq!(About::read(odd.as_bytes()), None, "{odd}");
        }
    }
}

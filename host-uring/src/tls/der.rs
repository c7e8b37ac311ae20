//! The few things that a certificate says of itself and that the library does not tell: names, subject, and until when
//! it is good. Of certificates that the library has parsed already; nothing here judges whom to trust.

/// What is read of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Names of hosts that it is for, lower case, `*.` in front of a wildcard.
    pub names: Vec<String>,
    /// Seconds since 1970 from which it is good.
    pub not_before: i64,
    /// Seconds since 1970 until which it is good.
    pub not_after: i64,
}

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]` of TBSCertificate: the version.
const VERSION: u8 = 0xa0;
/// `[3]` of TBSCertificate: extensions.
const EXTENSIONS: u8 = 0xa3;
/// `[2]` of GeneralName: a name of a host.
const DNS_NAME: u8 = 0x82;
/// 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// A place in a structure.
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    /// The next element: its tag and what is in it.
    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// What is in the next element, which has to be of this kind.
    fn of(&mut self, tag: u8) -> Option<&'d [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

/// What a certificate says; `None` if it is none.
pub(super) fn facts(certificate: &[u8]) -> Option<Facts> {
    let mut tbs = Der(Der(Der(certificate).of(SEQUENCE)?).of(SEQUENCE)?);
    if tbs.0.first() == Some(&VERSION) {
        tbs.next()?;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        tbs.next()?;
    }
    let mut validity = Der(tbs.of(SEQUENCE)?);
    let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
    let mut facts = Facts { names: Vec::new(), not_before, not_after };
    while let Some((tag, content)) = tbs.next() {
        if tag == EXTENSIONS {
            let mut extensions = Der(Der(content).of(SEQUENCE)?);
            while let Some(extension) = extensions.of(SEQUENCE) {
                names(extension, &mut facts.names);
            }
        }
    }
    Some(facts)
}

/// Adds the names of an extension, if it is the one that has them.
fn names(extension: &[u8], into: &mut Vec<String>) {
    let mut extension = Der(extension);
    if extension.of(OBJECT_ID) != Some(SUBJECT_ALT_NAME) {
        return;
    }
    // A flag may stand before the content.
    let content = std::iter::from_fn(|| extension.next()).find(|(tag, _)| *tag == OCTETS);
    let Some(list) = content.and_then(|(_, octets)| Der(octets).of(SEQUENCE)) else { return };
    let mut list = Der(list);
    while let Some((tag, name)) = list.next() {
        if let (DNS_NAME, Ok(name)) = (tag, std::str::from_utf8(name)) {
            into.push(name.to_ascii_lowercase());
        }
    }
}

/// Seconds since 1970 of a time in UTC: `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let text = text.strip_suffix(b"Z")?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (digits, rest) = text.split_at_checked(2)?;
            let year = number(digits)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (digits, rest) = text.split_at_checked(4)?;
            (number(digits)?, rest)
        }
        _ => return None,
    };
    let mut parts = rest.chunks(2).map(number);
    let mut part = || parts.next().flatten();
    let (month, day, hour, minute, second) = (part()?, part()?, part()?, part()?, part()?);
    if !(1..=12).contains(&month) {
        return None;
    }
    // Days since 1970, counted in years that begin on 1 March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_forms_are_seconds_since_1970() {
        assert_eq!(time((UTC_TIME, b"700101000000Z")), Some(0));
        assert_eq!(time((UTC_TIME, b"240229123456Z")), Some(1_709_210_096));
        assert_eq!(time((GENERALIZED_TIME, b"20500101000000Z")), Some(2_524_608_000));
        for wrong in [&b"240229123456"[..], b"2402291234Z", b"241329123456Z", b"24x229123456Z"] {
            assert_eq!(time((UTC_TIME, wrong)), None);
        }
    }

    #[test]
    fn what_is_cut_short_is_no_certificate_and_no_panic() {
        for length in 0..64 {
            assert_eq!(facts(&[SEQUENCE; 64][..length]), None);
            assert_eq!(facts(&[0x84; 64][..length]), None);
        }
    }
}

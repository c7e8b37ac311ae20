//! What a certificate says of itself and the TLS library does not tell: whose it is, and until when it is good. Nothing
//! here judges whom to trust.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_cert::certificate::{CertificateInner, Raw, Version};
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::time::Time;

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

/// What a certificate says; `None` if it is none.
pub(super) fn facts(certificate: &CertificateDer<'_>) -> Option<Facts> {
    // What authorities put into serial numbers and times against the rules is no reason to know nothing of the rest.
    let parsed = CertificateInner::<Raw>::from_der(certificate).ok()?;
    let tbs = parsed.tbs_certificate();
    let names = tbs.get_extension::<SubjectAltName>().ok()?.map_or_else(Vec::new, |(_, names)| names.0);
    let host = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    };
    let validity = tbs.validity();
    Some(Facts {
        names: names.iter().filter_map(host).collect(),
        not_before: unix_s(validity.not_before),
        not_after: unix_s(validity.not_after),
    })
}

/// What is read of a list of revocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListFacts {
    /// Whose list it is (RFC 4514).
    pub issuer: Box<str>,
    /// Seconds since 1970 when it was made.
    pub this_update: i64,
    /// Seconds since 1970 when the next one should be there; `None` if it does not say.
    pub next_update: Option<i64>,
    /// It is of the second version, which says what it is a list of.
    pub is_second: bool,
}

/// What a list of revocations says; `None` if it is none.
pub(super) fn list_facts(list: &CertificateRevocationListDer<'_>) -> Option<ListFacts> {
    let list = CertificateList::<Raw>::from_der(list).ok()?.tbs_cert_list;
    let is_second = list.version == Version::V2 && list.crl_extensions.is_some();
    Some(ListFacts {
        issuer: shown(&list.issuer)?,
        this_update: unix_s(list.this_update),
        next_update: list.next_update.map(unix_s),
        is_second,
    })
}

/// Who a client is, by the certificate that it has shown. Every text can stand in a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its subject (RFC 4514); empty if it has none.
    pub subject: Box<str>,
    /// Its issuer, likewise.
    pub issuer: Box<str>,
    /// Its serial number, hexadecimal digits.
    pub serial: Box<str>,
    /// SHA-256 of all of it, hexadecimal digits.
    pub fingerprint: Box<str>,
    /// From when it is good (RFC 3339).
    pub not_before: Box<str>,
    /// Until when it is good.
    pub not_after: Box<str>,
}

/// Who a certificate says that its owner is; `None` if it is none.
pub(super) fn identity(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let parsed = CertificateInner::<Raw>::from_der(certificate).ok()?;
    let tbs = parsed.tbs_certificate();
    let serial = match tbs.serial_number().as_bytes() {
        // The sign of a number whose first bit is set.
        [0, rest @ ..] if !rest.is_empty() => rest,
        whole => whole,
    };
    let time = |time: Time| time.to_date_time().to_string().into();
    Some(Identity {
        subject: shown(tbs.subject())?,
        issuer: shown(tbs.issuer())?,
        serial: hexadecimal(serial),
        fingerprint: hexadecimal(digest(&SHA256, certificate).as_ref()),
        not_before: time(tbs.validity().not_before),
        not_after: time(tbs.validity().not_after),
    })
}

/// A name as text in which nothing is left that a header field could not have: control characters are escaped by the
/// library, and so is a blank at its end, as a blank. `None`: it cannot be written.
fn shown(name: &Name) -> Option<Box<str>> {
    let mut text = String::new();
    // What clients send is no reason to panic, as `to_string` would.
    write!(text, "{name}").ok()?;
    Some(match text.strip_suffix("\\ ") {
        Some(rest) => format!("{rest}\\20").into(),
        None => text.into(),
    })
}

fn hexadecimal(bytes: &[u8]) -> Box<str> {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}

/// A certificate in PEM form, percent-encoded (RFC 3986) as one header field.
pub(super) fn escaped_pem(certificate: &CertificateDer<'_>) -> Box<str> {
    let mut text = String::from("-----BEGIN%20CERTIFICATE-----%0A");
    let encoded = STANDARD.encode(certificate);
    for (at, byte) in encoded.char_indices() {
        if at > 0 && at % 64 == 0 {
            text.push_str("%0A");
        }
        match byte {
            '+' => text.push_str("%2B"),
            '/' => text.push_str("%2F"),
            '=' => text.push_str("%3D"),
            other => text.push(other),
        }
    }
    text.push_str("%0A-----END%20CERTIFICATE-----%0A");
    text.into()
}

/// Seconds since 1970.
pub(super) fn unix_s(time: Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;

    /// Made by OpenSSL: two names of hosts among names of all other kinds, and a time of each form.
    const SITE: &str = "\
        -----BEGIN CERTIFICATE-----\n\
        MIIB4TCCAYagAwIBAgIIASNFZ4mrze8wCgYIKoZIzj0EAwIwODELMAkGA1UEBhMC\n\
        REUxFjAUBgNVBAoMDUV4YW1wbGUsIEluYy4xETAPBgNVBAMMCGFwcC50ZXN0MCAX\n\
        DTI0MDIyOTEyMzQ1NloYDzIwNTAwMTAxMDAwMDAwWjA4MQswCQYDVQQGEwJERTEW\n\
        MBQGA1UECgwNRXhhbXBsZSwgSW5jLjERMA8GA1UEAwwIYXBwLnRlc3QwWTATBgcq\n\
        hkjOPQIBBggqhkjOPQMBBwNCAARhnYyA2EEmns/v6iF+g4q0yzCnix9RAXGRAV16\n\
        tSGG3+BPyKs4H+/q1WbvG9gKencZ2sB8obJWBQ4To+FkgWC/o3gwdjBHBgNVHREE\n\
        QDA+gghBcHAudGVzdIILKi53aWxkLnRlc3SHBMAAAgGGCmh0dHBzOi8veC+gCQYC\n\
        KgOgAwwBeIEIYUBiLnRlc3QwDAYDVR0TAQH/BAIwADAdBgNVHQ4EFgQUfIfThsFn\n\
        pwdR3mJAAvayTOAv9mkwCgYIKoZIzj0EAwIDSQAwRgIhAPdtNOubPaiExY2kCMW+\n\
        mU01e2h9Od99wBg/vd26ADmeAiEAmEMyKN2z1i/LqDn7aHpHwVFgWI3PM0IGVEfi\n\
        UCjgH+4=\n\
        -----END CERTIFICATE-----\n";

    pub fn site() -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(SITE.as_bytes()).expect("a certificate")
    }

    #[test]
    fn a_certificate_tells_its_hosts_and_its_time() {
        let known = Facts {
            names: vec!["app.test".to_owned(), "*.wild.test".to_owned()],
            not_before: 1_709_210_096,
            not_after: 2_524_608_000,
        };
        assert_eq!(facts(&site()), Some(known));
    }

    #[test]
    fn a_certificate_tells_whose_it_is() {
        let who = identity(&site()).expect("a certificate");
        assert_eq!(&*who.subject, "CN=app.test,O=Example\\, Inc.,C=DE");
        assert_eq!(who.issuer, who.subject);
        assert_eq!(&*who.serial, "0123456789abcdef");
        // As `openssl x509 -fingerprint -sha256` says.
        let fingerprint = "66a859c699824b70f5638d35aec83ba2b882225567de574d2acac847b76c7745";
        assert_eq!(&*who.fingerprint, fingerprint);
        assert_eq!((&*who.not_before, &*who.not_after), ("2024-02-29T12:34:56Z", "2050-01-01T00:00:00Z"));
        let text = escaped_pem(&site()).replace("%0A", "\n").replace("%20", " ").replace("%2B", "+");
        assert_eq!(text.replace("%2F", "/").replace("%3D", "="), SITE);
    }

    #[test]
    fn what_is_cut_short_is_no_certificate_and_what_is_changed_no_panic() {
        let whole = site();
        let read = |bytes: &[u8]| facts(&CertificateDer::from(bytes));
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), None, "cut to {length}");
        }
        let mut longer = whole.to_vec();
        longer.push(0);
        assert_eq!(read(&longer), None, "something behind it");
        let (mut refused, mut read_on) = (0, 0);
        for at in 0..whole.len() {
            let mut changed = whole.to_vec();
            for byte in 0..=u8::MAX {
                changed[at] = byte;
                match read(&changed) {
                    Some(facts) => {
                        read_on += 1;
                        assert!(facts.names.iter().all(|name| name.is_ascii()), "byte {at} as {byte}");
                        let who = identity(&CertificateDer::from(&*changed)).expect("it was read just now");
                        let is_plain = |text: &str| !text.chars().any(|c| c.is_ascii_control());
                        assert!(is_plain(&who.subject) && is_plain(&who.issuer), "byte {at} as {byte}");
                        assert!(!who.subject.ends_with(' ') && !who.subject.starts_with(' '), "byte {at}");
                    }
                    None => refused += 1,
                }
            }
        }
        // A changed key or signature is not its business; a changed length or tag is.
        assert!(refused > 10_000 && read_on > 10_000, "{refused} refused, {read_on} read");
    }
}

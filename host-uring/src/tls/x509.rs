//! What a certificate says of itself and the TLS library does not tell: names, and until when it is good. Nothing here
//! judges whom to trust.

use rustls::pki_types::CertificateDer;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
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

/// Seconds since 1970.
fn unix_s(time: Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
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

    fn site() -> CertificateDer<'static> {
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
                    }
                    None => refused += 1,
                }
            }
        }
        // A changed key or signature is not its business; a changed length or tag is.
        assert!(refused > 10_000 && read_on > 10_000, "{refused} refused, {read_on} read");
    }
}

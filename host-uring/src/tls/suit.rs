//! Whether the keys of a service's certificates go with the cipher suites of its profile.

use forebay_snapshot::TlsProfile;
use forebay_snapshot::tls::{CipherSuite, TlsVersion};

use super::files;

/// Says why no client of TLS 1.2 could be served, if that is so: each suite of that version is for one kind of key.
/// `are_cheap`: of each certificate, whether its key is of another kind than RSA.
//= TLS-CHECK-04
pub(super) fn problem(profile: &TlsProfile, are_cheap: &[bool]) -> Option<String> {
    let suites: Vec<&CipherSuite> =
        profile.cipher_suites.iter().filter(|suite| suite.version() == TlsVersion::V12).collect();
    // A list without any is a problem of its own, and with an empty one all are spoken.
    if profile.min_version > TlsVersion::V12 || suites.is_empty() || are_cheap.is_empty() {
        return None;
    }
    let is_for_rsa = |suite: &&&CipherSuite| suite.word().contains("_RSA_");
    let goes_with = |is_cheap: &bool| suites.iter().any(|suite| is_for_rsa(&suite) != *is_cheap);
    if are_cheap.iter().any(goes_with) {
        return None;
    }
    let (keys, others) = if are_cheap[0] { ("ECDSA", "RSA") } else { ("RSA", "ECDSA") };
    Some(format!(
        "tls_profile \"{}\": its cipher suites of TLS 1.2 are for {others} keys, and the certificates have {keys} keys: \
         no client of TLS 1.2 could connect; add a suite with _{keys}_ in its name or a certificate with an {others} key, \
         or set min_version = \"1.3\"",
        profile.name
    ))
}

/// The same of certificates in files (chain, key); of what cannot be read nothing is said.
pub fn examine_suites(profile: &TlsProfile, files: &[(String, String)]) -> Option<String> {
    let is_cheap = |(chain, key): &(String, String)| files::load(chain, key).ok().map(|one| one.is_cheap);
    let are_cheap: Option<Vec<bool>> = files.iter().map(is_cheap).collect();
    problem(profile, &are_cheap?)
}

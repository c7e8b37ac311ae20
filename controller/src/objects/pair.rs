//! Whether a key is its certificate's: said where the two are stored, not by an engine that is to show them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use forebay_model::{Object, Problem};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use serde_json::Value;

/// The certificate and the key of an object whose secrets are open.
fn texts(object: &Object) -> Option<(String, String)> {
    let plain = |text: &Value, is_folded: &str| {
        let text = text.as_str()?;
        if object.get(is_folded).and_then(Value::as_bool) != Some(true) {
            return Some(text.to_owned());
        }
        let letters: String = text.split_whitespace().collect();
        String::from_utf8(STANDARD.decode(letters).ok()?).ok()
    };
    let certificate = plain(object.get("certificate")?.get("certificate")?, "certificate_base64")?;
    Some((certificate, plain(object.get("key")?, "key_base64")?))
}

/// Says that the key is another one's, unless `before` had the same two. Of what cannot be read here (a key with a passphrase,
/// a kind that is not known) nothing is said.
//= API-PAIR-01
pub(crate) fn misfit(object: &Object, before: Option<&Object>) -> Option<Problem> {
    let pair = texts(object)?;
    if before.and_then(texts).is_some_and(|before| before == pair) {
        return None;
    }
    let (certificate, key) = pair;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>().ok()?;
    let key = any_supported_type(&PrivateKeyDer::from_pem_slice(key.as_bytes()).ok()?).ok()?;
    if chain.is_empty() {
        return None;
    }
    match CertifiedKey::new(chain, key).keys_match() {
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Some(Problem {
            line: None,
            path: "key".to_owned(),
            reason: "it is not the key of the certificate, which is the first one in certificate.certificate".to_owned(),
            fix: "send the key that the certificate was made for, and the certificate before those that vouch for it"
                .to_owned(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn object(certificate: &str, key: &str, more: Value) -> Object {
        let mut object = json!({"certificate": {"certificate": certificate}, "key": key});
        object.as_object_mut().expect("one").extend(more.as_object().cloned().unwrap_or_default());
        object.as_object().expect("one").clone()
    }

    //= test API-PAIR-01
    #[test]
    fn a_key_that_is_anothers_is_said_and_one_that_cannot_be_read_is_not() {
        let ((first, own), (second, other)) = (made(), made());
        assert!(misfit(&object(&first, &own, json!({})), None).is_none());
        let wrong = object(&first, &other, json!({}));
        assert!(misfit(&wrong, None).is_some_and(|problem| problem.path == "key"));
        let chain = format!("{second}{first}");
        assert!(misfit(&object(&chain, &own, json!({})), None).is_some(), "the first one counts");
        assert!(misfit(&object(&chain, &other, json!({})), None).is_none());
        let folded = json!({"certificate_base64": true, "key_base64": true});
        let (code, key) = (STANDARD.encode(&first), STANDARD.encode(&other));
        assert!(misfit(&object(&code, &key, folded), None).is_some());
        // What was stored before anybody looked can be changed in other ways.
        assert!(misfit(&wrong, Some(&wrong)).is_none());
        assert!(misfit(&wrong, Some(&object(&first, &own, json!({})))).is_some());
        for (certificate, key) in [("no PEM", own.as_str()), (first.as_str(), "no key"), ("", "")] {
            assert!(misfit(&object(certificate, key, json!({})), None).is_none());
        }
    }
}

//! The authority of the engines: it signs their certificates and the Controller's own.
//!
//! Its key is in the store, sealed. Whoever has a certificate of it is an engine, or the Controller.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use forebay_wire::{CONTROLLER_NAME, engine_name};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};

use crate::sealed::Seal;
use crate::store::{Refusal, Step, Store};

/// Where the store has it.
const KEY: &str = "authority";
//= CHAN-CLOCK-01
/// Certificates are good from so long ago on: clocks differ.
const EARLIER: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// How long the authority is good: longer than machines are.
const AUTHORITY_DAYS: u32 = 20 * 365;
/// How long certificates are good: engines renew theirs when a third of it is left.
pub const DAYS: u32 = 397;

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate as an engine gets it.
pub struct Issued {
    /// Its own, PEM.
    pub certificate: String,
    /// The authority's, PEM.
    pub authority: String,
}

/// A certificate with its key, for who reads what engines share.
pub struct Files {
    /// Its own, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
    /// The authority's certificate, PEM.
    pub authority: String,
}

/// A key that somebody else has the other half of: a point of P-256.
struct Point<'p>(&'p [u8]);

impl PublicKeyData for Point<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl Authority {
    /// Where the store has it.
    pub const KEY: &str = KEY;
    /// What is said where another key sealed it.
    pub const FOREIGN: &str = "the authority of the engines does not open: store.key is not the one that sealed it; \
                               put the right one in its place";

    /// The authority that the store has; made if there is none.
    ///
    /// # Errors
    /// Those of the store; its key does not open.
    pub async fn open(store: &impl Store, seal: &Seal) -> Result<Self, Refusal> {
        let unavailable = |what: String| Refusal::Unavailable(what);
        loop {
            if let Some(stored) = store.get(KEY).await? {
                return read(&stored.value, seal).ok_or_else(|| unavailable(Self::FOREIGN.to_owned()));
            }
            let made = make(seal).map_err(unavailable)?;
            let step = Step::default().demand(KEY, None).write(KEY, Some(made.to_string().into_bytes()));
            match store.commit(step).await {
                // Another one was faster: its authority counts.
                Ok(_) | Err(Refusal::Conflict(_)) => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// Says whether this key seals what the store has.
    pub fn opens(sealed: &[u8], seal: &Seal) -> bool {
        read(sealed, seal).is_some()
    }

    /// Its certificate (DER).
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// A certificate for an engine, by its public key (a point of P-256, uncompressed), for its stream and for what it says
    /// to the other engines of its group.
    ///
    /// # Errors
    /// It is no such key.
    //= CHAN-ENROLL-02
    pub fn issue(&self, uuid: &str, member: String, key: &[u8]) -> Result<Issued, String> {
        if key.len() != 65 || key[0] != 4 {
            return Err("the public key is no uncompressed point of P-256 (65 bytes)".to_owned());
        }
        let told = described(vec![engine_name(uuid), member], uuid)?;
        let made = told.signed_by(&Point(key), &self.issuer).map_err(|error| error.to_string())?;
        Ok(Issued { certificate: made.pem(), authority: pem(&self.certificate) })
    }

    /// A certificate by which the Controller comes to engines to read what they share: by this name alone, which is none of an
    /// engine.
    ///
    /// # Errors
    /// The system gives no random numbers for a key.
    //= SYNC-MIRROR-01
    pub fn issue_reader(&self, name: &str) -> Result<Files, String> {
        let pair = KeyPair::generate().map_err(|error| error.to_string())?;
        let told = described(vec![name.to_owned()], "controller")?;
        let made = told.signed_by(&pair, &self.issuer).map_err(|error| error.to_string())?;
        Ok(Files { certificate: made.pem(), key: pair.serialize_pem(), authority: pem(&self.certificate) })
    }

    /// What the Controller shows to engines, and whom it lets in: who has a certificate of this authority, and who shows
    /// none, for that one has a token.
    ///
    /// # Errors
    /// The system gives no random numbers for a key.
    pub fn server(&self) -> Result<Arc<ServerConfig>, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let pair = KeyPair::generate().map_err(|error| told(&error))?;
        let made = described(vec![CONTROLLER_NAME.to_owned()], "controller")?
            .signed_by(&pair, &self.issuer)
            .map_err(|error| told(&error))?;
        let key = PrivateKeyDer::try_from(pair.serialize_der()).map_err(|error| told(&error))?;
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).map_err(|error| told(&error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let engines = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| told(&error))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| told(&error))?
            .with_client_cert_verifier(engines)
            .with_single_cert(vec![made.der().clone()], key)
            .map_err(|error| told(&error))?;
        // Each connection is judged by certificates as they are now: nothing is resumed.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    // A common name has no more characters.
    named.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    named
}

fn described(names: Vec<String>, shown: &str) -> Result<CertificateParams, String> {
    let mut told = CertificateParams::new(names).map_err(|error| error.to_string())?;
    told.distinguished_name = named(shown);
    told.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Engines call the Controller, and one another.
    told.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    told.use_authority_key_identifier_extension = true;
    let begin = SystemTime::now() - EARLIER;
    (told.not_before, told.not_after) = (begin.into(), (begin + EARLIER + DAY * DAYS).into());
    Ok(told)
}

fn authority() -> CertificateParams {
    let mut told = CertificateParams::default();
    told.distinguished_name = named("Forebay engines");
    told.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    told.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    told
}

fn make(seal: &Seal) -> Result<Value, String> {
    let pair = KeyPair::generate().map_err(|error| error.to_string())?;
    let mut told = authority();
    let begin = SystemTime::now() - EARLIER;
    (told.not_before, told.not_after) = (begin.into(), (begin + DAY * AUTHORITY_DAYS).into());
    let made = told.self_signed(&pair).map_err(|error| error.to_string())?;
    let key = seal.seal(KEY, "key", &Value::from(STANDARD.encode(pair.serialize_der())))?;
    Ok(json!({"certificate": STANDARD.encode(made.der()), "key": key}))
}

fn read(bytes: &[u8], seal: &Seal) -> Option<Authority> {
    let held: Value = serde_json::from_slice(bytes).ok()?;
    let certificate = STANDARD.decode(held["certificate"].as_str()?).ok()?;
    let key = STANDARD.decode(seal.unseal(KEY, "key", &held["key"])?.as_str()?).ok()?;
    let pair = KeyPair::try_from(key.as_slice()).ok()?;
    // It is named and described as when it was made.
    Some(Authority { issuer: Issuer::new(authority(), pair), certificate: CertificateDer::from(certificate) })
}

/// A certificate in PEM form.
fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Embedded;
    use crate::store::suite::Folder;

    //= test CHAN-ENROLL-02
    #[tokio::test]
    async fn an_authority_is_made_once_and_its_key_is_sealed() {
        let folder = Folder::new("authority");
        let store = Embedded::open(&folder.0.join("store")).expect("a store");
        let seal = Seal::open(&folder.0.join("key")).expect("a key");
        let first = Authority::open(&store, &seal).await.expect("made");
        let again = Authority::open(&store, &seal).await.expect("read");
        assert_eq!(first.certificate(), again.certificate());
        let other = Seal::open(&folder.0.join("other")).expect("a key");
        let refusal = Authority::open(&store, &other).await.err().expect("it does not open");
        assert!(refusal.to_string().contains("store.key"), "{refusal}");
        let stored = store.get(KEY).await.expect("read").expect("there").value;
        let held: Value = serde_json::from_slice(&stored).expect("JSON");
        assert!(held["key"]["sealed"].is_string(), "{held}");
        let pair = KeyPair::generate().expect("a key");
        let issued =
            again.issue("se-1", "se-0.g.forebay.internal".to_owned(), pair.public_key_raw()).expect("one");
        assert!(issued.certificate.contains("BEGIN CERTIFICATE") && issued.authority != issued.certificate);
        again.issue("se-1", "x".to_owned(), &[4; 64]).err().expect("no key");
        again.server().expect("what the Controller shows");
    }
}

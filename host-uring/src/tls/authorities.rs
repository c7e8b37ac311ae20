//! Whom a service trusts that asks its clients for certificates: authorities and what they have revoked, as read from
//! files, and how a client is judged by them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_snapshot::PkiProfile;
use forebay_snapshot::tls::{ClientCertificateMode, Unchecked};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, anchor_from_trusted_cert,
};

use super::files::{self, Signature};
use super::x509::{self, ListFacts};
use crate::limits::{AUTHORITIES_FILE_BYTES_MAX, AUTHORITIES_MAX, REVOCATIONS_FILE_BYTES_MAX};

/// Who is asked for a certificate, and whom to trust.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Who is asked.
    pub mode: ClientCertificateMode,
    /// Who is trusted.
    pub pki: PkiProfile,
}

/// An authority.
#[derive(Debug)]
struct Authority {
    anchor: TrustAnchor<'static>,
    /// Seconds since 1970 until which it is good.
    not_after: i64,
}

/// Judges the certificates of clients.
#[derive(Debug)]
pub(super) struct Authorities {
    anchors: Vec<TrustAnchor<'static>>,
    /// Until when each of them is good, in the same order.
    not_after: Vec<i64>,
    names: Vec<DistinguishedName>,
    /// The newest of each authority first.
    revoked: Vec<CertRevocationList<'static>>,
    /// What these say of themselves, in the same order.
    facts: Vec<ListFacts>,
    asked: Asked,
    provider: Arc<CryptoProvider>,
}

/// Reads what a service trusts.
///
/// # Errors
/// All that is wrong with the files, each with its setting, the file and the remedy.
//= TLS-CLIENT-CHECK-02
pub(super) fn load(asked: &Asked, provider: &Arc<CryptoProvider>) -> Result<Authorities, Vec<String>> {
    let mut problems = Vec::new();
    let authorities = authorities(&asked.pki.ca_file).unwrap_or_else(|why| {
        problems.push(why);
        Vec::new()
    });
    let mut lists = Vec::new();
    for file in &asked.pki.crl_files {
        match revocations(file) {
            Ok(of_file) => lists.extend(of_file),
            Err(why) => problems.push(why),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    // The library takes the first list that an authority has.
    lists.sort_by_key(|(facts, _): &(ListFacts, _)| std::cmp::Reverse(facts.this_update));
    Ok(Authorities {
        names: authorities.iter().map(|one| DistinguishedName::in_sequence(&one.anchor.subject)).collect(),
        not_after: authorities.iter().map(|one| one.not_after).collect(),
        anchors: authorities.into_iter().map(|one| one.anchor).collect(),
        facts: lists.iter().map(|(facts, _)| facts.clone()).collect(),
        revoked: lists.into_iter().map(|(_, list)| list).collect(),
        asked: asked.clone(),
        provider: Arc::clone(provider),
    })
}

/// What is wrong with the files of a profile: which setting names the file, and why, with the remedy.
pub fn examine_pki(pki: &PkiProfile) -> Vec<(&'static str, String)> {
    let of_authorities = authorities(&pki.ca_file).err().map(|why| ("ca_file", why));
    let of_lists = pki.crl_files.iter().filter_map(|file| Some(("crl_files", revocations(file).err()?)));
    of_authorities.into_iter().chain(of_lists).collect()
}

/// What tells the files of a profile from what they were.
pub(super) fn signatures(pki: &PkiProfile) -> impl Iterator<Item = (PathBuf, Option<Signature>)> {
    let files = std::iter::once(&pki.ca_file).chain(&pki.crl_files);
    files.map(|file| (PathBuf::from(file), files::signature(Path::new(file)).ok()))
}

fn authorities(file: &str) -> Result<Vec<Authority>, String> {
    let said = |why: String| format!("ca_file {file}: {why}");
    let (bytes, _) = files::read(file, AUTHORITIES_FILE_BYTES_MAX).map_err(&said)?;
    let mut authorities = Vec::new();
    for (n, part) in CertificateDer::pem_slice_iter(&bytes).enumerate() {
        let part = part.map_err(|error| said(format!("part {} is no PEM: {error:?}", n + 1)))?;
        let unread = || said(format!("part {} is no certificate of an authority", n + 1));
        let anchor = anchor_from_trusted_cert(&part).map_err(|_| unread())?.to_owned();
        let not_after = x509::facts(&part).ok_or_else(unread)?.not_after;
        authorities.push(Authority { anchor, not_after });
    }
    if authorities.is_empty() {
        let why = "it holds no certificate; write one that begins with -----BEGIN CERTIFICATE-----";
        return Err(said(why.to_owned()));
    }
    if authorities.len() > AUTHORITIES_MAX {
        let got = authorities.len();
        return Err(said(format!(
            "it holds {got} authorities, at most {AUTHORITIES_MAX} are told to clients; leave out those that none of them has a certificate of"
        )));
    }
    let now = files::unix_s();
    if authorities.iter().all(|one| one.not_after < now) {
        return Err(said("none of its authorities is good any more; get their new certificates".to_owned()));
    }
    Ok(authorities)
}

/// The lists in a file, in PEM form or one in DER form.
fn revocations(file: &str) -> Result<Vec<(ListFacts, CertRevocationList<'static>)>, String> {
    let said = |why: String| format!("crl_files {file}: {why}");
    let (bytes, _) = files::read(file, REVOCATIONS_FILE_BYTES_MAX).map_err(&said)?;
    let mut parts = Vec::new();
    match bytes.first() {
        // A sequence in DER form; no text begins so.
        Some(0x30) if !bytes.starts_with(b"0-") => {
            parts.push(CertificateRevocationListDer::from(bytes.to_vec()))
        }
        _ => {
            for (n, part) in CertificateRevocationListDer::pem_slice_iter(&bytes).enumerate() {
                parts.push(part.map_err(|error| said(format!("part {} is no PEM: {error:?}", n + 1)))?);
            }
        }
    }
    if parts.is_empty() {
        let why = "it holds no list; write one that begins with -----BEGIN X509 CRL-----";
        return Err(said(why.to_owned()));
    }
    let list = |(n, part): (usize, &CertificateRevocationListDer<'_>)| {
        let wrong = |why: String| said(format!("part {} cannot be used: {why}", n + 1));
        let facts = x509::list_facts(part).ok_or_else(|| wrong("it is no list of revocations".to_owned()))?;
        if !facts.is_second {
            let why = "it is of version 1, without a number; let the authority make lists of version 2 (with OpenSSL by crl_extensions and crlnumber)";
            return Err(wrong(why.to_owned()));
        }
        let list = OwnedCertRevocationList::from_der(part).map_err(|error| wrong(error.to_string()))?;
        Ok((facts, CertRevocationList::Owned(list)))
    };
    parts.iter().enumerate().map(list).collect()
}

impl Authorities {
    /// When the newest list of each authority should have been renewed, seconds since 1970, with the authority's name.
    //= TLS-CLIENT-07
    pub(super) fn next_updates(&self) -> Vec<(Box<str>, i64)> {
        let mut newest: Vec<(Box<str>, i64)> = Vec::new();
        for facts in &self.facts {
            if let Some(until) = facts.next_update
                && !newest.iter().any(|(issuer, _)| *issuer == facts.issuer)
            {
                newest.push((facts.issuer.clone(), until));
            }
        }
        newest
    }

    /// Says whether somebody is let in who shows no certificate.
    //= TLS-CLIENT-02
    fn takes_strangers(&self) -> bool {
        self.asked.mode == ClientCertificateMode::Request
    }

    fn algorithms(&self) -> &'static [&'static dyn SignatureVerificationAlgorithm] {
        self.provider.signature_verification_algorithms.all
    }

    //= TLS-CLIENT-01
    //= TLS-CLIENT-03
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let pki = &self.asked.pki;
        let lists: Vec<&CertRevocationList<'_>> = self.revoked.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(match pki.validate_only_leaf_crl {
                    true => RevocationCheckDepth::EndEntity,
                    false => RevocationCheckDepth::Chain,
                })
                .with_status_policy(match pki.without_crl {
                    Unchecked::Accept => UnknownStatusPolicy::Allow,
                    Unchecked::Refuse => UnknownStatusPolicy::Deny,
                })
                .with_expiration_policy(match pki.expired_crl {
                    Unchecked::Accept => ExpirationPolicy::Ignore,
                    Unchecked::Refuse => ExpirationPolicy::Enforce,
                })
                .build()
        });
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        EndEntityCert::try_from(certificate)?.verify_for_usage(
            self.algorithms(),
            &self.anchors,
            others,
            now,
            KeyUsage::client_auth(),
            revocation,
            Some(&|path| {
                if path.intermediate_certificates().count() > usize::from(pki.depth_max) {
                    return Err(webpki::Error::MaximumPathDepthExceeded);
                }
                // The library trusts an authority for ever.
                let at = self.anchors.iter().position(|one| std::ptr::eq(one, path.anchor()));
                match at.and_then(|at| self.not_after.get(at)) {
                    Some(until) if *until >= seconds => Ok(()),
                    until => Err(webpki::Error::CertExpired {
                        time: now,
                        not_after: UnixTime::since_unix_epoch(std::time::Duration::from_secs(
                            until.and_then(|until| u64::try_from(*until).ok()).unwrap_or(0),
                        )),
                    }),
                }
            }),
        )?;
        Ok(())
    }
}

impl ClientCertVerifier for Authorities {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn client_auth_mandatory(&self) -> bool {
        !self.takes_strangers()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.judge(certificate, others, now) {
            // Who is let in has to be somebody whom the log and servers can be told of.
            Ok(()) if x509::identity(certificate).is_some() => Ok(ClientCertVerified::assertion()),
            Ok(()) => Err(CertificateError::BadEncoding.into()),
            Err(why) => Err(refusal(why).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What the client is told.
fn refusal(why: webpki::Error) -> CertificateError {
    use webpki::Error as Why;
    match why {
        Why::BadDer | Why::BadDerTime | Why::TrailingData(_) => CertificateError::BadEncoding,
        Why::CertExpired { .. } | Why::InvalidCertValidity => CertificateError::Expired,
        Why::CertNotValidYet { .. } => CertificateError::NotValidYet,
        Why::CertRevoked => CertificateError::Revoked,
        Why::UnknownRevocationStatus | Why::IssuerNotCrlSigner | Why::InvalidCrlSignatureForPublicKey => {
            CertificateError::UnknownRevocationStatus
        }
        Why::CrlExpired { .. } => CertificateError::ExpiredRevocationList,
        Why::UnknownIssuer => CertificateError::UnknownIssuer,
        Why::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        Why::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
}

/// Says whether a refusal was for want of room between the certificate and its authority.
pub(super) fn is_too_deep(why: &OtherError) -> bool {
    matches!(
        why.0.downcast_ref::<webpki::Error>(),
        Some(webpki::Error::MaximumPathDepthExceeded | webpki::Error::PathLenConstraintViolated)
    )
}

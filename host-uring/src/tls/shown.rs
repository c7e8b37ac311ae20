//! Certificates as a person wants to see them, of a file that holds some.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName, SubjectKeyIdentifier};

use super::x509::{Identity, identity, unix_s};

/// What one certificate says.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Whose it is, by whom, and how it is known again.
    pub identity: Identity,
    /// The name in its subject that is meant for people; `None` if there is none.
    pub common_name: Option<String>,
    /// Whether its subject is that name and nothing else.
    pub is_plainly_named: bool,
    /// Whether its owner may sign certificates.
    pub is_authority: bool,
    /// Host names that it is for.
    pub hosts: Vec<String>,
    /// Addresses that it is for.
    pub addresses: Vec<IpAddr>,
    /// Seconds since 1970 until which it is good.
    pub not_after_s: i64,
    /// The public key as it stands in it.
    pub public_key: Vec<u8>,
    /// By what it calls that key; `None` if it does not.
    pub key_id: Option<Vec<u8>>,
}

/// All certificates of a file in PEM form.
///
/// # Errors
/// In words, if one of them cannot be read, or there is none.
pub fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, &'static str> {
    let mut found = Vec::new();
    for one in CertificateDer::pem_slice_iter(pem) {
        let one = one.map_err(|_| "no PEM file: its frame is broken")?;
        found.push(certificate(&one).ok_or("it holds a certificate that cannot be read")?);
    }
    if found.is_empty() { Err("no certificate is in it") } else { Ok(found) }
}

fn certificate(der: &CertificateDer<'_>) -> Option<Certificate> {
    let parsed = CertificateInner::<Raw>::from_der(der).ok()?;
    let tbs = parsed.tbs_certificate();
    let names = tbs.get_extension::<SubjectAltName>().ok()?.map_or_else(Vec::new, |(_, names)| names.0);
    let host = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        _ => None,
    };
    let address = |name: &GeneralName| match name {
        GeneralName::IpAddress(bytes) => <[u8; 4]>::try_from(bytes.as_bytes())
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(bytes.as_bytes()).map(IpAddr::from))
            .ok(),
        _ => None,
    };
    let key_id = tbs.get_extension::<SubjectKeyIdentifier>().ok()?.map(|(_, id)| id.0.into_bytes().into());
    Some(Certificate {
        identity: identity(der)?,
        common_name: tbs.subject().common_name().ok()?.map(|name| name.value().into_owned()),
        is_plainly_named: tbs.subject().len() == 1,
        is_authority: tbs.get_extension::<BasicConstraints>().ok()?.is_some_and(|(_, basic)| basic.ca),
        hosts: names.iter().filter_map(host).collect(),
        addresses: names.iter().filter_map(address).collect(),
        not_after_s: unix_s(tbs.validity().not_after),
        public_key: tbs.subject_public_key_info().subject_public_key.raw_bytes().to_vec(),
        key_id,
    })
}

//! Certificates of clients: who is asked for one, whom to trust, and what servers are told.

use std::collections::BTreeMap;

use forebay_core::policy::{Action, Edit, On};

use crate::Snapshot;
use crate::ignored::report;
use crate::limits;
use crate::read::{Reader, printable, section, words};
use crate::rules;
use crate::service::{Protocol, VirtualService};

section! {
    /// Which authorities' clients are let in, and what those authorities have revoked; the files are read when the configuration is loaded.
    pub struct PkiProfile {
        /// Its name.
        name: String, is rules::name;
        /// Authorities whose clients are let in, a file of certificates in PEM form; each is trusted for itself, whoever signed it. A relative path counts from the configuration's folder.
        ca_file: String, is rules::path;
        /// Lists of what authorities have revoked, files in PEM or DER form. Empty: nothing counts as revoked.
        crl_files: Vec<String> = Vec::new();
        /// Only the client's own certificate has to be on no list; `false`: those of the authorities above it as well. Avi: the same name.
        validate_only_leaf_crl: bool = true;
        /// What becomes of a client whose authority has no list in `crl_files`, where there are any.
        without_crl: Unchecked = Unchecked::Refuse;
        /// What becomes of a client whose authority's list should have been renewed by now.
        expired_crl: Unchecked = Unchecked::Refuse;
        /// Authorities that may stand between a client's certificate and one of `ca_file`.
        depth_max: u8 = 3, in 0..=5;
    }

    /// Certificates of a service's clients.
    pub struct ClientCertificate {
        /// `none` asks for none; `request` lets in who shows none, and nobody who shows a bad one; `require` lets in nobody without. Avi: `ssl_client_certificate_mode`.
        mode: ClientCertificateMode = ClientCertificateMode::None;
        /// The `[[pki_profile]]` that judges them.
        pki_profile: Option<String> = None;
        /// Header fields that tell servers who the client is.
        headers: ClientCertificateHeaders = ClientCertificateHeaders::default();
    }

    /// Names of header fields that tell servers who the client is. What a client sends under these names, `_` for `-` as well, never reaches a server; with `mode = "none"`, for the same pool behind a port without TLS, that is all that they do.
    pub struct ClientCertificateHeaders {
        /// Its subject, as in RFC 4514: `CN=anna,O=Example`.
        subject: Option<String> = None, is rules::identity_header;
        /// Its issuer, likewise.
        issuer: Option<String> = None, is rules::identity_header;
        /// Its serial number, in hexadecimal digits.
        serial: Option<String> = None, is rules::identity_header;
        /// The SHA-256 digest of the whole certificate, in hexadecimal digits.
        fingerprint: Option<String> = None, is rules::identity_header;
        /// From when it is good: `2026-01-31T00:00:00Z`.
        not_before: Option<String> = None, is rules::identity_header;
        /// Until when it is good, likewise.
        not_after: Option<String> = None, is rules::identity_header;
        /// The certificate in PEM form, percent-encoded.
        certificate: Option<String> = None, is rules::identity_header;
    }
}

words! {
    /// Who is asked for a certificate.
    pub enum ClientCertificateMode {
        /// Nobody.
        None = "none",
        /// Everybody; who shows none is let in all the same.
        Request = "request",
        /// Everybody, and nobody is let in without.
        Require = "require",
    }

    /// What becomes of a client of whose certificate nobody knows whether it was revoked.
    pub enum Unchecked {
        /// It is refused.
        Refuse = "refuse",
        /// It is let in.
        Accept = "accept",
    }
}

impl ClientCertificateHeaders {
    /// Each with the setting that names it.
    pub fn each(&self) -> [(&'static str, Option<&str>); 7] {
        [
            ("subject", self.subject.as_deref()),
            ("issuer", self.issuer.as_deref()),
            ("serial", self.serial.as_deref()),
            ("fingerprint", self.fingerprint.as_deref()),
            ("not_before", self.not_before.as_deref()),
            ("not_after", self.not_after.as_deref()),
            ("certificate", self.certificate.as_deref()),
        ]
    }
}

/// What does not fit between services and whom they trust.
//= TLS-CLIENT-CHECK-01
pub(super) fn find(reader: &mut Reader, snapshot: &Snapshot) {
    for (index, profile) in snapshot.pki_profile.iter().enumerate() {
        lists(reader, &format!("pki_profile[{index}]"), profile);
    }
    for (index, service) in snapshot.virtual_service.iter().enumerate() {
        let at = format!("virtual_service[{index}].client_certificate");
        asks(reader, &at, service);
        headers(reader, &at, service);
    }
}

fn lists(reader: &mut Reader, at: &str, profile: &PkiProfile) {
    let path = format!("{at}.crl_files");
    if profile.crl_files.len() > limits::CRL_FILES_MAX {
        let (got, max) = (profile.crl_files.len(), limits::CRL_FILES_MAX);
        report(reader, &path, &format!("{got} files, at most {max} are taken"), "put several lists into one");
    }
    for (n, file) in profile.crl_files.iter().enumerate() {
        if let Err((reason, fix)) = rules::path(file) {
            report(reader, &format!("{path}[{n}]"), &reason, &fix);
        } else if profile.crl_files[..n].contains(file) {
            report(reader, &format!("{path}[{n}]"), "the file is in the list already", "remove it");
        }
    }
    let default = PkiProfile::default();
    let idle = [
        ("validate_only_leaf_crl", profile.validate_only_leaf_crl != default.validate_only_leaf_crl),
        ("without_crl", profile.without_crl != default.without_crl),
        ("expired_crl", profile.expired_crl != default.expired_crl),
    ];
    for (key, is_set) in idle {
        if is_set && profile.crl_files.is_empty() && !reader.is_bad_within(&path) {
            let fix = "name a list in crl_files, or remove it";
            report(reader, &format!("{at}.{key}"), "no certificate is sought on a list", fix);
        }
    }
}

fn asks(reader: &mut Reader, at: &str, service: &VirtualService) {
    let wanted = &service.client_certificate;
    let path = format!("{at}.mode");
    if reader.is_bad(&path) {
        return;
    }
    let profile = format!("{at}.pki_profile");
    match (wanted.mode, &wanted.pki_profile) {
        (ClientCertificateMode::None, Some(_)) => {
            let fix = "set mode = \"require\" or \"request\", or remove it";
            report(reader, &profile, "no client is asked for a certificate", fix);
        }
        (ClientCertificateMode::None, None) => {}
        (_, None) => {
            let reason = "nothing says whose clients to let in";
            report(reader, &path, reason, "add pki_profile = the name of a [[pki_profile]]");
        }
        (_, Some(_)) => {}
    }
    let clear = service.certificates.is_empty() && service.protocol != Protocol::Udp;
    if wanted.mode != ClientCertificateMode::None && clear {
        let fix = "name a [[certificate]] in certificates, or remove it";
        report(reader, &path, "the service's clients speak no TLS", fix);
    }
    if wanted.mode != ClientCertificateMode::None && service.protocol == Protocol::Udp {
        report(reader, &path, "TLS needs a stream of bytes, and datagrams are none", "remove it");
    }
}

fn headers(reader: &mut Reader, at: &str, service: &VirtualService) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (key, name) in service.client_certificate.headers.each() {
        let Some(name) = name else { continue };
        let path = format!("{at}.headers.{key}");
        if service.protocol != Protocol::Http {
            let reason = format!("protocol = \"{}\" has no header fields", service.protocol);
            report(reader, &path, &reason, "remove it");
            continue;
        }
        let plain = rules::plain_header(name);
        let edited = service.rules.iter().flat_map(|rule| &rule.then).any(|action| match action {
            Action::Header(
                Edit::Add(On::Request, edited, _)
                | Edit::Set(On::Request, edited, _)
                | Edit::Remove(On::Request, edited),
            ) => rules::plain_header(edited) == plain,
            _ => false,
        });
        if edited {
            let reason = format!("a rule of the service edits \"{}\" as well", printable(name));
            report(reader, &path, &reason, "use another name, or leave the field to this setting");
        }
        if let Some(other) = seen.insert(plain, key) {
            let reason = format!("\"{}\" is the name of {other} already", printable(name));
            report(reader, &path, &reason, "give each its own name");
        }
    }
}

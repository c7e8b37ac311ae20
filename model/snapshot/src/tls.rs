//! Certificates and habits of services whose clients speak TLS.

use std::collections::BTreeMap;

use crate::Snapshot;
use crate::ignored::report;
use crate::limits;
use crate::read::{Reader, printable, section, words};
use crate::rules;
use crate::secret::Secret;
use crate::service::{Protocol, VirtualService};

section! {
    /// A certificate with its key, both in files, which are read when the configuration is loaded.
    pub struct Certificate {
        /// Its name.
        name: String, is rules::name;
        /// The certificate, and behind it those of the authorities between it and a root, a file in PEM form; a relative path counts from the configuration's folder.
        chain_file: String, is rules::path;
        /// The certificate's key (ECDSA, Ed25519 or RSA), a file in PEM form that the engine's user may read and nobody else's may.
        key_file: String, is rules::path;
    }

    /// A key of session tickets. The first one seals, all of them open; without any, each engine makes keys of its own.
    pub struct TicketKey {
        /// The name by which tickets find it; the same on all engines of a service.
        name: String, is rules::name;
        /// 32 bytes in base64.
        key: Secret<32>;
    }

    /// Versions, cipher suites and groups of services whose clients speak TLS.
    pub struct TlsProfile {
        /// Its name.
        name: String = "default".to_owned(), is rules::name;
        /// The oldest version.
        min_version: TlsVersion = TlsVersion::V12;
        /// The newest version.
        max_version: TlsVersion = TlsVersion::V13;
        /// Cipher suites, the best first: the first one that a client has too is used. Empty: all that there are, AES-256 first.
        cipher_suites: Vec<CipherSuite> = Vec::new();
        /// Groups for the exchange of keys, the best first: the first one that a client has too is used. Empty: all that there are, `x25519mlkem768` first, which holds against quantum computers as well.
        groups: Vec<KeyGroup> = Vec::new();
        /// Seconds that a client may go on with the secrets of an earlier connection, by a ticket; 0: there are no tickets.
        session_lifetime_s: u32 = 86_400, in 0..=604_800;
        /// Milliseconds for a handshake, from the accept.
        handshake_timeout_ms: u32 = 10_000, in 1..=3_600_000;
    }
}

words! {
    /// A version of TLS.
    #[derive(PartialOrd, Ord)]
    pub enum TlsVersion {
        /// TLS 1.2, with forward secrecy and authenticated encryption only.
        V12 = "1.2",
        /// TLS 1.3.
        V13 = "1.3",
    }

    /// A cipher suite, by its registered name.
    pub enum CipherSuite {
        /// TLS 1.3.
        Aes256GcmSha384 = "TLS_AES_256_GCM_SHA384",
        /// TLS 1.3.
        Aes128GcmSha256 = "TLS_AES_128_GCM_SHA256",
        /// TLS 1.3.
        Chacha20Poly1305Sha256 = "TLS_CHACHA20_POLY1305_SHA256",
        /// TLS 1.2.
        EcdheEcdsaAes256GcmSha384 = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        /// TLS 1.2.
        EcdheEcdsaAes128GcmSha256 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        /// TLS 1.2.
        EcdheEcdsaChacha20Poly1305Sha256 = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        /// TLS 1.2.
        EcdheRsaAes256GcmSha384 = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        /// TLS 1.2.
        EcdheRsaAes128GcmSha256 = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        /// TLS 1.2.
        EcdheRsaChacha20Poly1305Sha256 = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    }

    /// A group for the exchange of keys.
    pub enum KeyGroup {
        /// X25519 and ML-KEM-768 together (TLS 1.3).
        X25519MlKem768 = "x25519mlkem768",
        /// X25519.
        X25519 = "x25519",
        /// NIST P-256.
        Secp256r1 = "secp256r1",
        /// NIST P-384.
        Secp384r1 = "secp384r1",
    }
}

impl CipherSuite {
    /// The version of TLS that it belongs to.
    pub fn version(self) -> TlsVersion {
        match self {
            Self::Aes256GcmSha384 | Self::Aes128GcmSha256 | Self::Chacha20Poly1305Sha256 => TlsVersion::V13,
            _ => TlsVersion::V12,
        }
    }
}

/// What does not fit between services, their certificates and their profiles.
//= TLS-CHECK-01
pub(crate) fn find(reader: &mut Reader, snapshot: &Snapshot) {
    if snapshot.ticket_key.len() > limits::TICKET_KEYS_MAX {
        let (got, max) = (snapshot.ticket_key.len(), limits::TICKET_KEYS_MAX);
        report(reader, "ticket_key", &format!("{got} keys, at most {max} are taken"), "remove the oldest");
    }
    let is_used = |service: &VirtualService| !service.certificates.is_empty();
    if !snapshot.ticket_key.is_empty() && !snapshot.virtual_service.iter().any(is_used) {
        let fix = "give a service certificates, or remove it";
        report(reader, "ticket_key[0]", "no service's clients speak TLS", fix);
    }
    for (index, profile) in snapshot.tls_profile.iter().enumerate() {
        judge(reader, &format!("tls_profile[{index}]"), profile);
    }
    for (index, service) in snapshot.virtual_service.iter().enumerate() {
        let at = format!("virtual_service[{index}]");
        let list = format!("{at}.certificates");
        if service.certificates.is_empty() {
            if service.tls_profile != "default" && !reader.is_bad_within(&list) {
                let fix = "name a [[certificate]] in certificates, or remove it";
                report(reader, &format!("{at}.tls_profile"), "the service's clients speak no TLS", fix);
            }
            continue;
        }
        if service.certificates.len() > limits::SERVICE_CERTIFICATES_MAX {
            let (got, max) = (service.certificates.len(), limits::SERVICE_CERTIFICATES_MAX);
            report(
                reader,
                &list,
                &format!("{got} certificates, at most {max} are taken"),
                "split the service",
            );
        }
        if service.protocol == Protocol::Udp {
            let fix = "set protocol = \"http\" or \"tcp\", or remove it";
            report(reader, &list, "TLS needs a stream of bytes, and datagrams are none", fix);
        }
        let mut seen = BTreeMap::new();
        for (n, name) in service.certificates.iter().enumerate() {
            let path = format!("{list}[{n}]");
            if let Some(first) = seen.insert(name.as_str(), n) {
                let reason = format!("\"{}\" is {list}[{first}] already", printable(name));
                report(reader, &path, &reason, "remove one of the two");
            }
        }
    }
}

//= TLS-CHECK-01
fn judge(reader: &mut Reader, at: &str, profile: &TlsProfile) {
    let (low, high) = (profile.min_version, profile.max_version);
    if low > high {
        let reason = format!("it is above max_version = \"{high}\"");
        report(reader, &format!("{at}.min_version"), &reason, "lower it, or raise max_version");
        return;
    }
    let spoken = |version: TlsVersion| low <= version && version <= high;
    let mut seen = Vec::new();
    for (n, suite) in profile.cipher_suites.iter().enumerate() {
        let path = format!("{at}.cipher_suites[{n}]");
        if !spoken(suite.version()) {
            let reason = format!("it belongs to TLS {}, which the profile does not speak", suite.version());
            report(reader, &path, &reason, "remove it");
        } else if seen.contains(suite) {
            report(reader, &path, "it stands in the list already", "remove it");
        }
        seen.push(*suite);
    }
    for version in [TlsVersion::V12, TlsVersion::V13].into_iter().filter(|version| spoken(*version)) {
        let has = profile.cipher_suites.iter().any(|suite| suite.version() == version);
        if !profile.cipher_suites.is_empty() && !has && !reader.is_bad_within(&format!("{at}.cipher_suites"))
        {
            let reason = format!("none of them belongs to TLS {version}, which the profile speaks");
            let fix = "add one, or speak the other version only (min_version, max_version)";
            report(reader, &format!("{at}.cipher_suites"), &reason, fix);
        }
    }
    let mut seen = Vec::new();
    for (n, group) in profile.groups.iter().enumerate() {
        if seen.contains(group) {
            report(reader, &format!("{at}.groups[{n}]"), "it stands in the list already", "remove it");
        }
        seen.push(*group);
    }
    let unread = reader.is_bad_within(&format!("{at}.groups"));
    if profile.groups == [KeyGroup::X25519MlKem768] && low == TlsVersion::V12 && !unread {
        let reason = "TLS 1.2, which the profile speaks, has none of them";
        report(reader, &format!("{at}.groups"), reason, "add \"x25519\", or set min_version = \"1.3\"");
    }
}

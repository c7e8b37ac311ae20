//! Certificates and habits of services whose clients speak TLS.

mod clients;
mod fit;
mod strict;

pub use clients::{
    ClientCertificate, ClientCertificateHeaders, ClientCertificateMode, PkiProfile, Unchecked,
};
pub(crate) use fit::find;

use crate::read::{section, words};
use crate::rules;
use crate::secret::Secret;

section! {
    /// A certificate with its key, both in files, which are read when the configuration is loaded.
    pub struct Certificate {
        /// Its name.
        name: String, is rules::name;
        /// The certificate, and behind it those of the authorities between it and a root, a file in PEM form; a relative path counts from the configuration's folder.
        chain_file: String, is rules::path;
        /// The certificate's key (ECDSA, Ed25519 or RSA), a file in PEM form that the engine's user may read and nobody else's may.
        key_file: String, is rules::path;
        /// What its authority says of it, an answer of OCSP in DER form, shown to clients that ask for it; whoever fetches it writes it anew before it is too old.
        ocsp_file: Option<String> = None, is rules::path_if_given;
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
        /// Take requests that a client sends with its first message (0-RTT, TLS 1.3). Then no tickets are issued: sessions are kept by the engine, 16,384 of a service at most, and each is good once and here only. Requests that change nothing go to a server at once, with `Early-Data: 1`; others wait for the end of the handshake. Avi: `enable_early_data`.
        early_data: bool = false;
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

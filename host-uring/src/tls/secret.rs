//! Private keys as they are read from files. What was read of one wipes itself, however its reader returns, and has no
//! form for people.

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use zeroize::Zeroizing;

/// What was read of a file that may hold a key.
pub type Bytes = Zeroizing<Vec<u8>>;

/// A private key.
pub(super) struct PrivateKey(Zeroizing<PrivateKeyDer<'static>>);

/// Why a key cannot be used.
pub(super) enum Misfit {
    /// It is of a kind that is not used.
    Kind,
    /// It is not the key of the certificate.
    Other,
    /// The certificate cannot be used.
    Certificate(Error),
}

impl PrivateKey {
    /// The first key of a text in PEM form. What the library says of a text without one might quote it, and is not given.
    pub fn of(pem: &Bytes) -> Option<Self> {
        PrivateKeyDer::from_pem_slice(pem).ok().map(|key| PrivateKey(Zeroizing::new(key)))
    }

    /// The certificates with what signs for the first of them. The key is wiped.
    pub fn certifies(self, chain: Vec<CertificateDer<'static>>) -> Result<CertifiedKey, Misfit> {
        let signs = any_supported_type(&self.0).map_err(|_| Misfit::Kind)?;
        let key = CertifiedKey::new(chain, signs);
        match key.keys_match() {
            // A key that cannot tell its public half is left to the first handshake.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(key),
            Err(Error::InconsistentKeys(_)) => Err(Misfit::Other),
            Err(why) => Err(Misfit::Certificate(why)),
        }
    }
}

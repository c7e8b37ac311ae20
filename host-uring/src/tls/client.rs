//! The client's side: whom to trust, and a connection made with it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::judge::Unjudged;
use crate::limits::CA_FILE_BYTES_MAX;

/// A connection over which the handshake was made.
pub type Connection = tokio_rustls::client::TlsStream<TcpStream>;

/// Whom a client trusts: the authorities of a file, or everybody.
#[derive(Debug)]
pub struct ClientProfile {
    ca_file: Option<PathBuf>,
    /// What was made of the file, and what the file was then.
    made: Mutex<Option<(Signature, Arc<ClientConfig>)>>,
    /// Somebody looks at the file just now.
    looks: AtomicBool,
}

/// Two are the same if they trust the same file.
impl PartialEq for ClientProfile {
    fn eq(&self, other: &Self) -> bool {
        self.ca_file == other.ca_file
    }
}

/// What tells a file from what it was: size, time of the last change, inode.
type Signature = (u64, i64, i64, u64);

impl ClientProfile {
    /// Trusts the authorities in `ca_file` (PEM); without one every certificate is taken.
    pub fn new(ca_file: Option<PathBuf>) -> Self {
        Self { ca_file, made: Mutex::new(None), looks: AtomicBool::new(false) }
    }

    /// What a connection is made with. The file is read again when it has changed; while what it holds then is no good,
    /// what it held before counts on. Waits for the disk, so not for a thread that has something else to do; while
    /// one waits, the others get what there is.
    ///
    /// # Errors
    /// Why the file cannot be used, if it never could.
    //= HM-HTTPS-02
    pub fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let before = self.made().clone();
        if self.looks.swap(true, Ordering::Acquire) {
            return before.map(|(_, config)| config).ok_or_else(|| format!("{} is being read", self.file()));
        }
        let looked = self.look(before);
        self.looks.store(false, Ordering::Release);
        looked
    }

    fn look(&self, before: Option<(Signature, Arc<ClientConfig>)>) -> Result<Arc<ClientConfig>, String> {
        let now = match &self.ca_file {
            None => Ok((0, 0, 0, 0)),
            Some(path) => signature(path).map_err(|error| format!("{}: {error}", self.file())),
        };
        if let (Some((then, config)), Ok(now)) = (&before, &now)
            && then == now
        {
            return Ok(Arc::clone(config));
        }
        let seen = now.as_ref().copied().unwrap_or_default();
        match (now.and_then(|_| self.make()), before) {
            (Ok(config), _) => {
                *self.made() = Some((seen, Arc::clone(&config)));
                Ok(config)
            }
            (Err(why), Some((then, config))) => {
                // Told once for each state of the file, not with each probe.
                if then != seen {
                    tracing::warn!(
                        event = "TLS_FILE_REFUSED",
                        why,
                        "a file of authorities is no good any more; the ones that it had are used on"
                    );
                    *self.made() = Some((seen, Arc::clone(&config)));
                }
                Ok(config)
            }
            (Err(why), None) => Err(why),
        }
    }

    fn made(&self) -> MutexGuard<'_, Option<(Signature, Arc<ClientConfig>)>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file, for messages.
    fn file(&self) -> String {
        let path = self.ca_file.as_deref().unwrap_or(Path::new("(none)"));
        format!("ca_file {}", path.display())
    }

    fn make(&self) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let mut config = match &self.ca_file {
            Some(path) => builder.with_root_certificates(authorities(path)?).with_no_client_auth(),
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Unjudged(provider)))
                .with_no_client_auth(),
        };
        // Each handshake is a whole one: a resumed session would hide that the certificate has expired since.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

fn signature(path: &Path) -> io::Result<Signature> {
    let meta = path.metadata()?;
    if !meta.is_file() {
        // A pipe would be waited for until somebody writes.
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no ordinary file"));
    }
    Ok((meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino()))
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let at = path.display();
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| format!("ca_file {at}: {error}"))?;
    file.take(CA_FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("ca_file {at}: {error}"))?;
    if bytes.len() as u64 > CA_FILE_BYTES_MAX {
        return Err(format!("ca_file {at}: it has more than {CA_FILE_BYTES_MAX} bytes"));
    }
    let mut store = RootCertStore::empty();
    for (n, certificate) in CertificateDer::pem_slice_iter(&bytes).enumerate() {
        let certificate =
            certificate.map_err(|error| format!("ca_file {at}: part {} is no PEM: {error:?}", n + 1))?;
        store.add(certificate).map_err(|error| format!("ca_file {at}: certificate {}: {error}", n + 1))?;
    }
    if store.is_empty() {
        return Err(format!(
            "ca_file {at}: it holds no certificate; write one that begins with -----BEGIN CERTIFICATE-----"
        ));
    }
    Ok(store)
}

/// A host name or an IP address as TLS takes it; an address is compared with the certificate's and not sent.
///
/// # Errors
/// It is neither.
pub fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    ServerName::try_from(text.to_owned()).map_err(|_| format!("{text:?} is no name that TLS can ask for"))
}

/// Makes the handshake over `stream`.
///
/// # Errors
/// Why there was none, in words for people.
//= HM-HTTPS-01
pub async fn connect(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: TcpStream,
) -> Result<Connection, String> {
    TlsConnector::from(config).connect(name, stream).await.map_err(|error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match (inner, error.kind()) {
            (Some(inner), _) => super::said(inner),
            (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                "the server closed the connection in the handshake".to_owned()
            }
            (None, _) => error.to_string(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_tls_can_ask_for() {
        for good in ["app.internal", "app.internal.", "192.0.2.1", "2001:db8::1"] {
            assert!(server_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "app.internal:443"] {
            assert!(server_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_that_holds_no_authority_is_refused_with_its_name() {
        let profile = |path: &str| ClientProfile::new(Some(path.into())).config().map(|_| ());
        let why = profile("/no/such/file").expect_err("there is none");
        assert!(why.contains("/no/such/file"), "{why}");
        let why = profile("/dev/null").expect_err("it is no file");
        assert!(why.contains("no ordinary file"), "{why}");
        let why = profile(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).expect_err("it is another one");
        assert!(why.contains("holds no certificate"), "{why}");
    }
}

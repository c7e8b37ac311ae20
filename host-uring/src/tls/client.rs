//! The client's side: whom to trust, and a connection made with it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_snapshot::health::HttpsMonitor;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::judge::Unjudged;
use super::secret::{Bytes, Misfit, PrivateKey};
use crate::control::undumped::leave_no_image;
use crate::limits::TLS_FILE_BYTES_MAX;

/// A connection over which the handshake was made.
pub type Connection = tokio_rustls::client::TlsStream<TcpStream>;

/// The files that say whom a client trusts and who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// Authorities (PEM); without them every certificate is taken.
    pub authorities: Option<PathBuf>,
    /// The own certificate with what leads to its authority, and its private key (PEM); without them a server that asks
    /// who is there hears of nobody.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// A file that is no good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The setting that names it.
    pub key: &'static str,
    /// Which file, and what is wrong with it.
    pub why: String,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.why)
    }
}

impl ClientFiles {
    /// The files of a monitor; `found` says where a path of its configuration leads.
    pub fn of(monitor: &HttpsMonitor, found: impl Fn(&str) -> PathBuf) -> Self {
        let own = monitor.client_certificate_file.as_deref().zip(monitor.client_key_file.as_deref());
        Self {
            authorities: monitor.ca_file.as_deref().map(&found),
            own: own.map(|(certificate, key)| (found(certificate), found(key))),
        }
    }

    /// Each with the setting that names it.
    fn each(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let own = self.own.iter().flat_map(|(certificate, key)| [(CERTIFICATE, certificate), (KEY, key)]);
        self.authorities
            .iter()
            .map(|path| (AUTHORITIES, path))
            .chain(own)
            .map(|(key, path)| (key, path.as_path()))
    }
}

const AUTHORITIES: &str = "ca_file";
const CERTIFICATE: &str = "client_certificate_file";
const KEY: &str = "client_key_file";

/// Whom a client trusts, the authorities of a file or everybody, and who it says that it is.
#[derive(Debug)]
pub struct ClientProfile {
    files: ClientFiles,
    /// What was made of the files, and what they were then.
    made: Mutex<Option<(Signature, Arc<ClientConfig>)>>,
    /// Somebody looks at the files just now.
    looks: AtomicBool,
}

/// Two are the same if they go by the same files.
impl PartialEq for ClientProfile {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

/// What tells files from what they were: size, time of the last change, inode of each.
type Signature = [(u64, i64, i64, u64); 3];

impl ClientProfile {
    /// Goes by these files; reads none of them yet.
    pub fn new(files: ClientFiles) -> Self {
        Self { files, made: Mutex::new(None), looks: AtomicBool::new(false) }
    }

    /// What a connection is made with. The files are read again when one has changed; while what they hold then is no
    /// good, what they held before counts on. Waits for the disk, so not for a thread that has something else to do; while
    /// one waits, the others get what there is.
    ///
    /// # Errors
    /// Why a file cannot be used, if they never could.
    //= HM-HTTPS-02
    pub fn config(&self) -> Result<Arc<ClientConfig>, Unfit> {
        let before = self.made().clone();
        if self.looks.swap(true, Ordering::Acquire) {
            return before.map(|(_, config)| config).ok_or_else(|| self.being_read());
        }
        let looked = self.look(before);
        self.looks.store(false, Ordering::Release);
        looked
    }

    fn look(&self, before: Option<(Signature, Arc<ClientConfig>)>) -> Result<Arc<ClientConfig>, Unfit> {
        let now = signature(&self.files);
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
                        why = why.to_string(),
                        "a file of authorities, or of the own certificate, is no good any more; what it had is used on"
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

    fn being_read(&self) -> Unfit {
        let (key, path) = self.files.each().next().unwrap_or((AUTHORITIES, Path::new("(none)")));
        Unfit { key, why: format!("{}: it is being read", path.display()) }
    }

    fn make(&self) -> Result<Arc<ClientConfig>, Unfit> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Unfit { key: AUTHORITIES, why: error.to_string() })?;
        let builder = match &self.files.authorities {
            Some(path) => builder.with_root_certificates(authorities(path)?),
            None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unjudged(provider))),
        };
        //= HM-HTTPS-05
        let mut config = match &self.files.own {
            Some((certificate, key)) => {
                let chain = certificates(CERTIFICATE, certificate)?;
                let certified = private_key(key)?.certifies(chain).map_err(|why| {
                    let why = match why {
                        Misfit::Kind => "the key is of a kind that is not used".to_owned(),
                        Misfit::Other => {
                            format!("it is not the key of the certificate in {}", certificate.display())
                        }
                        Misfit::Certificate(why) => why.to_string(),
                    };
                    Unfit { key: KEY, why: format!("{}: {why}", key.display()) }
                })?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
            None => builder.with_no_client_auth(),
        };
        // Each handshake is a whole one: a resumed session would hide that the certificate has expired since.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

fn signature(files: &ClientFiles) -> Result<Signature, Unfit> {
    let mut of = Signature::default();
    for ((key, path), of) in files.each().zip(&mut of) {
        let unfit = |why: &dyn fmt::Display| Unfit { key, why: format!("{}: {why}", path.display()) };
        let meta = path.metadata().map_err(|error| unfit(&error))?;
        if !meta.is_file() {
            // A pipe would be waited for until somebody writes.
            return Err(unfit(&"it is no ordinary file"));
        }
        *of = (meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino());
    }
    Ok(of)
}

/// What a file holds, which the setting `key` names. It is wiped, as it may be a key.
fn read(key: &'static str, path: &Path) -> Result<Bytes, Unfit> {
    let unfit = |why: String| Unfit { key, why: format!("{}: {why}", path.display()) };
    let file = File::open(path).map_err(|error| unfit(error.to_string()))?;
    let size = file.metadata().map_err(|error| unfit(error.to_string()))?.len();
    // All of it at once: a buffer that grows would leave parts of a key behind.
    let room = usize::try_from(size.min(TLS_FILE_BYTES_MAX)).unwrap_or(0) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(TLS_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unfit(error.to_string()))?;
    if bytes.len() as u64 > TLS_FILE_BYTES_MAX {
        return Err(unfit(format!("it has more than {TLS_FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Unfit> {
    let unfit = |why: String| Unfit { key, why: format!("{}: {why}", path.display()) };
    let bytes = read(key, path)?;
    let all: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .enumerate()
        .map(|(n, one)| one.map_err(|error| unfit(format!("part {} is no PEM: {error:?}", n + 1))))
        .collect::<Result<_, _>>()?;
    if all.is_empty() {
        let why = "it holds no certificate; write one that begins with -----BEGIN CERTIFICATE-----";
        return Err(unfit(why.to_owned()));
    }
    Ok(all)
}

pub(super) fn authorities(path: &Path) -> Result<RootCertStore, Unfit> {
    let mut store = RootCertStore::empty();
    for (n, certificate) in certificates(AUTHORITIES, path)?.into_iter().enumerate() {
        store.add(certificate).map_err(|error| Unfit {
            key: AUTHORITIES,
            why: format!("{}: certificate {}: {error}", path.display(), n + 1),
        })?;
    }
    Ok(store)
}

//= TLS-KEY-03
fn private_key(path: &Path) -> Result<PrivateKey, Unfit> {
    leave_no_image();
    PrivateKey::of(&read(KEY, path)?).ok_or_else(|| Unfit {
        key: KEY,
        why: format!("{}: it holds no private key in PEM form without a pass phrase", path.display()),
    })
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
        match (refused(&error), error.kind()) {
            (Some(why), _) => why,
            (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                "the server closed the connection in the handshake".to_owned()
            }
            (None, _) => error.to_string(),
        }
    })
}

/// What TLS has against a connection that could not be read, in words for people; `None`: that is not why. A server that
/// wants a certificate of the client says so after the handshake (RFC 8446, section 4.4.2.4).
//= HM-HTTPS-03
pub fn refused(error: &io::Error) -> Option<String> {
    error.get_ref()?.downcast_ref::<rustls::Error>().map(super::said)
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
        let why = |path: &str| {
            let files = ClientFiles { authorities: Some(path.into()), own: None };
            ClientProfile::new(files).config().expect_err("no good").to_string()
        };
        assert!(why("/no/such/file").contains("ca_file /no/such/file"));
        assert!(why("/dev/null").contains("no ordinary file"));
        assert!(why(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).contains("holds no certificate"));
    }
}

//! Who an engine is: its certificate, which holds its name, and the authority that the group trusts.
//!
//! The one place that names the TLS library.

use std::fmt;
use std::sync::Arc;

use forebay_core::table::EngineSlot;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// Why an identity cannot be used, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Which part: `ca`, `certificate`, `key`.
    pub part: &'static str,
    /// Why, and what to do.
    pub why: String,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.why)
    }
}

impl std::error::Error for Unfit {}

/// A connection whose other end is known.
pub(crate) type Secured = TlsStream<TcpStream>;

/// A certificate with its key, and the authority of the group.
#[derive(Clone)]
pub struct Identity {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "identity of {}", self.name)
    }
}

impl Identity {
    /// The identity of the engine whose certificate holds the DNS name `name`, from files in PEM form: the authority's certificate (or several), the engine's own
    /// with those between, and its key.
    ///
    /// # Errors
    /// [`Unfit`]: a file is no PEM, the key is not the certificate's, the certificate names somebody else.
    //= SYNC-TLS-01
    pub fn read(name: &str, ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, Unfit> {
        let unfit = |part, why: String| Unfit { part, why };
        let mut roots = RootCertStore::empty();
        for part in CertificateDer::pem_slice_iter(ca) {
            let part = part.map_err(|error| unfit("ca", format!("it is no PEM: {error:?}")))?;
            roots
                .add(part)
                .map_err(|error| unfit("ca", format!("it is no authority's certificate: {error}")))?;
        }
        if roots.is_empty() {
            return Err(unfit(
                "ca",
                "it holds no certificate; name the file of the group's authority".to_owned(),
            ));
        }
        let chain: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.map_err(|error| unfit("certificate", format!("it is no PEM: {error:?}")))?;
        let Some(own) = chain.first() else {
            return Err(unfit("certificate", "it holds no certificate".to_owned()));
        };
        if !is_named(own, name) {
            let why = format!(
                "it does not name {name}; make one for this slot and group, or correct slot and group"
            );
            return Err(unfit("certificate", why));
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| unfit("key", "it holds no private key without a password".to_owned()))?;
        let provider = Arc::new(default_provider());
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| unfit("ca", error.to_string()))?;
        is_good(own, chain.get(1..).unwrap_or_default(), name, &roots, &provider, &verifier)
            .map_err(|why| unfit("certificate", why))?;
        let only = &[&rustls::version::TLS13];
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(only)
            .map_err(|error| unfit("certificate", error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| unfit("key", format!("it is not the certificate's: {error}")))?;
        // Each connection is judged by certificates as they are now: nothing is resumed.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(only)
            .map_err(|error| unfit("certificate", error.to_string()))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| unfit("key", format!("it is not the certificate's: {error}")))?;
        client.resumption = rustls::client::Resumption::disabled();
        Ok(Self { server: Arc::new(server), client: Arc::new(client), name: name.to_owned() })
    }

    /// The handshake of who is called; `one_of`: the members that may call from there, with their names. Gives which of them
    /// it is.
    ///
    /// # Errors
    /// Why it is nobody, in words.
    //= SYNC-TLS-01
    pub(crate) async fn answer(
        &self,
        tcp: TcpStream,
        one_of: &[(EngineSlot, String)],
    ) -> Result<(EngineSlot, Secured), String> {
        let stream =
            TlsAcceptor::from(Arc::clone(&self.server)).accept(tcp).await.map_err(|e| e.to_string())?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let shown = shown.ok_or("it showed no certificate")?;
        let is = one_of.iter().find(|(_, name)| is_named(shown, name));
        let (is, _) = is.ok_or("its certificate names no member that calls from this address")?;
        Ok((*is, TlsStream::Server(stream)))
    }

    /// The handshake of who calls.
    ///
    /// # Errors
    /// Why it is not the one that was called, in words.
    //= SYNC-TLS-01
    pub(crate) async fn call(&self, tcp: TcpStream, name: &str) -> Result<Secured, String> {
        let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
        let called = TlsConnector::from(Arc::clone(&self.client)).connect(name, tcp).await;
        called.map(TlsStream::Client).map_err(|error| error.to_string())
    }
}

/// Whether members will take a certificate, for who calls and for who is called; else why not, in words.
//= SYNC-FILES-01
fn is_good(
    own: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    name: &str,
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
    clients: &Arc<dyn ClientCertVerifier>,
) -> Result<(), String> {
    let now = UnixTime::now();
    let servers = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
        .build()
        .map_err(|error| error.to_string())?;
    let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
    let judged = clients
        .verify_client_cert(own, between, now)
        .map(drop)
        .and_then(|()| servers.verify_server_cert(own, between, &name, &[], now).map(drop));
    judged.map_err(|error| match error {
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "it has expired; make a new one (forebay-se pki issue), or set this machine's clock".to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "it is not valid yet; set this machine's clock, or make a new one".to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "the authority in objsync.ca_file did not sign it; name that of the group, or make a new certificate with it"
            .to_owned(),
        other => format!("members would refuse it: {other}; make a new one (forebay-se pki issue)"),
    })
}

/// Whether a certificate, whose chain was checked, holds a name.
fn is_named(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return false };
    let Ok(name) = ServerName::try_from(name) else { return false };
    certificate.verify_is_valid_for_subject_name(&name).is_ok()
}

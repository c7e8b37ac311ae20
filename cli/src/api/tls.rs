//! TLS to a Controller whose certificate is known by its fingerprint. The one module that names the TLS library.

use std::fmt::Write as _;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

/// A stream to a Controller.
pub type Stream = rustls::StreamOwned<ClientConnection, TcpStream>;

/// The fingerprint of a certificate: `SHA256:` and 64 digits.
pub fn fingerprint(certificate: &[u8]) -> String {
    let mut text = "SHA256:".to_owned();
    for byte in digest(&SHA256, certificate).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Takes the certificate with one fingerprint, and no other; whoever has its key signs the handshake.
#[derive(Debug)]
struct Pinned {
    /// `None`: any, to find out which one there is; nothing is sent then.
    wanted: Option<String>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    //= CLI-LOGIN-01
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.wanted {
            Some(wanted) if *wanted != fingerprint(end_entity) => {
                Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Shakes hands with whoever has the certificate of this fingerprint (`None`: any), and gives the fingerprint of what it
/// has shown as well.
///
/// # Errors
/// Those of the socket; `PermissionDenied`: it is another certificate.
pub fn connect(host: &str, socket: TcpStream, wanted: Option<&str>) -> io::Result<(Stream, String)> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Pinned { wanted: wanted.map(str::to_owned), provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = Stream::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|error| match error.get_ref() {
            Some(inner) if is_refusal(inner) => io::Error::new(io::ErrorKind::PermissionDenied, error),
            _ => error,
        })?;
    }
    let shown = stream.conn.peer_certificates().and_then(<[_]>::first).map(|shown| fingerprint(shown));
    let shown = shown.ok_or_else(|| io::Error::other("it shows no certificate"))?;
    Ok((stream, shown))
}

fn is_refusal(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    matches!(
        error.downcast_ref::<rustls::Error>(),
        Some(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    )
}

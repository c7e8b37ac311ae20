//! The way out, to collectors and syslog servers: where they may be, and TLS, by which they are asked who they are.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where systems have the authorities that they trust.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whose word counts for who a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// That of the authorities that this machine trusts.
    System,
    /// That of these, as PEM.
    Authorities(String),
}

impl Trust {
    /// What connections are made by.
    ///
    /// # Errors
    /// There are no authorities, or they cannot be read.
    pub fn client(&self) -> Result<Arc<ClientConfig>, String> {
        let pem = match self {
            Trust::Authorities(pem) => pem.clone().into_bytes(),
            Trust::System => {
                let file = SYSTEM.iter().map(Path::new).find(|path| path.exists());
                let file = file.ok_or("this machine has no list of authorities: install ca-certificates")?;
                std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?
            }
        };
        let mut roots = RootCertStore::empty();
        for part in CertificateDer::pem_slice_iter(&pem) {
            let part = part.map_err(|error| format!("an authority cannot be read: {error}"))?;
            match (roots.add(part), self) {
                // Lists of systems have some that no library reads.
                (Ok(()), _) | (Err(_), Trust::System) => {}
                (Err(error), Trust::Authorities(_)) => {
                    return Err(format!("an authority cannot be read: {error}"));
                }
            }
        }
        if roots.is_empty() {
            return Err("there is no certificate of an authority in it".to_owned());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

/// An address is one of this machine: what is sent there leaves from it. Nothing is sent.
pub fn is_here(ip: IpAddr) -> bool {
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    let any = if ip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let from = UdpSocket::bind(any).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == ip)
}

/// Speaks TLS to a server of this name or address, which shows that it is that.
///
/// # Errors
/// It is not, or cannot.
pub async fn secured(
    stream: TcpStream,
    host: &str,
    client: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, String> {
    let plain = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name =
        ServerName::try_from(plain).map_err(|_| format!("{host} is no name that a certificate has"))?;
    TlsConnector::from(client).connect(name, stream).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_trusted_has_to_be_there() {
        let none = |trust: Trust| trust.client().map(drop).expect_err("nobody");
        assert!(none(Trust::Authorities(String::new())).contains("no certificate"));
        let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
        assert!(none(Trust::Authorities(odd)).contains("cannot be read"));
    }
}

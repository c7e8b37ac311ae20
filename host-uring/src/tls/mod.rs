//! TLS: the one place that names the library.
//!
//! TLS 1.2 and 1.3, by the cryptography that cookies use: the server's side for clients ([`Front`], [`greet()`],
//! [`Secured`]), the client's side for servers of pools ([`Back`], [`reach()`]) and for health monitors.

mod authorities;
mod back;
mod client;
mod early;
mod files;
mod greet;
mod hear;
mod ids;
mod judge;
mod known;
mod ocsp;
mod reach;
mod remembered;
mod secret;
mod secured;
mod server;
mod session;
mod shown;
mod suit;
mod tickets;
#[cfg(test)]
mod turns;
mod x509;

pub use authorities::{Asked, examine_pki};
pub use back::{Back, BackWanted, Proof, Reach, examine_authorities};
pub use client::{ClientFiles, ClientProfile, Connection, Unfit, connect, refused, server_name};
pub use early::{EarlyData, prove};
pub use files::{Changed, examine, examine_time, read_private, read_public};
pub use greet::{Unshaken, greet};
pub use hear::{Heard, hear};
pub use reach::{Unreached, reach, thought_better};
pub use rustls::pki_types::ServerName;
pub use secret::Bytes;
pub use secured::{Securable, Secured};
pub use server::{Front, Wanted};
pub use session::{Agreed, Session};
pub use shown::{Certificate, certificates};
pub use suit::examine_suites;
pub use tickets::HandedKey;
pub use x509::Identity;

use rustls::{CertificateError, Error, PeerIncompatible};

/// Why a handshake failed, in words for who runs the server.
//= HM-HTTPS-03
fn said(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the server's certificate is signed by none of the authorities in ca_file".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the server's certificate has expired".to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "the server's certificate is not valid yet".to_owned(),
        // Said by the part that follows the chain; there is no word of its own for it.
        Error::InvalidCertificate(CertificateError::Other(why))
            if why.to_string().contains("CaUsedAsEndEntity") =>
        {
            "the server's certificate is that of an authority and not of a server".to_owned()
        }
        Error::InvalidCertificate(why) => format!("the server's certificate is refused: {why}"),
        Error::InvalidMessage(_) => "what the server sent is no TLS".to_owned(),
        Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)
        | Error::AlertReceived(rustls::AlertDescription::ProtocolVersion) => {
            "the server speaks neither TLS 1.2 nor TLS 1.3".to_owned()
        }
        Error::AlertReceived(rustls::AlertDescription::CertificateRequired) => {
            "the server demands a certificate of its client: name one in client_certificate_file".to_owned()
        }
        Error::AlertReceived(alert) => format!("the server ended the handshake with the alert {alert:?}"),
        other => other.to_string(),
    }
}

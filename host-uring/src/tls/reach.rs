//! The handshake with a server.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use super::back::Reach;
use super::secured::Securable;
use super::session::{Agreed, Broken, Session, Step};
use crate::rt::{Now, Stream};

/// Why a handshake with a server failed: the word in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// It was not over in time.
    Late,
    /// The server closed the connection.
    Gone,
    /// What came is no TLS.
    NoTls,
    /// The server speaks no version that we speak.
    Version,
    /// We have no cipher suite, group or protocol in common; a server of TLS 1.2 that misses our certificate says the same.
    Nothing,
    /// The server ended it with an alert.
    Alert,
    /// The server's messages break a rule, or are too long.
    Malformed,
    /// None of our authorities has signed the server's certificate.
    Unknown,
    /// The certificate is over, or not good yet.
    Expired,
    /// The certificate is for other names.
    Name,
    /// The certificate is no good otherwise.
    Certificate,
    /// The server wants a certificate of us, or another one.
    Ours,
    /// The request's host is no name that TLS can ask for.
    Nameless,
}

impl Unreached {
    /// Every kind, in the order of [`PoolMetrics::tls_failures`](crate::metrics::PoolMetrics).
    pub const ALL: [Unreached; 13] = [
        Unreached::Late,
        Unreached::Gone,
        Unreached::NoTls,
        Unreached::Version,
        Unreached::Nothing,
        Unreached::Alert,
        Unreached::Malformed,
        Unreached::Unknown,
        Unreached::Expired,
        Unreached::Name,
        Unreached::Certificate,
        Unreached::Ours,
        Unreached::Nameless,
    ];

    /// The word in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Unreached::Late => "late",
            Unreached::Gone => "gone",
            Unreached::NoTls => "no_tls",
            Unreached::Version => "version",
            Unreached::Nothing => "nothing_in_common",
            Unreached::Alert => "alert",
            Unreached::Malformed => "malformed",
            Unreached::Unknown => "unknown_authority",
            Unreached::Expired => "expired",
            Unreached::Name => "other_name",
            Unreached::Certificate => "certificate",
            Unreached::Ours => "our_certificate",
            Unreached::Nameless => "no_name",
        }
    }

    /// What the log says.
    //= TLS-SERVER-FAIL-01
    pub fn text(self) -> &'static str {
        match self {
            Unreached::Late => "the TLS handshake with the server was not over in time",
            Unreached::Gone => "the server closed the connection in the TLS handshake",
            Unreached::NoTls => "the server does not speak TLS",
            Unreached::Version => "the server speaks no version of TLS that the pool's profile has",
            Unreached::Nothing => {
                "the server has no TLS cipher suite, group or protocol in common with us, or wants a certificate of us"
            }
            Unreached::Alert => "the server ended the TLS handshake with an alert",
            Unreached::Malformed => "the server's TLS handshake breaks a rule",
            Unreached::Unknown => "the server's certificate is signed by none of the pool's authorities",
            Unreached::Expired => "the server's certificate has expired, or is not valid yet",
            Unreached::Name => "the server's certificate is not for the name that it was asked for",
            Unreached::Certificate => "the server's certificate is no good",
            Unreached::Ours => "the server wants a certificate of us, or another one",
            Unreached::Nameless => "the request's host is no name that a server can be asked for by TLS",
        }
    }
}

/// Makes the handshake with a server, by `deadline`; `asked` is the name that the request wants, if it does.
///
/// # Errors
/// Why it failed. The server was told as far as it listens, and no byte of a request has left.
//= TLS-SERVER-01
pub async fn reach<S: Securable>(
    to: &Reach,
    asked: Option<&[u8]>,
    stream: &mut S,
    deadline: Now,
) -> Result<Agreed, Unreached> {
    let name = to.name(asked).ok_or(Unreached::Nameless)?;
    let session = Box::new(Session::connect(Arc::clone(&to.config), name).map_err(|_| Unreached::Nothing)?);
    loop {
        let waited = match session.shake(stream.bare(), false).map_err(|broken| kind(&broken))? {
            Step::Done => break,
            // Servers' first messages wait for nobody: so few connections are opened.
            Step::Turn => Ok(()),
            Step::Read => stream.bare().readable(deadline).await,
            Step::Write => stream.bare().writable(deadline).await,
        };
        waited.map_err(|error| match error.kind() {
            ErrorKind::TimedOut => Unreached::Late,
            _ => Unreached::Gone,
        })?;
    }
    let agreed = session.agreed().ok_or(Unreached::Malformed)?;
    stream.secure(session);
    Ok(agreed)
}

/// Why a server that had agreed ended the connection after all, as a read tells; `None`: TLS is not the reason. In
/// TLS 1.3 a server judges our certificate when we already talk (RFC 8446, section 4.4.2.4).
pub fn thought_better(error: &io::Error) -> Option<Unreached> {
    error.get_ref()?.downcast_ref::<Error>().map(of)
}

fn kind(broken: &Broken) -> Unreached {
    match broken {
        Broken::Gone => Unreached::Gone,
        Broken::TooLong => Unreached::Malformed,
        Broken::Tls(error) => of(error),
    }
}

fn of(error: &Error) -> Unreached {
    match error {
        Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => Unreached::Unknown,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Unreached::Expired,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Unreached::Name
            }
            _ => Unreached::Certificate,
        },
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload,
        ) => Unreached::NoTls,
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )
        | Error::AlertReceived(AlertDescription::ProtocolVersion) => Unreached::Version,
        Error::PeerIncompatible(_)
        | Error::NoApplicationProtocol
        | Error::AlertReceived(
            AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity
            | AlertDescription::NoApplicationProtocol,
        ) => Unreached::Nothing,
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => Unreached::Ours,
        Error::AlertReceived(_) => Unreached::Alert,
        _ => Unreached::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_own_place_and_word() {
        for (place, kind) in Unreached::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            assert_eq!(Unreached::ALL.iter().filter(|other| other.word() == kind.word()).count(), 1);
            assert_eq!(Unreached::ALL.iter().filter(|other| other.text() == kind.text()).count(), 1);
        }
    }
}

//! The handshake of a client.

use std::io::ErrorKind;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::authorities::is_too_deep;
use super::hear::Heard;
use super::secured::Securable;
use super::server::Front;
use super::session::{Agreed, Broken, Session, Step};
use crate::rt::lane;
use crate::rt::{Now, Stream};

/// Why a handshake failed: the word in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unshaken {
    /// It was not over in time.
    Late,
    /// The client left without a byte: a probe of the port, say.
    Unbegun,
    /// The client left in the middle.
    Gone,
    /// What came is no TLS.
    NoTls,
    /// The client speaks no version that the service speaks.
    Version,
    /// They have no cipher suite, group or kind of certificate in common.
    Nothing,
    /// The client ended it with an alert: it does not like the certificate, say.
    Alert,
    /// The client's messages break a rule, or are too long.
    Malformed,
    /// The client shows no certificate, and nobody is let in without.
    NoCertificate,
    /// Its certificate is of no authority that is trusted.
    Untrusted,
    /// It, or an authority's above it, has expired, or is not valid yet.
    Expired,
    /// It, or an authority's above it, was revoked.
    Revoked,
    /// Nobody knows whether it was revoked: its authority's list is missing or too old.
    Unchecked,
    /// Too many authorities stand between it and one that is trusted.
    TooDeep,
    /// It cannot be read, is that of an authority, or is not for clients.
    Unfit,
}

impl Unshaken {
    /// Every kind, in the order of [`ServiceMetrics::tls_failures`](crate::metrics::ServiceMetrics).
    pub const ALL: [Unshaken; 15] = [
        Unshaken::Late,
        Unshaken::Unbegun,
        Unshaken::Gone,
        Unshaken::NoTls,
        Unshaken::Version,
        Unshaken::Nothing,
        Unshaken::Alert,
        Unshaken::Malformed,
        Unshaken::NoCertificate,
        Unshaken::Untrusted,
        Unshaken::Expired,
        Unshaken::Revoked,
        Unshaken::Unchecked,
        Unshaken::TooDeep,
        Unshaken::Unfit,
    ];

    /// The word in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Unshaken::Late => "late",
            Unshaken::Unbegun => "unbegun",
            Unshaken::Gone => "gone",
            Unshaken::NoTls => "no_tls",
            Unshaken::Version => "version",
            Unshaken::Nothing => "nothing_in_common",
            Unshaken::Alert => "alert",
            Unshaken::Malformed => "malformed",
            Unshaken::NoCertificate => "no_certificate",
            Unshaken::Untrusted => "certificate_untrusted",
            Unshaken::Expired => "certificate_expired",
            Unshaken::Revoked => "certificate_revoked",
            Unshaken::Unchecked => "certificate_unchecked",
            Unshaken::TooDeep => "certificate_too_deep",
            Unshaken::Unfit => "certificate_unfit",
        }
    }

    /// Says whether the client was told why, by an alert.
    pub fn is_told(self) -> bool {
        !matches!(self, Unshaken::Late | Unshaken::Unbegun | Unshaken::Gone | Unshaken::Alert)
    }

    /// What the log says.
    //= TLS-LOG-02
    pub fn text(self) -> &'static str {
        match self {
            Unshaken::Late => "its TLS handshake was not over in time",
            Unshaken::Unbegun => "it ended without a byte",
            Unshaken::Gone => "it ended before its TLS handshake was over",
            Unshaken::NoTls => "what it sent is no TLS",
            Unshaken::Version => "it speaks no version of TLS that is spoken here",
            Unshaken::Nothing => "no cipher suite, group or certificate suits both",
            Unshaken::Alert => "the client ended the TLS handshake",
            Unshaken::Malformed => "its TLS handshake breaks a rule",
            Unshaken::NoCertificate => "it shows no certificate, and nobody is let in without",
            Unshaken::Untrusted => "its certificate is of no authority that is trusted",
            Unshaken::Expired => "its certificate has expired, or is not valid yet",
            Unshaken::Revoked => "its certificate was revoked",
            Unshaken::Unchecked => "its authority's list of revocations is missing or too old",
            Unshaken::TooDeep => "too many authorities stand above its certificate",
            Unshaken::Unfit => "its certificate cannot be read, or is not for clients",
        }
    }
}

/// Makes the handshake with a client, by `deadline`; `heard`: what was read of it, if anything was.
///
/// # Errors
/// Why it failed. The client was told as far as it listens.
//= TLS-HANDSHAKE-01
//= TLS-HANDSHAKE-02
pub async fn greet<S: Securable>(
    front: &Front,
    stream: &mut S,
    deadline: Now,
    heard: Option<Heard>,
) -> Result<Agreed, Unshaken> {
    let session = Session::accept(Arc::clone(&front.config)).map_err(|_| Unshaken::Nothing)?;
    let mut session = Box::new(session);
    let mut turn = None;
    if let Some(heard) = heard {
        session.hear(&heard.bytes).map_err(|_| Unshaken::Malformed)?;
        turn = Some(lane::turn(&lane::HANDSHAKES).await);
    }
    loop {
        let left = || if session.has_begun() { Unshaken::Gone } else { Unshaken::Unbegun };
        let step = session.shake(stream.bare(), false).map_err(|broken| kind(&broken).unwrap_or_else(left));
        drop(turn.take());
        let step = step?;
        let waited = match step {
            Step::Done => break,
            Step::Turn => {
                turn = Some(lane::turn(&lane::HANDSHAKES).await);
                Ok(())
            }
            Step::Read => stream.bare().readable(deadline).await,
            Step::Write => stream.bare().writable(deadline).await,
        };
        waited.map_err(|error| match error.kind() {
            ErrorKind::TimedOut => Unshaken::Late,
            _ => left(),
        })?;
    }
    let agreed = session.agreed().ok_or(Unshaken::Malformed)?;
    if !session.meet() {
        return Err(Unshaken::Unfit);
    }
    stream.secure(session);
    Ok(agreed)
}

/// Why it failed; `None`: the client left.
fn kind(broken: &Broken) -> Option<Unshaken> {
    Some(match broken {
        Broken::Gone => return None,
        Broken::TooLong => Unshaken::Malformed,
        Broken::Tls(error) => match error {
            Error::InvalidMessage(
                rustls::InvalidMessage::InvalidContentType
                | rustls::InvalidMessage::UnknownProtocolVersion
                | rustls::InvalidMessage::MessageTooLarge
                | rustls::InvalidMessage::InvalidEmptyPayload,
            ) => Unshaken::NoTls,
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::Tls13RequiredForQuic
                | PeerIncompatible::SupportedVersionsExtensionRequired
                // What came before TLS 1.2 has no such extension.
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            )
            | Error::AlertReceived(AlertDescription::ProtocolVersion) => Unshaken::Version,
            Error::NoCertificatesPresented => Unshaken::NoCertificate,
            Error::InvalidCertificate(why) => unfit(why),
            Error::PeerIncompatible(_)
            | Error::General(_)
            | Error::NoApplicationProtocol => Unshaken::Nothing,
            Error::AlertReceived(_) => Unshaken::Alert,
            _ => Unshaken::Malformed,
        },
    })
}

/// What is wrong with the certificate that a client has shown.
//= TLS-CLIENT-04
fn unfit(why: &CertificateError) -> Unshaken {
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Unshaken::Untrusted,
        CertificateError::Expired | CertificateError::NotValidYet => Unshaken::Expired,
        CertificateError::Revoked => Unshaken::Revoked,
        CertificateError::UnknownRevocationStatus | CertificateError::ExpiredRevocationList => {
            Unshaken::Unchecked
        }
        CertificateError::Other(why) if is_too_deep(why) => Unshaken::TooDeep,
        _ => Unshaken::Unfit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_own_place_and_word() {
        for (place, kind) in Unshaken::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            assert_eq!(Unshaken::ALL.iter().filter(|other| other.word() == kind.word()).count(), 1);
            assert_eq!(Unshaken::ALL.iter().filter(|other| other.text() == kind.text()).count(), 1);
            assert!(kind.text().len() <= 64, "the log cuts it");
        }
    }
}

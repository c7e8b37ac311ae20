//! Header fields that tell servers who a client is, by the certificate that it has shown.

use forebay_http::h1::write::FieldEdit;
use forebay_snapshot::tls::ClientCertificateHeaders;

use crate::tls::{Identity, Session};

/// What a field tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Subject,
    Issuer,
    Serial,
    Fingerprint,
    NotBefore,
    NotAfter,
    Certificate,
}

/// The fields of a service.
#[derive(Debug, Default)]
pub struct IdentityFields(Vec<(Part, Box<[u8]>)>);

impl IdentityFields {
    /// As the document names them.
    pub fn of(headers: &ClientCertificateHeaders) -> Self {
        let ClientCertificateHeaders {
            subject,
            issuer,
            serial,
            fingerprint,
            not_before,
            not_after,
            certificate,
        } = headers;
        let each = [
            (Part::Subject, subject),
            (Part::Issuer, issuer),
            (Part::Serial, serial),
            (Part::Fingerprint, fingerprint),
            (Part::NotBefore, not_before),
            (Part::NotAfter, not_after),
            (Part::Certificate, certificate),
        ];
        let named = |(part, name): (Part, &Option<String>)| Some((part, name.as_deref()?.as_bytes().into()));
        IdentityFields(each.into_iter().filter_map(named).collect())
    }

    /// What becomes of them in a request: those of this client stand in it, and what it has sent under their names does
    /// not, whether or not there is something to tell.
    //= TLS-CLIENT-05
    pub fn edits<'a>(&'a self, session: Option<&'a Session>) -> impl Iterator<Item = FieldEdit<'a>> {
        let who = session.and_then(Session::identity);
        self.0.iter().map(move |(part, name)| {
            let value = who.and_then(|who| part.value(who, session));
            match value.filter(|value| !value.is_empty()) {
                Some(value) => FieldEdit::Set { name, value: value.as_bytes() },
                None => FieldEdit::Remove { name },
            }
        })
    }
}

impl Part {
    fn value<'a>(self, who: &'a Identity, session: Option<&'a Session>) -> Option<&'a str> {
        Some(match self {
            Part::Subject => &who.subject,
            Part::Issuer => &who.issuer,
            Part::Serial => &who.serial,
            Part::Fingerprint => &who.fingerprint,
            Part::NotBefore => &who.not_before,
            Part::NotAfter => &who.not_after,
            Part::Certificate => session?.escaped_certificate()?,
        })
    }
}

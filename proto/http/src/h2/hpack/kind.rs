//! What a field line of HTTP/2 is, by its name and value alone: judged once, remembered with the table's entry.

use crate::h2::error::Rule;
use crate::{Known, bytes};

/// A pseudo-header field, a field, or the rule that it breaks wherever it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A field.
    Plain,
    /// A field whose name CGI-like servers read as one that we act upon.
    Lookalike,
    Method,
    Scheme,
    Authority,
    Path,
    Status,
    Protocol,
    /// A pseudo-header field that is none of these.
    UnknownPseudo,
    BadName,
    BadValue,
}

impl Kind {
    /// Tells pseudo-header fields apart.
    pub(crate) const fn of_pseudo(name: &[u8]) -> Kind {
        match name {
            b":method" => Kind::Method,
            b":scheme" => Kind::Scheme,
            b":authority" => Kind::Authority,
            b":path" => Kind::Path,
            b":status" => Kind::Status,
            b":protocol" => Kind::Protocol,
            _ => Kind::UnknownPseudo,
        }
    }

    /// Judges a name.
    //= H2-FIELD-01
    pub(crate) fn of_name(name: &[u8]) -> (Known, Kind) {
        match name {
            [b':', ..] => (Known::Other, Kind::of_pseudo(name)),
            _ if name.is_empty() || !bytes::all(name, bytes::LOWER) => (Known::Other, Kind::BadName),
            _ => {
                let known = Known::of(name);
                let odd = known == Known::Other && crate::h1::is_lookalike(name);
                (known, if odd { Kind::Lookalike } else { Kind::Plain })
            }
        }
    }

    /// Adds the judgement of the value.
    //= H2-FIELD-02
    pub(crate) fn with_value(self, value: &[u8]) -> Kind {
        if self != Kind::BadName && !bytes::is_field_value(value) { Kind::BadValue } else { self }
    }

    /// Returns the rule that such a field breaks anywhere.
    pub(crate) fn broken(self) -> Option<Rule> {
        match self {
            Kind::BadName => Some(Rule::FieldName),
            Kind::BadValue => Some(Rule::FieldValue),
            Kind::UnknownPseudo => Some(Rule::PseudoUnknown),
            _ => None,
        }
    }
}

//! Clients who are told to come by TLS only.

use forebay_core::policy::On;
use forebay_http::h1::ResponseHead;
use forebay_http::h1::write::FieldEdit;
use forebay_snapshot::HttpProfile;

use super::steer::Steer;

/// The field's name.
pub const NAME: &[u8] = b"Strict-Transport-Security";
/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// The field's value, as the document wants it.
pub fn value_of(profile: &HttpProfile) -> Option<Box<[u8]>> {
    if !profile.hsts_enabled {
        return None;
    }
    let mut value = format!("max-age={}", u64::from(profile.hsts_max_age_days) * DAY_S);
    if profile.hsts_subdomains_enabled {
        value += "; includeSubDomains";
    }
    if profile.hsts_preload {
        value += "; preload";
    }
    Some(value.into_bytes().into())
}

/// The field for a server's answer; `None` if the server says it itself, or a rule decides about it.
//= TLS-HSTS-01
pub fn field<'s>(
    value: Option<&'s [u8]>,
    bytes: &[u8],
    answer: &ResponseHead,
    steer: &Steer<'_>,
) -> Option<FieldEdit<'s>> {
    let value = value?;
    let says = answer.fields.iter().any(|field| field.name.of(bytes).eq_ignore_ascii_case(NAME));
    (!says && !steer.edits(On::Response, NAME)).then_some(FieldEdit::Set { name: NAME, value })
}

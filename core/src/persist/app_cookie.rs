//! A cookie that the application sets: its value stands in our table.
//!
//! Looked for in this order: cookie, URI query of the same name, path parameter (`;jsessionid=…`). An entry
//! is made by the server's response only: a value that no server has issued occupies nothing.

use alloc::string::String;
use alloc::vec::Vec;

use super::{ClientKey, Found, Learned, client_ip, cookie_date, cookie_line, http_cookie};
use crate::limits::OPAQUE_KEY_MAX;
use crate::problem::Problem;
use crate::request::RequestView;
use crate::units::{Minutes, UnixSeconds};

/// The settings of application-cookie persistence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct AppCookie {
    /// The application's cookie.
    pub name: String,
    /// How long an unused entry lives, 1 to 720 minutes.
    pub timeout: Minutes,
}

impl Default for AppCookie {
    fn default() -> Self {
        Self { name: String::new(), timeout: Minutes(20) }
    }
}

impl AppCookie {
    pub(super) fn check(&self, out: &mut Vec<Problem>) {
        http_cookie::check_name("cookie_name", &self.name, out);
        client_ip::check_timeout(self.timeout, 1, out);
    }

    //= PERS-APP-01
    pub(super) fn find<'r, R: RequestView>(&self, request: &'r R) -> Found<'r> {
        let name = self.name.as_bytes();
        for line in request.cookie_lines() {
            if let Some(value) = cookie_line::values(line, name).find(|v| !v.is_empty()) {
                return opaque(value);
            }
        }
        if let Some(value) = request.query().and_then(|q| in_query(q, name)) {
            return opaque(value);
        }
        match in_path(request.path(), name) {
            Some(value) => opaque(value),
            None => Found::Absent,
        }
    }

    //= PERS-APP-02
    pub(super) fn learn<'r>(&self, set_cookie: &'r [u8], now: UnixSeconds) -> Learned<'r> {
        let Some((name, value, attributes)) = cookie_line::set_cookie(set_cookie) else {
            return Learned::Nothing;
        };
        if name != self.name.as_bytes() || value.is_empty() || value.len() > OPAQUE_KEY_MAX {
            return Learned::Nothing;
        }
        let key = ClientKey::Opaque(value);
        if ends_at_once(attributes, now) {
            Learned::Ended(key)
        } else {
            Learned::Key { key, lifetime: self.timeout.seconds() }
        }
    }
}

//= PERS-APP-04
fn opaque(value: &[u8]) -> Found<'_> {
    if value.len() > OPAQUE_KEY_MAX { Found::TooLong } else { Found::Key(ClientKey::Opaque(value)) }
}

/// `name=value` between `&`; the name is compared byte for byte.
fn in_query<'r>(query: &'r [u8], name: &[u8]) -> Option<&'r [u8]> {
    let mut rest = query;
    while !rest.is_empty() {
        let end = cookie_line::find(rest, b'&');
        if let Some(value) = value_of(&rest[..end], name, |a, b| a == b) {
            return Some(value);
        }
        rest = rest.get(end + 1..).unwrap_or(&[]);
    }
    None
}

/// `;name=value` in a path segment. Servlet containers write the cookie's name in lower case here, so case
/// does not count.
//= PERS-APP-03
fn in_path<'r>(path: &'r [u8], name: &[u8]) -> Option<&'r [u8]> {
    let mut rest = path;
    loop {
        let start = cookie_line::find(rest, b';');
        rest = rest.get(start + 1..)?;
        let end = cookie_line::find(rest, b';').min(cookie_line::find(rest, b'/'));
        if let Some(value) = value_of(&rest[..end], name, <[u8]>::eq_ignore_ascii_case) {
            return Some(value);
        }
    }
}

fn value_of<'r>(pair: &'r [u8], name: &[u8], same: impl Fn(&[u8], &[u8]) -> bool) -> Option<&'r [u8]> {
    let (head, tail) = pair.split_at_checked(name.len())?;
    match tail.split_first() {
        Some((b'=', value)) if !value.is_empty() && same(head, name) => Some(value),
        _ => None,
    }
}

/// True for `Max-Age` of zero or less, and for `Expires` in the past: how applications end a session. What cannot be
/// read is ignored, and of several attributes of one name the last counts (RFC 6265, 5.2 and 5.3).
//= PERS-APP-05
fn ends_at_once(attributes: &[u8], now: UnixSeconds) -> bool {
    let (mut by_age, mut by_date) = (None, None);
    for attribute in attributes.split(|b| *b == b';') {
        let equals = cookie_line::find(attribute, b'=');
        let name = cookie_line::trim(&attribute[..equals]);
        let value = cookie_line::trim(attribute.get(equals + 1..).unwrap_or(&[]));
        if name.eq_ignore_ascii_case(b"max-age") {
            by_age = is_no_age(value).or(by_age);
        } else if name.eq_ignore_ascii_case(b"expires") {
            by_date = cookie_date::parse(value).map(|at| at <= now).or(by_date);
        }
    }
    // Max-Age has precedence.
    by_age.or(by_date).unwrap_or(false)
}

/// Whether an age is zero or less; `None` if it is no number.
fn is_no_age(value: &[u8]) -> Option<bool> {
    let (is_negative, digits) = match value {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| is_negative || digits.iter().all(|b| *b == b'0'))
}

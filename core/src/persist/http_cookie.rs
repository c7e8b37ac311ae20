//! A cookie that we insert: it holds the server, sealed by the host.
//!
//! Nothing is kept in memory. The payload names virtual service, pool, server and the moment it was issued;
//! the host seals it with an authenticated cipher under a named key, and binds it to virtual service, pool and
//! cookie name once more as associated data.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Bond, KindName};
use crate::hash;
use crate::id::{Endpoint, PoolId, ServerIndex, VsId, ip_bytes, ip_from_bytes};
use crate::lb::Pool;
use crate::limits::{COOKIE_NAME_MAX, COOKIE_TIMEOUT_MAX_MIN};
use crate::problem::Problem;
use crate::reason::KeyOutcome;
use crate::units::{Minutes, UnixSeconds};

/// The settings of an inserted cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct HttpCookie {
    /// The cookie's name; [`default_name`] where the user gives none.
    pub name: String,
    /// How long a cookie is good, 1 to 14,400 minutes; 0: for ever.
    pub timeout: Minutes,
    /// Send the cookie with every response, not only when the client has none that leads here.
    //= PERS-COOKIE-07
    pub always_send: bool,
    /// Whether browsers keep the cookie over their own restart (`Max-Age`). `None`: if a timeout is set.
    pub is_persistent: Option<bool>,
    /// Hide the cookie from scripts.
    pub http_only: bool,
}

impl Default for HttpCookie {
    fn default() -> Self {
        Self {
            name: String::new(),
            timeout: Minutes(0),
            always_send: false,
            is_persistent: None,
            http_only: false,
        }
    }
}

/// Returns the name of a cookie whose profile names none: eight letters from the names of virtual service and
/// pool, so the same after a reload and on every service engine.
//= PERS-COOKIE-01
pub fn default_name(vs: &str, pool: &str) -> String {
    let mut bytes = Vec::with_capacity(vs.len() + pool.len() + 1);
    bytes.extend_from_slice(vs.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(pool.as_bytes());
    let mut bits = hash::fixed64(&bytes);
    (0..8)
        .map(|_| {
            let letter = b'A' + (bits % 26) as u8;
            bits /= 26;
            char::from(letter)
        })
        .collect()
}

/// What the cookie holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Payload {
    /// The virtual service that issued it.
    pub vs: VsId,
    /// The pool that the server belongs to.
    pub pool: PoolId,
    /// The server.
    pub server: Endpoint,
    /// When it was issued.
    pub issued: UnixSeconds,
}

/// Length of the longest encoded payload, in bytes.
pub const PAYLOAD_MAX: usize = 32;

const V1_IPV4: u8 = 0x14;
const V1_IPV6: u8 = 0x16;
// 40 bits of seconds reach the year 36812.
const ISSUED_BYTES: usize = 5;

impl Payload {
    /// The payload that binds a client to `server`.
    pub fn of(pool: &Pool, server: ServerIndex, issued: UnixSeconds) -> Self {
        Self { vs: pool.vs(), pool: pool.id(), server: pool.endpoint(server), issued }
    }

    /// Writes the payload's bytes, 20 for IPv4 and 32 for IPv6, and returns their number.
    pub fn encode(&self, out: &mut [u8; PAYLOAD_MAX]) -> usize {
        let ip = ip_bytes(self.server.ip);
        let v4 = ip_from_bytes(ip).is_ipv4();
        out[0] = if v4 { V1_IPV4 } else { V1_IPV6 };
        let ip = if v4 { &ip[12..] } else { &ip[..] };
        let mut at = 1;
        let issued = self.issued.0.to_le_bytes();
        for part in [
            ip,
            &self.server.port.to_le_bytes(),
            &self.vs.0.to_le_bytes(),
            &self.pool.0.to_le_bytes(),
            &issued[..ISSUED_BYTES],
        ] {
            out[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        at
    }

    /// Reads a payload; `None` if the bytes are not exactly one of a version we know.
    //= PERS-COOKIE-08
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (ip, rest) = match *version {
            V1_IPV4 => {
                let (ip, rest) = rest.split_first_chunk::<4>()?;
                let mut mapped = [0u8; 16];
                mapped[10..12].fill(0xff);
                mapped[12..].copy_from_slice(ip);
                (mapped, rest)
            }
            V1_IPV6 => {
                let (ip, rest) = rest.split_first_chunk::<16>()?;
                (*ip, rest)
            }
            _ => return None,
        };
        let (port, rest) = rest.split_first_chunk::<2>()?;
        let (vs, rest) = rest.split_first_chunk::<4>()?;
        let (pool, rest) = rest.split_first_chunk::<4>()?;
        let issued: &[u8; ISSUED_BYTES] = rest.try_into().ok()?;
        let mut seconds = [0u8; 8];
        seconds[..ISSUED_BYTES].copy_from_slice(issued);
        Some(Self {
            vs: VsId(u32::from_le_bytes(*vs)),
            pool: PoolId(u32::from_le_bytes(*pool)),
            server: Endpoint { ip: ip_from_bytes(ip), port: u16::from_le_bytes(*port) },
            issued: UnixSeconds(u64::from_le_bytes(seconds)),
        })
    }
}

impl HttpCookie {
    pub(super) fn check(&self, out: &mut Vec<Problem>) {
        check_name("cookie_name", &self.name, out);
        if self.timeout.0 > COOKIE_TIMEOUT_MAX_MIN {
            out.push(Problem::new(
                "timeout_min",
                format!("{} minutes is more than a cookie may last", self.timeout.0),
                format!("write 1 to {COOKIE_TIMEOUT_MAX_MIN}, or 0 for no timeout"),
            ));
        }
        if self.is_persistent == Some(true) && self.timeout.0 == 0 {
            out.push(Problem::new(
                "is_persistent_cookie",
                "a cookie that outlives the browser needs an end",
                "set timeout_min, or leave is_persistent_cookie out",
            ));
        }
    }

    /// The `Max-Age` in seconds that the cookie carries; `None` for a session cookie.
    //= PERS-COOKIE-06
    pub fn max_age(&self) -> Option<u32> {
        let wanted = self.is_persistent.unwrap_or(true);
        (wanted && self.timeout.0 > 0).then(|| self.timeout.seconds().0)
    }

    /// Appends the value of a `Set-Cookie` field with the sealed value `sealed`; `tls`: the client's
    /// connection is encrypted.
    //= PERS-COOKIE-05
    pub fn write_set_cookie(&self, sealed: &[u8], tls: bool, out: &mut Vec<u8>) {
        write_cookie(&self.name, sealed, self.max_age(), self.http_only, tls, out);
    }

    pub(super) fn resolve(&self, pool: &Pool, wall: UnixSeconds, payload: Payload) -> Bond {
        let kind = Some(KindName::HttpCookie);
        //= PERS-COOKIE-03
        if payload.vs != pool.vs() || payload.pool != pool.id() {
            return Bond::none(kind, KeyOutcome::Foreign);
        }
        // A moment of issue in the future is another engine's clock, not the client's doing: the payload is
        // authenticated, so it counts as fresh.
        //= PERS-COOKIE-04
        let age = wall.0.saturating_sub(payload.issued.0);
        if self.timeout.0 > 0 && age >= u64::from(self.timeout.seconds().0) {
            return Bond::none(kind, KeyOutcome::Expired);
        }
        Bond::to(KindName::HttpCookie, pool.index_of_endpoint(payload.server))
    }
}

pub(super) fn write_cookie(
    name: &str,
    sealed: &[u8],
    max_age: Option<u32>,
    http_only: bool,
    tls: bool,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
    out.extend_from_slice(sealed);
    out.extend_from_slice(b"; Path=/");
    if let Some(age) = max_age {
        out.extend_from_slice(b"; Max-Age=");
        let mut digits = [0u8; 10];
        let mut at = digits.len();
        let mut rest = age;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        out.extend_from_slice(&digits[at..]);
    }
    if http_only {
        out.extend_from_slice(b"; HttpOnly");
    }
    if tls {
        out.extend_from_slice(b"; Secure");
    }
}

/// A cookie name is a token (RFC 6265, 4.1.1).
pub(super) fn check_name(path: &str, name: &str, out: &mut Vec<Problem>) {
    if name.is_empty() {
        out.push(Problem::new(path, "the cookie has no name", "give it one, for example \"session\""));
    } else if name.len() > COOKIE_NAME_MAX {
        out.push(Problem::new(
            path,
            format!("the name has {} bytes", name.len()),
            format!("use at most {COOKIE_NAME_MAX}"),
        ));
    } else if let Some(c) = name.chars().find(|c| !is_token(*c)) {
        out.push(Problem::new(
            path,
            format!("{c:?} may not stand in a cookie's name"),
            "use letters, digits and !#$%&'*+-.^_`|~",
        ));
    }
}

pub(super) fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

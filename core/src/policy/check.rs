//! What values of rules may be: none that a message could not carry, so that no rule fails on traffic.
//!
//! Each check gives what is wrong and what to do about it.

use alloc::format;
use alloc::string::String;
use core::net::Ipv6Addr;

/// What is wrong with a value, and what to do.
pub(super) type Wrong = Option<(String, String)>;

/// Fields that frame a message or belong to one connection: the proxy writes them itself.
const FRAMING: [&str; 13] = [
    "content-length",
    "transfer-encoding",
    "connection",
    "host",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "http2-settings",
];
/// Longest host name in bytes: the longest name that DNS can carry.
const HOST_BYTES_MAX: usize = 253;

fn wrong(reason: impl Into<String>, fix: impl Into<String>) -> Wrong {
    Some((reason.into(), fix.into()))
}

/// A path as it stands in a request line.
pub(super) fn path(value: &str) -> Wrong {
    if !value.starts_with('/') {
        return wrong("a path begins with a slash", format!("write {:?}", format!("/{value}")));
    }
    if value.contains('?') {
        return wrong("a path has no query", "set the query by set_query, or escape the ? as %3F");
    }
    target(value).or_else(|| escapes(value))
}

/// A query, without its question mark.
pub(super) fn query(value: &str) -> Wrong {
    target(value)
}

/// The path of a redirect, which may end in a fragment if nothing follows it.
pub(super) fn location_path(value: &str, keep_query: bool) -> Wrong {
    match value.split_once('#') {
        Some(_) if keep_query => wrong(
            "the request's query would stand in the fragment",
            "add keep_query = false, or leave out the #",
        ),
        Some((before, fragment)) => path(before).or_else(|| target(fragment)),
        None => path(value),
    }
}

/// The first character that cannot stand in a target.
fn target(value: &str) -> Wrong {
    let odd = |c: &char| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>' | '#' | '\\');
    let c = value.chars().find(odd)?;
    let mut bytes = [0; 4];
    let escaped: String = c.encode_utf8(&mut bytes).bytes().map(|b| format!("%{b:02X}")).collect();
    if c.is_control() || c == '\\' {
        return wrong(format!("{c:?} cannot stand in a request line"), "remove it");
    }
    wrong(format!("{c:?} cannot stand in a request line"), format!("escape it as {escaped}"))
}

fn escapes(value: &str) -> Wrong {
    let mut rest = value;
    while let Some((_, behind)) = rest.split_once('%') {
        let digits = behind.get(..2).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()) && *d != "00");
        if digits.is_none() {
            return wrong("a % without two digits behind it escapes nothing", "write %25 for a percent sign");
        }
        rest = behind;
    }
    None
}

/// A host with an optional port, as clients take it from a URL.
pub(super) fn host(value: &str) -> Wrong {
    let (name, port) = match value.strip_prefix('[').and_then(|v| v.split_once(']')) {
        Some((ip, rest)) if ip.parse::<Ipv6Addr>().is_ok() => ("", rest),
        Some(_) => (value, ""),
        None => value.find(':').map_or((value, ""), |at| value.split_at(at)),
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let named = value.starts_with('[') && name.is_empty()
        || (1..=HOST_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_name);
    let digits = |p: &str| !p.starts_with('+') && p.parse::<u16>().is_ok_and(|p| p != 0);
    let ported = port.is_empty() || port.strip_prefix(':').is_some_and(digits);
    if named && ported {
        None
    } else {
        wrong(
            format!("{value:?} is not a host"),
            "write a name or an address, as in www.example.com, [2001:db8::1] or www.example.com:8443",
        )
    }
}

/// The value of a field.
pub(super) fn line(value: &str) -> Wrong {
    if value.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f) {
        return wrong("a control character would end the line", "remove it");
    }
    if value.trim_matches([' ', '\t']) != value {
        return wrong("a value has no blanks at its ends", "remove them");
    }
    None
}

/// The name of a field that a rule edits.
pub(super) fn edited(name: &str) -> Wrong {
    if !is_token(name) {
        wrong(format!("{name:?} is not a field name"), "use letters, digits and -")
    } else if FRAMING.iter().any(|f| f.eq_ignore_ascii_case(name)) {
        wrong(format!("{name} is written by the proxy itself"), "edit another field")
    } else {
        None
    }
}

/// The content of an answer with this status.
pub(super) fn content(status: u16, body: &str) -> Wrong {
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        wrong(format!("an answer with status {status} has no content"), "remove it, or answer with 200")
    } else {
        None
    }
}

/// Whether the text is a name of a method, field or cookie.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test POL-CHECK-04
    #[test]
    fn a_host_is_what_a_client_can_connect_to() {
        for good in
            ["a", "www.example.com", "www.example.com:8443", "192.0.2.1:80", "[2001:db8::1]", "[::1]:65535"]
        {
            assert_eq!(host(good), None, "{good}");
        }
        for bad in [
            "", "a b", "a/b", "a?b", "u@a", "a:", "a:0", "a:65536", "a:+1", "[::1", "[x]", "::1", "[::1]x",
            "a#b", ":80",
        ] {
            assert!(host(bad).is_some(), "{bad}");
        }
    }

    //= test POL-CHECK-04
    #[test]
    fn a_path_or_query_is_what_a_request_line_carries() {
        for good in ["/", "/a%20b;v=1/@x", "/{a}|b"] {
            assert_eq!(path(good), None, "{good}");
        }
        for bad in [
            "", "a", "/a b", "/\"", "/<b>", "/a#b", "/a?b", "/\u{e9}", "/%", "/%4", "/%zz", "/%00", "/a\\b",
            "/\u{7f}",
        ] {
            assert!(path(bad).is_some(), "{bad}");
        }
        assert_eq!(query("a=%zz?b"), None);
        for bad in ["a b", "x HTTP/1.1#\u{e9}", "a\"", "a\r\nb"] {
            assert!(query(bad).is_some(), "{bad}");
        }
        assert_eq!(query("\u{e9}").map(|(_, fix)| fix).as_deref(), Some("escape it as %C3%A9"));
        assert_eq!(location_path("/app#/login", false), None);
        assert!(location_path("/app#/login", true).is_some() && location_path("/app#a b", false).is_some());
    }
}

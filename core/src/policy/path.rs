//! The form of a path that rules compare.

use alloc::vec::Vec;

/// Writes the comparable form of `path` into `out`: escaped unreserved characters are read, other escapes get
/// upper-case digits, `.` and `..` segments and empty segments are removed (RFC 3986, 6.2.2; empty segments
/// because servers ignore them). The result begins with a slash.
///
/// A backslash counts as a slash, and so does nothing else: `%2f` stays an escape.
//= POL-PATH-01
pub fn normalize(path: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = path;
    let mut segment_at = 0;
    out.push(b'/');
    loop {
        let (byte, len) = match rest {
            [] => break,
            [b'%', h, l, ..] => match (hex(*h), hex(*l)) {
                (Some(h), Some(l)) => (Some(h << 4 | l).filter(|b| is_unreserved(*b)), 3),
                _ => (Some(b'%'), 1),
            },
            [b, ..] => (Some(*b), 1),
        };
        match byte {
            Some(b'/' | b'\\') => segment_at = close_segment(out, segment_at, true),
            Some(b) => out.push(b),
            None => out.extend([b'%', rest[1].to_ascii_uppercase(), rest[2].to_ascii_uppercase()]),
        }
        rest = &rest[len..];
    }
    close_segment(out, segment_at, false);
}

/// Ends the segment that begins behind the slash at `at`; returns where the last slash now is.
fn close_segment(out: &mut Vec<u8>, at: usize, more: bool) -> usize {
    match &out[at + 1..] {
        b"" | b"." => out.truncate(at + 1),
        b".." => {
            let parent = out[..at].iter().rposition(|b| *b == b'/').unwrap_or(0);
            out.truncate(parent + 1);
        }
        _ if more => out.push(b'/'),
        _ => {}
    }
    out.iter().rposition(|b| *b == b'/').unwrap_or(0)
}

fn hex(b: u8) -> Option<u8> {
    char::from(b).to_digit(16).map(|d| d as u8)
}

fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(path: &str) -> alloc::string::String {
        let mut out = Vec::new();
        normalize(path.as_bytes(), &mut out);
        alloc::string::String::from_utf8(out).unwrap()
    }

    //= test POL-PATH-01
    #[test]
    fn disguised_paths_compare_as_what_servers_read() {
        for (sent, compared) in [
            ("/", "/"),
            ("", "/"),
            ("/admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/a/../admin", "/admin"),
            ("/a/%2e%2E/admin", "/admin"),
            ("//admin", "/admin"),
            ("/./admin/.", "/admin/"),
            ("/a/b/..", "/a/"),
            ("/../..", "/"),
            ("/a%2fb", "/a%2Fb"),
            ("/a\\..\\admin", "/admin"),
            ("/100%", "/100%"),
            ("/%zz", "/%zz"),
            ("/a/.../b", "/a/.../b"),
        ] {
            assert_eq!(of(sent), compared, "{sent}");
        }
    }

    proptest! {
        //= test POL-PATH-01
        #[test]
        fn the_compared_form_is_stable_and_has_no_dots(path in "[/a.%2eE]{0,24}") {
            let once = of(&path);
            prop_assert!(once.starts_with('/'));
            prop_assert!(!once.contains("//"));
            prop_assert!(once.split('/').all(|s| s != "." && s != ".."));
        }
    }
}

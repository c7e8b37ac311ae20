//! The form of a path that rules compare, and the form that rewriting begins from.
//!
//! Servers do not read a path alike: some take `%2f` for a separator, some cut `;parameters` off before they look for
//! `..`, some join doubled slashes before they resolve `..` and some after. A rule that protects a path must hold for
//! all of them, so what they read differently is not compared at all: it is [`Ambiguous`].

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Servers would read different paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

/// What an escaped slash (`%2F`) is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slash {
    /// A reason to refuse the path.
    Refused,
    /// A byte of a segment.
    Data,
    /// The end of a segment.
    Separator,
}

/// Writes the compared form of `path` into `out`: escapes are read where the byte could stand unescaped, other
/// escapes get upper-case digits; parameters of segments (`;` to the next slash) are left out; `.`, `..` and empty
/// segments are resolved. The result begins with a slash.
///
/// # Errors
/// If servers read different paths: a backslash in any form; an escaped slash, if `slash` refuses it, and beside `.` or
/// `..` in any case; `.` or `..` with parameters; `..` behind an empty segment.
//= POL-PATH-01
//= POL-PATH-03
pub(super) fn compared(path: &[u8], slash: Slash, out: &mut Vec<u8>) -> Result<(), Ambiguous> {
    let mut form = Form::begin(out);
    let (mut dots, mut escaped_slash) = (false, false);
    // Behind the name of a segment, in its parameters.
    let mut beyond = false;
    for octet in octets(path) {
        match octet.byte {
            b'\\' => return Err(Ambiguous),
            b'/' if octet.escaped && slash == Slash::Refused => return Err(Ambiguous),
            b'/' if !octet.escaped || slash == Slash::Separator => {
                dots |= form.close(beyond, true)?;
                escaped_slash |= octet.escaped;
                beyond = false;
            }
            b'/' => {
                escaped_slash = true;
                if !beyond {
                    octet.write_escaped(form.out);
                }
            }
            b';' => beyond = true,
            _ if beyond => {}
            _ => octet.write_compared(form.out),
        }
    }
    dots |= form.close(beyond, false)?;
    form.join_slashes();
    if dots && escaped_slash { Err(Ambiguous) } else { Ok(()) }
}

/// Writes the form of `path` that rewriting begins from into `out`: as it was sent, with `.`, `..` and empty segments
/// resolved and escapes of unreserved characters read. Reserved characters and parameters mean something to the
/// server and stay.
pub(super) fn resolved(path: &[u8], out: &mut Vec<u8>) {
    let mut form = Form::begin(out);
    for octet in octets(path) {
        match octet.byte {
            // Where rules compare paths, what is ambiguous was refused before; elsewhere the standard's reading holds.
            b'/' if !octet.escaped => _ = form.close(false, true),
            byte if !octet.escaped || is_unreserved(byte) => form.out.push(byte),
            _ => octet.write_escaped(form.out),
        }
    }
    _ = form.close(false, false);
    form.join_slashes();
}

/// How many bytes of a [`resolved`] path are compared as `prefix`, which ends there with a segment.
pub(super) fn prefix_len(path: &[u8], prefix: &[u8], slash: Slash) -> Option<usize> {
    let is_separator = |o: &Octet| o.byte == b'/' && (!o.escaped || slash == Slash::Separator);
    let (mut at, mut rest) = (0, prefix);
    let mut behind_slash = false;
    while !rest.is_empty() {
        let octet = octet(&path[at..])?;
        if is_separator(&octet) {
            if !behind_slash {
                rest = rest.strip_prefix(b"/")?;
            }
            behind_slash = true;
        } else if octet.byte == b';' {
            // Parameters are not compared.
            while octet_at(path, at).is_some_and(|o| !is_separator(&o)) {
                at += octet_at(path, at)?.len;
            }
            continue;
        } else {
            let escape = octet.escape();
            let form = if is_plain(octet.byte) { core::slice::from_ref(&octet.byte) } else { &escape };
            rest = rest.strip_prefix(form)?;
            behind_slash = false;
        }
        at += octet.len;
    }
    let ends = octet_at(path, at).is_none_or(|o| is_separator(&o) || o.byte == b';');
    (behind_slash || ends).then_some(at)
}

/// The form in which a piece of a path would be compared: what differs from it is in no path.
pub(super) fn piece(text: &str, is_glob: bool) -> String {
    let mut out = Vec::new();
    for octet in octets_of(text.as_bytes()) {
        match octet.byte {
            b';' | b'\\' => {}
            b'?' if is_glob && !octet.escaped => out.push(b'?'),
            b'/' if !octet.escaped => out.push(b'/'),
            _ => octet.write_compared(&mut out),
        }
    }
    let mut text = String::from_utf8_lossy(&out).into_owned();
    for (dots, slash) in [("//", "/"), ("/./", "/"), ("/../", "/")] {
        while text.contains(dots) {
            text = text.replace(dots, slash);
        }
    }
    text
}

/// The path that `text` is compared as, for a message.
pub(super) fn shown(text: &str, slash: Slash) -> Option<String> {
    let mut out = Vec::new();
    compared(text.as_bytes(), slash, &mut out).ok()?;
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// A path as it grows, segment by segment.
struct Form<'o> {
    out: &'o mut Vec<u8>,
    /// Where the segment begins that is being written, behind its slash.
    segment: usize,
}

impl<'o> Form<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        out.clear();
        out.push(b'/');
        Self { out, segment: 1 }
    }

    /// Ends the segment, `parameters`: it had some; `more`: a slash follows. Gives whether it was `.` or `..`.
    fn close(&mut self, parameters: bool, more: bool) -> Result<bool, Ambiguous> {
        let name = &self.out[self.segment..];
        let dots = matches!(name, b"." | b"..");
        let mut read = Ok(dots);
        if dots && parameters {
            read = Err(Ambiguous);
        } else if dots {
            let up = name.len() == 2 && self.segment > 1;
            self.out.truncate(self.segment);
            if up {
                self.out.pop();
                let parent = self.out.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
                if parent == self.out.len() {
                    read = Err(Ambiguous);
                }
                self.out.truncate(parent);
            }
        } else if more {
            self.out.push(b'/');
        }
        self.segment = self.out.len();
        read
    }

    /// Doubled slashes stay until here, because what `..` does behind them depends on the server.
    fn join_slashes(self) {
        self.out.dedup_by(|a, b| *a == b'/' && *b == b'/');
    }
}

/// One byte of a path as it may be written: itself, or escaped.
#[derive(Clone, Copy)]
struct Octet {
    byte: u8,
    escaped: bool,
    /// Bytes that it takes in the path.
    len: usize,
}

impl Octet {
    fn escape(self) -> [u8; 3] {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        [b'%', DIGITS[usize::from(self.byte >> 4)], DIGITS[usize::from(self.byte & 15)]]
    }

    fn write_escaped(self, out: &mut Vec<u8>) {
        out.extend(self.escape());
    }

    fn write_compared(self, out: &mut Vec<u8>) {
        if is_plain(self.byte) { out.push(self.byte) } else { self.write_escaped(out) }
    }
}

/// The octets of a path behind its first slash.
fn octets(path: &[u8]) -> impl Iterator<Item = Octet> {
    octets_of(path.strip_prefix(b"/").unwrap_or(path))
}

fn octets_of(mut rest: &[u8]) -> impl Iterator<Item = Octet> {
    core::iter::from_fn(move || {
        let next = octet(rest)?;
        rest = &rest[next.len..];
        Some(next)
    })
}

fn octet_at(path: &[u8], at: usize) -> Option<Octet> {
    octet(path.get(at..)?)
}

fn octet(rest: &[u8]) -> Option<Octet> {
    let plain = |byte: u8| Octet { byte, escaped: false, len: 1 };
    match rest {
        [] => None,
        [b'%', high, low, ..] => Some(match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => Octet { byte: high << 4 | low, escaped: true, len: 3 },
            _ => plain(b'%'),
        }),
        [byte, ..] => Some(plain(*byte)),
    }
}

fn hex(b: u8) -> Option<u8> {
    char::from(b).to_digit(16).map(|d| d as u8)
}

/// Whether the byte stands unescaped in the compared form: what a client may send unescaped within a segment.
fn is_plain(b: u8) -> bool {
    b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'#' | b'%' | b'?' | b'/' | b'\\' | b';')
}

fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
}

/// Why no path is compared as `text`, and what to write.
pub(super) fn never(text: &str, form: Option<String>) -> (String, String) {
    let fix = match form {
        // In a glob it stands for any byte, and in its form too.
        _ if text.contains('?') && !form.as_ref().is_some_and(|form| form.contains('?')) => {
            "a path has no query: put what follows the ? under when.query".into()
        }
        Some(form) if text.contains(';') => {
            format!("write {form:?}: parameters behind a ; are not compared")
        }
        Some(form) => format!("write {form:?}"),
        None => {
            "write a path that all servers read alike: without \\, %5C, and %2F unless escaped_slashes = \
                 \"compare\""
                .into()
        }
    };
    (format!("no path is ever compared as {text:?}"), fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    fn of(path: &str, slash: Slash) -> Option<String> {
        let mut out = Vec::new();
        compared(path.as_bytes(), slash, &mut out).ok()?;
        Some(String::from_utf8(out).unwrap())
    }

    //= test POL-PATH-01
    #[test]
    fn disguised_paths_compare_as_what_servers_read() {
        for (sent, form) in [
            ("/", "/"),
            ("", "/"),
            ("*", "/*"),
            ("/admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/a/../admin", "/admin"),
            ("/a/%2e%2E/admin", "/admin"),
            ("//admin", "/admin"),
            ("/./admin/.", "/admin/"),
            ("/a/b/..", "/a/"),
            ("/../..", "/"),
            ("/a//b/../c", "/a/c"),
            ("/a/.../b", "/a/.../b"),
            // Reserved bytes are the same escaped or not, others are always escaped.
            ("/%40me%2Bi%21/%c3%a9%20%22%3f", "/@me+i!/%C3%A9%20%22%3F"),
            ("/100%25%2541", "/100%25%2541"),
            // Parameters belong to no name.
            ("/admin;v=1/x;jsessionid=5", "/admin/x"),
            ("/admin%3bv=1/x", "/admin/x"),
            ("/;v=1/admin", "/admin"),
        ] {
            assert_eq!(of(sent, Slash::Refused).as_deref(), Some(form), "{sent}");
        }
    }

    //= test POL-PATH-03
    #[test]
    fn what_servers_read_differently_is_not_compared() {
        for path in [
            "/%2fadmin",
            "/x%2f..%2fadmin",
            "/.%2F/admin",
            "/a%5c..%5cadmin",
            "/a\\admin",
            "/x/..;/admin",
            "/x/..;v=1/admin",
            "/x/..%3B/admin",
            "/admin/.;",
            "/a//../admin",
            "/a/;v/../admin",
            "//../admin",
        ] {
            assert_eq!(of(path, Slash::Refused), None, "{path}");
        }
        for path in ["/x%2f../admin", "/.%2f/admin", "/a/../b%2fc", "/a%5Cb", "/x/..;/b", "/a//../b"] {
            // Both readings are asked, so one that refuses is enough.
            assert_eq!(of(path, Slash::Data).and(of(path, Slash::Separator)), None, "{path}");
        }
    }

    //= test POL-PATH-04
    #[test]
    fn an_escaped_slash_has_two_readings() {
        for (sent, data, separator) in [
            ("/a%2fb/c", "/a%2Fb/c", "/a/b/c"),
            ("/queues/%2F/x", "/queues/%2F/x", "/queues/x"),
            ("/a;v=%2fb/c", "/a/c", "/a/b/c"),
        ] {
            assert_eq!(of(sent, Slash::Data).as_deref(), Some(data), "{sent}");
            assert_eq!(of(sent, Slash::Separator).as_deref(), Some(separator), "{sent}");
        }
    }

    //= test POL-REWRITE-01
    #[test]
    fn rewriting_begins_from_the_path_without_dots_and_with_all_that_means_something() {
        for (sent, form) in [("/%61/./b/../c//d", "/a/c/d"), ("/a%2Bb%2fc;v=1/x%3by", "/a%2Bb%2Fc;v=1/x%3By")]
        {
            let mut out = Vec::new();
            resolved(sent.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), form, "{sent}");
        }
    }

    //= test POL-REWRITE-01
    #[test]
    fn a_prefix_is_found_in_whole_segments_however_they_are_written() {
        for (path, prefix, len) in [
            ("/api/x", "/api", Some(4)),
            ("/apix", "/api", None),
            ("/ap", "/api", None),
            ("/api/x", "/api/", Some(5)),
            ("/api", "/api/", None),
            ("/api;v=1/x", "/api", Some(4)),
            ("/api;v=1/x", "/api/x", Some(10)),
            ("/;v=1/api/x", "/api", Some(9)),
            ("/%40me/x", "/@me", Some(6)),
            ("/api%2Fx", "/api", None),
        ] {
            assert_eq!(
                prefix_len(path.as_bytes(), prefix.as_bytes(), Slash::Refused),
                len,
                "{path} {prefix}"
            );
        }
        for (path, len) in [("/api%2Fx/y", 8), ("/%2Fapi/x/y", 9)] {
            assert_eq!(prefix_len(path.as_bytes(), b"/api/x", Slash::Separator), Some(len), "{path}");
        }
    }

    proptest! {
        //= test POL-PATH-01
        //= test POL-PATH-03
        #[test]
        fn the_compared_form_is_stable_and_has_no_dots(path in "/[/a.%2eEfF;cC]{0,24}") {
            for slash in [Slash::Refused, Slash::Data, Slash::Separator] {
                let Some(once) = of(&path, slash) else { continue };
                prop_assert!(once.starts_with('/'));
                prop_assert!(!once.contains("//") && !once.contains(';'));
                prop_assert!(once.split('/').all(|s| s != "." && s != ".."));
                if slash != Slash::Data {
                    prop_assert!(!once.contains("%2F"));
                }
                prop_assert_eq!(of(&once, slash), Some(once.to_string()));
            }
        }

        /// Readers of many habits: whatever one of them reads is what rules compared, or the path was refused.
        //= test POL-PATH-01
        //= test POL-PATH-03
        #[test]
        fn no_server_reads_another_path_than_was_compared(
            path in "(/|%2f|%5c|a|b|\\.|%2e|;|%3b|x){1,12}",
            habits in 0u32..16,
        ) {
            let path = std::format!("/{path}");
            if let Some(form) = of(&path, Slash::Refused) {
                let read = served(&path, habits);
                // A server that has no parameters reads other names there: no name of a rule, which has no `;`.
                let read = if read.contains(';') { without_parameters(&read) } else { read };
                prop_assert_eq!(read, form, "{} {:b}", path, habits);
            }
        }
    }

    fn without_parameters(path: &str) -> String {
        let names: Vec<&str> = path.split('/').map(|s| s.split(';').next().unwrap_or(s)).collect();
        joined(&names.join("/"))
    }

    fn joined(path: &str) -> String {
        let mut path = path.to_string();
        while path.contains("//") {
            path = path.replace("//", "/");
        }
        path
    }

    /// What a server with these habits serves for a path.
    fn served(path: &str, habits: u32) -> String {
        let has = |bit: u32| habits >> bit & 1 == 1;
        let decode = |text: &str| {
            let text = text.replace("%2e", ".").replace("%3b", ";").replace("%5c", "\\");
            text.replace("%2f", "/")
        };
        let mut path = path.to_string();
        if has(0) {
            // Decodes first, so that an escaped semicolon begins parameters.
            path = decode(&path);
        }
        if has(1) {
            let cut: Vec<&str> = path.split('/').map(|s| s.split(';').next().unwrap_or(s)).collect();
            path = cut.join("/");
        }
        path = decode(&path);
        if has(2) {
            path = path.replace('\\', "/");
        }
        if has(3) {
            path = joined(&path);
        }
        let mut segments: Vec<&str> = Vec::new();
        let all: Vec<&str> = path.split('/').skip(1).collect();
        for (i, segment) in all.iter().enumerate() {
            let last = i + 1 == all.len();
            match *segment {
                "." | ".." => {
                    if *segment == ".." {
                        segments.pop();
                    }
                    if last {
                        segments.push("");
                    }
                }
                name => segments.push(name),
            }
        }
        let path = std::format!("/{}", segments.join("/"));
        // In the end doubled slashes are one to whoever looks the path up.
        joined(&path)
    }
}

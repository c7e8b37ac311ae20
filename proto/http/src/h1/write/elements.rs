//! The form of a `Forwarded` value (RFC 7239 4).

use crate::bytes;

/// Says whether a value is a list of elements, each of pairs `name=token` or `name="text"`; empty ones are allowed. What
/// is written behind any other would be read by some as a part of it: an open quotation takes in all that follows.
pub(super) fn is_list(value: &[u8]) -> bool {
    let mut rest = value;
    loop {
        rest = rest.trim_ascii_start();
        let name = token(rest);
        if !name.is_empty() {
            let Some(said) = rest.get(name.len()..).and_then(|r| r.strip_prefix(b"=")) else { return false };
            let Some(after) = after_value(said) else { return false };
            rest = after.trim_ascii_start();
        }
        match rest.split_first() {
            None => return true,
            Some((b',' | b';', after)) => rest = after,
            Some(_) => return false,
        }
    }
}

/// What stands behind a pair's value.
fn after_value(said: &[u8]) -> Option<&[u8]> {
    let Some(mut quoted) = said.strip_prefix(b"\"") else {
        let plain = token(said);
        return if plain.is_empty() { None } else { said.get(plain.len()..) };
    };
    loop {
        quoted = match quoted {
            [b'"', after @ ..] => return Some(after),
            [b'\\', _, after @ ..] | [_, after @ ..] => after,
            [] => return None,
        };
    }
}

fn token(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|b| !bytes::is_token(&[*b])).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test H1-FWD-03
    #[test]
    fn only_whole_elements_are_a_list() {
        for good in [
            "",
            "for=192.0.2.1",
            "for=\"[2001:db8::1]:80\";proto=https;by=_hidden, for=unknown",
            " , ;for=a ; , proto=http",
            r#"for="a\"b, c""#,
        ] {
            assert!(is_list(good.as_bytes()), "{good}");
        }
        for bad in
            ["for=\"", "for=", "for", "for=a b", "for=\"a\\", r#"for="a\""#, "for=\"a\"b", "=a", "for=a:80"]
        {
            assert!(!is_list(bad.as_bytes()), "{bad}");
        }
    }
}

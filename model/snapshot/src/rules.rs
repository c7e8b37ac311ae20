//! Rules for texts in a document.

use crate::limits::{
    COMMAND_WORD_BYTES_MAX, COMMAND_WORDS_MAX, NAME_CHARS_MAX, PROBE_MATCH_BYTES_MAX, PROBE_REQUEST_BYTES_MAX,
};

type Kept = Result<(), (String, String)>;

fn broken(reason: &str, fix: &str) -> Kept {
    Err((reason.to_owned(), fix.to_owned()))
}

/// A name of an object: it stands in labels, logs and commands.
pub(crate) fn name(text: &str) -> Kept {
    if text.is_empty() {
        return broken("the name is empty", "give it a name of letters, digits, '-', '_' or '.'");
    }
    if text.chars().count() > NAME_CHARS_MAX {
        return Err(("the name is too long".to_owned(), format!("use at most {NAME_CHARS_MAX} characters")));
    }
    if text.chars().any(char::is_control) {
        return broken("the name has a control character", "use letters, digits, '-', '_' or '.'");
    }
    Ok(())
}

/// An optional name.
pub(crate) fn name_if_given(text: &Option<String>) -> Kept {
    text.as_deref().map_or(Ok(()), name)
}

/// A field or cookie name: an HTTP token.
pub(crate) fn token(text: &str) -> Kept {
    let odd = |b: u8| !(b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if text.is_empty() || text.len() > NAME_CHARS_MAX || text.bytes().any(odd) {
        return broken("this is no HTTP token", "use letters, digits, '-' or '_' (at most 128)");
    }
    Ok(())
}

/// A cookie's name: a token of at most 64 characters, because it stands in every request and answer.
pub(crate) fn cookie_name(text: &str) -> Kept {
    token(text)?;
    if text.len() > 64 {
        return broken("the name is too long for a cookie", "use at most 64 characters");
    }
    Ok(())
}

/// An optional cookie name.
pub(crate) fn cookie_name_if_given(text: &Option<String>) -> Kept {
    text.as_deref().map_or(Ok(()), cookie_name)
}

/// An optional token.
pub(crate) fn token_if_given(text: &Option<String>) -> Kept {
    text.as_deref().map_or(Ok(()), token)
}

/// Header fields that are not the engine's to give a meaning of its own: they frame a message, or have one already.
const TAKEN_HEADERS: [&str; 22] = [
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
    "expect",
    "max-forwards",
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-port",
    "cookie",
    "content-type",
];

/// A header's name as servers compare it, many of which take `_` for `-`.
pub(crate) fn plain_header(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// An optional header that says who a client is.
pub(crate) fn identity_header(text: &Option<String>) -> Kept {
    token_if_given(text)?;
    match text {
        Some(name) if TAKEN_HEADERS.contains(&plain_header(name).as_str()) => {
            broken("this field has a meaning of its own", "use another name, such as \"X-Client-Subject\"")
        }
        _ => Ok(()),
    }
}

/// A header value that is compared with what clients send.
pub(crate) fn header_value_if_given(text: &Option<String>) -> Kept {
    let Some(text) = text else { return Ok(()) };
    if text.is_empty()
        || text.len() > 1024
        || text.bytes().any(|b| b.is_ascii_control())
        || text.trim() != text
    {
        return broken("no client can send this as a header value", "use 1 to 256 visible characters");
    }
    Ok(())
}

/// A probe's request.
pub(crate) fn probe(text: &str) -> Kept {
    if text.is_empty() {
        return broken("the request is empty", "write one like \"GET / HTTP/1.0\"");
    }
    if text.len() > PROBE_REQUEST_BYTES_MAX {
        return Err((
            "the request is too long".to_owned(),
            format!("use at most {PROBE_REQUEST_BYTES_MAX} bytes"),
        ));
    }
    Ok(())
}

/// A text sought in an answer's first bytes.
pub(crate) fn sought_if_given(text: &Option<String>) -> Kept {
    match text {
        Some(text) if text.is_empty() => {
            broken("an empty text is found everywhere", "remove the key or write the text")
        }
        Some(text) if text.len() > PROBE_MATCH_BYTES_MAX => {
            Err(("the text is too long".to_owned(), format!("use at most {PROBE_MATCH_BYTES_MAX} bytes")))
        }
        _ => Ok(()),
    }
}

/// A datagram's text.
pub(crate) fn datagram_if_given(text: &Option<String>) -> Kept {
    match text {
        Some(text) if text.is_empty() => broken("the text is empty", "remove the key, or write the text"),
        Some(text) if text.len() > PROBE_REQUEST_BYTES_MAX => {
            Err(("the text is too long".to_owned(), format!("use at most {PROBE_REQUEST_BYTES_MAX} bytes")))
        }
        _ => Ok(()),
    }
}

/// A command: a program's full path and its arguments.
pub(crate) fn command(words: &[String]) -> Kept {
    let fix = "write a list such as [\"/usr/local/bin/check\", \"--quick\"]";
    match words.first() {
        None => return broken("it names no program", fix),
        Some(program) if !program.starts_with('/') => {
            return broken("the program is not named by its full path; nothing searches for it", fix);
        }
        Some(_) => {}
    }
    if words.iter().any(|word| word.contains('\0')) {
        return broken("no program takes a NUL in its arguments", "remove it");
    }
    if words.len() > COMMAND_WORDS_MAX || words.iter().any(|word| word.len() > COMMAND_WORD_BYTES_MAX) {
        let fix =
            format!("use at most {COMMAND_WORDS_MAX} words of {COMMAND_WORD_BYTES_MAX} bytes, or a script");
        return Err(("the command is too long".to_owned(), fix));
    }
    Ok(())
}

/// A user's or group's name, or its number.
pub(crate) fn account_if_given(text: &Option<String>) -> Kept {
    match text {
        Some(text) if text.is_empty() || text.len() > 64 || text.contains(['\0', ':', '/']) => {
            broken("this is no name of a user or group", "write a name such as \"forebay\", or a number")
        }
        _ => Ok(()),
    }
}

/// A file's path.
pub(crate) fn path(text: &str) -> Kept {
    if text.is_empty() || text.contains('\0') {
        return broken("this is no path", "write a path");
    }
    Ok(())
}

/// An optional file's path.
pub(crate) fn path_if_given(text: &Option<String>) -> Kept {
    text.as_deref().map_or(Ok(()), path)
}

/// An optional place of a Redis: what is said to it is not encrypted, so it is on this machine.
pub(crate) fn redis_if_given(text: &Option<String>) -> Kept {
    let Some(text) = text.as_deref().filter(|text| !text.contains('/')) else { return Ok(()) };
    match text.parse::<std::net::SocketAddr>() {
        Ok(address) if address.ip().is_loopback() && address.port() > 0 => Ok(()),
        Ok(_) => broken(
            "what is said to a Redis is not encrypted, and this is no address of the loopback network",
            "use a Redis on this machine, best by its unix socket",
        ),
        Err(_) => broken(
            "this is neither the path of a socket nor an address with a port",
            "write one like \"/run/redis/redis.sock\" or \"127.0.0.1:6379\"",
        ),
    }
}

/// A group of engines that share their tables.
pub(crate) fn group(text: &str) -> Kept {
    crate::group_problem(text).map_or(Ok(()), |why| broken(why, "use a name such as \"shop-1\""))
}

/// An optional name of a host, without a port.
pub(crate) fn host_if_given(text: &Option<String>) -> Kept {
    match text {
        Some(text) if !is_host_name(text) => {
            broken("this is no name of a host", "write one like \"app.internal\"")
        }
        _ => Ok(()),
    }
}

/// Whether a text is a host name as the DNS takes it: labels of letters, digits, '-' and '_', at most 63 bytes each and
/// 253 together, the last one not a number (that would be a mistyped address).
pub(crate) fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

/// A unix socket's path, which the kernel holds in 108 bytes with the closing zero.
pub(crate) fn socket_path(text: &str) -> Kept {
    path(text)?;
    if text.len() > 107 {
        return broken("a unix socket's path has at most 107 bytes", "use a shorter path");
    }
    Ok(())
}

/// A local answer's status code or the one that a refused request gets.
pub(crate) fn redirect_if_given(text: &Option<String>) -> Kept {
    let Some(text) = text else { return Ok(()) };
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or_default();
    if host.is_empty() || text.len() > 2048 || text.bytes().any(|b| b.is_ascii_control() || b == b' ') {
        return broken("this is no web address", "write one like \"https://sorry.example/\"");
    }
    Ok(())
}

/// Our name in `Via`: a token, or nothing.
pub(crate) fn via(text: &str) -> Kept {
    if text.is_empty() { Ok(()) } else { token(text) }
}

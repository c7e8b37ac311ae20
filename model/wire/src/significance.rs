//! Why a record deserves a look, by the names that Avi's clients look for: engines say it in words.

/// Words of engines, and the names that they stand for.
const NAMES: &[(&str, &[&str])] = &[
    ("ADF_RESPONSE_CODE_5XX", &["the client got a 5xx"]),
    ("ADF_PERSISTENT_SERVER_CHANGE", &["a persistent client was moved to another server"]),
    (
        "ADF_CLIENT_CONN_ABORTED",
        &[
            "the client got no answer",
            "the client took it back before its turn came",
            "the client left while it waited for a server",
            "the client left before a server's connection was opened for it",
            "the client left in the middle of its request",
            "the client closed the connection",
            "client closed or stalled before the answer's end",
        ],
    ),
    ("ADF_CLIENT_SENT_RESET", &["the client reset its connection"]),
    ("ADF_CLIENT_CONN_TIMEDOUT", &["the client read too slowly"]),
    ("ADF_IDLE_TIMEDOUT", &["idle: nothing moved for too long"]),
    ("ADF_CLIENT_CONNECTION_CLOSED_BEFORE_REQUEST", &["it ended without a byte"]),
    ("ADF_CLIENT_CONN_STOPPED", &["cut: the engine stopped", "cut: its worker failed"]),
    ("ADF_USER_DELETE_OPERATION", &["cut: the grace of its disabled or failed server is over"]),
    ("ADF_CLIENT_CLOSE_CONNECTION_ON_VS_UPDATE", &["cut: its address is listened on no more"]),
    ("ADF_MEMORY_EXHAUSTED", &["evicted: a newer flow took its place"]),
    (
        "ADF_CLIENT_CONN_SETUP_FAILED_BAD_PACKET",
        &[
            "its PROXY header was refused",
            "its peer may send no PROXY header",
            "it ended before its PROXY header was whole",
            "its PROXY header did not come in time",
            "it begins like no PROXY header",
            "the PROXY header is too long",
            "the PROXY line has another form",
            "the PROXY header has no known version or command",
            "the PROXY header has no known address family",
            "the PROXY header has a wrong address",
            "the PROXY header has a wrong port",
            "the PROXY header has wrong values behind its addresses",
            "the PROXY header has another checksum",
        ],
    ),
    (
        "ADF_CLIENT_SSL_HANDSHAKE_FAILURE",
        &[
            "its TLS handshake failed",
            "its ClientHello is missing or wrong",
            "its TLS handshake was not over in time",
            "it ended before its TLS handshake was over",
            "what it sent is no TLS",
            "it speaks no version of TLS that is spoken here",
            "no cipher suite, group or certificate suits both",
            "the client ended the TLS handshake",
            "its TLS handshake breaks a rule",
            "the end of its client's TLS handshake did not come",
            "its first TLS records break a rule",
            "its first TLS message is no ClientHello",
            "its ClientHello is too long",
            "its ClientHello is garbled",
            "the name in its ClientHello is garbled",
        ],
    ),
    (
        "ADF_X509_CLIENT_CERTIFICATE_VERIFICATION_FAILED",
        &["it shows no certificate, and nobody is let in without"],
    ),
    ("ADF_X509_CLIENT_CERTIFICATE_INVALID_CA", &["its certificate is of no authority that is trusted"]),
    ("ADF_X509_CLIENT_CERTIFICATE_EXPIRED", &["its certificate has expired, or is not valid yet"]),
    ("ADF_X509_CLIENT_CERTIFICATE_REVOKED", &["its certificate was revoked"]),
    (
        "ADF_X509_CLIENT_CERTIFICATE_CRL_NOT_PRESENT",
        &["its authority's list of revocations is missing or too old"],
    ),
    ("ADF_X509_CLIENT_CERTIFICATE_CHAINING_ERROR", &["too many authorities stand above its certificate"]),
    ("ADF_X509_CLIENT_CERTIFICATE_FORMAT_ERROR", &["its certificate cannot be read, or is not for clients"]),
    ("ADF_REQUEST_VIRTUAL_HOSTING_APP_SELECT_FAILED", &["it asked for a name that nobody has here"]),
    (
        "ADF_LOAD_BALANCING_FAILED",
        &[
            "no server could serve it",
            "every server was at its limit",
            "no server came free in time",
            "the queue for a server is full",
            "no pool of the group can serve",
            "no server can serve, and the pool closes then",
            "another site should serve",
        ],
    ),
    ("ADF_USER_DELETE_OPERATION_HTTP_RULE_SECURITY_ACTION_CLOSE_CONN", &["a rule closes the connection"]),
    ("ADF_RATE_LIMIT_DROP_CUSTOM", &["the rate of a rule is exceeded"]),
    (
        "ADF_SERVER_CONN_SETUP_REFUSED",
        &["the server refused the connection", "no server took the connection"],
    ),
    ("ADF_SERVER_CONN_SETUP_TIMEDOUT", &["connecting to the server took too long"]),
    ("ADF_SERVER_CONN_SETUP_FAILED_INTERNAL", &["no descriptor, memory or port left to connect to a server"]),
    (
        "ADF_SERVER_SENT_RESET",
        &[
            "the server reset its connection",
            "the server did not look at the request",
            "the server reset the stream without an answer",
            "the server closed the connection without an answer",
            "the server reset the connection in the middle of the answer",
        ],
    ),
    (
        "ADF_SERVER_UPSTREAM_TIMEOUT",
        &[
            "the server did not answer in time",
            "the request took too long",
            "the server stood still in the middle of the answer",
        ],
    ),
    (
        BAD_ANSWER,
        &[
            "the server does not speak HTTP/2",
            "the server sent more than it announced",
            "the answer's content is garbled",
            "the server closed the connection in the middle of the answer",
        ],
    ),
    ("ADF_DOS_SERVER_BAD_GATEWAY", &["the server's status leads to another server"]),
    ("ADF_REQUEST_MEMORY_LIMIT_EXCEEDED", &["a field of ours does not fit the answer"]),
    (
        "ADF_SERVER_SIDE_SSL_HANDSHAKE_FAILED",
        &[
            "the TLS handshake with the server was not over in time",
            "the server closed the connection in the TLS handshake",
            "the server does not speak TLS",
            "the server speaks no version of TLS that the pool's profile has",
            "the server has no TLS cipher suite, group or protocol in common with us, or wants a certificate of us",
            "the server ended the TLS handshake with an alert",
            "the server's TLS handshake breaks a rule",
            "the server wants a certificate of us, or another one",
            "the request's host is no name that a server can be asked for by TLS",
        ],
    ),
    (
        "ADF_X509_SERVER_CERTIFICATE_INVALID_CA",
        &["the server's certificate is signed by none of the pool's authorities"],
    ),
    ("ADF_X509_SERVER_CERTIFICATE_EXPIRED", &["the server's certificate has expired, or is not valid yet"]),
    (
        "ADF_X509_SERVER_CERTIFICATE_HOSTNAME_ERROR",
        &["the server's certificate is not for the name that it was asked for"],
    ),
    ("ADF_X509_SERVER_CERTIFICATE_VERIFICATION_FAILED", &["the server's certificate is no good"]),
];

/// Of a server whose answer breaks a rule; the words are then those of the rule.
pub const BAD_ANSWER: &str = "ADF_SERVER_UPSTREAM_READ_ERROR";
/// Of a client whose connection failed in a way that has no name of its own.
pub const CLIENT_FAILED: &str = "ADF_CLIENT_CONN_FAILED";
/// Records have this much of each of an engine's words, bytes.
pub const WORD_BYTES: usize = 64;

/// The name that an engine's words stand for; `None`: they have none of their own.
//= LOG-ADF-01
pub fn name(words: &str) -> Option<&'static str> {
    let short =
        |known: &str| known.as_bytes().iter().take(WORD_BYTES).eq(words.as_bytes().iter().take(WORD_BYTES));
    NAMES.iter().find(|(_, all)| all.iter().any(|known| short(known))).map(|(name, _)| *name)
}

/// What a record says of how it ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended<'a> {
    /// What the client was answered, if it was a request.
    pub code: Option<u64>,
    /// How it ended, in words.
    pub state: &'a str,
}

/// The names of a record that deserves a look: of what the engine says of it, of how it ended, and of what the client was
/// answered; one at least.
//= LOG-ADF-01
pub fn names<'w>(said: impl Iterator<Item = &'w str>, ended: Ended<'_>) -> Vec<&'static str> {
    let mut found: Vec<&'static str> = Vec::new();
    let mut add = |name: &'static str| {
        if !found.contains(&name) {
            found.push(name);
        }
    };
    said.for_each(|words| add(name(words).unwrap_or(BAD_ANSWER)));
    name(ended.state).into_iter().for_each(&mut add);
    if ended.code.is_some_and(|code| code >= 500) {
        add("ADF_RESPONSE_CODE_5XX");
    }
    if found.is_empty() {
        found.push(CLIENT_FAILED);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    //= test LOG-ADF-01
    #[test]
    fn words_have_one_name_and_records_one_at_least() {
        let mut seen = BTreeSet::new();
        for (name, all) in NAMES {
            assert!(name.starts_with("ADF_") && !all.is_empty(), "{name}");
            for words in *all {
                let short: String = words.chars().take(WORD_BYTES).collect();
                assert!(seen.insert(short), "{words} stands twice");
            }
        }
        let names = |said: &[&str], code, state| names(said.iter().copied(), Ended { code, state });
        let cut = "the server ended the TLS handshake with an alert";
        let gone = "the server closed the connection without an answer";
        for (found, wanted) in [
            (
                names(&["the client got a 5xx", cut], Some(502), cut),
                vec!["ADF_RESPONSE_CODE_5XX", "ADF_SERVER_SIDE_SSL_HANDSHAKE_FAILED"],
            ),
            // It was answered by another server: that the first one failed is what deserves a look.
            (names(&[gone], Some(200), "complete"), vec!["ADF_SERVER_SENT_RESET"]),
            (names(&["malformed status line"], Some(200), "complete"), vec![BAD_ANSWER]),
            (
                names(&["the client got no answer"], Some(0), "the client read too slowly"),
                vec!["ADF_CLIENT_CONN_ABORTED", "ADF_CLIENT_CONN_TIMEDOUT"],
            ),
            (names(&[], None, "the server reset its connection"), vec!["ADF_SERVER_SENT_RESET"]),
            (names(&[], None, "what a newer engine says"), vec![CLIENT_FAILED]),
        ] {
            assert_eq!(found, wanted);
        }
        // What is cut in the middle by its length is the same.
        let long = "the server has no TLS cipher suite, group or protocol in common with us, or wants a certificate of us";
        assert_eq!(name(&long[..WORD_BYTES]), name(long));
        assert_eq!(name(long), Some("ADF_SERVER_SIDE_SSL_HANDSHAKE_FAILED"));
    }
}

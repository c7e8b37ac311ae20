//! Fuzz targets: functions of bytes that panic when a promise is broken.
//!
//! The gate replays the committed corpora (`tests/replay.rs`); `cargo run -p forebay-fuzz` searches for new inputs
//! with libFuzzer. See `README.md`.

mod chunks;
mod dates;
mod h2;
mod hello;
mod hpack;
#[path = "../../../proto/http/tests/relay/lenient.rs"]
mod lenient;
#[path = "../../../proto/http/tests/h2/outcome.rs"]
mod outcome;
#[path = "../../../proto/http/tests/relay/mod.rs"]
mod relay;
pub mod sync;
mod targets;

/// A fuzz target.
pub struct Target {
    /// Its name, and that of its folder in `corpus`.
    pub name: &'static str,
    /// What it looks for, in a sentence.
    pub about: &'static str,
    /// Runs one input; panics when a promise is broken.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "h1_request",
        about: "requests: any cuts give the same outcome, and no server can read another request out of it",
        run: targets::h1_request,
    },
    Target {
        name: "h1_response",
        about: "responses: any cuts give the same outcome, and no client can read another response out of it",
        run: targets::h1_response,
    },
    Target {
        name: "chunked",
        about: "chunked content is read as a second, slower decoder reads it",
        run: targets::chunked,
    },
    Target {
        name: "h2_frames",
        about: "frames of HTTP/2, either side: any cuts give the same outcome, memory and streams stay bounded",
        run: h2::frames,
    },
    Target {
        name: "hpack",
        about: "header blocks are read as a second, slower reader reads them",
        run: h2::blocks,
    },
    Target {
        name: "cookie",
        about: "a cookie is found by its whole name, and is gone after it was dropped",
        run: targets::cookie,
    },
    Target {
        name: "set_cookie",
        about: "a server's Set-Cookie and its dates are read as the algorithm of RFC 6265 says, step by step",
        run: dates::set_cookie,
    },
    Target {
        name: "proxy_header",
        about: "PROXY headers: any cuts give the same outcome, and what is named is named again",
        run: targets::proxy_header,
    },
    Target {
        name: "client_hello",
        about: "first messages of TLS clients: any cuts give the same outcome, and a second reader finds the same name",
        run: hello::client_hello,
    },
    Target {
        name: "sync_frames",
        about: "frames of object sync: read or refused, and the same after they were written again",
        run: sync::frames,
    },
    Target {
        name: "sync_member",
        about: "a member of the group: answered within bounds, and the engine goes on with its other peers",
        run: sync::member,
    },
    Target { name: "config", about: "configuration documents: problems, never panics", run: targets::config },
];

/// Returns the target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

//! HTTP without sockets: strict parsing, framing and serialising.

//! What keeps a client on its server.

use crate::read::{by_type, section, words};
use crate::rules;
use crate::secret::Secret;

by_type! {
    /// A way to keep a client on its server.
    pub enum Persistence {
        /// The client keeps a cookie that we make.
        HttpCookie(HttpCookie) = "http_cookie",
        /// The server's own cookie, learnt from its answers.
        AppCookie(AppCookie) = "app_cookie",
        /// The client's address.
        ClientIp(ClientIp) = "client_ip",
        /// The value of a header names the server.
        CustomHeader(CustomHeader) = "custom_header",
        /// The client's TLS session.
        Tls(Tls) = "tls",
    }
    common {
        /// Its name.
        name: String;
        /// What happens when the client's server cannot serve.
        server_down: ServerDown;
    }
}

section! {
    /// The client keeps a cookie that we make; it needs a `[[cookie_key]]`.
    pub struct HttpCookie {
        /// Its name.
        name: String, is rules::name;
        /// What happens when the client's server cannot serve.
        server_down: ServerDown = ServerDown::PickNewServer;
        /// The cookie's name; absent: eight letters derived from the names of service and pool, the same on every engine.
        cookie_name: Option<String> = None, is rules::cookie_name_if_given;
        /// Minutes that a cookie is valid; 0: as long as its key.
        timeout_min: u16 = 0, in 0..=14_400;
        /// Let browsers keep the cookie over a restart (needs `timeout_min`); absent: if `timeout_min` is set. Avi: `is_persistent_cookie`, by default off.
        persistent_cookie: Option<bool> = None;
        /// Send the cookie with every answer, not only when it changes.
        always_send_cookie: bool = false;
        /// Hide the cookie from scripts.
        http_only: bool = false;
        /// The `[[cookie_key]]` that seals its cookies, and behind it those that open them still; empty: those of the document.
        cookie_keys: Vec<String> = Vec::new();
    }

    /// The server's own cookie, learnt from its answers.
    pub struct AppCookie {
        /// Its name.
        name: String, is rules::name;
        /// What happens when the client's server cannot serve.
        server_down: ServerDown = ServerDown::PickNewServer;
        /// The cookie that the server sets; also sought in the query and as `;name=` in the path.
        cookie_name: String, is rules::cookie_name;
        /// Minutes that an entry lives after its last use.
        timeout_min: u16 = 20, in 1..=720;
    }

    /// The client's address.
    pub struct ClientIp {
        /// Its name.
        name: String, is rules::name;
        /// What happens when the client's server cannot serve.
        server_down: ServerDown = ServerDown::PickNewServer;
        /// Minutes that an entry lives after the client's last connection closed; 0: no persistence. Avi: `ip_persistent_timeout`, from 1.
        timeout_min: u16 = 5, in 0..=720;
        /// Bits of an IPv4 address that count; 0: all clients to one server.
        ipv4_prefix_bits: u8 = 32, in 0..=32;
        /// Bits of an IPv6 address that count; 0: all clients to one server.
        ipv6_prefix_bits: u8 = 128, in 0..=128;
    }

    /// The value of a header names the server (its `header_value`).
    pub struct CustomHeader {
        /// Its name.
        name: String, is rules::name;
        /// What happens when the client's server cannot serve.
        server_down: ServerDown = ServerDown::PickNewServer;
        /// The header.
        header: String, is rules::token;
    }

    /// The client's TLS session: an id in its ticket, kept through every renewal, for as long as sessions last (`session_lifetime_s` of the service's `[[tls_profile]]`).
    pub struct Tls {
        /// Its name.
        name: String, is rules::name;
        /// What happens when the client's server cannot serve.
        server_down: ServerDown = ServerDown::PickNewServer;
    }

    /// A key of the cookies that we make. The first one seals, all of them open.
    pub struct CookieKey {
        /// The name that stands in the cookie; the same on all engines of a service.
        name: String, is rules::token;
        /// 32 bytes in base64.
        key: Secret<32>;
    }
}

words! {
    /// What happens when the client's server cannot serve.
    pub enum ServerDown {
        /// Another server is picked, and the client stays there.
        PickNewServer = "pick_new_server",
        /// The connection is closed.
        AbortConnection = "abort_connection",
        /// The client is sent there all the same.
        ContinuePersistentServer = "continue_persistent_server",
    }
}

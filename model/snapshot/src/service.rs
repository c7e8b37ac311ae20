//! What clients connect to.

use std::net::SocketAddr;

use crate::read::section;
use crate::rules;

section! {
    /// A virtual service: addresses that clients connect to, and the pool that serves them.
    pub struct VirtualService {
        /// Its name.
        name: String, is rules::name;
        /// Addresses and ports that it listens on.
        listen: Vec<SocketAddr>;
        /// The pool that serves it; either this or `pool_group`.
        pool: Option<String> = None;
        /// The pool group that serves it; either this or `pool`.
        pool_group: Option<String> = None;
        /// The `[[http_profile]]` with its time-outs and limits; `default` needs no section of its own.
        http_profile: String = "default".to_owned();
        /// Whether it accepts connections.
        enabled: bool = true;
    }
}

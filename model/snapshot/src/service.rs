//! What clients connect to.

use std::net::SocketAddr;

use forebay_core::policy::{AddressGroup, PolicyConfig, StringGroup};

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
        /// Rules that are asked for each request, in order.
        rules: Vec<forebay_core::policy::Rule> = Vec::new();
        /// Whether it accepts connections.
        enabled: bool = true;
    }
}

impl VirtualService {
    /// The rules with the document's groups, as the core compiles them.
    pub fn policy(&self, strings: &[StringGroup], addresses: &[AddressGroup]) -> PolicyConfig {
        PolicyConfig {
            string_groups: strings.to_vec(),
            address_groups: addresses.to_vec(),
            rules: self.rules.clone(),
        }
    }
}

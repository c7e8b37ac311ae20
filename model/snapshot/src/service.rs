//! What clients connect to.

use std::net::SocketAddr;

use forebay_core::policy::{self, Action, AddressGroup, Match, PolicyConfig, Redirect, Rule, StringGroup};

use crate::profile::Network;
use crate::read::{section, words};
use crate::rules;
use crate::tls::ClientCertificate;

section! {
    /// A virtual service: addresses that clients connect to, and the pool that serves them.
    pub struct VirtualService {
        /// Its name.
        name: String, is rules::name;
        /// Addresses and ports that it listens on.
        listen: Vec<SocketAddr>;
        /// Other engines of this machine may listen on the same addresses, if theirs set this too; the kernel shares clients out. Counts when an address is bound.
        shared_listener: bool = false;
        /// What its clients speak: `http`; `tcp` for any byte stream, `udp` for any datagrams, both passed on unread.
        protocol: Protocol = Protocol::Http;
        /// The pool that serves it; either this or `pool_group`.
        pool: Option<String> = None;
        /// The pool group that serves it; either this or `pool`.
        pool_group: Option<String> = None;
        /// The `[[http_profile]]` with its time-outs and limits; `default` needs no section of its own.
        http_profile: String = "default".to_owned();
        /// The `[[tcp_profile]]` with the time-outs of `protocol = "tcp"`; `default` needs no section of its own.
        tcp_profile: String = "default".to_owned();
        /// The `[[udp_profile]]` with the bounds of `protocol = "udp"`; `default` needs no section of its own.
        udp_profile: String = "default".to_owned();
        /// The `[[certificate]]`s that it shows to its clients, who then speak TLS: the one that fits the name that a client asks for, the first one if none does. Empty: its clients speak no TLS.
        certificates: Vec<String> = Vec::new();
        /// The `[[tls_profile]]` with its versions, cipher suites and groups; `default` needs no section of its own.
        tls_profile: String = "default".to_owned();
        /// Pools by the name that a client of TLS asks for (SNI). With any, the service passes TLS on unread: other names, and clients that name none, go to `pool` or `pool_group`, or are refused if the service has neither. `handshake_timeout_ms` of its `[[tls_profile]]` is the time for a client's first message.
        sni_routes: Vec<crate::sni::SniRoute> = Vec::new();
        /// A name under which its clients are known, of any text: where services of one such name use a pool, a client of the one comes to the same server by the other. None: its own name.
        persistence_name: Option<String> = None, is rules::name_if_given;
        /// Hosts that are served by other profiles than those of the service.
        hosts: Vec<crate::hosts::OwnHosts> = Vec::new();
        /// Certificates of its clients.
        client_certificate: ClientCertificate = ClientCertificate::default();
        /// Connections begin with a header of the PROXY protocol that names the client.
        proxy_protocol: ProxyProtocol = ProxyProtocol::default();
        /// Which of its requests and connections the engine's Controller is told of.
        client_logs: ClientLogs = ClientLogs::default();
        /// Redirects each request that no rule ends to `https` on port 443 of the same host, by status 308, which keeps its method. Avi: the same name.
        http_to_https: bool = false;
        /// Rules that are asked for each request, in order.
        rules: Vec<forebay_core::policy::Rule> = Vec::new();
        /// What becomes of a request whose path has an escaped slash (`%2F`), where the service's rules compare paths:
        /// `refuse` answers 400, because servers do not agree on what it is; `compare` lets it pass if both readings do.
        escaped_slashes: EscapedSlashes = EscapedSlashes::Refuse;
        /// Whether it accepts connections.
        enabled: bool = true;
    }

    /// Which requests and connections an engine tells its Controller of; without one they are told nobody.
    pub struct ClientLogs {
        /// Of all, and not only of significant ones.
        all: bool = false;
        /// Minutes that `all` counts, from when the engine is told of it; 0: for ever.
        minutes: u32 = 30;
        /// Significant ones of a second at most; 0: no bound.
        significant_per_s: u32 = 10;
        /// Others of a second at most; 0: no bound.
        others_per_s: u32 = 10;
    }

    /// Connections that begin with a header of the PROXY protocol, version 1 or 2.
    pub struct ProxyProtocol {
        /// Proxies that send one; everybody else's connection is closed. Empty: no connection begins with one.
        from: Vec<Network> = Vec::new();
        /// Milliseconds for the header, from the accept.
        header_timeout_ms: u32 = 5_000, in 1..=3_600_000;
    }
}

words! {
    /// What a service's clients speak.
    pub enum Protocol {
        /// HTTP/1.1.
        Http = "http",
        /// A stream of bytes, passed on unread.
        Tcp = "tcp",
        /// Datagrams, passed on unread.
        Udp = "udp",
    }
}

words! {
    /// What becomes of a request whose path has an escaped slash.
    pub enum EscapedSlashes {
        /// It is refused.
        Refuse = "refuse",
        /// Rules are asked of both readings.
        Compare = "compare",
    }
}

/// The name that the rule of `http_to_https` has in logs.
const TO_HTTPS: &str = "(http_to_https)";

impl VirtualService {
    /// The rules with the document's groups, as the core compiles them.
    //= TLS-HTTPS-01
    pub fn policy(&self, strings: &[StringGroup], addresses: &[AddressGroup]) -> PolicyConfig {
        let to_https = Redirect {
            status: 308,
            scheme: Some("https".to_owned()),
            host: None,
            path: None,
            keep_query: true,
        };
        let last = Rule {
            name: TO_HTTPS.to_owned(),
            enabled: true,
            when: Match::default(),
            then: vec![Action::Redirect(to_https)],
        };
        let mut rules = self.rules.clone();
        rules.extend(self.http_to_https.then_some(last));
        PolicyConfig {
            string_groups: strings.to_vec(),
            address_groups: addresses.to_vec(),
            rules,
            escaped_slashes: match self.escaped_slashes {
                EscapedSlashes::Refuse => policy::EscapedSlashes::Refuse,
                EscapedSlashes::Compare => policy::EscapedSlashes::Compare,
            },
        }
    }
}

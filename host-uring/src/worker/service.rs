//! A virtual service as a worker serves it: its settings in the form that the request path reads.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use forebay_core::id::VsId;
use forebay_core::policy::{self, PolicyConfig};
use forebay_http::Limits;
use forebay_http::h1::write::{Forwarding, Policy};
use forebay_snapshot::profile::{ForwardedFor, Network};
use forebay_snapshot::{HttpProfile, Protocol};

use super::generation::Seat;
use crate::config::{self, Secure, ServiceIndex, Tree};
use crate::http::identity::IdentityFields;
use crate::http::limits::DRAIN_IDLE_US;
use crate::http::strict;
use crate::metrics::ServiceMetrics;
use crate::rt::{NEVER, Now};
use crate::tls::Front;

/// Time-outs of a virtual service, microseconds; 0: none.
#[derive(Clone, Copy, Debug)]
pub struct TimeOuts {
    /// Connecting to a server.
    pub connect: u64,
    /// A request's head.
    pub header: u64,
    /// A body that stands still.
    pub body: u64,
    /// The head of an answer.
    pub response: u64,
    /// A kept connection's next request.
    pub idle: u64,
    /// A request as a whole.
    pub total: u64,
    /// An upgraded connection that stands still.
    pub upgraded: u64,
}

impl TimeOuts {
    /// For clients of an address that is gone: long enough for what is on its way to them.
    pub const LEAVING: Self = Self {
        connect: DRAIN_IDLE_US,
        header: DRAIN_IDLE_US,
        body: DRAIN_IDLE_US,
        response: DRAIN_IDLE_US,
        idle: DRAIN_IDLE_US,
        total: DRAIN_IDLE_US,
        upgraded: DRAIN_IDLE_US,
    };

    /// The moment `us` after `from`; never if `us` is 0.
    pub fn at(from: Now, us: u64) -> Now {
        if us == 0 { NEVER } else { Now(from.0.saturating_add(us)) }
    }
}

/// A virtual service.
pub struct Service {
    /// Identifies it over all configurations.
    pub id: VsId,
    /// Its place in the tree.
    pub index: ServiceIndex,
    /// Time-outs.
    pub time_outs: TimeOuts,
    /// Bounds of what clients send.
    pub limits: Limits,
    /// The same while it is not known for which host a request is: the widest of them.
    pub head_limits: Limits,
    /// Bounds of what servers send: heads as large as the client's bound, bodies of any size.
    pub server_limits: Limits,
    /// What happens to forwarding fields of strangers.
    forwarding: Forwarding,
    /// What happens to those of a trusted proxy.
    forwarding_by_proxy: Forwarding,
    /// Senders who are believed.
    pub trusted_proxies: Vec<Network>,
    /// Our name in `Via`.
    pub via: Option<Vec<u8>>,
    /// Upgrades pass.
    pub websockets: bool,
    /// Whether its clients may speak HTTP/2.
    pub http2: bool,
    /// What such a client may send on a stream before a server has taken it, in bytes.
    pub http2_window: u32,
    /// Requests on one connection; 0: no bound.
    pub requests_max: u32,
    /// What its clients speak.
    pub protocol: Protocol,
    /// Fields that tell servers who a client is.
    pub identity: IdentityFields,
    /// What clients are told who are to come by TLS only; `None`: nothing.
    pub strict: Option<Box<[u8]>>,
    /// What its clients are served TLS with, if they speak it.
    pub tls: Option<Arc<Front>>,
    /// Some of its hosts have another one.
    has_fronts: bool,
    /// It as it is for hosts with profiles of their own.
    hosts: Box<[Service]>,
    /// Microseconds without a byte before a TCP connection ends.
    pub tcp_idle_us: u64,
    /// Its routes: places in [`Generation::routes`](super::Generation::routes); those of its own target first, then those that rules name.
    pub routes: Vec<usize>,
    /// Rate limits of its rules.
    pub policy_state: Rc<RefCell<policy::State>>,
    /// What this worker counts for it.
    pub counts: Arc<ServiceMetrics>,
    rules: Arc<PolicyConfig>,
}

impl Service {
    pub(super) fn new(
        tree: &Tree,
        index: ServiceIndex,
        routes: Vec<usize>,
        before: Option<&Service>,
        seat: Seat<'_>,
    ) -> Self {
        let config = tree.service(index);
        // The same rules go on counting where they are.
        let counted =
            before.filter(|before| before.rules == config.rules).map(|before| before.policy_state.clone());
        let fresh = || Rc::new(RefCell::new(config.policy.state(seat.workers as u16)));
        let state = counted.unwrap_or_else(fresh);
        let by = |http: &HttpProfile, secure: Option<&Secure>| {
            Service::by(config, index, (http, secure), routes.clone(), &state, seat.worker)
        };
        let mut service = by(&config.http, config.tls.as_ref());
        let hosts = &config.hosts;
        let own = hosts.of.iter().map(|own| {
            let secure = own.front.and_then(|at| hosts.fronts.get(at)).or(config.tls.as_ref());
            by(own.http.as_ref().unwrap_or(&config.http), secure).within(&service)
        });
        service.hosts = own.collect();
        let most = service.hosts.iter().map(|own| own.limits.body_bytes).max().unwrap_or(0);
        service.head_limits.body_bytes = service.limits.body_bytes.max(most);
        service.has_fronts = !hosts.fronts.is_empty();
        service
    }

    /// A service by a profile of HTTP and what its clients are served TLS with.
    fn by(
        config: &config::Service,
        index: ServiceIndex,
        (http, secure): (&HttpProfile, Option<&Secure>),
        routes: Vec<usize>,
        state: &Rc<RefCell<policy::State>>,
        worker: usize,
    ) -> Self {
        let config::Service { tcp, protocol, .. } = config;
        let us = |ms: u32| u64::from(ms) * 1000;
        let limits = config::head_limits(http);
        Service {
            id: config.id,
            rules: config.rules.clone(),
            index,
            time_outs: TimeOuts {
                connect: us(match protocol {
                    Protocol::Http => http.connect_timeout_ms,
                    Protocol::Tcp | Protocol::Udp => tcp.connect_timeout_ms,
                }),
                header: us(http.header_timeout_ms),
                body: us(http.body_timeout_ms),
                response: us(http.response_timeout_ms),
                idle: us(http.idle_timeout_ms),
                total: us(http.total_timeout_ms),
                upgraded: us(http.upgraded_idle_timeout_ms),
            },
            limits,
            head_limits: limits,
            server_limits: Limits { body_bytes: u64::MAX, ..limits },
            forwarding: forwarding(http, false),
            forwarding_by_proxy: forwarding(http, true),
            trusted_proxies: http.trusted_proxies.clone(),
            via: (!http.via.is_empty()).then(|| http.via.clone().into_bytes()),
            websockets: http.websockets,
            http2: http.http2,
            http2_window: http.http2_initial_window_kib << 10,
            requests_max: http.requests_per_connection_max,
            protocol: *protocol,
            identity: IdentityFields::of(&config.identity),
            strict: strict::value_of(http).filter(|_| secure.is_some()),
            tls: secure.map(|secure| Arc::clone(secure.front())),
            has_fronts: false,
            hosts: Box::default(),
            tcp_idle_us: us(tcp.idle_timeout_ms),
            routes,
            policy_state: state.clone(),
            counts: config.shared.counts.of(worker),
        }
    }

    /// For some of a service's hosts: what counts before it is known for which host a request is stays as it is for all.
    //= SE-HOST-01
    fn within(mut self, whole: &Service) -> Self {
        let TimeOuts { connect, header, idle, .. } = whole.time_outs;
        self.time_outs = TimeOuts { connect, header, idle, ..self.time_outs };
        self.limits = Limits { body_bytes: self.limits.body_bytes, ..whole.limits };
        self.head_limits = whole.limits;
        self.server_limits = whole.server_limits;
        (self.http2, self.http2_window) = (whole.http2, whole.http2_window);
        self.requests_max = whole.requests_max;
        self
    }

    /// The service as it is for the host at this place in [`Hosts::of`](crate::config::Hosts::of).
    pub fn for_host(&self, at: Option<usize>) -> &Service {
        at.and_then(|at| self.hosts.get(at)).unwrap_or(self)
    }

    /// Says whether what a client is served TLS with depends on the host that it asks for.
    pub fn has_fronts(&self) -> bool {
        self.has_fronts
    }

    /// What happens to the forwarding fields that `peer` sent.
    pub fn forwarding_of(&self, peer: IpAddr) -> Forwarding {
        match self.trusted_proxies.iter().any(|network| network.contains(peer)) {
            true => self.forwarding_by_proxy,
            false => self.forwarding,
        }
    }
}

/// What happens to forwarding fields, of somebody who is believed or of a stranger: what a stranger says of scheme and port
/// is not believed, and what he says of addresses is treated alike in both fields that can hold it.
//= SE-FORWARD-01
fn forwarding(http: &HttpProfile, is_trusted: bool) -> Forwarding {
    let scheme = match (http.x_forwarded_proto, is_trusted) {
        (true, true) => Policy::Append,
        (true, false) => Policy::Replace,
        (false, _) => Policy::Keep,
    };
    Forwarding {
        x_forwarded_for: match http.x_forwarded_for {
            ForwardedFor::Append => Policy::Append,
            ForwardedFor::Replace => Policy::Replace,
            ForwardedFor::Keep => Policy::Keep,
            ForwardedFor::Remove => Policy::Remove,
        },
        x_forwarded_proto: scheme,
        x_forwarded_port: scheme,
        forwarded: match (http.forwarded, http.x_forwarded_for) {
            (true, ForwardedFor::Append | ForwardedFor::Keep) => Policy::Append,
            (true, ForwardedFor::Replace | ForwardedFor::Remove) => Policy::Replace,
            (false, ForwardedFor::Append) => Policy::Extend,
            (false, ForwardedFor::Keep) => Policy::Keep,
            (false, ForwardedFor::Replace | ForwardedFor::Remove) => Policy::Remove,
        },
    }
}

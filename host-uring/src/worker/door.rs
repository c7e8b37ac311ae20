//! The addresses that clients come in by.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use crate::config::{ServiceIndex, Transport, Tree};
use crate::http::limits::DRAIN_IDLE_US;
use crate::rt::Now;

/// An address that clients connect or send to, and the service behind it by the current configuration. The accept loop
/// and all clients that came in there share it.
pub struct Door {
    /// The address that is listened on.
    pub address: SocketAddr,
    /// What comes there.
    pub transport: Transport,
    service: Cell<Option<ServiceIndex>>,
    /// When its address was taken away.
    closed: Cell<Option<Now>>,
    /// Who waited there for a next request has been let go.
    is_left: Cell<bool>,
}

impl Door {
    /// A door to a service.
    pub fn new(address: SocketAddr, transport: Transport, service: ServiceIndex) -> Rc<Self> {
        let service = Cell::new(Some(service));
        Rc::new(Self { address, transport, service, closed: Cell::default(), is_left: Cell::default() })
    }

    /// A door to nothing.
    pub fn nowhere() -> Rc<Self> {
        let (address, transport) = ((Ipv4Addr::UNSPECIFIED, 0).into(), Transport::Stream);
        let closed = Cell::new(Some(Now(0)));
        Rc::new(Self { address, transport, service: Cell::default(), closed, is_left: Cell::new(true) })
    }

    /// The service by the current configuration, for those who have come in; `None`: there is none any more.
    pub fn service(&self) -> Option<ServiceIndex> {
        self.service.get()
    }

    /// Says whether clients come in there by the current configuration. Those who were in the queue when that ended are
    /// let in all the same.
    pub fn is_open(&self) -> bool {
        self.closed.get().is_none()
    }

    /// Says once that who waits there for a next request has had the time for one that was on its way.
    pub fn lets_go(&self, now: Now) -> bool {
        let is_over = |closed: Now| now.0 >= closed.0.saturating_add(DRAIN_IDLE_US);
        self.closed.get().is_some_and(is_over) && !self.is_left.replace(true)
    }

    /// Says whether nobody who came in there gets another request.
    pub fn is_left(&self) -> bool {
        self.is_left.get() || self.service.get().is_none()
    }

    /// Follows a new configuration. What is closed stays closed: who opens the address again gets a door of its own. Its
    /// clients go on at the service that they came to for as long as there is one.
    //= RELOAD-LISTEN-01
    pub fn follow(&self, before: &Tree, tree: &Tree, at: Now) {
        let Some(was) = self.service.get() else { return };
        let was = before.service(was);
        let here = (self.address, self.transport);
        // Clients of another protocol cannot be served by it, and who has shown no certificate must not.
        let same = |at: &ServiceIndex| tree.service(*at).lets_in_as(was);
        let listeners = || tree.listeners.iter().filter(|_| self.is_open());
        let now = listeners().find(|listener| (listener.address, listener.transport) == here);
        let now = now.map(|listener| listener.service).filter(same);
        if now.is_none() && self.is_open() {
            self.closed.set(Some(at));
        }
        // Datagrams know no queue, and no end.
        //= L4-UDP-05
        let stays = || {
            let mut services = (0..).map(ServiceIndex).zip(&tree.services);
            services.find(|(_, service)| service.id == was.id).map(|(at, _)| at).filter(same)
        };
        self.service.set(now.or_else(|| (self.transport == Transport::Stream).then(stays).flatten()));
    }
}

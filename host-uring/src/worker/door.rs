//! The addresses that clients come in by.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use crate::config::{ServiceIndex, Transport, Tree};

/// An address that clients connect or send to, and the service behind it by the current configuration. The accept loop
/// and all clients that came in there share it.
pub struct Door {
    /// The address that is listened on.
    pub address: SocketAddr,
    /// What comes there.
    pub transport: Transport,
    service: Cell<Option<ServiceIndex>>,
}

impl Door {
    /// A door to a service.
    pub fn new(address: SocketAddr, transport: Transport, service: ServiceIndex) -> Rc<Self> {
        Rc::new(Self { address, transport, service: Cell::new(Some(service)) })
    }

    /// A door to nothing.
    pub fn nowhere() -> Rc<Self> {
        let address = (Ipv4Addr::UNSPECIFIED, 0).into();
        Rc::new(Self { address, transport: Transport::Stream, service: Cell::default() })
    }

    /// The service by the current configuration; `None`: nobody listens there any more, and nobody comes in again.
    pub fn service(&self) -> Option<ServiceIndex> {
        self.service.get()
    }

    /// Follows a new configuration. What is closed stays closed: who opens the address again gets a door of its own.
    pub fn follow(&self, before: &Tree, tree: &Tree) {
        let Some(was) = self.service.get() else { return };
        let here = (self.address, self.transport);
        let now = tree.listeners.iter().find(|listener| (listener.address, listener.transport) == here);
        // Clients of another protocol cannot be served by it.
        let same = |at: &ServiceIndex| tree.service(*at).protocol == before.service(was).protocol;
        self.service.set(now.map(|listener| listener.service).filter(same));
    }
}

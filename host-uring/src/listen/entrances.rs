//! All addresses by which clients come to a worker: connections and datagrams.

use std::io;
use std::rc::Rc;

use super::Acceptors;
use crate::config::Transport;
use crate::control::SeatListener;
use crate::l4::udp::Inlets;
use crate::rt::Sockets;
use crate::worker::Worker;

/// What a worker listens on.
pub struct Entrances {
    worker: Rc<Worker<Sockets>>,
    /// Accept loops.
    pub acceptors: Acceptors<Sockets>,
    /// Where datagrams are read.
    pub inlets: Inlets,
}

impl Entrances {
    /// None yet.
    pub fn new(worker: &Rc<Worker<Sockets>>) -> Self {
        Entrances { worker: worker.clone(), acceptors: Acceptors::default(), inlets: Inlets::new(worker) }
    }

    /// Listens on a socket; `instead_of`: for a worker that is stuck.
    ///
    /// # Errors
    /// The socket cannot be made ready.
    pub fn start(&self, listener: SeatListener, instead_of: Option<usize>) -> io::Result<()> {
        match listener.socket.transport() {
            Transport::Stream => self.acceptors.start(&self.worker, listener, instead_of),
            Transport::Datagrams => self.inlets.start(listener, instead_of),
        }
    }

    /// Listens on addresses that are new with the current configuration, and no more on those that are gone.
    pub fn follow(&self, listeners: Vec<SeatListener>) {
        let is_stream = |listener: &SeatListener| listener.socket.transport() == Transport::Stream;
        let (streams, datagrams) = listeners.into_iter().partition(is_stream);
        self.acceptors.follow(&self.worker, streams);
        self.inlets.follow(datagrams);
    }

    /// Listens nowhere for now; [`Entrances::follow`] says where again.
    pub fn pause(&self) {
        self.acceptors.stop();
        self.inlets.pause();
    }

    /// Listens no more for a worker that goes on by itself.
    pub fn stop_for(&self, worker: usize) {
        self.acceptors.stop_for(worker);
        self.inlets.stop_for(worker);
    }
}

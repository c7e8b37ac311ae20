//! Services of datagrams: each address and port of a client is a flow to one server, over a socket of its own.
//!
//! An [`Inlet`] reads what clients send to one address; each [`Flow`] has a small task that passes its server's answers
//! back. Flows have half of the worker's places for connections at most, and each takes half of one. When these are taken
//! a new flow takes the place of the oldest one whose client never spoke again after an answer: a flood of forged senders displaces itself, not
//! clients that talk.

mod flow;
mod refusals;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use super::record::End;
use crate::config::{ServiceIndex, Transport};
use crate::control::{ListenSocket, SeatListener};
use crate::http::limits::{ACCEPT_PAUSE_US, DATAGRAM_BYTES_MAX, DATAGRAMS_PER_TURN, FLOWS_SHARE};
use crate::http::wait::others_turn;
use crate::rt::datagram::Datagrams;
use crate::rt::{NEVER, Now, Rt, Sockets};
use crate::worker::{Door, Worker};
use flow::Flow;
use refusals::Refusals;

/// Why a datagram went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Every place for a flow was taken by one whose client talks.
    Flows,
    /// No server could serve a new flow, or none was to be reached.
    NoServer,
    /// No descriptor, memory or port was left for a new flow.
    Shortage,
    /// The server's socket, or the client's, took none.
    Full,
    /// The engine stops, or listens there no more, and takes no new flow.
    Stopping,
    /// It came faster than it was read.
    Unread,
}

impl Dropped {
    /// Every kind, in the order of [`ServiceMetrics::datagrams_dropped`](crate::metrics::ServiceMetrics).
    pub const ALL: [Dropped; 6] = [
        Dropped::Flows,
        Dropped::NoServer,
        Dropped::Shortage,
        Dropped::Full,
        Dropped::Stopping,
        Dropped::Unread,
    ];

    /// The word in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Dropped::Flows => "flows",
            Dropped::NoServer => "no_server",
            Dropped::Shortage => "shortage",
            Dropped::Full => "full",
            Dropped::Stopping => "stopping",
            Dropped::Unread => "unread",
        }
    }
}

/// The addresses by which datagrams come to a worker.
pub struct Inlets {
    shared: Rc<Shared>,
    list: RefCell<Vec<Rc<Inlet>>>,
}

/// What all inlets of a worker share.
struct Shared {
    worker: Rc<Worker<Sockets>>,
    /// Those whose clients have not spoken after an answer, the oldest first; some have ended or grown up since.
    young: RefCell<VecDeque<Weak<Flow>>>,
    refusals: RefCell<Refusals>,
    /// One datagram at a time.
    bytes: RefCell<Box<[u8]>>,
}

/// One address that clients send to.
struct Inlet {
    shared: Rc<Shared>,
    socket: Datagrams,
    door: Rc<Door>,
    /// The stuck worker for which it reads.
    instead_of: Option<usize>,
    stopped: Cell<bool>,
    /// A task reads.
    reads: Cell<bool>,
    /// Wakes it.
    reader: RefCell<Option<Waker>>,
    flows: RefCell<HashMap<SocketAddr, Rc<Flow>>>,
    /// Datagrams that the kernel threw away, as of the last look.
    unread: Cell<u32>,
}

impl Inlets {
    /// None yet.
    pub fn new(worker: &Rc<Worker<Sockets>>) -> Self {
        let shared = Shared {
            worker: worker.clone(),
            young: RefCell::default(),
            refusals: RefCell::default(),
            bytes: RefCell::default(),
        };
        Inlets { shared: Rc::new(shared), list: RefCell::default() }
    }

    /// Starts to read what clients send to a socket; `instead_of`: for a worker that is stuck.
    ///
    /// # Errors
    /// The socket cannot be made ready.
    pub fn start(&self, listener: SeatListener, instead_of: Option<usize>) -> io::Result<()> {
        let worker = &self.shared.worker;
        let ListenSocket::Datagrams(socket) = listener.socket else {
            return Err(ErrorKind::InvalidInput.into());
        };
        // Only who has such a service pays for the room.
        if self.shared.bytes.borrow().is_empty() {
            *self.shared.bytes.borrow_mut() = vec![0; DATAGRAM_BYTES_MAX].into();
        }
        let socket = Datagrams::adopt(&worker.rt, socket)?;
        let inlet = Rc::new(Inlet {
            shared: self.shared.clone(),
            unread: Cell::new(socket.unread()),
            socket,
            door: worker.door(listener.address, Transport::Datagrams, listener.service),
            instead_of,
            stopped: Cell::new(false),
            reads: Cell::new(false),
            reader: RefCell::default(),
            flows: RefCell::default(),
        });
        inlet.go_on();
        self.list.borrow_mut().push(inlet);
        Ok(())
    }

    /// Reads from addresses that are new with the current configuration, and leaves those that are gone; `listeners` are
    /// all that the worker has.
    //= L4-UDP-05
    pub fn follow(&self, listeners: Vec<SeatListener>) {
        self.list.borrow_mut().retain(|inlet| {
            let stays = inlet.door.is_open();
            if !stays {
                inlet.stop();
                for flow in inlet.flows.borrow().values() {
                    flow.give_up(End::Gone);
                }
            }
            stays
        });
        for listener in listeners {
            let address = listener.address;
            let known = match &listener.socket {
                ListenSocket::Stream(_) => None,
                ListenSocket::Datagrams(socket) => self.own(socket),
            };
            if let Some(inlet) = known {
                inlet.go_on();
            } else if let Err(error) = self.start(listener, None) {
                let worker = self.shared.worker.index;
                tracing::error!(worker, %address, %error, "a new address cannot be listened on");
            }
        }
    }

    fn own(&self, socket: &UdpSocket) -> Option<Rc<Inlet>> {
        let list = self.list.borrow();
        list.iter().find(|one| one.instead_of.is_none() && one.socket.is_same(socket)).cloned()
    }

    /// Reads from no socket any more, and leaves what comes to whoever else has them; flows go on to get their answers.
    /// [`Inlets::follow`] with the same sockets goes on with all of it.
    //= UPG-ORDER-02
    pub fn pause(&self) {
        self.list.borrow_mut().retain(|inlet| {
            inlet.stop();
            inlet.instead_of.is_none()
        });
    }

    /// Reads no more for a worker that goes on by itself; flows that began meanwhile go on to get their answers.
    pub fn stop_for(&self, worker: usize) {
        self.list.borrow_mut().retain(|inlet| {
            let stops = inlet.instead_of == Some(worker);
            if stops {
                inlet.stop();
            }
            !stops
        });
    }

    /// Counts what the kernel had to throw away since the last look.
    pub fn count_unread(&self) {
        for inlet in self.list.borrow().iter().filter(|inlet| inlet.instead_of.is_none()) {
            let unread = inlet.socket.unread();
            let more = unread.wrapping_sub(inlet.unread.replace(unread));
            if let Some(service) = inlet.door.service().filter(|_| more > 0) {
                self.shared.dropped(service, Dropped::Unread, more.into());
            }
        }
    }
}

impl Shared {
    fn dropped(&self, service: ServiceIndex, why: Dropped, count: u64) {
        self.worker.current().service(service).counts.datagrams_dropped[why as usize].add(count);
    }

    /// Makes room for one more flow; `false` if there is none to be had.
    //= L4-UDP-03
    fn make_room(&self) -> bool {
        let worker = &self.worker;
        // Each takes half a place.
        let most = (2 * worker.connections_max / FLOWS_SHARE).max(1);
        worker.flows.get() < most && worker.has_place() || self.evict()
    }

    /// Gives up the oldest flow whose client has not spoken after an answer; `false` if there is none.
    fn evict(&self) -> bool {
        loop {
            let Some(oldest) = self.young.borrow_mut().pop_front() else { return false };
            if let Some(flow) = oldest.upgrade().filter(|flow| flow.is_young()) {
                flow.give_up(End::Evicted);
                return true;
            }
        }
    }

    fn add(&self, flow: &Rc<Flow>) {
        let flows = &self.worker.flows;
        flows.set(flows.get() + 1);
        let mut young = self.young.borrow_mut();
        // What is no longer young is thrown out when it is half of the list, so each flow costs one look.
        if young.len() > 2 * flows.get() + 64 {
            young.retain(|flow| flow.upgrade().is_some_and(|flow| flow.is_young()));
        }
        young.push_back(Rc::downgrade(flow));
    }
}

impl Inlet {
    fn stop(&self) {
        self.stopped.set(true);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Reads again, if it does not.
    fn go_on(self: &Rc<Self>) {
        self.stopped.set(false);
        if !self.reads.get() {
            self.reads.set(true);
            self.shared.worker.rt.spawn(read(self.clone()));
        }
    }

    /// Waits for datagrams; `None`: nobody is to read any more.
    async fn readable(&self) -> Option<io::Result<()>> {
        let mut readable = pin!(self.socket.readable(NEVER));
        poll_fn(|context| {
            if self.stopped.get() {
                return Poll::Ready(None);
            }
            *self.reader.borrow_mut() = Some(context.waker().clone());
            readable.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// Passes on what has come, some of it; `true` if that was all.
    fn read_some(self: &Rc<Self>) -> bool {
        let mut bytes = self.shared.bytes.borrow_mut();
        for _ in 0..DATAGRAMS_PER_TURN {
            match self.socket.try_recv_from(&mut bytes) {
                Ok((len, client)) => self.take(client, &bytes[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                // Word of an answer that did not arrive: its client is gone, and its flow ends by itself.
                Err(_) => {}
            }
        }
        false
    }

    /// Passes a client's datagram on.
    //= L4-UDP-01
    fn take(self: &Rc<Self>, client: SocketAddr, bytes: &[u8]) {
        let known = self.flows.borrow().get(&client).filter(|flow| flow.lives()).cloned();
        let sent = match known {
            Some(flow) => match flow.take(bytes) {
                // Word of an earlier one came with this one: it gets another try.
                //= L4-UDP-04
                Err(ErrorKind::ConnectionRefused) => {
                    flow.was_refused();
                    self.begin(client).and_then(|flow| flow.take(bytes).map_err(|_| Dropped::Full))
                }
                sent => sent.map_err(|_| Dropped::Full),
            },
            None => self.begin(client).and_then(|flow| flow.take(bytes).map_err(|_| Dropped::Full)),
        };
        if let Err(why) = sent
            && let Some(service) = self.door.service()
        {
            self.shared.dropped(service, why, 1);
        }
    }

    /// A new flow: decides, and connects.
    fn begin(self: &Rc<Self>, client: SocketAddr) -> Result<Rc<Flow>, Dropped> {
        let shared = &self.shared;
        let worker = &shared.worker;
        let service = self.door.service().filter(|_| !worker.draining.get()).ok_or(Dropped::Stopping)?;
        if !shared.make_room() {
            return Err(Dropped::Flows);
        }
        let flow = Rc::new(Flow::begin(shared, service, client, self.door.address)?);
        shared.add(&flow);
        self.flows.borrow_mut().insert(client, flow.clone());
        worker.rt.spawn(answer(self.clone(), flow.clone()));
        Ok(flow)
    }
}

/// Reads until its address is gone or its own worker goes on.
async fn read(inlet: Rc<Inlet>) {
    let rt = &inlet.shared.worker.rt;
    while let Some(waited) = inlet.readable().await {
        if waited.is_err() {
            inlet.shared.worker.metrics.accept_errors.inc();
            rt.sleep_until(Now(rt.now().0 + ACCEPT_PAUSE_US)).await;
        } else if !inlet.read_some() {
            others_turn().await;
        }
    }
    inlet.reads.set(false);
}

/// Passes the server's datagrams back until the flow ends.
async fn answer(inlet: Rc<Inlet>, flow: Rc<Flow>) {
    flow.carry(&inlet.socket).await;
    let mut flows = inlet.flows.borrow_mut();
    // A newer flow of the same client may have taken its place.
    if flows.get(&flow.client).is_some_and(|own| Rc::ptr_eq(own, &flow)) {
        flows.remove(&flow.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_place_and_word() {
        for (place, why) in Dropped::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, place);
            assert_eq!(Dropped::ALL.iter().filter(|other| other.word() == why.word()).count(), 1);
        }
    }
}

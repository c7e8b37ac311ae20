//! Who accepts in the place of a worker that stands still.
//!
//! A state that is driven with every look of the supervisor, not an event: a stand-in that panics, stands still itself
//! or has no room in its mailbox is followed by another one, and what was begun is taken back once the worker goes on,
//! however often that has to be said.

use std::io;

use super::SeatListener;
use super::mailbox::{Mailbox, Message};
use super::sockets::duplicate;

/// The stand-ins of one worker.
#[derive(Debug, Default)]
pub(super) struct StandIns {
    /// Who has duplicates of its sockets. Usually one; more when one of them stood still in its turn.
    helpers: Vec<Helper>,
    /// Who is asked first next time: not the one that has just failed.
    next: Option<usize>,
}

/// A worker between its start and its end: started anew it knows nothing of what it was told before.
#[derive(Debug, PartialEq, Eq)]
struct Helper {
    worker: usize,
    life: u64,
}

/// A worker as it may be asked.
pub(super) struct Peer<'a> {
    /// Its mailbox while it lives.
    pub mailbox: Option<&'a Mailbox>,
    /// How often it was started.
    pub life: u64,
    /// It stands still.
    pub is_stuck: bool,
}

/// What a turn of [`StandIns::drive`] has changed.
#[derive(Debug)]
pub(super) enum Change {
    /// Nothing: all is as it should be.
    Nothing,
    /// This worker accepts from now on.
    By(usize),
    /// Nobody could be asked; the next turn tries again.
    Nobody,
    /// The sockets could not be duplicated: no file descriptor is left; the next turn tries again.
    Shortage(io::Error),
}

impl StandIns {
    /// Brings it about that somebody accepts for `worker` while it stands still, and nobody afterwards.
    //= OBS-WORKER-02
    pub(super) fn drive(
        &mut self,
        worker: usize,
        is_stuck: bool,
        peers: &[Peer<'_>],
        listeners: &[SeatListener],
    ) -> Change {
        self.helpers.retain(|helper| {
            let peer = &peers[helper.worker];
            peer.mailbox.is_some() && peer.life == helper.life
        });
        if !is_stuck {
            self.helpers.retain(|helper| {
                let told = peers[helper.worker].mailbox.map(|to| to.send(Message::StopAcceptFor { worker }));
                matches!(told, Some(Err(_)))
            });
            return Change::Nothing;
        }
        if listeners.is_empty() || self.helpers.iter().any(|helper| !peers[helper.worker].is_stuck) {
            return Change::Nothing;
        }
        let first = self.next.unwrap_or(worker + 1);
        for other in (0..peers.len()).map(|step| (first + step) % peers.len()) {
            let peer = &peers[other];
            let Some(mailbox) = peer.mailbox.filter(|_| other != worker && !peer.is_stuck) else { continue };
            let listeners = match duplicate(listeners) {
                Ok(listeners) => listeners,
                Err(error) => return Change::Shortage(error),
            };
            if mailbox.send(Message::AcceptFor { worker, listeners }).is_ok() {
                self.helpers.push(Helper { worker: other, life: peer.life });
                self.next = Some(other + 1);
                return Change::By(other);
            }
        }
        Change::Nobody
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServiceIndex;
    use crate::control::ListenSocket;
    use crate::control::mailbox::{MailboxReceiver, mailbox};
    use crate::limits::MAILBOX_MESSAGES_MAX;

    struct Bench {
        boxes: Vec<(Mailbox, MailboxReceiver)>,
        lives: Vec<u64>,
        stuck: Vec<bool>,
        ended: Vec<bool>,
        listeners: Vec<SeatListener>,
    }

    impl Bench {
        fn new(workers: usize) -> Self {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = socket.local_addr().expect("it is bound");
            Self {
                boxes: (0..workers).map(|_| mailbox().expect("an eventfd")).collect(),
                lives: vec![1; workers],
                stuck: vec![false; workers],
                ended: vec![false; workers],
                listeners: vec![SeatListener {
                    address,
                    service: ServiceIndex(0),
                    socket: ListenSocket::Stream(socket),
                    claim: None,
                }],
            }
        }

        fn drive(&self, stand_ins: &mut StandIns, worker: usize) -> Change {
            let peer = |n: usize| Peer {
                mailbox: (!self.ended[n]).then_some(&self.boxes[n].0),
                life: self.lives[n],
                is_stuck: self.stuck[n],
            };
            let peers: Vec<Peer<'_>> = (0..self.boxes.len()).map(peer).collect();
            stand_ins.drive(worker, self.stuck[worker], &peers, &self.listeners)
        }

        fn got(&self, worker: usize) -> Vec<Message> {
            std::iter::from_fn(|| self.boxes[worker].1.try_recv()).collect()
        }

        fn fill(&self, worker: usize) {
            for _ in 0..MAILBOX_MESSAGES_MAX {
                self.boxes[worker].0.send(Message::PoolsChanged).expect("room");
            }
        }
    }

    //= test OBS-WORKER-02
    #[test]
    fn a_stand_in_that_ends_or_stands_still_is_followed_by_another_one() {
        let mut bench = Bench::new(3);
        let mut of_first = StandIns::default();
        bench.stuck[0] = true;
        assert!(matches!(bench.drive(&mut of_first, 0), Change::By(1)));
        assert!(matches!(bench.drive(&mut of_first, 0), Change::Nothing), "one is enough");
        // It panics at once and is started anew: it knows nothing of it, and another one is asked.
        bench.lives[1] += 1;
        assert!(matches!(bench.drive(&mut of_first, 0), Change::By(2)));
        bench.stuck[2] = true;
        assert!(matches!(bench.drive(&mut of_first, 0), Change::By(1)));
        bench.ended[1] = true;
        assert!(matches!(bench.drive(&mut of_first, 0), Change::Nobody));
        bench.stuck[2] = false;
        assert!(
            matches!(bench.drive(&mut of_first, 0), Change::Nothing),
            "the third goes on and still has them"
        );
        bench.stuck[0] = false;
        bench.drive(&mut of_first, 0);
        let got = bench.got(2);
        assert!(
            matches!(
                got.as_slice(),
                [Message::AcceptFor { worker: 0, .. }, Message::StopAcceptFor { worker: 0 }]
            ),
            "{got:?}"
        );
    }

    #[test]
    fn a_full_mailbox_delays_what_is_said_and_loses_nothing() {
        let mut bench = Bench::new(2);
        let mut of_first = StandIns::default();
        bench.stuck[0] = true;
        bench.fill(1);
        assert!(matches!(bench.drive(&mut of_first, 0), Change::Nobody));
        bench.got(1);
        assert!(matches!(bench.drive(&mut of_first, 0), Change::By(1)));
        bench.got(1);
        bench.fill(1);
        bench.stuck[0] = false;
        bench.drive(&mut of_first, 0);
        assert!(
            !bench.got(1).iter().any(|m| matches!(m, Message::StopAcceptFor { .. })),
            "there was no room"
        );
        bench.drive(&mut of_first, 0);
        let got = bench.got(1);
        assert!(matches!(got.as_slice(), [Message::StopAcceptFor { worker: 0 }]), "{got:?}");
        bench.drive(&mut of_first, 0);
        assert!(bench.got(1).is_empty(), "once");
    }
}

//! What the old process and the new one have told each other.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::giver::Failed;
use super::wire::{Frame, Say, Wire};
use crate::config::Transport;
use crate::control::sockets::Place;
use crate::limits::{HANDOVER_ENTRIES_MAX, HANDOVER_FRAMES_MAX};
use crate::persist::Store;
use crate::persist::moving::Told;
use crate::rt::clock;

/// What the two have told each other.
#[derive(Default)]
pub(super) struct Talk {
    /// It has said that its workers stand.
    pub ready: bool,
    /// Frames of changes that were sent, and that it has.
    pub sent: u64,
    applied: u64,
    /// The addresses that it will accept on.
    pub taken: Option<BTreeSet<Place>>,
    /// It has been told that it may serve, and has said that it does.
    pub told: bool,
    pub serves: bool,
}

impl Talk {
    /// Takes in what the new process says.
    pub(super) fn hear(&mut self, frame: Frame) -> Result<(), Failed> {
        match frame {
            Frame::Said(Say::Ready {}) if !self.ready => self.ready = true,
            Frame::Said(Say::Applied { frame }) if frame == self.applied + 1 && frame <= self.sent => {
                self.applied = frame;
            }
            Frame::Said(Say::Taken { listeners, datagrams }) if self.ready => {
                let streams = listeners.into_iter().map(|address| (address, Transport::Stream));
                let datagrams = datagrams.into_iter().map(|address| (address, Transport::Datagrams));
                self.taken = Some(streams.chain(datagrams).collect());
            }
            Frame::Said(Say::Serving {}) if self.told && !self.serves => self.serves = true,
            Frame::Said(Say::Refused { reason }) => return Err(Failed(reason)),
            Frame::End => return Err(Failed("the new process is gone".to_owned())),
            _ => return Err(Failed("the new process says what makes no sense".to_owned())),
        }
        Ok(())
    }

    /// Tells of what has changed since the last time, after waiting for a change for `wait` at most, and waits until the
    /// other process has it. What changes meanwhile is for the next time.
    ///
    /// # Errors
    /// It is not done by `until`, is not wanted any more by `stops`, or the other process is gone.
    pub(super) fn tell_changes(
        &mut self,
        wire: &mut Wire,
        store: &Store,
        wait: Duration,
        until: Instant,
        stops: &dyn Fn() -> bool,
    ) -> Result<(), Failed> {
        let changes = store.changes(wait, clock::now);
        if changes.overflowed {
            tracing::warn!(
                event = "UPGRADE_CHANGES_LOST",
                "more entries of the persistence tables change than can be told one by one: all are told again"
            );
            copy_in_frames(store, |batch| self.send(wire, batch, until, stops))?;
        }
        for some in changes.told.chunks(HANDOVER_ENTRIES_MAX) {
            self.send(wire, some, until, stops)?;
        }
        self.wait_for_applied(wire, 0, until, stops)?;
        store.known(changes.number);
        Ok(())
    }

    fn send(
        &mut self,
        wire: &mut Wire,
        told: &[Told],
        until: Instant,
        stops: &dyn Fn() -> bool,
    ) -> Result<(), Failed> {
        self.wait_for_applied(wire, HANDOVER_FRAMES_MAX - 1, until, stops)?;
        if stops() {
            return Err(Failed::stops());
        }
        if Instant::now() >= until {
            return Err(Failed("the new process takes what changes too slowly".to_owned()));
        }
        self.sent += 1;
        Ok(wire.tell(told, until, stops)?)
    }

    /// Waits until no more than so many frames are on their way.
    fn wait_for_applied(
        &mut self,
        wire: &mut Wire,
        under_way: u64,
        until: Instant,
        stops: &dyn Fn() -> bool,
    ) -> Result<(), Failed> {
        while self.sent - self.applied > under_way {
            self.hear(wire.read(until, stops)?)?;
        }
        Ok(())
    }
}

/// Copies the entries of all tables; `each` gets as many at a time as a frame may have.
///
/// # Errors
/// What `each` says ends the copy.
pub(super) fn copy_in_frames<E>(
    store: &Store,
    mut each: impl FnMut(&[Told]) -> Result<(), E>,
) -> Result<(), E> {
    let mut batch = Vec::with_capacity(HANDOVER_ENTRIES_MAX);
    store.copy(clock::now, |slice| {
        for some in slice.chunks(HANDOVER_ENTRIES_MAX / 2) {
            if batch.len() + some.len() > HANDOVER_ENTRIES_MAX {
                each(&batch)?;
                batch.clear();
            }
            batch.extend_from_slice(some);
        }
        Ok(())
    })?;
    each(&batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use forebay_core::persist::ClientKey;

    use crate::config::{PoolIndex, ServiceIndex, Tree};
    use crate::limits::HANDOVER_CHANGES_MAX;

    const TEXT: &str = "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:80\"]\npool = \"web\"\n\
                        [[pool]]\nname = \"web\"\npersistence = \"ip\"\nserver = [{ address = \"127.0.0.1:81\" }]\n\
                        [[persistence]]\nname = \"ip\"\ntype = \"client_ip\"\n";

    /// A table with so many clients, all of them bound since somebody wants to know.
    fn store_with(clients: u64) -> Store {
        let tree = Arc::new(Tree::build(forebay_snapshot::check(TEXT).expect("it is valid")));
        let store = Store::build(&tree, 16 << 20, [7; 16], clock::now()).expect("a table");
        store.follow_changes();
        let table = store.table(ServiceIndex(0), PoolIndex(0)).expect("the pool has one");
        for n in 0..clients {
            let mut bytes = [0; 16];
            bytes[8..].copy_from_slice(&n.to_be_bytes());
            let key = store.key(table, store.table_key(ClientKey::Plain(bytes)));
            store.put(&key, tree.pools[0].servers[0].id, false, clock::now()).expect("room");
        }
        store
    }

    fn pair() -> [Wire; 2] {
        let (near, far) = UnixStream::pair().expect("a pair");
        [near, far].map(|stream| Wire::new(stream).expect("a wire"))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    //= test UPG-TABLE-01
    #[test]
    fn everything_is_told_again_in_few_frames_and_a_bounded_number_is_on_its_way() {
        let clients = HANDOVER_CHANGES_MAX as u64 + 100;
        let store = store_with(clients);
        let [mut near, mut far] = pair();
        let mut talk = Talk::default();
        let (mut frames, mut entries) = (0, 0);
        std::thread::scope(|scope| {
            let (near, talk, store) = (&mut near, &mut talk, &store);
            let telling = scope.spawn(move || {
                let told = talk.tell_changes(near, store, Duration::ZERO, soon(), &|| false);
                told.map_err(|Failed(reason)| reason)
            });
            while !telling.is_finished() {
                // All that comes without an answer.
                let mut unanswered = Vec::new();
                loop {
                    match far.look().expect("it talks") {
                        Some(Frame::Entries(told)) => unanswered.push(told.len() as u64),
                        Some(frame) => panic!("{frame:?}"),
                        None if unanswered.is_empty() && !telling.is_finished() => {}
                        None => break,
                    }
                }
                assert!(unanswered.len() as u64 <= HANDOVER_FRAMES_MAX, "{unanswered:?}");
                for some in unanswered {
                    (frames, entries) = (frames + 1, entries + some);
                    let applied = far.say(&Say::Applied { frame: frames }, &[], soon(), &|| false);
                    applied.expect("it listens");
                }
            }
            assert_eq!(telling.join().expect("no panic"), Ok(()));
        });
        assert_eq!(
            entries,
            clients + HANDOVER_CHANGES_MAX as u64,
            "the copy, and the changes that there was room for"
        );
        assert!(frames <= 2 * entries / HANDOVER_ENTRIES_MAX as u64 + 2, "{frames} frames");
    }

    //= test UPG-PROTOCOL-01
    #[test]
    fn whoever_does_not_answer_is_waited_for_no_longer_than_it_may_and_not_by_one_who_stops() {
        let store = store_with(1);
        let [mut near, _far] = pair();
        let mut talk = Talk::default();
        let soon = Instant::now() + Duration::from_millis(50);
        let failed = talk.tell_changes(&mut near, &store, Duration::ZERO, soon, &|| false);
        assert_eq!(failed.map_err(|Failed(reason)| reason), Err("the other process says nothing".to_owned()));
        assert!(Instant::now() >= soon);
        let failed = talk.tell_changes(&mut near, &store, Duration::ZERO, self::soon(), &|| true);
        assert_eq!(failed.map_err(|Failed(reason)| reason), Err("this process stops".to_owned()));
    }
}

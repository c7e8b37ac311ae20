//! Who belongs to the group: connections with members, their first words, and what ends with them.

use alloc::vec::Vec;

use forebay_core::table::{EngineSlot, GroupMillis};
use forebay_core::units::{Micros, Now};

use super::peer::{Peer, Session};
use super::{Engine, Event, Output, Settings, Why};
use crate::limits::{DEAD_MS, HOLD_AGAIN_MS, PROTOCOL_READERS, SILENCE_MS};
use crate::shards::Shards;
use crate::wire::{Frame, Hello};

impl Engine {
    pub(super) fn is_member(&self, slot: EngineSlot) -> bool {
        slot != self.settings.me && (self.settings.members & !self.settings.readers) >> slot.get() & 1 == 1
    }

    /// It only reads.
    pub(super) fn reads(&self, slot: EngineSlot) -> bool {
        self.settings.readers >> slot.get() & 1 == 1
    }

    /// This engine only reads.
    pub(super) fn only_reads(&self) -> bool {
        self.reads(self.settings.me)
    }

    /// Whether there may be a connection with it. Of two that only read neither has anything to say.
    fn is_peer(&self, slot: EngineSlot) -> bool {
        self.is_member(slot) || slot != self.settings.me && self.reads(slot) && !self.only_reads()
    }

    /// Who only reads are others now.
    pub(super) fn readers(&mut self, readers: u64) {
        let changed = self.settings.readers ^ readers;
        self.settings.readers = readers;
        let known = self.peers.keys().filter_map(|slot| EngineSlot::new(*slot));
        let gone: Vec<EngineSlot> =
            known.filter(|slot| !self.is_peer(*slot) || changed >> slot.get() & 1 == 1).collect();
        for slot in gone {
            if self.peers.remove(&slot.get()).is_some_and(|peer| peer.session.is_some()) {
                self.out.push(Output::Close(slot, Why::Stranger));
            }
        }
    }

    /// The group consists of others now. Whoever is no member any more has nothing open here before that is said.
    //= SYNC-SLOT-02
    pub(super) fn members<S: Shards>(&mut self, members: u64, shards: &mut S, now: Now) {
        let gone = self.settings.members & !members & !(1 << self.settings.me.get());
        self.settings.members = members;
        for slot in (0..64).filter_map(EngineSlot::new).filter(|slot| gone >> slot.get() & 1 == 1) {
            let last_heard = self.peers.get(&slot.get()).and_then(Peer::last_heard);
            self.forget(slot, last_heard, shards, now);
            if self.peers.remove(&slot.get()).is_some_and(|peer| peer.session.is_some()) {
                self.out.push(Output::Close(slot, Why::Stranger));
            }
            self.out.push(Output::Event(Event::Cleared(slot)));
        }
    }

    pub(super) fn up(&mut self, slot: EngineSlot, now: Now) {
        if !self.is_peer(slot) {
            self.out.push(Output::Close(slot, Why::Stranger));
            return;
        }
        let features = if self.only_reads() { Hello::READS } else { 0 };
        let peer = self.peers.entry(slot.get()).or_insert_with(|| Peer::new(slot));
        if peer.session.is_some() {
            peer.lost.get_or_insert(now);
        }
        peer.end_session(now);
        let away = peer.ended.is_none_or(|at| now.since(at) >= Micros::from_millis(HOLD_AGAIN_MS));
        if away || peer.hold_from.is_none() {
            peer.hold_from = Some(now);
        }
        let session = peer.session.insert(Session::new(self.settings.bounds, peer.last_heard, now));
        let Settings { me, boot, group, .. } = self.settings;
        let clock = if self.clock.known() { self.clock.read(now) } else { GroupMillis(0) };
        let hello = Hello {
            protocol: self.speaks.1,
            protocol_min: self.speaks.0,
            features,
            slot: me,
            boot,
            group,
            clock,
        };
        let bytes = Frame::Hello(hello).encode();
        session.sum.bytes_out += bytes.len() as u64;
        self.out.push(Output::Send(slot, bytes));
    }

    /// Says the last word to everybody who understands it, after all that waits to be told.
    //= SYNC-LEAVE-01
    pub(super) fn leave<S: Shards>(&mut self, shards: &mut S, now: Now) {
        let slots: Vec<u8> = self.peers.keys().copied().collect();
        for slot in slots.into_iter().filter_map(EngineSlot::new) {
            self.flush_now(slot, shards, now);
            let clock = self.told_clock(now);
            if let Some((session, out)) = self.session_of(slot).filter(|(session, _)| session.protocol >= 2) {
                session.say(slot, clock, now, out, Frame::Leave);
            }
        }
    }

    pub(super) fn down(&mut self, slot: EngineSlot, now: Now) {
        if let Some(peer) = self.peers.get_mut(&slot.get())
            && peer.end_session(now)
        {
            peer.lost.get_or_insert(now);
        }
    }

    pub(super) fn close(&mut self, slot: EngineSlot, why: Why, now: Now) {
        self.down(slot, now);
        self.out.push(Output::Close(slot, why));
    }

    pub(super) fn hello<S: Shards>(
        &mut self,
        from: EngineSlot,
        hello: Hello,
        shards: &mut S,
        now: Now,
    ) -> Result<(), Why> {
        // Both sides must agree on who only reads: a member is waited for, and a reader is not.
        //= SYNC-READER-01
        let reads = hello.protocol >= PROTOCOL_READERS && hello.features & Hello::READS != 0;
        if hello.slot != from || !self.is_peer(from) || reads != self.reads(from) {
            return Err(Why::Stranger);
        }
        if hello.group != self.settings.group {
            return Err(Why::Group);
        }
        let (oldest, newest) = self.speaks;
        if hello.protocol < oldest || hello.protocol_min > newest {
            return Err(Why::Protocol);
        }
        if (reads || self.only_reads()) && hello.protocol.min(newest) < PROTOCOL_READERS {
            return Err(Why::Protocol);
        }
        let Some(peer) = self.peers.get_mut(&from.get()) else { return Ok(()) };
        let new = peer.boot != Some(hello.boot);
        let last_heard = peer.last_heard;
        let Some(session) = &mut peer.session else { return Ok(()) };
        if session.greeted {
            self.figures.repeated += 1;
            return Ok(());
        }
        session.greeted = true;
        //= SYNC-WIRE-05
        session.protocol = hello.protocol.min(newest);
        session.served = hello.clock.0 != 0;
        session.serves = session.served;
        (peer.boot, peer.lost) = (Some(hello.boot), None);
        //= SYNC-SLOT-01
        if new {
            self.forget(from, last_heard, shards, now);
        }
        if hello.clock.0 != 0 {
            self.step_time(from, hello.clock, shards, now)?;
        }
        self.again(from, now);
        if !new {
            self.resume(from, now);
        }
        Ok(())
    }

    /// Until then what a peer is found not to have open may have been so: while they compare for the first time on a
    /// connection, until the one before ended.
    pub(super) fn open_until(&self, slot: EngineSlot, now: Now) -> Now {
        let session = self.peers.get(&slot.get()).and_then(|peer| peer.session.as_ref());
        let before = session.filter(|session| !session.synced).and_then(|session| session.heard_before);
        before.map_or(now, |heard| given_up(heard, now))
    }

    /// What a peer had open counts as closed: since it would have been given up by one that did not stand still itself, which
    /// else takes for used what ended everywhere meanwhile. `heard`: when it was heard last, if it is gone.
    //= SYNC-SLOT-01
    pub(super) fn forget<S: Shards>(
        &mut self,
        slot: EngineSlot,
        heard: Option<Now>,
        shards: &mut S,
        now: Now,
    ) {
        let since = heard.map_or(now, |heard| given_up(heard, now));
        let bit = 1 << slot.get();
        let geometry = shards.geometry();
        for partition in 0..geometry.partitions() {
            shards.with(partition, |partition, catalog| {
                let open: Vec<_> = partition
                    .entries(catalog, 0..u32::MAX, now)
                    .filter(|view| view.record.open & bit != 0)
                    .map(|view| catalog.key(view.table, view.key))
                    .collect();
                for key in open {
                    partition.open_elsewhere(catalog, &key, slot, Some(since), now);
                }
            });
        }
    }
}

/// When one that was heard last at `heard` is given up at the latest; not after `now`.
fn given_up(heard: Now, now: Now) -> Now {
    now.min(Now(heard.0.saturating_add((SILENCE_MS + DEAD_MS) * 1_000)))
}

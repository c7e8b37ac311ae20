//! One that only reads gives what it has to engines that have lost everything: who joins and hears nobody who serves asks it, and
//! both compare anew, this once with something to say on both sides.

use forebay_core::table::{EngineSlot, GroupMillis};
use forebay_core::units::{Micros, Now};

use super::Engine;
use super::peer::Peer;
use crate::limits::{AHEAD_MAX_MS, CLOCK_TAKEN_MAX, GIVE_MS};
use crate::wire::Frame;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// The group's time by the word of the reader that was asked, and when that was.
    clock: Option<(GroupMillis, Now)>,
}

impl Engine {
    /// Whether a member is heard that served when it was compared with: only those know the group's time. It has the tables, and
    /// what it lacks is not to be had from one that may have missed why. Who began to serve since then may have been given some
    /// after it was compared with.
    fn hears_one_that_serves(&self) -> bool {
        let heard = self.peers.values().filter(|peer| self.is_member(peer.slot));
        heard.filter_map(|peer| peer.session.as_ref()).any(|session| session.greeted && session.served)
    }

    /// A member that serves now, and did not when it came, has been given what there was, maybe after it was compared with:
    /// it is compared with anew. Gives whether there is such a one.
    //= SYNC-GIVE-01
    fn compares_with_who_began(&mut self, now: Now) -> bool {
        let mut began = alloc::vec::Vec::new();
        for slot in (0..64).filter_map(EngineSlot::new) {
            let is_member = self.is_member(slot);
            let session = self.peers.get_mut(&slot.get()).and_then(Peer::greeted);
            if let Some(session) = session.filter(|session| is_member && session.serves && !session.served) {
                session.served = true;
                began.push(slot);
            }
        }
        for slot in &began {
            self.again(*slot, now);
        }
        !began.is_empty()
    }

    /// Asks those that only read for what they have, where nobody serves. `complete`: all members were compared with. Gives
    /// whether that has to be waited for.
    //= SYNC-GIVE-01
    pub(super) fn waits_to_be_given(&mut self, complete: bool, waited: Micros, now: Now) -> bool {
        if self.only_reads() || self.settings.readers == 0 {
            return false;
        }
        if self.compares_with_who_began(now) {
            return true;
        }
        if self.hears_one_that_serves() {
            return false;
        }
        let long = waited >= Micros::from_millis(GIVE_MS);
        if !complete && !long {
            return true;
        }
        let readers: alloc::vec::Vec<EngineSlot> =
            self.peers.values().map(|peer| peer.slot).filter(|slot| self.reads(*slot)).collect();
        for slot in readers {
            let clock = self.told_clock(now);
            let Some((session, out)) = self.session_of(slot).filter(|(session, _)| !session.gives) else {
                continue;
            };
            session.gives = true;
            session.say(slot, clock, now, out, Frame::Give);
            self.again(slot, now);
        }
        let asked = self.peers.values().filter(|peer| self.reads(peer.slot));
        let mut asked =
            asked.filter_map(|peer| peer.session.as_ref()).filter(|session| session.gives).peekable();
        // One that is not there is waited for a moment, if the members are there that soon.
        if asked.peek().is_none() { !long } else { asked.any(|session| !session.synced) }
    }

    /// A member joins, hears nobody who serves, and asks for what is held here.
    //= SYNC-GIVE-01
    pub(super) fn asked_to_give(&mut self, by: EngineSlot) {
        if self.only_reads()
            && let Some(session) = self.session(by)
        {
            session.gives = true;
        }
    }

    /// Whether what one says that only reads was asked for; and whether it is to be taken still.
    //= SYNC-READER-01
    //= SYNC-GIVE-01
    pub(super) fn takes_from_reader(&mut self, from: EngineSlot) -> Option<bool> {
        let asked = self.peers.get_mut(&from.get()).and_then(Peer::greeted).is_some_and(|s| s.gives);
        if !asked {
            return None;
        }
        Some(!self.joined && !self.hears_one_that_serves())
    }

    /// One that only reads says what the group's time is: it counts if it was asked for what it has.
    pub(super) fn hear_reader(&mut self, from: EngineSlot, clock: GroupMillis, now: Now) {
        if self.session(from).is_some_and(|session| session.gives) {
            self.given.clock = Some((clock, now));
        }
    }

    /// The group's time as one says that only reads and gave what it has: what others wrote by it must not be later than what is
    /// written here from now on. Not if it is far ahead of the own wall clock, `wall`.
    pub(super) fn given_time(&self, wall: u64, now: Now) -> Option<u64> {
        let (clock, at) = self.given.clock?;
        let time = clock.0.saturating_add(now.since(at).0 / 1_000);
        (time <= wall.saturating_add(AHEAD_MAX_MS) && time <= CLOCK_TAKEN_MAX).then_some(time)
    }

    /// Whether this engine says nothing in a comparison: who only reads does if the peer asked for it, until that serves.
    //= SYNC-READER-01
    pub(super) fn says_nothing(&self, to: EngineSlot) -> bool {
        let asked = self
            .peers
            .get(&to.get())
            .and_then(|peer| peer.session.as_ref())
            .is_some_and(|s| s.gives && !s.serves);
        self.only_reads() && !asked
    }

    /// Whether what a peer has holds against what is held here: only of one that serves, for what others write it knows.
    //= SYNC-READER-02
    pub(super) fn follows(&self, peer: EngineSlot) -> bool {
        let session = self.peers.get(&peer.get()).and_then(|peer| peer.session.as_ref());
        self.only_reads() && session.is_some_and(|session| session.serves)
    }
}

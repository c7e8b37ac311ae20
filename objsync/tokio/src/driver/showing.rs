//! What people may look at.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Driver;
use crate::limits::{CALLS_WITHIN, VIEW};
use crate::link::{Link, Traffic};
use crate::{Host, PeerStatus, Status};

impl<H: Host> Driver<H> {
    /// Says who should call and does not: it may have another list of members.
    //= SYNC-DIAL-02
    fn miss_who_should_call(&mut self) {
        for member in self.settings.members.iter().filter(|member| {
            // Nobody misses one that only reads.
            !member.reads && !self.settings.calls(member)
        }) {
            let Some(peer) = self.peers.get_mut(&member.slot.get()).filter(|peer| !peer.is_up) else {
                continue;
            };
            if peer.away.get_or_insert_with(Instant::now).elapsed() >= CALLS_WITHIN {
                let why = "it does not call; look whether it runs, and whether this engine stands in its objsync.members";
                peer.is_not_reached(member.slot, why.to_owned());
            }
        }
    }

    /// Makes known how everything is, now and then.
    pub(super) fn show(&mut self) {
        if self.shown.is_some_and(|at| at.elapsed() < VIEW) {
            return;
        }
        self.shown = Some(Instant::now());
        self.miss_who_should_call();
        let peer = |member: &crate::Member| {
            let known = self.peers.get(&member.slot.get());
            let traffic = known.map(|peer| &peer.traffic);
            let read = |of: fn(&Traffic) -> u64| traffic.map_or(0, |traffic| of(traffic));
            PeerStatus {
                slot: member.slot,
                reads: member.reads,
                address: match member.reads {
                    false => Some(member.address),
                    // What stands in the configuration may be a place holder.
                    true => known.and_then(|peer| peer.link.as_ref()).and_then(|link| link.remote),
                },
                figures: self.engine.peer(member.slot),
                bytes: (
                    read(|traffic| traffic.came.load(Ordering::Relaxed)),
                    read(|traffic| traffic.went.load(Ordering::Relaxed)),
                ),
                connections: known.map_or(0, |peer| peer.connections),
                queued: known.and_then(|peer| peer.link.as_ref()).map_or(0, Link::queued),
                too_slow: known.map_or(0, |peer| peer.too_slow),
                trouble: known.and_then(|peer| peer.trouble.clone()),
                differs: known.map(|peer| peer.differs.clone()).unwrap_or_default(),
            }
        };
        let mut peers: Vec<PeerStatus> = self.settings.members.iter().map(peer).collect();
        peers.sort_by_key(|peer| peer.slot);
        self.view.set(Status {
            joined: self.engine.joined(),
            complete: self.complete,
            group_ms: self.engine.group_time(self.host.now()).0,
            figures: self.engine.figures(),
            peers,
            busy_us: self.host.cpu_us(),
            listening: self.doors.iter().map(|door| door.address).collect(),
        });
    }
}

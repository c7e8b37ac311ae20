//! Comparisons that somebody waits for.

use std::collections::BTreeSet;
use std::time::Instant;

use forebay_core::table::EngineSlot;
use forebay_objsync::Input;
use tokio::sync::oneshot;

use super::Driver;
use crate::limits::VERIFY;
use crate::{Host, Verified};

/// Somebody waits for a comparison.
pub(super) struct Verifying {
    /// The members that have not been compared with.
    pub(super) open: BTreeSet<EngineSlot>,
    until: Instant,
    answer: oneshot::Sender<Vec<Verified>>,
}

impl<H: Host> Driver<H> {
    /// Compares with every member, and answers when that is through.
    pub(super) fn verify(&mut self, answer: oneshot::Sender<Vec<Verified>>) {
        let linked = self.settings.members.iter().filter(|member| !member.reads).map(|member| member.slot);
        let open = linked.filter(|slot| self.engine.peer(*slot).is_some_and(|peer| peer.connected)).collect();
        self.verifying.push(Verifying { open, until: Instant::now() + VERIFY, answer });
        self.handle(Input::Verify);
    }

    /// Tells those whose comparisons are through, or have taken too long. A member whose connection is lost has no verdict.
    pub(super) fn answer_verifying(&mut self) {
        let is_over = |one: &mut Verifying| {
            one.open.retain(|slot| self.engine.peer(*slot).is_some_and(|peer| peer.connected));
            one.open.is_empty() || Instant::now() >= one.until
        };
        for over in self.verifying.extract_if(.., is_over).collect::<Vec<_>>() {
            let differs = |slot: EngineSlot| self.peers.get(&slot.get()).map(|peer| peer.differs.clone());
            let of = |member: &crate::Member| Verified {
                slot: member.slot,
                differs: differs(member.slot).unwrap_or_default(),
                verdict: if over.open.contains(&member.slot) {
                    None
                } else {
                    self.engine.verdict(member.slot).cloned()
                },
            };
            // Whoever asked may be gone.
            let members = self.settings.members.iter().filter(|member| !member.reads);
            let _ = over.answer.send(members.map(of).collect());
        }
    }
}

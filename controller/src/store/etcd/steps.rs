//! Steps, one after another, each done once or not at all, whatever becomes of its answer.

use std::time::{Duration, Instant};

use forebay_etcd::Failure;
use forebay_etcd::proto::{KeyValue, TxnRequest, TxnResponse, response_op};

use super::history::Seen;
use super::{Inner, delete, demand, look, put};
use crate::store::{Refusal, Revision, Step};

/// A step is tried for so long while etcd cannot be reached or elects a leader of its own, which takes 2 s.
const WRITING_MAX: Duration = Duration::from_secs(8);
/// The pause between two tries.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the next step is built on.
pub(super) struct Turn {
    /// The revision at which the leader's key stands while it is ours. A request that demands an earlier one does nothing.
    fence: i64,
    /// No step of ours is later, but for the one that is under way.
    last: i64,
    /// How many steps there were.
    steps: u64,
}

impl Turn {
    pub(super) fn new(fence: i64) -> Self {
        Turn { fence, last: fence, steps: 0 }
    }
}

/// Why a transaction was not done.
enum Unmet {
    /// This demand is not met.
    Demand(String),
    /// The leader's key is ours, and stands at this revision.
    Fence(i64),
    /// Another one leads, or nobody.
    Lost,
}

impl Inner {
    //= API-STORE-01
    pub(super) async fn commit(&self, step: &Step) -> Result<Revision, Refusal> {
        step.check()?;
        let mut turn = self.turn.lock().await;
        turn.steps += 1;
        let mark = [self.lease.to_be_bytes(), turn.steps.to_be_bytes()].concat();
        let began = Instant::now();
        loop {
            self.leads()?;
            let failure = match self.leading.client.txn(self.request(step, &mark, turn.fence)).await {
                Ok(answer) if answer.succeeded => {
                    turn.last = answer.header.map_or(turn.last, |header| header.revision);
                    return Ok(u64::try_from(turn.last).unwrap_or(0));
                }
                Ok(answer) => match self.unmet(step, &answer, turn.fence) {
                    Unmet::Demand(key) => return Err(Refusal::Conflict(key)),
                    Unmet::Fence(now) => {
                        turn.fence = now;
                        continue;
                    }
                    Unmet::Lost => return Err(Refusal::Unavailable(self.lost_to_another())),
                },
                Err(failure) => failure,
            };
            match failure {
                Failure::Unreached(_) if began.elapsed() < WRITING_MAX => {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Failure::Lost(_) => {
                    if let Some(done) = self.settle(&mut turn, &mark, began).await? {
                        turn.last = done;
                        return Ok(u64::try_from(done).unwrap_or(0));
                    }
                }
                other => return Err(other.into()),
            }
        }
    }

    fn request(&self, step: &Step, mark: &[u8], fence: i64) -> TxnRequest {
        let leading = &self.leading;
        let mut compare = vec![demand(leading.key("leader"), fence)];
        compare.extend(step.demands.iter().map(|(key, revision)| {
            let revision = match revision {
                None => 0,
                // No key stands there, which is not the same as no key.
                Some(0) => -1,
                Some(at) => i64::try_from(*at).unwrap_or(-1),
            };
            demand(leading.data(key), revision)
        }));
        // etcd refuses two writes of one key in a step: the last one counts.
        let is_last = |(place, (key, _)): &(usize, &(String, _))| {
            step.writes[place + 1..].iter().all(|(later, _)| later != key)
        };
        let mut success: Vec<_> = step
            .writes
            .iter()
            .enumerate()
            .filter(is_last)
            .map(|(_, (key, value))| match value {
                Some(value) => put(leading.data(key), value.clone(), 0),
                None => delete(leading.data(key)),
            })
            .collect();
        success.push(put(leading.key("e"), mark.to_vec(), 0));
        let mut failure = vec![look(leading.key("leader"))];
        failure.extend(step.demands.iter().map(|(key, _)| look(leading.data(key))));
        TxnRequest { compare, success, failure }
    }

    fn unmet(&self, step: &Step, answer: &TxnResponse, fence: i64) -> Unmet {
        let found: Vec<Option<&KeyValue>> = answer
            .responses
            .iter()
            .map(|one| match &one.response {
                Some(response_op::Response::ResponseRange(range)) => range.kvs.first(),
                _ => None,
            })
            .collect();
        match found.first() {
            Some(Some(leader)) if leader.mod_revision == fence => {}
            Some(Some(leader)) if leader.lease == self.lease => return Unmet::Fence(leader.mod_revision),
            _ => return Unmet::Lost,
        }
        for ((key, wanted), held) in step.demands.iter().zip(found.iter().skip(1)) {
            let held = held.map(|held| u64::try_from(held.mod_revision).unwrap_or(0));
            if held != *wanted {
                return Unmet::Demand(key.clone());
            }
        }
        // Two demands of one key, of which no two can be met.
        Unmet::Demand(step.demands.first().map(|(key, _)| key.clone()).unwrap_or_default())
    }

    fn lost_to_another(&self) -> String {
        self.lose("another node leads");
        "this node leads no more: another one does, or will".to_owned()
    }

    /// Finds out what became of a step whose answer was lost; `None`: nothing, and nothing will.
    ///
    /// The leader's key is written anew first. From then on the lost request does nothing any more, so that what is there
    /// is all that there will be.
    //= CLUSTER-STEP-01
    async fn settle(&self, turn: &mut Turn, mark: &[u8], began: Instant) -> Result<Option<i64>, Refusal> {
        let leading = &self.leading;
        while began.elapsed() < WRITING_MAX {
            // Whoever leads next finds it done, or not: nobody here knows.
            self.leads().map_err(|refusal| Refusal::Unknown(refusal.to_string()))?;
            let again = TxnRequest {
                compare: vec![demand(leading.key("leader"), turn.fence)],
                success: vec![put(leading.key("leader"), leading.shown.clone(), self.lease)],
                failure: vec![look(leading.key("leader"))],
            };
            let fenced = match leading.client.txn(again).await {
                Ok(answer) if answer.succeeded => {
                    turn.fence = answer.header.map_or(turn.fence, |header| header.revision);
                    true
                }
                Ok(answer) => match self.unmet(&Step::default(), &answer, turn.fence) {
                    Unmet::Fence(now) => {
                        turn.fence = now;
                        true
                    }
                    _ => return Err(Refusal::Unknown(self.lost_to_another())),
                },
                Err(_) => false,
            };
            if fenced {
                let mut found = None;
                let mut look = |seen: Seen<'_>| {
                    if let Seen::Mark(revision, of) = seen
                        && of == mark
                    {
                        found = Some(revision);
                    }
                    found.is_none()
                };
                match self.history(turn.last, &mut look).await {
                    Ok(()) => return Ok(found),
                    Err(Refusal::Unavailable(_)) => {}
                    Err(other) => {
                        self.lose("what became of a step could not be found out");
                        return Err(Refusal::Unknown(other.to_string()));
                    }
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        // What was read before may be wrong from here on: everything is read anew by whoever leads next.
        self.lose("what became of a step could not be found out: etcd does not answer");
        Err(Refusal::Unknown("etcd does not answer".to_owned()))
    }
}

//! Which servers may serve, and why the others may not.

use super::Pool;
use super::server::Server;
use crate::decide::Refusal;
use crate::id::ServerIndex;
use crate::reason::{Reason, SkipWhy};

/// The rules of one decision: the pool's states, and the servers that this request must not use.
pub(crate) struct Gate<'a> {
    tried: &'a [ServerIndex],
    full: &'a [ServerIndex],
    /// This request has no servers of its own to avoid.
    plain: bool,
}

impl<'a> Gate<'a> {
    pub fn new(tried: &'a [ServerIndex], full: &'a [ServerIndex]) -> Self {
        Self { tried, full, plain: tried.is_empty() && full.is_empty() }
    }

    /// True if `server`, which stands at `at`, may take a new client.
    #[inline]
    pub fn admits_server(&self, server: &Server, at: ServerIndex) -> bool {
        //= LB-LIMIT-02
        //= LB-RESELECT-01
        server.total() < server.room
            && (self.plain || (!self.tried.contains(&at) && !self.full.contains(&at)))
    }

    /// True if the server at `at` may take a new client.
    #[inline]
    pub fn admits(&self, pool: &Pool, at: ServerIndex) -> bool {
        self.admits_server(&pool.servers[at.at()], at)
    }

    /// Why the server at `at` may not take a new client; `None` if it may.
    fn refuses(&self, pool: &Pool, at: ServerIndex) -> Option<SkipWhy> {
        let server = &pool.servers[at.at()];
        if server.refuses.is_some() {
            server.refuses
        } else if server.weight == 0 {
            Some(SkipWhy::WeightZero)
        } else {
            self.busy(server, at)
        }
    }

    /// Why the server at `at` may not serve a client that is bound to it; `None` if it may.
    ///
    /// A ratio of 0 does not count: it keeps new clients away, not the server's own.
    //= PERS-DOWN-01
    //= LB-DRAIN-02
    //= LB-WEIGHT-02
    pub fn refuses_bound(&self, pool: &Pool, at: ServerIndex) -> Option<SkipWhy> {
        let server = &pool.servers[at.at()];
        match server.refuses {
            None | Some(SkipWhy::Draining) => self.busy(server, at),
            why => why,
        }
    }

    fn busy(&self, server: &Server, at: ServerIndex) -> Option<SkipWhy> {
        if self.tried.contains(&at) {
            Some(SkipWhy::Tried)
        } else if server.at_limit() || self.full.contains(&at) {
            Some(SkipWhy::AtLimit)
        } else {
            None
        }
    }

    /// False if certainly no server is skipped, so that nobody need look.
    pub fn may_skip(&self, pool: &Pool) -> bool {
        pool.some_refuse || pool.some_limited || !self.plain
    }

    /// Writes the servers that were not eligible into the reason record.
    //= LB-REASON-01
    pub fn note_skipped(&self, pool: &Pool, reason: &mut Reason) {
        for (i, server) in (0u16..).zip(&pool.servers) {
            let at = ServerIndex(i);
            if !self.admits_server(server, at)
                && let Some(why) = self.refuses(pool, at)
            {
                reason.skip(at, why);
            }
        }
    }

    /// Why nobody may serve: room is what is missing, if only that is missing at some server.
    pub fn why_nobody(&self, pool: &Pool) -> Refusal {
        let mut worst = Refusal::NoServerUp;
        for at in pool.indices() {
            match self.refuses(pool, at) {
                Some(SkipWhy::AtLimit) => return Refusal::AllAtLimit,
                Some(SkipWhy::Tried) => worst = Refusal::AllTried,
                _ => {}
            }
        }
        worst
    }
}

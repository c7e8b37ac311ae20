//! Histories: clients that return, servers that fail under them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{RecordedFound, RecordedInput, Step, apply};
use crate::decide::{Decision, Verdict, decide};
use crate::effect::Effect;
use crate::hash::Draw;
use crate::id::{ServerId, ServerIndex, SiteId, VsId};
use crate::lb::{Health, Pool, PoolConfig, ServerState};
use crate::persist::{KindName, Stored, gslb_site, http_cookie};
use crate::reason::{ChosenBy, SkipWhy};
use crate::request::ClientAddr;
use crate::units::{Micros, Now, Seconds, UnixSeconds};

/// Writes a history by playing it: clients return, servers fail under them.
pub(super) struct History {
    pool: Option<Pool>,
    kind: Option<KindName>,
    draw: Draw,
    now: u64,
    steps: Vec<Step>,
    open: Vec<ServerIndex>,
}

/// Rounds of a history: about as many decisions each as there are clients in it.
const ROUNDS: u32 = 24;

impl History {
    pub(super) fn new(config: &PoolConfig, worker: (u16, u16), kind: Option<KindName>, draw: Draw) -> Self {
        let pool = Pool::new(config.clone()).ok().map(|p| p.for_worker(worker.0, worker.1));
        Self { pool, kind, draw, now: 1_000_000, steps: Vec::new(), open: Vec::new() }
    }

    pub(super) fn write(mut self) -> Vec<Step> {
        let Some(mut pool) = self.pool.take() else { return self.steps };
        for round in 0..ROUNDS {
            self.now += u64::from(self.draw.below(90_000_000));
            self.disturb(&mut pool);
            let client = self.draw.below(12);
            let input = self.fresh(client);
            let decision = self.ask(&mut pool, input);
            // The same client returns with what it was given, first undisturbed, then with its server down.
            let bound = self.returning(&pool, client, &decision, round);
            self.ask(&mut pool, bound.clone());
            if let Some(at) = self.server_of(&pool, &bound) {
                self.fail(&mut pool, at, &bound);
            } else if self.kind == Some(KindName::GslbSite) {
                let (site, up) = (SiteId(2), self.draw.below(2) == 0);
                self.push(&mut pool, Step::Site(site, up));
                self.ask(&mut pool, bound);
            }
        }
        self.steps
    }

    fn push(&mut self, pool: &mut Pool, step: Step) {
        apply(pool, &step);
        self.steps.push(step);
    }

    fn ask(&mut self, pool: &mut Pool, input: RecordedInput) -> Decision {
        let decision = decide(pool, &input.as_input());
        self.steps.push(Step::Decide(Box::new(input)));
        if let Verdict::Server(at) = decision.verdict {
            self.push(pool, Step::Open(at));
            self.open.push(at);
            let time = Micros(u64::from(self.draw.below(50_000)));
            self.push(pool, Step::Response(at, time));
        }
        if self.open.len() > 12 {
            let i = self.draw.below(self.open.len() as u32) as usize;
            let at = self.open.swap_remove(i);
            self.push(pool, Step::Close(at));
        }
        decision
    }

    fn disturb(&mut self, pool: &mut Pool) {
        let at = ServerIndex(self.draw.below(pool.len() as u32) as u16);
        let now = Now(self.now);
        let step = match self.draw.below(8) {
            0 => Step::Elsewhere(at, self.draw.below(6)),
            1 => Step::Transferred(at, u64::from(self.draw.below(1 << 24)), now),
            2 => Step::Tasks(at, self.draw.below(100)),
            3 => Step::Site(SiteId(2 + self.draw.below(2)), self.draw.below(2) == 0),
            4 => Step::State(at, ServerState { health: Health::Maintenance, enabled: true }, now),
            _ => Step::State(at, ServerState::UP, now),
        };
        self.push(pool, step);
    }

    fn fresh(&mut self, client: u32) -> RecordedInput {
        let ip = if client.is_multiple_of(3) {
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, client as u16))
        } else {
            IpAddr::V4(Ipv4Addr::from(0xc000_0200 | client))
        };
        let mut key = [0x5a; 16];
        key[..4].copy_from_slice(&client.to_le_bytes());
        let found = match self.kind {
            None => RecordedFound::Off,
            Some(KindName::ClientIp) => RecordedFound::Key(key),
            Some(KindName::KeyValue) => RecordedFound::Script(key, Seconds(300)),
            Some(KindName::AppCookie | KindName::Tls) if self.draw.below(2) == 0 => RecordedFound::Key(key),
            Some(_) => [RecordedFound::Absent, RecordedFound::Sealed, RecordedFound::TooLong]
                [self.draw.below(3) as usize]
                .clone(),
        };
        let tabled = matches!(found, RecordedFound::Key(_) | RecordedFound::Script(..));
        RecordedInput {
            now: Now(self.now),
            wall: UnixSeconds(1_700_000_000 + self.now / 1_000_000),
            seed: self.draw.bits(),
            ticket: self.draw.bits() >> 40,
            client: ClientAddr::new(ip, 1_024 + client as u16),
            hash_key: (self.draw.below(2) == 0).then(|| key[..self.draw.below(17) as usize].to_vec()),
            key: tabled.then_some(crate::table::KeyBytes(key)),
            found,
            stored: Stored::Nothing,
            tried: Vec::new(),
            full: Vec::new(),
            queued: self.draw.below(6),
        }
    }

    /// The client of `decision` with what the decision gave it.
    fn returning(&mut self, pool: &Pool, client: u32, decision: &Decision, round: u32) -> RecordedInput {
        let fresh = self.fresh(client);
        let any = ServerIndex(self.draw.below(pool.len() as u32) as u16);
        let at = match decision.verdict {
            Verdict::Server(at) => at,
            _ => any,
        };
        let (vs, id) = (pool.vs(), pool.id());
        let server = pool.id_of(at);
        let given = decision.effects.iter().find_map(|e| match e {
            Effect::SetCookie(payload) => Some(*payload),
            _ => None,
        });
        // Now and then the cookie is foreign or old, the member gone, the entry of another generation.
        let odd = round % 8 == 7;
        let (found, stored) = match self.kind {
            None => (RecordedFound::Off, Stored::Nothing),
            Some(KindName::HttpCookie) => {
                let own =
                    http_cookie::Payload { vs, pool: id, server: pool.endpoint(at), issued: fresh.wall };
                let payload = given.unwrap_or(own);
                let payload = match round % 8 {
                    5 => http_cookie::Payload { issued: UnixSeconds(1), ..payload },
                    _ => payload,
                };
                let payload = if odd { http_cookie::Payload { vs: VsId(77), ..payload } } else { payload };
                (RecordedFound::Sealed, Stored::Cookie(payload))
            }
            Some(KindName::GslbSite) => {
                let site = SiteId(1 + self.draw.below(4));
                let service = if odd { VsId(98) } else { VsId(99) };
                (RecordedFound::Sealed, Stored::Site(gslb_site::Payload { service, site }))
            }
            Some(KindName::CustomHeader) => {
                let letter = if odd { b'z' } else { b'a' + at.0 as u8 };
                (RecordedFound::Header([b"shard-".as_slice(), &[letter]].concat()), Stored::Nothing)
            }
            Some(KindName::Tls) if self.draw.below(2) == 0 => {
                (RecordedFound::Carried(if odd { ServerId(1) } else { server }), Stored::Nothing)
            }
            Some(kind) => {
                let mut key = [0x5a; 16];
                key[..4].copy_from_slice(&client.to_le_bytes());
                let server = if odd { ServerId(1) } else { server };
                let stored = Stored::Entry { server, generation: self.draw.below(3) };
                let found = match kind {
                    KindName::KeyValue => RecordedFound::Script(key, Seconds(300)),
                    _ => RecordedFound::Key(key),
                };
                (found, stored)
            }
        };
        let key = match &found {
            RecordedFound::Key(k) | RecordedFound::Script(k, _) => Some(crate::table::KeyBytes(*k)),
            _ => None,
        };
        RecordedInput { found, stored, key, ..fresh }
    }

    fn server_of(&self, pool: &Pool, input: &RecordedInput) -> Option<ServerIndex> {
        match (&input.found, input.stored) {
            (_, Stored::Cookie(p)) => {
                pool.index_of_endpoint(p.server).filter(|_| p.vs == pool.vs() && p.issued.0 > 1)
            }
            (_, Stored::Entry { server, .. }) => pool.index_of(server),
            (RecordedFound::Header(v), _) => pool.server_of_header(v),
            (RecordedFound::Carried(id), _) => pool.index_of(*id),
            _ => None,
        }
    }

    /// Makes the client's server count as down in one of the ways there are, and lets the client return.
    fn fail(&mut self, pool: &mut Pool, at: ServerIndex, bound: &RecordedInput) {
        let now = Now(self.now);
        let mut input = RecordedInput { now, ..bound.clone() };
        match self.draw.below(5) {
            0 => self.push(pool, Step::State(at, ServerState::DOWN, now)),
            1 => self.push(pool, Step::State(at, ServerState::DISABLED, now)),
            2 => input.tried.push(at),
            3 => input.full.push(at),
            _ => self
                .push(pool, Step::State(at, ServerState { health: Health::Maintenance, enabled: true }, now)),
        }
        let decision = self.ask(pool, input.clone());
        if decision.reason.chosen_by == ChosenBy::Algorithm {
            // The new server fails as well.
            if let Verdict::Server(next) = decision.verdict {
                input.tried.push(next);
                self.ask(pool, input);
            }
        }
        let why = decision.reason.policy.map(|p| p.why);
        if why != Some(SkipWhy::Tried) && self.draw.below(2) == 0 {
            self.push(pool, Step::State(at, ServerState::UP, now));
        }
    }
}

//! Walks the rules for one request.

use alloc::vec::Vec;

use super::compile::{Compiled, Field, Policy, Step};
use super::config::{Edit, EscapedSlashes, Part, Redirect, Respond};
use super::path::{Ambiguous, Slash, compared};
use super::rate::Limiter;
use super::text::Text;
use crate::id::{GroupId, PoolId};
use crate::limits::{POLICY_PATH_MAX, RULES_MAX};
use crate::persist::cookie_line;
use crate::persist::key_value::Persist;
use crate::request::RequestView;
use crate::units::{Now, Seconds};

/// What changes per worker: rate limits, and room to work. Allocated once.
#[derive(Clone, Debug)]
pub struct State {
    limiters: Vec<Limiter>,
    path: Vec<u8>,
    /// The path with escaped slashes as separators, where they have two readings.
    split: Vec<u8>,
}

impl State {
    pub(super) fn new(limiters: Vec<Limiter>, paths: Option<EscapedSlashes>) -> Self {
        // The compared form is at most one byte longer than the path.
        let split = if paths == Some(EscapedSlashes::Compare) { POLICY_PATH_MAX + 1 } else { 0 };
        Self { limiters, path: Vec::with_capacity(POLICY_PATH_MAX + 1), split: Vec::with_capacity(split) }
    }
}

impl Policy {
    /// The state of one worker of `workers`: rate limits, and room to work.
    pub fn state(&self, workers: u16) -> State {
        State::new(self.rates.iter().map(|r| Limiter::new(r, workers)).collect(), self.paths)
    }
}

/// How the walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'p> {
    /// The request goes on.
    Proceed,
    /// Send the client elsewhere.
    Redirect(&'p Redirect),
    /// Answer from here.
    Respond(&'p Respond),
    /// Close the connection.
    Close,
    /// The rate is exceeded: answer with this status, or close if it is 0.
    RateLimited(u16),
    /// The path is too long for rules: answer 414.
    PathTooLong,
    /// Servers read different paths, so no rule can say anything of it: answer 400.
    PathAmbiguous,
}

/// By what a rule binds a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersistBy<'p> {
    part: &'p Part,
    lifetime: Seconds,
}

/// What the rules say of one request.
#[derive(Clone, Debug)]
pub struct Outcome<'p> {
    pub(super) policy: &'p Policy,
    matched: [u64; RULES_MAX / 64],
    /// How the walk ended.
    pub end: End<'p>,
    /// The pool that was chosen.
    pub pool: Option<PoolId>,
    /// The pool group that was chosen; never together with a pool.
    pub group: Option<GroupId>,
    persist: Option<PersistBy<'p>>,
    hash_by: Option<&'p Part>,
}

impl Policy {
    /// Walks the rules. Nothing is allocated.
    //= POL-ORDER-01
    //= POL-ORDER-03
    pub fn evaluate<'p, R: RequestView>(&'p self, state: &mut State, request: &R, now: Now) -> Outcome<'p> {
        let mut outcome = Outcome {
            policy: self,
            matched: [0; RULES_MAX / 64],
            end: End::Proceed,
            pool: None,
            group: None,
            persist: None,
            hash_by: None,
        };
        if self.rules.is_empty() {
            return outcome;
        }
        //= POL-PATH-02
        if request.path().len() > POLICY_PATH_MAX {
            outcome.end = End::PathTooLong;
            return outcome;
        }
        let State { limiters, path, split } = state;
        //= POL-PATH-03
        let Ok(paths) = self.read_path(request.path(), path, split) else {
            outcome.end = End::PathAmbiguous;
            return outcome;
        };
        for (i, rule) in self.rules.iter().enumerate() {
            if !rule.applies(request, &paths) {
                continue;
            }
            outcome.matched[i / 64] |= 1 << (i % 64);
            for step in &rule.actions {
                if let Some(end) = outcome.take(step, limiters, request, now) {
                    outcome.end = end;
                    return outcome;
                }
            }
        }
        outcome
    }
}

impl Policy {
    /// The readings of a path, one of which must fit: both are the same unless an escaped slash has two.
    //= POL-PATH-04
    fn read_path<'b>(
        &self,
        sent: &[u8],
        path: &'b mut Vec<u8>,
        split: &'b mut Vec<u8>,
    ) -> Result<Paths<'b>, Ambiguous> {
        path.clear();
        match self.paths {
            None => {}
            Some(EscapedSlashes::Refuse) => compared(sent, Slash::Refused, path)?,
            Some(EscapedSlashes::Compare) => {
                compared(sent, Slash::Data, path)?;
                compared(sent, Slash::Separator, split)?;
                if path != split {
                    return Ok(Paths { path, split: Some(split) });
                }
            }
        }
        Ok(Paths { path, split: None })
    }
}

/// The readings of a path.
struct Paths<'b> {
    path: &'b [u8],
    split: Option<&'b [u8]>,
}

impl Paths<'_> {
    /// Whether a condition holds for a reading: a rule that denies must not be passed by the other one.
    fn fit(&self, text: &Text) -> bool {
        text.holds(self.path) || self.split.is_some_and(|path| text.holds(path))
    }
}

impl<'p> Outcome<'p> {
    //= POL-ORDER-02
    fn take<R: RequestView>(
        &mut self,
        step: &'p Step,
        limiters: &mut [Limiter],
        request: &R,
        now: Now,
    ) -> Option<End<'p>> {
        let undecided = self.pool.is_none() && self.group.is_none();
        match step {
            Step::Pool(id) if undecided => self.pool = Some(*id),
            Step::Group(id) if undecided => self.group = Some(*id),
            Step::Redirect(r) => return Some(End::Redirect(r)),
            Step::Respond(r) => return Some(End::Respond(r)),
            Step::Close => return Some(End::Close),
            //= POL-RATE-03
            Step::RateLimit { limiter, status } => {
                let passes = limiters.get_mut(*limiter).is_none_or(|l| l.take(request.client().ip, now));
                return (!passes).then_some(End::RateLimited(*status));
            }
            Step::Persist(part, lifetime) => self.persist = Some(PersistBy { part, lifetime: *lifetime }),
            Step::HashBy(part) => self.hash_by = Some(part),
            // Edits are read from the matched rules when the message is written.
            Step::Pool(_) | Step::Group(_) | Step::Header(_) | Step::SetPath(_) => {}
            Step::ReplacePrefix(..) | Step::SetQuery(_) => {}
        }
        None
    }

    /// The names of the rules that applied, in order: for the log.
    pub fn rules(&self) -> impl Iterator<Item = &'p str> {
        self.matched().map(|r| r.name.as_str())
    }

    /// The place of the rule that ended the request, if one did.
    pub fn ended_by(&self) -> Option<usize> {
        match self.end {
            End::Proceed | End::PathTooLong | End::PathAmbiguous => None,
            // The walk ended with it, so it is the last one that matched.
            End::Redirect(_) | End::Respond(_) | End::Close | End::RateLimited(_) => {
                let word = self.matched.iter().rposition(|word| *word != 0)?;
                Some(word * 64 + self.matched[word].ilog2() as usize)
            }
        }
    }

    /// The edits of header fields, in order.
    pub fn edits(&self) -> impl Iterator<Item = &'p Edit> {
        self.steps().filter_map(|s| match s {
            Step::Header(edit) => Some(edit),
            _ => None,
        })
    }

    /// What the rules bind the client by; the pool is the one that was chosen.
    //= POL-PERSIST-01
    pub fn persist<'r, R: RequestView>(&self, request: &'r R) -> Option<Persist<'r>> {
        let by = self.persist?;
        let key = part(by.part, request)?;
        Some(Persist { key, lifetime: Some(by.lifetime), pool: self.pool })
    }

    /// The custom string of a consistent hash.
    pub fn hash_key<'r, R: RequestView>(&self, request: &'r R) -> Option<&'r [u8]> {
        part(self.hash_by?, request)
    }

    fn matched(&self) -> impl Iterator<Item = &'p Compiled> {
        let (rules, matched) = (&self.policy.rules, self.matched);
        rules.iter().enumerate().filter(move |(i, _)| matched[i / 64] >> (i % 64) & 1 == 1).map(|(_, r)| r)
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = &'p Step> {
        self.matched().flat_map(|r| r.actions.iter())
    }
}

impl Compiled {
    //= POL-MATCH-01
    fn applies<R: RequestView>(&self, request: &R, paths: &Paths<'_>) -> bool {
        let host = || {
            let host = request.host();
            host.strip_suffix(b".").unwrap_or(host)
        };
        (self.method.is_empty() || self.method.iter().any(|m| m == request.method()))
            && self.path.as_ref().is_none_or(|t| paths.fit(t))
            && self.host.as_ref().is_none_or(|t| t.holds(host()))
            && self.query.as_ref().is_none_or(|t| t.holds(request.query().unwrap_or(b"")))
            && self.client.as_ref().is_none_or(|(ranges, not)| ranges.contains(request.client().ip) != *not)
            && self.header.iter().all(|f| f.holds(|| request.headers(&f.name)))
            && self.cookie.iter().all(|f| {
                let name = f.name.as_bytes();
                f.holds(|| request.cookie_lines().flat_map(move |l| cookie_line::values(l, name)))
            })
    }
}

impl Field {
    //= POL-FIELD-01
    fn holds<'a, I: Iterator<Item = &'a [u8]>>(&self, values: impl Fn() -> I) -> bool {
        match &self.value {
            None => values().next().is_none() == self.absent,
            Some(text) => values().any(|v| text.fits(v)) != text.not,
        }
    }
}

fn part<'r, R: RequestView>(part: &Part, request: &'r R) -> Option<&'r [u8]> {
    let found = match part {
        Part::Header(name) => request.header(name),
        Part::Cookie(name) => {
            request.cookie_lines().find_map(|l| cookie_line::values(l, name.as_bytes()).next())
        }
        Part::Query(name) => request.query().and_then(|q| parameter(q, name.as_bytes())),
        Part::Path => Some(request.path()),
        Part::Host => Some(request.host()),
    };
    found.filter(|v| !v.is_empty())
}

fn parameter<'r>(query: &'r [u8], name: &[u8]) -> Option<&'r [u8]> {
    query.split(|b| *b == b'&').find_map(|p| p.strip_prefix(name)?.strip_prefix(b"="))
}

//! All connections of a worker that speak HTTP/2 to servers, and how they are lent and opened.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use forebay_http::Limits;
use forebay_http::h2::FRAME_HEAD;

use super::STREAMS_MAX;
use super::lane::WideAccount;
use super::link::Link;
use super::trunk::Trunk;
use crate::http::buffer::HeldAccount;
use crate::metrics::WorkerMetrics;
use crate::rt::{NEVER, Now, Rt};
use crate::tls::{Securable, Unreached};
use crate::upstream::{For, KeepRules, ServerConn, Unready, fits, ready};
use crate::worker::{Route, RouteServer, Worker};

/// The largest frame that is taken whole: all but DATA.
const FRAME_BYTES: usize = FRAME_HEAD + 16 * 1024;

/// What is read at once behind it: as much as over HTTP/1.1.
const READ_BYTES: usize = 64 * 1024;

/// Lends a part of a connection to a server of a route: of one that is there, or of a new one, by `deadline`. `limits` are
/// those of answers; `fresh`: no kept connection will do that carries one request after another, which is what a server gets that
/// has not chosen HTTP/2, where the route allows it.
///
/// # Errors
/// Why no connection is ready; `InvalidData`: the server does not speak HTTP/2. No byte of a request has left.
pub async fn part<R: Rt>(
    worker: &Worker<R>,
    route: &Route,
    target: &RouteServer,
    by: For<'_>,
    limits: &Limits,
    fresh: bool,
    deadline: Now,
) -> Result<ServerConn<Link<R>>, Unready> {
    let upstreams = &worker.upstreams;
    let trunks = &upstreams.trunks;
    loop {
        if let Some(conn) = trunks.lend(target, &route.keep, by.asked, limits) {
            if !upstreams.keeps(target.slot)
                && let Some(part) = conn.stream.part()
            {
                part.is_the_last();
            }
            return Ok(conn);
        }
        //= H2BACK-TLS-02
        let opening = if route.http2_fallback && trunks.is_old(target.slot) {
            if !fresh && let Some(conn) = upstreams.kept(target, &route.keep, by.asked) {
                return Ok(conn.map(Link::Own));
            }
            // Nobody waits for a connection that will carry one request at a time.
            trunks.open(target.slot, by.asked)
        } else {
            match trunks.want(target.slot, by.asked) {
                Wanted::Wait(waiting) => {
                    waiting.end(deadline).await?;
                    continue;
                }
                Wanted::Open(opening) => opening,
            }
        };
        let conn = match ready(worker, route, target, by, deadline).await {
            Ok(conn) => conn,
            Err(unready) => {
                opening.failed(Failed::of(&unready));
                return Err(unready);
            }
        };
        let is_old = conn.stream.session().is_some_and(|session| !session.is_http2());
        trunks.with(target.slot, |own| own.is_old = is_old);
        if is_old && route.http2_fallback {
            return Ok(conn.map(Link::Own));
        }
        //= H2BACK-TLS-01
        if is_old {
            opening.failed(Failed::Unopened(ErrorKind::InvalidData));
            return Err(Unready::Unopened(ErrorKind::InvalidData.into()));
        }
        let trunk = Trunk::begin(trunks, conn, *limits);
        opening.greet(trunk, deadline).await?;
    }
}

/// The connections of one worker.
pub struct Trunks<R: Rt> {
    pub(super) rt: R,
    pub(super) metrics: Arc<WorkerMetrics>,
    /// What waits for slow receivers, of the whole worker.
    pub(super) held: HeldAccount,
    /// Streams whose server may send more before it is taken, of the whole worker.
    pub(super) wide: WideAccount,
    /// Where all of them read into: bytes stay there no longer than a read takes.
    pub(super) intake: RefCell<Box<[u8]>>,
    /// By server slot.
    slots: RefCell<Vec<Slot<R>>>,
}

/// The connections to one server.
struct Slot<R: Rt> {
    trunks: Vec<Rc<Trunk<R>>>,
    /// Those that are being opened, by the name that the server is asked for.
    openings: Vec<Openings>,
    /// Streams that the server takes on a new connection, as far as that is known.
    expected: usize,
    /// It did not choose HTTP/2 the last time that it was asked.
    is_old: bool,
}

/// Connections that are being opened, all alike.
struct Openings {
    asked: Option<Box<[u8]>>,
    count: usize,
    /// Who waits for one of them.
    waiting: Vec<Waker>,
    waiters: usize,
    /// Attempts that are over.
    ended: u64,
    /// Attempts that failed, and how the last one did.
    failures: u64,
    failed: Failed,
}

/// How an attempt failed, for those who waited for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// Nobody wanted it any more.
    Dropped,
    Unopened(ErrorKind),
    Unsecured(Unreached),
}

impl Failed {
    fn of(unready: &Unready) -> Failed {
        match unready {
            Unready::Unopened(error) => Failed::Unopened(error.kind()),
            Unready::Unsecured(why) => Failed::Unsecured(*why),
        }
    }

    fn unready(self) -> Unready {
        match self {
            Failed::Dropped => Unready::Unopened(ErrorKind::ConnectionAborted.into()),
            Failed::Unopened(kind) => Unready::Unopened(kind.into()),
            Failed::Unsecured(why) => Unready::Unsecured(why),
        }
    }
}

impl<R: Rt> Default for Slot<R> {
    fn default() -> Self {
        Slot { trunks: Vec::new(), openings: Vec::new(), expected: STREAMS_MAX, is_old: false }
    }
}

impl<R: Rt> Slot<R> {
    /// Those that ask for a name.
    fn openings(&mut self, asked: Option<&[u8]>) -> &mut Openings {
        let same = |of: &Openings| match (&of.asked, asked) {
            (None, None) => true,
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            _ => false,
        };
        let at = self.openings.iter().position(same).unwrap_or_else(|| {
            self.openings.push(Openings {
                asked: asked.map(Box::from),
                count: 0,
                waiting: Vec::new(),
                waiters: 0,
                ended: 0,
                failures: 0,
                failed: Failed::Dropped,
            });
            self.openings.len() - 1
        });
        &mut self.openings[at]
    }

    /// Forgets names that nobody asks for.
    fn tidy(&mut self) {
        self.openings.retain(|of| of.count + of.waiters > 0);
    }
}

/// What to do for want of a connection.
enum Wanted<'a, R: Rt> {
    /// Open one.
    Open(Opening<'a, R>),
    /// One is being opened that will have room.
    Wait(Waiting<'a, R>),
}

impl<R: Rt> Trunks<R> {
    pub(in crate::upstream) fn new(rt: R, metrics: Arc<WorkerMetrics>, held: HeldAccount) -> Rc<Self> {
        let intake = vec![0; FRAME_BYTES + READ_BYTES].into_boxed_slice();
        Rc::new(Trunks {
            rt,
            metrics,
            held,
            wide: WideAccount::default(),
            intake: RefCell::new(intake),
            slots: RefCell::default(),
        })
    }

    fn with<T>(&self, slot: usize, with: impl FnOnce(&mut Slot<R>) -> T) -> T {
        let mut slots = self.slots.borrow_mut();
        if slots.len() <= slot {
            slots.resize_with(slot + 1, Slot::default);
        }
        with(&mut slots[slot])
    }

    fn all(&self, slot: usize) -> Vec<Rc<Trunk<R>>> {
        self.slots.borrow().get(slot).map(|slot| slot.trunks.clone()).unwrap_or_default()
    }

    /// Lends a part of the first connection to a server that takes one more request. The last ones are left over when
    /// there are fewer requests, grow idle and go.
    fn lend(
        &self,
        target: &RouteServer,
        rules: &KeepRules,
        asked: Option<&[u8]>,
        limits: &Limits,
    ) -> Option<ServerConn<Link<R>>> {
        let part = {
            let slots = self.slots.borrow();
            let trunks = &slots.get(target.slot)?.trunks;
            let mut fit = trunks
                .iter()
                .filter(|trunk| trunk.limits == *limits && fits(trunk.proof.as_ref(), target, asked));
            fit.find_map(|trunk| trunk.lend(rules))?
        };
        let trunk = part.trunk();
        let before = trunk.requests.get();
        trunk.requests.set(before.saturating_add(1));
        trunk.kept.set(rules.idle_max > 0 && rules.idle_us > 0);
        Some(ServerConn {
            requests: before,
            local: trunk.local,
            rtt_us: trunk.rtt_us,
            proof: None,
            opened: trunk.opened,
            idle_since: NEVER,
            slot: target.slot,
            life: None,
            stream: Link::Part(part),
        })
    }

    /// Says what to do when no connection has room: those that are being opened serve those who wait for them.
    //= H2BACK-POOL-03
    fn want<'a>(self: &Rc<Self>, slot: usize, asked: Option<&'a [u8]>) -> Wanted<'a, R> {
        let home = self.clone();
        self.with(slot, |own| {
            let expected = own.expected;
            let of = own.openings(asked);
            if of.count * expected > of.waiters {
                of.waiters += 1;
                Wanted::Wait(Waiting { home, slot, asked, failures: of.failures, ended: of.ended })
            } else {
                of.count += 1;
                Wanted::Open(Opening { home, slot, asked, failed: Failed::Dropped })
            }
        })
    }

    /// Says whether a server did not choose HTTP/2 the last time that it was asked.
    fn is_old(&self, slot: usize) -> bool {
        self.slots.borrow().get(slot).is_some_and(|own| own.is_old)
    }

    /// A connection is opened for one request, whoever else opens one.
    fn open<'a>(self: &Rc<Self>, slot: usize, asked: Option<&'a [u8]>) -> Opening<'a, R> {
        self.with(slot, |own| own.openings(asked).count += 1);
        Opening { home: self.clone(), slot, asked, failed: Failed::Dropped }
    }

    /// A server has said how many streams it takes on a connection.
    pub(super) fn learned(&self, slot: usize, streams: usize) {
        self.with(slot, |of| of.expected = streams.clamp(1, STREAMS_MAX));
    }

    /// The connection is closed.
    pub(super) fn forget(&self, trunk: &Rc<Trunk<R>>) {
        self.with(trunk.slot, |of| of.trunks.retain(|other| !Rc::ptr_eq(other, trunk)));
    }

    /// Closes those without a request that are idle for too long or too old; `rules` as for
    /// [`Upstreams::sweep`](crate::upstream::Upstreams::sweep).
    pub(in crate::upstream) fn sweep(&self, rules: impl Fn(usize) -> Option<KeepRules>) {
        let now = self.rt.now();
        for (slot, of) in self.slots.borrow().iter().enumerate().filter(|(_, of)| !of.trunks.is_empty()) {
            let rules = rules(slot);
            for trunk in &of.trunks {
                let idle = now.0.saturating_sub(trunk.idle_since.get().0);
                let over = rules.is_none_or(|rules| {
                    trunk.is_spent(&rules, now) || (trunk.lent() == 0 && idle >= rules.idle_us)
                });
                if over {
                    trunk.leave();
                }
            }
        }
    }

    /// Closes the connections to a server: at once, or with their last request.
    pub(in crate::upstream) fn leave(&self, slot: usize) {
        self.all(slot).iter().for_each(|trunk| trunk.leave());
    }

    /// Closes the connection that has been without a request for the longest time; `false` if there is none.
    pub(in crate::upstream) fn give_up_oldest(&self) -> bool {
        let slots = self.slots.borrow();
        let idle = slots.iter().flat_map(|of| &of.trunks);
        let idle = idle.filter(|trunk| trunk.lent() == 0 && !trunk.is_leaving());
        let Some(oldest) = idle.min_by_key(|trunk| trunk.idle_since.get()) else { return false };
        oldest.leave();
        // Its descriptor is free a turn later; it is not to be given up twice.
        oldest.life.take();
        true
    }
}

/// A connection that is being opened. When this is dropped, those who wait for it look for themselves.
struct Opening<'a, R: Rt> {
    home: Rc<Trunks<R>>,
    slot: usize,
    asked: Option<&'a [u8]>,
    failed: Failed,
}

impl<R: Rt> Opening<'_, R> {
    /// There will be none.
    fn failed(mut self, failed: Failed) {
        self.failed = failed;
    }

    /// Waits for what the server has to say first, and lets others have the connection. Only then is it known that the
    /// server speaks HTTP/2, and how many streams it takes: no request is lost to one that does not.
    ///
    /// # Errors
    /// `TimedOut` at the deadline; `InvalidData` if the server said something else, or went.
    //= H2BACK-POOL-04
    async fn greet(self, trunk: Rc<Trunk<R>>, deadline: Now) -> Result<(), Unready> {
        self.home.with(self.slot, |own| own.trunks.push(trunk.clone()));
        let greeted = {
            let mut greeting = pin!(trunk.greeting());
            let mut late = pin!(self.home.rt.sleep_until(deadline));
            poll_fn(|context| match greeting.as_mut().poll(context) {
                Poll::Ready(true) => Poll::Ready(Ok(())),
                Poll::Ready(false) => Poll::Ready(Err(ErrorKind::InvalidData)),
                Poll::Pending => late.as_mut().poll(context).map(|()| Err(ErrorKind::TimedOut)),
            })
            .await
        };
        greeted.map_err(|kind| {
            trunk.leave();
            self.failed(Failed::Unopened(kind));
            Unready::Unopened(kind.into())
        })
    }
}

impl<R: Rt> Drop for Opening<'_, R> {
    fn drop(&mut self) {
        let failed = self.failed;
        self.home.with(self.slot, |own| {
            let of = own.openings(self.asked);
            of.count -= 1;
            of.ended += 1;
            if failed != Failed::Dropped {
                of.failures += 1;
                of.failed = failed;
            }
            of.waiting.drain(..).for_each(Waker::wake);
            own.tidy();
        });
    }
}

/// Somebody who waits for a connection that is being opened.
struct Waiting<'a, R: Rt> {
    home: Rc<Trunks<R>>,
    slot: usize,
    asked: Option<&'a [u8]>,
    failures: u64,
    ended: u64,
}

impl<R: Rt> Waiting<'_, R> {
    /// Waits until one that was being opened is there, or is not.
    ///
    /// # Errors
    /// `TimedOut` at the deadline; else as the opening failed.
    async fn end(self, deadline: Now) -> Result<(), Unready> {
        let mut late = pin!(self.home.rt.sleep_until(deadline));
        let ended = poll_fn(|context| {
            let ended = self.home.with(self.slot, |own| {
                let of = own.openings(self.asked);
                if of.failures != self.failures {
                    return Some(Err(of.failed));
                }
                if of.ended != self.ended {
                    return Some(Ok(()));
                }
                of.waiting.push(context.waker().clone());
                None
            });
            match ended {
                Some(ended) => Poll::Ready(ended),
                None => late.as_mut().poll(context).map(|()| Err(Failed::Unopened(ErrorKind::TimedOut))),
            }
        });
        ended.await.map_err(Failed::unready)
    }
}

impl<R: Rt> Drop for Waiting<'_, R> {
    fn drop(&mut self) {
        self.home.with(self.slot, |own| {
            own.openings(self.asked).waiters -= 1;
            own.tidy();
        });
    }
}

//! The resource `pool`.

use alloc::vec::Vec;
use core::cell::RefCell;

use forebay_core::{
    id::{ServerIndex, SiteId},
    lb::{self, PoolConfig},
    units::{Micros, Now},
};

use crate::{
    bindings::exports::forebay::core::{
        decider::GuestPool,
        types::{self, Error, Problem},
    },
    input, output,
};

/// A pool of one worker. Calls of a component never overlap, so the cell is never borrowed twice.
pub struct Pool(RefCell<State>);

struct State {
    config: PoolConfig,
    pool: Option<lb::Pool>,
    /// Index and number of workers, once they are given.
    worker: Option<(u16, u16)>,
}

impl Pool {
    /// Runs `f` on the pool, if `index` is in it.
    //= COMP-ARG-01
    fn at(&self, index: u16, f: impl FnOnce(&mut lb::Pool, ServerIndex)) -> Result<(), Error> {
        let mut state = self.0.borrow_mut();
        if usize::from(index) >= state.config.servers.len() {
            return Err(Error::BadArgument);
        }
        let pool = state.pool.as_mut().ok_or(Error::BadArgument)?;
        f(pool, ServerIndex(index));
        Ok(())
    }
}

impl GuestPool for Pool {
    fn new(config: types::PoolConfig) -> Self {
        Self(RefCell::new(State { config: input::config(config), pool: None, worker: None }))
    }

    //= COMP-ARG-02
    fn set_servers(&self, servers: Vec<types::Server>, now: u64) -> Result<(), Vec<Problem>> {
        let state = &mut *self.0.borrow_mut();
        let config =
            PoolConfig { servers: servers.into_iter().map(input::server).collect(), ..state.config.clone() };
        let mut pool = lb::Pool::new(config.clone()).map_err(problems)?;
        match (&state.pool, state.worker) {
            (Some(old), _) => pool.carry_over(old, Now(now)),
            (None, Some((index, count))) => pool = pool.for_worker(index, count),
            (None, None) => {}
        }
        state.config = config;
        state.pool = Some(pool);
        Ok(())
    }

    fn for_worker(&self, index: u16, count: u16) {
        let state = &mut *self.0.borrow_mut();
        state.worker = Some((index, count));
        state.pool = state.pool.take().map(|pool| pool.for_worker(index, count));
    }

    fn set_state(&self, index: u16, new: types::ServerState, now: u64) -> Result<(), Error> {
        self.at(index, |pool, at| pool.set_state(at, input::state(new), Now(now)))
    }

    fn set_open_elsewhere(&self, index: u16, open: u32) -> Result<(), Error> {
        self.at(index, |pool, at| pool.set_open_elsewhere(at, open))
    }

    fn set_tasks(&self, index: u16, tasks: u32) -> Result<(), Error> {
        self.at(index, |pool, at| pool.set_tasks(at, tasks))
    }

    fn set_site(&self, site: u32, up: bool) {
        if let Some(pool) = &mut self.0.borrow_mut().pool {
            pool.set_site(SiteId(site), up);
        }
    }

    fn connection_opened(&self, index: u16) -> Result<(), Error> {
        self.at(index, |pool, at| pool.connection_opened(at))
    }

    fn connection_closed(&self, index: u16) -> Result<(), Error> {
        self.at(index, |pool, at| pool.connection_closed(at))
    }

    fn response_time(&self, index: u16, us: u64) -> Result<(), Error> {
        self.at(index, |pool, at| pool.response_time(at, Micros(us)))
    }

    fn transferred(&self, index: u16, bytes: u64, now: u64) -> Result<(), Error> {
        self.at(index, |pool, at| pool.transferred(at, bytes, Now(now)))
    }

    fn pick(&self, given: types::Input) -> Result<types::Decision, Error> {
        let state = &mut *self.0.borrow_mut();
        let servers = state.config.servers.len();
        let pool = state.pool.as_mut().ok_or(Error::BadArgument)?;
        let indices = given.tried.iter().chain(&given.full);
        if indices.into_iter().any(|index| usize::from(*index) >= servers) {
            return Err(Error::BadArgument);
        }
        Ok(input::with(&given, |input| output::decision(&forebay_core::decide(pool, input))))
    }
}

fn problems(from: Vec<forebay_core::Problem>) -> Vec<Problem> {
    from.into_iter()
        .map(|problem| Problem { path: problem.path, reason: problem.reason, fix: problem.fix })
        .collect()
}

//! A component of world `decide`, called with the core's own types.

use forebay_core::{
    Input,
    id::{ServerIndex, SiteId},
    lb::{PoolConfig, ServerConfig, ServerState},
    units::{Micros, Now},
};
use wasmtime::component::ResourceAny;

use crate::{
    bindings::{
        Decide,
        exports::forebay::core::types::{self as wit, Decision, Problem},
    },
    convert,
    engine::Loaded,
    errors::{Error, GuestError},
    guest::{Budget, Guest},
};

/// The core itself as a component: what simulators, other hosts and the parity test run. Kept in
/// `wasm/prebuilt` and rebuilt by `cargo xtask wasm`, so that building a host needs no WASM compiler.
pub const CORE_COMPONENT: &[u8] = include_bytes!("../../../wasm/prebuilt/forebay-core.wasm");

/// An instance of a decider; owned by one thread.
pub struct Decider {
    pub(crate) guest: Guest<Decide>,
}

/// A pool inside one instance. [`Error::Stale`] once that instance is gone.
#[derive(Debug)]
pub struct PoolHandle {
    resource: ResourceAny,
    generation: u64,
}

impl Decider {
    /// Instantiates a loaded component.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is no decider, [`Error::Unavailable`] if there is no room for another instance,
    /// and the guest's own faults.
    pub fn new(component: &Loaded, budget: Budget) -> Result<Self, Error> {
        let guest = Guest::new(component, budget, |store, instance| Decide::new(store, instance))?;
        Ok(Self { guest })
    }

    /// How many instances were lost; pools made before the last loss are gone with them.
    pub fn generation(&self) -> u64 {
        self.guest.generation()
    }

    /// Makes a pool with the servers of `config`.
    ///
    /// # Errors
    /// [`Error::Config`] with all problems of the configuration, and the guest's faults.
    pub fn pool(&mut self, config: &PoolConfig, now: Now) -> Result<PoolHandle, Error> {
        let (pool, servers) = (convert::config(config), convert::servers(&config.servers));
        let made = self.guest.call(|store, decide| {
            let api = decide.forebay_core_decider().pool();
            let resource = api.call_constructor(&mut *store, &pool)?;
            Ok(match api.call_set_servers(&mut *store, resource, &servers, now.0)? {
                Ok(()) => Ok(resource),
                Err(problems) => {
                    resource.resource_drop(store)?;
                    Err(problems)
                }
            })
        })?;
        let resource = made.map_err(|problems| Error::Config(problems.iter().map(sentence).collect()))?;
        Ok(PoolHandle { resource, generation: self.guest.generation() })
    }

    /// Replaces the servers of a pool; those in both lists keep what is known of them.
    ///
    /// # Errors
    /// As [`Decider::pool`], and [`Error::Stale`].
    pub fn set_servers(
        &mut self,
        pool: &PoolHandle,
        servers: &[ServerConfig],
        now: Now,
    ) -> Result<(), Error> {
        let servers = convert::servers(servers);
        self.call(pool, |store, decide, resource| {
            decide.forebay_core_decider().pool().call_set_servers(store, resource, &servers, now.0)
        })?
        .map_err(|problems| Error::Config(problems.iter().map(sentence).collect()))
    }

    /// Removes a pool from the instance.
    ///
    /// # Errors
    /// [`Error::Stale`] if it is gone already, and the guest's faults.
    pub fn drop_pool(&mut self, pool: PoolHandle) -> Result<(), Error> {
        self.call(&pool, |store, _, resource| resource.resource_drop(store))
    }

    /// Decides where one request goes.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::Guest`] for an index beyond the pool's list, and the guest's faults.
    pub fn pick(&mut self, pool: &PoolHandle, input: &Input<'_>) -> Result<Decision, Error> {
        let input = convert::input(input);
        self.call(pool, |store, decide, resource| {
            decide.forebay_core_decider().pool().call_pick(store, resource, &input)
        })?
        .map_err(refused)
    }

    /// Replays recorded scenarios: one answer per frame, in order.
    ///
    /// # Errors
    /// [`Error::Guest`] if a frame is not of this version, and the guest's faults. The time limit holds for all
    /// frames of the call together.
    pub fn pick_batch(&mut self, frames: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Error> {
        self.guest
            .call(|store, decide| decide.forebay_core_decider().call_pick_batch(store, frames))?
            .map_err(refused)
    }

    //= COMP-TRAP-02
    fn call<R>(
        &mut self,
        pool: &PoolHandle,
        f: impl FnOnce(&mut wasmtime::Store<crate::guest::State>, &Decide, ResourceAny) -> wasmtime::Result<R>,
    ) -> Result<R, Error> {
        if pool.generation != self.guest.generation() {
            return Err(Error::Stale);
        }
        self.guest.call(|store, decide| f(store, decide, pool.resource))
    }
}

/// The functions that tell a pool one thing each.
macro_rules! tell {
    ($($(#[$doc:meta])* $name:ident / $call:ident ($($arg:ident: $type:ty => $as:expr),*);)*) => {
        impl Decider {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// [`Error::Stale`], [`Error::Guest`] for an index beyond the pool's list, and the guest's faults.
                pub fn $name(&mut self, pool: &PoolHandle, at: ServerIndex, $($arg: $type),*) -> Result<(), Error> {
                    self.call(pool, |store, decide, resource| {
                        decide.forebay_core_decider().pool().$call(store, resource, at.0, $($as),*)
                    })?
                    .map_err(refused)
                }
            )*
        }
    };
}

tell! {
    /// Sets a server's state.
    set_state / call_set_state(state: ServerState => convert::state(state), now: Now => now.0);
    /// Sets how many connections other workers have open to a server.
    set_open_elsewhere / call_set_open_elsewhere(open: u32 => open);
    /// Sets a server's own report of its tasks.
    set_tasks / call_set_tasks(tasks: u32 => tasks);
    /// Counts a connection that was opened.
    connection_opened / call_connection_opened();
    /// Counts a connection that has ended.
    connection_closed / call_connection_closed();
    /// Feeds a server's time to first byte.
    response_time / call_response_time(time: Micros => time.0);
    /// Counts bytes exchanged with a server.
    transferred / call_transferred(bytes: u64 => bytes, now: Now => now.0);
}

impl Decider {
    /// Sets whether another site of the global service is up.
    ///
    /// # Errors
    /// [`Error::Stale`], and the guest's faults.
    pub fn set_site(&mut self, pool: &PoolHandle, site: SiteId, up: bool) -> Result<(), Error> {
        self.call(pool, |store, decide, resource| {
            decide.forebay_core_decider().pool().call_set_site(store, resource, site.0, up)
        })
    }

    /// Takes over the share of worker `index` of `count`, without connections.
    ///
    /// # Errors
    /// [`Error::Stale`], and the guest's faults.
    pub fn for_worker(&mut self, pool: &PoolHandle, index: u16, count: u16) -> Result<(), Error> {
        self.call(pool, |store, decide, resource| {
            decide.forebay_core_decider().pool().call_for_worker(store, resource, index, count)
        })
    }
}

pub(crate) fn refused(why: wit::Error) -> Error {
    Error::Guest(match why {
        wit::Error::BadArgument => GuestError::BadArgument,
        wit::Error::BadFrame => GuestError::BadFrame,
    })
}

fn sentence(problem: &Problem) -> String {
    let Problem { path, reason, fix } = problem;
    format!("{path}: {reason}; {fix}")
}

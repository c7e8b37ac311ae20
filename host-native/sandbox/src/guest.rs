//! One guest: an instance that is reused until it fails, and then replaced.

use wasmtime::{ResourceLimiter, Store, Trap, component::Instance};

use crate::{engine::Loaded, errors::Error, limits};

/// What a guest may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Time of one call, in milliseconds, 1 to [`limits::CALL_MS_MAX`]; a call ends at most one tick later.
    pub call_ms: u32,
    /// Linear memory of the instance, in bytes, at most [`limits::MEMORY_BYTES_MAX`].
    pub memory_bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { call_ms: limits::CALL_MS_DEFAULT, memory_bytes: limits::MEMORY_BYTES_DEFAULT }
    }
}

impl Budget {
    fn bounded(self) -> Self {
        Self {
            call_ms: self.call_ms.clamp(1, limits::CALL_MS_MAX),
            memory_bytes: self.memory_bytes.min(limits::MEMORY_BYTES_MAX),
        }
    }

    /// One more than fits the budget: the tick that is running may end at once.
    fn ticks(self) -> u64 {
        u64::from(self.call_ms) / limits::TICK_MS + 1
    }
}

/// What a store carries: the memory limit, and whether the guest ran into it.
pub(crate) struct State {
    memory_bytes: usize,
    refused: Option<usize>,
}

impl ResourceLimiter for State {
    //= COMP-LIMIT-03
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let allow = desired <= self.memory_bytes;
        if !allow {
            self.refused = Some(desired);
        }
        Ok(allow)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= limits::TABLE_ELEMENTS_MAX)
    }
}

/// A guest of one thread; `B` is what its exports are bound to.
///
/// Invariant: after a call that trapped, its instance is dropped before anything else runs in it.
pub(crate) struct Guest<B> {
    loaded: Loaded,
    bind: fn(&mut Store<State>, &Instance) -> wasmtime::Result<B>,
    budget: Budget,
    live: Option<(Store<State>, B)>,
    generation: u64,
}

impl<B> Guest<B> {
    /// Instantiates `loaded` and binds its exports.
    pub(crate) fn new(
        loaded: &Loaded,
        budget: Budget,
        bind: fn(&mut Store<State>, &Instance) -> wasmtime::Result<B>,
    ) -> Result<Self, Error> {
        let mut this =
            Self { loaded: loaded.clone(), bind, budget: budget.bounded(), live: None, generation: 0 };
        this.live = Some(this.instantiate()?);
        Ok(this)
    }

    /// The number of the instance that the next call runs in; handles of other instances are stale.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Runs `f` in the instance, a new one if the last failed.
    //= COMP-LIMIT-02
    //= COMP-TRAP-01
    pub(crate) fn call<R>(
        &mut self,
        f: impl FnOnce(&mut Store<State>, &B) -> wasmtime::Result<R>,
    ) -> Result<R, Error> {
        // Out of `self` while the guest runs: whatever way this function is left, a failed instance is not kept.
        let (mut store, bound) = match self.live.take() {
            Some(live) => live,
            None => self.instantiate()?,
        };
        store.set_epoch_deadline(self.budget.ticks());
        match f(&mut store, &bound) {
            Ok(value) => {
                self.live = Some((store, bound));
                Ok(value)
            }
            Err(why) => {
                self.generation += 1;
                Err(self.classify(store.data(), &why))
            }
        }
    }

    fn instantiate(&self) -> Result<(Store<State>, B), Error> {
        let engine = self.loaded.sandbox.engine();
        let mut store = Store::new(engine, State { memory_bytes: self.budget.memory_bytes, refused: None });
        store.limiter(|state| state);
        store.set_epoch_deadline(self.budget.ticks());
        let made = self
            .loaded
            .linker
            .instantiate(&mut store, &self.loaded.component)
            .and_then(|instance| (self.bind)(&mut store, &instance));
        match made {
            Ok(bound) => Ok((store, bound)),
            Err(why) if why.is::<Trap>() => Err(self.classify(store.data(), &why)),
            Err(why) if why.is::<wasmtime::PoolConcurrencyLimitError>() => {
                Err(Error::Unavailable(format!("{why:#}")))
            }
            Err(why) if store.data().refused.is_some() => Err(self.classify(store.data(), &why)),
            Err(why) => Err(Error::Refused(format!("{why:#}"))),
        }
    }

    fn classify(&self, state: &State, why: &wasmtime::Error) -> Error {
        if why.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
            return Error::Deadline { budget_ms: self.budget.call_ms };
        }
        // A guest whose memory was refused panics in its allocator; the refusal is the cause.
        match state.refused {
            Some(wanted) => Error::Memory { wanted, limit: state.memory_bytes },
            None => Error::Trap(format!("{why:#}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use wasmtime::component::TypedFunc;

    use super::*;
    use crate::engine::Sandbox;

    type Run = TypedFunc<(u32,), (u32,)>;

    /// Time that no loaded machine takes from a short call: only one test is about the deadline.
    const PATIENT: Budget = Budget { call_ms: 60_000, memory_bytes: limits::MEMORY_BYTES_DEFAULT };

    /// A component with one export `run: func(u32) -> u32` and this body.
    fn guest(sandbox: &Sandbox, body: &str, budget: Budget) -> Result<Guest<Run>, Error> {
        let text = format!(
            r#"(component
                (core module $m
                    (memory 1)
                    (global $calls (mut i32) (i32.const 0))
                    (func (export "run") (param $n i32) (result i32) {body}))
                (core instance $i (instantiate $m))
                (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run"))))"#
        );
        let loaded = sandbox.load(&wat::parse_str(text).expect("the test's own text is valid"))?;
        Guest::new(&loaded, budget, |store, instance| instance.get_typed_func(store, "run"))
    }

    fn run(guest: &mut Guest<Run>, n: u32) -> Result<u32, Error> {
        guest.call(|store, run| run.call(store, (n,))).map(|(result,)| result)
    }

    /// Counts its calls, and does what `n` says: 0 return, 1 trap, 2 loop for ever.
    const COUNTER: &str = "
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (if (i32.eq (local.get $n) (i32.const 1)) (then unreachable))
        (if (i32.eq (local.get $n) (i32.const 2)) (then (loop $l (br $l))))
        (global.get $calls)";

    //= test COMP-LIMIT-02
    #[test]
    fn an_endless_loop_ends_at_its_deadline_and_the_guest_lives_on() {
        let sandbox = Sandbox::new().expect("sandbox");
        let budget = Budget { call_ms: 100, ..Budget::default() };
        let mut guest = guest(&sandbox, COUNTER, budget).expect("guest");
        assert_eq!((run(&mut guest, 0), run(&mut guest, 0)), (Ok(1), Ok(2)));
        let begin = Instant::now();
        assert_eq!(run(&mut guest, 2), Err(Error::Deadline { budget_ms: 100 }));
        // Far above the budget, for a loaded machine; without a deadline it would never end.
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        assert_eq!(run(&mut guest, 0), Ok(1), "the next call finds a new instance");
    }

    //= test COMP-LIMIT-02
    #[test]
    fn a_deadline_counts_from_its_own_call() {
        let sandbox = Sandbox::new().expect("sandbox");
        let mut guest = guest(&sandbox, COUNTER, Budget { call_ms: 1_000, ..PATIENT }).expect("guest");
        for calls in 1..=10 {
            // Half of the budget passes before each call; ten times that is five budgets.
            for _ in 0..500 / limits::TICK_MS {
                sandbox.engine().increment_epoch();
            }
            assert_eq!(run(&mut guest, 0), Ok(calls), "an instance of any age has its full time");
        }
        assert_eq!(guest.generation(), 0);
    }

    //= test COMP-LIMIT-03
    #[test]
    fn a_memory_bomb_is_refused_at_its_limit() {
        let bomb = "(loop $l
            (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
            (br $l)) unreachable";
        let sandbox = Sandbox::new().expect("sandbox");
        let limit = 4 << 20;
        let budget = Budget { memory_bytes: limit, ..PATIENT };
        let mut guest = guest(&sandbox, bomb, budget).expect("guest");
        match run(&mut guest, 0) {
            Err(Error::Memory { wanted, limit: said }) => {
                assert_eq!(said, limit);
                assert!(wanted > limit && wanted <= limit + 16 * 65_536, "{wanted}");
            }
            other => panic!("{other:?}"),
        }
    }

    //= test COMP-LIMIT-03
    #[test]
    fn a_guest_that_copes_with_refused_memory_keeps_its_instance() {
        let ask = "(memory.grow (i32.const 10000))";
        let sandbox = Sandbox::new().expect("sandbox");
        let mut guest = guest(&sandbox, ask, PATIENT).expect("guest");
        assert_eq!(run(&mut guest, 0), Ok(u32::MAX));
        assert_eq!(guest.generation(), 0);
    }

    //= test COMP-TRAP-01
    #[test]
    fn a_trap_costs_one_guest_its_instance_and_no_other_guest_anything() {
        let sandbox = Sandbox::new().expect("sandbox");
        let mut broken = guest(&sandbox, COUNTER, PATIENT).expect("guest");
        let mut healthy = guest(&sandbox, COUNTER, PATIENT).expect("guest");
        assert_eq!((run(&mut broken, 0), run(&mut healthy, 0)), (Ok(1), Ok(1)));
        assert!(matches!(run(&mut broken, 1), Err(Error::Trap(_))));
        assert_eq!((run(&mut broken, 0), run(&mut healthy, 0)), (Ok(1), Ok(2)));
        assert_eq!((broken.generation(), healthy.generation()), (1, 0));
    }

    //= test COMP-TRAP-01
    #[test]
    fn a_thousand_traps_leave_no_instance_behind() {
        let sandbox = Sandbox::new().expect("sandbox");
        let mut guest = guest(&sandbox, COUNTER, PATIENT).expect("guest");
        // More than the pool has slots: one that was kept would be missed.
        for _ in 0..8 * limits::INSTANCES_MAX {
            assert!(matches!(run(&mut guest, 1), Err(Error::Trap(_))));
        }
        assert_eq!(run(&mut guest, 0), Ok(1));
    }

    //= test COMP-LIMIT-01
    #[test]
    fn a_full_pool_refuses_the_next_instance_and_nothing_else() {
        let sandbox = Sandbox::new().expect("sandbox");
        let first = guest(&sandbox, COUNTER, PATIENT).expect("guest");
        let loaded = first.loaded.clone();
        let mut all = vec![first];
        for _ in 1..limits::INSTANCES_MAX {
            let bind = |store: &mut Store<State>, instance: &Instance| instance.get_typed_func(store, "run");
            all.push(Guest::new(&loaded, PATIENT, bind).expect("there is room"));
        }
        match guest(&sandbox, COUNTER, PATIENT).map(|_| ()) {
            Err(Error::Unavailable(_)) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(all.first_mut().map(|guest| run(guest, 0)), Some(Ok(1)));
        all.pop();
        assert!(guest(&sandbox, COUNTER, PATIENT).is_ok());
    }

    //= test COMP-PURE-01
    #[test]
    fn a_component_that_imports_anything_is_refused_by_name() {
        let sandbox = Sandbox::new().expect("sandbox");
        let text = r#"(component (import "clock" (func)))"#;
        match sandbox.load(&wat::parse_str(text).expect("valid")).map(|_| ()) {
            Err(Error::Refused(why)) => assert!(why.contains("clock"), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_component_is_refused() {
        let sandbox = Sandbox::new().expect("sandbox");
        let module = wat::parse_str("(module)").expect("valid");
        for bytes in [&b"garbage"[..], b"", &module, b"(component)"] {
            assert!(matches!(sandbox.load(bytes).map(|_| ()), Err(Error::Refused(_))), "{bytes:?}");
        }
    }
}

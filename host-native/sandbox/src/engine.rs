//! The engine: compiler settings, the pool of instances, and the clock that stops guests.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    component::{Component, Linker},
};

use crate::{errors::Error, guest::State, limits};

/// One engine with its pool of instances. Cheap to clone; one per process is enough.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    /// Dropping it ends the ticker.
    _ticker: mpsc::Sender<()>,
}

/// A component, compiled and checked: it imports nothing.
#[derive(Clone)]
pub struct Loaded {
    pub(crate) sandbox: Sandbox,
    pub(crate) component: Component,
    pub(crate) linker: Arc<Linker<State>>,
}

impl Sandbox {
    /// Sets up the engine and starts its ticker thread, which ends with the last clone and the last guest.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the address space for the pool or the thread cannot be had.
    //= COMP-LIMIT-01
    pub fn new() -> Result<Self, Error> {
        let engine = Engine::new(&config()).map_err(|why| Error::Unavailable(format!("{why:#}")))?;
        let (sender, receiver) = mpsc::channel();
        // The ticker keeps no strong hold: an engine that nobody else has needs no clock.
        let weak = engine.weak();
        thread::Builder::new()
            .name("forebay-epoch".to_owned())
            .spawn(move || {
                let tick = Duration::from_millis(limits::TICK_MS);
                while receiver.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                    match weak.upgrade() {
                        Some(engine) => engine.increment_epoch(),
                        None => return,
                    }
                }
            })
            .map_err(|why| Error::Unavailable(format!("ticker thread: {why}")))?;
        Ok(Self { inner: Arc::new(Inner { engine, _ticker: sender }) })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// Compiles a component (the binary form). Takes tens of milliseconds: never on a worker's thread.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is too large, invalid, or imports anything.
    //= COMP-PURE-01
    pub fn load(&self, bytes: &[u8]) -> Result<Loaded, Error> {
        if bytes.len() > limits::COMPONENT_BYTES_MAX {
            let most = limits::COMPONENT_BYTES_MAX;
            return Err(Error::Refused(format!("{} bytes; at most {most} are loaded", bytes.len())));
        }
        // `from_binary` and not `new`: text is for tests.
        let component =
            Component::from_binary(self.engine(), bytes).map_err(|why| Error::Refused(format!("{why:#}")))?;
        let kind = component.component_type();
        if let Some((name, _)) = kind.imports(self.engine()).next() {
            return Err(Error::Refused(format!("it imports {name}; a decider is pure and imports nothing")));
        }
        Ok(Loaded { sandbox: self.clone(), component, linker: Arc::new(Linker::new(self.engine())) })
    }
}

fn config() -> Config {
    let mut pool = PoolingAllocationConfig::new();
    let cores = limits::INSTANCES_MAX * limits::CORE_INSTANCES_PER_COMPONENT;
    pool.total_component_instances(limits::INSTANCES_MAX)
        .total_core_instances(cores)
        .total_memories(limits::INSTANCES_MAX)
        .total_tables(cores)
        .max_core_instances_per_component(limits::CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(1)
        .max_memory_size(limits::MEMORY_BYTES_MAX)
        .table_elements(limits::TABLE_ELEMENTS_MAX);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(limits::STACK_BYTES)
        // Concurrency support makes every call several times as dear; a second engine has it when streams come.
        .concurrency_support(false)
        // Threads and relaxed vectors would let the same input give different bytes.
        .wasm_relaxed_simd(false)
        .relaxed_simd_deterministic(true)
        .cranelift_nan_canonicalization(true);
    config
}

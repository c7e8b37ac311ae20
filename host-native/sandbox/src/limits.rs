//! Every bound of the sandbox, with its reason.

/// Length of one epoch tick, in milliseconds. A deadline of k ticks falls k to k + 1 of them later; a shorter
/// tick would cost wake-ups without making scheduling any finer.
pub const TICK_MS: u64 = 1;

/// Default time of one call, in milliseconds: what one guest may hold up a core for.
pub const CALL_MS_DEFAULT: u32 = 2;

/// Longest time that a call may be given, in milliseconds (10 min), so that ticks cannot overflow.
pub const CALL_MS_MAX: u32 = 600_000;

/// Default linear memory of one instance, in bytes. A decider with a thousand servers needs about 1 MiB.
pub const MEMORY_BYTES_DEFAULT: usize = 16 << 20;

/// Most linear memory that any instance may be given, in bytes: the size of a slot of the pool.
pub const MEMORY_BYTES_MAX: usize = 256 << 20;

/// Instances of one sandbox that live at the same time, over all threads. Each reserves address space, not memory.
pub const INSTANCES_MAX: u32 = 128;

/// Core modules that one component may consist of: itself, its allocator shims, and adapters.
pub const CORE_INSTANCES_PER_COMPONENT: u32 = 8;

/// Elements of one table: indirect calls of one guest.
pub const TABLE_ELEMENTS_MAX: usize = 20_000;

/// Largest component that is loaded, in bytes. Compiling costs about 2 ms a kilobyte.
pub const COMPONENT_BYTES_MAX: usize = 16 << 20;

/// Native stack of one call, in bytes. Guests that recurse deeper trap.
pub const STACK_BYTES: usize = 512 << 10;

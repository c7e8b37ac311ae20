//! How many connections and table bytes follow from the memory setting and the file limit.

use forebay_snapshot::Engine;

/// Bytes that one client connection with its server connection is reckoned at, in the worst case that lasts:
/// - 20 KiB of the engine's: tasks, parsed heads and texts, a head of up to 8 KiB, and 4 KiB of a body that the receiver
///   does not take. `tests/e2e/slow` holds each kind of slow client to it; large buffers are not in it, because no
///   connection keeps one while it waits.
/// - [`LARGE_HEAD_BYTES`] for heads that are larger.
/// - 15 KiB of the kernel's: two sockets with their files and waits (4 KiB each), and some of what they queue, which the
///   kernel bounds by itself (`tcp_mem`).
///
/// What is the same for any number of connections belongs to the process: 2 MiB of held bodies, 4 MiB of buffers and
/// working sets kept for reuse, a pipe of 1 MiB, which is empty whenever the worker waits, on each worker.
pub const CONNECTION_BYTES: u64 = 40 << 10;
/// The part of [`CONNECTION_BYTES`] that large heads share: every ninth connection may be in the middle of a head of the
/// default's full 48 KiB.
pub const LARGE_HEAD_BYTES: usize = 5 << 10;
/// What large heads of a worker have together at least: a few of the largest size that can be configured.
pub const LARGE_HEADS_BYTES_MIN: usize = 1 << 20;
/// Percent of the memory for code, metrics, logs and probes.
pub const PROCESS_PERCENT: u64 = 10;
/// Percent of the memory for the sessions of TLS that services keep by ID: what 40 services may have of 2 GiB. Others that
/// need it are shared out as far as it goes, and who finds no room there makes a whole handshake.
pub const SESSIONS_PERCENT: u64 = 2;
/// Bytes that one of them is reckoned at: an ordinary one has 450 with its places, one of a client with a certificate some
/// KiB and so the place of several.
pub const SESSION_BYTES: u64 = 512;
/// File descriptors kept back for logs, the admin socket, metrics clients and what libraries open.
pub const DESCRIPTORS_KEPT: u64 = 64;
/// File descriptors that one client connection may need: its own and one to a server.
pub const DESCRIPTORS_PER_CONNECTION: u64 = 2;
/// Fewest connections that a process can do anything useful with.
pub const CONNECTIONS_MIN: u64 = 8;

/// What the process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Client connections of the process at the same time.
    pub connections_max: u64,
    /// Client connections of one worker at the same time.
    pub connections_per_worker: usize,
    /// File descriptors of one worker for connections to clients and servers, idle ones included.
    pub descriptors_per_worker: usize,
    /// Bytes for persistence tables.
    pub table_bytes: u64,
    /// Bytes for the sessions of TLS that all services keep by ID.
    pub session_bytes: u64,
    /// What bounds the connections, for the log.
    pub bound_by: Bound,
}

/// What bounds the number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// `memory_gib` and `connection_memory_percentage`.
    Memory,
    /// The memory limit of the control group, which is below `memory_gib`.
    Group,
    /// The limit of file descriptors.
    Files,
}

impl Bound {
    /// The bound's word in outputs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory_gib",
            Self::Group => "memory limit of the control group",
            Self::Files => "file limit (ulimit -n)",
        }
    }
}

/// What else needs file descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Worker threads.
    pub workers: u64,
    /// Addresses that are listened on.
    pub listeners: u64,
    /// Probes that may be under way.
    pub probes: u64,
    /// Bytes of memory that the control group allows; `None`: as many as there are.
    pub group_bytes: Option<u64>,
}

/// Shares out memory and file descriptors.
///
/// `files` is the limit of file descriptors after it was raised.
///
/// # Errors
/// The descriptors needed when so few are allowed that not even [`CONNECTIONS_MIN`] connections are left.
//= CFG-LIMIT-01
//= CFG-LIMIT-02
pub fn derive(engine: &Engine, files: u64, needs: Needs) -> Result<Sizes, u64> {
    let wanted = u64::from(engine.memory_gib) << 30;
    //= CFG-LIMIT-03
    let memory = needs.group_bytes.map_or(wanted, |group| group.min(wanted));
    let by = if memory < wanted { Bound::Group } else { Bound::Memory };
    let shared = memory / 100 * (100 - PROCESS_PERCENT - SESSIONS_PERCENT);
    let connection_bytes = shared / 100 * u64::from(engine.connection_memory_percentage);
    let by_memory = connection_bytes / CONNECTION_BYTES;
    // Each worker has a ring, an eventfd, a pipe and a duplicate of each listening socket; the supervisor keeps its own.
    let kept = DESCRIPTORS_KEPT + needs.workers * (8 + 2 * needs.listeners) + needs.probes.min(files / 8);
    let for_connections = files.saturating_sub(kept);
    let by_files = for_connections / DESCRIPTORS_PER_CONNECTION;
    if by_files < CONNECTIONS_MIN {
        return Err(kept + CONNECTIONS_MIN * DESCRIPTORS_PER_CONNECTION);
    }
    let (connections_max, bound_by) =
        if by_files < by_memory { (by_files, Bound::Files) } else { (by_memory.max(CONNECTIONS_MIN), by) };
    let table = shared - connection_bytes;
    let table_bytes = match engine.persistence_mem_max_bytes {
        0 => table,
        bound => table.min(bound),
    };
    let per_worker = connections_max.div_ceil(needs.workers.max(1));
    let connections_per_worker = usize::try_from(per_worker).unwrap_or(usize::MAX);
    // Never less than its connections need: the rounding is within what is kept back.
    let descriptors = for_connections / needs.workers.max(1);
    let descriptors_per_worker =
        usize::try_from(descriptors.max(per_worker * DESCRIPTORS_PER_CONNECTION)).unwrap_or(usize::MAX);
    Ok(Sizes {
        connections_max,
        connections_per_worker,
        descriptors_per_worker,
        table_bytes,
        session_bytes: memory / 100 * SESSIONS_PERCENT,
        bound_by,
    })
}

/// Bytes that heads on a worker with so many connections may have together beyond their first buffers.
//= SE-HEAD-01
pub fn large_heads_bytes(connections_per_worker: usize) -> usize {
    connections_per_worker.saturating_mul(LARGE_HEAD_BYTES).max(LARGE_HEADS_BYTES_MIN)
}

/// What somebody gets of `bytes` who wants `own` of the `wanted` that all want: all of it, or its part if there is less.
pub fn part_of(bytes: u64, own: u64, wanted: u64) -> u64 {
    match u128::from(own) * u128::from(bytes) / u128::from(wanted.max(1)) {
        part if wanted > bytes => u64::try_from(part).unwrap_or(u64::MAX),
        _ => own,
    }
}

/// Raises the soft limit of file descriptors to the hard one and returns it.
///
/// # Errors
/// The system's, if the limit cannot even be read.
pub fn raise_file_limit() -> std::io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a valid rlimit that outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        let wanted = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        // SAFETY: the pointer is to a valid rlimit that outlives the call.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) } == 0 {
            limit = wanted;
        }
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Needs = Needs { workers: 2, listeners: 1, probes: 2, group_bytes: None };

    fn engine(memory_gib: u16) -> Engine {
        Engine { memory_gib, ..Engine::default() }
    }

    //= test CFG-LIMIT-01
    #[test]
    fn memory_is_shared_between_connections_and_tables_and_never_given_twice() {
        for memory_gib in [1, 2, 16, 128] {
            for percent in [10, 50, 90] {
                let engine = Engine { connection_memory_percentage: percent, ..engine(memory_gib) };
                let sizes = derive(&engine, u64::MAX, NEEDS).expect("files enough");
                let used = sizes.connections_max * CONNECTION_BYTES + sizes.table_bytes + sizes.session_bytes;
                assert!(used <= (u64::from(memory_gib) << 30) * 90 / 100, "{sizes:?}");
                assert_eq!(sizes.bound_by, Bound::Memory);
            }
        }
        let bounded = Engine { persistence_mem_max_bytes: 1 << 20, ..engine(2) };
        assert_eq!(derive(&bounded, u64::MAX, NEEDS).map(|s| s.table_bytes), Ok(1 << 20));
    }

    //= test TLS-ID-03
    #[test]
    fn sessions_get_what_they_want_or_their_part_and_never_more_than_there_is() {
        assert_eq!(part_of(100, 60, 100), 60);
        assert_eq!(part_of(100, 60, 120), 50);
        assert_eq!(part_of(0, 60, 60), 0);
        assert_eq!(part_of(100, 0, 0), 0);
        let sizes = derive(&engine(2), u64::MAX, NEEDS).expect("files enough");
        let wanted = [2_048 * SESSION_BYTES, 16_384 * SESSION_BYTES].repeat(500);
        let all = wanted.iter().sum();
        let given: u64 = wanted.iter().map(|own| part_of(sizes.session_bytes, *own, all)).sum();
        assert!((sizes.session_bytes - 1_000..=sizes.session_bytes).contains(&given), "{given}");
    }

    //= test CFG-LIMIT-03
    #[test]
    fn a_control_group_that_allows_less_bounds_everything_and_one_that_allows_more_nothing() {
        let within =
            |group_bytes| derive(&engine(2), u64::MAX, Needs { group_bytes, ..NEEDS }).expect("files");
        let sizes = within(Some(256 << 20));
        assert_eq!(sizes.bound_by, Bound::Group);
        assert!(sizes.connections_max * CONNECTION_BYTES + sizes.table_bytes <= (256 << 20) * 90 / 100);
        assert_eq!(within(Some(8 << 30)), within(None));
        assert_eq!(within(Some(0)).connections_max, CONNECTIONS_MIN);
    }

    //= test CFG-LIMIT-02
    #[test]
    fn few_file_descriptors_bound_the_connections_and_too_few_are_refused() {
        let sizes = derive(&engine(2), 1_024, NEEDS).expect("a few connections");
        assert_eq!((sizes.connections_max, sizes.bound_by), (469, Bound::Files));
        assert!(sizes.connections_per_worker as u64 * 2 >= sizes.connections_max);
        assert_eq!(sizes.descriptors_per_worker, 470, "its clients, each with a server, and no more");
        assert_eq!(derive(&engine(2), 64, NEEDS), Err(102));
        let sizes = derive(&engine(1), 1 << 20, NEEDS).expect("plenty");
        assert_eq!(sizes.bound_by, Bound::Memory);
        assert!(sizes.descriptors_per_worker as u64 * 2 <= 1 << 20, "within the limit");
        assert!(
            sizes.descriptors_per_worker > 4 * sizes.connections_per_worker,
            "idle ones may use the rest"
        );
    }
}

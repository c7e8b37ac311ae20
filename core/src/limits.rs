//! Every bound of the decision core, with the reason for the number.

/// Servers in a pool: the API's own bound.
pub const SERVERS_MAX: usize = 5_000;
/// Highest server ratio: the API's own bound.
pub const RATIO_MAX: u8 = 20;
/// Highest ratio of a pool in a pool group: the API's own bound.
pub const GROUP_RATIO_MAX: u16 = 1_000;
/// Pools in a pool group: the choice looks at each of them.
pub const GROUP_MEMBERS_MAX: usize = 256;
/// Skipped servers that a reason record names; the rest is counted. A retry loop tries at most five servers,
/// and a longer list is read in the health view, not in a log line.
pub const SKIPPED_NAMED_MAX: usize = 4;
/// Effects of one decision: a table write or touch, a cookie, a ticket.
pub const EFFECTS_MAX: usize = 3;
/// Cookies of one name that are handed to the host for opening. Browsers send two at most (one per path);
/// each costs the host an AEAD operation, so a client cannot make it open more.
pub const SEALED_CANDIDATES_MAX: usize = 3;
/// Longest value by which an application cookie or a script may know a client. Session identifiers of the
/// known frameworks are below 128 bytes; longer ones identify nobody we should remember.
pub const OPAQUE_KEY_MAX: usize = 256;
/// Longest TLS session identifier (RFC 8446, 4.1.2).
pub const TLS_SESSION_ID_MAX: usize = 32;
/// Longest persistence timeout of table kinds, in minutes: the API's own bound.
pub const TABLE_TIMEOUT_MAX_MIN: u32 = 720;
/// Longest timeout of an inserted cookie, in minutes: the API's own bound.
pub const COOKIE_TIMEOUT_MAX_MIN: u32 = 14_400;
/// Longest cookie name: the name stands in every request and response.
pub const COOKIE_NAME_MAX: usize = 64;
/// Longest value of a server's custom header.
pub const HEADER_VALUE_MAX: usize = 256;
/// Longest graceful disable, in minutes: the API's own bound.
pub const GRACE_MAX_MIN: u32 = 7_200;
/// Longest grace of a server found down, in seconds.
pub const DOWN_GRACE_MAX_S: u32 = 432_000;
/// Requests that may wait for a server: the API's own default and a bound on memory.
pub const QUEUE_DEPTH_MAX: u32 = 65_535;
/// Slots of a consistent-hash table: a prime, 256 KiB, built in 2 ms, the same for every pool, because another
/// number of slots would move almost all keys. Measured over 2 to 5,000 servers: a lost server moves at most
/// 0.75 % of the keys beyond its own, shares differ by one slot (1 in 26 at 5,000 servers).
pub const HASH_SLOTS: u32 = 131_071;
/// Slots that a look-up tries before it scans the pool, when servers are down or full. With half of the
/// servers out, 16 tries fail once in 65,000 look-ups.
pub const HASH_PROBES_MAX: u32 = 16;
/// Draws of "random, two choices" before it scans the pool.
pub const RANDOM_DRAWS_MAX: u32 = 32;
/// Smallest share of its weight that a starting server gets, in thousandths: below it, a server that
/// starts alone among busy ones would not see the traffic that warms it.
pub const RAMP_START_MILLI: u32 = 50;
/// Longest slow start, in minutes.
pub const RAMP_MAX_MIN: u32 = 300;
/// Rules of one virtual service: a request walks through all of them.
pub const RULES_MAX: usize = 256;
/// Values of one match, its groups aside.
pub const MATCH_VALUES_MAX: usize = 256;
/// Values of one string group, prefixes of one address group.
pub const GROUP_VALUES_MAX: usize = 16_384;
/// Actions of one rule.
pub const ACTIONS_MAX: usize = 32;
/// Longest glob. Matching costs at most its length times the value's: 128 x 8 KiB is below a millisecond.
pub const GLOB_MAX: usize = 128;
/// Longest path that rules are asked about. Longer ones are refused with 414, because a rule that protects a
/// path must not be passed by making it longer.
pub const POLICY_PATH_MAX: usize = 16 * 1_024;
/// Buckets of a rate limit per client: 64 KiB a rule and worker.
pub const RATE_BUCKETS: usize = 4_096;
/// Buckets that a client may fall into: more would cost time, fewer would let two busy clients collide.
pub const RATE_WAYS: usize = 4;
/// Highest count of a rate limit, and its longest period in milliseconds (one day): their product with the
/// number of workers fits in 64 bits.
pub const RATE_COUNT_MAX: u32 = 1_000_000;
/// See [`RATE_COUNT_MAX`].
pub const RATE_PERIOD_MAX_MS: u32 = 86_400_000;
/// Turns that are taken in advance to spread the workers over a round: more would make a large pool slow to
/// build, and in a large pool the first servers are few anyway.
pub const WORKER_STEPS_MAX: usize = 256;

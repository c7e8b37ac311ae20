//! Every bound of the table, with its reason.

/// Keys that share one bucket: three keys, three values and a word of flags fill one 64-byte cache line.
pub const KEYS_PER_BUCKET: usize = 3;

/// Bytes of three slots: the line of their keys, the line of their lives, and half a line of versions.
pub const BUCKET_BYTES: u64 = 64 + 64 + 32;

/// Share of a partition's slots that may be filled, in percent.
///
/// With two choices of three slots random placement works up to 95.9 % of a large table. Filled to 92 %, 0 of
/// 300 partitions of 2,400 slots and 0 of 40 of 11,000 had a key without a free slot in reach (at 94 %: 15
/// and 1); such a key costs another than the oldest entry its place.
pub const LOAD_PERCENT_MAX: u64 = 92;

/// Buckets that one insert may look at while it searches for a free slot: about 10 µs at most.
pub const MOVES_SEEN_MAX: usize = 256;

/// The table is cut into at most 2^20 partitions: 128 GiB at the size below.
pub const PARTITION_BITS_MAX: u8 = 20;

/// Slots of one partition at most: 1,024 partitions at ten million entries.
///
/// Fewer and larger ones are faster (at 4,096 partitions their headers no longer stay in the second-level
/// cache: a cold look-up cost 7 % more) and smaller (2 bytes an entry, because the numbers of keys scatter
/// less). A whole turn of the clock hand stays below 400 µs; it can be taken in slices.
pub const PARTITION_SLOTS_MAX: u64 = 16_384;

/// Fewest buckets of a partition: a key needs two different ones, and fewer than eight cannot be filled well.
pub const PARTITION_BUCKETS_MIN: u32 = 8;

/// Digests divide the hash space into at most 4,096 buckets of 16 sub-buckets.
pub const DIGEST_BITS_MAX: u8 = 16;

/// Digest cells of one table in one partition are at most 2^6, so that a small table has a small digest. Two
/// engines compare at the coarser of their divisions: sums of cells are the cells of that one.
pub const DIGEST_BITS_PER_PARTITION_MAX: u8 = 6;

/// Bytes of a digest cell.
pub const DIGEST_CELL_BYTES: u64 = 24;

/// Bytes a partition costs besides its slots and digests: its header, its lock, the list of the oldest, the
/// reserve for counts that do not fit (1 KiB), and what rounding three blocks up to pages costs.
pub const PARTITION_BYTES: u64 = 8_192;

/// Tables of one service engine over its life. An id is not given twice, so that a worker that still holds
/// yesterday's catalog cannot write into somebody else's table.
pub const TABLES_MAX: usize = 65_535;
/// So many numbers of removed tables rest before one is given again. What has to do with a removed table is refused however
/// soon that is; a table is rarely asked for by who does not know yet that it is gone, and its number means another one.
pub const TABLES_FREE_KEPT: usize = 1_024;

/// Time-out classes of one table: the entry has four bits for it.
pub const CLASSES_MAX: usize = 16;

/// Service engines that share a virtual service: one bit each in the open set.
pub const ENGINES_MAX: u8 = 64;

/// Local connections that an entry counts by itself (12 bits); the rest stands in a list of the partition.
pub const OPEN_INLINE_MAX: u32 = 4_095;

/// Places reserved in that list. Each stands for one key with more than [`OPEN_INLINE_MAX`] connections, so
/// more of them in one partition than this needs 65,000 connections; then the list grows.
pub const OVERFLOW_RESERVED: usize = 16;

/// Entries found in one search for the oldest: the search reads the whole partition (40 µs), so it is
/// shared by this many evictions.
pub const OLDEST_KEPT: usize = 32;

/// A tombstone lives one hour: an engine that was away longer joins empty.
pub const TOMBSTONE_SECONDS: u32 = 3_600;

/// Ages above this many ticks (4.2 years) are written down as this, so that differences never wrap.
pub const AGE_TICKS_MAX: u32 = 1 << 30;

/// Milliseconds by which stamps run ahead of the group's time at most: 65,536 writes of a partition in each millisecond
/// would be needed to get there. Time that goes back by more did so on purpose.
pub const STAMP_AHEAD_MAX_MS: u64 = 1_800_000;

/// A delete moves the count of switches to the next multiple of this, above every switch it did not see.
pub const SWITCHES_PER_DELETE: u32 = 65_536;

/// Birth minutes since 1970 have 26 bits: up to the year 2097, then they stay.
pub const BIRTH_MAX: u32 = (1 << 26) - 1;

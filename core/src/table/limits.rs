//! Every bound of the table, with its reason.

/// Keys that share one bucket: three keys, three values and a word of flags fill one 64-byte cache line.
pub const KEYS_PER_BUCKET: usize = 3;

/// Bytes of one slot: a third of a bucket (21.3) and one cold record (32).
///
/// In thirds of a byte, so that the arithmetic stays whole.
pub const SLOT_BYTES_X3: u64 = 64 + 3 * 32;

/// Share of a partition's slots that may be filled, in percent.
///
/// With two choices of three slots random placement works up to 95.9 %; below 94 % a free slot is found
/// within [`MOVES_SEEN_MAX`] buckets but for a handful of ten million inserts.
pub const LOAD_PERCENT_MAX: u64 = 94;

/// Buckets that one insert may look at while it searches for a free slot: about 10 µs at most.
pub const MOVES_SEEN_MAX: usize = 256;

/// The table is cut into at most 2^20 partitions: 128 GiB at the size below.
pub const PARTITION_BITS_MAX: u8 = 20;

/// Slots of one partition at most; a whole turn of its clock hand then stays below 150 µs.
pub const PARTITION_SLOTS_MAX: u64 = 4_096;

/// Fewest buckets of a partition: a key needs two different ones, and fewer than eight cannot be filled well.
pub const PARTITION_BUCKETS_MIN: u32 = 8;

/// Digest buckets have 12 bits, their sub-buckets 4 more: what two service engines compare does not depend
/// on how much memory each of them has.
pub const DIGEST_BITS: u8 = 16;

/// Bytes a partition costs besides its slots and digests: its header, its lock, the list of the oldest, the
/// reserve for counts that do not fit, and what the allocator adds to four blocks.
pub const PARTITION_BYTES: u64 = 896;

/// Tables of one service engine over its life. An id is not given twice, so that a worker that still holds
/// yesterday's catalog cannot write into somebody else's table.
pub const TABLES_MAX: usize = 65_535;

/// Time-out classes of one table: the entry has four bits for it.
pub const CLASSES_MAX: usize = 16;

/// Service engines that share a virtual service: one bit each in the open set.
pub const ENGINES_MAX: u8 = 64;

/// Local connections that an entry counts by itself (12 bits); the rest stands in a list of the partition.
pub const OPEN_INLINE_MAX: u32 = 4_095;

/// Places reserved in that list. Each stands for one key with more than [`OPEN_INLINE_MAX`] connections, so
/// more of them in one partition than this needs 65,000 connections; then the list grows.
pub const OVERFLOW_RESERVED: usize = 16;

/// Entries found in one search for the oldest: the search reads the whole partition (10 µs), so it is
/// shared by this many evictions.
pub const OLDEST_KEPT: usize = 32;

/// A tombstone lives one hour: an engine that was away longer joins empty.
pub const TOMBSTONE_SECONDS: u32 = 3_600;

/// Ages above this many ticks (4.2 years) are written down as this, so that differences never wrap.
pub const AGE_TICKS_MAX: u32 = 1 << 30;

/// A delete moves the count of switches to the next multiple of this, above every switch it did not see.
pub const SWITCHES_PER_DELETE: u32 = 65_536;

/// Birth minutes since 1970 have 26 bits: up to the year 2097, then they stay.
pub const BIRTH_MAX: u32 = (1 << 26) - 1;

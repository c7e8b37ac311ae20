//! How much memory becomes how many partitions of how many buckets.

use super::catalog::Key;
use super::limits::{
    DIGEST_BITS, KEYS_PER_BUCKET, LOAD_PERCENT_MAX, PARTITION_BITS_MAX, PARTITION_BUCKETS_MIN,
    PARTITION_BYTES, PARTITION_SLOTS_MAX, SLOT_BYTES_X3,
};

/// Number of a partition, 0 to [`Geometry::partitions`] - 1.
pub type PartitionIndex = u32;

/// The cut of one table: decided once at start, never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    partition_bits: u8,
    buckets: u32,
}

/// The memory given is too small for a table, or larger than one can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeometryProblem {
    /// What was asked for, in bytes.
    pub asked: u64,
    /// What would have been possible, in bytes.
    pub possible: (u64, u64),
}

impl core::fmt::Display for GeometryProblem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (low, high) = self.possible;
        write!(f, "{} bytes for the persistence table: give {low} to {high} bytes", self.asked)
    }
}

impl core::error::Error for GeometryProblem {}

impl Geometry {
    /// Cuts `bytes` of memory: everything that partitions reserve, their locks included, digests of
    /// `synced_tables` synchronised tables too.
    ///
    /// # Errors
    /// Too little for one small partition, or more than 2^20 partitions can use.
    //= TBL-MEMORY-01
    pub fn for_memory(bytes: u64, synced_tables: u32) -> Result<Self, GeometryProblem> {
        let problem = GeometryProblem { asked: bytes, possible: (Self::LEAST, Self::MOST) };
        if !(Self::LEAST..=Self::MOST).contains(&bytes) {
            return Err(problem);
        }
        let mut partition_bits = 0;
        while (bytes >> partition_bits).saturating_mul(3) / SLOT_BYTES_X3 > PARTITION_SLOTS_MAX {
            partition_bits += 1;
        }
        let share = bytes >> partition_bits;
        let digests = cells_of(partition_bits).saturating_mul(synced_tables as u64) * 24;
        let buckets = share.saturating_sub(PARTITION_BYTES + digests) / SLOT_BYTES_X3;
        match u32::try_from(buckets) {
            Ok(buckets) if buckets >= PARTITION_BUCKETS_MIN => Ok(Self { partition_bits, buckets }),
            _ => Err(problem),
        }
    }

    /// Cuts so that `entries` random keys fit without evicting anything: partitions get unequal numbers of
    /// keys, so each has room for its mean and 4.5 standard deviations.
    pub fn for_entries(entries: u64) -> Result<Self, GeometryProblem> {
        let with = |bits: u8| {
            let mean = entries >> bits;
            let most = mean + (mean.saturating_mul(81) / 4).isqrt() + KEYS_PER_BUCKET as u64 * 2;
            most.saturating_mul(100).div_ceil(LOAD_PERCENT_MAX).div_ceil(KEYS_PER_BUCKET as u64)
        };
        let mut partition_bits = 0;
        while with(partition_bits) * KEYS_PER_BUCKET as u64 > PARTITION_SLOTS_MAX {
            partition_bits += 1;
            if partition_bits > PARTITION_BITS_MAX {
                let asked = entries.saturating_mul(SLOT_BYTES_X3 / 2);
                return Err(GeometryProblem { asked, possible: (Self::LEAST, Self::MOST) });
            }
        }
        let buckets = u32::try_from(with(partition_bits)).unwrap_or(u32::MAX).max(PARTITION_BUCKETS_MIN);
        Ok(Self { partition_bits, buckets })
    }

    const LEAST: u64 = PARTITION_BYTES + PARTITION_BUCKETS_MIN as u64 * SLOT_BYTES_X3;
    const MOST: u64 = (PARTITION_SLOTS_MAX * SLOT_BYTES_X3 / 3) << PARTITION_BITS_MAX;

    /// Number of partitions, a power of two.
    pub const fn partitions(&self) -> u32 {
        1 << self.partition_bits
    }

    /// The partition that holds a key: the top bits of its hash.
    //= TBL-ROUTE-01
    #[inline(always)]
    pub const fn route(&self, key: &Key) -> PartitionIndex {
        self.route_hash(key.hash())
    }

    /// The partition of a hash.
    #[inline(always)]
    pub const fn route_hash(&self, hash: u64) -> PartitionIndex {
        // Two steps, because a shift by 64 is none.
        ((hash >> 1) >> (63 - self.partition_bits as u32)) as u32
    }

    /// Buckets of one partition.
    pub const fn buckets(&self) -> u32 {
        self.buckets
    }

    /// Entries that one partition holds at most.
    pub const fn partition_limit(&self) -> u32 {
        (self.buckets as u64 * KEYS_PER_BUCKET as u64 * LOAD_PERCENT_MAX / 100) as u32
    }

    /// Entries that all partitions hold at most together; random keys meet the first full partition a few
    /// percent earlier.
    pub const fn limit(&self) -> u64 {
        self.partition_limit() as u64 * self.partitions() as u64
    }

    /// Bytes that all partitions reserve, with digests of `synced_tables` tables.
    pub const fn bytes(&self, synced_tables: u32) -> u64 {
        let digests = self.cells() as u64 * synced_tables as u64 * 24;
        (PARTITION_BYTES + digests + self.buckets as u64 * SLOT_BYTES_X3) << self.partition_bits
    }

    /// Digest cells of one table in one partition.
    pub(super) const fn cells(&self) -> u32 {
        cells_of(self.partition_bits) as u32
    }

    pub(super) const fn partition_bits(&self) -> u8 {
        self.partition_bits
    }
}

const fn cells_of(partition_bits: u8) -> u64 {
    if partition_bits >= DIGEST_BITS { 1 } else { 1 << (DIGEST_BITS - partition_bits) }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test TBL-MEMORY-01
    #[test]
    fn the_reserve_never_exceeds_the_memory_given() {
        let mut bytes = Geometry::LEAST;
        while bytes < Geometry::MOST {
            for tables in [0, 1, 40] {
                match Geometry::for_memory(bytes, tables) {
                    Ok(g) => assert!(g.bytes(tables) <= bytes, "{bytes} {g:?}"),
                    Err(_) => assert!(tables > 0, "{bytes}"),
                }
            }
            bytes += bytes / 7;
        }
    }

    #[test]
    fn too_little_and_too_much_are_refused() {
        assert!(Geometry::for_memory(100, 0).is_err());
        assert!(Geometry::for_memory(u64::MAX, 0).is_err());
        assert!(Geometry::for_entries(u64::MAX / 1_000).is_err());
        let text = alloc::format!("{}", Geometry::for_memory(100, 0).unwrap_err());
        assert!(text.contains("give"), "{text}");
    }

    //= test TBL-MEMORY-02
    #[test]
    fn ten_million_entries_reserve_less_than_64_bytes_each() {
        let g = Geometry::for_entries(10_000_000).unwrap();
        let bytes = g.bytes(1);
        assert!(bytes <= 64 * 10_000_000, "{} a entry", bytes as f64 / 1e7);
        assert!(g.limit() > 10_000_000);
        assert_eq!(g.partitions(), 4_096);
    }

    #[test]
    fn a_partition_stays_below_its_bound_of_slots() {
        for n in [1u64, 1_000, 200_000, 10_000_000, 1_000_000_000] {
            let g = Geometry::for_entries(n).unwrap();
            assert!(u64::from(g.buckets()) * 3 <= PARTITION_SLOTS_MAX + 3, "{n} {g:?}");
        }
    }

    //= test TBL-ROUTE-01
    #[test]
    fn the_route_is_the_top_of_the_hash() {
        let g = Geometry { partition_bits: 12, buckets: 8 };
        assert_eq!(g.route_hash(u64::MAX), 4_095);
        assert_eq!(g.route_hash(0x8000_0000_0000_0000), 2_048);
        assert_eq!(Geometry { partition_bits: 0, buckets: 8 }.route_hash(u64::MAX), 0);
    }
}

//! How much memory becomes how many partitions of how many buckets.

use super::catalog::Key;
use super::limits::{
    BUCKET_BYTES, DIGEST_BITS_MAX, DIGEST_BITS_PER_PARTITION_MAX, DIGEST_CELL_BYTES, KEYS_PER_BUCKET,
    LOAD_PERCENT_MAX, PARTITION_BITS_MAX, PARTITION_BUCKETS_MIN, PARTITION_BYTES, PARTITION_SLOTS_MAX,
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
        while (bytes >> partition_bits) / BUCKET_BYTES * KEYS_PER_BUCKET as u64 > PARTITION_SLOTS_MAX {
            partition_bits += 1;
        }
        let share = bytes >> partition_bits;
        let digests = cells_of(partition_bits) * synced_tables as u64 * DIGEST_CELL_BYTES;
        let buckets = share.saturating_sub(PARTITION_BYTES + digests) / BUCKET_BYTES;
        match u32::try_from(buckets) {
            Ok(buckets) if buckets >= PARTITION_BUCKETS_MIN => Ok(Self { partition_bits, buckets }),
            _ => Err(problem),
        }
    }

    /// Cuts so that `entries` random keys fit without evicting anything: partitions get unequal numbers of
    /// keys, so each has room for its mean and 4.5 standard deviations.
    ///
    /// # Errors
    /// More entries than 2^20 partitions hold.
    //= TBL-MEMORY-02
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
                let asked = entries.saturating_mul(BUCKET_BYTES / 2);
                return Err(GeometryProblem { asked, possible: (Self::LEAST, Self::MOST) });
            }
        }
        let buckets = u32::try_from(with(partition_bits)).unwrap_or(u32::MAX).max(PARTITION_BUCKETS_MIN);
        Ok(Self { partition_bits, buckets })
    }

    const LEAST: u64 = PARTITION_BYTES + PARTITION_BUCKETS_MIN as u64 * BUCKET_BYTES;
    const MOST: u64 = (PARTITION_SLOTS_MAX / KEYS_PER_BUCKET as u64 * BUCKET_BYTES) << PARTITION_BITS_MAX;

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
        let digests = self.cells() as u64 * synced_tables as u64 * DIGEST_CELL_BYTES;
        (PARTITION_BYTES + digests + self.buckets as u64 * BUCKET_BYTES) << self.partition_bits
    }

    /// Into how many parts digests divide the hash space, as a power of two: 6 to 16. Part `n` holds the
    /// hashes whose top bits are `n`, on all engines alike.
    pub const fn digest_bits(&self) -> u8 {
        digest_bits_of(self.partition_bits)
    }

    /// Digest cells of one table in one partition: 1 to 64.
    pub const fn cells(&self) -> u32 {
        cells_of(self.partition_bits) as u32
    }

    /// The part of the hash space that a cell of a partition stands for. Above 2^16 partitions several of
    /// them hold pieces of one part: add their digests.
    pub const fn part_of(&self, partition: PartitionIndex, cell: u32) -> u32 {
        if self.partition_bits > DIGEST_BITS_MAX {
            return partition >> (self.partition_bits - DIGEST_BITS_MAX);
        }
        (partition << (self.digest_bits() - self.partition_bits)) + cell
    }
}

const fn digest_bits_of(partition_bits: u8) -> u8 {
    let bits = partition_bits + DIGEST_BITS_PER_PARTITION_MAX;
    if bits > DIGEST_BITS_MAX { DIGEST_BITS_MAX } else { bits }
}

const fn cells_of(partition_bits: u8) -> u64 {
    1 << digest_bits_of(partition_bits).saturating_sub(partition_bits)
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
        assert!(bytes <= 64 * 10_000_000, "{bytes} bytes");
        assert!(g.limit() > 10_000_000);
        assert_eq!((g.partitions(), g.cells(), g.digest_bits()), (1_024, 64, 16));
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

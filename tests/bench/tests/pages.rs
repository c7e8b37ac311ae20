//! The memory of a table is reserved at once and resident when it is used or touched; alone in its process, whose
//! resident memory it reads.

use forebay_bench::host::resident;
use forebay_core::table::{Catalog, EngineSlot, Geometry, Partition, TableMemory};
use forebay_core::units::Now;

const BYTES: u64 = 256 << 20;
const MIB: u64 = 1 << 20;

//= test TBL-MEMORY-03
#[test]
fn a_table_is_reserved_without_its_pages_and_resident_once_they_are_touched() {
    let now = Now(1_000_000);
    let start = resident().expect("it can be read");
    let grown = || resident().expect("it can be read").saturating_sub(start);
    let geometry = Geometry::for_memory(BYTES, 0).expect("a size");
    let memory = TableMemory::reserve(&geometry);
    let pages = memory.pages();
    let catalog = Catalog::new(&memory, [7; 16], EngineSlot::default());
    let mut partitions: Vec<Partition> = memory.into_partitions(&catalog, now).collect();
    for partition in &mut partitions {
        partition.adopt(&catalog, now);
        assert!(partition.sweep(&catalog, now, u32::MAX).turn_done);
    }
    assert!(pages.bytes() > BYTES / 10 * 9, "{} bytes for entries", pages.bytes());
    assert!(grown() < 16 * MIB, "{} bytes are resident before any use", grown());

    assert_eq!(pages.touch(0, BYTES / 2), Some(BYTES / 2));
    assert!((BYTES / 2..BYTES / 2 + 16 * MIB).contains(&grown()), "half: {}", grown());
    assert_eq!(pages.touch(BYTES / 2, BYTES), None, "that was the rest");
    assert!(grown() >= pages.bytes(), "all: {} of {}", grown(), pages.bytes());
    assert_eq!(pages.touch(pages.bytes(), BYTES), None);
    assert_eq!(pages.touch(u64::MAX, BYTES), None);
}

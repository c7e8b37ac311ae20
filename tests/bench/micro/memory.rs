//! The yardstick: what one access to memory costs here, when the next address depends on what was read.

use crate::host::cpu_ns;
use crate::random::{below, mix};

/// A cache line; the alignment puts it beside the table, on the same kind of pages.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(u64);

/// Memory to chase through, written once.
pub struct Chase {
    lines: Box<[Line]>,
}

impl Chase {
    /// Reserves and touches `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self { lines: vec![Line(std::hint::black_box(0)); bytes / 64].into_boxed_slice() }
    }

    /// Nanoseconds of one access to a random line whose address needs the content of the line before.
    pub fn run(&self, seed: u64, steps: u64) -> f64 {
        const BATCH: usize = 1_024;
        let n = self.lines.len() as u64;
        let mut batch = [0; BATCH];
        let (mut ns, mut carried) = (0, 0);
        for first in (0..steps).step_by(BATCH) {
            for (i, at) in (first..).zip(&mut batch) {
                *at = below(mix(seed + i), n);
            }
            let start = cpu_ns();
            for at in &batch {
                carried = self.lines[(at ^ carried) as usize].0;
            }
            ns += cpu_ns() - start;
        }
        std::hint::black_box(carried);
        ns as f64 / steps.next_multiple_of(BATCH as u64) as f64
    }
}

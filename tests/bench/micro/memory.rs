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
        let n = self.lines.len() as u64;
        let mut carried = 0;
        let start = cpu_ns();
        for i in 0..steps {
            carried = self.lines[below(mix(seed + i).wrapping_add(carried), n) as usize].0;
        }
        let ns = cpu_ns() - start;
        std::hint::black_box(carried);
        ns as f64 / steps as f64
    }
}

//! The unsafe part, all of it: an allocator that counts and can place tables on pages of a chosen size, and
//! the CPU clock of a thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Counts allocations; with [`place`], puts the large blocks (the entries of tables) into one
/// mapping of 2 MiB pages.
pub struct HostAllocator;

static CALLS: AtomicU64 = AtomicU64::new(0);
static PLACING: AtomicBool = AtomicBool::new(false);
static NEXT: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(0);

/// Only the entries of a table and the memory of the chase are as large.
const LARGE: usize = 48 << 20;
const HUGE: usize = 2 << 20;

// SAFETY: every block comes from `System` or from the mapping of `place`, which is never unmapped and never
// handed out twice, because `NEXT` only grows. `dealloc` tells the two apart by address.
unsafe impl GlobalAlloc for HostAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        if PLACING.load(Relaxed)
            && layout.size() >= LARGE
            && let Some(p) = placed(layout)
        {
            return p;
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if PLACING.load(Relaxed) && layout.size() >= LARGE {
            // SAFETY: the caller keeps the contract. What is not placed is written too: it does no harm.
            let p = unsafe { self.alloc(layout) };
            if !p.is_null() {
                // SAFETY: `alloc` gave as many bytes.
                unsafe { p.write_bytes(0, layout.size()) };
            }
            return p;
        }
        CALLS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract. Zero pages stay untouched so.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        if is_placed(p as usize) {
            return;
        }
        // SAFETY: not from the mapping, so from `System`, with this layout.
        unsafe { System.dealloc(p, layout) }
    }
}

static MAPPED: AtomicUsize = AtomicUsize::new(0);

fn is_placed(address: usize) -> bool {
    let start = MAPPED.load(Relaxed);
    start != 0 && (start..END.load(Relaxed)).contains(&address)
}

fn placed(layout: Layout) -> Option<*mut u8> {
    let mut at = NEXT.load(Relaxed);
    loop {
        let start = at.checked_next_multiple_of(layout.align())?;
        let end = start.checked_add(layout.size())?;
        if end > END.load(Relaxed) {
            return None;
        }
        match NEXT.compare_exchange_weak(at, end, Relaxed, Relaxed) {
            Ok(_) => return Some(start as *mut u8),
            Err(now) => at = now,
        }
    }
}

/// From now on, puts blocks of [`LARGE`] and more bytes into a new mapping of `bytes` on 2 MiB pages.
/// Called once.
///
/// # Errors
/// The kernel refuses the mapping, or transparent huge pages altogether.
pub fn place(bytes: usize) -> std::io::Result<()> {
    let length = bytes.next_multiple_of(HUGE) + HUGE;
    // SAFETY: a new anonymous mapping; no existing memory is touched.
    let p = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if p == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the range is the mapping just made.
    if unsafe { libc::madvise(p, length, libc::MADV_HUGEPAGE) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let start = (p as usize).next_multiple_of(HUGE);
    NEXT.store(start, Relaxed);
    END.store(p as usize + length, Relaxed);
    MAPPED.store(start, Relaxed);
    PLACING.store(true, Relaxed);
    Ok(())
}

/// Allocations of this process so far.
pub fn allocations() -> u64 {
    CALLS.load(Relaxed)
}

/// CPU time of this thread, in nanoseconds: what others do on the same core is not in it.
pub fn cpu_ns() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid place for the result.
    let rc = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    assert_eq!(rc, 0, "every Linux has a CPU clock per thread");
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Resident memory of this process, in bytes.
///
/// # Errors
/// `/proc` is not mounted, or not as documented.
pub fn resident() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// How much of this process's anonymous memory is on huge pages, in bytes.
///
/// # Errors
/// As [`resident`].
pub fn resident_huge() -> anyhow::Result<u64> {
    let maps = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = maps.lines().find_map(|l| l.strip_prefix("AnonHugePages:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}

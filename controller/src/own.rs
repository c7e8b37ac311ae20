//! What the Controller itself takes: processor, memory, disk; told as engines tell theirs.

use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_metrics::{Key, Kind, Offer, Store as Series, Tally};
use forebay_wire::tally::controller;

/// By this name its series are kept. Others may have other files.
pub const NAME: &str = "controller";
/// A stretch.
const EVERY: Duration = Duration::from_secs(5);
/// The kernel counts processor time in hundredths of a second, whatever its clock does.
const TICK_MS: u64 = 10;

/// What is used, and what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Look {
    cpu_ms: u64,
    memory_kib: u64,
    memory_max_kib: u64,
    disk_kib: u64,
    disk_max_kib: u64,
}

/// Looks once.
fn look(folder: &Path) -> Look {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (stat, status, machine) = (read("/proc/self/stat"), read("/proc/self/status"), read("/proc/meminfo"));
    let disk = rustix::fs::statvfs(folder);
    // What only the system may use is used.
    let disk = disk.map(|disk| {
        let kib = |blocks: u64| blocks.saturating_mul(disk.f_frsize) >> 10;
        (kib(disk.f_blocks.saturating_sub(disk.f_bavail)), kib(disk.f_blocks))
    });
    let (disk_kib, disk_max_kib) = disk.unwrap_or_default();
    Look {
        cpu_ms: cpu_ticks(&stat) * TICK_MS,
        memory_kib: kib(&status, "VmRSS:"),
        memory_max_kib: kib(&machine, "MemTotal:"),
        disk_kib,
        disk_max_kib,
    }
}

/// Of a process's `stat`: the name stands in brackets and may have anything in it.
fn cpu_ticks(stat: &str) -> u64 {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    // User and system, the fourteenth and fifteenth field.
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// A line of `name: 123 kB`.
fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// What was taken in so many milliseconds.
fn tally(before: Look, now: Look, cores: u64, ms: u64) -> Tally {
    let mut sums = vec![0; controller::COUNT];
    sums[controller::CPU_MS] = now.cpu_ms.saturating_sub(before.cpu_ms);
    sums[controller::CORE_MS] = cores * ms;
    sums[controller::MEMORY_MS] = now.memory_kib * ms;
    sums[controller::MEMORY_MAX_MS] = now.memory_max_kib * ms;
    sums[controller::DISK_MS] = now.disk_kib * ms;
    sums[controller::DISK_MAX_MS] = now.disk_max_kib * ms;
    Tally { sums, ..Tally::default() }
}

/// Looks for ever.
//= MET-OWN-01
pub async fn drive(series: Arc<Series>, folder: PathBuf) {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    // Another one with each process: then numbers begin anew.
    let process = std::hash::RandomState::new().build_hasher().finish().max(1);
    let (mut before, mut at) = (look(&folder), Instant::now());
    for number in 1.. {
        tokio::time::sleep(EVERY).await;
        let (now, ended) = (look(&folder), Instant::now());
        let length = u64::try_from(ended.duration_since(at).as_millis()).unwrap_or(u64::MAX).max(1);
        let tally = tally(before, now, cores, length);
        (before, at) = (now, ended);
        // What finds no place is lost: the next one says how it is.
        let _ = series.offer(Offer {
            engine: NAME.to_owned(),
            process,
            number,
            oldest: number,
            age: 0,
            length,
            tallies: vec![(Key::new(Kind::Controller, NAME), tally)],
            done: Box::new(|_| {}),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test MET-OWN-01
    #[test]
    fn what_the_controller_takes_is_read_of_the_system() {
        assert_eq!(cpu_ticks("7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 30 12 13 14"), 42);
        assert_eq!(cpu_ticks("nonsense"), 0);
        assert_eq!(kib("VmPeak:\t 1 kB\nVmRSS:\t  123 kB\n", "VmRSS:"), 123);
        let before = look(Path::new("/"));
        let mut spent = 0_u64;
        while look(Path::new("/")).cpu_ms < before.cpu_ms + 20 {
            spent = spent.wrapping_add(1);
        }
        let now = look(Path::new("/"));
        assert!(now.memory_kib > 0 && now.memory_max_kib > now.memory_kib, "{now:?}");
        assert!(now.disk_max_kib >= now.disk_kib && now.disk_kib > 0, "{now:?} {spent}");
        let tally = tally(before, now, 2, 1_000);
        assert!(tally.sum(controller::CPU_MS) >= 20, "{tally:?}");
        assert_eq!(tally.sum(controller::CORE_MS), 2_000);
        let value = |id: &str| {
            forebay_metrics::find(id).and_then(|metric| metric.value(&tally, 1_000, 0)).expect("it is there")
        };
        for id in [
            "controller_stats.avg_cpu_usage",
            "controller_stats.avg_mem_usage",
            "controller_stats.avg_disk_usage",
        ] {
            assert!((0.0..=100.0).contains(&value(id)) && value(id) > 0.0, "{id}: {}", value(id));
        }
    }
}

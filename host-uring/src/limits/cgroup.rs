//! How much memory the engine's control group may have, if somebody has bounded it (a container, a unit's `MemoryMax`).

use std::fs;
use std::path::{Path, PathBuf};

/// What stands for "no limit" in the first version: the largest number of whole pages.
const UNLIMITED: u64 = 1 << 62;

/// Bytes that this process's control group and those around it allow; `None`: as many as there are.
//= CFG-LIMIT-03
pub fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups
        .lines()
        .filter_map(folder_and_file)
        .filter_map(|(folder, root, file)| least(&folder, root, file))
        .min()
}

/// What a control group has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that it allows.
    pub limit: u64,
    /// Bytes of them that nobody uses, or that the kernel takes back without harm (files that nobody has read lately).
    pub left: u64,
}

/// What is left in the group of this process, or in the one around it that has the least left; `None`: none has a limit.
//= UPG-MEMORY-01
pub fn memory_room() -> Option<Room> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let found = groups.lines().filter_map(folder_and_file);
    found.filter_map(|(folder, root, file)| least_room(&folder, root, file)).min_by_key(|room| room.left)
}

fn least_room(folder: &Path, root: &Path, file: &str) -> Option<Room> {
    let around = folder.ancestors().take_while(|at| at.starts_with(root));
    around.filter_map(|at| room(at, file)).min_by_key(|room| room.left)
}

fn room(folder: &Path, file: &str) -> Option<Room> {
    let limit = limit(&folder.join(file))?;
    let (used, idle) = if file == "memory.max" {
        ("memory.current", "inactive_file ")
    } else {
        ("memory.usage_in_bytes", "total_inactive_file ")
    };
    let used: u64 = fs::read_to_string(folder.join(used)).ok()?.trim().parse().ok()?;
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let idle = stat.lines().find_map(|line| line.strip_prefix(idle)?.trim().parse().ok()).unwrap_or(0);
    Some(Room { limit, left: limit.saturating_sub(used.saturating_sub(idle)) })
}

/// Where the limits of one line of `/proc/self/cgroup` are: the group's folder, the hierarchy's, and the file's name.
fn folder_and_file(line: &str) -> Option<(PathBuf, &'static Path, &'static str)> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (root, file) = if controllers.is_empty() {
        (Path::new("/sys/fs/cgroup"), "memory.max")
    } else if controllers.split(',').any(|name| name == "memory") {
        (Path::new("/sys/fs/cgroup/memory"), "memory.limit_in_bytes")
    } else {
        return None;
    };
    Some((root.join(path.trim_start_matches('/')), root, file))
}

/// The least limit from `folder` up to `root`. In a container the path is one of the host's, which is not there: then
/// only the root, which is the container's own group, is looked at.
fn least(folder: &Path, root: &Path, file: &str) -> Option<u64> {
    folder.ancestors().take_while(|at| at.starts_with(root)).filter_map(|at| limit(&at.join(file))).min()
}

fn limit(file: &Path) -> Option<u64> {
    // `max` is no number.
    fs::read_to_string(file).ok()?.trim().parse().ok().filter(|bytes| *bytes < UNLIMITED)
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test CFG-LIMIT-03
    #[test]
    fn each_version_keeps_its_limits_where_it_says() {
        let of = |line| folder_and_file(line).map(|(folder, _, file)| folder.join(file));
        assert_eq!(of("0::/a/b"), Some("/sys/fs/cgroup/a/b/memory.max".into()));
        assert_eq!(of("9:cpu,memory:/a"), Some("/sys/fs/cgroup/memory/a/memory.limit_in_bytes".into()));
        assert_eq!(of("9:memory:/"), Some("/sys/fs/cgroup/memory/memory.limit_in_bytes".into()));
        assert_eq!((of("3:cpu:/a"), of("nonsense")), (None, None));
    }

    //= test UPG-MEMORY-01
    #[test]
    fn what_is_left_is_that_of_the_group_around_with_the_least_and_idle_files_are_not_used() {
        let root = std::env::temp_dir().join(format!("forebay-room-{}", std::process::id()));
        let inner = root.join("a/b");
        fs::create_dir_all(&inner).expect("a folder");
        let write = |folder: &str, file: &str, text: &str| {
            fs::write(root.join(folder).join(file), text).expect("a file");
        };
        write("a", "memory.max", "1000\n");
        write("a", "memory.current", "700\n");
        write("a", "memory.stat", "anon 500\ninactive_file 150\nactive_file 50\n");
        write("a/b", "memory.max", "max\n");
        write("a/b", "memory.current", "600\n");
        assert_eq!(least_room(&inner, &root, "memory.max"), Some(Room { limit: 1000, left: 450 }));
        write("a/b", "memory.max", "800\n");
        assert_eq!(least_room(&inner, &root, "memory.max"), Some(Room { limit: 800, left: 200 }));
        write("a/b", "memory.current", "900\n");
        assert_eq!(least_room(&inner, &root, "memory.max"), Some(Room { limit: 800, left: 0 }));
        write("a", "memory.limit_in_bytes", "1000\n");
        write("a", "memory.usage_in_bytes", "900\n");
        write("a", "memory.stat", "inactive_file 800\ntotal_inactive_file 100\n");
        assert_eq!(least_room(&inner, &root, "memory.limit_in_bytes"), Some(Room { limit: 1000, left: 200 }));
        fs::remove_dir_all(&root).expect("our own folder");
    }

    //= test CFG-LIMIT-03
    #[test]
    fn the_tightest_group_around_counts_and_what_is_no_number_is_no_limit() {
        let root = std::env::temp_dir().join(format!("forebay-cgroup-{}", std::process::id()));
        let inner = root.join("a/b");
        fs::create_dir_all(&inner).expect("a folder");
        for (folder, text) in [("", "9223372036854771712\n"), ("a", "1000\n"), ("a/b", "max\n")] {
            fs::write(root.join(folder).join("memory.max"), text).expect("a file");
        }
        assert_eq!(least(&inner, &root, "memory.max"), Some(1000));
        assert_eq!(least(&root.join("not/there"), &root, "memory.max"), None);
        fs::write(root.join("memory.max"), "500\n").expect("a file");
        assert_eq!(least(&inner, &root, "memory.max"), Some(500));
        assert_eq!(least(&root.join("not/there"), &root, "memory.max"), Some(500));
        fs::remove_dir_all(&root).expect("our own folder");
    }
}

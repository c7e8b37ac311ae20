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

//! The default size of the cache in memory: a part of the memory limit of the process, which on Linux
//! is the smallest limit of its cgroup and of those around it.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::config::{CacheMemory, Config};

/// The budget without a limit, bytes.
const WITHOUT_LIMIT: u64 = 256 << 20;

/// Limits from here on are no limits, bytes: cgroup v1 writes "no limit" as the largest multiple of a
/// page.
const ABSURD: u64 = 1 << 50;

/// The file with the cgroups of the process (cgroups(7), "/proc files").
const OWN_CGROUPS: &str = "/proc/self/cgroup";
/// The folder of the hierarchies: the one of v2 itself, those of v1 in folders by controller.
const HIERARCHIES: &str = "/sys/fs/cgroup";

/// The budget of the cache under this memory limit, bytes: 40 % of it, as bodies in flight and the
/// allocator need room as well, and at most half of what this many idle connections of this many bytes leave;
/// 256 MiB without a limit.
#[must_use]
pub fn auto_budget(limit: Option<u64>, connections: usize, each: u64) -> u64 {
    let idle = (connections as u64).saturating_mul(each);
    limit.map_or(WITHOUT_LIMIT, |limit| (limit / 5 * 2).min(limit.saturating_sub(idle) / 2))
}

/// The memory of an idle connection, bytes. TLS has keys and buffers of its own, HTTP/2 the tables of compressed heads
/// (`benches/load/curves`).
fn idle_connection(tls: bool, http2: bool) -> u64 {
    match (tls, http2) {
        (false, false) => 8 << 10,
        (true, false) => 28 << 10,
        (false, true) => 48 << 10,
        (true, true) => 64 << 10,
    }
}

/// The memory of the cache under this configuration, bytes; 0: there is no cache.
#[must_use]
pub fn budget(config: &Config) -> u64 {
    let connections = config.downstream.max_connections;
    let each = idle_connection(config.tls.is_some(), config.speaks_http2());
    match config.cache.memory {
        CacheMemory::Bytes(bytes) => bytes,
        CacheMemory::Auto => auto_budget(cgroup_limit(), connections, each),
    }
}

/// The memory limit of the process's cgroups, bytes; `None` where there is none or none can be read.
#[must_use]
pub fn cgroup_limit() -> Option<u64> {
    limit_from(|path| fs::read_to_string(path).ok())
}

/// The same, from files that `read` reads.
fn limit_from(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let own = read(Path::new(OWN_CGROUPS))?;
    let files = own.lines().filter_map(memory_cgroup).flat_map(|cgroup| cgroup.limit_files());
    files.filter_map(|file| parse_limit(&read(&file)?)).min()
}

/// The cgroup of a process in a hierarchy that limits memory.
#[derive(Debug, PartialEq, Eq)]
struct MemoryCgroup<'a> {
    hierarchy: &'static str,
    /// The name of the file with the limit.
    file: &'static str,
    /// Within the hierarchy, from its root.
    path: &'a str,
}

impl MemoryCgroup<'_> {
    /// The files with the limits of this cgroup and of those around it. In a container some may not
    /// be visible, and its own may be at the root.
    fn limit_files(&self) -> Vec<PathBuf> {
        let path = Path::new(self.path);
        let path = path.strip_prefix("/").unwrap_or(path);
        let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
        let path = if is_below { path } else { Path::new("") };
        let root = Path::new(HIERARCHIES).join(self.hierarchy);
        path.ancestors().map(|path| root.join(path).join(self.file)).collect()
    }
}

/// Reads a line of `/proc/self/cgroup`: `0::/path` of v2, or `4:cpu,memory:/path` of v1.
fn memory_cgroup(line: &str) -> Option<MemoryCgroup<'_>> {
    let (id, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    if id == "0" && controllers.is_empty() {
        Some(MemoryCgroup { hierarchy: "", file: "memory.max", path })
    } else if controllers.split(',').any(|controller| controller == "memory") {
        Some(MemoryCgroup { hierarchy: "memory", file: "memory.limit_in_bytes", path })
    } else {
        None
    }
}

/// Reads `memory.max` or `memory.limit_in_bytes`; `max` and impossible sizes are no limit.
fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < ABSURD)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_budget_is_40_percent_of_the_limit_or_256_mib() {
        for (limit, connections, budget) in [
            (None, 4096, 256 << 20),
            (Some(GIB), 4096, 429_496_728),
            (Some(5 * GIB), 4096, 2 * GIB),
            (Some(0), 4096, 0),
            (Some(u64::MAX), 4096, u64::MAX / 5 * 2),
            // Idle connections leave less than twice that.
            (Some(128 << 20), 8192, 32 << 20),
            (Some(GIB), 100_000, 127_270_912),
            (Some(GIB), usize::MAX, 0),
        ] {
            assert_eq!(
                auto_budget(limit, connections, idle_connection(false, false)),
                budget,
                "{limit:?} {connections}"
            );
        }
        let http2 = idle_connection(false, true);
        assert_eq!(auto_budget(Some(GIB), 4096, http2), 429_496_728);
        assert_eq!(auto_budget(Some(320 << 20), 4096, http2), 64 << 20, "what 192 MiB leave");
    }

    /// Connections with TLS were counted as if they had none.
    #[test]
    fn connections_with_tls_take_more() {
        for (tls, http2, left) in
            [(false, false, 288), (true, false, 208), (false, true, 128), (true, true, 64)]
        {
            let budget = auto_budget(Some(320 << 20), 4096, idle_connection(tls, http2));
            assert_eq!(budget, ((left << 20) / 2).min((320 << 20) / 5 * 2), "{tls} {http2}");
        }
    }

    #[test]
    fn only_lines_of_hierarchies_that_limit_memory_count() {
        let v2 = |path| Some(MemoryCgroup { hierarchy: "", file: "memory.max", path });
        let file = "memory.limit_in_bytes";
        let v1 = |path| Some(MemoryCgroup { hierarchy: "memory", file, path });
        for (line, expected) in [
            ("0::/", v2("/")),
            ("0::/kubepods.slice/pod:1", v2("/kubepods.slice/pod:1")),
            ("4:memory:/docker/a", v1("/docker/a")),
            ("4:cpu,memory:/a", v1("/a")),
            ("4:cpu,cpuacct:/a", None),
            ("1:name=systemd:/a", None),
            ("1::/a", None),
            ("0::", v2("")),
            ("memory", None),
            ("", None),
        ] {
            assert_eq!(memory_cgroup(line), expected, "{line}");
        }
    }

    #[test]
    fn no_limit_is_said_in_several_ways() {
        for (text, limit) in [
            ("1073741824\n", Some(GIB)),
            ("max\n", None),
            ("9223372036854771712\n", None),
            ("18446744073709551615\n", None),
            ("-1\n", None),
            ("", None),
        ] {
            assert_eq!(parse_limit(text), limit, "{text:?}");
        }
    }

    #[test]
    fn the_smallest_limit_around_the_process_counts() {
        const ROOT: &str = "/sys/fs/cgroup";
        for (what, own, files, limit) in [
            (
                "a container with its own view",
                "0::/\n",
                &[("memory.max", "1073741824")][..],
                Some(GIB),
            ),
            (
                "a slice within a limited one",
                "0::/pods.slice/pod.slice/main\n",
                &[
                    ("pods.slice/pod.slice/main/memory.max", "max"),
                    ("pods.slice/pod.slice/memory.max", "1073741824"),
                    ("pods.slice/memory.max", "5368709120"),
                ],
                Some(GIB),
            ),
            (
                "a path that is out of sight",
                "0::/pods/pod\n",
                &[("memory.max", "1073741824")],
                Some(GIB),
            ),
            ("a path above what is in sight", "0::/../..\n", &[("memory.max", "7")], Some(7)),
            (
                "version 1",
                "2:cpu:/a\n4:memory:/a\n0::/\n",
                &[
                    ("memory/memory.limit_in_bytes", "9223372036854771712"),
                    ("memory/a/memory.limit_in_bytes", "1073741824"),
                    ("cpu/a/memory.limit_in_bytes", "7"),
                ],
                Some(GIB),
            ),
            ("no limit", "0::/a\n", &[("memory.max", "max"), ("a/memory.max", "max")], None),
            ("no files", "0::/a\n", &[], None),
            ("nothing", "", &[("memory.max", "7")], None),
        ] {
            let read = |path: &Path| match path.to_str() {
                Some(OWN_CGROUPS) => Some(own.to_owned()),
                _ => {
                    let name = path.strip_prefix(ROOT).expect("a file of a hierarchy");
                    let found = files.iter().find(|(file, _)| name == Path::new(file));
                    found.map(|(_, text)| format!("{text}\n"))
                }
            };
            assert_eq!(limit_from(read), limit, "{what}");
        }
        assert_eq!(limit_from(|_| None), None, "no /proc");
    }

    #[test]
    fn this_machine_is_read_without_harm() {
        assert!(cgroup_limit().is_none_or(|limit| limit < ABSURD));
    }
}

//! How much memory this process may use, and what follows from it.

use std::fs;
use std::path::Path;

const MIB: u64 = 1024 * 1024;
/// The least and the most that requests may take when nothing is configured.
const BUDGET_BYTES: (u64, u64) = (128 * MIB, 1024 * MIB);
/// The budget where the system does not tell its memory.
const UNKNOWN_BYTES: u64 = 256 * MIB;

/// Bytes of requests in memory when `queued.max.request.bytes` is -1: an eighth of the memory that the process may use, at least
/// 128 MiB and at most 1 GiB. Kafka has no limit then, but its heap.
pub(crate) fn default_budget() -> usize {
    usize::try_from(budget_of(usable_bytes())).unwrap_or(usize::MAX)
}

fn budget_of(usable: Option<u64>) -> u64 {
    usable.map_or(UNKNOWN_BYTES, |bytes| (bytes / 8).clamp(BUDGET_BYTES.0, BUDGET_BYTES.1))
}

/// The machine's memory, or the limit of the container if that is less.
fn usable_bytes() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(Path::new(path)).ok();
    let machine = read("/proc/meminfo").and_then(|text| total_of(&text));
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limits = limits.into_iter().filter_map(|path| read(path)?.trim().parse().ok());
    machine.into_iter().chain(limits).min()
}

/// The machine's memory as `/proc/meminfo` has it.
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_and_a_part_of_it_taken() {
        let text = "MemFree:  1 kB\nMemTotal:       24682744 kB\nCached: 2 kB\n";
        assert_eq!(total_of(text), Some(24_682_744 * 1024));
        assert_eq!(total_of("MemTotal: many"), None);
        assert_eq!(budget_of(Some(4096 * MIB)), 512 * MIB);
        assert_eq!(budget_of(Some(64 * MIB)), 128 * MIB);
        assert_eq!(budget_of(Some(u64::MAX)), 1024 * MIB);
        assert_eq!(budget_of(None), 256 * MIB);
    }
}

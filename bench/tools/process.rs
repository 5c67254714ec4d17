//! What processes cost, as Linux counts it: time on a CPU, and resident memory.

use std::fs;

/// Time that all threads of these processes have been on a CPU, in nanoseconds.
pub fn cpu_ns(pids: &[u32]) -> u64 {
    let threads = |pid: &u32| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let on_cpu_ns = |thread: fs::DirEntry| -> Option<u64> {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    pids.iter().flat_map(threads).filter_map(on_cpu_ns).sum()
}

/// Resident memory of these processes together, in KiB.
pub fn resident_kib(pids: &[u32]) -> u64 {
    let resident = |pid: &u32| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
    };
    pids.iter().filter_map(resident).sum()
}

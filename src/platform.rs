//! What this machine offers: cores, and how much memory there is and is in use.

/// Workers to use by default: as many as this process may use processors, but no more than the
/// machine has physical cores. Two threads of one core share its arithmetic units, so a second
/// worker there only adds waiting.
///
/// The process's affinity and its cgroup's quota count, as far as the standard library sees
/// them.
pub fn default_threads() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    match physical_cores() {
        Some(cores) => allowed.min(cores),
        None => allowed,
    }
}

/// Physical cores, where the system tells: Linux lists for each processor the ones it shares
/// its core with.
#[cfg(target_os = "linux")]
fn physical_cores() -> Option<usize> {
    let mut cores = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir("/sys/devices/system/cpu").ok()? {
        let list = entry.ok()?.path().join("topology/thread_siblings_list");
        // Other entries of that folder are no processors; offline ones have no topology.
        if let Ok(siblings) = std::fs::read_to_string(list) {
            cores.insert(siblings);
        }
    }
    (!cores.is_empty()).then_some(cores.len())
}

#[cfg(not(target_os = "linux"))]
fn physical_cores() -> Option<usize> {
    None
}

/// Bytes of this process that are in memory, where the system tells.
#[cfg(target_os = "linux")]
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Bytes of this process that are in memory, where the system tells.
#[cfg(not(target_os = "linux"))]
pub fn resident() -> Option<u64> {
    None
}

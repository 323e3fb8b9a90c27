//! What the kernel says about a process and its children: processor time from the scheduler, memory from the page tables.

use std::collections::BTreeMap;
use std::fs;

/// A process and all that descend from it.
pub fn family(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name of a program may hold blanks and brackets: the fields begin behind the last bracket.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut family = vec![root];
    let mut at = 0;
    while at < family.len() {
        family.extend(children.get(&family[at]).into_iter().flatten());
        at += 1;
    }
    family
}

/// Processor time of all threads of these processes, in nanoseconds.
pub fn cpu_ns(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| threads_ns(&format!("/proc/{pid}/task"), |_| true)).sum()
}

/// Processor time of the rig's own threads: the vendor and the load.
pub fn rig_ns() -> u64 {
    threads_ns("/proc/self/task", |name| name.starts_with("vendor-") || name.starts_with("load"))
}

fn threads_ns(folder: &str, counts: impl Fn(&str) -> bool) -> u64 {
    let tasks = fs::read_dir(folder).into_iter().flatten().flatten();
    tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| counts(name.trim())))
        .filter_map(|task| {
            fs::read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok()
        })
        .sum()
}

/// Processor time that the whole machine has used, in nanoseconds (as fine as the kernel's ticks).
pub fn machine_ns() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> =
        stat.lines().next().unwrap_or("").split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal: everything but idle and iowait.
    let busy: u64 =
        fields.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, ticks)| ticks).sum();
    busy * (1_000_000_000 / TICKS_PER_SECOND)
}

/// Resident memory of these processes in KiB.
pub fn rss_kib(pids: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
    };
    pids.iter().filter_map(of).sum()
}

/// USER_HZ: what /proc/stat counts in, on every Linux.
const TICKS_PER_SECOND: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let me = std::process::id();
        assert!(family(me).contains(&me));
        assert!(cpu_ns(&[me]) > 0);
        assert!(rss_kib(&[me]) > 100);
    }
}

//! Reads what Linux shows of the processes of a measurement.

use std::fs;
use std::time::Duration;

/// The number of clock ticks a second; Linux has had 100 on every platform for decades.
const TICKS: u64 = 100;

/// Returns the processor time of a process so far, in user and system mode.
pub(crate) fn processor(id: u32) -> Duration {
    of_ticks(stat(id).get(11..13).unwrap_or_default())
}

/// Returns the processor time of a process, of its children, and of its children that have ended.
pub(crate) fn processor_with_children(id: u32) -> Duration {
    let ended = of_ticks(stat(id).get(11..15).unwrap_or_default());
    ended + children(id).into_iter().map(processor).sum::<Duration>()
}

/// Returns the memory of a process in bytes. What the process shares with others counts in part.
pub(crate) fn own_memory(id: u32) -> u64 {
    let shares = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
    let line = shares.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Returns the memory of a process and of its children, as [`own_memory`] does.
pub(crate) fn own_memory_with_children(id: u32) -> u64 {
    own_memory(id) + children(id).into_iter().map(own_memory).sum::<u64>()
}

/// Returns the fields that follow the name of the process, which may contain spaces. The 12th to the 15th are its times.
fn stat(id: u32) -> Vec<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.map(|field| field.parse().unwrap_or(0)).collect()
}

fn of_ticks(ticks: &[u64]) -> Duration {
    Duration::from_millis(ticks.iter().sum::<u64>() * 1000 / TICKS)
}

fn children(id: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

//! Reads what Linux shows of a process.

use std::time::Instant;

pub(crate) use crate::support::processes::processor;

/// Returns `VmRSS` or `VmHWM` in MiB.
pub(crate) fn memory(id: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Returns the number of bytes that a process made Linux write to a disk.
pub(crate) fn written(id: u32) -> f64 {
    let io = std::fs::read_to_string(format!("/proc/{id}/io")).unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0.0)
}

/// Returns the machine's load of the last minute, which shows whether it was busy with other work.
pub(crate) fn load() -> String {
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    loads.split(' ').next().unwrap_or_default().to_owned()
}

/// Returns the median.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[expect(clippy::disallowed_methods, reason = "a measurement")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Formats median and maximum, in seconds.
pub(crate) fn summary(mut seconds: Vec<f64>) -> String {
    seconds.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let mean = seconds.iter().sum::<f64>() / seconds.len().max(1) as f64;
    let worst = seconds.last().copied().unwrap_or(0.0);
    let (count, median) = (seconds.len(), median(seconds));
    format!("{count} messages: mean {mean:.3} s, median {median:.3} s, worst {worst:.3} s")
}

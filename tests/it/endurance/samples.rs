//! How much a relay uses, over time.

use std::fmt;
use std::fs;
use std::path::Path;

/// What a relay uses at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// The resident memory in KiB.
    pub(super) memory: u64,
    /// The number of open descriptors.
    pub(super) descriptors: u64,
    /// The number of threads.
    pub(super) threads: u64,
    /// The size of the state's database in KiB.
    pub(super) database: u64,
    /// The size of the journal of the database in KiB.
    pub(super) journal: u64,
}

impl Sample {
    /// Looks at the process with this id and at its state directory. `None`: the process has ended.
    pub(super) fn take(process: u32, state: &Path) -> Option<Self> {
        let proc = Path::new("/proc").join(process.to_string());
        let status = fs::read_to_string(proc.join("status")).ok()?;
        let number = |name: &str| {
            let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
            rest.split_whitespace().next()?.parse::<u64>().ok()
        };
        let size = |name: &str| fs::metadata(state.join(name)).map_or(0, |file| file.len() / 1024);
        Some(Self {
            memory: number("VmRSS:")?,
            descriptors: fs::read_dir(proc.join("fd")).ok()?.count() as u64,
            threads: number("Threads:")?,
            database: size("state.db"),
            journal: size("state.db-wal"),
        })
    }
}

/// How a number developed over all samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trend {
    /// The median of the first quarter of the samples.
    pub(super) early: u64,
    /// The median of the last quarter of the samples.
    pub(super) late: u64,
    pub(super) most: u64,
}

impl Trend {
    /// Returns the trend of one number of the samples.
    pub(super) fn of(samples: &[Sample], number: impl Fn(&Sample) -> u64) -> Self {
        let quarter = samples.len().div_ceil(4);
        let median = |part: &[Sample]| {
            let mut values: Vec<u64> = part.iter().map(&number).collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        let most = samples.iter().map(&number).max().unwrap();
        Self { early: median(&samples[..quarter]), late: median(&samples[samples.len() - quarter..]), most }
    }

    /// Whether the number has grown by more than this share, in percent, and by more than `slack`.
    pub(super) fn has_grown(self, percent: u64, slack: u64) -> bool {
        self.late > (self.early * (100 + percent) / 100).max(self.early + slack)
    }
}

impl fmt::Display for Trend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} early, {} late, {} at most", self.early, self.late, self.most)
    }
}

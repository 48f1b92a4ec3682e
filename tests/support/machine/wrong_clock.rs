//! A machine whose clock is wrong, by libfaketime.

use std::path::{Path, PathBuf};

use crate::support::prerequisites;
use crate::support::relay::Setup;

/// A clock that is wrong for the programs that are started with it. The monotonic clock of these programs is right.
pub(crate) struct WrongClock {
    library: PathBuf,
    offset: PathBuf,
}

impl WrongClock {
    /// Makes a clock that is right so far. `dir`: an existing directory for one clock. If libfaketime is not installed,
    /// the test is reported as skipped, and gets `None`.
    pub(crate) fn new(dir: &Path) -> Option<Self> {
        let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
        let library = folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|library| library.is_file());
        let missing = if library.is_none() { vec!["libfaketime".to_owned()] } else { Vec::new() };
        if !prerequisites::all_there(&missing) {
            return None;
        }
        let clock = Self { library: library?, offset: dir.join("clock") };
        clock.set("+0");
        Some(clock)
    }

    /// Sets how far the clock is off, such as `+8d`.
    pub(crate) fn set(&self, offset: &str) {
        let draft = self.offset.with_extension("new");
        std::fs::write(&draft, format!("{offset}\n")).unwrap();
        std::fs::rename(draft, &self.offset).unwrap();
    }

    /// Makes a relay go by this clock.
    pub(crate) fn within(&self, setup: Setup) -> Setup {
        setup
            .env("LD_PRELOAD", self.library.to_str().unwrap())
            .env("FAKETIME_TIMESTAMP_FILE", self.offset.to_str().unwrap())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }
}

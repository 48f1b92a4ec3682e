//! Measures how much room the state takes and how much is left on the disk, and gives unused room back to the disk. A
//! *page* is a page of the database here.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::open::BUSY_TIMEOUT;
use crate::store::disk::{DiskMaintenance, DiskUsage, USUAL_JOURNAL_BYTES};
use crate::store::error::Error;
use crate::store::sqlite::connection::SqliteBackend;

/// One transaction gives at most this many pages of the file back to the disk.
const PAGES_AT_ONCE: u64 = 500;

/// Unused pages are given back only if together they have more bytes than this and are more than a quarter of the
/// state. While room on the disk is short, all unused pages are given back.
const SPARE: u64 = 4 << 20;

/// A journal that is longer than this, in bytes, is emptied when room on the disk is short.
const LONG_JOURNAL: u64 = 1 << 20;

/// SQLite can empty the journal only while no other connection reads from it. It waits at most this time for such
/// connections. The time is short, because nobody else can change the state during the wait.
const PATIENCE: Duration = Duration::from_millis(100);

/// Returns how many bytes the state in `dir` takes on disk, its journal included; 0 if there is no state.
pub fn size(dir: &Path) -> u64 {
    let files = ["state.db", "state.db-wal", "state.db-shm"];
    files.iter().filter_map(|file| fs::metadata(dir.join(file)).ok()).map(|found| found.len()).sum()
}

impl DiskMaintenance for SqliteBackend {
    fn erase_on_delivery(&mut self) {
        self.erase_on_delivery = true;
    }

    fn keep_for_readers(&mut self, keep: bool) {
        self.keep_for_readers = keep;
    }

    fn erase_traces(&mut self) -> Result<bool, Error> {
        if self.may_hold_traces && self.truncate_journal()? {
            self.may_hold_traces = false;
        }
        Ok(!self.may_hold_traces)
    }

    fn changed_by_others(&mut self) -> Result<bool, Error> {
        let version = self.pragma("data_version")?;
        Ok(self.data_version.replace(version).is_some_and(|before| before != version))
    }

    fn disk_usage(&self) -> Result<DiskUsage, Error> {
        let page = self.pragma("page_size")?;
        let unused = self.pragma("freelist_count")?.saturating_mul(page).unsigned_abs();
        let pages = self.pragma("page_count")?.saturating_mul(page).unsigned_abs();
        let io = |source| Error::Io { doing: "ask for the free space of", path: self.dir().to_owned(), source };
        let disk = rustix::fs::statvfs(self.dir()).map_err(|error| io(error.into()))?;
        let journal = self.journal_size();
        Ok(DiskUsage {
            used: pages.saturating_sub(unused) + journal.min(USUAL_JOURNAL_BYTES),
            unused,
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            journal,
        })
    }

    fn shrink_file(&mut self, short: bool) -> Result<bool, Error> {
        let DiskUsage { used, unused, .. } = self.disk_usage()?;
        let worth_it = if short { unused > 0 } else { unused > SPARE && unused > used / 3 };
        if worth_it {
            self.transaction(|transaction| {
                let mut vacuum = transaction.prepare(&format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})"))?;
                let mut steps = vacuum.query([])?;
                while steps.next()?.is_some() {}
                Ok(())
            })?;
            // The file becomes shorter only when the journal is brought into it.
            self.may_hold_traces = true;
        }
        let left = self.pragma("freelist_count")? > 0;
        if short && !left && self.journal_size() > LONG_JOURNAL {
            self.truncate_journal()?;
        }
        Ok(worth_it && left)
    }

    fn truncate_journal(&mut self) -> Result<bool, Error> {
        self.read(|connection| {
            let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
            let emptied = connection
                .busy_timeout(PATIENCE)
                .and_then(|()| connection.query_row(checkpoint, [], |row| Ok(row.get::<_, i64>(0)? == 0)));
            connection.busy_timeout(BUSY_TIMEOUT).and(emptied)
        })
    }
}

impl SqliteBackend {
    fn journal_size(&self) -> u64 {
        fs::metadata(self.journal()).map_or(0, |found| found.len())
    }
}

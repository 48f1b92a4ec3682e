//! How much room the state takes, what is left for it, and giving back what it does not need.

use std::fs;
use std::time::Duration;

use super::error::Error;
use super::spool::{BUSY_TIMEOUT, Spool};

/// What was measured, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// What the state takes: its pages that are in use, and its journal, of which no more counts than [`JOURNAL_COUNTS`].
    pub used: u64,
    /// Pages of the file that nothing uses.
    pub unused: u64,
    /// What its file system has left.
    pub free: u64,
    /// The whole of its journal.
    pub journal: u64,
}

/// So many pages are given back in one transaction.
const PAGES_AT_ONCE: u64 = 500;

/// Unused pages are kept for what comes next, unless there are more than this and they are a quarter of the file.
const SPARE: u64 = 4 << 20;

/// A journal larger than this is emptied when room is short.
const JOURNAL: u64 = 1 << 20;

/// So much of the journal counts: twice what SQLite leaves of it once it was emptied. What there is beyond that is under way
/// into the file, or held by another program that reads; nothing that waits takes that room.
pub const JOURNAL_COUNTS: u64 = 8 << 20;

/// How long whoever reads is waited for when the journal is to be emptied: everybody else waits meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);

impl Spool {
    /// Measures.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`]; [`Error::Io`] if the file system cannot be asked.
    pub fn space(&self) -> Result<Space, Error> {
        let page = self.pragma("page_size")?;
        let unused = self.pragma("freelist_count")?.saturating_mul(page).unsigned_abs();
        let pages = self.pragma("page_count")?.saturating_mul(page).unsigned_abs();
        let io = |source| Error::Io { doing: "ask for the free space of", path: self.dir().to_owned(), source };
        let disk = rustix::fs::statvfs(self.dir()).map_err(|error| io(error.into()))?;
        let journal = self.journal_size();
        Ok(Space {
            used: pages.saturating_sub(unused) + journal.min(JOURNAL_COUNTS),
            unused,
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            journal,
        })
    }

    /// Gives some of the unused pages back to the file system: of many, or, if room is `short`, of any. Returns whether
    /// more could be given back.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn give_back(&mut self, short: bool) -> Result<bool, Error> {
        let Space { used, unused, .. } = self.space()?;
        let worth_it = if short { unused > 0 } else { unused > SPARE && unused > used / 3 };
        if worth_it {
            self.transaction(|transaction| {
                let mut vacuum = transaction.prepare(&format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})"))?;
                let mut steps = vacuum.query([])?;
                while steps.next()?.is_some() {}
                Ok(())
            })?;
            // The file becomes shorter when the journal is brought in.
            self.has_traces = true;
        }
        let left = self.pragma("freelist_count")? > 0;
        if short && !left && self.journal_size() > JOURNAL {
            self.empty_journal()?;
        }
        Ok(worth_it && left)
    }

    /// Brings the journal into the file and cuts it off. It may be that somebody reads: then not, and false.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn empty_journal(&self) -> Result<bool, Error> {
        let connection = &self.connection;
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let emptied = connection
            .busy_timeout(PATIENCE)
            .and_then(|()| connection.query_row(checkpoint, [], |row| Ok(row.get::<_, i64>(0)? == 0)));
        let emptied = connection.busy_timeout(BUSY_TIMEOUT).and(emptied);
        emptied.map_err(|error| self.explain(error))
    }

    fn journal_size(&self) -> u64 {
        fs::metadata(self.journal()).map_or(0, |found| found.len())
    }
}

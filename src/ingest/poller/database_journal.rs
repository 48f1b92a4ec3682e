//! Empties SQLite's journal. While another program keeps a transaction on the state open, the journal cannot be
//! emptied.
//!
//! The relay cannot end that program. So it goes on, and logs the problem. For `state.max_size`, a large journal counts
//! only as if it had the size of an ordinary journal ([`crate::store::DiskUsage`]). If the disk gets full,
//! `state.min_free` takes effect as usual.

use std::time::Duration;

use bytesize::ByteSize;

use crate::store::{self, DiskUsage, Spool, Store, USUAL_JOURNAL_BYTES};
use crate::time::Instant;

/// How often the relay tries to empty a journal that is larger than usual.
const TRY: Duration = Duration::from_secs(10);

/// After this time the log reports that another program keeps the journal large. The relay's own commands read the
/// state only for moments, so they are never reported.
const TELL_LARGE: Duration = Duration::from_secs(10);

/// After this time the log reports that another program keeps erased texts in the journal.
const TELL_TRACES: Duration = Duration::from_secs(60);

/// Work that other programs may block, and whether it is blocked.
#[derive(Debug, Default)]
struct BlockableWork {
    blocked_since: Option<Instant>,
    is_told: bool,
}

/// A report about blocked work that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockedReport {
    /// The work has been blocked for a while.
    Blocked,
    /// The work was done again, after a report that it was blocked.
    Over,
}

/// The poller's knowledge of the journal.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Emptying a journal that is large.
    emptying: BlockableWork,
    /// Emptying a journal that may hold erased texts.
    erasing: BlockableWork,
    tried: Option<Instant>,
    /// The journal's size in bytes while another program keeps the journal from being emptied; `None` before the log
    /// has reported this.
    held: Option<u64>,
}

impl BlockableWork {
    /// Records whether the work could be done. Returns the report that is due now.
    fn note(&mut self, is_done: bool, now: Instant, patience: Duration) -> Option<BlockedReport> {
        if is_done {
            self.blocked_since = None;
            return std::mem::take(&mut self.is_told).then_some(BlockedReport::Over);
        }
        let since = *self.blocked_since.get_or_insert(now);
        let is_due = !self.is_told && now.saturating_duration_since(since) >= patience;
        self.is_told |= is_due;
        is_due.then_some(BlockedReport::Blocked)
    }
}

impl Journal {
    pub(super) fn held(&self) -> Option<u64> {
        self.held
    }

    /// Empties a journal that is larger than it should be, and logs if that cannot be done.
    pub(super) async fn look(&mut self, store: &Store, space: DiskUsage, now: Instant) -> Result<(), store::Error> {
        let is_large = space.journal > USUAL_JOURNAL_BYTES;
        let was_tried = self.tried.is_some_and(|tried| now.saturating_duration_since(tried) < TRY);
        let report = if !is_large {
            self.emptying.note(true, now, TELL_LARGE)
        } else if was_tried {
            None
        } else {
            self.tried = Some(now);
            match store.write(|spool: &mut Spool| spool.truncate_journal()).await {
                Ok(is_emptied) => self.emptying.note(is_emptied, now, TELL_LARGE),
                // The next work that needs the disk will report the failure.
                Err(error) if error.is_passing() => return Ok(()),
                Err(error) => return Err(error),
            }
        };
        match report {
            Some(BlockedReport::Blocked) => tracing::warn!(
                journal = %ByteSize(space.journal),
                hint = "end it: a sqlite3 shell in a transaction, a backup, a command of an earlier version; \
                        `fuser -v state.db` in the state directory shows which",
                "another program holds the state open for reading: the state's journal grows until that program \
                 ends; polling and deliveries go on"
            ),
            Some(BlockedReport::Over) => {
                tracing::info!("no other program holds the state open any more: the state's journal was emptied");
            }
            None => {}
        }
        self.held = self.emptying.is_told.then_some(space.journal);
        Ok(())
    }

    /// Records whether erased texts could be removed from the journal.
    pub(super) fn note_erased(&mut self, is_erased: bool, now: Instant) {
        if self.erasing.note(is_erased, now, TELL_TRACES) == Some(BlockedReport::Blocked) {
            tracing::warn!(
                hint = "end it: `fuser -v state.db` in the state directory shows which",
                "another program holds the state open for reading: removed texts stay in the state's journal until \
                 that program ends"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    #[test]
    fn blocked_work_is_reported_once_and_its_end_once() {
        let began = Clock::starting_at(UnixMs(0)).monotonic();
        let mut work = BlockableWork::default();
        let mut note = |done, seconds| work.note(done, began + Duration::from_secs(seconds), TELL_LARGE);
        assert_eq!([note(false, 0), note(false, 9)], [None, None], "a command may block the work for a moment");
        assert_eq!([note(true, 9), note(false, 11), note(false, 20)], [None; 3], "the work was blocked again at 11");
        assert_eq!([note(false, 21), note(false, 500)], [Some(BlockedReport::Blocked), None]);
        assert_eq!([note(true, 501), note(true, 502)], [Some(BlockedReport::Over), None]);
        assert_eq!([note(false, 600), note(false, 610)], [None, Some(BlockedReport::Blocked)], "and again");
    }
}

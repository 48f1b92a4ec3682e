//! SQLite's journal, which nobody can empty while another program reads the state and does not end.
//!
//! The relay cannot end that program. It goes on, counts no more of such a journal than an ordinary one has
//! ([`crate::store::Space`]), and says what is going on. A disk that gets short is noticed as ever (`state.min_free`).

use std::time::Duration;

use bytesize::ByteSize;

use super::{Poller, Trouble};
use crate::ingest::feed::Feed;
use crate::store::{JOURNAL_COUNTS, Space, Spool};
use crate::time::Instant;

/// A journal that is larger than usual is tried to be emptied this often.
const TRY: Duration = Duration::from_secs(10);

/// A reader that is not done by then is told of: one of our own commands takes moments.
const SAY_LARGE: Duration = Duration::from_secs(10);
const SAY_TRACES: Duration = Duration::from_secs(60);

/// Something that others keep from being done.
#[derive(Debug, Default)]
pub(super) struct Blocked {
    since: Option<Instant>,
    said: bool,
}

/// What is to be said about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It cannot be done, and has not been for a while.
    Blocked,
    /// It was done again.
    Over,
}

/// What the poller knows of the journal.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// It cannot be emptied, though it is large.
    large: Blocked,
    /// It cannot be emptied, though it may hold texts that went.
    traces: Blocked,
    tried: Option<Instant>,
    /// Its size, while it is held and that was said.
    pub(super) held: Option<u64>,
}

impl Blocked {
    /// Notes whether it was done this time. It is news once it was not for so long, and when it is over.
    fn note(&mut self, done: bool, now: Instant, patience: Duration) -> Option<News> {
        if done {
            self.since = None;
            return std::mem::take(&mut self.said).then_some(News::Over);
        }
        let since = *self.since.get_or_insert(now);
        let is_news = !self.said && now.saturating_duration_since(since) >= patience;
        self.said |= is_news;
        is_news.then_some(News::Blocked)
    }
}

impl<F: Feed> Poller<F> {
    /// Empties a journal that is larger than it should be, and says if that cannot be done.
    pub(super) async fn look_at_journal(&mut self, space: Space, now: Instant) -> Result<(), Trouble> {
        let is_large = space.journal > JOURNAL_COUNTS;
        let tried = self.journal.tried.is_some_and(|tried| now.saturating_duration_since(tried) < TRY);
        if is_large && !tried {
            self.journal.tried = Some(now);
            let emptied = match self.store.write(|spool: &mut Spool| spool.empty_journal()).await {
                Ok(emptied) => emptied,
                // Whoever needs the disk will say so.
                Err(error) if error.is_passing() => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let journal = ByteSize(space.journal);
            match self.journal.large.note(emptied, now, SAY_LARGE) {
                Some(News::Blocked) => tracing::warn!(
                    %journal,
                    hint = "end it: a sqlite3 shell in a transaction, a backup, a command of an earlier version; \
                            `fuser -v state.db` in the state directory shows which",
                    "another program holds the state open for reading: its journal grows until that ends; polling and \
                     deliveries go on"
                ),
                Some(News::Over) => tracing::info!("nobody holds the state open any more: its journal was emptied"),
                None => {}
            }
        } else if !is_large && self.journal.large.note(true, now, SAY_LARGE).is_some() {
            tracing::info!("nobody holds the state open any more: its journal was emptied");
        }
        self.journal.held = self.journal.large.said.then_some(space.journal);
        Ok(())
    }

    /// Whether what went could be wiped out of the journal.
    pub(super) fn note_wiped(&mut self, wiped: bool, now: Instant) {
        if self.journal.traces.note(wiped, now, SAY_TRACES) == Some(News::Blocked) {
            tracing::warn!(
                hint = "end it: `fuser -v state.db` in the state directory shows which",
                "another program holds the state open for reading: what was removed from it stays in its journal until \
                 that ends"
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
    fn it_is_said_once_and_so_is_its_end() {
        let began = Clock::starting_at(UnixMs(0)).monotonic();
        let mut blocked = Blocked::default();
        let mut note = |done, seconds| blocked.note(done, began + Duration::from_secs(seconds), SAY_LARGE);
        assert_eq!([note(false, 0), note(false, 9)], [None, None], "a command takes a moment");
        assert_eq!([note(true, 9), note(false, 11), note(false, 20)], [None; 3], "it was another one");
        assert_eq!([note(false, 21), note(false, 500)], [Some(News::Blocked), None]);
        assert_eq!([note(true, 501), note(true, 502)], [Some(News::Over), None]);
        assert_eq!([note(false, 600), note(false, 610)], [None, Some(News::Blocked)], "and again");
    }
}

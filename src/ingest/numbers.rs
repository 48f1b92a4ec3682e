//! When to read the list of numbers, and how far: `GET /v1/numbers`, for the sinks that ask for details of numbers.
//!
//! Invariants: a list counts as complete only if its last page said so; what a failure or an odd answer interrupts is begun
//! again, later each time. Without a sink that asks, nothing is read.

use std::collections::HashSet;
use std::time::Duration;

use crate::domain::{Cursor, More};
use crate::store::NumberKey;
use crate::time::Instant;

/// A list that was read is read again after so long: services and tags are changed by people.
const REFRESH: Duration = Duration::from_secs(300);

/// Where reading the list stands.
#[derive(Debug)]
pub(super) struct Numbers {
    /// Whether any sink asks for details.
    asked_for: bool,
    /// Whether a delivery waits for them.
    awaited: bool,
    /// Not before this.
    due: Instant,
    listing: Option<Listing>,
    /// In a row.
    failures: u32,
}

/// A list that is being read.
#[derive(Debug)]
struct Listing {
    cursor: Option<Cursor>,
    /// Cursors that were followed: one that comes again leads nowhere.
    seen: HashSet<Cursor>,
    /// The newest number that was met before it was begun.
    newest: NumberKey,
}

/// What a page of numbers leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The next page.
    On,
    /// The list is complete: of the numbers up to this one, those that it did not have are absent.
    Complete(NumberKey),
    /// It leads nowhere.
    Lost,
}

impl Numbers {
    pub(super) fn new(asked_for: bool, now: Instant) -> Self {
        Self { asked_for, awaited: false, due: now, listing: None, failures: 0 }
    }

    pub(super) fn asked_for(&self) -> bool {
        self.asked_for
    }

    /// Whether a delivery waits.
    pub(super) fn awaited(&self) -> bool {
        self.awaited
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// A delivery waits, or none does. What waits is seen to at once, unless the API fails.
    pub(super) fn note_awaited(&mut self, awaited: bool, now: Instant) {
        self.awaited = awaited;
        if awaited && self.failures == 0 {
            self.due = self.due.min(now);
        }
    }

    /// When to ask next; `None` = never.
    pub(super) fn due(&self) -> Option<Instant> {
        self.asked_for.then_some(self.due)
    }

    /// Whether a list is to be begun, and not gone on with.
    pub(super) fn begins(&self) -> bool {
        self.listing.is_none()
    }

    pub(super) fn begin(&mut self, newest: NumberKey) {
        self.listing = Some(Listing { cursor: None, seen: HashSet::new(), newest });
    }

    pub(super) fn cursor(&self) -> Option<&Cursor> {
        self.listing.as_ref()?.cursor.as_ref()
    }

    /// A page came, and its numbers are stored.
    pub(super) fn page(&mut self, more: More, now: Instant) -> Turn {
        let Some(listing) = &mut self.listing else { return Turn::Lost };
        match more {
            More::Cursor(cursor) if listing.seen.insert(cursor.clone()) => {
                listing.cursor = Some(cursor);
                Turn::On
            }
            More::End => {
                let newest = listing.newest;
                self.listing = None;
                self.failures = 0;
                self.due = now + REFRESH;
                Turn::Complete(newest)
            }
            More::Cursor(_) | More::Lost => Turn::Lost,
        }
    }

    /// No page came, or one that leads nowhere: the list is begun again after `wait`, which grows with
    /// [`Numbers::failures`].
    pub(super) fn failed(&mut self, wait: impl FnOnce(u32) -> Duration, now: Instant) {
        self.listing = None;
        self.failures = self.failures.saturating_add(1);
        self.due = now + wait(self.failures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    fn more(cursor: &str) -> More {
        More::Cursor(Cursor(cursor.to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_complete_at_its_end_only() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut numbers = Numbers::new(true, now);
        assert!(numbers.due() == Some(now) && numbers.begins());
        numbers.begin(NumberKey::default());
        assert_eq!(numbers.page(more("a"), now), Turn::On);
        assert_eq!(numbers.page(more("b"), now), Turn::On);
        assert_eq!(numbers.cursor(), Some(&Cursor("b".to_owned())));
        assert_eq!(numbers.page(more("a"), now), Turn::Lost, "it was there before");
        numbers.failed(|failures| Duration::from_secs(failures.into()), now);
        assert_eq!(numbers.due(), Some(now + Duration::from_secs(1)));
        numbers.note_awaited(true, now);
        assert_eq!(numbers.due(), Some(now + Duration::from_secs(1)), "a failure is not answered at once");
        assert!(numbers.begins());
        numbers.begin(NumberKey::default());
        assert_eq!(numbers.page(More::Lost, now), Turn::Lost);
        assert_eq!(numbers.page(More::End, now), Turn::Complete(NumberKey::default()));
        assert_eq!(numbers.due(), Some(now + REFRESH));
        numbers.note_awaited(true, now);
        assert_eq!(numbers.due(), Some(now));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_read_for_nobody() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut numbers = Numbers::new(false, now);
        numbers.note_awaited(true, now);
        assert_eq!(numbers.due(), None);
    }
}

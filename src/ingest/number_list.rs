//! Decides when the list of numbers (`GET /v1/numbers`) is read, and when its reading ends. The list is read for the
//! sinks that ask for details of numbers or for events.
//!
//! Invariants:
//! - A list counts as complete only if the API says that no page follows its last page, and if all of its rows could be
//!   read.
//! - If the reading fails, the list is read from its beginning again, after a wait. Each further failure makes the wait
//!   longer, until the list was read to its end.
//! - No list is read for ever: the reading ends after [`MOST_PAGES`] pages, or earlier if the pages repeat themselves.
//! - Without a sink that asks for details or events, no list is read.

use std::collections::HashSet;
use std::time::Duration;

use crate::domain::{Cursor, More, Seq};
use crate::store::NumberKey;
use crate::time::Instant;

/// The time from one complete reading of the list to the next. The list is read again because people change the
/// services and tags of their numbers.
const REFRESH: Duration = Duration::from_secs(300);

/// The most pages of a list: 5,000 numbers at ten a page. A list with more pages counts as a list without an end.
pub(super) const MOST_PAGES: u32 = 500;

/// While a delivery waits for details of its number, this many pages at the beginning of the list get as much of the
/// budget as a gap. The pages after them get only as much as a sweep.
const QUICK_PAGES: u32 = 50;

/// If this many successive pages have only numbers that were listed before, the list counts as a list that goes round
/// in a circle.
const REPEATED_PAGES: u32 = 3;

/// The wait before a list without an end is read again.
const ENDLESS_RETRY: Duration = Duration::from_secs(60 * 60);

/// If the list cannot be read to its end, a delivery waits for it at least this long, and at most about twice as long.
/// Then the delivery becomes a dead letter.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The progress of reading the list of numbers.
#[derive(Debug)]
pub(super) struct NumberList {
    /// Whether any sink asks for details of numbers or for events.
    asked_for: bool,
    /// Whether a delivery waits for details of its number.
    awaited: bool,
    /// The instant from which the next request may leave.
    due: Instant,
    listing: Option<Listing>,
    /// How often the reading has failed since the list was last read to its end.
    failures: u32,
    stuck: Option<StuckDeliveries>,
}

/// Deliveries that wait for a list that cannot be read.
#[derive(Clone, Copy, Debug)]
struct StuckDeliveries {
    since: Instant,
    /// The sequence number of the first message that is stored after `since`.
    before: Seq,
}

/// A reading of the list that has begun and not ended.
#[derive(Debug)]
struct Listing {
    cursor: Option<Cursor>,
    /// The cursors that were followed. If a cursor comes again, the list has no usable end.
    seen: HashSet<Cursor>,
    /// The newest number that the state knew when the reading began.
    newest: NumberKey,
    pages: u32,
    /// The ids of the numbers on the pages that were read.
    ids: HashSet<String>,
    /// How many pages in a row, the last one that was read included, had only numbers that were listed before.
    repeated: u32,
    /// Whether rows of the list could not be read. If so, no number is known to be absent: it may have been in such a
    /// row.
    spoiled: bool,
}

/// The result of a page of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberListStep {
    /// The next page of the list has to be read.
    Continue,
    /// The list is complete. The key is that of the newest number that the state knew when the reading began. If a
    /// number has this key or a lower one, and the list does not show it, it is no longer a number of the account.
    Complete(NumberKey),
    /// The list was read to its end, but some of its rows could not be read. So no number is known to be absent.
    Incomplete,
    /// The page is not the last one, but it has no cursor, or the cursors lead round in a circle.
    Lost,
    /// The list has too many pages.
    Endless,
}

impl NumberList {
    pub(super) fn new(asked_for: bool, now: Instant) -> Self {
        Self { asked_for, awaited: false, due: now, listing: None, failures: 0, stuck: None }
    }

    /// Records whether any sink asks for details of numbers or for events. If none asked before, and one asks now, the
    /// list is read at once.
    pub(super) fn ask_for(&mut self, asked_for: bool, now: Instant) {
        if asked_for && !self.asked_for {
            self.due = self.due.min(now);
        }
        self.asked_for = asked_for;
    }

    pub(super) fn asked_for(&self) -> bool {
        self.asked_for
    }

    /// Whether a delivery waits for details of its number.
    pub(super) fn awaited(&self) -> bool {
        self.awaited
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Records whether a delivery waits for details. If a delivery waits, the list is read at once, unless the last
    /// attempt to read the list has failed.
    pub(super) fn note_awaited(&mut self, awaited: bool, now: Instant) {
        self.awaited = awaited;
        if awaited {
            self.read_again(now);
        }
    }

    /// Lets the list be read at once, unless the last attempt to read the list has failed.
    pub(super) fn read_again(&mut self, now: Instant) {
        if self.failures == 0 {
            self.due = self.due.min(now);
        }
    }

    /// Returns when the next request may leave; `None` if no sink asks for details of numbers or for events.
    pub(super) fn due(&self) -> Option<Instant> {
        self.asked_for.then_some(self.due)
    }

    pub(super) fn begins(&self) -> bool {
        self.listing.is_none()
    }

    /// Begins to read the list. `newest` is the newest number that the state knows.
    pub(super) fn begin(&mut self, newest: NumberKey) {
        let (seen, ids) = (HashSet::new(), HashSet::new());
        self.listing = Some(Listing { cursor: None, seen, newest, pages: 0, ids, repeated: 0, spoiled: false });
    }

    pub(super) fn cursor(&self) -> Option<&Cursor> {
        self.listing.as_ref()?.cursor.as_ref()
    }

    /// Returns whether [`QUICK_PAGES`] pages of the list were read, so that the other pages get less of the budget.
    pub(super) fn is_long(&self) -> bool {
        self.listing.as_ref().is_some_and(|listing| listing.pages >= QUICK_PAGES)
    }

    /// Returns whether the list became long with the last page.
    pub(super) fn has_become_long(&self) -> bool {
        self.listing.as_ref().is_some_and(|listing| listing.pages == QUICK_PAGES)
    }

    /// Handles a page with these numbers, after they were stored. `spoiled` says that other rows of the page could not
    /// be read.
    pub(super) fn page(&mut self, ids: Vec<String>, spoiled: bool, more: More, now: Instant) -> NumberListStep {
        let Some(listing) = &mut self.listing else { return NumberListStep::Lost };
        let listed = listing.ids.len();
        let is_empty = ids.is_empty();
        listing.ids.extend(ids);
        listing.repeated = if listing.ids.len() == listed && !is_empty { listing.repeated + 1 } else { 0 };
        listing.pages += 1;
        listing.spoiled |= spoiled;
        match more {
            More::Cursor(_) if listing.pages >= MOST_PAGES => NumberListStep::Endless,
            More::Cursor(_) if listing.repeated >= REPEATED_PAGES => NumberListStep::Lost,
            More::Cursor(cursor) if listing.seen.insert(cursor.clone()) => {
                listing.cursor = Some(cursor);
                NumberListStep::Continue
            }
            More::End if listing.spoiled => NumberListStep::Incomplete,
            More::End => {
                let newest = listing.newest;
                self.listing = None;
                self.failures = 0;
                self.stuck = None;
                self.due = now + REFRESH;
                NumberListStep::Complete(newest)
            }
            More::Cursor(_) | More::Lost => NumberListStep::Lost,
        }
    }

    /// Gives up a list that has no end, until [`ENDLESS_RETRY`] has passed.
    pub(super) fn endless(&mut self, now: Instant) {
        self.failed(|_| ENDLESS_RETRY, now);
    }

    /// If deliveries have waited too long for a list that cannot be read ([`PATIENCE`]), returns a sequence number: the
    /// caller gives up the undecided deliveries of all messages with lower numbers. `next` is the sequence number that
    /// the next stored message gets.
    pub(super) fn given_up(&mut self, next: Seq, now: Instant) -> Option<Seq> {
        if !self.awaited || self.failures == 0 {
            self.stuck = None;
            return None;
        }
        let later = StuckDeliveries { since: now, before: next };
        let stuck = *self.stuck.get_or_insert(later);
        if now < stuck.since + PATIENCE {
            return None;
        }
        self.stuck = Some(later);
        Some(stuck.before)
    }

    /// Ends the reading of the list because it failed. The next reading begins after the time that `wait` returns for
    /// the number of failures.
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
        let mut numbers = NumberList::new(true, now);
        assert!(numbers.due() == Some(now) && numbers.begins());
        numbers.begin(NumberKey::default());
        assert_eq!(numbers.page(Vec::new(), false, more("a"), now), NumberListStep::Continue);
        assert_eq!(numbers.page(Vec::new(), false, more("b"), now), NumberListStep::Continue);
        assert_eq!(numbers.cursor(), Some(&Cursor("b".to_owned())));
        assert_eq!(numbers.page(Vec::new(), false, more("a"), now), NumberListStep::Lost, "cursor a again");
        numbers.failed(|failures| Duration::from_secs(failures.into()), now);
        assert_eq!(numbers.due(), Some(now + Duration::from_secs(1)));
        numbers.note_awaited(true, now);
        assert_eq!(numbers.due(), Some(now + Duration::from_secs(1)), "after a failure the list is not read at once");
        assert!(numbers.begins());
        numbers.begin(NumberKey::default());
        assert_eq!(numbers.page(Vec::new(), false, More::Lost, now), NumberListStep::Lost);
        assert_eq!(numbers.page(Vec::new(), false, More::End, now), NumberListStep::Complete(NumberKey::default()));
        assert_eq!(numbers.due(), Some(now + REFRESH));
        numbers.note_awaited(true, now);
        assert_eq!(numbers.due(), Some(now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_with_a_spoiled_row_is_not_complete() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut numbers = NumberList::new(true, now);
        numbers.begin(NumberKey::default());
        assert_eq!(numbers.page(vec!["a".to_owned()], true, more("a"), now), NumberListStep::Continue);
        assert_eq!(numbers.page(vec!["b".to_owned()], false, More::End, now), NumberListStep::Incomplete);
        numbers.failed(|_| REFRESH, now);
        // The failed reading does not affect the next reading of the list.
        numbers.begin(NumberKey::default());
        let turn = numbers.page(vec!["a".to_owned()], false, More::End, now);
        assert_eq!((turn, numbers.failures()), (NumberListStep::Complete(NumberKey::default()), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_without_an_end_is_not_read_for_ever() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut numbers = NumberList::new(true, now);
        numbers.begin(NumberKey::default());
        for page in 1..MOST_PAGES {
            assert_eq!(
                numbers.page(vec![format!("n{page}")], false, more(&page.to_string()), now),
                NumberListStep::Continue
            );
            assert_eq!((numbers.has_become_long(), numbers.is_long()), (page == QUICK_PAGES, page >= QUICK_PAGES));
        }
        assert_eq!(numbers.page(vec!["last".to_owned()], false, more("last"), now), NumberListStep::Endless);
        numbers.endless(now);
        numbers.note_awaited(true, now);
        assert_eq!(numbers.due(), Some(now + ENDLESS_RETRY), "a delivery that waits does not shorten the wait");
        // The API sends one page again and again, with a new cursor each time.
        numbers.begin(NumberKey::default());
        let page = || vec!["a".to_owned(), "b".to_owned()];
        let turns: Vec<NumberListStep> =
            (0..4).map(|n| numbers.page(page(), false, more(&format!("again{n}")), now)).collect();
        assert_eq!(
            turns,
            [NumberListStep::Continue, NumberListStep::Continue, NumberListStep::Continue, NumberListStep::Lost]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_delivery_does_not_wait_for_ever_for_a_list_that_cannot_be_read() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let hours = |hours: u64| now + Duration::from_secs(hours * 60 * 60);
        let mut numbers = NumberList::new(true, now);
        numbers.note_awaited(true, now);
        assert_eq!(numbers.given_up(Seq(5), hours(0)), None, "no reading has failed yet");
        numbers.failed(|_| Duration::ZERO, now);
        assert_eq!(numbers.given_up(Seq(5), hours(1)), None);
        assert_eq!(numbers.given_up(Seq(9), hours(24)), None);
        assert_eq!(numbers.given_up(Seq(11), hours(25)), Some(Seq(5)), "these messages came a day ago");
        assert_eq!(numbers.given_up(Seq(12), hours(48)), None);
        assert_eq!(numbers.given_up(Seq(13), hours(49)), Some(Seq(11)));
        numbers.begin(NumberKey::default());
        numbers.page(Vec::new(), false, More::End, now);
        assert_eq!(numbers.given_up(Seq(20), hours(99)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_list_is_not_read_if_no_sink_asks_for_it() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut numbers = NumberList::new(false, now);
        numbers.note_awaited(true, now);
        assert_eq!(numbers.due(), None);
    }
}

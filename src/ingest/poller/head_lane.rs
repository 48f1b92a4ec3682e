//! The head lane: polls of the newest messages, one request at a time.
//!
//! A poll may take several requests. If all rows of the first page are dated after the present time, or if the page is
//! empty but has a cursor, the poll also reads the next pages. If the poll opens a walk, it also reads the first pages
//! of this walk. After a failure the next poll waits.

use std::time::Duration;

use super::page_request::{PageKind, PageRequest, answer_of};
use crate::api::{PAGE_ROWS, Response};
use crate::domain::{UnixMs, WalkId};
use crate::ingest::coverage::NextAction;
use crate::time::Instant;

/// The head lane: its next request, the request under way, and the waits.
pub(super) struct HeadLane {
    /// What the next request asks for.
    next: PageKind,
    wait: HeadWait,
    in_flight: Option<PageRequest>,
    poll: HeadPoll,
    /// How many failures there were since the last success.
    failures: u32,
    small_pages: Option<SmallHeadPages>,
    /// The longest time between two polls that the budget has asked for since the last poll ended.
    spacing: Duration,
    /// The relay's time of the last poll that was answered with a page.
    last_poll: Option<UnixMs>,
}

/// The poll under way, or the last poll if none is under way.
struct HeadPoll {
    began: Instant,
    /// How many pages were asked for, without the pages of a walk.
    requests: u32,
}

/// What the next request of the head lane waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadWait {
    /// An instant, for example the end of a wait after a failure. Once it has come, the request may leave.
    Until(Instant),
    /// The next poll. Its due time depends on the budget, which may change at any moment. So no instant is stored here:
    /// the loop calls [`HeadRest::due`] each time it chooses the requests that leave.
    Rest(HeadRest),
}

/// The rest between two polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadRest {
    /// When the last poll began.
    pub(super) began: Instant,
    /// When the last poll ended.
    pub(super) ended: Instant,
    /// How many pages the last poll asked for, without the pages of a walk.
    pub(super) requests: u32,
}

impl HeadRest {
    /// Returns when the next poll is due: `spacing` after the last poll began, and not before `not_before`.
    pub(super) fn due(&self, spacing: Duration, not_before: Option<Instant>) -> Instant {
        Some(self.began + spacing).max(not_before).unwrap_or(self.began)
    }
}

/// A smaller size of pages, used for a while after a page was too large or could not be read.
#[derive(Clone, Copy)]
struct SmallHeadPages {
    until: Instant,
    limit: u32,
}

impl HeadLane {
    /// The first poll is due now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: PageKind::Head { cursor: None },
            wait: HeadWait::Until(now),
            in_flight: None,
            poll: HeadPoll { began: now, requests: 0 },
            failures: 0,
            small_pages: None,
            spacing: Duration::ZERO,
            last_poll: None,
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.in_flight.is_some()
    }

    pub(super) fn wait(&self) -> HeadWait {
        self.wait
    }

    pub(super) fn next(&self) -> &PageKind {
        &self.next
    }

    /// Returns whether the next request begins a new poll.
    pub(super) fn begins_poll(&self) -> bool {
        self.next == PageKind::Head { cursor: None }
    }

    /// Returns the walk that the request under way reads; without such a request, the walk that the next request reads.
    pub(super) fn walk(&self) -> Option<WalkId> {
        self.in_flight.as_ref().map_or(&self.next, |in_flight| &in_flight.kind).walk()
    }

    pub(super) fn begin_poll(&mut self, now: Instant) {
        self.poll = HeadPoll { began: now, requests: 0 };
    }

    pub(super) fn limit(&self, now: Instant) -> u32 {
        self.small_pages.filter(|small| small.until > now).map_or(PAGE_ROWS, |small| small.limit)
    }

    /// Records that a request has left.
    pub(super) fn begin_request(&mut self, in_flight: PageRequest) {
        self.poll.requests += u32::from(matches!(in_flight.kind, PageKind::Head { .. }));
        self.in_flight = Some(in_flight);
    }

    /// Waits for the answer to the request under way. Without such a request this future never ends.
    pub(super) async fn answer(&mut self) -> Response {
        answer_of(&mut self.in_flight).await
    }

    /// Ends the request under way and returns it.
    pub(super) fn end_request(&mut self) -> Option<PageRequest> {
        self.in_flight.take()
    }

    /// After a page of this `kind`: chooses the next request of the poll by the action `next`. Returns whether the poll
    /// goes on. The poll reads at most `head_pages` pages of a new walk.
    pub(super) fn goes_on(&mut self, kind: &PageKind, next: NextAction, head_pages: u32) -> bool {
        let pages_left = match kind {
            PageKind::Head { .. } => head_pages,
            PageKind::Walk { pages_left, .. } => pages_left.saturating_sub(1),
        };
        self.next = match next {
            NextAction::Follow(cursor) => PageKind::Head { cursor: Some(cursor) },
            NextAction::FollowWalk(id) if pages_left > 0 => PageKind::Walk { id, pages_left },
            NextAction::FollowWalk(_) | NextAction::Idle | NextAction::AskAgain | NextAction::Wait(..) => return false,
        };
        true
    }

    /// Ends the poll. The lane rests until the next poll.
    pub(super) fn end_poll(&mut self, now: Instant) {
        self.next_poll_from_head();
        let HeadPoll { began, requests } = self.poll;
        self.wait = HeadWait::Rest(HeadRest { began, ended: now, requests });
        self.spacing = Duration::ZERO;
    }

    /// Records that the budget asks for this time between two polls.
    pub(super) fn note_spacing(&mut self, spacing: Duration) {
        self.spacing = self.spacing.max(spacing);
    }

    pub(super) fn spacing(&self) -> Duration {
        self.spacing
    }

    /// Forgets the time between two polls that the budget has asked for, because the limits of the budget are new.
    pub(super) fn forget_spacing(&mut self) {
        self.spacing = Duration::ZERO;
    }

    /// Makes the next request begin a new poll. The time at which this request is due stays the same.
    pub(super) fn next_poll_from_head(&mut self) {
        self.next = PageKind::Head { cursor: None };
    }

    pub(super) fn wait_until(&mut self, at: Instant) {
        self.wait = HeadWait::Until(at);
    }

    /// Ends the wait or the rest: the next request may leave now.
    pub(super) fn wait_no_more(&mut self, now: Instant) {
        self.wait = HeadWait::Until(now);
    }

    /// Counts a failure. Returns how many failures there were since the last success.
    pub(super) fn count_failure(&mut self) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// Returns how many failures there were since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Records that a poll was answered with a page, at `local` by the relay's time. Returns how many failures there
    /// were since the previous success.
    pub(super) fn note_success(&mut self, local: UnixMs, now: Instant) -> u32 {
        self.last_poll = Some(local);
        self.small_pages = self.small_pages.filter(|small| small.until > now);
        std::mem::take(&mut self.failures)
    }

    /// Lets requests ask for `limit` rows until the instant `until`.
    pub(super) fn use_small_pages(&mut self, limit: u32, until: Instant) {
        self.small_pages = Some(SmallHeadPages { until, limit });
    }

    pub(super) fn last_poll(&self) -> Option<UnixMs> {
        self.last_poll
    }

    /// Records that the relay's time was corrected by `shift` milliseconds.
    pub(super) fn shift_times(&mut self, shift: i64) {
        self.last_poll = self.last_poll.map(|at| UnixMs(at.0.saturating_add(shift)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Clock;

    #[tokio::test(start_paused = true)]
    async fn a_poll_reads_two_pages_of_its_gap_and_polls_begin_an_interval_apart() {
        let began = Clock::starting_at(UnixMs(0)).monotonic();
        let mut head = HeadLane::new(began);
        head.begin_poll(began);
        let mut kind = PageKind::Head { cursor: None };
        for pages_left in [2, 1] {
            assert!(head.goes_on(&kind, NextAction::FollowWalk(WalkId(7)), 2));
            kind = PageKind::Walk { id: WalkId(7), pages_left };
            assert_eq!((head.next(), head.walk(), head.begins_poll()), (&kind, Some(WalkId(7)), false));
        }
        assert!(!head.goes_on(&kind, NextAction::FollowWalk(WalkId(7)), 2), "the background lane reads the rest");
        let ended = began + Duration::from_secs(1);
        head.end_poll(ended);
        let rest = HeadRest { began, ended, requests: 0 };
        assert!(head.begins_poll() && head.wait() == HeadWait::Rest(rest));
        assert_eq!(rest.due(Duration::from_secs(3), None), began + Duration::from_secs(3));
        let later = began + Duration::from_secs(5);
        assert_eq!(rest.due(Duration::from_secs(3), Some(later)), later);
        assert_eq!(rest.due(Duration::from_secs(3), Some(ended)), began + Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_spacing_since_a_poll_is_shown() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut head = HeadLane::new(now);
        for seconds in [1, 180, 120] {
            head.note_spacing(Duration::from_secs(seconds));
        }
        assert_eq!(head.spacing(), Duration::from_secs(180));
        head.end_poll(now);
        assert_eq!(head.spacing(), Duration::ZERO);
        head.note_spacing(Duration::from_secs(60));
        head.forget_spacing();
        head.note_spacing(Duration::from_secs(5));
        assert_eq!(head.spacing(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn small_pages_are_over_after_a_while() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let later = now + Duration::from_secs(600);
        let mut head = HeadLane::new(now);
        assert_eq!(head.limit(now), PAGE_ROWS);
        head.use_small_pages(1, later);
        assert_eq!((head.limit(now), head.limit(later)), (1, PAGE_ROWS));
        assert_eq!([head.count_failure(), head.count_failure()], [1, 2]);
        assert_eq!(head.note_success(UnixMs(5), later), 2);
        assert_eq!((head.failures(), head.limit(now), head.last_poll()), (0, PAGE_ROWS, Some(UnixMs(5))));
        head.shift_times(-3);
        assert_eq!(head.last_poll(), Some(UnixMs(2)));
    }
}

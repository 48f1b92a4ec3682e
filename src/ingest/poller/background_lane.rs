//! The background lane: pages of walks, one request at a time. If a walk fails, only this walk waits; if the API fails,
//! the whole lane waits.

use std::collections::HashMap;

use super::page_request::{PageRequest, answer_of, next_smaller};
use crate::api::{PAGE_ROWS, Response};
use crate::domain::WalkId;
use crate::time::Instant;

/// The background lane: the request under way, and the waits of the lane and of single walks.
#[derive(Default)]
pub(super) struct BackgroundLane {
    in_flight: Option<PageRequest>,
    /// How many requests have left. This number decides which walk has its turn.
    turn: u64,
    /// The walks that were set back, each with the instant until which it waits.
    waiting: HashMap<WalkId, Instant>,
    /// How many failures there were since the last success.
    failures: u32,
    /// The instant until which the lane waits; `None` if it does not wait.
    due: Option<Instant>,
    small_pages: Option<SmallWalkPages>,
}

/// A walk that is read in small pages for a while, because a whole page was too large or could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SmallWalkPages {
    id: WalkId,
    /// How many rows a request asks for.
    limit: u32,
    /// How many small pages are still read before a whole page is tried again.
    left: u32,
}

impl BackgroundLane {
    pub(super) fn is_under_way(&self) -> bool {
        self.in_flight.is_some()
    }

    pub(super) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.due.filter(|due| *due > now)
    }

    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    /// Returns whether this walk may be read now, as far as its own wait allows.
    pub(super) fn is_ready(&self, id: WalkId, now: Instant) -> bool {
        self.waiting.get(&id).is_none_or(|until| *until <= now)
    }

    /// Returns when the first of the waiting walks becomes ready.
    pub(super) fn next_ready(&self, now: Instant) -> Option<Instant> {
        self.waiting.values().filter(|until| **until > now).min().copied()
    }

    pub(super) fn limit(&self, id: WalkId) -> u32 {
        self.small_pages.filter(|small| small.id == id).map_or(PAGE_ROWS, |small| small.limit)
    }

    /// Records that a request has left.
    pub(super) fn begin_request(&mut self, in_flight: PageRequest) {
        self.turn += 1;
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

    /// Records that a page was read and stored.
    pub(super) fn note_success(&mut self) {
        self.failures = 0;
        self.due = None;
        let small = self.small_pages.filter(|small| small.left > 1);
        self.small_pages = small.map(|small| SmallWalkPages { left: small.left - 1, ..small });
    }

    /// Counts a failure. Returns how many failures there were since the last success.
    pub(super) fn count_failure(&mut self) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    pub(super) fn wait_until(&mut self, at: Instant) {
        self.due = Some(at);
    }

    pub(super) fn wait_at_least_until(&mut self, at: Instant) {
        self.due = self.due.max(Some(at));
    }

    /// Makes a single walk wait. The other walks go on.
    pub(super) fn hold_back(&mut self, id: WalkId, until: Instant) {
        self.waiting.insert(id, until);
    }

    pub(super) fn wait_no_more(&mut self) {
        self.due = None;
    }

    /// Makes the next page of a walk one row long, because a whole page was too large.
    pub(super) fn read_one_row(&mut self, id: WalkId) {
        self.small_pages = Some(SmallWalkPages { id, limit: 1, left: 1 });
    }

    /// Makes the next pages of a walk small, because a page of `limit` rows could not be read.
    pub(super) fn step_over(&mut self, id: WalkId, limit: u32) {
        self.small_pages = Some(SmallWalkPages { id, limit: next_smaller(limit), left: PAGE_ROWS });
    }

    /// Forgets the waits of walks that are closed.
    pub(super) fn forget_closed(&mut self, is_open: impl Fn(WalkId) -> bool) {
        self.waiting.retain(|id, _| is_open(*id));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    #[tokio::test(start_paused = true)]
    async fn a_walk_waits_by_itself_and_is_forgotten_when_it_is_closed() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut lane = BackgroundLane::default();
        lane.hold_back(WalkId(1), at(5));
        lane.hold_back(WalkId(2), at(3));
        assert!(!lane.is_ready(WalkId(1), at(4)) && lane.is_ready(WalkId(2), at(4)) && lane.is_ready(WalkId(3), now));
        assert_eq!(
            (lane.next_ready(now), lane.next_ready(at(3)), lane.next_ready(at(5))),
            (Some(at(3)), Some(at(5)), None)
        );
        lane.forget_closed(|id| id != WalkId(1));
        assert!(lane.is_ready(WalkId(1), now) && !lane.is_ready(WalkId(2), now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_ends_the_wait_of_the_lane() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut lane = BackgroundLane::default();
        assert_eq!(lane.waits_until(now), None);
        lane.wait_until(at(9));
        lane.wait_at_least_until(at(5));
        assert_eq!((lane.waits_until(now), lane.waits_until(at(9))), (Some(at(9)), None));
        assert_eq!([lane.count_failure(), lane.count_failure()], [1, 2]);
        lane.note_success();
        assert_eq!((lane.waits_until(now), lane.count_failure()), (None, 1));
    }

    #[test]
    fn ten_small_pages_follow_a_page_that_cannot_be_read() {
        let mut lane = BackgroundLane::default();
        lane.read_one_row(WalkId(1));
        assert_eq!((lane.limit(WalkId(1)), lane.limit(WalkId(2))), (1, PAGE_ROWS));
        lane.note_success();
        assert_eq!(lane.limit(WalkId(1)), PAGE_ROWS);
        lane.step_over(WalkId(1), 3);
        for _ in 0..PAGE_ROWS {
            assert_eq!(lane.limit(WalkId(1)), 4);
            lane.note_success();
        }
        assert_eq!(lane.limit(WalkId(1)), PAGE_ROWS);
    }
}

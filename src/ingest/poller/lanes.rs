//! The three lanes, each with at most one request under way: polls of the newest messages, pages of walks, and the list
//! of numbers.

use super::background_lane::BackgroundLane;
use super::head_lane::HeadLane;
use super::numbers_lane::NumbersLane;
use crate::api::{NumberPage, Response};
use crate::domain::WalkId;
use crate::ingest::number_list::NumberList;
use crate::time::Instant;

/// The lanes. Each lane is a part of its own; the functions here concern several lanes.
pub(super) struct Lanes {
    pub(super) head: HeadLane,
    pub(super) background: BackgroundLane,
    pub(super) numbers: NumbersLane,
}

pub(super) enum LaneResponse {
    /// An answer about messages, in the head lane (`is_head`) or in the background lane.
    Messages {
        is_head: bool,
        response: Response,
    },
    Numbers(Response<NumberPage>),
}

impl Lanes {
    pub(super) fn new(numbers: NumberList, now: Instant) -> Self {
        Self { head: HeadLane::new(now), background: BackgroundLane::default(), numbers: NumbersLane::new(numbers) }
    }

    /// Waits for the next answer. If no request is under way, this future never ends. If the future is dropped, no
    /// answer is lost.
    pub(super) async fn next_response(&mut self) -> LaneResponse {
        tokio::select! {
            biased;
            response = self.head.answer() => LaneResponse::Messages { is_head: true, response },
            response = self.background.answer() => LaneResponse::Messages { is_head: false, response },
            response = self.numbers.answer() => LaneResponse::Numbers(response),
        }
    }

    /// Returns whether no request is under way.
    pub(super) fn are_idle(&self) -> bool {
        !self.head.is_under_way() && !self.background.is_under_way() && !self.numbers.is_under_way()
    }

    /// Returns whether four conditions hold: no request for messages is under way, no such request follows at once, the
    /// last head poll did not fail, and no delivery waits for details of a number.
    pub(super) fn are_at_rest(&self) -> bool {
        let messages_are_idle = !self.head.is_under_way() && !self.background.is_under_way();
        messages_are_idle && self.head.begins_poll() && self.head.failures() == 0 && !self.numbers.list().awaited()
    }

    /// Returns whether the background lane may read this walk: the head lane does not read it, and the walk does not
    /// have to wait.
    pub(super) fn is_walk_ready(&self, id: WalkId, now: Instant) -> bool {
        self.head.walk() != Some(id) && self.background.is_ready(id, now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::page_request::PageKind;
    use super::*;
    use crate::domain::UnixMs;
    use crate::ingest::coverage::NextAction;
    use crate::time::Clock;

    #[tokio::test(start_paused = true)]
    async fn the_background_lane_does_not_read_a_walk_that_the_head_lane_reads() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut lanes = Lanes::new(NumberList::new(true, now), now);
        assert!(lanes.are_idle() && lanes.are_at_rest() && lanes.is_walk_ready(WalkId(1), now));
        assert!(lanes.head.goes_on(&PageKind::Head { cursor: None }, NextAction::FollowWalk(WalkId(1)), 2));
        assert!(!lanes.is_walk_ready(WalkId(1), now) && lanes.is_walk_ready(WalkId(2), now));
        assert!(lanes.are_idle() && !lanes.are_at_rest(), "nothing is under way, but the poll goes on");
        lanes.head.end_poll(now);
        lanes.background.hold_back(WalkId(1), now + Duration::from_secs(1));
        assert!(lanes.are_at_rest() && !lanes.is_walk_ready(WalkId(1), now));
    }

    #[tokio::test(start_paused = true)]
    async fn lanes_are_not_at_rest_while_a_delivery_waits_for_details_or_polls_fail() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut lanes = Lanes::new(NumberList::new(true, now), now);
        lanes.numbers.list_mut().note_awaited(true, now);
        assert!(!lanes.are_at_rest());
        lanes.numbers.list_mut().note_awaited(false, now);
        assert!(lanes.are_at_rest());
        lanes.head.count_failure();
        assert!(!lanes.are_at_rest());
    }
}

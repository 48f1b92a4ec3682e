//! The three lanes, each with at most one request under way: polls of the newest messages, pages of walks, and the list of
//! numbers.

use super::background_lane::BackgroundLane;
use super::head_lane::HeadLane;
use super::numbers_lane::NumbersLane;
use crate::api::{NumberPage, Response};
use crate::domain::WalkId;
use crate::ingest::numbers::Numbers;
use crate::time::Instant;

/// The lanes. Each is a part of its own; here is what concerns several of them.
pub(super) struct Lanes {
    pub(super) head: HeadLane,
    pub(super) background: BackgroundLane,
    pub(super) numbers: NumbersLane,
}

/// An answer that came.
pub(super) enum Arrived {
    /// In the head lane (`is_head`) or in the background lane.
    Messages {
        is_head: bool,
        response: Response,
    },
    Numbers(Response<NumberPage>),
}

impl Lanes {
    pub(super) fn new(numbers: Numbers, now: Instant) -> Self {
        Self { head: HeadLane::new(now), background: BackgroundLane::default(), numbers: NumbersLane::new(numbers) }
    }

    /// The next answer; with no request under way there never is one. Dropping the future loses nothing.
    pub(super) async fn arrival(&mut self) -> Arrived {
        tokio::select! {
            biased;
            response = self.head.answer() => Arrived::Messages { is_head: true, response },
            response = self.background.answer() => Arrived::Messages { is_head: false, response },
            response = self.numbers.answer() => Arrived::Numbers(response),
        }
    }

    /// Whether no request is under way.
    pub(super) fn are_idle(&self) -> bool {
        !self.head.is_under_way() && !self.background.is_under_way() && !self.numbers.is_under_way()
    }

    /// Whether no message is being read or follows at once, and no delivery waits for a number.
    pub(super) fn are_at_rest(&self) -> bool {
        let messages_are_idle = !self.head.is_under_way() && !self.background.is_under_way();
        messages_are_idle && self.head.begins_poll() && self.head.failures() == 0 && !self.numbers.list().awaited()
    }

    /// Whether the background lane may read this walk: the head lane does not, and the walk waits for nothing.
    pub(super) fn is_walk_ready(&self, id: WalkId, now: Instant) -> bool {
        self.head.walk() != Some(id) && self.background.is_ready(id, now)
    }
}

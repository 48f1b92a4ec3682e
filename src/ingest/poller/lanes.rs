//! The two lanes: what is asked next, and when it may leave.

use std::collections::HashMap;
use std::time::Duration;

use super::{Mode, Poller, RETRY};
use crate::api::PAGE_ROWS;
use crate::api::budget::{Demand, Permission, RequestPurpose, Ticket};
use crate::domain::{Cursor, UnixMs, WalkId, WalkKind};
use crate::ingest::coverage::Next;
use crate::ingest::feed::{Answer, Feed};
use crate::time::{AT_LEAST_EVERY, Instant};

/// Where the head lane stands.
pub(super) struct HeadLane {
    /// What it asks for next, and not before when.
    pub(super) next: Ask,
    pub(super) due: Instant,
    pub(super) flight: Option<Flight>,
    pub(super) poll_began: Instant,
    /// Requests of the poll under way.
    pub(super) poll_requests: u32,
    pub(super) failures: u32,
    /// Small pages until then, and of how many rows: a whole one was too large, or cannot be read.
    pub(super) small_until: Option<(Instant, u32)>,
    /// Polls in a row that did not tell whose messages these are.
    pub(super) unverified: u32,
    /// The last page was another account's.
    pub(super) stranger: bool,
    pub(super) first_answer: Option<UnixMs>,
    pub(super) last_poll: Option<UnixMs>,
}

#[derive(Default)]
pub(super) struct BackgroundLane {
    pub(super) flight: Option<Flight>,
    pub(super) turn: u64,
    pub(super) not_before: HashMap<WalkId, Instant>,
    pub(super) failures: u32,
    pub(super) due: Option<Instant>,
    pub(super) small: Option<SmallPages>,
}

/// A walk whose pages are too large, or cannot be read.
#[derive(Clone, Copy)]
pub(super) struct SmallPages {
    pub(super) id: WalkId,
    /// So many rows are asked for.
    pub(super) limit: u32,
    /// So many such pages are read before a whole one is tried again.
    pub(super) left: u32,
}

/// How many rows are asked for after a page of `limit` rows could not be read: one, then more, since a cursor that is
/// spoiled belongs to the last row of its page.
pub(super) fn smaller(limit: u32) -> u32 {
    if limit >= PAGE_ROWS { 1 } else { limit + 1 }
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ask {
    Head { cursor: Option<Cursor> },
    Walk { id: WalkId, pages_left: u32 },
}

pub(super) struct Flight {
    pub(super) ask: Ask,
    /// Where it reads; `None`: the newest page.
    pub(super) cursor: Option<Cursor>,
    pub(super) limit: u32,
    pub(super) ticket: Ticket,
    /// Which of the keys it was sent with: a refusal says nothing about those that came after.
    pub(super) key: u64,
    pub(super) answer: Answer,
}

/// How long a one-shot command leaves the head alone while there is something to read behind it.
const ONCE_HEAD_REST: Duration = Duration::from_secs(5);

impl HeadLane {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: Ask::Head { cursor: None },
            due: now,
            flight: None,
            poll_began: now,
            poll_requests: 0,
            failures: 0,
            small_until: None,
            unverified: 0,
            stranger: false,
            first_answer: None,
            last_poll: None,
        }
    }
}

impl<F: Feed> Poller<F> {
    /// Sends what may leave now; returns when to look again.
    pub(super) fn start_requests(&mut self) -> Instant {
        let now = self.clock.monotonic();
        let mut wake = (now + AT_LEAST_EVERY)
            .min(self.look_for_replays)
            .min(self.housekeeping.due)
            .min(self.room_due())
            .min(self.wipe_due);
        if self.room.shortage.is_some() {
            return wake;
        }
        self.budget_wait.until = None;
        if self.head.flight.is_none() {
            if self.head.due > now {
                wake = wake.min(self.head.due);
            } else {
                match self.budget.window().admit(RequestPurpose::Head, now) {
                    Permission::Go => self.start_head(now),
                    Permission::WaitUntil(until) => {
                        wake = wake.min(until);
                        self.budget_wait.note(until);
                        self.show_silence(now);
                    }
                    Permission::WaitForAnswer => {}
                }
            }
        }
        if self.background.flight.is_none()
            && let Some(until) = self.start_background(now)
        {
            wake = wake.min(until);
        }
        self.say_budget_wait(now);
        wake
    }

    pub(super) fn start_head(&mut self, now: Instant) {
        let (cursor, ask) = match self.head.next.clone() {
            Ask::Head { cursor: None } => {
                self.head.poll_began = now;
                self.head.poll_requests = 0;
                let cursor = self.state.head_cursor(&self.rules, self.estimated_now(now));
                (cursor.clone(), Ask::Head { cursor })
            }
            Ask::Head { cursor } => (cursor.clone(), Ask::Head { cursor }),
            Ask::Walk { id, pages_left } => match self.walk_cursor(id) {
                Some(cursor) => (cursor, Ask::Walk { id, pages_left }),
                None => {
                    self.head.next = Ask::Head { cursor: None };
                    return;
                }
            },
        };
        let small = self.head.small_until.filter(|(until, _)| *until > now);
        let limit = small.map_or(PAGE_ROWS, |(_, limit)| limit);
        self.head.poll_requests += 1;
        self.head.flight = Some(self.send(RequestPurpose::Head, ask, cursor.as_ref(), limit, now));
    }

    /// Returns when to look again, if not after an answer.
    pub(super) fn start_background(&mut self, now: Instant) -> Option<Instant> {
        if let Some(due) = self.background.due.filter(|due| *due > now) {
            return Some(due);
        }
        let turn = self.background.turn;
        let mut again = self.background.not_before.values().filter(|until| **until > now).min().copied();
        // The walk whose turn it is; if its lane is used up, another may go.
        for turn in [turn, turn + 1] {
            let Some((id, lane)) = self.pick_walk(now, turn) else { continue };
            match self.budget.window().admit(lane, now) {
                Permission::Go => {
                    let cursor = self.walk_cursor(id)?;
                    let small = self.background.small.filter(|small| small.id == id);
                    let limit = small.map_or(PAGE_ROWS, |small| small.limit);
                    let ask = Ask::Walk { id, pages_left: 0 };
                    self.background.turn += 1;
                    self.background.flight = Some(self.send(lane, ask, cursor.as_ref(), limit, now));
                    return None;
                }
                Permission::WaitUntil(until) => {
                    again = Some(again.map_or(until, |again| again.min(until)));
                    self.budget_wait.note(until);
                }
                Permission::WaitForAnswer => {}
            }
        }
        again
    }

    pub(super) fn pick_walk(&self, now: Instant, turn: u64) -> Option<(WalkId, RequestPurpose)> {
        if !self.verified {
            return None;
        }
        let taken = match (&self.head.flight, &self.head.next) {
            (Some(Flight { ask: Ask::Walk { id, .. }, .. }), _) | (None, Ask::Walk { id, .. }) => Some(*id),
            _ => None,
        };
        let ready =
            |id: WalkId| Some(id) != taken && self.background.not_before.get(&id).is_none_or(|until| *until <= now);
        let walk = self.state.background_walk(turn, ready)?;
        let patient = walk.kind == WalkKind::Sweep && self.mode == Mode::Run;
        let lane = if patient { RequestPurpose::Sweep } else { RequestPurpose::Walk };
        Some((walk.id, lane))
    }

    /// What waits behind the head.
    fn demand(&self, now: Instant) -> Demand {
        if self.verified && self.numbers.due().is_some_and(|due| due <= now) {
            return if self.numbers_lane() == RequestPurpose::Walk { Demand::Walks } else { Demand::Sweeps };
        }
        match (self.pick_walk(now, 1), self.pick_walk(now, 0)) {
            (None, _) | (_, None) => Demand::Nothing,
            (Some((_, RequestPurpose::Sweep)), Some((_, RequestPurpose::Sweep))) => Demand::Sweeps,
            _ => Demand::Walks,
        }
    }

    pub(super) fn walk_cursor(&self, id: WalkId) -> Option<Option<Cursor>> {
        let mut walks = self.state.walks();
        walks.find(|walk| walk.id == id).map(|walk| walk.cursor.clone())
    }

    pub(super) fn send(
        &mut self,
        lane: RequestPurpose,
        ask: Ask,
        cursor: Option<&Cursor>,
        limit: u32,
        now: Instant,
    ) -> Flight {
        let wall = self.clock.relay_time();
        let ticket = self.budget.send(lane, now, wall);
        let answer = self.feed.fetch(cursor, limit, wall);
        Flight { ask, cursor: cursor.cloned(), limit, ticket, key: self.keys_tried, answer }
    }

    /// What the lane does next.
    pub(super) fn proceed(&mut self, is_head: bool, ask: &Ask, next: Next, now: Instant) {
        if let Next::Wait(id, failures) = next {
            self.background.not_before.insert(id, now + RETRY.jittered(failures, &self.jitter));
        }
        if !is_head {
            self.background.failures = 0;
            self.background.due = None;
            let small = self.background.small.filter(|small| small.left > 1);
            self.background.small = small.map(|small| SmallPages { left: small.left - 1, ..small });
            return;
        }
        let pages_left = match ask {
            Ask::Head { .. } => self.rules.head_pages,
            Ask::Walk { pages_left, .. } => pages_left.saturating_sub(1),
        };
        match next {
            Next::Follow(cursor) => self.head.next = Ask::Head { cursor: Some(cursor) },
            Next::FollowWalk(id) if pages_left > 0 => self.head.next = Ask::Walk { id, pages_left },
            Next::FollowWalk(_) | Next::Idle | Next::AskAgain | Next::Wait(..) => self.rest_head(now),
        }
    }

    /// The head poll is over; the next comes an interval after this one began.
    pub(super) fn rest_head(&mut self, now: Instant) {
        let demand = self.demand(now);
        let spacing = self.budget.window().head_spacing(demand, self.head.poll_requests, now);
        self.head.next = Ask::Head { cursor: None };
        self.head.due = self.head.poll_began + spacing;
        // What a one-shot command waits for is behind the head: its polls must not take the requests for that.
        if self.mode == Mode::Once && demand != Demand::Nothing {
            self.head.due = self.head.due.max(now + ONCE_HEAD_REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_stepped_over_with_pages_of_every_size() {
        let sizes: Vec<u32> = std::iter::successors(Some(PAGE_ROWS), |limit| Some(smaller(*limit))).take(12).collect();
        assert_eq!(sizes, [10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1]);
    }
}

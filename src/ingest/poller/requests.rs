//! Chooses the requests for messages that leave now: a head poll, and a page of a walk.

use std::time::Duration;

use super::Poller;
use super::head_lane::HeadWait;
use super::page_request::{PageKind, PageRequest};
use crate::api::budget::{Demand, Permission, RequestPurpose};
use crate::domain::{Cursor, UnixMs, WalkId};
use crate::ingest::coverage::NextAction;
use crate::ingest::feed::Feed;
use crate::ingest::report::Condition;
use crate::ingest::waiting_readers::head_spacing;
use crate::store;
use crate::time::{Instant, MAX_TURN_INTERVAL};

/// The shortest silence towards the API that the relay shows as its condition.
const LONG_SILENCE: Duration = Duration::from_secs(2);

impl<F: Feed> Poller<F> {
    /// Sends the requests for messages that may leave now. Returns the instant at which the loop has to call this
    /// function again if nothing happens before.
    pub(super) fn start_requests(&mut self) -> Instant {
        let now = self.clock.monotonic();
        let wake = (now + MAX_TURN_INTERVAL).min(self.replays.due()).min(self.disk.due());
        if self.disk.shortage().is_some() {
            return wake;
        }
        self.once.begin_requests();
        let head = self.start_head(now);
        let background = self.start_background(now);
        self.once.explain_budget_wait(self.lanes.are_idle(), now);
        [head, background].into_iter().flatten().fold(wake, Instant::min)
    }

    /// Sends the next request of the head lane if it may leave now. Otherwise returns when it may leave, if that is
    /// known.
    fn start_head(&mut self, now: Instant) -> Option<Instant> {
        if self.lanes.head.is_under_way() {
            return None;
        }
        let due = self.head_due(now);
        if due > now {
            return Some(due);
        }
        match self.link.admit(RequestPurpose::Head, now) {
            Permission::Go => {
                self.send_head(now);
                None
            }
            Permission::WaitUntil(until) => {
                self.once.note_budget_wait(until);
                self.show_silence(now);
                Some(until)
            }
            Permission::WaitForAnswer => None,
        }
    }

    /// Returns when the next request of the head lane is due. This depends on the present budget, and on the other
    /// lanes' demand.
    fn head_due(&mut self, now: Instant) -> Instant {
        let rest = match self.lanes.head.wait() {
            HeadWait::Until(at) => return at,
            HeadWait::Rest(rest) => rest,
        };
        let demand = self.demand(now);
        let paces = self.link.head_paces(demand, rest.requests, rest.began, now);
        let spacing = head_spacing(paces, demand, self.readers.borrow().want_fast_polls(now));
        self.lanes.head.note_spacing(spacing);
        rest.due(spacing, self.once.head_rests_until(demand, rest.ended))
    }

    fn send_head(&mut self, now: Instant) {
        let kind = match self.lanes.head.next().clone() {
            PageKind::Head { cursor: None } => {
                self.lanes.head.begin_poll(now);
                PageKind::Head { cursor: self.state.head_cursor(&self.rules, self.estimated_now(now)) }
            }
            kind => kind,
        };
        let cursor = match &kind {
            PageKind::Head { cursor } => cursor.clone(),
            PageKind::Walk { id, .. } => match self.cursor_of_walk(*id) {
                Some(cursor) => cursor,
                // The walk is closed by now, so the next request begins a new poll.
                None => return self.lanes.head.next_poll_from_head(),
            },
        };
        let limit = self.lanes.head.limit(now);
        let in_flight = self.send(RequestPurpose::Head, kind, cursor, limit, now);
        self.lanes.head.begin_request(in_flight);
    }

    /// Sends the next request of the background lane if it may leave now. Otherwise returns when one may leave, if that
    /// is known.
    fn start_background(&mut self, now: Instant) -> Option<Instant> {
        if self.lanes.background.is_under_way() {
            return None;
        }
        if let Some(due) = self.lanes.background.waits_until(now) {
            return Some(due);
        }
        let turn = self.lanes.background.turn();
        let mut again = self.lanes.background.next_ready(now);
        // The walk of this turn comes first. If the budget has no slot for its purpose, the walk of the next turn may
        // get one.
        for turn in [turn, turn + 1] {
            let Some((id, purpose)) = self.pick_walk(now, turn) else { continue };
            match self.link.admit(purpose, now) {
                Permission::Go => {
                    let cursor = self.cursor_of_walk(id)?;
                    let limit = self.lanes.background.limit(id);
                    let in_flight = self.send(purpose, PageKind::Walk { id, pages_left: 0 }, cursor, limit, now);
                    self.lanes.background.begin_request(in_flight);
                    return None;
                }
                Permission::WaitUntil(until) => {
                    again = Some(again.map_or(until, |again| again.min(until)));
                    self.once.note_budget_wait(until);
                }
                Permission::WaitForAnswer => {}
            }
        }
        again
    }

    /// Returns the walk that the background lane reads at this turn, and the purpose for which its page is asked for.
    fn pick_walk(&self, now: Instant, turn: u64) -> Option<(WalkId, RequestPurpose)> {
        if !self.account.is_verified() {
            return None;
        }
        let walk = self.state.background_walk(turn, |id| self.lanes.is_walk_ready(id, now))?;
        Some((walk.id, self.once.purpose_of_walk(walk.kind)))
    }

    /// Returns the most urgent work for which another lane could send a request now.
    fn demand(&self, now: Instant) -> Demand {
        let numbers = match self.numbers_due().is_some_and(|due| due <= now) {
            true if self.purpose_of_numbers() == RequestPurpose::Walk => Demand::Walks,
            true => Demand::Sweeps,
            false => Demand::Nothing,
        };
        // At turn 1 the background lane reads the newest gap first, at turn 0 the oldest walk.
        let walks = match (self.pick_walk(now, 1), self.pick_walk(now, 0)) {
            (None, _) | (_, None) => Demand::Nothing,
            (Some((_, RequestPurpose::Sweep)), Some((_, RequestPurpose::Sweep))) => Demand::Sweeps,
            _ => Demand::Walks,
        };
        numbers.max(walks)
    }

    /// Returns the cursor of an open walk: `Some(None)` if the walk reads from the head, `None` if the walk is closed.
    fn cursor_of_walk(&self, id: WalkId) -> Option<Option<Cursor>> {
        let mut walks = self.state.walks();
        walks.find(|walk| walk.id == id).map(|walk| walk.cursor.clone())
    }

    fn send(
        &mut self,
        purpose: RequestPurpose,
        kind: PageKind,
        cursor: Option<Cursor>,
        limit: u32,
        now: Instant,
    ) -> PageRequest {
        let request = self.link.fetch(purpose, cursor.as_ref(), limit, now, self.clock.relay_time());
        PageRequest { kind, cursor, limit, request }
    }

    /// After a page of this `kind` was stored: chooses what the lane does next.
    pub(super) fn proceed(&mut self, is_head: bool, kind: &PageKind, next: NextAction, now: Instant) {
        if let NextAction::Wait(id, failures) = next {
            self.lanes.background.hold_back(id, now + self.backoff.wait(failures));
        }
        if !is_head {
            self.lanes.background.note_success();
        } else if !self.lanes.head.goes_on(kind, next, self.rules.head_pages) {
            self.lanes.head.end_poll(now);
        }
    }

    /// If the API has asked for a silence, and its end is at least [`LONG_SILENCE`] away, shows the silence as the
    /// condition.
    pub(super) fn show_silence(&mut self, now: Instant) {
        let Some(until) = self.link.silent_until(now) else { return };
        let wait = until.saturating_duration_since(now);
        // Any other condition is worse than a silence, and stays.
        let may_be_replaced =
            matches!(self.report.condition(), Condition::Limited(_) | Condition::Starting | Condition::Polling);
        if wait >= LONG_SILENCE && may_be_replaced {
            let until = self.clock.relay_time().after(wait).0 / 1000 * 1000;
            self.set_condition(Condition::rate_limited(UnixMs(until)));
        }
    }

    /// Logs foreign requests if a report is due, and stores how many were reported.
    pub(super) async fn report_foreign_requests(&mut self) -> Result<(), store::Error> {
        let Some(told) = self.link.due_foreign_report() else { return Ok(()) };
        match self.disk.store().write(move |spool| spool.record_reported_foreign_requests(told)).await {
            // Without this record, the next process reports the other programs again. The next work that needs the disk
            // reports the failure.
            Err(error) if error.is_passing() => Ok(()),
            result => result,
        }
    }
}

//! Reads the list of numbers: requests its pages, stores the numbers and the events about them, and decides the
//! deliveries that waited for the list.

use super::{Ending, PollError, Poller};
use crate::api::budget::{Permission, RequestPurpose};
use crate::api::{Error, NumberPage, Response};
use crate::domain::{DeliveryClass, Insert, Marks, PollChange, Row, RowStanding, Seq};
use crate::ingest::feed::Feed;
use crate::ingest::number_list::{MOST_PAGES, NumberListStep};
use crate::store::{self, Spool, UndecidedScope};
use crate::time::Instant;

fn unreadable(why: &str) -> String {
    format!("the list of numbers cannot be read: {why}")
}

impl<F: Feed> Poller<F> {
    /// Asks for the next page of the list if this is due and the budget allows a request. Returns the instant at which
    /// the poller has to call this function again if no answer comes before; `None` if there is no such instant.
    pub(super) async fn start_numbers(&mut self) -> Result<Option<Instant>, PollError> {
        let now = self.clock.monotonic();
        let is_free = !self.lanes.numbers.is_under_way();
        let Some(due) = self.numbers_due().filter(|_| is_free) else { return Ok(None) };
        if due > now {
            return Ok(Some(due));
        }
        let purpose = self.purpose_of_numbers();
        match self.link.admit(purpose, now) {
            Permission::Go => {}
            Permission::WaitUntil(until) => return Ok(Some(until)),
            Permission::WaitForAnswer => return Ok(None),
        }
        if self.lanes.numbers.list().begins() {
            match self.disk.store().read(Spool::newest_number).await {
                Ok(newest) => self.lanes.numbers.list_mut().begin(newest),
                Err(error) => return self.numbers_unstored(error, now).map(|()| None),
            }
        }
        let cursor = self.lanes.numbers.list().cursor();
        let request = self.link.fetch_numbers(purpose, cursor, now, self.clock.relay_time());
        self.lanes.numbers.begin_request(request);
        Ok(None)
    }

    /// Returns when the next page of the list is due; `None` if no page is to be read. No page is read before the first
    /// page of messages is stored: until then no delivery waits for the list, and no event can be stored.
    pub(super) fn numbers_due(&self) -> Option<Instant> {
        let may_be_read = self.account.is_verified() && self.state.coverage.is_some();
        self.lanes.numbers.list().due().filter(|_| may_be_read)
    }

    /// Returns the purpose for which the next page of the list is asked for.
    pub(super) fn purpose_of_numbers(&self) -> RequestPurpose {
        let list = self.lanes.numbers.list();
        self.once.purpose_of_numbers(list.awaited() && !list.is_long())
    }

    /// Handles the answer to a request for numbers.
    pub(super) async fn handle_number_response(
        &mut self,
        response: Response<NumberPage>,
    ) -> Result<Option<Ending>, PollError> {
        let Some(request) = self.lanes.numbers.end_request() else { return Ok(None) };
        let now = self.clock.monotonic();
        self.link.answered(&request, &response, now, self.clock.relay_time());
        self.report_foreign_requests().await?;
        self.timing.hear_date(response.date, &response.page);
        let page = match response.page {
            Err(Error::RateLimited) => return Ok(self.rate_limited(&response.rate, now)),
            Err(error) => return Ok(self.numbers_failed(&error.to_string(), now)),
            Ok(page) => page,
        };
        self.link.not_rate_limited(&request);
        match self.take_numbers(page, now).await {
            Ok(ending) => Ok(ending),
            Err(error) => self.numbers_unstored(error, now).map(|()| None),
        }
    }

    /// Stores a page of the list, and decides the deliveries that waited for it.
    async fn take_numbers(&mut self, page: NumberPage, now: Instant) -> Result<Option<Ending>, store::Error> {
        let wall = self.clock.relay_time();
        let NumberPage { numbers, spoiled, more } = page;
        self.lanes.numbers.note_spoiled_rows(spoiled);
        // While the time by the messages' clock is unknown, nobody knows how soon a number expires. So no event is
        // made.
        let events = self.clock.message_time().map(|now| self.expiry.events(&numbers, now)).unwrap_or_default();
        let ids: Vec<String> = numbers.iter().map(|number| number.id.clone()).collect();
        let stored = self.disk.store().write(move |spool| {
            let numbers: Vec<_> = numbers.iter().map(|number| (number.id.as_str(), &*number.raw)).collect();
            spool.record_numbers(&numbers, wall)
        });
        stored.await?;
        self.store_events(events).await?;
        let list = self.lanes.numbers.list_mut();
        let failed_before = list.failures();
        match list.page(ids, spoiled > 0, more, now) {
            NumberListStep::Continue if list.has_become_long() && list.awaited() => tracing::warn!(
                "the list of numbers is long: the rest of it gets a fifth of the budget at most; messages that need details \
                 of their number wait"
            ),
            NumberListStep::Continue => {}
            NumberListStep::Incomplete => {
                self.decide(UndecidedScope::Known).await?;
                return Ok(self.numbers_failed("some of its rows are no valid JSON", now));
            }
            NumberListStep::Lost => {
                return Ok(self.numbers_failed("the API's cursors do not lead to the end of the list", now));
            }
            NumberListStep::Endless => {
                let why = format!("it has more than {MOST_PAGES} pages");
                let ending = self.numbers_failed(&why, now);
                self.lanes.numbers.list_mut().endless(now);
                let is_awaited = self.lanes.numbers.list().awaited();
                let gives_up = self.once.gives_up_now(unreadable(&why)).filter(|_| is_awaited);
                return Ok(ending.or(gives_up));
            }
            NumberListStep::Complete(newest) => {
                self.lanes.numbers.note_success();
                self.expiry.note_looked();
                if failed_before > 0 {
                    tracing::info!(failures = failed_before, "the list of numbers can be read again");
                }
                self.disk.store().write(move |spool| spool.complete_number_list(newest, wall)).await?;
            }
        }
        self.decide(UndecidedScope::Known).await?;
        Ok(None)
    }

    /// Stores the events that the state does not know, and releases them to the sinks that ask for events. Each event
    /// is stored in one transaction with its deliveries. If a crash comes before this transaction, the next reading of
    /// the list finds the event again.
    async fn store_events(&mut self, events: Vec<Row>) -> Result<(), store::Error> {
        if events.is_empty() || self.disk.is_stale() {
            return Ok(());
        }
        let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
        let look = move |spool: &Spool| spool.known(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        let known = self.disk.store().read(look).await?;
        for (row, _) in events.into_iter().zip(known).filter(|(_, known)| known.is_none()) {
            let Some(coverage) = &mut self.state.coverage else { return Ok(()) };
            let seq = coverage.marks.next_seq;
            let marks = Marks { next_seq: Seq(seq.0 + 1), ..coverage.marks };
            let (id, number) = (row.id.clone(), row.number.clone());
            let ops = vec![
                PollChange::Insert(Box::new(Insert { seq, row, standing: RowStanding::Event, held_by: None })),
                PollChange::Release { rows: vec![seq], class: DeliveryClass::Live },
                PollChange::Advance(marks),
            ];
            self.disk.commit(ops, self.clock.relay_time()).await?;
            coverage.marks = marks;
            tracing::info!(
                message.id = id,
                number.id = number,
                "a number expires soon: sinks with events = true are told"
            );
            (self.released)();
        }
        Ok(())
    }

    /// Decides whether sinks want the messages that wait for a decision, as far as this can be decided now.
    pub(super) async fn decide(&mut self, which: UndecidedScope) -> Result<(), store::Error> {
        let mut after = None;
        loop {
            let (made, next) = self.disk.store().write(move |spool| spool.decide(after, which)).await?;
            if made > 0 {
                (self.released)();
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        self.check_undecided().await
    }

    /// Looks whether a command has asked for a replay of messages that a sink never had, and decides whether the sink
    /// wants them.
    pub(super) async fn check_replays(&mut self) -> Result<(), PollError> {
        let now = self.clock.monotonic();
        if self.replays.due() > now || self.disk.is_stale() {
            return Ok(());
        }
        self.replays.look(now);
        match self.decide_replays().await {
            // The decision is tried again, and the next work that needs the disk will report the failure.
            Err(error) if error.is_passing() => {
                tracing::debug!(%error, "replays that commands asked for could not be decided");
                Ok(())
            }
            decided => decided.map_err(PollError::from),
        }
    }

    async fn decide_replays(&mut self) -> Result<(), store::Error> {
        let found = self.disk.store().read(Spool::replay_count).await?;
        if self.replays.is_new(found) {
            self.decide(UndecidedScope::All).await?;
            self.replays.note_decided(found);
        }
        Ok(())
    }

    /// Looks whether a delivery waits for details of a number, and records the answer in `NumberList`.
    pub(super) async fn check_undecided(&mut self) -> Result<(), store::Error> {
        if self.lanes.numbers.list().asked_for() {
            let is_awaited = self.disk.store().read(Spool::has_undecided).await?;
            self.lanes.numbers.list_mut().note_awaited(is_awaited, self.clock.monotonic());
        }
        Ok(())
    }

    /// Records that the list could not be read. It is read from its beginning again later.
    fn numbers_failed(&mut self, why: &str, now: Instant) -> Option<Ending> {
        if self.lanes.numbers.list().failures() == 0 {
            tracing::warn!(
                error = why,
                "the list of numbers cannot be read; messages that need details of their number wait"
            );
        }
        self.lanes.numbers.list_mut().failed(|failures| self.backoff.wait(failures), now);
        self.expiry.note_looked();
        self.lanes.numbers.note_trouble(why, self.clock.relay_time());
        let list = self.lanes.numbers.list();
        self.once.gives_up(list.failures(), unreadable(why)).filter(|_| list.awaited())
    }

    /// Makes dead letters of deliveries that have waited too long for a list that cannot be read. So their messages are
    /// not lost, and they are not sent to a sink that may not want them.
    pub(super) async fn give_up_undecided(&mut self) -> Result<(), store::Error> {
        let Some(next) = self.state.coverage.as_ref().map(|coverage| coverage.marks.next_seq) else { return Ok(()) };
        let (now, wall) = (self.clock.monotonic(), self.clock.relay_time());
        let Some(before) = self.lanes.numbers.list_mut().given_up(next, now) else { return Ok(()) };
        let dead = self.disk.store().write(move |spool| spool.give_up_undecided(before, wall)).await?;
        if dead > 0 {
            // Delivery is woken up, because the fallbacks of the sinks may have got these messages.
            (self.released)();
            tracing::error!(
                dead_letters = dead,
                hint = format!(
                    "`{} dead-letters retry --all` sends them, and all other dead letters, without asking filters",
                    self.invocation
                ),
                "messages waited for more than a day for details of their number, which cannot be read: they are dead letters"
            );
        }
        self.check_undecided().await
    }

    /// Handles an error of the store that came while the list was being read or stored.
    fn numbers_unstored(&mut self, error: store::Error, now: Instant) -> Result<(), PollError> {
        if !error.is_passing() {
            return Err(error.into());
        }
        self.numbers_failed(&error.to_string(), now);
        Ok(())
    }
}

//! The third lane: the list of numbers, while a sink asks for details of them.

use super::failure::ONCE_PATIENCE;
use super::{Ending, Mode, Poller, RETRY, Trouble};
use crate::api::budget::{Permission, RequestPurpose, Ticket};
use crate::api::{Error, NumberPage, Response};
use crate::ingest::feed::{Feed, NumberAnswer};
use crate::ingest::numbers::{MOST_PAGES, NumbersTurn};
use crate::store::{self, Spool, WhichUndecided};
use crate::time::{AT_LEAST_EVERY, Instant};

/// A request for numbers under way.
pub(super) struct NumberFlight {
    ticket: Ticket,
    pub(super) answer: NumberAnswer,
}

fn unreadable(why: &str) -> String {
    format!("the list of numbers cannot be read: {why}")
}

impl<F: Feed> Poller<F> {
    /// Sends what may leave now; returns when to look again, if not after an answer.
    pub(super) async fn start_numbers(&mut self) -> Result<Option<Instant>, Trouble> {
        let now = self.clock.monotonic();
        let Some(due) = self.numbers.due().filter(|_| self.verified && self.number_flight.is_none()) else {
            return Ok(None);
        };
        if due > now {
            return Ok(Some(due));
        }
        let lane = self.numbers_lane();
        match self.budget.window().admit(lane, now) {
            Permission::Go => {}
            Permission::WaitUntil(until) => return Ok(Some(until)),
            Permission::WaitForAnswer => return Ok(None),
        }
        if self.numbers.begins() {
            match self.store.read(Spool::newest_number).await {
                Ok(newest) => self.numbers.begin(newest),
                Err(error) => return self.numbers_unstored(error, now).map(|()| None),
            }
        }
        let wall = self.clock.relay_time();
        let ticket = self.budget.send(lane, now, wall);
        let answer = self.feed.fetch_numbers(self.numbers.cursor(), wall);
        self.number_flight = Some(NumberFlight { ticket, answer });
        Ok(None)
    }

    /// What waits for a number is as urgent as a gap; refreshing what is known is not.
    pub(super) fn numbers_lane(&self) -> RequestPurpose {
        let urgent = self.numbers.awaited() && !self.numbers.is_long();
        if urgent || self.mode == Mode::Once { RequestPurpose::Walk } else { RequestPurpose::Sweep }
    }

    /// A request for numbers is over.
    pub(super) async fn numbers_landed(&mut self, response: Response<NumberPage>) -> Result<Option<Ending>, Trouble> {
        let Some(NumberFlight { ticket, .. }) = self.number_flight.take() else { return Ok(None) };
        let (now, wall) = (self.clock.monotonic(), self.clock.relay_time());
        self.budget.answered(ticket, &response.rate, now, wall);
        self.watch_foreign().await?;
        self.hear_date(response.date, &response.page);
        let page = match response.page {
            Err(Error::RateLimited) => return Ok(self.rate_limited(&response.rate, now)),
            Err(error) => return Ok(self.numbers_failed(&error.to_string(), now)),
            Ok(page) => page,
        };
        self.budget.window().not_refused();
        let NumberPage { numbers, spoiled, more } = page;
        if spoiled > 0 && !std::mem::replace(&mut self.spoiled_numbers_said, true) {
            tracing::warn!(numbers = spoiled, "rows of the list of numbers are no valid JSON: they are passed over");
        }
        let ids: Vec<String> = numbers.iter().map(|number| number.id.clone()).collect();
        let stored = self.store.write(move |spool| {
            spool.put_numbers(numbers.iter().map(|number| (number.id.as_str(), &*number.raw)), wall)
        });
        if let Err(error) = stored.await {
            return self.numbers_unstored(error, now).map(|()| None);
        }
        let failed_before = self.numbers.failures();
        match self.numbers.page(ids, spoiled > 0, more, now) {
            NumbersTurn::On if self.numbers.has_become_long() && self.numbers.awaited() => tracing::warn!(
                "the list of numbers is long: the rest of it gets a fifth of the budget at most; messages that need details \
                 of their number wait"
            ),
            NumbersTurn::On => {}
            NumbersTurn::Spoiled => {
                if let Err(error) = self.decide(WhichUndecided::Known).await {
                    return self.numbers_unstored(error, now).map(|()| None);
                }
                return Ok(self.numbers_failed("rows of it are no valid JSON", now));
            }
            NumbersTurn::Lost => return Ok(self.numbers_failed("its pages lead nowhere", now)),
            NumbersTurn::Endless => {
                let why = format!("it has more than {MOST_PAGES} pages");
                let ending = self.numbers_failed(&why, now);
                self.numbers.endless(now);
                let gives_up = self.mode == Mode::Once && self.numbers.awaited();
                return Ok(ending.or_else(|| gives_up.then(|| Ending::GaveUp(unreadable(&why)))));
            }
            NumbersTurn::Complete(newest) => {
                self.numbers_trouble = None;
                if failed_before > 0 {
                    tracing::info!(failures = failed_before, "the list of numbers can be read again");
                }
                if let Err(error) = self.store.write(move |spool| spool.end_numbers(newest, wall)).await {
                    return self.numbers_unstored(error, now).map(|()| None);
                }
            }
        }
        match self.decide(WhichUndecided::Known).await {
            Ok(()) => Ok(None),
            Err(error) => self.numbers_unstored(error, now).map(|()| None),
        }
    }

    /// Decides what can be decided now, and takes note of what cannot.
    pub(super) async fn decide(&mut self, which: WhichUndecided) -> Result<(), store::Error> {
        let mut after = None;
        loop {
            let (made, next) = self.store.write(move |spool| spool.decide(after, which)).await?;
            if made > 0 {
                (self.released)();
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        self.look_for_undecided().await
    }

    /// A command may have asked for messages that a sink never had: whether it wants them is decided here.
    pub(super) async fn look_for_replays(&mut self) -> Result<(), Trouble> {
        let now = self.clock.monotonic();
        if self.look_for_replays > now || self.stale.is_some() {
            return Ok(());
        }
        self.look_for_replays = now + AT_LEAST_EVERY;
        let decided = match self.store.read(Spool::replays).await {
            Ok(replays) if replays == self.replays => Ok(()),
            Ok(replays) => self.decide(WhichUndecided::All).await.map(|()| self.replays = replays),
            Err(error) => Err(error),
        };
        match decided {
            // It is tried again; whoever needs the disk will say so.
            Err(error) if error.is_passing() => {
                tracing::debug!(%error, "what commands asked for could not be decided");
                Ok(())
            }
            decided => decided.map_err(Trouble::from),
        }
    }

    /// Takes note of whether a delivery waits for a number.
    pub(super) async fn look_for_undecided(&mut self) -> Result<(), store::Error> {
        if self.numbers.asked_for() {
            let awaited = self.store.read(Spool::has_undecided).await?;
            self.numbers.note_awaited(awaited, self.clock.monotonic());
        }
        Ok(())
    }

    fn numbers_failed(&mut self, why: &str, now: Instant) -> Option<Ending> {
        if self.numbers.failures() == 0 {
            tracing::warn!(
                error = why,
                "the list of numbers cannot be read; messages that need details of their number wait"
            );
        }
        let jitter = &self.jitter;
        self.numbers.failed(|failures| RETRY.jittered(failures, jitter), now);
        let gives_up = self.mode == Mode::Once && self.numbers.awaited() && self.numbers.failures() >= ONCE_PATIENCE;
        if self.numbers_trouble.is_none() {
            self.numbers_trouble = Some((why.to_owned(), self.clock.relay_time()));
        }
        gives_up.then(|| Ending::GaveUp(unreadable(why)))
    }

    /// What has waited long enough for a list that cannot be read becomes a dead letter: it is not sent to a sink that may
    /// not want it, and not lost.
    pub(super) async fn give_up_undecided(&mut self) -> Result<(), store::Error> {
        let Some(next) = self.state.coverage.as_ref().map(|coverage| coverage.marks.next_seq) else { return Ok(()) };
        let (now, wall) = (self.clock.monotonic(), self.clock.relay_time());
        let Some(before) = self.numbers.given_up(next, now) else { return Ok(()) };
        let dead = self.store.write(move |spool| spool.give_up_undecided(before, wall)).await?;
        if dead > 0 {
            tracing::error!(
                dead_letters = dead,
                hint = "`joltsms-relay dead-letters retry` sends them without asking filters",
                "messages waited for more than a day for details of their number, which cannot be read: they are dead letters"
            );
        }
        self.look_for_undecided().await
    }

    /// The disk did not take it.
    fn numbers_unstored(&mut self, error: store::Error, now: Instant) -> Result<(), Trouble> {
        if !error.is_passing() {
            return Err(error.into());
        }
        self.numbers_failed(&error.to_string(), now);
        Ok(())
    }
}

//! A request is over: what came is looked up, decided on, and committed.

use std::time::Duration;

use super::failure::ONCE_PATIENCE;
use super::lanes::{Ask, Flight};
use super::telling::say_anomalies;
use super::{Ending, Mode, Poller, RETRY, Trouble};
use crate::api::budget::RateHeaders;
use crate::api::{self, Error, Response};
use crate::domain::{Cursor, Row, StoreOp, UnixMs, Walk};
use crate::ingest::account::{self, AccountVerdict, Evidence};
use crate::ingest::coverage::{FeedPage, Next, Now, Step};
use crate::ingest::feed::Feed;
use crate::ingest::report::Condition;
use crate::ingest::server_clock::OwnClocks;
use crate::store;
use crate::time::Instant;

const UNVERIFIED: &str =
    "the API key or address is new and shows no messages yet; waiting for one of a number that is known";

impl<F: Feed> Poller<F> {
    /// A request is over.
    pub(super) async fn landed(&mut self, is_head: bool, response: Response) -> Result<Option<Ending>, Trouble> {
        let flight = if is_head { self.head.flight.take() } else { self.background.flight.take() };
        let Some(Flight { ask, cursor, limit, ticket, key, .. }) = flight else { return Ok(None) };
        let (now, wall) = (self.clock.monotonic(), self.clock.relay_time());
        self.budget.answered(ticket, &response.rate, now, wall);
        self.watch_foreign().await?;
        if !matches!(response.page, Err(Error::RateLimited)) {
            self.budget.window().not_refused();
        }
        let Response { date, rate, page } = response;
        // First, so that what is handed on now is tried when it is known what time it is.
        self.hear_date(date, &page);
        self.tell_the_time().await?;
        if self.stale.is_some() && !matches!(page, Err(Error::RateLimited)) {
            // Asked for by a state that is no longer true.
            return Ok(None);
        }
        match page {
            Ok(page) => match self.apply(is_head, &ask, cursor.as_ref(), page, date, now).await {
                Ok(()) if std::mem::take(&mut self.head.stranger) => Ok(self.key_of_another_account(now)),
                Ok(()) => Ok(self.gives_up_waiting()),
                Err(Trouble::Store(error)) if error.is_passing() => Ok(self.commit_failed(is_head, &error, now)),
                Err(trouble) => Err(trouble),
            },
            Err(Error::RateLimited) => Ok(self.rate_limited(&rate, now)),
            // The other lane has seen to it already.
            Err(Error::KeyRefused(_)) if key != self.keys_tried => Ok(None),
            Err(Error::KeyRefused(refusal)) => Ok(self.key_refused(&refusal, now)),
            Err(error) => self.failed(is_head, &ask, limit, error, now).await,
        }
    }

    /// 429: silence until the reset.
    pub(super) fn rate_limited(&mut self, rate: &RateHeaders, now: Instant) -> Option<Ending> {
        let jitter = &self.jitter;
        let wait = self.budget.window().refused(rate, |times| RETRY.jittered(times, jitter), now);
        let until = self.clock.relay_time().after(wait);
        tracing::warn!(wait_s = wait.as_secs_f64(), %until, "over the API's rate limit; silent until it resets");
        self.show_silence(now);
        let gives_up = self.mode == Mode::Once && self.budget.window().refusals() >= ONCE_PATIENCE;
        gives_up.then(|| Ending::GaveUp(Error::RateLimited.to_string()))
    }

    pub(super) async fn apply(
        &mut self,
        is_head: bool,
        ask: &Ask,
        cursor: Option<&Cursor>,
        page: api::Page,
        date: Option<UnixMs>,
        at: Instant,
    ) -> Result<(), Trouble> {
        let api::Page { rows, more, total } = page;
        self.total = total.or(self.total);
        let rows_read = rows.len();
        let catches_up = matches!(ask, Ask::Walk { id, .. } if self.catches_up(*id));
        let newest_ingested = rows.iter().filter_map(|row| row.ingested).max();
        let local = self.clock.relay_time();
        let own = OwnClocks { relay: local, machine: self.clock.machine_time(), at };
        let now = Now { server: self.server.read(date, newest_ingested, own), local };
        let mut ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        // One that was sound when it came is known, whatever has become of it since.
        let spoiled = |row: &Row| row.spoiled.as_ref().and_then(|spoiled| spoiled.id.clone());
        let (places, sound): (Vec<usize>, Vec<String>) =
            rows.iter().enumerate().filter_map(|(place, row)| Some((place, spoiled(row)?))).unzip();
        ids.extend(sound);
        // The writer keeps in memory what the rows are stored beside; what the reader keeps is void after each commit.
        let mut known = self.store.write(move |spool| spool.known(ids.iter().map(String::as_str))).await?;
        for (place, sound) in places.into_iter().zip(known.split_off(rows.len())) {
            known[place] = known[place].or(sound);
        }
        let newest = rows.iter().map(|row| row.time).max();
        let arrived = rows.iter().zip(&known).filter(|(_, known)| known.is_none());
        let newly_ingested = arrived.filter_map(|(row, _)| row.ingested).max();
        let page = FeedPage::new(rows, known, more);
        if is_head && !self.verified && !self.verify(&page).await? {
            self.rest_head(at);
            return Ok(());
        }
        let first = self.state.coverage.is_none();
        let marks = self.state.coverage.as_ref().map(|coverage| coverage.marks);
        let walk: Option<Walk> = match ask {
            Ask::Head { .. } => None,
            Ask::Walk { id, .. } => self.state.walks().find(|walk| walk.id == *id).cloned(),
        };
        let step = match ask {
            Ask::Head { .. } => self.state.head_page(&self.rules, page, now),
            Ask::Walk { id, .. } => self.state.walk_page(&self.rules, *id, page, is_head, now),
        };
        match date {
            Some(date) => self.hear_messages(now, date, newest_ingested, at),
            None => self.hear_undated_messages(newest),
        }
        if matches!(ask, Ask::Head { cursor: None }) {
            self.hear_arrivals(newly_ingested, at);
        }
        self.note_newcomers(&step.ops, marks, walk.as_ref(), at).await?;
        say_anomalies(&step.ops, cursor, !self.lets_go_at_once);
        let next = self.commit(step, now.local).await?;
        if catches_up {
            self.progress.page_read(rows_read);
        }
        if is_head && matches!(ask, Ask::Head { .. }) {
            self.polled(now, at);
        }
        if self.mode == Mode::Once && self.is_swept() {
            // One sweep is enough: another poll must not begin the next.
            self.rules.sweep_interval = Duration::MAX;
        }
        if first && self.state.coverage.is_some() {
            self.say_begun(total);
        }
        self.proceed(is_head, ask, next, at);
        Ok(())
    }

    /// Whether the page belongs to the account of the state.
    pub(super) async fn verify(&mut self, page: &FeedPage) -> Result<bool, Trouble> {
        let (url, fingerprint) = self.feed.identity();
        let numbers: Vec<String> = page.numbers().map(str::to_owned).collect();
        let (account, known_number, has_met_numbers) = self
            .store
            .read(move |spool| {
                let known = spool.knows_number(numbers.iter().map(String::as_str))?;
                Ok((spool.account()?, known, spool.has_met_numbers()?))
            })
            .await?;
        let familiar = account::is_familiar(&account, &url, &fingerprint);
        let verdict = account::judge(&Evidence {
            familiar,
            begun: self.state.coverage.is_some(),
            has_met_numbers,
            page_has_rows: !page.is_empty(),
            known_message: page.has_known(),
            known_number,
            accepted: self.accept_account,
        });
        match verdict {
            AccountVerdict::Same => {
                if !familiar {
                    if account.api_url.is_some() {
                        tracing::info!("the API key or address is new; its messages belong to the same account");
                    }
                    self.store.write(move |spool| spool.remember_account(&url, &fingerprint)).await?;
                }
                self.verified = true;
                self.head.unverified = 0;
                Ok(true)
            }
            AccountVerdict::Open => {
                if self.head.unverified == 0 {
                    tracing::warn!("{UNVERIFIED}");
                }
                self.head.unverified = self.head.unverified.saturating_add(1);
                self.set_condition(Condition::Waiting(UNVERIFIED.to_owned()));
                Ok(false)
            }
            // Where there are several keys, another may be right; deliveries go on in any case.
            AccountVerdict::Other if self.feed.keys() > 1 => {
                self.head.stranger = true;
                Ok(false)
            }
            AccountVerdict::Other => Err(Trouble::OtherAccount),
        }
    }

    pub(super) fn polled(&mut self, now: Now, at: Instant) {
        if self.head.failures > 0 {
            tracing::info!(failures = self.head.failures, "the API can be polled again");
        }
        self.head.failures = 0;
        self.head.first_answer.get_or_insert(now.server);
        self.head.last_poll = Some(now.local);
        if self.head.small_until.is_some_and(|(until, _)| until <= at) {
            self.head.small_until = None;
        }
        self.set_condition(Condition::Polling);
    }

    pub(super) async fn commit(&mut self, step: Step, now: UnixMs) -> Result<Next, store::Error> {
        let Step { ops, next } = step;
        if ops.is_empty() {
            return Ok(next);
        }
        let releases = ops.iter().any(|op| matches!(op, StoreOp::Release { .. } | StoreOp::ReleaseHeld { .. }));
        self.store.write(move |spool| spool.commit(&ops, now)).await?;
        self.room.stored = true;
        if releases {
            (self.released)();
            self.look_for_undecided().await?;
        }
        Ok(next)
    }
}

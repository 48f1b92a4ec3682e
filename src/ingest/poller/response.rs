//! Handles the answers to requests for messages. For each page: looks up which rows are stored, lets coverage decide,
//! and commits the changes.

use super::account_check::UNVERIFIED;
use super::anomaly_log::log_anomalies;
use super::page_request::{PageKind, PageRequest};
use super::progress::CatchUpProgress;
use super::start_log::log_begun;
use super::timing::page_time;
use super::{Ending, PollError, Poller};
use crate::api::{self, Error, Response};
use crate::domain::{Row, Seq, UnixMs, Walk, WalkKind};
use crate::ingest::account::{self, AccountEvidence, AccountVerdict};
use crate::ingest::coverage::{FeedPage, Now};
use crate::ingest::feed::Feed;
use crate::ingest::report::Condition;
use crate::ingest::server_clock::LocalClocks;
use crate::store::{self, Store};
use crate::time::Instant;

impl<F: Feed> Poller<F> {
    /// Handles the answer to a request for messages.
    pub(super) async fn handle_response(
        &mut self,
        is_head: bool,
        response: Response,
    ) -> Result<Option<Ending>, PollError> {
        let flight = if is_head { self.lanes.head.end_request() } else { self.lanes.background.end_request() };
        let Some(flight) = flight else { return Ok(None) };
        let now = self.clock.monotonic();
        self.link.answered(&flight.request, &response, now, self.clock.relay_time());
        self.report_foreign_requests().await?;
        if !matches!(response.page, Err(Error::RateLimited | Error::Transport(_))) {
            self.link.not_rate_limited(&flight.request);
        }
        let Response { date, rate, page } = response;
        // The `Date` is handled before the messages of this page are stored, so that the time is known when delivery
        // attempts to send them.
        self.timing.hear_date(date, &page);
        self.tell_the_time().await?;
        if self.disk.is_stale() && !matches!(page, Err(Error::RateLimited)) {
            // A write to the disk has failed since this page was requested. So the state in memory has changes that the
            // disk does not have, and the state will be loaded again. This page is dropped.
            return Ok(None);
        }
        let is_of_key_in_use = self.link.was_sent_with_key_in_use(&flight.request);
        match page {
            Ok(_) if is_head && !is_of_key_in_use && !self.account.was_verified() => {
                // This page was requested with a key that is no longer in use, and it is not known to which account
                // that key belongs. So the page is dropped.
                self.lanes.head.end_poll(now);
                Ok(None)
            }
            Ok(page) => match self.take_page(is_head, flight, page, date, now).await {
                Ok(AccountVerdict::Same) => Ok(None),
                Ok(AccountVerdict::Undecided) => Ok(self.once.gives_up(self.account.undecided_polls(), UNVERIFIED)),
                Ok(AccountVerdict::Other) => Ok(self.key_of_another_account(now)),
                Err(PollError::Store(error)) if error.is_passing() => Ok(self.commit_failed(is_head, &error, now)),
                Err(trouble) => Err(trouble),
            },
            Err(Error::RateLimited) => Ok(self.rate_limited(&rate, now)),
            // This key is no longer in use: since the request was sent, the relay has changed to another key, for
            // example because the answer in the other lane refused this key, too. So there is nothing to do.
            Err(Error::KeyRefused(_)) if !is_of_key_in_use => Ok(None),
            Err(Error::KeyRefused(refusal)) => Ok(self.key_refused(&refusal, now)),
            Err(error) => self.failed(is_head, &flight.kind, flight.limit, &error, now).await,
        }
    }

    /// Handles a page, in one transaction. Returns the verdict on whether the messages of the page belong to the
    /// account of the state. Unless the verdict is `Same`, nothing of the page is stored.
    async fn take_page(
        &mut self,
        is_head: bool,
        flight: PageRequest,
        page: api::Page,
        date: Option<UnixMs>,
        at: Instant,
    ) -> Result<AccountVerdict, PollError> {
        let PageRequest { kind, cursor, request, .. } = flight;
        let (kind, is_of_key_in_use) = (&kind, self.link.was_sent_with_key_in_use(&request));
        drop(request);
        let api::Page { rows, more, total } = page;
        self.progress.note_total(total);
        let row_count = rows.len();
        let newest_ingested = rows.iter().filter_map(|row| row.ingested).max();
        let local = self.clock.relay_time();
        let own = LocalClocks { relay: local, machine: self.clock.machine_time(), at };
        let now = Now { server: self.link.read_clock(date, newest_ingested, own), local };
        let known = look_up(self.disk.store(), &rows).await?;
        let newest = rows.iter().map(|row| row.time).max();
        let arrived = rows.iter().zip(&known).filter(|(_, known)| known.is_none());
        let newly_ingested = arrived.filter_map(|(row, _)| row.ingested).max();
        let page = FeedPage::new(rows, known, more);
        if is_head && is_of_key_in_use && !self.account.is_verified() {
            let verdict = self.verify(&page).await?;
            if verdict != AccountVerdict::Same {
                self.lanes.head.end_poll(at);
                return Ok(verdict);
            }
        }
        let marks = self.state.coverage.as_ref().map(|coverage| coverage.marks);
        let walk: Option<Walk> = kind.walk().and_then(|id| self.state.walks().find(|walk| walk.id == id).cloned());
        let step = match kind {
            PageKind::Head { .. } => self.state.head_page(&self.rules, page, now),
            PageKind::Walk { id, .. } => self.state.walk_page(&self.rules, *id, page, is_head, now),
        };
        match date {
            Some(date) => {
                let by_page = page_time(now, date);
                let told = self.state.messages_now(&self.rules, by_page);
                self.timing.hear_messages(told, by_page.server, newest_ingested, at);
            }
            None => self.timing.hear_undated_messages(newest),
        }
        if matches!(kind, PageKind::Head { cursor: None }) {
            self.timing.hear_arrivals(newly_ingested, at);
        }
        let (store, margin) = (self.disk.store(), self.rules.margin);
        self.number_histories.note_page(store, &step.changes, marks, walk.as_ref(), margin, at).await?;
        let replayed_by = self.disk.keeps_delivered().then_some(&self.invocation);
        log_anomalies(&step.changes, cursor.as_ref(), replayed_by);
        let (gap_pages, late) = match walk.as_ref().map(|walk| walk.kind) {
            Some(WalkKind::Gap { .. }) => (1, 0),
            Some(WalkKind::Sweep) => (0, step.news()),
            Some(WalkKind::Seed) => (0, 0),
            None => (0, marks.map_or(0, |marks| step.news_before(marks.frontier))),
        };
        let next = self.commit(step, now.local).await?;
        self.metrics.page_read(gap_pages, late);
        if walk.as_ref().is_some_and(CatchUpProgress::counts) {
            self.progress.page_read(row_count);
        }
        if matches!(kind, PageKind::Head { .. }) {
            self.head_answered(now, at);
        }
        self.once.limit_sweeps(&mut self.rules, self.state.coverage.as_ref());
        if let (None, Some(coverage)) = (marks, &self.state.coverage) {
            log_begun(coverage, self.rules.start, total);
        }
        self.proceed(is_head, kind, next, at);
        Ok(AccountVerdict::Same)
    }

    /// Checks whether a page of the newest messages belongs to the account of the state.
    ///
    /// # Errors
    /// Returns [`PollError::OtherAccount`] if the page belongs to another account, there is no second key, and no
    /// reload has brought other keys.
    async fn verify(&mut self, page: &FeedPage) -> Result<AccountVerdict, PollError> {
        let (url, fingerprint) = self.link.identity();
        let numbers: Vec<String> = page.numbers().map(str::to_owned).collect();
        let read = self.disk.store().read(move |spool| {
            let known = spool.knows_number(&numbers.iter().map(String::as_str).collect::<Vec<_>>())?;
            Ok((spool.account()?, known, spool.knows_any_number()?))
        });
        let (known_account, known_number, knows_any_number) = read.await?;
        let familiar = account::is_familiar(&known_account, &url, &fingerprint);
        let verdict = account::judge(&AccountEvidence {
            familiar,
            begun: self.state.coverage.is_some(),
            knows_any_number,
            page_has_rows: !page.is_empty(),
            known_message: page.has_known(),
            known_number,
            accepted: self.account.is_accepted(),
        });
        match verdict {
            AccountVerdict::Same if !familiar => {
                if known_account.api_url.is_some() {
                    tracing::info!("the API key or address is new; its messages belong to the same account");
                }
                self.disk.store().write(move |spool| spool.remember_account(&url, &fingerprint)).await?;
            }
            AccountVerdict::Same => {}
            AccountVerdict::Undecided => {
                self.set_condition(Condition::Waiting(UNVERIFIED.to_owned()));
            }
            // If there are several keys, another key may be right. If a reload brought this key, the operator may
            // correct the key. In both cases polling does not end, and deliveries go on.
            AccountVerdict::Other if self.link.has_several_keys() || self.link.has_new_keys() => {}
            AccountVerdict::Other => return Err(PollError::OtherAccount),
        }
        self.account.note(verdict);
        Ok(verdict)
    }

    /// Records that the page of a head poll was stored.
    fn head_answered(&mut self, now: Now, at: Instant) {
        let failures = self.lanes.head.note_success(now.local, at);
        if failures > 0 {
            tracing::info!(failures, "the API can be polled again");
        }
        self.once.note_answer(now.server);
        self.set_condition(Condition::Polling);
    }
}

/// Returns the sequence number under which each row is stored; `None` for a row that is not stored. A spoiled row is
/// also looked up by the API's id, if this id can still be read (`SpoiledRow::id`). So the row is found if it was
/// stored before it was spoiled.
async fn look_up(store: &Store, rows: &[Row]) -> Result<Vec<Option<Seq>>, store::Error> {
    let mut ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let sound_id = |row: &Row| row.spoiled.as_ref().and_then(|spoiled| spoiled.id.clone());
    let (places, sound_ids): (Vec<usize>, Vec<String>) =
        rows.iter().enumerate().filter_map(|(place, row)| Some((place, sound_id(row)?))).unzip();
    ids.extend(sound_ids);
    // The rows are looked up on the connection that writes, because its cache keeps the database pages in which the
    // rows will be stored. The cache of the connection that reads becomes void at each commit.
    let look = move |spool: &mut store::Spool| spool.known(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let mut known = store.write(look).await?;
    for (place, sound) in places.into_iter().zip(known.split_off(rows.len())) {
        known[place] = known[place].or(sound);
    }
    Ok(known)
}

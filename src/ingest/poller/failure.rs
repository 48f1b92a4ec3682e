//! Handles answers without a page, and pages that could not be stored. After a failure the lane waits, unless another
//! key or a smaller page is tried at once.

use std::time::Duration;

use super::anomaly_log::log_anomalies;
use super::page_request::{PageKind, next_smaller};
use super::{Ending, PollError, Poller};
use crate::api::budget::RateHeaders;
use crate::api::{self, Error};
use crate::domain::{Anomaly, WalkId};
use crate::ingest::coverage::{NextAction, Setback};
use crate::ingest::feed::Feed;
use crate::ingest::report::Condition;
use crate::store;
use crate::time::Instant;

/// The wait before the keys are tried again after all of them were refused.
const KEY_RETRY: Duration = Duration::from_secs(60);

/// How long head pages stay small after one was too large, or could not be read.
const SMALL_PAGES: Duration = Duration::from_secs(600);

/// The hint in the log while the API does not answer.
const UNREACHED_HINT: &str = "look at api.url, DNS, the proxy (api.proxy, HTTPS_PROXY) and the firewall; \
                              `joltsms-relay check --online` tries them";

/// If a page cannot be read, it is tried this many times before smaller pages are tried. The API's trouble may pass by
/// itself.
const WHOLE_TRIES: u32 = 3;

impl<F: Feed> Poller<F> {
    /// Handles a page that could not be stored: the state in memory is ahead of the disk.
    pub(super) fn commit_failed(&mut self, is_head: bool, error: &store::Error, now: Instant) -> Option<Ending> {
        let lanes = &mut self.lanes;
        let failures = if is_head { lanes.head.count_failure() } else { lanes.background.count_failure() };
        let wait = self.backoff.wait(failures);
        if failures == 1 {
            tracing::error!(%error, "a page could not be stored; trying again, nothing is lost");
        }
        if is_head {
            lanes.head.wait_until(now + wait);
        }
        lanes.background.wait_at_least_until(now + wait);
        self.set_condition(Condition::NoRoom(error.to_string()));
        tracing::debug!(is_head, wait_s = wait.as_secs_f64(), "waiting for the disk");
        self.disk.mark_stale(now);
        self.once.gives_up(failures, error)
    }

    /// Handles a 429 answer: no request leaves until the silence after this answer is over.
    pub(super) fn rate_limited(&mut self, headers: &RateHeaders, now: Instant) -> Option<Ending> {
        let wait = self.link.rate_limited(headers, |times| self.backoff.wait(times), now);
        let until = self.clock.relay_time().after(wait);
        tracing::warn!(wait_s = wait.as_secs_f64(), %until, "over the API's rate limit; silent until it resets");
        self.show_silence(now);
        self.once.gives_up(self.link.rate_limits_in_a_row(), Error::RateLimited)
    }

    /// Handles the API's refusal of the key in use.
    pub(super) fn key_refused(&mut self, refusal: &api::KeyRefusal, now: Instant) -> Option<Ending> {
        self.give_up_key(&refusal.to_string(), "the API does not accept the key; trying the next one", now)
    }

    /// Handles the finding that the key in use belongs to another account.
    pub(super) fn key_of_another_account(&mut self, now: Instant) -> Option<Ending> {
        self.give_up_key(
            "the key belongs to another account than the state and is not used",
            "a key does not belong to the account of the state; trying the next one",
            now,
        )
    }

    fn give_up_key(&mut self, refusal: &str, trying_the_next: &str, now: Instant) -> Option<Ending> {
        self.account.key_changed();
        self.lanes.head.next_poll_from_head();
        if self.link.next_key() {
            if matches!(self.report.condition(), Condition::NoKey(_)) {
                tracing::debug!(%refusal, "the key is still refused; trying the next one");
            } else {
                tracing::warn!(%refusal, "{trying_the_next}");
            }
            self.orders.ask_for_keys();
            self.lanes.head.wait_until(now);
            return None;
        }
        match self.once.ends_without_key(refusal) {
            Some(ending) => Some(ending),
            None => self.last_key_refused(refusal, now),
        }
    }

    /// Logs that the API accepts no key. The next poll comes after [`KEY_RETRY`].
    pub(super) fn no_key_is_left(&mut self, refusal: &str, now: Instant) {
        let is_new = self.set_condition(Condition::NoKey(refusal.to_owned()));
        if is_new {
            tracing::error!(
                %refusal,
                retry_s = KEY_RETRY.as_secs(),
                "the API accepts no key: make a new one in the dashboard and configure it; deliveries go on"
            );
        }
        self.lanes.head.wait_until(now + KEY_RETRY);
    }

    /// Handles an answer without a page, to a request for `limit` rows:
    ///
    /// - If a page of several rows was too large, it is asked for again, one row long.
    /// - If the API refuses the cursor of a head poll, this poll ends, and the next one begins at the head.
    /// - After any other failure of a head poll, the head lane waits.
    /// - After any other failure of a walk: if head polls succeed, the failure is recorded in the walk ([`Setback`]),
    ///   and only this walk waits. If head polls fail as well, the background lane waits.
    pub(super) async fn failed(
        &mut self,
        is_head: bool,
        kind: &PageKind,
        limit: u32,
        error: &Error,
        now: Instant,
    ) -> Result<Option<Ending>, PollError> {
        let is_too_large = matches!(error, Error::TooLarge { .. }) && limit > 1;
        match kind {
            PageKind::Head { cursor: Some(_) } if matches!(error, Error::Refused { .. }) => {
                self.state.head_refused();
                self.lanes.head.end_poll(now);
                Ok(None)
            }
            PageKind::Head { .. } if is_too_large => {
                tracing::warn!(%error, "reading the newest messages one by one for a while");
                self.lanes.head.use_small_pages(1, now + SMALL_PAGES);
                self.lanes.head.wait_until(now);
                Ok(None)
            }
            PageKind::Head { .. } => {
                let tries = self.lanes.head.failures() + 1;
                if matches!(error, Error::Garbled(_)) && tries >= WHOLE_TRIES {
                    if tries == WHOLE_TRIES {
                        tracing::warn!(%error, "reading the newest messages in smaller pages for a while");
                    }
                    self.lanes.head.use_small_pages(next_smaller(limit), now + SMALL_PAGES);
                }
                Ok(self.head_failed(error, now))
            }
            PageKind::Walk { id, .. } if is_too_large => {
                tracing::warn!(%error, "reading these older messages one by one");
                if is_head {
                    self.lanes.head.end_poll(now);
                }
                self.lanes.background.read_one_row(*id);
                Ok(None)
            }
            PageKind::Walk { id, .. } => self.walk_failed(is_head, *id, limit, error, now).await,
        }
    }

    /// Handles a head poll whose answer has no page.
    fn head_failed(&mut self, error: &Error, now: Instant) -> Option<Ending> {
        let failures = self.lanes.head.count_failure();
        let wait = self.backoff.wait(failures);
        let kind = error.kind();
        if self.set_condition(Condition::Failing(error.to_string())) {
            // With any other error the server was reached, and the text of the error says what to do.
            let is_unreached = matches!(error, Error::Transport(_));
            let (api, hint) = (self.link.host().filter(|_| is_unreached), is_unreached.then_some(UNREACHED_HINT));
            tracing::warn!(kind, %error, api, hint, "the API cannot be polled; trying again until it can");
        } else {
            tracing::debug!(kind, failures, wait_s = wait.as_secs_f64(), "still failing");
        }
        self.lanes.head.next_poll_from_head();
        self.lanes.head.wait_until(now + wait);
        self.once.gives_up(failures, error)
    }

    /// Handles a page of a walk that could not be read.
    async fn walk_failed(
        &mut self,
        is_head: bool,
        id: WalkId,
        limit: u32,
        error: &Error,
        now: Instant,
    ) -> Result<Option<Ending>, PollError> {
        if is_head {
            self.lanes.head.end_poll(now);
        } else {
            let failures = self.lanes.background.count_failure();
            self.lanes.background.wait_until(now + self.backoff.wait(failures));
        }
        let tried = self.state.walks().find(|walk| walk.id == id).map_or(0, |walk| walk.progress.failures);
        if matches!(error, Error::Garbled(_)) && tried + 1 >= WHOLE_TRIES {
            self.lanes.background.step_over(id, limit);
        }
        let (setback, anomaly) = match error {
            Error::Refused { .. } => (Setback::Refused, Anomaly::RefusedCursor),
            _ => (Setback::Unreadable, Anomaly::UnreadablePage),
        };
        // While head polls fail as well, the trouble is the API's and not this walk's.
        if self.lanes.head.failures() > 0 {
            tracing::debug!(kind = error.kind(), %error, "{}", anomaly.sentence());
            return Ok(None);
        }
        tracing::warn!(kind = error.kind(), %error, "{}", anomaly.sentence());
        self.set_back(id, setback, now).await
    }

    async fn set_back(&mut self, id: WalkId, setback: Setback, at: Instant) -> Result<Option<Ending>, PollError> {
        let now = self.estimated_now(at);
        let step = self.state.walk_setback(&self.rules, id, setback, now);
        log_anomalies(&step.changes, None, None);
        match self.commit(step, now.local).await {
            Ok(NextAction::Wait(id, failures)) => {
                self.lanes.background.hold_back(id, at + self.backoff.wait(failures));
                // Only this walk has to wait, so the wait of the whole lane ends.
                self.lanes.background.wait_no_more();
                Ok(None)
            }
            Ok(_) => Ok(None),
            Err(error) if error.is_passing() => Ok(self.commit_failed(false, &error, at)),
            Err(error) => Err(error.into()),
        }
    }
}

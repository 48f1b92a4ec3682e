//! What is done when there is no page, or no disk for it. Every failure makes its lane wait.

use std::time::Duration;

use super::lanes::{Ask, SmallPages, smaller};
use super::telling::say_anomalies;
use super::{Ending, Mode, Poller, RETRY, Trouble};
use crate::api::{self, Error, PAGE_ROWS};
use crate::domain::{Anomaly, WalkId};
use crate::ingest::coverage::{Next, Setback};
use crate::ingest::feed::Feed;
use crate::ingest::report::Condition;
use crate::store;
use crate::time::Instant;

/// A key that was refused may have been put right since.
const KEY_RETRY: Duration = Duration::from_secs(60);

/// One-shot commands give up after so many failures in a row: about a quarter of a minute.
pub(super) const ONCE_PATIENCE: u32 = 5;

/// How long pages stay small after one was too large, or could not be read.
const SMALL_PAGES: Duration = Duration::from_secs(600);

/// An answer that is no page is asked for so often before smaller ones are tried: it may be the server's passing trouble.
const WHOLE_TRIES: u32 = 3;

impl<F: Feed> Poller<F> {
    /// The disk did not take a page: what is in memory is no longer what is on disk.
    pub(super) fn commit_failed(&mut self, is_head: bool, error: &store::Error, now: Instant) -> Option<Ending> {
        let failures = if is_head { &mut self.head.failures } else { &mut self.background.failures };
        *failures = failures.saturating_add(1);
        let failures = *failures;
        let wait = RETRY.jittered(failures, &self.jitter);
        if failures == 1 {
            tracing::error!(%error, "a page could not be stored; trying again, nothing is lost");
        }
        if is_head {
            self.head.due = now + wait;
        }
        self.background.due = self.background.due.max(Some(now + wait));
        self.set_condition(Condition::NoRoom(error.to_string()));
        tracing::debug!(is_head, wait_s = wait.as_secs_f64(), "waiting for the disk");
        self.stale = Some(now);
        let gives_up = self.mode == Mode::Once && failures >= ONCE_PATIENCE;
        gives_up.then(|| Ending::GaveUp(error.to_string()))
    }

    /// Loads the state again after a commit has failed, when its time has come.
    pub(super) async fn reload(&mut self) -> Result<Option<Ending>, Trouble> {
        let now = self.clock.monotonic();
        if self.stale.is_none_or(|again| again > now) {
            return Ok(None);
        }
        match self.load().await {
            Err(error) if error.is_passing() => {
                self.head.failures = self.head.failures.saturating_add(1);
                self.stale = Some(now + RETRY.jittered(self.head.failures, &self.jitter));
                tracing::debug!(%error, "the state cannot be read again yet");
                let gives_up = self.mode == Mode::Once && self.head.failures >= ONCE_PATIENCE;
                Ok(gives_up.then(|| Ending::GaveUp(error.to_string())))
            }
            result => {
                result?;
                Ok(None)
            }
        }
    }

    pub(super) fn key_refused(&mut self, refusal: &api::KeyRefusal, now: Instant) -> Option<Ending> {
        self.give_up_key(&refusal.to_string(), "the API does not accept the key; trying the next one", now)
    }

    /// One of several keys shows messages of another account. Nothing of them is taken.
    pub(super) fn key_of_another_account(&mut self, now: Instant) -> Option<Ending> {
        self.give_up_key(
            "the key belongs to another account than the state and is not used",
            "a key is not the state's account's; trying the next one",
            now,
        )
    }

    fn give_up_key(&mut self, refusal: &str, trying_the_next: &str, now: Instant) -> Option<Ending> {
        self.verified = false;
        self.keys_tried += 1;
        self.head.next = Ask::Head { cursor: None };
        if self.feed.next_key() {
            if matches!(self.report.borrow().condition, Condition::NoKey(_)) {
                tracing::debug!(%refusal, "the key is still refused; trying the next one");
            } else {
                tracing::warn!(%refusal, "{trying_the_next}");
            }
            self.head.due = now;
            return None;
        }
        if self.mode == Mode::Once {
            return Some(Ending::NoKey(refusal.to_string()));
        }
        let condition = Condition::NoKey(refusal.to_string());
        if self.report.borrow().condition != condition {
            tracing::error!(
                %refusal,
                retry_s = KEY_RETRY.as_secs(),
                "the API accepts no key: make a new one in the dashboard and configure it; deliveries go on"
            );
        }
        self.set_condition(condition);
        self.head.due = now + KEY_RETRY;
        None
    }

    /// A one-shot command does not wait for ever for a message that tells whose messages these are.
    pub(super) fn gives_up_waiting(&self) -> Option<Ending> {
        let Condition::Waiting(why) = self.report.borrow().condition.clone() else { return None };
        let gives_up = self.mode == Mode::Once && self.head.unverified >= ONCE_PATIENCE;
        gives_up.then_some(Ending::GaveUp(why))
    }

    /// There is no page. The lane waits; a walk that alone fails is set back.
    pub(super) async fn failed(
        &mut self,
        is_head: bool,
        ask: &Ask,
        limit: u32,
        error: Error,
        now: Instant,
    ) -> Result<Option<Ending>, Trouble> {
        let too_large = matches!(error, Error::TooLarge { .. }) && limit > 1;
        let refused = matches!(error, Error::Refused { .. });
        match ask {
            Ask::Head { cursor: Some(_) } if refused => {
                self.state.head_refused();
                self.rest_head(now);
                Ok(None)
            }
            Ask::Head { .. } if too_large => {
                tracing::warn!(%error, "reading the newest messages one by one for a while");
                self.head.small_until = Some((now + SMALL_PAGES, 1));
                self.head.due = now;
                Ok(None)
            }
            Ask::Head { .. } => {
                let tries = self.head.failures + 1;
                if matches!(error, Error::Garbled(_)) && tries >= WHOLE_TRIES {
                    if tries == WHOLE_TRIES {
                        tracing::warn!(%error, "reading the newest messages in smaller pages for a while");
                    }
                    self.head.small_until = Some((now + SMALL_PAGES, smaller(limit)));
                }
                Ok(self.head_failed(&error, now))
            }
            Ask::Walk { id, .. } if too_large => {
                tracing::warn!(%error, "reading these older messages one by one");
                if is_head {
                    self.rest_head(now);
                }
                self.background.small = Some(SmallPages { id: *id, limit: 1, left: 1 });
                Ok(None)
            }
            Ask::Walk { id, .. } => {
                if is_head {
                    self.rest_head(now);
                } else {
                    self.background.failures += 1;
                    let wait = RETRY.jittered(self.background.failures, &self.jitter);
                    self.background.due = Some(now + wait);
                }
                let tried = self.state.walks().find(|walk| walk.id == *id).map_or(0, |walk| walk.progress.failures);
                if matches!(error, Error::Garbled(_)) && tried + 1 >= WHOLE_TRIES {
                    self.background.small = Some(SmallPages { id: *id, limit: smaller(limit), left: PAGE_ROWS });
                }
                let (setback, anomaly) = match refused {
                    true => (Setback::Refused, Anomaly::RefusedCursor),
                    false => (Setback::Unreadable, Anomaly::UnreadablePage),
                };
                // While the head fails as well it is not this walk's trouble.
                if self.head.failures > 0 {
                    tracing::debug!(kind = error.kind(), %error, "{}", anomaly.sentence());
                } else {
                    tracing::warn!(kind = error.kind(), %error, "{}", anomaly.sentence());
                    return self.set_back(*id, setback, now).await;
                }
                Ok(None)
            }
        }
    }

    pub(super) async fn set_back(
        &mut self,
        id: WalkId,
        setback: Setback,
        at: Instant,
    ) -> Result<Option<Ending>, Trouble> {
        let now = self.estimated_now(at);
        let step = self.state.walk_setback(&self.rules, id, setback, now);
        say_anomalies(&step.ops, None, false);
        match self.commit(step, now.local).await {
            Ok(Next::Wait(id, failures)) => {
                self.background.not_before.insert(id, at + RETRY.jittered(failures, &self.jitter));
                // The walk waits by itself; others need not.
                self.background.due = None;
                Ok(None)
            }
            Ok(_) => Ok(None),
            Err(error) if error.is_passing() => Ok(self.commit_failed(false, &error, at)),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn head_failed(&mut self, error: &Error, now: Instant) -> Option<Ending> {
        self.head.failures += 1;
        let wait = RETRY.jittered(self.head.failures, &self.jitter);
        let condition = Condition::Failing(error.to_string());
        if self.report.borrow().condition == condition {
            tracing::debug!(
                kind = error.kind(),
                failures = self.head.failures,
                wait_s = wait.as_secs_f64(),
                "still failing"
            );
        } else {
            tracing::warn!(kind = error.kind(), %error, "the API cannot be polled; trying again until it can");
        }
        self.set_condition(condition);
        self.head.next = Ask::Head { cursor: None };
        self.head.due = now + wait;
        let gives_up = self.mode == Mode::Once && self.head.failures >= ONCE_PATIENCE;
        gives_up.then(|| Ending::GaveUp(error.to_string()))
    }
}

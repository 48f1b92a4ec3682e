//! Turns messages that are too old into dead letters, whatever the receiver does.
//!
//! Invariants: a message that looks too old is not sent, and it is given up only when the relay knows how old messages
//! are. Until then such messages are set aside in memory, at most [`AT_ONCE`] of them.

use super::known_time::KnownTime;
use super::store_retry::StoreRetry;
use crate::delivery::context::SinkContext;
use crate::delivery::log_sentences as log;
use crate::delivery::max_age::AgeChecks;
use crate::domain::{Seq, UnixMs};
use crate::store::{Claim, ExpiredMessage, Spool};
use crate::time::Instant;

/// The most messages that one transaction finds, or writes. The number is greater than the greatest `concurrency`
/// (256). So if a search finds this many messages, some of them are not under way and can be given up.
const AT_ONCE: usize = 500;

/// The age limit of one sink, and the claimed messages whose age exceeds the limit.
#[derive(Debug)]
pub(super) struct Expiry {
    /// The regular checks of the messages in the store; `None`: the sink has no age limit.
    checks: Option<AgeChecks>,
    /// Messages that were claimed and found to be too old, and that are to become dead letters.
    set_aside: Vec<Seq>,
}

impl Expiry {
    pub(super) fn new(context: &SinkContext) -> Self {
        let now = context.monotonic();
        let checks = context.identity.options.max_age.map(|max_age| AgeChecks::new(max_age, now));
        Self { checks, set_aside: Vec::new() }
    }

    /// Sets a claim aside if its message is too old at `message_time`, the time by the clock that dates messages.
    /// Returns whether the message is too old.
    pub(super) fn sets_aside(&mut self, claim: &Claim, message_time: UnixMs) -> bool {
        let expires = self.checks.as_ref().and_then(|checks| checks.expires(claim.received, claim.replays));
        let is_too_old = expires.is_some_and(|expires| expires <= message_time);
        if is_too_old {
            self.set_aside.push(claim.seq);
        }
        is_too_old
    }

    /// Returns the messages that are set aside. They must not be claimed again.
    pub(super) fn set_aside(&self) -> &[Seq] {
        &self.set_aside
    }

    /// Notes that more is known of the time. So messages that were set aside may turn out not to be too old.
    pub(super) fn time_learned(&mut self) {
        self.set_aside.clear();
    }

    /// Makes the next check cover every waiting message, because a new sink has got stored messages that were released
    /// long ago.
    pub(super) fn check_everything(&mut self) {
        if let Some(checks) = &mut self.checks {
            checks.check_everything();
        }
    }

    /// Whether there are dead letters to write now.
    pub(super) fn has_dead_letters(&self, time: KnownTime) -> bool {
        time.message_ages() && !self.set_aside.is_empty()
    }

    /// Whether the next check of the store should come at once, because the last check did not reach its end.
    pub(super) fn is_unfinished(&self) -> bool {
        self.checks.as_ref().is_some_and(AgeChecks::is_unfinished)
    }

    /// Whether so many messages are set aside that no delivery may begin until the relay knows how old messages are.
    pub(super) fn is_full(&self, time: KnownTime) -> bool {
        !time.message_ages() && self.set_aside.len() >= AT_ONCE
    }

    /// Makes dead letters of the messages that are set aside, and looks for more messages in the store that are too
    /// old. A message that is being sent (`is_under_way`) is left to its attempt; if the attempt fails, the message is
    /// not tried again. Returns whether messages were given up: then other messages may have become the first of their
    /// queues.
    pub(super) async fn step(
        &mut self,
        store: &mut StoreRetry,
        context: &SinkContext,
        time: KnownTime,
        is_under_way: impl Fn(Seq) -> bool,
    ) -> bool {
        if !time.message_ages() {
            return false;
        }
        let mut any = false;
        if self.has_dead_letters(time) && expire(store, context, self.set_aside.clone()).await {
            self.set_aside.clear();
            any = true;
        }
        self.check(store, context, is_under_way).await || any
    }

    /// Looks in the store for messages that have become too old. Returns whether any message was given up.
    async fn check(
        &mut self,
        store: &mut StoreRetry,
        context: &SinkContext,
        is_under_way: impl Fn(Seq) -> bool,
    ) -> bool {
        let (sink, now): (_, Instant) = (context.id(), context.monotonic());
        let (Some(checks), Some(message_time)) = (&mut self.checks, context.shared.clock.message_time()) else {
            return false;
        };
        let Some(scan) = checks.due(now, message_time) else { return false };
        let found = store.read(context, move |spool: &Spool| spool.too_old(sink, &scan, AT_ONCE)).await;
        let Some(found) = found else { return false };
        let waiting: Vec<Seq> = found.rows.into_iter().filter(|seq| !is_under_way(*seq)).collect();
        let any = !waiting.is_empty();
        if any && !expire(store, context, waiting).await {
            checks.found_more();
            return false;
        }
        if found.complete {
            checks.checked(scan, found.released, now);
        } else {
            checks.found_more();
        }
        any
    }
}

/// Makes dead letters of messages. Returns whether the change is on the disk.
async fn expire(store: &mut StoreRetry, context: &SinkContext, rows: Vec<Seq>) -> bool {
    let (sink, now) = (context.id(), context.now().relay_time);
    let written = store.write(context, move |spool: &mut Spool| spool.expire(sink, &rows, now)).await;
    let Some(expired) = written else { return false };
    context.identity.metrics.died(expired.len().try_into().unwrap_or(u64::MAX));
    context.wake_fallback();
    for ExpiredMessage { id, attempts, answer } in expired {
        log::message_expired(&context.logged(), &id, attempts, &answer);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::DeliveryClass;
    use crate::time::Clock;

    const HOUR: Duration = Duration::from_secs(3600);

    fn claim(seq: i64, received: UnixMs, replays: u32) -> Claim {
        Claim {
            seq: Seq(seq),
            release_no: seq,
            class: DeliveryClass::Live,
            id: format!("m{seq}"),
            raw: "{}".into(),
            attempts: 0,
            first_attempt: None,
            paused: Duration::ZERO,
            received,
            replays,
            number: None,
            number_key: None,
            details: None,
        }
    }

    /// Returns the two extremes: nothing is known of the time, and everything is known.
    fn times() -> [KnownTime; 2] {
        let confirmed = Clock::starting_at(UnixMs(0));
        [KnownTime::default(), KnownTime::by(&confirmed)]
    }

    #[tokio::test]
    async fn what_is_too_old_is_set_aside_until_the_time_is_known() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut expiry = Expiry { checks: Some(AgeChecks::new(HOUR, now)), set_aside: Vec::new() };
        let (limit, [unknown, known]) = (UnixMs(0).after(HOUR), times());
        assert!(!expiry.sets_aside(&claim(1, UnixMs(1), 0), limit), "a millisecond is left");
        assert!(!expiry.sets_aside(&claim(2, UnixMs(0), 1), limit), "an operator asked for it");
        assert!(!expiry.has_dead_letters(known));
        assert!(expiry.sets_aside(&claim(3, UnixMs(0), 0), limit));
        assert_eq!(expiry.set_aside(), [Seq(3)]);
        assert!(expiry.has_dead_letters(known) && !expiry.has_dead_letters(unknown));
        expiry.time_learned();
        assert!(expiry.set_aside().is_empty());
    }

    #[tokio::test]
    async fn no_delivery_may_begin_while_500_messages_of_unknown_age_are_set_aside() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut expiry = Expiry { checks: Some(AgeChecks::new(HOUR, now)), set_aside: Vec::new() };
        let [unknown, known] = times();
        for seq in 0..i64::try_from(AT_ONCE).unwrap() {
            assert!(!expiry.is_full(unknown));
            assert!(expiry.sets_aside(&claim(seq, UnixMs(0), 0), UnixMs::MAX));
        }
        assert!(expiry.is_full(unknown) && !expiry.is_full(known));
    }

    #[test]
    fn without_a_limit_nothing_is_too_old() {
        let mut expiry = Expiry { checks: None, set_aside: Vec::new() };
        assert!(!expiry.sets_aside(&claim(1, UnixMs::MIN, 0), UnixMs::MAX));
    }
}

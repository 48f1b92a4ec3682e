//! `max_age` of one sink: when a message is too old to be sent, and when to check the store for such messages. Pure:
//! the time is passed in.
//!
//! A message grows older whatever its sink does: while the receiver is down, the breaker is open or the sink is paused.
//! So old messages are found in two ways: before each attempt, and by regular checks of the store. After the first
//! check, a check reads only messages that have become too old, or that were released, since the check before it. So it
//! costs little, however many messages wait.

use std::time::Duration;

use crate::domain::UnixMs;
use crate::store::ExpiryScan;
use crate::time::Instant;

/// The shortest time between two checks.
const EVERY: Duration = Duration::from_secs(1);

/// Returns the time at which a message that was received at `received` becomes too old, by the clock that dates
/// messages; `None`: never. A message that somebody asked for again (`replays` is not 0) does not become too old.
pub(super) fn expires(max_age: Option<Duration>, received: UnixMs, replays: u32) -> Option<UnixMs> {
    max_age.filter(|_| replays == 0).map(|age| received.after(age))
}

/// The regular checks of the store for messages of one sink that are older than `max_age`.
#[derive(Clone, Copy, Debug)]
pub(super) struct AgeChecks {
    max_age: Duration,
    next: Instant,
    /// The messages that the last complete check has covered. The next check looks only at other messages.
    scan: ExpiryScan,
    is_unfinished: bool,
}

impl AgeChecks {
    /// Plans the checks for `max_age`. The first check covers every waiting message.
    pub(super) fn new(max_age: Duration, now: Instant) -> Self {
        Self { max_age, next: now, scan: ExpiryScan::everything(), is_unfinished: false }
    }

    /// Returns the time at which a message becomes too old, as [`expires`] does.
    pub(super) fn expires(&self, received: UnixMs, replays: u32) -> Option<UnixMs> {
        expires(Some(self.max_age), received, replays)
    }

    /// Returns the check to make now; `None`: it is too early. `messages_now` is the time by the clock that dates
    /// messages.
    pub(super) fn due(&self, now: Instant, messages_now: UnixMs) -> Option<ExpiryScan> {
        let cutoff = messages_now.before(self.max_age);
        (self.next <= now).then_some(ExpiryScan { cutoff, ..self.scan })
    }

    /// Notes that a check is complete: every message that the check could find is a dead letter now, or is being sent.
    /// `released` is the greatest release number (`Claim::release_no`) when the check was made; messages that are
    /// released later have greater numbers.
    pub(super) fn checked(&mut self, scan: ExpiryScan, released: i64, now: Instant) {
        self.scan = ExpiryScan { since: scan.cutoff.max(scan.since), released, retries: false, ..scan };
        self.next = now + EVERY;
        self.is_unfinished = false;
    }

    /// Notes that the check stopped early: the same check may find more messages.
    pub(super) fn found_more(&mut self) {
        self.is_unfinished = true;
    }

    /// Whether the next check should be made at once.
    pub(super) fn is_unfinished(&self) -> bool {
        self.is_unfinished
    }

    /// Makes the next check cover every waiting message again, because a new sink has got stored messages that were
    /// released long ago.
    pub(super) fn check_everything(&mut self) {
        self.scan = ExpiryScan::everything();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Clock;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn only_messages_that_were_not_replayed_become_too_old() {
        assert_eq!(expires(Some(HOUR), UnixMs(5), 0), Some(UnixMs(3_600_005)));
        assert_eq!(expires(Some(HOUR), UnixMs(5), 1), None, "an operator asked for it again");
        assert_eq!(expires(None, UnixMs(5), 0), None);
        assert_eq!(expires(Some(Duration::MAX), UnixMs(5), 0), Some(UnixMs::MAX));
    }

    #[tokio::test]
    async fn each_check_goes_on_where_the_last_one_ended() {
        let start = Clock::starting_at(UnixMs(0)).monotonic();
        let at = |seconds: u64| {
            (start + Duration::from_secs(seconds), UnixMs(10_000_000).after(Duration::from_secs(seconds)))
        };
        let mut checks = AgeChecks::new(HOUR, start);
        let (now, wall) = at(0);
        let first = checks.due(now, wall).unwrap();
        assert_eq!(first, ExpiryScan { cutoff: UnixMs(6_400_000), ..ExpiryScan::everything() });
        checks.checked(first, 17, now);
        assert_eq!(checks.due(now, wall), None, "not twice in a second");
        let (now, wall) = at(5);
        let second = checks.due(now, wall).unwrap();
        let expected = ExpiryScan { since: UnixMs(6_400_000), cutoff: UnixMs(6_405_000), released: 17, retries: false };
        assert_eq!(second, expected);
        checks.check_everything();
        assert_eq!(checks.due(now, wall).unwrap().since, UnixMs::MIN);
    }
}

//! `max_age` of one sink: when a message is too old to be sent, and when to check the store for such messages. Pure: the
//! time is passed in.
//!
//! A message grows older whatever its sink does: while the receiver is down, the breaker is open or the sink is paused. So
//! old messages are found in two ways: before each attempt, and by regular checks of the store. A check reads only messages
//! whose age passed the limit since the check before, so it costs little however many messages wait.

use std::time::Duration;

use crate::domain::UnixMs;
use crate::store::ExpiryScan;
use crate::time::Instant;

/// The shortest time between two checks.
const EVERY: Duration = Duration::from_secs(1);

/// When a message that was received at `received` becomes too old, by the clock that dates messages; `None`: never. A
/// message that somebody asked for again (`replays`) does not become too old.
pub(super) fn expires(max_age: Option<Duration>, received: UnixMs, replays: u32) -> Option<UnixMs> {
    max_age.filter(|_| replays == 0).map(|age| received.after(age))
}

/// The checks of the store for messages above one age limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct AgeChecks {
    max_age: Duration,
    next: Instant,
    /// Where the last complete check ended, and so where the next one begins.
    scan: ExpiryScan,
    is_unfinished: bool,
}

impl AgeChecks {
    /// The first check takes in everything that waits.
    pub(super) fn new(max_age: Duration, now: Instant) -> Self {
        Self { max_age, next: now, scan: ExpiryScan::everything(), is_unfinished: false }
    }

    /// When a message becomes too old; see [`expires`].
    pub(super) fn expires(&self, received: UnixMs, replays: u32) -> Option<UnixMs> {
        expires(Some(self.max_age), received, replays)
    }

    /// What to check now; `None`: it is too early. `messages_now` is the time by the clock that dates messages.
    pub(super) fn due(&self, now: Instant, messages_now: UnixMs) -> Option<ExpiryScan> {
        let cutoff = messages_now.before(self.max_age);
        (self.next <= now).then_some(ExpiryScan { cutoff, ..self.scan })
    }

    /// Every message that this check could find is a dead letter now. `released`: messages up to this place in the order of
    /// release had been released before the check.
    pub(super) fn checked(&mut self, scan: ExpiryScan, released: i64, now: Instant) {
        self.scan = ExpiryScan { since: scan.cutoff.max(scan.since), released, retries: false, ..scan };
        self.next = now + EVERY;
        self.is_unfinished = false;
    }

    /// The same check may find more.
    pub(super) fn found_more(&mut self) {
        self.is_unfinished = true;
    }

    /// Whether the next check should come at once.
    pub(super) fn is_unfinished(&self) -> bool {
        self.is_unfinished
    }

    /// Messages that were released long ago have come to wait: the next check takes in everything again.
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
    fn what_has_an_age() {
        assert_eq!(expires(Some(HOUR), UnixMs(5), 0), Some(UnixMs(3_600_005)));
        assert_eq!(expires(Some(HOUR), UnixMs(5), 1), None, "somebody asked for it");
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

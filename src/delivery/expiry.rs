//! `max_age` of one sink: which messages are too old to be sent, and when to look for them. Pure.
//!
//! A message grows older whatever its sink does: whether the receiver is down, the breaker is open or the sink is paused.
//! So there are two ways to find it: before each attempt, and by looking at those whose age passed the limit since the last
//! look. The second costs little however many wait, since it goes by the times of the messages.

use std::time::Duration;

use crate::domain::UnixMs;
use crate::store::Sweep;
use crate::time::Instant;

/// Looks are no closer together than this.
const EVERY: Duration = Duration::from_secs(1);

/// When a message received at `received` is too old, by the clock that says so; `None`: never. What somebody asked for again has no age.
pub(super) fn expires(max_age: Option<Duration>, received: UnixMs, replays: u32) -> Option<UnixMs> {
    max_age.filter(|_| replays == 0).map(|age| received.after(age))
}

/// What was looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expiry {
    max_age: Duration,
    next: Instant,
    sweep: Sweep,
    unfinished: bool,
}

impl Expiry {
    /// The first look takes in everything that waits.
    pub(super) fn new(max_age: Duration, now: Instant) -> Self {
        Self { max_age, next: now, sweep: Sweep::everything(), unfinished: false }
    }

    /// What to look at now, if it is time for it; `messages_now` is by the clock that dates the messages.
    pub(super) fn due(&self, now: Instant, messages_now: UnixMs) -> Option<Sweep> {
        let cutoff = messages_now.before(self.max_age);
        (self.next <= now).then_some(Sweep { cutoff, ..self.sweep })
    }

    /// All that was to be found by this look is dead. `released` is how far messages had been released before it.
    pub(super) fn looked(&mut self, sweep: Sweep, released: i64, now: Instant) {
        self.sweep = Sweep { since: sweep.cutoff.max(sweep.since), released, retries: false, ..sweep };
        self.next = now + EVERY;
        self.unfinished = false;
    }

    /// There is more to be found by the same look.
    pub(super) fn found_more(&mut self) {
        self.unfinished = true;
    }

    /// Whether the next look should come at once.
    pub(super) fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// Messages that were released long ago have come to wait: the next look takes them in.
    pub(super) fn look_at_everything(&mut self) {
        self.sweep = Sweep::everything();
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
    async fn each_look_goes_on_where_the_last_one_ended() {
        let start = Clock::starting_at(UnixMs(0)).monotonic();
        let at = |seconds: u64| {
            (start + Duration::from_secs(seconds), UnixMs(10_000_000).after(Duration::from_secs(seconds)))
        };
        let mut expiry = Expiry::new(HOUR, start);
        let (now, wall) = at(0);
        let first = expiry.due(now, wall).unwrap();
        assert_eq!(first, Sweep { cutoff: UnixMs(6_400_000), ..Sweep::everything() });
        expiry.looked(first, 17, now);
        assert_eq!(expiry.due(now, wall), None, "not twice in a second");
        let (now, wall) = at(5);
        let second = expiry.due(now, wall).unwrap();
        let expected = Sweep { since: UnixMs(6_400_000), cutoff: UnixMs(6_405_000), released: 17, retries: false };
        assert_eq!(second, expected);
        expiry.look_at_everything();
        assert_eq!(expiry.due(now, wall).unwrap().since, UnixMs::MIN);
    }
}

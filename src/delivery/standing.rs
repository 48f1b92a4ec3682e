//! How a sink stands with its receiver: the breaker, and the silence that was asked for.
//!
//! The sink's loop and its attempts share it, so that what an attempt changes is written down in the transaction that
//! settles it, and a restart goes on from there. Invariants: only changes are written, so a sink that works costs nothing;
//! they reach the disk in the order in which they were made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::breaker::{Admission, Breaker};
use super::decide::Finding;
use super::running::INACCURATE;
use crate::domain::UnixMs;
use crate::http::retry_after;
use crate::store;
use crate::time::Instant;
use crate::time::backoff::{Jitter, Schedule};

/// Clones share it.
#[derive(Clone, Debug)]
pub(super) struct SharedStanding(Arc<Mutex<Standing>>);

impl SharedStanding {
    pub(super) fn new(standing: Standing) -> Self {
        Self(Arc::new(Mutex::new(standing)))
    }

    /// For a moment: nothing is waited for under it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Standing {
    breaker: Breaker,
    busy: Option<Busy>,
    recorded: store::SinkStanding,
}

/// No attempt before this, told by both clocks.
#[derive(Clone, Copy, Debug)]
struct Busy {
    until: Instant,
    wall: UnixMs,
}

/// One moment by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) monotonic: Instant,
    pub(super) wall: UnixMs,
}

/// What an attempt's end changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Learned {
    /// The breaker is open now and was not.
    pub(super) opened: bool,
    /// The breaker was open and is not.
    pub(super) closed: bool,
    /// To be written down.
    pub(super) record: Option<store::SinkStanding>,
}

impl Standing {
    /// As it was written down before the start. A silence that is further away than any can be was written when the clock
    /// was ahead: it is over.
    pub(super) fn restored(recorded: store::SinkStanding, now: Moment) -> Self {
        let latest = now.wall.after(retry_after::CAP).after(INACCURATE);
        let busy = recorded
            .busy_until
            .filter(|until| *until > now.wall && *until <= latest)
            .map(|wall| Busy { until: now.monotonic + wall.since(now.wall), wall });
        Self { breaker: Breaker::restored(recorded.failures, now.monotonic), busy, recorded }
    }

    /// The relay's time was put right: the silence ends when it would have ended.
    pub(super) fn follow_rebase(&mut self, now: Moment) {
        if let Some(busy) = &mut self.busy {
            busy.wall = now.wall.after(busy.until.saturating_duration_since(now.monotonic));
            self.recorded.busy_until = Some(busy.wall);
        }
    }

    /// Until when the receiver wants silence.
    pub(super) fn busy_until(&self, now: Instant) -> Option<Instant> {
        self.busy.map(|busy| busy.until).filter(|until| *until > now)
    }

    /// What the breaker admits.
    pub(super) fn admission(&self, now: Instant) -> Admission {
        self.breaker.admission(now)
    }

    /// Whether everything may be sent.
    pub(super) fn is_closed(&self) -> bool {
        self.breaker.is_closed()
    }

    /// Whether one more failure leaves the breaker open.
    pub(super) fn is_on_the_edge(&self) -> bool {
        self.breaker.is_on_the_edge()
    }

    /// A probe has begun.
    pub(super) fn probe_began(&mut self) {
        self.breaker.probe_began();
    }

    /// A probe came to nothing.
    pub(super) fn probe_vanished(&mut self) {
        self.breaker.probe_vanished();
    }

    /// Silence for a reason of our own; it ends with the process.
    pub(super) fn rest(&mut self, now: Moment, wait: Duration) {
        self.be_silent(now, wait);
    }

    /// An attempt has ended.
    pub(super) fn learn(
        &mut self,
        finding: Finding,
        was_probe: bool,
        now: Moment,
        retry: &Schedule,
        jitter: &Jitter,
    ) -> Learned {
        let mut learned = Learned::default();
        match finding {
            Finding::Works => learned.closed = self.breaker.worked(),
            Finding::Fails | Finding::Gone => {
                learned.opened = self.breaker.failed(was_probe, now.monotonic, retry, jitter);
            }
            Finding::Busy(wait) => {
                learned.opened = self.breaker.failed(was_probe, now.monotonic, retry, jitter);
                self.be_silent(now, wait);
            }
            Finding::Closed | Finding::Nothing if was_probe => self.breaker.probe_vanished(),
            Finding::Closed | Finding::Nothing => {}
        }
        let record = store::SinkStanding {
            busy_until: self.busy.map(|busy| busy.wall).filter(|until| *until > now.wall),
            failures: self.breaker.failures(),
        };
        // A silence that is over says the same as none.
        let passed = self.recorded.busy_until.is_none_or(|until| until <= now.wall) && record.busy_until.is_none();
        let same_silence = passed || record.busy_until == self.recorded.busy_until;
        if !same_silence || record.failures != self.recorded.failures {
            self.recorded = record;
            learned.record = Some(record);
        }
        learned
    }

    fn be_silent(&mut self, now: Moment, wait: Duration) {
        let asked = Busy { until: now.monotonic + wait, wall: now.wall.after(wait) };
        if self.busy.is_none_or(|busy| busy.until < asked.until) {
            self.busy = Some(asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::breaker::STRAIGHT_FAILURES;
    use super::*;
    use crate::time::Clock;

    const RETRY: Schedule =
        Schedule { initial: Duration::from_secs(5), factor: 3.0, max: Duration::from_secs(12 * 3600) };
    const MINUTE: Duration = Duration::from_secs(60);

    fn start() -> Moment {
        Moment { monotonic: Clock::starting_at(UnixMs(0)).monotonic(), wall: UnixMs(1_750_000_000_000) }
    }

    fn later(moment: Moment, by: Duration) -> Moment {
        Moment { monotonic: moment.monotonic + by, wall: moment.wall.after(by) }
    }

    fn learn(standing: &mut Standing, finding: Finding, now: Moment) -> Option<store::SinkStanding> {
        standing.learn(finding, false, now, &RETRY, &Jitter::seeded(1)).record
    }

    #[tokio::test]
    async fn only_changes_are_written() {
        let now = start();
        let mut standing = Standing::restored(store::SinkStanding::default(), now);
        assert_eq!(learn(&mut standing, Finding::Works, now), None);
        let failures = |failures| Some(store::SinkStanding { busy_until: None, failures });
        assert_eq!(learn(&mut standing, Finding::Fails, now), failures(1));
        assert_eq!(learn(&mut standing, Finding::Gone, now), failures(2));
        assert_eq!(learn(&mut standing, Finding::Closed, now), None);
        assert_eq!(learn(&mut standing, Finding::Works, now), failures(0));
        assert_eq!(learn(&mut standing, Finding::Works, now), None);
        let busy = store::SinkStanding { busy_until: Some(now.wall.after(MINUTE)), failures: 1 };
        assert_eq!(learn(&mut standing, Finding::Busy(MINUTE), now), Some(busy));
        // A shorter one beside it changes nothing but the count; one that is over needs no writing.
        let shorter = learn(&mut standing, Finding::Busy(MINUTE / 2), now);
        assert_eq!(shorter, Some(store::SinkStanding { failures: 2, ..busy }));
        assert_eq!(learn(&mut standing, Finding::Works, now), Some(store::SinkStanding { failures: 0, ..busy }));
        assert_eq!(learn(&mut standing, Finding::Works, later(now, MINUTE)), None);
    }

    #[tokio::test]
    async fn a_restart_goes_on_from_what_was_written() {
        let now = start();
        let mut before = Standing::restored(store::SinkStanding::default(), now);
        let mut written = store::SinkStanding::default();
        for _ in 0..STRAIGHT_FAILURES - 1 {
            written = learn(&mut before, Finding::Fails, now).unwrap();
        }
        let mut after = Standing::restored(written, now);
        assert!(after.is_closed() && after.is_on_the_edge());
        assert!(after.learn(Finding::Fails, false, now, &RETRY, &Jitter::seeded(1)).opened, "the tenth");
        written = learn(&mut after, Finding::Busy(MINUTE), now).unwrap();

        let soon = later(now, MINUTE / 2);
        let opened = Standing::restored(written, soon);
        assert!(!opened.is_closed());
        assert_eq!(opened.busy_until(soon.monotonic), Some(soon.monotonic + MINUTE / 2));
        assert_eq!(opened.busy_until(later(now, MINUTE).monotonic), None);
        assert_eq!(opened.admission(soon.monotonic), Admission::Probe, "a start may ask once");
    }

    #[tokio::test]
    async fn failed_probes_are_counted_across_a_restart() {
        let now = start();
        let mut standing =
            Standing::restored(store::SinkStanding { busy_until: None, failures: STRAIGHT_FAILURES + 3 }, now);
        standing.probe_began();
        let learned = standing.learn(Finding::Fails, true, now, &RETRY, &Jitter::seeded(1));
        assert_eq!(learned.record.unwrap().failures, STRAIGHT_FAILURES + 4);
        let Admission::NotBefore(next) = standing.admission(now.monotonic) else { panic!("{standing:?}") };
        assert!(next - now.monotonic >= Duration::from_secs(54), "it does not begin with short waits again");
    }

    #[tokio::test]
    async fn a_silence_from_a_clock_that_was_ahead_is_over() {
        let now = start();
        let recorded = store::SinkStanding { busy_until: UnixMs::parse("2099-01-01T00:00:00Z"), failures: 0 };
        let standing = Standing::restored(recorded, now);
        assert_eq!(standing.busy_until(now.monotonic), None);
        // The longest that a receiver can ask for is obeyed.
        let recorded = store::SinkStanding { busy_until: Some(now.wall.after(retry_after::CAP)), failures: 0 };
        let standing = Standing::restored(recorded, now);
        assert_eq!(standing.busy_until(now.monotonic), Some(now.monotonic + retry_after::CAP));
    }

    #[tokio::test]
    async fn a_silence_ends_when_it_would_have_ended_whatever_time_it_turns_out_to_be() {
        let now = start();
        let mut standing = Standing::restored(store::SinkStanding::default(), now);
        learn(&mut standing, Finding::Busy(MINUTE), now);
        let later = later(now, MINUTE / 2);
        let right = Moment { wall: UnixMs(later.wall.0 - 86_400_000), ..later };
        standing.follow_rebase(right);
        assert_eq!(standing.busy_until(right.monotonic), Some(now.monotonic + MINUTE));
        let written = learn(&mut standing, Finding::Fails, right).unwrap();
        assert_eq!(written.busy_until, Some(right.wall.after(MINUTE / 2)));
    }
}

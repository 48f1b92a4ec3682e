//! How a sink stands with its receiver: the breaker, the silence that was asked for, and the pace that the receiver sets.
//!
//! The sink's loop and its attempts share it, so that what an attempt changes is written down in the transaction that
//! settles it, and a restart goes on from there. Invariants: only changes are written, so a sink that works costs nothing;
//! they reach the disk in the order in which they were made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::breaker::{Admission, Breaker};
use super::decide::Finding;
use super::options::INACCURATE;
use super::refused_alone::RefusedAlone;
use super::throttle::{FORGOTTEN_AFTER, Gate, Throttle};
use crate::domain::{Seq, UnixMs};
use crate::http::retry_after;
use crate::store;
use crate::time::Instant;
use crate::time::backoff::{Jitter, Schedule};

/// Clones share it.
#[derive(Clone, Debug)]
pub(super) struct SharedHealth(Arc<Mutex<SinkHealth>>);

impl SharedHealth {
    pub(super) fn new(standing: SinkHealth) -> Self {
        Self(Arc::new(Mutex::new(standing)))
    }

    /// For a moment: nothing is waited for under it.
    pub(super) fn lock(&self) -> MutexGuard<'_, SinkHealth> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct SinkHealth {
    breaker: Breaker,
    busy: Option<Busy>,
    throttle: Throttle,
    refused_alone: RefusedAlone,
    recorded: store::HealthRecord,
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

/// An attempt that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Began {
    /// When it began.
    pub(super) at: Instant,
    /// Whether it was the breaker's probe.
    pub(super) is_probe: bool,
}

/// What an attempt's end changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Learned {
    /// The breaker is open now and was not.
    pub(super) opened: bool,
    /// The breaker was open and is not.
    pub(super) closed: bool,
    /// The receiver sets the pace now and did not: for how long it wants silence first.
    pub(super) throttled: Option<Duration>,
    /// To be written down.
    pub(super) record: Option<store::HealthRecord>,
}

impl SinkHealth {
    /// As it was written down before the start. A silence that is further away than any can be was written when the clock
    /// was ahead: it is over. One that ended lately says that the receiver sets the pace.
    pub(super) fn restored(recorded: store::HealthRecord, now: Moment) -> Self {
        let latest = now.wall.after(retry_after::CAP).after(INACCURATE);
        let until = recorded.busy_until.map(|until| if until > latest { now.wall } else { until });
        let busy = until
            .filter(|until| *until > now.wall)
            .map(|wall| Busy { until: now.monotonic + wall.since(now.wall), wall });
        let lately = until.filter(|until| until.after(FORGOTTEN_AFTER) > now.wall);
        Self {
            breaker: Breaker::restored(recorded.failures, now.monotonic),
            busy,
            throttle: Throttle::new(lately.map(|until| now.monotonic + until.since(now.wall)), now.monotonic),
            refused_alone: RefusedAlone::default(),
            recorded,
        }
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

    /// When the silence ends, or has ended, that the receiver wants and after which it has accepted nothing yet.
    pub(super) fn silent_until(&self, now: Instant) -> Option<Instant> {
        self.busy_until(now).or_else(|| self.throttle.silent_until(now))
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

    /// When the pace that the receiver sets lets an attempt begin.
    pub(super) fn gate(&self, now: Instant) -> Gate {
        self.throttle.gate(now)
    }

    /// Whether the receiver sets the pace.
    pub(super) fn is_throttled(&self, now: Instant) -> bool {
        !self.throttle.is_free(now)
    }

    /// This message was refused. Returns whether the receiver takes others meanwhile, so that it is about the message.
    pub(super) fn is_refused_alone(&mut self, seq: Seq) -> bool {
        self.refused_alone.refused(seq)
    }

    /// This message was accepted.
    pub(super) fn took(&mut self, seq: Seq) {
        self.refused_alone.accepted(seq);
    }

    /// An attempt begins.
    pub(super) fn began(&mut self, is_probe: bool, now: Instant) {
        if is_probe {
            self.breaker.probe_began();
        }
        self.throttle.began(now);
    }

    /// An attempt came to nothing.
    pub(super) fn vanished(&mut self, began: Began) {
        if began.is_probe {
            self.breaker.probe_vanished();
        }
        self.throttle.ended(began.at);
    }

    /// Silence for a reason of our own; it ends with the process.
    pub(super) fn rest(&mut self, now: Moment, wait: Duration) {
        self.be_silent(now, wait);
    }

    /// An attempt has ended.
    pub(super) fn learn(
        &mut self,
        finding: Finding,
        began: Began,
        now: Moment,
        retry: &Schedule,
        jitter: &Jitter,
    ) -> Learned {
        let mut learned = Learned::default();
        match finding {
            Finding::Works => {
                learned.closed = self.breaker.worked();
                self.throttle.accepted(began.at, now.monotonic);
            }
            Finding::Fails | Finding::Gone => {
                learned.opened = self.breaker.failed(began.is_probe, now.monotonic, retry, jitter);
                self.throttle.ended(began.at);
            }
            // It is there, and says nothing about messages: neither a failure nor a success.
            Finding::Busy(refusal) => {
                self.vanished(began);
                let was_free = !self.is_throttled(now.monotonic);
                let silence = self.throttle.refused(refusal, began.at, now.monotonic);
                self.be_silent(now, silence);
                learned.throttled = was_free.then_some(silence);
            }
            Finding::Closed | Finding::Nothing => self.vanished(began),
        }
        let record = store::HealthRecord {
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
    use super::super::throttle::Refusal;
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

    fn learn(standing: &mut SinkHealth, finding: Finding, now: Moment) -> Option<store::HealthRecord> {
        standing.learn(finding, began(false, now), now, &RETRY, &Jitter::seeded(1)).record
    }

    fn began(is_probe: bool, now: Moment) -> Began {
        Began { at: now.monotonic, is_probe }
    }

    fn busy(asked: Duration) -> Finding {
        Finding::Busy(Refusal { asked: Some(asked), too_many: false })
    }

    #[tokio::test]
    async fn only_changes_are_written() {
        let now = start();
        let mut standing = SinkHealth::restored(store::HealthRecord::default(), now);
        assert_eq!(learn(&mut standing, Finding::Works, now), None);
        let failures = |failures| Some(store::HealthRecord { busy_until: None, failures });
        assert_eq!(learn(&mut standing, Finding::Fails, now), failures(1));
        assert_eq!(learn(&mut standing, Finding::Gone, now), failures(2));
        assert_eq!(learn(&mut standing, Finding::Closed, now), None);
        assert_eq!(learn(&mut standing, Finding::Works, now), failures(0));
        assert_eq!(learn(&mut standing, Finding::Works, now), None);
        let silent = store::HealthRecord { busy_until: Some(now.wall.after(MINUTE)), failures: 0 };
        assert_eq!(learn(&mut standing, busy(MINUTE), now), Some(silent), "a silence is no failure");
        // A shorter one beside it changes nothing; one that is over needs no writing.
        assert_eq!(learn(&mut standing, busy(MINUTE / 2), now), None);
        assert_eq!(learn(&mut standing, Finding::Works, now), None);
        assert_eq!(learn(&mut standing, Finding::Works, later(now, MINUTE)), None);
    }

    #[tokio::test]
    async fn a_restart_goes_on_from_what_was_written() {
        let now = start();
        let mut before = SinkHealth::restored(store::HealthRecord::default(), now);
        let mut written = store::HealthRecord::default();
        for _ in 0..STRAIGHT_FAILURES - 1 {
            written = learn(&mut before, Finding::Fails, now).unwrap();
        }
        let mut after = SinkHealth::restored(written, now);
        assert!(after.is_closed() && after.is_on_the_edge());
        assert!(after.learn(Finding::Fails, began(false, now), now, &RETRY, &Jitter::seeded(1)).opened, "the tenth");
        written = learn(&mut after, busy(MINUTE), now).unwrap();

        let soon = later(now, MINUTE / 2);
        let opened = SinkHealth::restored(written, soon);
        assert!(!opened.is_closed());
        assert_eq!(opened.busy_until(soon.monotonic), Some(soon.monotonic + MINUTE / 2));
        assert_eq!(opened.busy_until(later(now, MINUTE).monotonic), None);
        assert_eq!(opened.admission(soon.monotonic), Admission::Probe, "a start may ask once");
    }

    #[tokio::test]
    async fn failed_probes_are_counted_across_a_restart() {
        let now = start();
        let mut standing =
            SinkHealth::restored(store::HealthRecord { busy_until: None, failures: STRAIGHT_FAILURES + 3 }, now);
        standing.began(true, now.monotonic);
        let learned = standing.learn(Finding::Fails, began(true, now), now, &RETRY, &Jitter::seeded(1));
        assert_eq!(learned.record.unwrap().failures, STRAIGHT_FAILURES + 4);
        let Admission::NotBefore(next) = standing.admission(now.monotonic) else { panic!("{standing:?}") };
        assert!(next - now.monotonic >= Duration::from_secs(54), "it does not begin with short waits again");
    }

    #[tokio::test]
    async fn a_silence_from_a_clock_that_was_ahead_is_over() {
        let now = start();
        let recorded = store::HealthRecord { busy_until: UnixMs::parse("2099-01-01T00:00:00Z"), failures: 0 };
        let standing = SinkHealth::restored(recorded, now);
        assert_eq!(standing.busy_until(now.monotonic), None);
        // The longest that a receiver can ask for is obeyed.
        let recorded = store::HealthRecord { busy_until: Some(now.wall.after(retry_after::CAP)), failures: 0 };
        let standing = SinkHealth::restored(recorded, now);
        assert_eq!(standing.busy_until(now.monotonic), Some(now.monotonic + retry_after::CAP));
    }

    #[tokio::test]
    async fn a_silence_ends_when_it_would_have_ended_whatever_time_it_turns_out_to_be() {
        let now = start();
        let mut standing = SinkHealth::restored(store::HealthRecord::default(), now);
        learn(&mut standing, busy(MINUTE), now);
        let later = later(now, MINUTE / 2);
        let right = Moment { wall: UnixMs(later.wall.0 - 86_400_000), ..later };
        standing.follow_rebase(right);
        assert_eq!(standing.busy_until(right.monotonic), Some(now.monotonic + MINUTE));
        let written = learn(&mut standing, Finding::Fails, right).unwrap();
        assert_eq!(written.busy_until, Some(right.wall.after(MINUTE / 2)));
    }
}

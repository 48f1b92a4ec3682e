//! The health of one sink: its breaker, the silence that its receiver asked for, and the pace that the receiver sets. Pure:
//! the time is passed in.
//!
//! The sink's loop and its attempts share one value. A change that an attempt makes is written in the transaction that
//! settles the attempt, and after a restart the health goes on from what was written.
//!
//! Invariants: only changes are written, so a sink that works costs nothing; changes reach the disk in the order in which
//! they were made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::breaker::{Admission, Breaker};
use super::moment::Moment;
use super::options::INACCURATE;
use super::refused_alone::RefusedAlone;
use super::retry::Finding;
use super::status::Held;
use super::throttle::{FORGOTTEN_AFTER, Gate, Throttle};
use crate::domain::{Seq, UnixMs};
use crate::http::retry_after;
use crate::store;
use crate::time::Instant;
use crate::time::backoff::{Jitter, Schedule};

/// The health of one sink, behind a lock. Clones share one value.
#[derive(Clone, Debug)]
pub(super) struct SharedHealth(Arc<Mutex<SinkHealth>>);

impl SharedHealth {
    pub(super) fn new(health: SinkHealth) -> Self {
        Self(Arc::new(Mutex::new(health)))
    }

    /// Takes the lock. Holders keep the lock for a moment only, and wait for nothing while they hold it.
    pub(super) fn lock(&self) -> MutexGuard<'_, SinkHealth> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The health of one sink.
#[derive(Debug)]
pub(super) struct SinkHealth {
    breaker: Breaker,
    busy: Option<Busy>,
    throttle: Throttle,
    refused_alone: RefusedAlone,
    /// The record that the store has, or will have once all changes so far are written.
    recorded: store::HealthRecord,
}

/// The end of the silence, during which nothing is sent, by both clocks.
#[derive(Clone, Copy, Debug)]
struct Busy {
    until: Instant,
    wall: UnixMs,
}

/// How an attempt began: when, and whether as a probe.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptStart {
    pub(super) at: Instant,
    /// Whether the attempt is the breaker's probe.
    pub(super) is_probe: bool,
}

/// What the end of an attempt changed about its sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HealthChange {
    /// The attempt opened the breaker.
    pub(super) opened: bool,
    /// The attempt closed the breaker.
    pub(super) closed: bool,
    /// The silence that the receiver wants first, if the receiver begins to set the pace with this answer.
    pub(super) throttled: Option<Duration>,
    /// The record to write to the store; `None`: nothing is to be written.
    pub(super) record: Option<store::HealthRecord>,
}

impl SinkHealth {
    /// Restores the health that an earlier process has written. A silence that ends later than any silence can end was
    /// written while the clock was ahead, so such a silence counts as over. A silence that ended lately shows that the
    /// receiver sets the pace.
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

    /// Follows a correction of the relay's time. The silence still ends at the same instant, but that instant has
    /// another relay's time now.
    pub(super) fn follow_rebase(&mut self, now: Moment) {
        if let Some(busy) = &mut self.busy {
            busy.wall = now.wall.after(busy.until.saturating_duration_since(now.monotonic));
            self.recorded.busy_until = Some(busy.wall);
        }
    }

    /// The end of the silence that the receiver wants; `None`: the receiver wants none.
    pub(super) fn busy_until(&self, now: Instant) -> Option<Instant> {
        self.busy.map(|busy| busy.until).filter(|until| *until > now)
    }

    /// When the last silence ends or has ended; `None`: the receiver has accepted a message since.
    pub(super) fn silent_until(&self, now: Instant) -> Option<Instant> {
        self.busy_until(now).or_else(|| self.throttle.silent_until(now))
    }

    /// Which attempts the breaker allows to begin.
    pub(super) fn admission(&self, now: Instant) -> Admission {
        self.breaker.admission(now)
    }

    /// Whether the breaker is closed, so that everything may be sent.
    pub(super) fn is_closed(&self) -> bool {
        self.breaker.is_closed()
    }

    /// Whether the breaker is open after one more failure.
    pub(super) fn is_open_after_failure(&self) -> bool {
        self.breaker.is_open_after_failure()
    }

    /// Whether the pace that the receiver sets lets an attempt begin.
    pub(super) fn gate(&self, now: Instant) -> Gate {
        self.throttle.gate(now)
    }

    /// Whether the receiver sets the pace.
    pub(super) fn is_throttled(&self, now: Instant) -> bool {
        !self.throttle.is_free(now)
    }

    /// The pace that was learned from refusals, in attempts a minute, if there is one.
    pub(super) fn learned_per_minute(&self, now: Instant) -> Option<u64> {
        self.throttle.learned_per_minute(now)
    }

    /// Notes that the receiver refused this message. Returns whether the receiver accepts other messages meanwhile, so
    /// that the refusal concerns the message or its number, and not the receiver as a whole.
    pub(super) fn is_refused_alone(&mut self, seq: Seq, number_key: Option<i64>) -> bool {
        self.refused_alone.refused(seq, number_key)
    }

    /// Notes that the receiver accepted this message.
    pub(super) fn accepted(&mut self, seq: Seq, number_key: Option<i64>) {
        self.refused_alone.accepted(seq, number_key);
    }

    /// Notes that an attempt begins.
    pub(super) fn began(&mut self, start: AttemptStart) {
        if start.is_probe {
            self.breaker.probe_began();
        }
        self.throttle.began(start.at);
    }

    /// Notes that an attempt ended without saying anything about the receiver.
    pub(super) fn vanished(&mut self, start: AttemptStart) {
        if start.is_probe {
            self.breaker.probe_vanished();
        }
        self.throttle.ended(start.at);
    }

    /// Begins a silence of length `wait`, during which nothing is sent. A silence that ends later stays as it is. The
    /// silence is written to the store with the next attempt that ends.
    pub(super) fn be_silent(&mut self, now: Moment, wait: Duration) {
        let asked = Busy { until: now.monotonic + wait, wall: now.wall.after(wait) };
        if self.busy.is_none_or(|busy| busy.until < asked.until) {
            self.busy = Some(asked);
        }
    }

    /// Why the sink sends nothing, or one message at a time, until the receiver accepts a message; `None`: nothing
    /// holds the sink.
    pub(super) fn held(&self, now: Moment) -> Option<Held> {
        if let Some(until) = self.silent_until(now.monotonic) {
            return Some(Held::Busy { until: now.wall_at(until) });
        }
        let next = match self.admission(now.monotonic) {
            Admission::All => return None,
            Admission::Probe => Some(now.wall),
            Admission::NotBefore(next) => Some(now.wall_at(next)),
            Admission::Probing => None,
        };
        Some(Held::Probing { next })
    }

    /// Applies what the end of an attempt says about the sink. Returns what changed.
    pub(super) fn learn(
        &mut self,
        finding: Finding,
        start: AttemptStart,
        now: Moment,
        retry: &Schedule,
        jitter: &Jitter,
    ) -> HealthChange {
        let mut change = HealthChange::default();
        match finding {
            Finding::Works => {
                change.closed = self.breaker.worked();
                self.throttle.accepted(start.at, now.monotonic);
            }
            Finding::Fails | Finding::Gone => {
                change.opened = self.breaker.failed(start.is_probe, now.monotonic, retry, jitter);
                self.throttle.ended(start.at);
            }
            // The receiver answers but says nothing about the message, so the answer is neither a failure nor a
            // success.
            Finding::Busy(refusal) => {
                self.vanished(start);
                let was_free = !self.is_throttled(now.monotonic);
                let silence = self.throttle.refused(refusal, start.at, now.monotonic);
                self.be_silent(now, silence);
                change.throttled = Some(silence).filter(|_| was_free && self.is_throttled(now.monotonic));
            }
            Finding::Closed | Finding::Nothing => self.vanished(start),
        }
        let record = store::HealthRecord {
            busy_until: self.busy.map(|busy| busy.wall).filter(|until| *until > now.wall),
            failures: self.breaker.failures(),
        };
        // A silence that is over means the same as no silence.
        let passed = self.recorded.busy_until.is_none_or(|until| until <= now.wall) && record.busy_until.is_none();
        let same_silence = passed || record.busy_until == self.recorded.busy_until;
        if !same_silence || record.failures != self.recorded.failures {
            self.recorded = record;
            change.record = Some(record);
        }
        change
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

    fn learn(health: &mut SinkHealth, finding: Finding, now: Moment) -> Option<store::HealthRecord> {
        health.learn(finding, began(false, now), now, &RETRY, &Jitter::seeded(1)).record
    }

    fn began(is_probe: bool, now: Moment) -> AttemptStart {
        AttemptStart { at: now.monotonic, is_probe }
    }

    fn busy(asked: Duration) -> Finding {
        Finding::Busy(Refusal { asked: Some(asked), too_many: false })
    }

    #[tokio::test]
    async fn only_changes_are_written() {
        let now = start();
        let mut health = SinkHealth::restored(store::HealthRecord::default(), now);
        assert_eq!(learn(&mut health, Finding::Works, now), None);
        let failures = |failures| Some(store::HealthRecord { busy_until: None, failures });
        assert_eq!(learn(&mut health, Finding::Fails, now), failures(1));
        assert_eq!(learn(&mut health, Finding::Gone, now), failures(2));
        assert_eq!(learn(&mut health, Finding::Closed, now), None);
        assert_eq!(learn(&mut health, Finding::Works, now), failures(0));
        assert_eq!(learn(&mut health, Finding::Works, now), None);
        let silent = store::HealthRecord { busy_until: Some(now.wall.after(MINUTE)), failures: 0 };
        assert_eq!(learn(&mut health, busy(MINUTE), now), Some(silent), "a silence is no failure");
        // A shorter silence beside the longer one changes nothing. A silence that is over needs no writing.
        assert_eq!(learn(&mut health, busy(MINUTE / 2), now), None);
        assert_eq!(learn(&mut health, Finding::Works, now), None);
        assert_eq!(learn(&mut health, Finding::Works, later(now, MINUTE)), None);
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
        assert!(after.is_closed() && after.is_open_after_failure());
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
        let mut health =
            SinkHealth::restored(store::HealthRecord { busy_until: None, failures: STRAIGHT_FAILURES + 3 }, now);
        health.began(began(true, now));
        let change = health.learn(Finding::Fails, began(true, now), now, &RETRY, &Jitter::seeded(1));
        assert_eq!(change.record.unwrap().failures, STRAIGHT_FAILURES + 4);
        let Admission::NotBefore(next) = health.admission(now.monotonic) else { panic!("{health:?}") };
        assert!(next - now.monotonic >= Duration::from_secs(54), "it does not begin with short waits again");
    }

    #[tokio::test]
    async fn what_holds_a_sink_is_shown_by_the_relays_time() {
        let now = start();
        let mut health = SinkHealth::restored(store::HealthRecord::default(), now);
        assert_eq!(health.held(now), None);
        health.be_silent(now, MINUTE);
        assert_eq!(health.held(now), Some(Held::Busy { until: now.wall.after(MINUTE) }));
        assert_eq!(health.held(later(now, MINUTE)), None, "a silence of our own is over when it ends");
        learn(&mut health, busy(MINUTE), now);
        let over = later(now, MINUTE);
        assert_eq!(health.held(over), Some(Held::Busy { until: over.wall }), "the receiver has accepted nothing yet");

        let open = store::HealthRecord { busy_until: None, failures: STRAIGHT_FAILURES };
        let mut health = SinkHealth::restored(open, now);
        assert_eq!(health.held(now), Some(Held::Probing { next: Some(now.wall) }));
        health.began(began(true, now));
        assert_eq!(health.held(now), Some(Held::Probing { next: None }));
        health.learn(Finding::Fails, began(true, now), now, &RETRY, &Jitter::seeded(1));
        let Some(Held::Probing { next: Some(next) }) = health.held(now) else { panic!("{health:?}") };
        assert!((5..=17).contains(&next.since(now.wall).as_secs()), "the second wait of the schedule: {next:?}");
    }

    #[tokio::test]
    async fn a_silence_from_a_clock_that_was_ahead_is_over() {
        let now = start();
        let recorded = store::HealthRecord { busy_until: UnixMs::parse("2099-01-01T00:00:00Z"), failures: 0 };
        let health = SinkHealth::restored(recorded, now);
        assert_eq!(health.busy_until(now.monotonic), None);
        // The longest silence that a receiver can ask for is obeyed.
        let recorded = store::HealthRecord { busy_until: Some(now.wall.after(retry_after::CAP)), failures: 0 };
        let health = SinkHealth::restored(recorded, now);
        assert_eq!(health.busy_until(now.monotonic), Some(now.monotonic + retry_after::CAP));
    }

    #[tokio::test]
    async fn a_silence_ends_when_it_would_have_ended_whatever_time_it_turns_out_to_be() {
        let now = start();
        let mut health = SinkHealth::restored(store::HealthRecord::default(), now);
        learn(&mut health, busy(MINUTE), now);
        let later = later(now, MINUTE / 2);
        let right = Moment { wall: UnixMs(later.wall.0 - 86_400_000), ..later };
        health.follow_rebase(right);
        assert_eq!(health.busy_until(right.monotonic), Some(now.monotonic + MINUTE));
        let written = learn(&mut health, Finding::Fails, right).unwrap();
        assert_eq!(written.busy_until, Some(right.wall.after(MINUTE / 2)));
    }
}

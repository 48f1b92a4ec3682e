//! The health of one sink: its breaker, the silence that its receiver asked for, and the pace that the receiver sets.
//! Pure: the time is passed in.
//!
//! The sink's loop and its attempts share one value. A change that an attempt makes is written in the transaction that
//! settles the attempt. After a restart the health begins as it was last written.
//!
//! Invariants: only changes are written, so a sink that works causes no writes; changes reach the disk in the order in
//! which they were made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::after_attempt::{HealthSignal, Refusals};
use super::breaker::{Admission, Breaker};
use super::clock_reading::ClockReading;
use super::lanes::LaneSharing;
use super::refused_alone::{RefusalCause, RefusedAlone};
use super::settings::CLOCK_TOLERANCE;
use super::status::BlockedBy;
use super::throttle::{FORGOTTEN_AFTER, Gate, Recurrence, Throttle};
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

    /// Takes the lock. The caller must release it soon, and must not wait for anything before.
    pub(super) fn lock(&self) -> MutexGuard<'_, SinkHealth> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The health of one sink.
#[derive(Debug)]
pub(super) struct SinkHealth {
    breaker: Breaker,
    silence: Option<Silence>,
    throttle: Throttle,
    refused_alone: RefusedAlone,
    /// The record that the store has, or will have once all changes so far are written.
    recorded: store::HealthRecord,
}

/// A silence: nothing is sent before its end.
#[derive(Clone, Copy, Debug)]
struct Silence {
    /// The end by the monotonic clock.
    until: Instant,
    /// The end by the relay's time.
    until_relay_time: UnixMs,
}

/// How an attempt began: when, and whether as a probe.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptStart {
    pub(super) at: Instant,
    /// Whether the attempt is the breaker's probe.
    pub(super) is_probe: bool,
}

/// What the end of an attempt changed in the health of its sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HealthChange {
    /// The attempt opened the breaker.
    pub(super) opened: bool,
    /// The attempt closed the breaker.
    pub(super) closed: bool,
    /// The length of the silence, if the receiver begins to limit the pace with this answer.
    pub(super) throttled: Option<Duration>,
    /// The record to write to the store; `None`: nothing is to be written.
    pub(super) record: Option<store::HealthRecord>,
}

impl SinkHealth {
    /// Restores the health that an earlier process has written. If the recorded end of the silence is further away than
    /// a receiver can ask for, it was recorded while the relay's time was ahead. Then the silence counts as over. If a
    /// silence ended less than ten minutes ago, the receiver counts as one that limits the pace.
    pub(super) fn restored(recorded: store::HealthRecord, now: ClockReading) -> Self {
        let latest = now.relay_time.after(retry_after::CAP).after(CLOCK_TOLERANCE);
        let until = recorded.busy_until.map(|until| if until > latest { now.relay_time } else { until });
        let silence = until
            .filter(|until| *until > now.relay_time)
            .map(|until| Silence { until: now.monotonic + until.since(now.relay_time), until_relay_time: until });
        let lately = until.filter(|until| until.after(FORGOTTEN_AFTER) > now.relay_time);
        Self {
            breaker: Breaker::restored(recorded.failures, now.monotonic),
            silence,
            throttle: Throttle::new(lately.map(|until| now.monotonic + until.since(now.relay_time)), now.monotonic),
            refused_alone: RefusedAlone::default(),
            recorded,
        }
    }

    /// Restores the health from the record in the store, as after a restart.
    pub(super) fn begin_again(&mut self, now: ClockReading) {
        *self = Self::restored(self.recorded, now);
    }

    /// Forgets everything that was learned of the receiver, because messages go to another receiver from now on. The
    /// change is written to the store when the next attempt ends.
    pub(super) fn forget_receiver(&mut self, now: ClockReading) {
        *self = Self { recorded: self.recorded, ..Self::restored(store::HealthRecord::default(), now) };
    }

    /// Follows a correction of the relay's time. The length of the silence stays the same; only its end by the relay's
    /// time changes.
    pub(super) fn apply_correction(&mut self, now: ClockReading) {
        if let Some(silence) = &mut self.silence {
            silence.until_relay_time = now.relay_time.after(silence.until.saturating_duration_since(now.monotonic));
            self.recorded.busy_until = Some(silence.until_relay_time);
        }
    }

    /// The end of the present silence; `None`: there is no silence now.
    pub(super) fn silence_until(&self, now: Instant) -> Option<Instant> {
        self.silence.map(|silence| silence.until).filter(|until| *until > now)
    }

    /// When the last silence ends or has ended; `None`: there was none lately, or the receiver has accepted a message
    /// since.
    pub(super) fn last_silence_until(&self, now: Instant) -> Option<Instant> {
        self.silence_until(now).or_else(|| self.throttle.silent_until(now))
    }

    /// Which attempts the breaker allows to begin.
    pub(super) fn admission(&self, now: Instant) -> Admission {
        self.breaker.admission(now)
    }

    /// Whether the breaker is closed. A closed breaker lets every attempt begin.
    pub(super) fn is_closed(&self) -> bool {
        self.breaker.is_closed()
    }

    /// Whether the breaker is open already, or would be open after one more failure.
    pub(super) fn is_open_after_failure(&self) -> bool {
        self.breaker.is_open_after_failure()
    }

    /// Whether the pace that the receiver sets lets an attempt begin.
    pub(super) fn gate(&self, now: Instant) -> Gate {
        self.throttle.gate(now)
    }

    /// How the lanes share the attempts that may begin.
    pub(super) fn lane_sharing(&self, now: Instant) -> LaneSharing {
        match self.throttle.tried_in_vain(now) {
            true => LaneSharing::NewFirst,
            false if self.is_throttled(now) => LaneSharing::InTurn,
            false => LaneSharing::ByWorkers,
        }
    }

    /// Whether the receiver sets the pace.
    pub(super) fn is_throttled(&self, now: Instant) -> bool {
        !self.throttle.is_free(now)
    }

    /// The pace that was learned from refusals, in attempts a minute, if there is one.
    pub(super) fn learned_per_minute(&self, now: Instant) -> Option<u64> {
        self.throttle.learned_per_minute(now)
    }

    /// Notes that the receiver refused this message. Returns what is known about the refusals of the message.
    pub(super) fn refused(&mut self, seq: Seq, number_key: Option<i64>) -> Refusals {
        let cause = self.refused_alone.refused(seq, number_key, self.throttle.is_unpaced());
        match cause {
            RefusalCause::Receiver { in_vain, times } => {
                let least_wait = self.throttle.least_wait(in_vain);
                Refusals { are_alone: false, recurrence: Recurrence::of(in_vain, times), least_wait }
            }
            RefusalCause::Alone => Refusals { are_alone: true, ..Refusals::default() },
        }
    }

    /// Notes that the receiver accepted this message. A message that the receiver rejects, so that it becomes a dead
    /// letter, counts as accepted here, too: the answer is no refusal.
    pub(super) fn accepted(&mut self, seq: Seq, number_key: Option<i64>) {
        if self.refused_alone.accepted(seq, number_key) {
            self.throttle.accepted_after_refusal();
        }
    }

    /// Notes that an attempt begins.
    pub(super) fn began(&mut self, start: AttemptStart) {
        if start.is_probe {
            self.breaker.probe_began();
        }
        self.throttle.began(start.at);
    }

    /// Notes that an attempt ended without saying anything about the receiver.
    pub(super) fn ended_without_signal(&mut self, start: AttemptStart) {
        if start.is_probe {
            self.breaker.abandon_probe();
        }
        self.throttle.ended(start.at);
    }

    /// Begins a silence of length `wait`, during which nothing is sent. If a silence that ends later has begun already,
    /// that silence stays. The silence is written to the store when the next attempt ends.
    pub(super) fn begin_silence(&mut self, now: ClockReading, wait: Duration) {
        let asked = Silence { until: now.monotonic + wait, until_relay_time: now.relay_time.after(wait) };
        if self.silence.is_none_or(|silence| silence.until < asked.until) {
            self.silence = Some(asked);
        }
    }

    /// Why the sink sends nothing now, or only one message at a time; `None`: it sends its messages.
    pub(super) fn blocked_by(&self, now: ClockReading) -> Option<BlockedBy> {
        if let Some(until) = self.last_silence_until(now.monotonic) {
            return Some(BlockedBy::Silence { until: now.relay_time_at(until) });
        }
        let next_probe = match self.admission(now.monotonic) {
            Admission::All => return None,
            Admission::Probe => Some(now.relay_time),
            Admission::NotBefore(next) => Some(now.relay_time_at(next)),
            Admission::Probing => None,
        };
        Some(BlockedBy::Breaker { next_probe })
    }

    /// Applies what the end of an attempt says about the sink. Returns what changed.
    pub(super) fn apply(
        &mut self,
        signal: HealthSignal,
        start: AttemptStart,
        now: ClockReading,
        retry: &Schedule,
        jitter: &Jitter,
    ) -> HealthChange {
        let mut change = HealthChange::default();
        match signal {
            HealthSignal::Success => {
                change.closed = self.breaker.worked();
                self.throttle.accepted(start.at, now.monotonic);
            }
            HealthSignal::Failure | HealthSignal::Gone => {
                change.opened = self.breaker.failed(start.is_probe, now.monotonic, retry, jitter);
                self.throttle.ended(start.at);
            }
            // The receiver answers but says nothing about the message, so the answer is neither a failure nor a
            // success.
            HealthSignal::Refused(refusal) => {
                self.ended_without_signal(start);
                let was_free = !self.is_throttled(now.monotonic);
                let silence = self.throttle.refused(refusal, start.at, now.monotonic);
                self.begin_silence(now, silence);
                change.throttled = Some(silence).filter(|_| was_free && self.is_throttled(now.monotonic));
            }
            HealthSignal::OutputClosed | HealthSignal::Neutral => self.ended_without_signal(start),
        }
        let record = store::HealthRecord {
            busy_until: self.silence.map(|silence| silence.until_relay_time).filter(|until| *until > now.relay_time),
            failures: self.breaker.failures(),
        };
        // A silence that is over means the same as no silence.
        let passed =
            self.recorded.busy_until.is_none_or(|until| until <= now.relay_time) && record.busy_until.is_none();
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
    use super::super::breaker::FAILURES_THAT_OPEN;
    use super::super::throttle::Refusal;
    use super::*;
    use crate::time::Clock;

    const RETRY: Schedule =
        Schedule { initial: Duration::from_secs(5), factor: 3.0, max: Duration::from_secs(12 * 3600) };
    const MINUTE: Duration = Duration::from_secs(60);

    fn start() -> ClockReading {
        ClockReading {
            monotonic: Clock::starting_at(UnixMs(0)).monotonic(),
            relay_time: UnixMs(1_750_000_000_000),
            corrected_by: 0,
        }
    }

    fn later(moment: ClockReading, by: Duration) -> ClockReading {
        ClockReading { monotonic: moment.monotonic + by, relay_time: moment.relay_time.after(by), ..moment }
    }

    fn apply(health: &mut SinkHealth, signal: HealthSignal, now: ClockReading) -> Option<store::HealthRecord> {
        health.apply(signal, began(false, now), now, &RETRY, &Jitter::seeded(1)).record
    }

    fn began(is_probe: bool, now: ClockReading) -> AttemptStart {
        AttemptStart { at: now.monotonic, is_probe }
    }

    fn refused(asked: Duration) -> HealthSignal {
        HealthSignal::Refused(Refusal { asked: Some(asked), too_many: false, recurrence: Recurrence::First })
    }

    #[tokio::test]
    async fn only_changes_are_written() {
        let now = start();
        let mut health = SinkHealth::restored(store::HealthRecord::default(), now);
        assert_eq!(apply(&mut health, HealthSignal::Success, now), None);
        let failures = |failures| Some(store::HealthRecord { busy_until: None, failures });
        assert_eq!(apply(&mut health, HealthSignal::Failure, now), failures(1));
        assert_eq!(apply(&mut health, HealthSignal::Gone, now), failures(2));
        assert_eq!(apply(&mut health, HealthSignal::OutputClosed, now), None);
        assert_eq!(apply(&mut health, HealthSignal::Success, now), failures(0));
        assert_eq!(apply(&mut health, HealthSignal::Success, now), None);
        let silent = store::HealthRecord { busy_until: Some(now.relay_time.after(MINUTE)), failures: 0 };
        assert_eq!(apply(&mut health, refused(MINUTE), now), Some(silent), "a silence is no failure");
        // A shorter silence beside the longer one changes nothing. A silence that is over needs no writing.
        assert_eq!(apply(&mut health, refused(MINUTE / 2), now), None);
        assert_eq!(apply(&mut health, HealthSignal::Success, now), None);
        assert_eq!(apply(&mut health, HealthSignal::Success, later(now, MINUTE)), None);
    }

    #[tokio::test]
    async fn a_restart_goes_on_from_what_was_written() {
        let now = start();
        let mut before = SinkHealth::restored(store::HealthRecord::default(), now);
        let mut written = store::HealthRecord::default();
        for _ in 0..FAILURES_THAT_OPEN - 1 {
            written = apply(&mut before, HealthSignal::Failure, now).unwrap();
        }
        let mut after = SinkHealth::restored(written, now);
        assert!(after.is_closed() && after.is_open_after_failure());
        assert!(
            after.apply(HealthSignal::Failure, began(false, now), now, &RETRY, &Jitter::seeded(1)).opened,
            "the tenth failure"
        );
        written = apply(&mut after, refused(MINUTE), now).unwrap();

        let soon = later(now, MINUTE / 2);
        let opened = SinkHealth::restored(written, soon);
        assert!(!opened.is_closed());
        assert_eq!(opened.silence_until(soon.monotonic), Some(soon.monotonic + MINUTE / 2));
        assert_eq!(opened.silence_until(later(now, MINUTE).monotonic), None);
        assert_eq!(opened.admission(soon.monotonic), Admission::Probe, "one probe at once after a start");
    }

    #[tokio::test]
    async fn failed_probes_are_counted_across_a_restart() {
        let now = start();
        let mut health =
            SinkHealth::restored(store::HealthRecord { busy_until: None, failures: FAILURES_THAT_OPEN + 3 }, now);
        health.began(began(true, now));
        let change = health.apply(HealthSignal::Failure, began(true, now), now, &RETRY, &Jitter::seeded(1));
        assert_eq!(change.record.unwrap().failures, FAILURES_THAT_OPEN + 4);
        let Admission::NotBefore(next) = health.admission(now.monotonic) else { panic!("{health:?}") };
        assert!(next - now.monotonic >= Duration::from_secs(54), "the waits do not begin anew");
    }

    #[tokio::test]
    async fn the_end_of_a_silence_and_the_next_probe_are_shown_by_the_relays_time() {
        let now = start();
        let mut health = SinkHealth::restored(store::HealthRecord::default(), now);
        assert_eq!(health.blocked_by(now), None);
        health.begin_silence(now, MINUTE);
        assert_eq!(health.blocked_by(now), Some(BlockedBy::Silence { until: now.relay_time.after(MINUTE) }));
        assert_eq!(health.blocked_by(later(now, MINUTE)), None, "no receiver asked for this silence");
        apply(&mut health, refused(MINUTE), now);
        let over = later(now, MINUTE);
        assert_eq!(
            health.blocked_by(over),
            Some(BlockedBy::Silence { until: over.relay_time }),
            "the receiver has accepted nothing yet"
        );

        let open = store::HealthRecord { busy_until: None, failures: FAILURES_THAT_OPEN };
        let mut health = SinkHealth::restored(open, now);
        assert_eq!(health.blocked_by(now), Some(BlockedBy::Breaker { next_probe: Some(now.relay_time) }));
        health.began(began(true, now));
        assert_eq!(health.blocked_by(now), Some(BlockedBy::Breaker { next_probe: None }));
        health.apply(HealthSignal::Failure, began(true, now), now, &RETRY, &Jitter::seeded(1));
        let Some(BlockedBy::Breaker { next_probe: Some(next) }) = health.blocked_by(now) else { panic!("{health:?}") };
        assert!((5..=17).contains(&next.since(now.relay_time).as_secs()), "the second wait of the schedule: {next:?}");
    }

    #[tokio::test]
    async fn a_silence_from_a_clock_that_was_ahead_is_over() {
        let now = start();
        let recorded = store::HealthRecord { busy_until: UnixMs::parse("2099-01-01T00:00:00Z"), failures: 0 };
        let health = SinkHealth::restored(recorded, now);
        assert_eq!(health.silence_until(now.monotonic), None);
        // The longest silence that a receiver can ask for is obeyed.
        let recorded = store::HealthRecord { busy_until: Some(now.relay_time.after(retry_after::CAP)), failures: 0 };
        let health = SinkHealth::restored(recorded, now);
        assert_eq!(health.silence_until(now.monotonic), Some(now.monotonic + retry_after::CAP));
    }

    #[tokio::test]
    async fn a_correction_of_the_time_does_not_move_the_end_of_a_silence() {
        let now = start();
        let mut health = SinkHealth::restored(store::HealthRecord::default(), now);
        apply(&mut health, refused(MINUTE), now);
        let later = later(now, MINUTE / 2);
        let right = ClockReading { relay_time: UnixMs(later.relay_time.0 - 86_400_000), ..later };
        health.apply_correction(right);
        assert_eq!(health.silence_until(right.monotonic), Some(now.monotonic + MINUTE));
        let written = apply(&mut health, HealthSignal::Failure, right).unwrap();
        assert_eq!(written.busy_until, Some(right.relay_time.after(MINUTE / 2)));
    }
}

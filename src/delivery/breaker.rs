//! The breaker of one sink. While no message gets through, the breaker lets one probe begin after each wait, instead of
//! one attempt for each message. Pure: the time is passed in.
//!
//! A probe sends the message that is next in the normal order, and a message that has just failed waits for its retry.
//! So the probes try different messages, and a message that the receiver can never accept does not keep the breaker
//! open. Any success closes the breaker.

use std::time::Duration;

use crate::time::Instant;
use crate::time::backoff::{Jitter, Schedule};

/// The number of failures in a row that opens the breaker.
pub(super) const FAILURES_THAT_OPEN: u32 = 10;

/// The longest wait between two probes. It is short, so that the relay soon notices when the receiver accepts messages
/// again.
pub(super) const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// Which attempts the breaker allows to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// As many attempts may begin as there are free workers.
    All,
    /// One attempt may begin, as a probe.
    Probe,
    /// No attempt may begin before this instant.
    NotBefore(Instant),
    /// No attempt may begin before the probe that is under way has ended.
    Probing,
}

/// The breaker of one sink: closed or open.
#[derive(Clone, Copy, Debug)]
pub(super) enum Breaker {
    /// Every attempt may begin. `failures` is the number of failures in a row so far.
    Closed { failures: u32 },
    /// One probe at a time may begin, the next probe not before `next`.
    Open { failed_probes: u32, next: Instant, probing: bool },
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self::Closed { failures: 0 }
    }

    /// Restores the breaker of an earlier process. `failures` is the number that [`Breaker::failures`] returned in that
    /// process. A probe may begin at once, because the operator may have repaired something before the start.
    pub(super) fn restored(failures: u32, now: Instant) -> Self {
        match failures.checked_sub(FAILURES_THAT_OPEN) {
            None => Self::Closed { failures },
            Some(failed_probes) => Self::Open { failed_probes, next: now, probing: false },
        }
    }

    /// The number of failures in a row so far. Once [`FAILURES_THAT_OPEN`] is reached, only failed probes are counted.
    pub(super) fn failures(&self) -> u32 {
        match *self {
            Self::Closed { failures } => failures,
            Self::Open { failed_probes, .. } => FAILURES_THAT_OPEN.saturating_add(failed_probes),
        }
    }

    /// Whether the breaker is open already, or would be open after one more failure.
    pub(super) fn is_open_after_failure(&self) -> bool {
        self.failures().saturating_add(1) >= FAILURES_THAT_OPEN
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// Which attempts may begin now.
    pub(super) fn admission(&self, now: Instant) -> Admission {
        match *self {
            Self::Closed { .. } => Admission::All,
            Self::Open { probing: true, .. } => Admission::Probing,
            Self::Open { next, .. } if next > now => Admission::NotBefore(next),
            Self::Open { .. } => Admission::Probe,
        }
    }

    /// Notes that a probe begins.
    pub(super) fn probe_began(&mut self) {
        if let Self::Open { probing, .. } = self {
            *probing = true;
        }
    }

    /// Notes that a probe ended without saying anything about the receiver. Another probe may begin.
    pub(super) fn abandon_probe(&mut self) {
        if let Self::Open { probing, .. } = self {
            *probing = false;
        }
    }

    /// Notes that an attempt failed. Returns whether this failure opened the breaker.
    pub(super) fn failed(&mut self, was_probe: bool, now: Instant, retry: &Schedule, jitter: &Jitter) -> bool {
        let schedule = Schedule { max: retry.max.min(MAX_PROBE_INTERVAL), ..*retry };
        match self {
            Self::Closed { failures } => {
                *failures += 1;
                if *failures < FAILURES_THAT_OPEN {
                    return false;
                }
                let next = now + schedule.jittered(1, jitter);
                *self = Self::Open { failed_probes: 0, next, probing: false };
                true
            }
            Self::Open { failed_probes, next, probing, .. } => {
                // A failure of an attempt that began before the breaker opened changes nothing.
                if was_probe {
                    *failed_probes = failed_probes.saturating_add(1);
                    *next = now + schedule.jittered(failed_probes.saturating_add(1), jitter);
                    *probing = false;
                }
                false
            }
        }
    }

    /// Notes that an attempt succeeded. Returns whether this success closed the breaker.
    pub(super) fn worked(&mut self) -> bool {
        let was_open = !self.is_closed();
        *self = Self::new();
        was_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    const RETRY: Schedule =
        Schedule { initial: Duration::from_secs(5), factor: 3.0, max: Duration::from_secs(12 * 3600) };

    fn opened(start: Instant, jitter: &Jitter) -> Breaker {
        let mut breaker = Breaker::new();
        for failure in 1..=FAILURES_THAT_OPEN {
            assert_eq!(breaker.admission(start), Admission::All);
            assert_eq!(breaker.failed(false, start, &RETRY, jitter), failure == FAILURES_THAT_OPEN);
        }
        breaker
    }

    fn start() -> Instant {
        Clock::starting_at(UnixMs(0)).monotonic()
    }

    fn next(breaker: &Breaker, now: Instant) -> Instant {
        let Admission::NotBefore(next) = breaker.admission(now) else { panic!("{breaker:?}") };
        next
    }

    #[tokio::test]
    async fn ten_failures_in_a_row_open_it_and_a_success_begins_the_count_anew() {
        let (start, jitter) = (start(), Jitter::seeded(1));
        let mut breaker = Breaker::new();
        for _ in 0..9 {
            assert!(!breaker.failed(false, start, &RETRY, &jitter));
        }
        assert!(!breaker.worked());
        for _ in 0..9 {
            assert!(!breaker.failed(false, start, &RETRY, &jitter));
        }
        assert!(breaker.failed(false, start, &RETRY, &jitter));
    }

    #[tokio::test]
    async fn probes_are_spaced_by_the_schedule_up_to_a_minute() {
        let (start, jitter) = (start(), Jitter::seeded(1));
        let mut breaker = opened(start, &jitter);
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..6 {
            let probe_at = next(&breaker, now);
            waits.push((probe_at - now).as_secs());
            now = probe_at;
            assert_eq!(breaker.admission(now), Admission::Probe);
            breaker.probe_began();
            assert_eq!(breaker.admission(now + Duration::from_secs(600)), Admission::Probing);
            assert!(!breaker.failed(true, now, &RETRY, &jitter));
        }
        assert!(waits[0] == 5 && (15..17).contains(&waits[1]) && (45..50).contains(&waits[2]), "{waits:?}");
        assert!(waits[3..].iter().all(|wait| (54..=60).contains(wait)), "{waits:?}");
    }

    #[tokio::test]
    async fn a_failure_of_an_earlier_attempt_does_not_move_the_probe() {
        let (start, jitter) = (start(), Jitter::seeded(1));
        let mut breaker = opened(start, &jitter);
        let planned = next(&breaker, start);
        assert!(!breaker.failed(false, start + Duration::from_secs(3), &RETRY, &jitter));
        assert_eq!(next(&breaker, start + Duration::from_secs(3)), planned);
        // If an earlier attempt fails while the probe is under way, the probe goes on.
        breaker.probe_began();
        assert!(!breaker.failed(false, planned, &RETRY, &jitter));
        assert_eq!(breaker.admission(planned), Admission::Probing);
    }

    #[tokio::test]
    async fn any_success_closes_it() {
        let (start, jitter) = (start(), Jitter::seeded(1));
        let mut breaker = opened(start, &jitter);
        let later = start + Duration::from_secs(90);
        assert!(breaker.worked());
        assert_eq!(breaker.admission(later), Admission::All);
        assert!(!breaker.worked());
    }

    #[tokio::test]
    async fn after_an_abandoned_probe_another_probe_may_begin() {
        let (start, jitter) = (start(), Jitter::seeded(1));
        let mut breaker = opened(start, &jitter);
        let at = next(&breaker, start);
        breaker.probe_began();
        breaker.abandon_probe();
        assert_eq!(breaker.admission(at), Admission::Probe);
    }
}

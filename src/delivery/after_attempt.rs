//! Decides what follows from the end of an attempt, for the message and for its sink. Pure. The waits come from the
//! sink's retry schedule (`retry_schedule.rs`).
//!
//! Invariants:
//! - The deadline of a message comes `give_up_after` after its first attempt began; the time in which the sink was
//!   paused does not count.
//! - If the receiver rejects a message, or if no payload can be made of it, the message becomes a dead letter at once.
//!   After any other attempt without success it becomes a dead letter only if its deadline has come or it is too old by
//!   then. (`supervisor/expiry.rs` gives up messages that grow too old while they wait.)
//! - A due time is never past the deadline, so that a last attempt is made at the deadline.
//! - After a failure, a wait that the receiver asks for lengthens the scheduled wait and never shortens it. After a
//!   refusal the schedule does not count: the message waits for at least as long as the receiver asks.
//! - A refusal (too many requests, or a request for silence) is no failure of the message, unless the receiver refuses
//!   only this message or only messages of its number.

use std::time::Duration;

use super::retry_schedule::Retry;
use super::throttle::{FIRST_SILENCE, Recurrence, Refusal};
use crate::domain::{DeadReason, Outcome, UnixMs};
use crate::formats::Unrenderable;
use crate::sinks::Attempt;
use crate::time::backoff::Jitter;

/// The facts about a delivery at the end of one of its attempts.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptHistory {
    /// How many attempts of the delivery count, including the attempt that just ended. Earlier refusals do not count,
    /// unless the receiver refused this message alone.
    pub(super) attempts: u32,
    /// When the first attempt began.
    pub(super) first_attempt: UnixMs,
    /// When the attempt ended.
    pub(super) ended: UnixMs,
    /// How long the sink was paused between the first attempt and `ended`. The paused time does not count towards the
    /// deadline.
    pub(super) paused: Duration,
    /// When the message becomes too old to be sent again; `None`: never, or the relay does not know yet what time it
    /// is.
    pub(super) expires: Option<UnixMs>,
    /// What is known about the refusals of the message, if the attempt ended with a refusal.
    pub(super) refusals: Refusals,
}

/// What is known about the refusals of a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refusals {
    /// Whether the receiver refuses this message while it accepts others. Such a refusal is a failure of the message.
    pub(super) are_alone: bool,
    /// How the last refusal relates to the earlier refusals of the message.
    pub(super) recurrence: Recurrence,
    /// The shortest wait before the next attempt.
    pub(super) least_wait: Duration,
}

/// What follows from the end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// The outcome to record; `None`: the attempt does not count, and the delivery goes on waiting.
    pub(super) outcome: Option<Outcome>,
    /// What the attempt says about the sink.
    pub(super) signal: HealthSignal,
}

/// What the end of an attempt says about the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthSignal {
    /// The receiver accepts messages, or has answered that it never wants this message.
    Success,
    /// The receiver did not accept this message.
    Failure,
    /// The receiver refused this message because it gets too many requests or is down, so it would have refused any
    /// other message as well.
    Refused(Refusal),
    /// The receiver will accept no message until somebody looks into the matter.
    Gone,
    /// The process that reads the output has closed the output.
    OutputClosed,
    /// The attempt says nothing about the sink: either the receiver was not asked, or it refuses only this message or
    /// only messages of this number.
    Neutral,
}

/// Decides what follows from `attempt`. The waits before the next attempt come from `retry` and `jitter`.
pub(super) fn decide(attempt: Attempt, history: AttemptHistory, retry: &Retry, jitter: &Jitter) -> Decision {
    let refusal = refusal(&attempt);
    let (status, retry_after, answer) = match attempt {
        Attempt::Failed { status, retry_after, answer } => (status, retry_after, answer),
        Attempt::Busy { answer } => (None, None, answer),
        Attempt::Accepted { status } => {
            return Decision { outcome: Some(Outcome::Delivered { status }), signal: HealthSignal::Success };
        }
        // The receiver answered the request, so the answer says nothing against the receiver.
        Attempt::Rejected { status, answer } => {
            let outcome = Outcome::Dead { reason: DeadReason::Rejected, status, answer };
            return Decision { outcome: Some(outcome), signal: HealthSignal::Success };
        }
        // The sink pauses for all its messages, so this message must not become a dead letter because of this answer.
        Attempt::Gone { status, answer } => {
            let patient = Retry { give_up_after: None, ..retry.clone() };
            let wait = failure_wait(None, history, retry, jitter);
            let outcome = again_after(wait, status, answer, history, &patient);
            return Decision { outcome: Some(outcome), signal: HealthSignal::Gone };
        }
        Attempt::Closed => return Decision { outcome: None, signal: HealthSignal::OutputClosed },
    };
    let Refusals { are_alone, recurrence, least_wait } = history.refusals;
    let (signal, wait) = match refusal.filter(|_| !are_alone) {
        // The message waits for as long as the receiver asks, or for [`FIRST_SILENCE`] if the receiver asks for no
        // time. (The silence of the sink may be longer.) The message has not failed, so its wait does not come from the
        // retry schedule.
        Some(refusal) => {
            let longest = retry.schedule().max;
            let wait = refusal.asked.unwrap_or(FIRST_SILENCE.min(longest)).max(least_wait.min(longest));
            (HealthSignal::Refused(Refusal { recurrence, ..refusal }), wait)
        }
        // The receiver accepts other messages, so the failure must not open the breaker.
        None if are_alone => (HealthSignal::Neutral, failure_wait(retry_after, history, retry, jitter)),
        None => (HealthSignal::Failure, failure_wait(retry_after, history, retry, jitter)),
    };
    Decision { outcome: Some(again_after(wait, status, answer, history, retry)), signal }
}

/// Whether an attempt ended with a refusal.
pub(super) fn is_refusal(attempt: &Attempt) -> bool {
    refusal(attempt).is_some()
}

/// Decides about a message for which the sink's template cannot make a payload. Another try would have the same result,
/// so the message becomes a dead letter.
pub(super) fn unrenderable(reason: Unrenderable) -> Decision {
    let outcome = Outcome::Dead { reason: DeadReason::Template, status: None, answer: reason.0 };
    Decision { outcome: Some(outcome), signal: HealthSignal::Neutral }
}

/// Returns the refusal if the answer says that the receiver gets too many requests or wants silence; otherwise `None`.
fn refusal(attempt: &Attempt) -> Option<Refusal> {
    let (status, retry_after) = match attempt {
        Attempt::Failed { status, retry_after, .. } => (*status, *retry_after),
        Attempt::Busy { .. } => return Some(Refusal { asked: None, too_many: true, recurrence: Recurrence::First }),
        Attempt::Accepted { .. } | Attempt::Rejected { .. } | Attempt::Gone { .. } | Attempt::Closed => return None,
    };
    let asked = retry_after.filter(|asked| !asked.is_zero());
    match status {
        Some(429) => Some(Refusal { asked, too_many: true, recurrence: Recurrence::First }),
        // 502, 503 and 504 with a wait say that the receiver as a whole is overloaded or down. Other statuses may
        // concern only the one message.
        Some(502..=504) if asked.is_some() => Some(Refusal { asked, too_many: false, recurrence: Recurrence::First }),
        _ => None,
    }
}

fn failure_wait(asked: Option<Duration>, history: AttemptHistory, retry: &Retry, jitter: &Jitter) -> Duration {
    retry.schedule().jittered(history.attempts, jitter).max(asked.unwrap_or_default())
}

fn again_after(wait: Duration, status: Option<u16>, answer: String, history: AttemptHistory, retry: &Retry) -> Outcome {
    let deadline =
        retry.give_up_after.map_or(UnixMs::MAX, |span| history.first_attempt.after(span).after(history.paused));
    if history.ended >= deadline {
        return Outcome::Dead { reason: DeadReason::GaveUp, status, answer };
    }
    if history.expires.is_some_and(|expires| history.ended >= expires) {
        return Outcome::Dead { reason: DeadReason::Expired, status, answer };
    }
    Outcome::Retry { due: history.ended.after(wait).min(deadline), status, answer }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: UnixMs = UnixMs(1_750_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn retry() -> Retry {
        Retry {
            initial: Duration::from_secs(5),
            factor: 3.0,
            max: Duration::from_secs(12 * 3600),
            give_up_after: Some(3 * DAY),
        }
    }

    fn failed(status: Option<u16>, retry_after: Option<u64>) -> Attempt {
        Attempt::Failed { status, retry_after: retry_after.map(Duration::from_secs), answer: "no".into() }
    }

    fn after(attempt: Attempt, attempts: u32, ended: UnixMs) -> Decision {
        after_pause(attempt, attempts, ended, Duration::ZERO)
    }

    fn after_pause(attempt: Attempt, attempts: u32, ended: UnixMs, paused: Duration) -> Decision {
        let history = AttemptHistory {
            attempts,
            first_attempt: START,
            ended,
            paused,
            expires: None,
            refusals: Refusals::default(),
        };
        decide(attempt, history, &retry(), &Jitter::seeded(1))
    }

    fn wait(decision: &Decision, ended: UnixMs) -> Duration {
        let Some(Outcome::Retry { due, .. }) = decision.outcome else { panic!("{decision:?}") };
        due.since(ended)
    }

    #[test]
    fn accepted_is_delivered() {
        for status in [None, Some(204)] {
            let expected = Decision { outcome: Some(Outcome::Delivered { status }), signal: HealthSignal::Success };
            assert_eq!(after(Attempt::Accepted { status }, 7, START.after(30 * DAY)), expected);
        }
    }

    #[test]
    fn a_pause_does_not_count_towards_giving_up() {
        let gave_up = |decision: &Decision| matches!(decision.outcome, Some(Outcome::Dead { .. }));
        let ended = START.after(5 * DAY);
        assert!(gave_up(&after_pause(failed(Some(500), None), 4, ended, DAY)));
        assert!(gave_up(&after_pause(failed(Some(500), None), 4, ended, 2 * DAY)), "exactly at the deadline");
        let decision = after_pause(failed(Some(500), None), 40, ended, 2 * DAY + Duration::from_secs(60));
        assert_eq!(wait(&decision, ended), Duration::from_secs(60), "the pause has moved the deadline");
    }

    #[test]
    fn waits_grow_by_the_schedule() {
        for (attempts, seconds) in [(1, 5.0), (2, 15.0), (3, 45.0), (4, 135.0)] {
            let decision = after(failed(Some(500), None), attempts, START);
            let wait = wait(&decision, START).as_secs_f64();
            assert!((seconds..=seconds * 1.1).contains(&wait), "{attempts}: {wait}");
            assert_eq!(decision.signal, HealthSignal::Failure);
        }
    }

    #[test]
    fn retry_after_may_lengthen_a_wait_but_never_shortens_it() {
        assert_eq!(wait(&after(failed(Some(500), Some(600)), 1, START), START), Duration::from_secs(600));
        let short = wait(&after(failed(Some(500), Some(1)), 1, START), START);
        assert!((5..6).contains(&short.as_secs()), "{short:?}");
    }

    fn busy(asked: Option<u64>, too_many: bool) -> HealthSignal {
        HealthSignal::Refused(Refusal {
            asked: asked.map(Duration::from_secs),
            too_many,
            recurrence: Recurrence::First,
        })
    }

    #[test]
    fn a_refusal_does_not_lengthen_the_schedule() {
        for (status, asked, expected) in [(429, None, 1), (429, Some(0), 1), (429, Some(7), 7), (503, Some(2), 2)] {
            for attempts in [1, 2, 30] {
                let decision = after(failed(Some(status), asked), attempts, START);
                assert_eq!(wait(&decision, START), Duration::from_secs(expected), "{status} {asked:?} {attempts}");
            }
        }
        let without_status = after(Attempt::Busy { answer: "no".into() }, 7, START);
        assert_eq!((wait(&without_status, START), without_status.signal), (Duration::from_secs(1), busy(None, true)));
        let late = START.after(3 * DAY);
        let dead = Outcome::Dead { reason: DeadReason::GaveUp, status: Some(429), answer: "no".into() };
        assert_eq!(after(failed(Some(429), Some(7)), 1, late).outcome, Some(dead), "even after a refusal");
    }

    #[test]
    fn a_refused_message_waits_as_long_as_the_receiver_and_the_throttle_ask() {
        for (asked, least, expected) in [(None, 0, 1), (None, 4, 4), (Some(7), 4, 7), (Some(2), 4, 4)] {
            let refusals = Refusals {
                recurrence: Recurrence::SoonAgain,
                least_wait: Duration::from_secs(least),
                ..Refusals::default()
            };
            let (attempts, paused) = (1, Duration::ZERO);
            let history =
                AttemptHistory { attempts, first_attempt: START, ended: START, paused, expires: None, refusals };
            let decision = decide(failed(Some(429), asked), history, &retry(), &Jitter::seeded(1));
            assert_eq!(wait(&decision, START), Duration::from_secs(expected), "{asked:?} {least}");
            assert!(
                matches!(decision.signal, HealthSignal::Refused(Refusal { recurrence: Recurrence::SoonAgain, .. })),
                "{decision:?}"
            );
        }
    }

    #[test]
    fn only_certain_answers_are_refusals() {
        for (status, retry_after, signal) in [
            (Some(429), Some(60), busy(Some(60), true)),
            (Some(429), Some(0), busy(None, true)),
            (Some(429), None, busy(None, true)),
            (Some(502), Some(60), busy(Some(60), false)),
            (Some(503), Some(60), busy(Some(60), false)),
            (Some(504), Some(60), busy(Some(60), false)),
            (Some(503), Some(0), HealthSignal::Failure),
            (Some(503), None, HealthSignal::Failure),
            (Some(500), Some(60), HealthSignal::Failure),
            (Some(404), Some(60), HealthSignal::Failure),
            (None, None, HealthSignal::Failure),
        ] {
            assert_eq!(after(failed(status, retry_after), 1, START).signal, signal, "{status:?}");
        }
    }

    #[test]
    fn a_failure_at_the_deadline_makes_a_dead_letter_and_an_earlier_one_does_not() {
        let deadline = START.after(3 * DAY);
        let early = UnixMs(deadline.0 - 1);
        assert_eq!(wait(&after(failed(Some(503), Some(86_400)), 12, early), early), Duration::from_millis(1));
        for ended in [deadline, deadline.after(DAY)] {
            let dead = Outcome::Dead { reason: DeadReason::GaveUp, status: Some(503), answer: "no".into() };
            assert_eq!(after(failed(Some(503), None), 12, ended).outcome, Some(dead));
        }
    }

    #[test]
    fn without_give_up_after_no_failure_makes_a_dead_letter() {
        let patient = Retry { give_up_after: None, ..retry() };
        let ended = START.after(400 * DAY);
        let history = AttemptHistory {
            attempts: u32::MAX,
            first_attempt: START,
            ended,
            paused: Duration::ZERO,
            expires: None,
            refusals: Refusals::default(),
        };
        let decision = decide(failed(Some(404), None), history, &patient, &Jitter::seeded(1));
        assert!(wait(&decision, ended) <= Duration::from_secs(12 * 3600));
    }

    #[test]
    fn a_rejected_message_is_a_dead_letter_and_says_nothing_against_the_sink() {
        let dead = Outcome::Dead { reason: DeadReason::Rejected, status: Some(422), answer: "no".into() };
        let expected = Decision { outcome: Some(dead), signal: HealthSignal::Success };
        assert_eq!(after(Attempt::Rejected { status: Some(422), answer: "no".into() }, 1, START), expected);
    }

    #[test]
    fn a_message_that_is_refused_alone_fails_by_its_own_schedule() {
        for status in [429, 503] {
            let (attempts, paused) = (3, Duration::ZERO);
            let alone = Refusals { are_alone: true, ..Refusals::default() };
            let history =
                AttemptHistory { attempts, first_attempt: START, ended: START, paused, expires: None, refusals: alone };
            let decision = decide(failed(Some(status), Some(1)), history, &retry(), &Jitter::seeded(1));
            assert_eq!(decision.signal, HealthSignal::Neutral, "the receiver accepts others");
            assert!((45..50).contains(&wait(&decision, START).as_secs()), "{decision:?}");
        }
    }

    #[test]
    fn a_failure_of_a_message_that_is_too_old_makes_a_dead_letter() {
        let fails = |ended: UnixMs, attempt| {
            let history = AttemptHistory {
                attempts: 1,
                first_attempt: START,
                ended,
                paused: Duration::ZERO,
                expires: Some(START.after(DAY)),
                refusals: Refusals::default(),
            };
            decide(attempt, history, &retry(), &Jitter::seeded(1)).outcome
        };
        let early = UnixMs(START.after(DAY).0 - 1);
        assert!(matches!(fails(early, failed(Some(500), None)), Some(Outcome::Retry { .. })));
        let dead = Outcome::Dead { reason: DeadReason::Expired, status: Some(500), answer: "no".into() };
        assert_eq!(fails(START.after(DAY), failed(Some(500), None)), Some(dead));
        let accepted = fails(START.after(2 * DAY), Attempt::Accepted { status: Some(200) });
        assert_eq!(accepted, Some(Outcome::Delivered { status: Some(200) }), "it was begun in time");
    }

    #[test]
    fn gone_pauses_the_sink_and_makes_no_dead_letter() {
        let late = START.after(30 * DAY);
        let decision = after(Attempt::Gone { status: Some(410), answer: "410 Gone".into() }, 12, late);
        assert_eq!(decision.signal, HealthSignal::Gone);
        assert!(wait(&decision, late) > Duration::from_secs(11 * 3600));
    }

    #[test]
    fn a_message_without_a_payload_is_a_dead_letter_and_says_nothing_of_the_sink() {
        let outcome = Outcome::Dead { reason: DeadReason::Template, status: None, answer: "line 1".into() };
        let expected = Decision { outcome: Some(outcome), signal: HealthSignal::Neutral };
        assert_eq!(unrenderable(Unrenderable("line 1".into())), expected);
    }

    #[test]
    fn closed_counts_as_no_attempt() {
        assert_eq!(after(Attempt::Closed, 1, START), Decision { outcome: None, signal: HealthSignal::OutputClosed });
    }

    proptest! {
        #[test]
        fn a_retry_is_due_in_time_and_never_at_once(
            attempts in 1_u32..5000,
            elapsed in 0_u64..400_000_000,
            retry_after in proptest::option::of(0_u64..100_000),
            initial in 0_u64..100_000,
            factor in 1.0_f64..10.0,
            max in 0_u64..100_000_000,
            give_up in proptest::option::of(0_u64..400_000_000),
            status in proptest::option::of(300_u16..600),
            seed in any::<u64>(),
        ) {
            let retry = Retry {
                initial: Duration::from_millis(initial),
                factor,
                max: Duration::from_millis(max),
                give_up_after: give_up.map(Duration::from_millis),
            };
            let ended = START.after(Duration::from_millis(elapsed));
            let history = AttemptHistory { attempts, first_attempt: START, ended, paused: Duration::ZERO, expires: None, refusals: Refusals::default() };
            let decision = decide(failed(status, retry_after), history, &retry, &Jitter::seeded(seed));
            let past = give_up.is_some_and(|span| elapsed >= span);
            match decision.outcome {
                Some(Outcome::Dead { .. }) => prop_assert!(past),
                Some(Outcome::Retry { due, .. }) => {
                    prop_assert!(!past);
                    prop_assert!(due > ended);
                    let deadline = give_up.map(|span| START.after(Duration::from_millis(span)));
                    if Some(due) == deadline {
                        return Ok(());
                    }
                    prop_assert!(deadline.is_none_or(|deadline| due < deadline));
                    let asked = Duration::from_secs(retry_after.unwrap_or(0));
                    prop_assert!(due.since(ended) >= asked);
                    let longest = Duration::from_millis(max.max(initial).max(100));
                    prop_assert!(due.since(ended) <= longest.max(asked));
                    prop_assert!(due.since(ended) >= Duration::from_millis(90));
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

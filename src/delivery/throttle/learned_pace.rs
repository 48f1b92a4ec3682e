//! The pace of attempts after a silence, and how this pace grows while the receiver refuses nothing.
//!
//! The pace begins below a *ceiling*, the pace that the receiver is thought to accept. It grows like the window of
//! TCP's CUBIC: quickly at first, slowly near the ceiling, and then more and more quickly. Without a ceiling each
//! accepted message raises the pace by the same factor.

use std::time::Duration;

use super::FORGOTTEN_AFTER;
use crate::time::Instant;

/// The first pace, in attempts a second, if nothing is known of the pace that the receiver accepts.
const UNKNOWN: f64 = 1.0;

/// The pace, in attempts a second, above which nothing is limited any more.
const UNLIMITED: f64 = 1000.0;

/// The highest ceiling, as a share of the pace that was refused.
const BELOW_REFUSED: f64 = 0.97;

/// The first pace after a silence, as a share of the ceiling.
const BELOW_CEILING: f64 = 0.85;

/// The slowest pace, in attempts for each length of the last silence. After a silence of 10 s, this is one attempt in
/// 20 s. One attempt in 10 s would be too quick: this could be exactly the limit of a receiver that states exactly how
/// long to wait, and attempts would be refused again and again.
const AT_LEAST: f64 = 0.5;

/// The factor by which each accepted message raises the pace while it is not known which pace the receiver accepts.
const EXPLORING: f64 = 1.19;

/// How long the pace takes to get back to the ceiling, in lengths of the last silence. (If the wait between two
/// attempts is longer than the silence, in such waits.) `UNSURE` applies if the last refusal cost much time (see
/// [`COSTS_MUCH`]), so that the ceiling is only a guess. `SURE` applies if the refusal cost little.
const UNSURE: f64 = 4.0;
const SURE: f64 = 12.0;

/// A refusal cost much if the accepted rate, measured up to the end of the silence, was lower than the refused pace by
/// more than this share of that pace.
const COSTS_MUCH: f64 = 0.3;

/// A silence of more than this many seconds counts as one of this length when the growth of the pace is computed.
const COUNTED_SILENCE: f64 = 15.0;

/// Timers are coarse. So an attempt that begins late by at most this time does not delay the attempts after it.
const TOLERANCE: Duration = Duration::from_millis(10);

/// A pace that was learned from refusals, in attempts a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct LearnedPace {
    rate: f64,
    ceiling: Option<f64>,
    /// The slowest pace, in attempts a second.
    least: f64,
    /// The number of seconds after which the pace is back at the ceiling.
    span: f64,
    /// How many of the seconds of `span` have passed. Idle time does not count.
    used: f64,
    grown_at: Instant,
    next: Instant,
}

/// What is known of a receiver at the end of a silence, in messages a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct PaceBounds {
    /// The highest rate at which the receiver accepted messages over a time that ended with the end of the silence.
    pub(super) taken: f64,
    /// The pace that the receiver refused.
    pub(super) refused: f64,
}

impl LearnedPace {
    /// Returns the pace after a silence. `asked` is the length that the silence was meant to have. `silence` is the
    /// time from the beginning of the silence until the receiver had accepted an attempt. That attempt began at `began`
    /// and ended at `now`.
    pub(super) fn after(
        bounds: Option<PaceBounds>,
        silence: Duration,
        asked: Duration,
        began: Instant,
        now: Instant,
    ) -> Self {
        let least = AT_LEAST / asked.as_secs_f64();
        let (ceiling, rate, span) = match bounds {
            None => (None, UNKNOWN, UNSURE),
            Some(PaceBounds { taken, refused }) => {
                let taken = taken.min(refused);
                // The accepted rate is below the receiver's limit, and the refused pace is above it. So the ceiling
                // lies between these two.
                let ceiling = (taken * refused).sqrt().min(BELOW_REFUSED * refused);
                let span = if 1.0 - taken / refused > COSTS_MUCH { UNSURE } else { SURE };
                (Some(ceiling.max(least)), BELOW_CEILING * ceiling, span)
            }
        };
        let rate = rate.max(least);
        let span = span * silence.as_secs_f64().min(COUNTED_SILENCE).max(1.0 / rate);
        Self { rate, ceiling, least, span, used: 0.0, grown_at: now, next: began + gap(rate) }
    }

    /// The pace in attempts a second.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// The pace in attempts a minute, at least 1.
    pub(super) fn per_minute(&self) -> u64 {
        // The result is how often the time between two attempts fits into a minute. No pace is so quick that this time
        // is 0 microseconds.
        let gap = gap(self.rate).as_micros().max(1);
        u64::try_from(Duration::from_secs(60).as_micros() / gap).unwrap_or(u64::MAX).max(1)
    }

    /// When the next attempt may begin.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    pub(super) fn limits_nothing(&self) -> bool {
        self.rate > UNLIMITED
    }

    /// Notes that an attempt begins.
    pub(super) fn began(&mut self, now: Instant) {
        let gap = gap(self.rate);
        let planned = now.checked_sub(TOLERANCE.min(gap / 10)).map_or(self.next, |earliest| self.next.max(earliest));
        self.next = planned + gap;
    }

    /// Notes that a message was accepted, and raises the pace.
    pub(super) fn grow(&mut self, now: Instant) {
        self.used += now.saturating_duration_since(self.grown_at).as_secs_f64().min(2.0 / self.rate);
        self.grown_at = now;
        let Some(ceiling) = self.ceiling else {
            self.rate *= EXPLORING;
            return;
        };
        let beyond = self.used / self.span - 1.0;
        self.rate = (ceiling * (1.0 + (1.0 - BELOW_CEILING) * beyond.powi(3))).max(self.least);
        if beyond > 1.0 {
            self.ceiling = None;
        }
    }
}

/// Returns the time between two attempts at the pace `rate`.
fn gap(rate: f64) -> Duration {
    Duration::try_from_secs_f64(1.0 / rate).unwrap_or(FORGOTTEN_AFTER).min(FORGOTTEN_AFTER)
}

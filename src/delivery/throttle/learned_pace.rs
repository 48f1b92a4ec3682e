//! The pace of attempts after a silence, and how it grows while the receiver refuses nothing.
//!
//! The pace begins below a ceiling and grows as CUBIC does it for TCP: quickly at first, slowly near the ceiling, and then
//! ever more quickly. Where there is no ceiling, each accepted message raises it by the same factor.

use std::time::Duration;

use super::FORGOTTEN_AFTER;
use crate::time::Instant;

/// The pace where nothing tells what the receiver accepts, in attempts a second.
const UNKNOWN: f64 = 1.0;

/// From this pace on, in attempts a second, nothing is limited.
const UNLIMITED: f64 = 1000.0;

/// The ceiling lies below the pace that was refused by this factor at least.
const BELOW_REFUSED: f64 = 0.97;

/// The pace begins below the ceiling by this factor.
const BELOW_CEILING: f64 = 0.85;

/// How many attempts are made in the time of one silence at least. With one attempt, a receiver that says exactly how long
/// to wait would be asked at its limit, and so refuse again and again.
const AT_LEAST: f64 = 0.5;

/// While it is not known what the receiver accepts, each accepted message raises the pace by this factor.
const EXPLORING: f64 = 1.19;

/// After how many messages, or how many times the silence, whichever is longer, the pace is back at the ceiling: where a
/// refusal cost much of the time since the one before (so the ceiling is a guess), and where it cost little.
const UNSURE: f64 = 4.0;
const SURE: f64 = 12.0;

/// A refusal that cost more than this share of the time cost much.
const COSTS_MUCH: f64 = 0.3;

/// For the growth a silence counts as this long at most, in seconds.
const COUNTED_SILENCE: f64 = 15.0;

/// An attempt that begins late by this much at most does not slow down those that follow: timers are coarse.
const TOLERANCE: Duration = Duration::from_millis(10);

/// A pace that was found out by refusals, in attempts a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct LearnedPace {
    rate: f64,
    ceiling: Option<f64>,
    /// The pace is never slower than this.
    least: f64,
    /// After so many seconds the pace is back at the ceiling.
    span: f64,
    /// How many of these have passed; idle time does not count.
    used: f64,
    grown_at: Instant,
    next: Instant,
}

/// What is known of a receiver at the end of a silence, in messages a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct PaceBounds {
    /// What the receiver accepted, over the time until the end of the silence.
    pub(super) taken: f64,
    /// The pace that it refused.
    pub(super) refused: f64,
}

impl LearnedPace {
    /// The pace after a silence of `silence`, of which the receiver had asked for `asked`. `began` is when the first accepted
    /// attempt began, `now` when it ended.
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
                // What was accepted is less than the receiver would accept, and what it refused is more.
                let ceiling = (taken * refused).sqrt().min(BELOW_REFUSED * refused);
                let span = if 1.0 - taken / refused > COSTS_MUCH { UNSURE } else { SURE };
                (Some(ceiling.max(least)), BELOW_CEILING * ceiling, span)
            }
        };
        let rate = rate.max(least);
        let span = span * silence.as_secs_f64().min(COUNTED_SILENCE).max(1.0 / rate);
        Self { rate, ceiling, least, span, used: 0.0, grown_at: now, next: began + gap(rate) }
    }

    /// In attempts a second.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// In attempts a minute, at least 1.
    pub(super) fn per_minute(&self) -> u64 {
        // A minute of times between attempts: no pace is so quick that this is 0.
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

    /// An attempt begins.
    pub(super) fn began(&mut self, now: Instant) {
        let gap = gap(self.rate);
        let planned = now.checked_sub(TOLERANCE.min(gap / 10)).map_or(self.next, |earliest| self.next.max(earliest));
        self.next = planned + gap;
    }

    /// A message was accepted.
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

/// The time between two attempts.
fn gap(rate: f64) -> Duration {
    Duration::try_from_secs_f64(1.0 / rate).unwrap_or(FORGOTTEN_AFTER).min(FORGOTTEN_AFTER)
}

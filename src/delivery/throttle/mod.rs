//! The pace that a receiver sets by refusing requests ("429 Too Many Requests", or an answer that asks for silence). Pure: the
//! time is passed in.
//!
//! Until a receiver refuses something, nothing is limited, and nothing is remembered but when the last attempts began. After a
//! refusal there is silence. Then one attempt at a time is made until one is accepted. From then on attempts are spaced out:
//! - The pace that the receiver accepts lies between two known paces: what it accepted from one silence to the end of the
//!   next, over all of that time, and the pace that it refused. The ceiling is their geometric mean, so a wrong first guess is
//!   corrected in a few refusals, and a good guess changes little. See [`LearnedPace`].
//! - The dearer refusals are (the longer the silence), the more rarely one is provoked.
//! - The pace is never slower than one attempt in twice the silence, since the receiver said that one silence is enough.
//! - A pace clearly above the ceiling that is not refused says that the limit is gone. From there on the pace doubles every
//!   few messages, until it limits nothing.
//! - A receiver that keeps refusing although messages come much more slowly than it has accepted them does not limit the pace:
//!   it refuses a share of all messages, at any pace. From there on nothing is limited, and each refused message waits for
//!   itself, until the receiver refuses most messages. See [`PaceEvidence`].
//!
//! Invariants: a refusal of an attempt that began before the silence teaches nothing new; while nothing is accepted, silences
//! grow to a minute, or to what is asked for; after ten minutes without a refusal everything is forgotten.

mod evidence;
mod learned_pace;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use self::evidence::{Excess, PaceEvidence, PacedRefusal};
use self::learned_pace::{LearnedPace, PaceBounds};
use crate::time::Instant;

/// The silence after a refusal that asks for none. It doubles while nothing is accepted.
pub(super) const FIRST_SILENCE: Duration = Duration::from_secs(1);

/// A silence grows no longer than this, so that a receiver that is back is noticed soon.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// Whatever is asked for, there is no hot loop.
const SHORTEST_SILENCE: Duration = Duration::from_millis(100);

/// After so long without a refusal the receiver counts as one that never refused.
pub(super) const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// How many accepted attempts are remembered.
const REMEMBERED: usize = 64;

/// The first refusal does not tell at which pace attempts were made: it is taken to be this many a second.
const FIRST_GUESS: f64 = 50.0;

/// Whether an attempt may begin, as far as the receiver's pace is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// One may.
    Open,
    /// Not before this instant.
    At(Instant),
    /// Not before the attempt has ended that tries whether the silence was long enough.
    AfterTrial,
}

/// Why an attempt was refused, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The silence that the receiver asks for.
    pub(super) asked: Option<Duration>,
    /// The receiver says that there were too many requests, and not that it is down for a while.
    pub(super) too_many: bool,
}

/// The pace of one sink as its receiver sets it.
#[derive(Debug)]
pub(super) struct Throttle {
    phase: Phase,
    accepted: Accepted,
    evidence: PaceEvidence,
    /// When the last refusal is forgotten.
    forgotten_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The receiver refuses nothing.
    Free,
    /// The receiver refused, and has accepted nothing since.
    Trying(Trying),
    /// The receiver accepts messages at a pace.
    Paced(LearnedPace),
    /// The receiver refuses a share of all messages, at any pace.
    Unpaced(Excess),
}

#[derive(Clone, Copy, Debug)]
struct Trying {
    /// Attempts that began before this do not know of the silence.
    since: Instant,
    /// When the silence is over.
    until: Instant,
    refusals: u32,
    is_under_way: bool,
    /// The pace that was refused, in attempts a second, where there was one.
    pace: Option<f64>,
    too_many: bool,
}

/// The attempts that were accepted since the last silence.
#[derive(Debug, Default)]
struct Accepted {
    /// When the newest of them began.
    newest: VecDeque<Instant>,
    /// How many there were.
    count: u32,
    /// When the first of them began; before the first silence nobody counts.
    since: Option<Instant>,
}

impl Throttle {
    /// The throttle of a receiver that has refused nothing yet. If it refused something lately, to the process before this one,
    /// `silent_until` is the end of the silence that is left, or an instant that has passed if the silence is over.
    pub(super) fn new(silent_until: Option<Instant>, now: Instant) -> Self {
        let trying = |until| Trying {
            since: now,
            until,
            refusals: u32::from(until > now),
            is_under_way: false,
            pace: None,
            too_many: false,
        };
        Self {
            phase: silent_until.map_or(Phase::Free, |until| Phase::Trying(trying(until))),
            accepted: Accepted::default(),
            evidence: PaceEvidence::default(),
            forgotten_at: silent_until.map(|until| until + FORGOTTEN_AFTER),
        }
    }

    /// Whether nothing is limited.
    pub(super) fn is_free(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Free | Phase::Unpaced(_)) || self.is_forgotten(now)
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        self.forgotten_at.is_none_or(|at| at <= now)
    }

    /// When the silence is over, or was, of a receiver that has accepted nothing since.
    pub(super) fn silent_until(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Trying(Trying { until, refusals: 1.., .. }) if !self.is_free(now) => Some(until),
            _ => None,
        }
    }

    /// The learned pace in attempts a minute, if there is one.
    pub(super) fn learned_per_minute(&self, now: Instant) -> Option<u64> {
        match self.phase {
            Phase::Paced(pace) if !self.is_free(now) => Some(pace.per_minute()),
            _ => None,
        }
    }

    /// Whether an attempt may begin. The caller sees to it that silences are kept.
    pub(super) fn gate(&self, now: Instant) -> Gate {
        match self.phase {
            _ if self.is_free(now) => Gate::Open,
            Phase::Trying(Trying { is_under_way: true, .. }) => Gate::AfterTrial,
            Phase::Paced(pace) if pace.next() > now => Gate::At(pace.next()),
            _ => Gate::Open,
        }
    }

    /// An attempt begins.
    pub(super) fn began(&mut self, now: Instant) {
        if self.is_forgotten(now) {
            self.phase = Phase::Free;
            self.evidence = PaceEvidence::default();
        }
        match &mut self.phase {
            Phase::Free | Phase::Unpaced(_) => {}
            Phase::Trying(trying) => trying.is_under_way = true,
            Phase::Paced(pace) => pace.began(now),
        }
    }

    /// An attempt that began at `began` was refused. Returns for how long the sink is to be silent.
    pub(super) fn refused(&mut self, refusal: Refusal, began: Instant, now: Instant) -> Duration {
        let asked = refusal.asked.filter(|asked| !asked.is_zero());
        self.evidence.asked(asked.unwrap_or_default());
        let first_silence = asked.map_or(FIRST_SILENCE, |asked| asked.max(SHORTEST_SILENCE));
        let silence = match &mut self.phase {
            Phase::Trying(trying) if began < trying.since => asked.unwrap_or_default(),
            Phase::Paced(_) if self.accepted.since.is_some_and(|since| began < since) => {
                return asked.unwrap_or_default();
            }
            Phase::Trying(trying) => {
                trying.is_under_way = false;
                let grown = FIRST_SILENCE.saturating_mul(1 << trying.refusals.min(16)).min(LONGEST_SILENCE);
                trying.refusals = trying.refusals.saturating_add(1);
                asked.unwrap_or_default().max(grown)
            }
            Phase::Paced(pace) => {
                let accepted = self.accepted.count;
                if self.evidence.refused(PacedRefusal { pace: pace.rate(), asked: refusal.asked, accepted }) {
                    self.phase = Phase::Unpaced(Excess::default());
                    Duration::ZERO
                } else {
                    self.try_after(first_silence, refusal.too_many, now)
                }
            }
            Phase::Unpaced(excess) => {
                *excess = excess.with_refusal();
                if excess.is_most() { self.try_after(first_silence, refusal.too_many, now) } else { Duration::ZERO }
            }
            Phase::Free => self.try_after(first_silence, refusal.too_many, now),
        };
        if let Phase::Trying(trying) = &mut self.phase {
            trying.until = trying.until.max(now + silence);
            self.forgotten_at = Some(trying.until + FORGOTTEN_AFTER);
        } else {
            self.forgotten_at = Some(now + FORGOTTEN_AFTER);
        }
        silence
    }

    /// The first refusal since the last silence. Returns the silence.
    fn try_after(&mut self, silence: Duration, too_many: bool, now: Instant) -> Duration {
        let pace = match self.phase {
            Phase::Paced(pace) => Some(pace.rate()),
            Phase::Trying(_) | Phase::Unpaced(_) | Phase::Free => {
                // What came long before says nothing about the limit.
                self.accepted.keep_newer_than(silence.max(FIRST_SILENCE), now);
                match self.phase {
                    Phase::Unpaced(_) => self.evidence.was_wrong(),
                    _ => self.evidence.begin_anew(),
                }
                None
            }
        };
        let (since, until) = (now, now + silence);
        self.phase = Phase::Trying(Trying { since, until, refusals: 1, is_under_way: false, pace, too_many });
        silence
    }

    /// An attempt that began at `began` was accepted.
    pub(super) fn accepted(&mut self, began: Instant, now: Instant) {
        match &mut self.phase {
            &mut Phase::Trying(trying) if began >= trying.since => {
                self.phase = Phase::Paced(self.pace_after(trying, began, now));
                self.accepted = Accepted { since: Some(began), ..Accepted::default() };
            }
            Phase::Paced(pace) => {
                pace.grow(now);
                if pace.limits_nothing() {
                    self.phase = Phase::Free;
                }
            }
            Phase::Unpaced(excess) => excess.accepted(),
            Phase::Trying(_) | Phase::Free => {}
        }
        self.accepted.note(began);
    }

    /// An attempt that began at `began` has ended, and says nothing about the pace.
    pub(super) fn ended(&mut self, began: Instant) {
        if let Phase::Trying(trying) = &mut self.phase
            && began >= trying.since
        {
            trying.is_under_way = false;
        }
    }

    /// The pace after a silence; `began` is when the attempt began that ended it.
    fn pace_after(&mut self, trying: Trying, began: Instant, now: Instant) -> LearnedPace {
        let taken = self.accepted.pace_until(began).filter(|_| trying.pace.is_some() || trying.too_many);
        let bounds =
            taken.map(|taken| PaceBounds { taken, refused: trying.pace.unwrap_or_else(|| taken.max(FIRST_GUESS)) });
        self.accepted.sustained_until(began).into_iter().for_each(|pace| self.evidence.sustained(pace));
        let silence = now.saturating_duration_since(trying.since);
        self.evidence.was_silent(silence);
        let asked = trying.until.saturating_duration_since(trying.since).max(FIRST_SILENCE);
        LearnedPace::after(bounds, silence, asked, began, now)
    }
}

impl Accepted {
    /// An attempt that began at `began` was accepted.
    fn note(&mut self, began: Instant) {
        if self.newest.len() == REMEMBERED {
            self.newest.pop_front();
        }
        self.newest.push_back(began);
        self.count = self.count.saturating_add(1);
    }

    fn keep_newer_than(&mut self, age: Duration, now: Instant) {
        self.newest.retain(|at| now.saturating_duration_since(*at) <= age);
        self.since = None;
    }

    /// How many messages a second the receiver accepted until `until`, when the last silence had ended. Any part of the time
    /// is as good as the whole, since there may have been nothing to send: the highest counts.
    fn pace_until(&self, until: Instant) -> Option<f64> {
        let newest = (1..).zip(self.newest.iter().rev()).map(|(count, from)| pace(count, *from, until));
        newest.chain(self.sustained_until(until)).reduce(f64::max)
    }

    /// How many messages a second the receiver accepted over the whole time until `until`, if it accepted several.
    fn sustained_until(&self, until: Instant) -> Option<f64> {
        self.since.filter(|_| self.count > 1).map(|since| pace(self.count, since, until))
    }
}

/// `count` messages over a time, in messages a second.
fn pace(count: u32, from: Instant, until: Instant) -> f64 {
    f64::from(count) / until.saturating_duration_since(from).as_secs_f64().max(0.001)
}

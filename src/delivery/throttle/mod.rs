//! The pace that a receiver sets by refusing requests ("429 Too Many Requests", or an answer that asks for silence).
//! Pure: the time is passed in.
//!
//! Until a receiver refuses a message, nothing is limited. The throttle only remembers when the last accepted attempts
//! began. After a refusal there is silence. Then one attempt at a time is made until an attempt is accepted. If the
//! first of these attempts is refused, the receiver may refuse its message for ever. So the next attempts prefer
//! messages that were never attempted. After the first accepted attempt, attempts are spaced out:
//! - Two paces are known: the pace that the receiver refused, and the rate at which it accepted messages from the end
//!   of one silence to the end of the next. The pace that the receiver accepts lies between them. Their geometric mean
//!   becomes the *ceiling*, the pace that the receiver is thought to accept. So a wrong first guess is corrected in a
//!   few refusals, and a good guess changes little. [`LearnedPace`] has the details.
//! - The longer the silence after a refusal, the more slowly the pace grows afterwards. So refusals that cost much are
//!   rare.
//! - The pace is never slower than one attempt in twice the length of the last silence. If that silence was 10 s long,
//!   an attempt is made at least every 20 s: the receiver accepted a message after 10 s, so even waits of 10 s are long
//!   enough.
//! - If the receiver accepts a pace clearly above the ceiling, its limit counts as gone. From then on the pace doubles
//!   every few messages, until it limits nothing.
//! - Two kinds of receivers refuse messages but do not limit the pace. The first kind refuses a share of all messages
//!   at any pace, for example because one of its four servers is out of order. The second kind refuses certain messages
//!   for ever, and accepts the others. When such a receiver is recognised, nothing is limited any more, and only
//!   refused messages wait. This ends when the receiver refuses more than four of five messages. [`PaceEvidence`] has
//!   the details.
//!
//! Invariants:
//! - If an attempt began before the silence, its refusal changes nothing that was learned.
//! - While nothing is accepted, silences grow to a minute, or to the silence that the receiver asks for.
//! - Ten minutes after the last refusal and its silence, everything is forgotten.

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

/// The silence after a refusal, if the receiver asks for no silence. Each further refusal doubles it until a message is
/// accepted.
pub(super) const FIRST_SILENCE: Duration = Duration::from_secs(1);

/// The longest silence that the doubling leads to. It is short, so that the relay soon notices when the receiver
/// accepts messages again.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// The shortest silence, even if the receiver asks for less, so that there is no hot loop.
const SHORTEST_SILENCE: Duration = Duration::from_millis(100);

/// The time without a refusal after which the receiver counts as a receiver that never refused.
pub(super) const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// The quickest pace that `status` shows, in attempts a minute: nobody would notice that a quicker pace slows the sink
/// down.
const WORTH_SHOWING: u64 = 6_000;

/// The number of accepted attempts that are remembered.
const REMEMBERED: usize = 64;

/// The pace, in attempts a second, that counts as refused after the first refusal. (Nothing was spaced out before it,
/// so the real pace is not known.) If the receiver accepted messages at a higher rate than this, that rate counts as
/// refused.
const FIRST_GUESS: f64 = 50.0;

/// Whether the receiver's pace allows an attempt to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// An attempt may begin.
    Open,
    /// No attempt may begin before this instant.
    At(Instant),
    /// The attempt under way tests whether the silence was long enough. No other attempt may begin before it has ended.
    AfterTrial,
}

/// What a refusal says about the receiver's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The silence that the receiver asks for.
    pub(super) asked: Option<Duration>,
    /// Whether the receiver says that there were too many requests, and not that it is down for a while.
    pub(super) too_many: bool,
    /// How this refusal relates to earlier refusals of the same message.
    pub(super) recurrence: Recurrence,
}

/// How a refusal of a message relates to earlier refusals of the same message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Recurrence {
    /// The message was never refused before, or not since it was last accepted.
    #[default]
    First,
    /// The message was refused before, and the receiver has accepted other messages since that refusal.
    OthersWereAccepted,
    /// The second or third refusal of the message since the receiver last accepted any message.
    SoonAgain,
    /// A later refusal of the message since the receiver last accepted any message.
    StillRefused,
}

impl Recurrence {
    /// Returns the value for the fields `in_vain` and `times` of
    /// [`RefusalCause::Receiver`](super::refused_alone::RefusalCause::Receiver).
    pub(super) fn of(in_vain: u32, times: u32) -> Self {
        match (in_vain, times) {
            (0 | 1, 0 | 1) => Self::First,
            (0 | 1, _) => Self::OthersWereAccepted,
            (2 | 3, _) => Self::SoonAgain,
            _ => Self::StillRefused,
        }
    }
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
    /// The receiver has refused an attempt, and has accepted nothing since.
    Trying(Trying),
    /// Attempts are spaced out by a learned pace.
    Paced(LearnedPace),
    /// The receiver refuses certain messages, or a share of all messages, at any pace.
    Unpaced(Excess),
}

#[derive(Clone, Copy, Debug)]
struct Trying {
    /// When the first of the silences in a row began. Attempts that began earlier do not show whether the silence was
    /// long enough.
    since: Instant,
    /// When the last silence is over.
    until: Instant,
    refusals: u32,
    is_under_way: bool,
    /// The pace that was refused, in attempts a second, if attempts were paced.
    pace: Option<f64>,
    too_many: bool,
}

/// The attempts that were accepted since the last silence.
#[derive(Debug, Default)]
struct Accepted {
    /// When the newest of these attempts began.
    newest: VecDeque<Instant>,
    /// The number of these attempts.
    count: u32,
    /// When the first of these attempts began; `None`: no silence has ended since the receiver began to limit the pace,
    /// so `count` means nothing yet.
    since: Option<Instant>,
}

impl Throttle {
    /// Returns the throttle at the start of a process. `silent_until` is the end of the last silence, which an earlier
    /// process has recorded; it may have passed. `None`: there was no silence lately, so nothing is limited.
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

    /// Returns the instant at which the last silence ends or ended; `None`: there was none lately, or the receiver has
    /// accepted a message since.
    pub(super) fn silent_until(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Trying(Trying { until, refusals: 1.., .. }) if !self.is_free(now) => Some(until),
            _ => None,
        }
    }

    /// Whether the last attempt after a silence was refused. Then perhaps the receiver refuses the message of that
    /// attempt at any pace.
    pub(super) fn tried_in_vain(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Trying(Trying { refusals: 2.., .. })) && !self.is_free(now)
    }

    /// The learned pace in attempts a minute, if there is one that is worth showing.
    pub(super) fn learned_per_minute(&self, now: Instant) -> Option<u64> {
        match self.phase {
            Phase::Paced(pace) if !self.is_free(now) => Some(pace.per_minute()).filter(|pace| *pace <= WORTH_SHOWING),
            _ => None,
        }
    }

    /// Whether the learned pace lets an attempt begin. Silences do not count here: the caller checks them itself.
    pub(super) fn gate(&self, now: Instant) -> Gate {
        match self.phase {
            _ if self.is_free(now) => Gate::Open,
            Phase::Trying(Trying { is_under_way: true, .. }) => Gate::AfterTrial,
            Phase::Paced(pace) if pace.next() > now => Gate::At(pace.next()),
            _ => Gate::Open,
        }
    }

    /// Notes that an attempt begins.
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

    /// Notes that an attempt that began at `began` was refused. Returns for how long the sink is to keep silence.
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
                let Refusal { asked, recurrence, .. } = refusal;
                if self.evidence.refused(PacedRefusal { pace: pace.rate(), asked, accepted, recurrence }) {
                    self.phase = Phase::Unpaced(Excess::default());
                    Duration::ZERO
                } else {
                    self.try_after(first_silence, refusal.too_many, now)
                }
            }
            Phase::Unpaced(excess) => {
                // If few other messages come, a message that is refused for ever is tried again and again. So its
                // second and third refusals in a row do not count. Later ones count: by then the receiver perhaps
                // refuses everything.
                if refusal.recurrence != Recurrence::SoonAgain {
                    *excess = excess.with_refusal();
                }
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

    /// Begins the first of the silences in a row. Returns its length.
    fn try_after(&mut self, silence: Duration, too_many: bool, now: Instant) -> Duration {
        let pace = match self.phase {
            Phase::Paced(pace) => Some(pace.rate()),
            Phase::Trying(_) | Phase::Unpaced(_) | Phase::Free => {
                // Attempts that were accepted long before say nothing about the limit.
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

    /// Notes that an attempt that began at `began` was accepted.
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

    /// Whether the receiver counts as one that refuses messages at any pace. Then nothing is limited, although messages
    /// are refused.
    pub(super) fn is_unpaced(&self) -> bool {
        matches!(self.phase, Phase::Unpaced(_))
    }

    /// Notes that the receiver accepted a message that it had refused.
    pub(super) fn accepted_after_refusal(&mut self) {
        self.evidence.accepted_after_refusal();
    }

    /// Returns the shortest time that a refused message is to wait. `in_vain` is the number of its refusals since the
    /// receiver last accepted any message. While refusals cause no silence, the wait grows with this number. If it did
    /// not grow, and the receiver refused everything, the relay would try each message once a second.
    pub(super) fn least_wait(&self, in_vain: u32) -> Duration {
        match self.phase {
            Phase::Unpaced(_) => FIRST_SILENCE.saturating_mul(in_vain).min(LONGEST_SILENCE),
            Phase::Free | Phase::Trying(_) | Phase::Paced(_) => Duration::ZERO,
        }
    }

    /// Notes that an attempt that began at `began` has ended without saying anything about the pace.
    pub(super) fn ended(&mut self, began: Instant) {
        if let Phase::Trying(trying) = &mut self.phase
            && began >= trying.since
        {
            trying.is_under_way = false;
        }
    }

    /// Returns the pace after a silence. `began` is the beginning of the attempt that ended the silence.
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
    /// Notes an accepted attempt that began at `began`.
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

    /// Returns how many messages a second the receiver accepted until `until`, the end of the last silence. This rate
    /// is computed for several stretches of time that end at `until`, and the highest rate is returned: in a long
    /// stretch there may have been nothing to send for a while.
    fn pace_until(&self, until: Instant) -> Option<f64> {
        let newest = (1..).zip(self.newest.iter().rev()).map(|(count, from)| pace(count, *from, until));
        newest.chain(self.sustained_until(until)).reduce(f64::max)
    }

    /// Returns the rate, in messages a second, at which the receiver accepted messages from `since` until `until`;
    /// `None`: it accepted at most one message in this time, or `since` is not known.
    fn sustained_until(&self, until: Instant) -> Option<f64> {
        self.since.filter(|_| self.count > 1).map(|since| pace(self.count, since, until))
    }
}

/// Returns the rate of `count` messages over a time, in messages a second.
fn pace(count: u32, from: Instant, until: Instant) -> f64 {
    f64::from(count) / until.saturating_duration_since(from).as_secs_f64().max(0.001)
}

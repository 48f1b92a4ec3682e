//! Whether the refusals of a receiver have anything to do with the pace at which messages are sent.
//!
//! A receiver that limits the pace accepts whatever comes clearly more slowly than it has accepted messages before. A
//! receiver that refuses at any pace (one of four servers is out of order, say) refuses these messages too: slowing down for
//! it costs time and gains nothing. [`PaceEvidence`] tells the second kind by refusals at a slow pace; [`Excess`] watches
//! whether most messages are still accepted afterwards.

use std::collections::VecDeque;
use std::time::Duration;

use super::FIRST_SILENCE;

/// How many sustained paces are remembered.
const REMEMBERED: usize = 48;

/// A pace is slow below this share of the pace that the receiver has sustained.
const SLOW: f64 = 0.7;

/// How many refusals at a slow pace show that the pace does not matter. Twice as many after each time that this was wrong.
const ENOUGH: u32 = 3;

/// How many attempts there are in the time of a silence where each comes twice as late as it was asked for.
const AS_ASKED: f64 = 0.5;

/// How many silences are remembered, to tell how long one must be.
const SILENCES: usize = 4;

/// So many messages accepted between two refusals show that the pace does matter.
const ACCEPTED_AT_A_PACE: u32 = 48;

/// How many more refusals than acceptances show that the receiver refuses most of what it gets.
const MOST_ARE_REFUSED: u32 = 16;

/// Collects what speaks against a limit on the pace.
#[derive(Debug)]
pub(super) struct PaceEvidence {
    /// What the receiver has accepted from one silence to the end of the next, in messages a second: the newest.
    sustained: VecDeque<f64>,
    /// The longest silence that the receiver has asked for.
    longest_asked: Duration,
    /// How long the last silences were when the receiver accepted a message again.
    silences: VecDeque<Duration>,
    refused_though_slow: u32,
    enough: u32,
}

/// A refusal at a pace.
#[derive(Clone, Copy, Debug)]
pub(super) struct PacedRefusal {
    /// Attempts a second.
    pub(super) pace: f64,
    /// The silence that the receiver asks for.
    pub(super) asked: Option<Duration>,
    /// How many messages were accepted since the last silence.
    pub(super) accepted: u32,
}

impl Default for PaceEvidence {
    fn default() -> Self {
        Self {
            sustained: VecDeque::new(),
            longest_asked: Duration::ZERO,
            silences: VecDeque::new(),
            refused_though_slow: 0,
            enough: ENOUGH,
        }
    }
}

impl PaceEvidence {
    /// The receiver asked for a silence.
    pub(super) fn asked(&mut self, silence: Duration) {
        self.longest_asked = self.longest_asked.max(silence);
    }

    /// The receiver accepted a message again after a silence of this length.
    pub(super) fn was_silent(&mut self, silence: Duration) {
        if self.silences.len() == SILENCES {
            self.silences.pop_front();
        }
        self.silences.push_back(silence);
    }

    /// How long a silence must be at least: the shortest of the last ones, if that is longer than what the receiver asks for.
    /// A receiver that refuses a share of all messages accepts one soon after the end of some silence; a receiver that limits
    /// the pace, and asks for less time than it needs, never does.
    fn least_silence(&self) -> Duration {
        let known = self.silences.len() == SILENCES;
        self.silences.iter().min().filter(|_| known).copied().unwrap_or_default()
    }

    /// From the end of one silence to the end of the next the receiver accepted `pace` messages a second.
    pub(super) fn sustained(&mut self, pace: f64) {
        if self.sustained.len() == REMEMBERED {
            self.sustained.pop_front();
        }
        self.sustained.push_back(pace);
    }

    /// The receiver refused a message. Returns whether refusals have nothing to do with the pace.
    pub(super) fn refused(&mut self, refusal: PacedRefusal) -> bool {
        let PacedRefusal { pace, asked, accepted } = refusal;
        // Each attempt came twice as long after the one before as the receiver has ever asked for. A receiver that tells the
        // time until the next message exactly asks for very little at times.
        let asks_for = self.longest_asked.max(FIRST_SILENCE);
        // The time until the answer is part of a silence, so only a much longer one says something else.
        let long_enough = Some(self.least_silence()).filter(|least| *least > 2 * asks_for).unwrap_or(asks_for);
        let is_as_asked = asked.is_some() && pace * long_enough.as_secs_f64() <= AS_ASKED;
        if accepted >= ACCEPTED_AT_A_PACE {
            self.begin_anew();
        } else if accepted > 1 && (is_as_asked || pace < SLOW * self.proven()) {
            self.refused_though_slow += 1;
        }
        self.refused_though_slow >= self.enough
    }

    /// What was found out is over, or was wrong.
    pub(super) fn begin_anew(&mut self) {
        self.sustained.clear();
        self.refused_though_slow = 0;
    }

    /// The receiver does limit the pace.
    pub(super) fn was_wrong(&mut self) {
        self.begin_anew();
        self.enough = self.enough.saturating_mul(2);
    }

    /// A pace that the receiver has surely sustained: the second highest, since a quiet hour may have saved up for the highest.
    fn proven(&self) -> f64 {
        let (_, second) = self.sustained.iter().fold((0.0_f64, 0.0_f64), |(highest, second), pace| match *pace {
            pace if pace > highest => (pace, highest),
            pace => (highest, second.max(pace)),
        });
        second
    }
}

/// By how much refusals outnumber acceptances (a CUSUM test): it stays near 0 while most messages are accepted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Excess(u32);

impl Excess {
    pub(super) fn accepted(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    /// The same after one more refusal.
    pub(super) fn with_refusal(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Whether the receiver refuses most of what it gets.
    pub(super) fn is_most(self) -> bool {
        self.0 >= MOST_ARE_REFUSED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A refusal at `pace` after so many accepted messages.
    const fn at(pace: f64, accepted: u32) -> PacedRefusal {
        PacedRefusal { pace, asked: None, accepted }
    }

    #[test]
    fn refusals_at_a_slow_pace_show_that_the_pace_does_not_matter() {
        const SLOW: PacedRefusal = at(1.0, 3);
        const AS_ASKED: PacedRefusal = PacedRefusal { pace: 0.5, asked: Some(Duration::from_secs(1)), accepted: 3 };
        const LONGER: PacedRefusal = PacedRefusal { asked: Some(Duration::from_secs(2)), ..AS_ASKED };
        let cases: [(&[f64], &[PacedRefusal], bool); 12] = [
            (&[3.0, 2.9], &[SLOW; 3], true),
            (&[3.0, 2.9], &[SLOW; 2], false),
            // One high pace may have been saved up for.
            (&[15.0, 0.5, 0.5], &[SLOW; 20], false),
            // Not clearly more slowly.
            (&[1.2, 1.1], &[SLOW; 20], false),
            // A receiver that refuses the second message has a limit that became lower.
            (&[50.0, 48.0], &[at(1.0, 1); 20], false),
            // A receiver that accepts so many is content with the pace.
            (&[3.0, 2.9], &[SLOW, SLOW, at(1.0, 48), SLOW, SLOW], false),
            (&[3.0, 2.9], &[SLOW, at(2.5, 9), SLOW, at(0.5, 2)], true),
            (&[], &[SLOW; 20], false),
            (&[], &[AS_ASKED; 3], true),
            (&[], &[LONGER; 20], false),
            // A receiver that now and then asks for longer means the longer one.
            (&[], &[LONGER, AS_ASKED, AS_ASKED, AS_ASKED], false),
            (&[], &[AS_ASKED, AS_ASKED, at(1.0, 48), AS_ASKED, AS_ASKED], false),
        ];
        for (sustained, refused, expected) in cases {
            let mut evidence = PaceEvidence::default();
            sustained.iter().for_each(|pace| evidence.sustained(*pace));
            let found = refused.iter().fold(false, |_, refusal| {
                evidence.asked(refusal.asked.unwrap_or_default());
                evidence.refused(*refusal)
            });
            assert_eq!(found, expected, "{sustained:?} {refused:?}");
        }
    }

    #[test]
    fn only_the_last_silences_count() {
        let mut evidence = PaceEvidence::default();
        [50.0, 48.0].into_iter().chain([1.0; REMEMBERED]).for_each(|pace| evidence.sustained(pace));
        assert!((0..20).all(|_| !evidence.refused(at(1.0, 3))));
    }

    #[test]
    fn whoever_was_wrong_looks_for_more_evidence() {
        let mut evidence = PaceEvidence::default();
        for needed in [3, 6, 12] {
            let refusal = PacedRefusal { asked: Some(Duration::from_secs(1)), ..at(0.5, 3) };
            assert_eq!((1..100).find(|_| evidence.refused(refusal)), Some(needed));
            evidence.was_wrong();
        }
    }

    #[test]
    fn a_receiver_that_refuses_most_is_noticed() {
        let mut excess = Excess::default();
        for _ in 0..1_000 {
            excess = excess.with_refusal();
            assert!(!excess.is_most(), "a third is refused");
            excess.accepted();
            excess.accepted();
        }
        (1..MOST_ARE_REFUSED).for_each(|_| excess = excess.with_refusal());
        assert!(!excess.is_most());
        assert!(excess.with_refusal().is_most());
    }
}

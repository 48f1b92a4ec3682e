//! Decides whether the refusals of a receiver have anything to do with the pace at which messages are sent.
//!
//! If a receiver limits the pace, it accepts all messages that come clearly more slowly than messages that it accepted
//! before. But a receiver may also refuse messages at any pace, for example because one of its four servers is out of
//! order. Slowing down for such a receiver costs time and gains nothing. [`PaceEvidence`] recognises such a receiver by
//! refusals at a slow pace. [`Excess`] watches whether the receiver still accepts enough messages afterwards.
//!
//! Another kind of receiver refuses certain messages for ever: it accepts most new messages, but never a message that
//! it has refused. [`PaceEvidence`] recognises this kind by two signs: messages that were refused before are refused
//! clearly more often than new messages, and none of them is accepted. (A receiver that limits the pace refuses both
//! equally often.)

use std::collections::VecDeque;
use std::time::Duration;

use super::{FIRST_SILENCE, Recurrence};

/// The number of sustained paces (`PaceEvidence::sustained`) that are remembered.
const REMEMBERED: usize = 48;

/// A pace counts as slow if it is below this share of the pace at which the receiver has accepted messages before.
const SLOW: f64 = 0.7;

/// This many refusals at a slow pace show that the pace does not matter. The number doubles each time this conclusion
/// turns out to be wrong.
const ENOUGH: u32 = 3;

/// When a message is refused for the first time, its refusal cancels this many repeated refusals of other messages.
const FIRST_MAKES_UP_FOR: u32 = 2;

/// A pace is as slow as the receiver asked for if at most this many attempts begin in the length of a silence. For
/// example, if the receiver asks for silences of 10 s, one attempt every 20 s is slow enough.
const AS_ASKED: f64 = 0.5;

/// The number of silences that are remembered, to find out how long a silence must be.
const SILENCES: usize = 4;

/// If this many messages are accepted between two refusals, the pace does matter.
const ACCEPTED_AT_A_PACE: u32 = 48;

/// While the pace does not matter, each accepted message cancels this many refusals. So a receiver that refuses four of
/// five messages at random is not taken for a receiver that limits the pace.
const MADE_UP_FOR: u32 = 4;

/// If the count in [`Excess`] is this high, the receiver refuses most messages.
const MOST_ARE_REFUSED: u32 = 32;

/// Collects the evidence that the receiver does not limit the pace.
#[derive(Debug)]
pub(super) struct PaceEvidence {
    /// The newest rates at which the receiver accepted messages from the end of one silence to the end of the next, in
    /// messages a second.
    sustained: VecDeque<f64>,
    /// The longest silence that the receiver has asked for.
    longest_asked: Duration,
    /// The lengths of the last silences, each up to the moment when the receiver accepted a message again.
    silences: VecDeque<Duration>,
    refused_though_slow: u32,
    /// Rises by one when a message is refused again, and falls by [`FIRST_MAKES_UP_FOR`] when a message is refused for
    /// the first time (a CUSUM test). Begins at zero again when the receiver accepts a message that it has refused.
    refused_again: u32,
    enough: u32,
}

/// A refusal of an attempt that was made at a learned pace.
#[derive(Clone, Copy, Debug)]
pub(super) struct PacedRefusal {
    /// The pace in attempts a second.
    pub(super) pace: f64,
    /// The silence that the receiver asks for.
    pub(super) asked: Option<Duration>,
    /// How many messages were accepted since the last silence.
    pub(super) accepted: u32,
    pub(super) recurrence: Recurrence,
}

impl Default for PaceEvidence {
    fn default() -> Self {
        Self {
            sustained: VecDeque::new(),
            longest_asked: Duration::ZERO,
            silences: VecDeque::new(),
            refused_though_slow: 0,
            refused_again: 0,
            enough: ENOUGH,
        }
    }
}

impl PaceEvidence {
    /// Notes that the receiver asked for a silence.
    pub(super) fn asked(&mut self, silence: Duration) {
        self.longest_asked = self.longest_asked.max(silence);
    }

    /// Notes that the receiver accepted a message again after a silence of this length.
    pub(super) fn was_silent(&mut self, silence: Duration) {
        if self.silences.len() == SILENCES {
            self.silences.pop_front();
        }
        self.silences.push_back(silence);
    }

    /// Returns the shortest of the last [`SILENCES`] silences, or zero while fewer silences are known. The shortest one
    /// tells two kinds of receivers apart. If a receiver limits the pace, each silence lasted as long as the receiver
    /// needs, even if it asks for less. If a receiver refuses a share of all messages by chance, at least one of the
    /// silences was short.
    fn least_silence(&self) -> Duration {
        let known = self.silences.len() == SILENCES;
        self.silences.iter().min().filter(|_| known).copied().unwrap_or_default()
    }

    /// Notes that the receiver accepted `pace` messages a second from the end of one silence to the end of the next.
    pub(super) fn sustained(&mut self, pace: f64) {
        if self.sustained.len() == REMEMBERED {
            self.sustained.pop_front();
        }
        self.sustained.push_back(pace);
    }

    /// Notes that the receiver refused a message. Returns whether refusals have nothing to do with the pace.
    pub(super) fn refused(&mut self, refusal: PacedRefusal) -> bool {
        let PacedRefusal { pace, asked, accepted, recurrence } = refusal;
        // The pace was as slow as the receiver asks if the attempts were at least twice as far apart as the longest
        // silence that it has asked for. The longest one is taken because a receiver that states exactly when it
        // accepts the next message sometimes asks for very little.
        let asks_for = self.longest_asked.max(FIRST_SILENCE);
        // A measured silence includes the time until the answer. So it takes the place of the silence that the receiver
        // asked for only if it is more than twice as long.
        let long_enough = Some(self.least_silence()).filter(|least| *least > 2 * asks_for).unwrap_or(asks_for);
        let is_as_asked = asked.is_some() && pace * long_enough.as_secs_f64() <= AS_ASKED;
        if accepted >= ACCEPTED_AT_A_PACE {
            self.begin_anew();
        } else if accepted > 1 && (is_as_asked || pace < SLOW * self.proven()) {
            self.refused_though_slow += 1;
        }
        match recurrence {
            Recurrence::First => self.refused_again = self.refused_again.saturating_sub(FIRST_MAKES_UP_FOR),
            Recurrence::OthersWereAccepted => self.refused_again = self.refused_again.saturating_add(1),
            Recurrence::SoonAgain | Recurrence::StillRefused => {}
        }
        self.refused_though_slow >= self.enough || self.refused_again > self.enough
    }

    /// Notes that the receiver accepted a message that it had refused.
    pub(super) fn accepted_after_refusal(&mut self) {
        self.refused_again = 0;
    }

    /// Forgets the sustained paces and the refusals at a slow pace, because they no longer count or led to a wrong
    /// conclusion.
    pub(super) fn begin_anew(&mut self) {
        self.sustained.clear();
        self.refused_though_slow = 0;
    }

    /// Notes that the conclusion was wrong: the receiver does limit the pace.
    pub(super) fn was_wrong(&mut self) {
        self.begin_anew();
        self.refused_again = 0;
        self.enough = self.enough.saturating_mul(2);
    }

    /// Returns a pace that the receiver has surely sustained: the second highest pace. The highest may have been
    /// possible only because of unused capacity after a quiet hour.
    fn proven(&self) -> f64 {
        let (_, second) = self.sustained.iter().fold((0.0_f64, 0.0_f64), |(highest, second), pace| match *pace {
            pace if pace > highest => (pace, highest),
            pace => (highest, second.max(pace)),
        });
        second
    }
}

/// A count that rises by one with each refusal, and falls by [`MADE_UP_FOR`] with each accepted message, but not below
/// 0 (a CUSUM test). The count stays near 0 unless the receiver refuses more than four of five messages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Excess(u32);

impl Excess {
    pub(super) fn accepted(&mut self) {
        self.0 = self.0.saturating_sub(MADE_UP_FOR);
    }

    /// Returns the excess after one more refusal.
    pub(super) fn with_refusal(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Whether the receiver refuses most messages.
    pub(super) fn is_most(self) -> bool {
        self.0 >= MOST_ARE_REFUSED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A refusal at `pace` after `accepted` accepted messages.
    const fn at(pace: f64, accepted: u32) -> PacedRefusal {
        PacedRefusal { pace, asked: None, accepted, recurrence: Recurrence::First }
    }

    #[test]
    fn refusals_at_a_slow_pace_show_that_the_pace_does_not_matter() {
        const SLOW: PacedRefusal = at(1.0, 3);
        const AS_ASKED: PacedRefusal = PacedRefusal { asked: Some(Duration::from_secs(1)), ..at(0.5, 3) };
        const LONGER: PacedRefusal = PacedRefusal { asked: Some(Duration::from_secs(2)), ..AS_ASKED };
        let cases: [(&[f64], &[PacedRefusal], bool); 12] = [
            (&[3.0, 2.9], &[SLOW; 3], true),
            (&[3.0, 2.9], &[SLOW; 2], false),
            // One high pace may have come from capacity that was saved up.
            (&[15.0, 0.5, 0.5], &[SLOW; 20], false),
            // The refused pace is not clearly slower.
            (&[1.2, 1.1], &[SLOW; 20], false),
            // The receiver accepted only one message before it refused again. So its limit was lowered.
            (&[50.0, 48.0], &[at(1.0, 1); 20], false),
            // A receiver that accepts 48 messages in a row accepts the pace.
            (&[3.0, 2.9], &[SLOW, SLOW, at(1.0, 48), SLOW, SLOW], false),
            (&[3.0, 2.9], &[SLOW, at(2.5, 9), SLOW, at(0.5, 2)], true),
            (&[], &[SLOW; 20], false),
            (&[], &[AS_ASKED; 3], true),
            (&[], &[LONGER; 20], false),
            // If a receiver asks for different silences, the longest one counts.
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
    fn messages_that_are_refused_again_and_again_show_that_the_pace_does_not_matter() {
        const FIRST: PacedRefusal = at(1.0, 1);
        const AGAIN: PacedRefusal = PacedRefusal { recurrence: Recurrence::OthersWereAccepted, ..FIRST };
        const IN_A_ROW: PacedRefusal = PacedRefusal { recurrence: Recurrence::SoonAgain, ..FIRST };
        let mut evidence = PaceEvidence::default();
        for _ in 0..100 {
            assert!((0..3).all(|_| !evidence.refused(AGAIN)), "the message is accepted in the end");
            evidence.accepted_after_refusal();
        }
        for _ in 0..100 {
            assert!(
                ![AGAIN, AGAIN, FIRST].map(|refusal| evidence.refused(refusal)).contains(&true),
                "new messages are refused, too"
            );
        }
        assert!((0..100).all(|_| !evidence.refused(IN_A_ROW)), "nothing was accepted in between");
        for needed in [4, 7, 13] {
            assert_eq!((1..100).find(|_| evidence.refused(AGAIN)), Some(needed));
            evidence.was_wrong();
        }
    }

    #[test]
    fn only_the_last_sustained_paces_count() {
        let mut evidence = PaceEvidence::default();
        [50.0, 48.0].into_iter().chain([1.0; REMEMBERED]).for_each(|pace| evidence.sustained(pace));
        assert!((0..20).all(|_| !evidence.refused(at(1.0, 3))));
    }

    #[test]
    fn each_wrong_conclusion_doubles_the_evidence_that_is_needed() {
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
        for _ in 0..1_000 {
            (0..4).for_each(|_| excess = excess.with_refusal());
            assert!(!excess.is_most(), "four of five are refused");
            excess.accepted();
        }
        (1..MOST_ARE_REFUSED).for_each(|_| excess = excess.with_refusal());
        assert!(!excess.is_most());
        assert!(excess.with_refusal().is_most());
    }
}

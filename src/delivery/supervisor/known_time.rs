//! What a sink's loop knows of the time, and when the loop learns more.
//!
//! Invariants: while the time is not known, no message becomes a dead letter because time has passed; a message that
//! looks too old is neither sent nor given up until its age is known. When the loop learns more of the time, it looks
//! at all claims again.

use crate::time::Clock;

/// What is known of the time. By default nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KnownTime {
    relay_time: bool,
    message_ages: bool,
}

/// What the loop has learned of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeLearned {
    /// By how many milliseconds the relay's time was corrected; 0: it was not corrected.
    pub(super) corrected_by: i64,
}

impl KnownTime {
    pub(super) fn by(clock: &Clock) -> Self {
        Self { relay_time: clock.is_confirmed(), message_ages: clock.message_time().is_some() }
    }

    /// Replaces the value by `known`. Returns what the loop learned; `None`: nothing changed. `corrected_by` is
    /// [`Clock::corrected_by`].
    pub(super) fn update(&mut self, known: Self, corrected_by: i64) -> Option<TimeLearned> {
        let before = std::mem::replace(self, known);
        let is_confirmed_now = known.relay_time && !before.relay_time;
        (known != before).then_some(TimeLearned { corrected_by: if is_confirmed_now { corrected_by } else { 0 } })
    }

    /// Whether it is known how old messages are.
    pub(super) fn message_ages(self) -> bool {
        self.message_ages
    }

    /// Whether a message may be given up because time has passed.
    pub(super) fn may_give_up(self) -> bool {
        self.relay_time && self.message_ages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_is_returned_once_when_the_time_is_confirmed() {
        let [nothing, ages, all] = [(false, false), (false, true), (true, true)]
            .map(|(relay_time, message_ages)| KnownTime { relay_time, message_ages });
        let mut known = nothing;
        assert_eq!(known.update(nothing, 0), None);
        assert_eq!(known.update(ages, 0), Some(TimeLearned { corrected_by: 0 }));
        assert!(known.message_ages() && !known.may_give_up());
        assert_eq!(known.update(all, -500), Some(TimeLearned { corrected_by: -500 }));
        assert!(known.may_give_up());
        assert_eq!(known.update(all, -500), None);
    }
}

//! Counts the requests that other programs sent with the same key: the requests that are used up according to
//! `Remaining`, minus the relay's own requests. Pure.

use std::time::Duration;

use super::{ForeignRequests, LONGEST_SILENCE, SLACK, SeenWindow, ServerLimit};
use crate::time::Instant;

impl ServerLimit {
    /// Records how many requests in a newly seen window are unexplained: this process did not send them, and does not
    /// know them from an earlier process. If the beginning of the window was not seen, an earlier process of the relay
    /// may still have sent them, because its record of requests does not survive a power cut. If the beginning was
    /// seen, only another program can have sent them, and nothing is recorded here.
    pub(super) fn count_unexplained(&mut self, remaining: u32, own_since: &impl Fn(Instant) -> u32) {
        let unexplained = self.requests_of_others(remaining, own_since);
        if let Some(window) = self.window.as_mut().filter(|window| !window.whole) {
            window.unexplained = unexplained;
        }
    }

    /// Counts the requests in the API's window that other programs have sent: those that are neither the relay's own
    /// nor unexplained.
    pub(super) fn count_foreign(&mut self, remaining: u32, own_since: &impl Fn(Instant) -> u32) {
        let beyond = self.requests_of_others(remaining, own_since);
        let Some(window) = &mut self.window else { return };
        let before = window.foreign;
        window.foreign = before.max(beyond.saturating_sub(window.unexplained));
        self.foreign_in_total += u64::from(window.foreign - before);
    }

    fn requests_of_others(&self, remaining: u32, own_since: &impl Fn(Instant) -> u32) -> u32 {
        let Some(window) = self.window.filter(|window| !window.guessed && window.longest <= LONGEST_SILENCE) else {
            return 0;
        };
        let counted = window.limit.map_or(0, |limit| limit.saturating_sub(remaining));
        let began = if self.age_is_known(&window) {
            window.ends.checked_sub(self.late + self.counted_back() + SLACK)
        } else {
            window.first.checked_sub(self.counted_back() + SLACK)
        };
        counted.saturating_sub(began.map_or(counted, own_since))
    }

    /// Whether it is known when the window began. The first window of a limit may have begun at any time before it was
    /// first seen, because its reset shows only how much of the window is left. So this window may contain requests
    /// that the relay sent long before it first saw the window. Until the window is over, the relay counts such
    /// requests as part of the window.
    fn age_is_known(&self, window: &SeenWindow) -> bool {
        window.whole || self.before.is_some()
    }

    /// Returns the longest time that a window may last: the longest reset, but at least the documented minute. If the
    /// windows are shorter, earlier requests of the relay count in them, too. That is better than to take requests of
    /// the relay for those of another program.
    pub(super) fn counted_back(&self) -> Duration {
        self.longest.max(self.documented)
    }

    /// Returns how long the relay's requests must be remembered, to distinguish them from the requests of other
    /// programs.
    pub(in crate::api::budget) fn memory(&self) -> Duration {
        let windows = if self.window.is_some_and(|window| !self.age_is_known(&window)) { 2 } else { 1 };
        windows * self.counted_back().min(LONGEST_SILENCE) + 2 * SLACK
    }

    /// Returns the number of requests that are not available to the relay. This is the greater of two numbers: the
    /// requests of other programs plus the unexplained requests in the current window, and the requests of other
    /// programs in the previous window.
    pub(in crate::api::budget) fn unavailable(&self) -> u32 {
        self.window.map_or(0, |window| window.foreign + window.unexplained).max(self.previous_foreign)
    }

    /// Returns the number of requests of other programs that were seen since the process began.
    pub(in crate::api::budget) fn foreign_in_total(&self) -> u64 {
        self.foreign_in_total
    }

    /// Returns the number of requests that certainly came from other programs.
    pub(in crate::api::budget) fn foreign(&self) -> ForeignRequests {
        // The count of a window shorter than a minute is not extrapolated to a minute: one miscounted request would
        // become many.
        let length = self.counted_back();
        let a_minute = |requests: u32| {
            let requests = f64::from(requests) * self.documented.as_secs_f64() / length.as_secs_f64();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, is not negative")]
            let requests = requests.round() as u32;
            requests
        };
        ForeignRequests {
            windows: self.windows,
            before: a_minute(self.previous_foreign),
            so_far: a_minute(self.window.map_or(0, |window| window.foreign)),
        }
    }
}

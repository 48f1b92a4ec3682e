//! Learns the API's windows from answers: when a window begins and ends, how long windows last, and which resets are
//! believed. Pure.

use std::time::Duration;

use super::super::headers::RateHeaders;
use super::{HeardAnswer, LONGEST_SILENCE, ROUNDING, SeenWindow, ServerLimit};
use crate::time::Instant;

/// The time that a request may take to arrive.
const ARRIVAL: Duration = Duration::from_millis(200);

/// A reset that comes earlier than this after the beginning of its window does not show whether resets count down.
const COUNTED: Duration = Duration::from_secs(2);

/// How long a reset of more than [`LONGEST_SILENCE`] must have counted down before it is believed.
const PROOF: Duration = Duration::from_secs(5);

/// How a new window relates to the previous one.
#[derive(Clone, Copy)]
struct WindowTurn {
    /// By how much the new `Remaining` is greater than the number of requests that the old window could still have
    /// left.
    jump: i64,
    /// Whether the old window is over, as the jump shows.
    turned: bool,
    /// Whether the limit has changed.
    changed: bool,
}

impl ServerLimit {
    /// Records an answer. `own_since` returns the number of the relay's requests that were sent since an instant.
    pub(in crate::api::budget) fn heard(
        &mut self,
        heard: HeardAnswer<'_>,
        now: Instant,
        own_since: impl Fn(Instant) -> u32,
    ) {
        let headers = heard.headers;
        let Some(remaining) = headers.remaining.filter(|_| headers.state_limit()) else {
            if let Some(window) = &mut self.window {
                window.untold += 1;
                window.last = now;
            }
            return;
        };
        // The request was in flight when the first answer of this window came, so `left` counts it already.
        if self.window.is_some_and(|window| heard.sent < window.first) {
            return;
        }
        let reset = headers.reset.filter(|reset| self.believes(*reset, now));
        let jump = self.window.map_or(i64::MAX, |window| window.jump(remaining, heard.beside));
        let is_full = headers.limit.is_some_and(|limit| remaining.saturating_add(1) >= limit);
        let turned = jump > 1 || (jump == 1 && is_full);
        let changed = self
            .window
            .is_some_and(|window| window.limit.zip(headers.limit).is_some_and(|(before, limit)| before != limit));
        // Before its stated end, a window counts as over only if `Remaining` has jumped up and rounding cannot explain
        // the jump.
        let is_clear = |window: &SeenWindow| !self.counts_down || window.ends > now + ROUNDING;
        let is_over = |window: &SeenWindow| window.ends <= now || (turned && is_clear(window));
        let goes_on = self.window.filter(|window| !is_over(window) && !changed);
        let window = match goes_on {
            Some(window) => {
                let left = i64::from(remaining) - i64::from(heard.under_way);
                if jump <= 0 {
                    self.note_going_on(&window, heard.sent);
                }
                self.merged(window, headers.limit, left, reset, now)
            }
            None => {
                let turn = WindowTurn { jump, turned, changed };
                self.opened(headers, reset, turn, heard.sent, heard.beside, now)
            }
        };
        self.window = Some(window);
        self.longest = self.longest.max(window.longest);
        if goes_on.is_none() {
            self.count_unexplained(remaining, &own_since);
        }
        self.count_foreign(remaining, &own_since);
    }

    /// Updates a window that goes on: the window can only have fewer requests left, and end earlier.
    fn merged(
        &mut self,
        window: SeenWindow,
        limit: Option<u32>,
        left: i64,
        reset: Option<Duration>,
        now: Instant,
    ) -> SeenWindow {
        if window.whole && self.at_most.is_some_and(|most| now > window.first + most + ROUNDING) {
            self.at_most = None;
        }
        if let Some(reset) = reset.filter(|_| !window.guessed && now >= window.first + COUNTED) {
            self.counts_down |= window.ends.saturating_duration_since(now).abs_diff(reset + self.late) <= ROUNDING;
        }
        let (ends, longest, guessed) = match reset {
            Some(reset) if window.guessed => (now + reset + self.late, reset, false),
            Some(reset) => (window.ends.min(now + reset + self.late), window.longest.max(reset), false),
            None => (window.ends, window.longest, window.guessed),
        };
        SeenWindow {
            limit: limit.or(window.limit),
            left: window.left.min(left),
            ends,
            longest,
            guessed,
            last: now,
            ..window
        }
    }

    /// Begins a window that is new, or may be new.
    fn opened(
        &mut self,
        headers: &RateHeaders,
        reset: Option<Duration>,
        turn: WindowTurn,
        sent: Instant,
        beside: u32,
        now: Instant,
    ) -> SeenWindow {
        let WindowTurn { jump, turned, changed } = turn;
        // The window counts as seen from its beginning if hardly more requests are used than the relay has sent.
        // Requests that other programs have sent since the window began are tolerated, up to a tenth of the limit.
        let limit = headers.limit.unwrap_or(u32::MAX);
        let remaining = headers.remaining.unwrap_or(0);
        let used = limit.saturating_sub(remaining);
        // At the start of the process, and after a change of the limit, the beginning of the window is not known. Then
        // no such request is tolerated.
        let by_others = if self.window.is_some() && !changed { limit / 10 } else { 0 };
        let is_fresh = turned && used <= 1 + beside + by_others;
        let mut continued = None;
        self.windows += u64::from(self.window.is_some_and(|before| before.whole));
        self.previous_foreign = self.window.map_or(0, |before| before.foreign_in_all());
        if changed {
            (self.before, self.at_most, self.measured) = (None, None, None);
            (self.longest, self.at_least, self.counts_down) = (Duration::ZERO, Duration::ZERO, false);
            self.changed_at = Some(now);
        } else if let Some(before) = self.window {
            let lasted = now - before.first;
            self.before = Some(before.longest).filter(|_| !before.guessed);
            let goes_on = jump + i64::from(beside) <= 0;
            if goes_on && (before.guessed || before.left < 0) {
                self.note_going_on(&before, sent);
            }
            if before.guessed {
                if is_fresh && before.whole {
                    self.measured = Some(self.not_too_short(lasted.min(self.measured.unwrap_or(self.documented))));
                } else if goes_on {
                    // The guessed end has passed, but `Remaining` has not jumped up. So windows last longer than was
                    // guessed, and the old window goes on.
                    self.measured = Some((2 * lasted).min(LONGEST_SILENCE));
                    continued = Some(before);
                }
            } else if is_fresh && before.ends > now + ROUNDING {
                (self.proven, self.unproven, self.counts_down) = (false, None, false);
                self.at_most = before.whole.then(|| self.not_too_short(lasted));
            } else if let Some(most) = self.at_most {
                self.at_most = Some(self.not_too_short(most));
            }
        }
        let guess = self.measured.unwrap_or(self.documented);
        let first = continued.map_or(now, |before| before.first);
        let (ends, longest) = match reset {
            Some(reset) => {
                let reset = self.at_most.map_or(reset, |most| reset.min(most));
                (now + reset + self.late, reset)
            }
            None => (first + guess, guess),
        };
        SeenWindow {
            limit: headers.limit,
            // The requests in `beside` may have reached the API after the answered request, so that `Remaining` does
            // not count them.
            left: i64::from(remaining) - i64::from(beside),
            ends,
            guessed: reset.is_none(),
            first,
            last: now,
            whole: continued.map_or(is_fresh, |before| before.whole),
            longest,
            untold: 0,
            unexplained: 0,
            foreign: 0,
        }
    }

    /// Records that the window was not over yet when a request left at `sent`.
    fn note_going_on(&mut self, window: &SeenWindow, sent: Instant) {
        if window.whole {
            self.at_least = self.at_least.max(sent.saturating_duration_since(window.first));
        }
    }

    /// Returns `lasted` as the length of the windows. If windows are known to last longer, returns a little more than
    /// `at_least` instead, because requests take a moment to arrive.
    fn not_too_short(&self, lasted: Duration) -> Duration {
        lasted.max(Duration::from_secs(1)).max(self.at_least.mul_f64(1.05) + ARRIVAL)
    }

    /// Whether the relay believes a reset. A reset of more than [`LONGEST_SILENCE`] is believed only after it has
    /// counted down for [`PROOF`].
    pub(super) fn believes(&mut self, reset: Duration, now: Instant) -> bool {
        if reset <= LONGEST_SILENCE || self.proven {
            return true;
        }
        let Some((at, before)) = self.unproven else {
            self.unproven = Some((now, reset));
            return false;
        };
        let passed = now - at;
        if passed < PROOF {
            return false;
        }
        self.proven = reset < before && (before - reset).abs_diff(passed) <= ROUNDING;
        if !self.proven {
            self.unproven = Some((now, reset));
        }
        self.proven
    }

    /// Returns the length of the windows, if it was learned.
    pub(super) fn length(&self) -> Option<Duration> {
        let longest = self.window?.longest.max(self.before.unwrap_or_default());
        Some(self.at_most.map_or(longest, |most| longest.min(most)))
    }
}

//! The share of the API's limit that the relay may use: how many requests it may send, when it may send no request, and
//! which requests are kept for polls. Pure.

use std::time::Duration;

use super::super::headers::RateHeaders;
use super::{LONGEST_SILENCE, ROUNDING, ServerLimit, Share};
use crate::time::Instant;

/// Each 429 raises `ServerLimit::margin` by this number, up to a twentieth of the limit.
const MARGIN: u32 = 3;

/// If other programs use the key, and at most this many requests are left in the window, all of them are kept for
/// polls.
const FEW: i64 = 2;

impl ServerLimit {
    /// Returns the relay's part of the limit, as a pace: at most `configured` requests in the relay's own `window`, and
    /// at most the API's limit minus the requests of other programs. The part is at least one request, because the
    /// relay must be able to send requests at all.
    pub(in crate::api::budget) fn share(&self, configured: u32, window: Duration) -> Share {
        let whole = Share::whole(configured, window);
        let Some((limit, length)) = self.window.and_then(|seen| seen.limit).zip(self.length()) else { return whole };
        let length = length.max(Duration::from_secs(1));
        // The requests of other programs are subtracted from the API's limit, not from the configured one. A configured
        // limit below the API's limit leaves room for them already.
        let share = self.beside_others(limit, configured);
        let in_ours = (f64::from(share) * window.as_secs_f64() / length.as_secs_f64()).ceil().max(1.0);
        if in_ours >= f64::from(configured) {
            return whole;
        }
        let stretched = length.mul_f64(in_ours / f64::from(share)).clamp(window, LONGEST_SILENCE.max(window));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and what is configured")]
        let requests = in_ours as usize;
        Share { requests, window: stretched, since: self.changed_at }
    }

    /// Returns how many requests of the API's `limit` other programs leave to the relay. This is at least a tenth of
    /// `limit` or of `configured`, whichever is lower, and at least one.
    pub(super) fn beside_others(&self, limit: u32, configured: u32) -> u32 {
        let others = match self.unavailable() {
            0 => 0,
            others => others.saturating_add(self.margin),
        };
        limit.saturating_sub(others).max(limit.min(configured) / 10).max(1)
    }

    /// Returns the instant until which no request may leave, because the window is used up.
    pub(in crate::api::budget) fn spent_until(&self, now: Instant) -> Option<Instant> {
        let window = self.window.filter(|window| window.left <= 0)?;
        Some(window.ends.min(window.last + LONGEST_SILENCE)).filter(|until| *until > now)
    }

    /// Whether a window that was used up is over, and no answer has stated the next window's limit yet.
    pub(in crate::api::budget) fn is_unsure(&self, now: Instant) -> bool {
        self.window.is_some_and(|window| window.left <= 0 && window.ends <= now)
    }

    /// Records a 429. If other programs use the key, the relay leaves more requests to them from then on. If the 429
    /// comes just after the stated end of a window, the API rounds resets down. From then on the relay takes windows to
    /// end a second later than their resets say.
    pub(in crate::api::budget) fn refused(&mut self, headers: &RateHeaders, now: Instant) {
        if let Some(limit) = self.window.and_then(|window| window.limit).filter(|_| self.unavailable() > 0) {
            self.margin = (self.margin + MARGIN).min(limit / 20);
        }
        let Some(window) = self.window.as_mut().filter(|window| window.first == now && !window.whole) else { return };
        if self.late.is_zero() && headers.reset.is_some_and(|reset| reset <= Duration::from_secs(1)) {
            self.late = Duration::from_secs(1);
            window.ends += self.late;
        }
    }

    /// Returns the instant until which no older messages may be read, so that enough requests are left for polls until
    /// the window ends: one request for each poll interval, at most half of the limit.
    pub(in crate::api::budget) fn kept_for_head_until(
        &self,
        head_interval: Duration,
        configured: u32,
        last_poll: Option<Instant>,
        now: Instant,
    ) -> Option<Instant> {
        let window = self.window.filter(|window| window.ends > now)?;
        if window.left <= FEW && self.unavailable() > 0 {
            return Some(window.ends);
        }
        let half = |limit| self.length().unwrap_or(self.documented) * 2 / self.beside_others(limit, configured);
        let pace = window.limit.map_or(head_interval, half).max(head_interval);
        let left = f64::from(i32::try_from(window.left.max(0)).unwrap_or(i32::MAX));
        // A poll that is due shortly before the end of the window can wait for the next window.
        let enough_for = Duration::try_from_secs_f64(pace.as_secs_f64() * (left + 0.1)).ok()?;
        let from_then_on = window.ends.checked_sub(enough_for)?;
        if last_poll.is_some_and(|last| last >= from_then_on) {
            return None;
        }
        Some((from_then_on + pace).min(window.ends)).filter(|until| *until > now)
    }

    /// Returns the instant until which the last request of a window is kept back. It is kept back only if the length of
    /// the window is doubtful, and the window's limit is lower than the `configured` one. A late request shows more
    /// about the length: if its answer belongs to a new window, the windows are shorter than they seemed. For example,
    /// if the window lasts 20 s at least and 60 s at most, the request is kept back until 40 s after the window's
    /// beginning.
    pub(in crate::api::budget) fn last_kept_until(&self, configured: u32, now: Instant) -> Option<Instant> {
        let window = self.window.filter(|window| window.left == 1 && window.whole)?;
        let length = window.ends.saturating_duration_since(window.first);
        let is_lower = window.limit.is_some_and(|limit| limit < configured);
        let is_doubtful = is_lower && (window.guessed || !self.counts_down);
        let is_worth_it = length > self.at_least.mul_f64(1.15) + ROUNDING;
        let until = window.first + (self.at_least + length) / 2;
        (is_doubtful && is_worth_it && until > now).then_some(until)
    }

    /// Returns the end of the window, and the number of requests that the relay may still send until then. Other
    /// programs are expected to use as many requests as in the previous window, so these are subtracted.
    pub(in crate::api::budget) fn lasts(&self, now: Instant) -> Option<(Instant, usize)> {
        let window = self.window.filter(|window| window.ends > now)?;
        let others = self.previous_foreign.saturating_sub(window.foreign);
        Some((window.ends, usize::try_from(window.left - i64::from(others)).unwrap_or(0)))
    }

    /// Returns the limit, the requests that are left, and the time until the end of the window.
    pub(in crate::api::budget) fn shown(&self, now: Instant) -> Option<(Option<u32>, u32, Duration)> {
        let window = self.window.filter(|window| window.ends > now)?;
        let left = u32::try_from(window.left.max(0)).unwrap_or(u32::MAX);
        Some((window.limit, left, window.ends - now))
    }
}

//! The API's own limit, as its headers state it. Pure: the time is passed in.
//!
//! A limit is a number of requests in a window. The documented window is a minute, but the length is learned, so that
//! "2 in a second" and "20 in 5 minutes" work, too:
//! - The length is the longest `X-RateLimit-Reset` of the present and the previous window.
//! - If `Remaining` jumps up before the reset was due, the reset is wrong. Then the length is the time from the
//!   beginning of one window to the beginning of the next.
//! - Without a reset the length is a minute, until jumps of `Remaining` show another length.
//!
//! Invariants, if the headers are right and no other program uses the key:
//! - In a window no more requests leave than the last `Remaining` minus the requests that were sent since.
//! - After a window that was used up, one request at a time leaves, until an answer states the next window's limit.

use std::time::Duration;

use super::headers::RateHeaders;
use crate::time::Instant;

/// The longest silence, after which a request asks whether the silence is over, and the longest reset that is believed
/// at first sight.
pub(super) const LONGEST_SILENCE: Duration = Duration::from_secs(15 * 60);

/// The time by which timers may be early, and by which a request of a killed process may arrive late.
pub(super) const SLACK: Duration = Duration::from_secs(2);

/// The most by which the difference of two resets can be wrong, because resets are whole seconds.
const ROUNDING: Duration = Duration::from_millis(1500);

/// The number of further requests that are left to other programs after each 429, up to a twentieth of the limit.
const MARGIN: u32 = 3;

/// The number of requests, left beside other programs, up to which all are kept for polls.
const FEW: i64 = 2;

/// The time that a request may take to arrive.
const ARRIVAL: Duration = Duration::from_millis(200);

/// How long after the beginning of a window its resets must have counted down, so that they are taken for resets that
/// count down.
const COUNTED: Duration = Duration::from_secs(2);

/// How long a reset of more than [`LONGEST_SILENCE`] must have counted down before it is believed.
const PROOF: Duration = Duration::from_secs(5);

/// What is known about the API's limit.
#[derive(Debug)]
pub(super) struct Server {
    /// The documented length of a window, which counts until the length was learned.
    documented: Duration,
    window: Option<SeenWindow>,
    /// The longest reset of the previous window.
    before: Option<Duration>,
    /// The time after which a window was over although its reset was longer; `None`: no reset was too long.
    at_most: Option<Duration>,
    /// The length that jumps of `Remaining` show, if there is no reset.
    measured: Option<Duration>,
    /// How much later windows end than their resets say, because resets are rounded down.
    late: Duration,
    /// When a reset that is too long to be believed at once was first seen, and the length of that reset.
    unproven: Option<(Instant, Duration)>,
    proven: bool,
    /// The longest reset of this limit.
    longest: Duration,
    /// When an answer first stated the present limit; `None`: it is the first limit.
    changed_at: Option<Instant>,
    /// Whether resets were seen to count down. Until then the length of the window may be wrong.
    counts_down: bool,
    /// How long a window lasts at least: an answer this long after the beginning of a window still belonged to that
    /// window.
    at_least: Duration,
    previous_foreign: u32,
    /// How many requests are left to other programs beyond the requests that they used before. The number grows when
    /// the other programs use up the window nevertheless.
    margin: u32,
    /// The number of ended windows that were seen from their beginning.
    windows: u64,
    /// The number of requests of other programs in all windows.
    foreign_in_total: u64,
}

/// A window of the API.
#[derive(Clone, Copy, Debug)]
struct SeenWindow {
    limit: Option<u32>,
    /// The lowest `Remaining`, minus the requests that the relay sent since.
    left: i64,
    /// The latest possible end of the window.
    ends: Instant,
    /// Whether `ends` is a guess, for lack of a believable reset.
    guessed: bool,
    /// When the first answer of this window came, and, in `last`, when its last answer came.
    first: Instant,
    last: Instant,
    /// Whether the beginning of the window was seen.
    whole: bool,
    longest: Duration,
    /// The number of answers without headers; the API may not have counted their requests.
    untold: u32,
    /// The number of requests in the window that may be of an earlier process of the relay, or of another program.
    unexplained: u32,
    /// The number of requests in the window that are of other programs.
    foreign: u32,
}

/// An answer, and the requests of the relay at the time of the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard<'a> {
    pub(super) headers: &'a RateHeaders,
    /// When the answered request was sent.
    pub(super) sent: Instant,
    /// The number of the relay's other requests that were in flight at the same time as the answered one; answers
    /// overtake each other.
    pub(super) beside: u32,
    /// The number of the relay's requests that are in flight now.
    pub(super) under_way: u32,
}

/// The number of requests by other programs, as requests a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// The number of windows of the API that have ended.
    pub windows: u64,
    /// The requests in the last window that ended.
    pub before: u32,
    /// The requests in the present window so far.
    pub so_far: u32,
}

/// A pace: a number of requests in a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) requests: usize,
    pub(super) window: Duration,
    /// The instant from which requests count. Earlier requests were made under another limit. `None`: all requests
    /// count.
    pub(super) since: Option<Instant>,
}

impl Share {
    /// The configured limit.
    pub(super) fn whole(configured: u32, window: Duration) -> Self {
        Self { requests: usize::try_from(configured.max(1)).unwrap_or(usize::MAX), window, since: None }
    }
}

impl Server {
    pub(super) fn new(documented: Duration) -> Self {
        Self {
            documented,
            window: None,
            before: None,
            at_most: None,
            measured: None,
            late: Duration::ZERO,
            unproven: None,
            proven: false,
            longest: Duration::ZERO,
            changed_at: None,
            counts_down: false,
            at_least: Duration::ZERO,
            previous_foreign: 0,
            margin: 0,
            windows: 0,
            foreign_in_total: 0,
        }
    }

    /// Records that a request leaves, so that the window has one request fewer left.
    pub(super) fn sent(&mut self) {
        if let Some(window) = &mut self.window {
            window.left -= 1;
        }
    }

    /// Records an answer. `own_since` returns the number of the relay's requests that were sent since an instant.
    pub(super) fn heard(&mut self, heard: Heard<'_>, now: Instant, own_since: impl Fn(Instant) -> u32) {
        let headers = heard.headers;
        let Some(remaining) = headers.remaining.filter(|_| headers.state_limit()) else {
            if let Some(window) = &mut self.window {
                window.untold += 1;
                window.last = now;
            }
            return;
        };
        // The request was in flight when the first answer of this window came, so that answer's `Remaining` counts it.
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
        // Until its end the window is the same window, unless more requests are left again than rounding explains.
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
            self.take_stock(remaining, &own_since);
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
        // The window counts as seen from its beginning if hardly more requests are used than the relay has sent. A tenth
        // of the limit is allowed for requests that other programs may have made since the window began.
        let limit = headers.limit.unwrap_or(u32::MAX);
        let remaining = headers.remaining.unwrap_or(0);
        let used = limit.saturating_sub(remaining);
        // At the start of the process, and after a change of the limit, the beginning of the window is not known.
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
                    // The guessed end has passed, and no requests were left again.
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
            // Requests that were answered since the answered request was sent may have reached the API before or after
            // that request.
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

    /// Returns a length of the windows: `lasted`, but no length that is known to be too short. Requests take a moment to
    /// arrive, so the length is a little longer than the longest time after which a window was not over yet.
    fn not_too_short(&self, lasted: Duration) -> Duration {
        lasted.max(Duration::from_secs(1)).max(self.at_least.mul_f64(1.05) + ARRIVAL)
    }

    /// Counts the requests of a window that are unexplained when the window is first seen. If the beginning of the
    /// window was not seen, these requests may be of an earlier process of the relay, whose record does not survive a
    /// power cut. Otherwise they are of another program.
    fn take_stock(&mut self, remaining: u32, own_since: &impl Fn(Instant) -> u32) {
        let unexplained = self.beyond_ours(remaining, own_since);
        if let Some(window) = self.window.as_mut().filter(|window| !window.whole) {
            window.unexplained = unexplained;
        }
    }

    /// Counts the requests in the API's window that the relay did not send.
    fn count_foreign(&mut self, remaining: u32, own_since: &impl Fn(Instant) -> u32) {
        let beyond = self.beyond_ours(remaining, own_since);
        let Some(window) = &mut self.window else { return };
        let before = window.foreign;
        window.foreign = before.max(beyond.saturating_sub(window.unexplained));
        self.foreign_in_total += u64::from(window.foreign - before);
    }

    fn beyond_ours(&self, remaining: u32, own_since: &impl Fn(Instant) -> u32) -> u32 {
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
    /// first seen, because its reset shows only how much of the window is left. Until this window is over, the relay's
    /// requests count for the window although they were sent long before the window was seen.
    fn age_is_known(&self, window: &SeenWindow) -> bool {
        window.whole || self.before.is_some()
    }

    /// Returns how long ago a window may have begun. For short windows this time is too long, so that too many requests
    /// count as the relay's, rather than as another program's.
    fn counted_back(&self) -> Duration {
        self.longest.max(self.documented)
    }

    /// Returns how long the relay's requests must be remembered, to tell them from the requests of other programs.
    pub(super) fn memory(&self) -> Duration {
        let windows = if self.window.is_some_and(|window| !self.age_is_known(&window)) { 2 } else { 1 };
        windows * self.counted_back().min(LONGEST_SILENCE) + 2 * SLACK
    }

    fn believes(&mut self, reset: Duration, now: Instant) -> bool {
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
    fn length(&self) -> Option<Duration> {
        let longest = self.window?.longest.max(self.before.unwrap_or_default());
        Some(self.at_most.map_or(longest, |most| longest.min(most)))
    }

    /// Returns the relay's part of the limit, as a pace: at most `configured` requests in the relay's own `window`, and
    /// at most the API's limit minus the requests of other programs. The part is at least one request, so that the
    /// relay can ask at all.
    pub(super) fn share(&self, configured: u32, window: Duration) -> Share {
        let whole = Share::whole(configured, window);
        let Some((limit, length)) = self.window.and_then(|seen| seen.limit).zip(self.length()) else { return whole };
        let length = length.max(Duration::from_secs(1));
        // A lower configured limit already leaves room for other programs, so no more requests are left to them.
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

    fn beside_others(&self, limit: u32, configured: u32) -> u32 {
        let others = match self.unavailable() {
            0 => 0,
            others => others.saturating_add(self.margin),
        };
        limit.saturating_sub(others).max(limit.min(configured) / 10).max(1)
    }

    /// Returns the instant until which no request may leave, because the window is used up.
    pub(super) fn spent_until(&self, now: Instant) -> Option<Instant> {
        let window = self.window.filter(|window| window.left <= 0)?;
        Some(window.ends.min(window.last + LONGEST_SILENCE)).filter(|until| *until > now)
    }

    /// Whether a window that was used up is over, and no answer has stated the next window's limit yet.
    pub(super) fn is_unsure(&self, now: Instant) -> bool {
        self.window.is_some_and(|window| window.left <= 0 && window.ends <= now)
    }

    /// Records a 429. From then on more requests are left to other programs, if there are any. A 429 after the end of
    /// the window shows that resets are rounded down.
    pub(super) fn refused(&mut self, headers: &RateHeaders, now: Instant) {
        if let Some(limit) = self.window.and_then(|window| window.limit).filter(|_| self.unavailable() > 0) {
            self.margin = (self.margin + MARGIN).min(limit / 20);
        }
        let Some(window) = self.window.as_mut().filter(|window| window.first == now && !window.whole) else { return };
        if self.late.is_zero() && headers.reset.is_some_and(|reset| reset <= Duration::from_secs(1)) {
            self.late = Duration::from_secs(1);
            window.ends += self.late;
        }
    }

    /// Returns the instant until which the reading of older messages waits, so that enough requests are left for polls
    /// until the window ends: one request for each poll interval, at most half of the limit.
    pub(super) fn kept_for_head_until(
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

    /// Returns the instant for which the last request of a window is kept, if the length of the window is doubtful, and
    /// its limit is lower than the `configured` one. If the answer to this request belongs to a new window, the windows
    /// are shorter than they seemed. The instant lies half-way between the shortest and the longest length that the
    /// windows may have.
    pub(super) fn last_kept_until(&self, configured: u32, now: Instant) -> Option<Instant> {
        let window = self.window.filter(|window| window.left == 1 && window.whole)?;
        let length = window.ends.saturating_duration_since(window.first);
        let is_lower = window.limit.is_some_and(|limit| limit < configured);
        let is_doubtful = is_lower && (window.guessed || !self.counts_down);
        let is_worth_it = length > self.at_least.mul_f64(1.15) + ROUNDING;
        let until = window.first + (self.at_least + length) / 2;
        (is_doubtful && is_worth_it && until > now).then_some(until)
    }

    /// Returns the end of the window, and the requests that are left until then, minus the requests that other programs
    /// will need if they use as many as in the previous window.
    pub(super) fn lasts(&self, now: Instant) -> Option<(Instant, usize)> {
        let window = self.window.filter(|window| window.ends > now)?;
        let others = self.previous_foreign.saturating_sub(window.foreign);
        Some((window.ends, usize::try_from(window.left - i64::from(others)).unwrap_or(0)))
    }

    /// Returns the limit, the requests that are left, and the time until the end of the window.
    pub(super) fn shown(&self, now: Instant) -> Option<(Option<u32>, u32, Duration)> {
        let window = self.window.filter(|window| window.ends > now)?;
        let left = u32::try_from(window.left.max(0)).unwrap_or(u32::MAX);
        Some((window.limit, left, window.ends - now))
    }

    /// Returns the number of requests in the current or last window that the relay did not make: requests of other
    /// programs, or unexplained requests.
    pub(super) fn unavailable(&self) -> u32 {
        self.window.map_or(0, |window| window.foreign + window.unexplained).max(self.previous_foreign)
    }

    /// Returns the number of requests of other programs that were seen since the process began.
    pub(super) fn foreign_in_total(&self) -> u64 {
        self.foreign_in_total
    }

    /// Returns the number of requests that are certainly of other programs.
    pub(super) fn foreign(&self) -> Foreign {
        // The count of a short window is not extrapolated: one unexplained request would become many.
        let length = self.counted_back();
        let a_minute = |requests: u32| {
            let requests = f64::from(requests) * self.documented.as_secs_f64() / length.as_secs_f64();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, is not negative")]
            let requests = requests.round() as u32;
            requests
        };
        Foreign {
            windows: self.windows,
            before: a_minute(self.previous_foreign),
            so_far: a_minute(self.window.map_or(0, |window| window.foreign)),
        }
    }
}

/// How a new window relates to the previous one.
#[derive(Clone, Copy)]
struct WindowTurn {
    /// How many more requests are left than the old window could have left.
    jump: i64,
    /// Whether the old window is over, as the jump shows.
    turned: bool,
    /// Whether the limit has changed.
    changed: bool,
}

impl SeenWindow {
    /// Returns an estimate of the requests of other programs in the whole window. The answers show only a part of the
    /// window if the relay was silent for a while.
    fn foreign_in_all(&self) -> u32 {
        let (seen, length) = (self.last - self.first, self.longest);
        if 2 * seen < length || seen >= length {
            return self.foreign;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most twice as many")]
        let all = (f64::from(self.foreign) * length.as_secs_f64() / seen.as_secs_f64()) as u32;
        all
    }

    fn jump(&self, remaining: u32, beside: u32) -> i64 {
        i64::from(remaining) - (self.left.max(0) + i64::from(beside) + i64::from(self.untold))
    }
}

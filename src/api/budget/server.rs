//! The API's own limit, as far as its headers tell: pure, the time passed in.
//!
//! A limit is a number of requests in a window. The documented window is a minute, but the length is learned, so that
//! "2 in a second" and "20 in 5 minutes" work too:
//! - the longest `X-RateLimit-Reset` of the present and the previous window is the length;
//! - if `Remaining` jumps up before the reset was due, the reset is not what it says, and the time from the beginning of
//!   one window to that of the next is the length;
//! - without a reset the length is a minute until jumps of `Remaining` tell better.
//!
//! Invariants, where the headers are honest and nobody else uses the key:
//! - Within a window no more requests leave than `Remaining` allowed, less what was sent since.
//! - After a window that was used up one request at a time leaves, until an answer tells what the next window allows.

use std::time::Duration;

use super::headers::RateHeaders;
use crate::time::Instant;

/// No silence is longer without a request that asks whether it is over; no longer reset is believed at first sight.
pub(super) const LONGEST_SILENCE: Duration = Duration::from_secs(15 * 60);

/// Timers may be early by this much, and what a process sent before it was killed may arrive this much later.
pub(super) const SLACK: Duration = Duration::from_secs(2);

/// Resets are whole seconds, so two of them can differ by this much from what they mean.
const ROUNDING: Duration = Duration::from_millis(1500);

/// Each 429 beside other programs leaves them this much more, up to a twentieth of the limit.
const MARGIN: u32 = 3;

/// Beside other programs so few requests may be gone before ours arrive: they are the head's.
const FEW: i64 = 2;

/// A reset of more than [`LONGEST_SILENCE`] is believed once it has fallen with the time for this long.
const PROOF: Duration = Duration::from_secs(5);

/// What is known of the API's limit.
#[derive(Debug)]
pub(super) struct Server {
    /// The documented length of a window, for as long as nothing tells better.
    documented: Duration,
    window: Option<SeenWindow>,
    /// The longest reset of the window before.
    before: Option<Duration>,
    /// A window was over after this time, although its reset said otherwise.
    at_most: Option<Duration>,
    /// The length by the jumps of `Remaining`, where there is no reset.
    measured: Option<Duration>,
    /// Resets are rounded down: windows end this much later.
    late: Duration,
    /// The first sight of a reset that is too long to be believed at once.
    unproven: Option<(Instant, Duration)>,
    proven: bool,
    /// The longest reset of this limit.
    longest: Duration,
    previous_foreign: u32,
    /// What is left to other programs beside what they used: grows when they took the last all the same.
    margin: u32,
    /// How many windows that were seen from their beginning have ended.
    windows: u64,
}

/// A window of the API.
#[derive(Clone, Copy, Debug)]
struct SeenWindow {
    limit: Option<u32>,
    /// The lowest `Remaining`, less what was sent since.
    left: i64,
    /// No later than this.
    ends: Instant,
    /// Without a believable reset `ends` is a guess.
    guessed: bool,
    /// The first and the last answer that told of it.
    first: Instant,
    last: Instant,
    /// It was seen to begin.
    whole: bool,
    longest: Duration,
    /// Requests whose answers told nothing: perhaps the API did not count them.
    untold: u32,
    /// Requests in it that nobody can explain: this process may have forgotten them with an earlier one.
    unexplained: u32,
    /// Requests in it that are not ours.
    foreign: u32,
}

/// An answer, and what was sent around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard<'a> {
    pub(super) headers: &'a RateHeaders,
    /// When its request was sent.
    pub(super) sent: Instant,
    /// Our other requests that were under way at the same time: answers overtake each other.
    pub(super) beside: u32,
    /// Our requests that are under way now.
    pub(super) under_way: u32,
}

/// Requests of other programs, a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// How many windows of the API have ended.
    pub windows: u64,
    /// In the last of them.
    pub before: u32,
    /// In the present one so far.
    pub so_far: u32,
}

/// How many requests may leave in how long a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) requests: usize,
    pub(super) window: Duration,
}

impl Share {
    /// All that is configured.
    pub(super) fn whole(configured: u32, window: Duration) -> Self {
        Self { requests: usize::try_from(configured.max(1)).unwrap_or(usize::MAX), window }
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
            previous_foreign: 0,
            margin: 0,
            windows: 0,
        }
    }

    /// A request leaves.
    pub(super) fn sent(&mut self) {
        if let Some(window) = &mut self.window {
            window.left -= 1;
        }
    }

    /// An answer came. `own_since` counts our requests that were sent since an instant.
    pub(super) fn heard(&mut self, heard: Heard<'_>, now: Instant, own_since: impl Fn(Instant) -> u32) {
        let headers = heard.headers;
        let told = headers.remaining.filter(|_| headers.reset.is_some() || headers.limit.is_some());
        let Some(remaining) = told else {
            if let Some(window) = &mut self.window {
                window.untold += 1;
                window.last = now;
            }
            return;
        };
        // It was under way when the first answer of this window came, and is counted in what was left then.
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
        // Until its end it is the same one, unless more has come back than the rounding of its end explains.
        let is_over = |window: &SeenWindow| window.ends <= now || (turned && window.ends > now + ROUNDING);
        let goes_on = self.window.filter(|window| !is_over(window) && !changed);
        let window = match goes_on {
            Some(window) => {
                let left = i64::from(remaining) - i64::from(heard.under_way);
                self.merged(window, headers.limit, left, reset, now)
            }
            None => self.opened(headers, reset, WindowTurn { jump, turned, changed }, heard.beside, now),
        };
        self.window = Some(window);
        self.longest = self.longest.max(window.longest);
        if goes_on.is_none() {
            self.take_stock(remaining, &own_since);
        }
        self.count_foreign(remaining, &own_since);
    }

    /// The same window as before: it can only have less left, and end earlier.
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

    /// Another window, or one that nobody knows to be the same.
    fn opened(
        &mut self,
        headers: &RateHeaders,
        reset: Option<Duration>,
        turn: WindowTurn,
        beside: u32,
        now: Instant,
    ) -> SeenWindow {
        let WindowTurn { jump, turned, changed } = turn;
        // What others may have used of it since it began.
        let limit = headers.limit.unwrap_or(u32::MAX);
        let remaining = headers.remaining.unwrap_or(0);
        let used = limit.saturating_sub(remaining);
        // At the start, and where the limit is another one, nothing tells that a window has begun.
        let by_others = if self.window.is_some() && !changed { limit / 10 } else { 0 };
        let is_fresh = turned && used <= 1 + beside + by_others;
        let mut continued = None;
        self.windows += u64::from(self.window.is_some_and(|before| before.whole));
        self.previous_foreign = self.window.map_or(0, |before| before.foreign_in_all());
        if changed {
            (self.before, self.at_most, self.measured) = (None, None, None);
            self.longest = Duration::ZERO;
        } else if let Some(before) = self.window {
            let lasted = now - before.first;
            self.before = Some(before.longest).filter(|_| !before.guessed);
            if before.guessed {
                if is_fresh && before.whole {
                    self.measured = Some(lasted.max(Duration::from_secs(1)));
                } else if jump <= 0 {
                    // The end that was guessed has passed, and nothing has come back.
                    self.measured = Some((2 * lasted).clamp(self.documented, LONGEST_SILENCE));
                    continued = Some(before);
                }
            } else if is_fresh && before.ends > now + ROUNDING {
                (self.proven, self.unproven) = (false, None);
                self.at_most = before.whole.then_some(lasted.max(Duration::from_secs(1)));
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
            // What was answered since it was sent may have come after it as well as before.
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

    /// What a window counts that nobody can explain when it is first seen. If it was not seen to begin, an earlier process
    /// of ours may have forgotten it (its record does not survive a power cut); otherwise it is another program's.
    fn take_stock(&mut self, remaining: u32, own_since: &impl Fn(Instant) -> u32) {
        let unexplained = self.beyond_ours(remaining, own_since);
        if let Some(window) = self.window.as_mut().filter(|window| !window.whole) {
            window.unexplained = unexplained;
        }
    }

    /// What the API counted in its window beyond what we sent in it.
    fn count_foreign(&mut self, remaining: u32, own_since: &impl Fn(Instant) -> u32) {
        let beyond = self.beyond_ours(remaining, own_since);
        let Some(window) = &mut self.window else { return };
        window.foreign = window.foreign.max(beyond.saturating_sub(window.unexplained));
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

    /// The first window of a limit may have been open for any time when it was first seen, because its reset tells only the
    /// rest. Until it is over, a request counts as ours although it was sent long before the window was seen.
    fn age_is_known(&self, window: &SeenWindow) -> bool {
        window.whole || self.before.is_some()
    }

    /// How far back a window may have begun. Where windows are short this counts too many requests as ours rather than as
    /// another program's.
    fn counted_back(&self) -> Duration {
        self.longest.max(self.documented)
    }

    /// How long our requests must be remembered, to tell them from those of others.
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

    /// The length of the windows, as far as it was learned.
    fn length(&self) -> Option<Duration> {
        let longest = self.window?.longest.max(self.before.unwrap_or_default());
        Some(self.at_most.map_or(longest, |most| longest.min(most)))
    }

    /// What is ours of the limit, as a pace: never more than `configured` in our own `window`, and otherwise what the
    /// limit comes to, beside what other programs use. Never so little that we could not ask at all.
    pub(super) fn share(&self, configured: u32, window: Duration) -> Share {
        let whole = Share::whole(configured, window);
        let Some((limit, length)) = self.window.and_then(|seen| seen.limit).zip(self.length()) else { return whole };
        let length = length.max(Duration::from_secs(1));
        // Who leaves room by a lower limit of their own does not leave it twice.
        let share = self.beside_others(limit, configured);
        let in_ours = (f64::from(share) * window.as_secs_f64() / length.as_secs_f64()).ceil().max(1.0);
        if in_ours >= f64::from(configured) {
            return whole;
        }
        let stretched = length.mul_f64(in_ours / f64::from(share)).clamp(window, LONGEST_SILENCE.max(window));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and what is configured")]
        let requests = in_ours as usize;
        Share { requests, window: stretched }
    }

    fn beside_others(&self, limit: u32, configured: u32) -> u32 {
        let others = match self.unavailable() {
            0 => 0,
            others => others.saturating_add(self.margin),
        };
        limit.saturating_sub(others).max(limit.min(configured) / 10).max(1)
    }

    /// Until when nothing may leave, because the window is used up.
    pub(super) fn spent_until(&self, now: Instant) -> Option<Instant> {
        let window = self.window.filter(|window| window.left <= 0)?;
        Some(window.ends.min(window.last + LONGEST_SILENCE)).filter(|until| *until > now)
    }

    /// Whether a window that was used up is over, and no answer has told yet what the next one allows.
    pub(super) fn is_unsure(&self, now: Instant) -> bool {
        self.window.is_some_and(|window| window.left <= 0 && window.ends <= now)
    }

    /// An answer was a 429. Beside other programs more is left to them from then on. If it came when the window should have been over, resets are rounded down.
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

    /// Until when what is read behind the head waits, so that the head finds what it needs until the window ends: a poll
    /// in each of its intervals, at most half of the limit.
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
        // A poll that is due when the window is nearly over may as well wait for the next one.
        let enough_for = Duration::try_from_secs_f64(pace.as_secs_f64() * (left + 0.1)).ok()?;
        let from_then_on = window.ends.checked_sub(enough_for)?;
        if last_poll.is_some_and(|last| last >= from_then_on) {
            return None;
        }
        Some((from_then_on + pace).min(window.ends)).filter(|until| *until > now)
    }

    /// What is left until when, for a pace that lasts: without what other programs are going to use, as they used it in
    /// the window before.
    pub(super) fn lasts(&self, now: Instant) -> Option<(Instant, usize)> {
        let window = self.window.filter(|window| window.ends > now)?;
        let others = self.previous_foreign.saturating_sub(window.foreign);
        Some((window.ends, usize::try_from(window.left - i64::from(others)).unwrap_or(0)))
    }

    /// The limit, what is left, and for how long.
    pub(super) fn shown(&self, now: Instant) -> Option<(Option<u32>, u32, Duration)> {
        let window = self.window.filter(|window| window.ends > now)?;
        let left = u32::try_from(window.left.max(0)).unwrap_or(u32::MAX);
        Some((window.limit, left, window.ends - now))
    }

    /// Requests in the current or last window that we cannot have: other programs', and what nobody can explain.
    pub(super) fn unavailable(&self) -> u32 {
        self.window.map_or(0, |window| window.foreign + window.unexplained).max(self.previous_foreign)
    }

    /// Requests of other programs for certain.
    pub(super) fn foreign(&self) -> Foreign {
        // A short window is not multiplied: one request that nobody can explain would become many.
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

/// How an answer that opens a window relates to the one before.
#[derive(Clone, Copy)]
struct WindowTurn {
    /// By how much more is left than the old window could have.
    jump: i64,
    /// So the old one is over.
    turned: bool,
    /// The limit is another one.
    changed: bool,
}

impl SeenWindow {
    /// The requests of others in all of the window: a silence that we kept in it hid some of them.
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

//! The API's own limit, as its headers state it. Pure: the time is passed in.
//!
//! A limit is a number of requests in a window. The documented window is a minute. But the relay learns the length, so
//! that "2 in a second" and "20 in 5 minutes" work, too:
//! - The *reset* (`X-RateLimit-Reset`) of an answer is the time until the window ends. The length is the longest reset
//!   of the present and the previous window.
//! - If the number of requests that are left (`X-RateLimit-Remaining`, or `Remaining` for short) jumps up before the
//!   reset has passed, the reset is wrong. Then the length is the time from the beginning of one window to the
//!   beginning of the next.
//! - Without a reset the length is a minute, until jumps of `Remaining` show another length.
//!
//! Invariants, if the headers are right and no other program uses the key:
//! - After an answer, the relay sends in the same window no more requests than the `Remaining` of this answer allows.
//! - After a window that was used up, a single request leaves first, to learn the next window's limit. The others wait
//!   for its answer, but at most 5 seconds.

mod foreign_requests;
mod relay_share;
mod window_length;

use std::time::Duration;

use super::headers::RateHeaders;
use crate::time::Instant;

/// The longest silence. After this time a request is sent, to ask whether the silence is over. This is also the longest
/// reset that is believed at once.
pub(super) const LONGEST_SILENCE: Duration = Duration::from_secs(15 * 60);

/// A timer may fire this much too early, and a request of a killed process may arrive this much after the kill.
pub(super) const SLACK: Duration = Duration::from_secs(2);

/// The difference of two resets can be wrong by up to this, because resets are whole seconds.
const ROUNDING: Duration = Duration::from_millis(1500);

/// The knowledge about the API's limit.
#[derive(Debug)]
pub(super) struct ServerLimit {
    /// The documented length of a window. It is used until another length was learned.
    documented: Duration,
    window: Option<SeenWindow>,
    /// The longest reset of the previous window.
    before: Option<Duration>,
    /// The length of a window that was over before its reset had passed. `None` if no reset was too long.
    at_most: Option<Duration>,
    /// The length that jumps of `Remaining` show, if there is no reset.
    measured: Option<Duration>,
    /// By how much windows end later than their resets say. Zero until a 429 has shown that the API rounds resets down.
    late: Duration,
    /// A reset that is too long to be believed at once: when it was first seen, and its length.
    unproven: Option<(Instant, Duration)>,
    /// Whether resets of more than [`LONGEST_SILENCE`] are believed.
    proven: bool,
    /// The longest reset, or guessed length of a window, since the limit last changed.
    longest: Duration,
    /// When an answer first stated the present limit; `None` if no other limit was stated before.
    changed_at: Option<Instant>,
    /// Whether resets were seen to count down. Until then the length of the window may be wrong.
    counts_down: bool,
    /// How long a window lasts at least: a request that left this long after the beginning of a window was still
    /// counted in that window.
    at_least: Duration,
    /// The number of requests of other programs in the previous window (an estimate).
    previous_foreign: u32,
    /// The number of requests that the relay leaves to other programs in addition to the number that they used before.
    /// It grows with each 429 that comes while other programs use the key.
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
    /// The lowest `Remaining` that an answer has stated in this window, minus the requests that the relay has sent
    /// since that answer.
    left: i64,
    /// The latest possible end of the window.
    ends: Instant,
    /// Whether `ends` is a guess, because no believable reset was stated.
    guessed: bool,
    /// When the first answer of this window came.
    first: Instant,
    /// When the last answer of this window came.
    last: Instant,
    /// Whether the beginning of the window was seen.
    whole: bool,
    /// The longest reset of this window, or its guessed length.
    longest: Duration,
    /// The number of answers that stated no limit. The API may not have counted their requests.
    untold: u32,
    /// The number of requests in the window that an earlier process of the relay or another program has sent.
    unexplained: u32,
    /// The number of requests in the window that other programs have sent.
    foreign: u32,
}

/// An answer, and the requests of the relay at the time of the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeardAnswer<'a> {
    pub(super) headers: &'a RateHeaders,
    /// When the answered request was sent.
    pub(super) sent: Instant,
    /// The number of the relay's other requests that were in flight at the same time as the answered request. Answers
    /// may overtake each other, so the API may have counted these requests or not.
    pub(super) beside: u32,
    /// The number of the relay's requests that are in flight now.
    pub(super) under_way: u32,
}

/// The requests of other programs, in requests a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForeignRequests {
    /// The number of windows of the API that were seen from their beginning and have ended.
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
    /// The instant from which requests count. Earlier requests were made under another limit. `None` if all requests
    /// count.
    pub(super) since: Option<Instant>,
}

impl Share {
    /// The configured limit.
    pub(super) fn whole(configured: u32, window: Duration) -> Self {
        Self { requests: usize::try_from(configured.max(1)).unwrap_or(usize::MAX), window, since: None }
    }
}

impl ServerLimit {
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
}

impl SeenWindow {
    /// Returns an estimate of the requests of other programs in the whole window. They were counted only from the first
    /// answer to the last one. If these two answers are at least half a window apart, but less than a whole one, the
    /// count is extrapolated to the whole window.
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

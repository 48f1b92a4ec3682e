//! Every point of the API that the documentation leaves open, and every number it fixes, as a switch.
//!
//! Invariant: [`Switches::default`] is the documented API, with the likeliest reading where nothing is documented.
//! Switches may be changed at any time; a change holds from the next request on.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::serde::{duration, unsigned_duration};
use serde::{Deserialize, Serialize};

/// How the simulated API reads what the documentation leaves open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Switches {
    /// Which time messages are sorted by, newest first.
    pub sort_by: SortBy,
    /// Which of two messages with the same time comes first.
    pub ties: Ties,
    /// The list is sorted by a time that is off by up to this much, differently for each message.
    #[serde(with = "unsigned_duration::friendly::compact::required")]
    pub disorder: Duration,
    /// What `since` is compared with.
    pub since: Since,
    /// `since` returns the message of that very instant too.
    pub since_inclusive: bool,
    /// What `numberId` of a number that does not exist gives.
    pub unknown_number: UnknownNumber,

    /// What becomes of a cursor when the row that it was made from vanishes.
    pub cursor: CursorKind,
    /// A cursor is refused this long after it was handed out.
    #[serde(with = "unsigned_duration::friendly::compact::optional")]
    pub cursor_lifetime: Option<Duration>,
    /// How a cursor is spelled.
    pub cursor_text: CursorText,
    /// How `nextCursor` says that there is no further page.
    pub last_cursor: Missing,

    /// How a field without a value (`parsedCode`, `serviceName`, …) is shown.
    pub empty_fields: Missing,
    /// Whether JSON is indented.
    pub pretty: bool,
    /// What the ids of messages look like that are added without one.
    pub ids: Ids,
    /// Rows on a page when the request does not say.
    pub page_default: usize,
    /// Most rows on a page for an API key.
    pub page_cap: usize,
    /// Most rows on a page for a browser session.
    pub session_page_cap: usize,

    /// Requests in a window for an API key.
    pub limit: u32,
    /// Length of the window.
    #[serde(with = "unsigned_duration::friendly::compact::required")]
    pub window: Duration,
    /// When a window begins.
    pub window_kind: WindowKind,
    /// Who shares a window.
    pub limit_scope: LimitScope,
    /// How `X-RateLimit-Reset` is rounded.
    pub reset: ResetRounding,
    /// Whether a 429 carries `Retry-After`.
    pub retry_after: bool,
    /// How the text of a 429 tells the time.
    pub limit_text: LimitText,

    /// How long a key that was accepted goes on being accepted after it was revoked or has expired.
    #[serde(with = "unsigned_duration::friendly::compact::required")]
    pub key_cache: Duration,
    /// Active keys that an account may have.
    pub max_keys: usize,

    /// Whether answers carry `Date`.
    pub date: bool,
    /// How far the `Date` header is ahead of the clock that stamps the rows.
    #[serde(serialize_with = "duration::friendly::compact::required")]
    pub date_skew: SignedDuration,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            sort_by: SortBy::ReceivedAt,
            ties: Ties::IdDescending,
            disorder: Duration::ZERO,
            since: Since::ReceivedAt,
            since_inclusive: false,
            unknown_number: UnknownNumber::NotFound,
            cursor: CursorKind::Kept,
            cursor_lifetime: None,
            cursor_text: CursorText::Documented,
            last_cursor: Missing::Null,
            empty_fields: Missing::Null,
            pretty: false,
            ids: Ids::Uuid,
            page_default: 20,
            page_cap: 10,
            session_page_cap: 100,
            limit: 120,
            window: Duration::from_secs(60),
            window_kind: WindowKind::FirstRequest,
            limit_scope: LimitScope::Key,
            reset: ResetRounding::Up,
            retry_after: true,
            limit_text: LimitText::Seconds,
            key_cache: Duration::from_secs(60),
            max_keys: 5,
            date: true,
            date_skew: SignedDuration::ZERO,
        }
    }
}

/// Which time messages are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SortBy {
    /// When the message was sent to the number.
    ReceivedAt,
    /// When the message appeared: a late one comes first.
    IngestedAt,
}

/// Which of two messages with the same time comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ties {
    /// The greater id.
    IdDescending,
    /// The smaller id.
    IdAscending,
    /// The one that appeared last.
    NewestFirst,
    /// The one that appeared first.
    OldestFirst,
}

/// What `since` is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Since {
    /// `receivedAt`.
    ReceivedAt,
    /// `ingestedAt`.
    IngestedAt,
    /// Nothing: the parameter is ignored.
    Ignored,
    /// Nothing: a request with it finds no message at all.
    MatchesNothing,
}

/// What `numberId` of a number that does not exist gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UnknownNumber {
    /// The documented 404.
    NotFound,
    /// An empty list.
    EmptyList,
}

/// What becomes of a cursor when the row that it was made from vanishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CursorKind {
    /// Nothing: it is a place in the order, not a row.
    Kept,
    /// It is refused.
    RefusedWithoutRow,
    /// It finds an empty last page.
    EmptyWithoutRow,
}

/// How a cursor is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CursorText {
    /// base64 of `time|id`.
    Documented,
    /// A text full of characters that mean something in a URL: it survives only percent-encoding.
    Awkward,
}

/// How a field without a value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Missing {
    /// As `null`.
    Null,
    /// Not at all.
    Absent,
}

/// What the ids of messages look like that are added without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ids {
    /// `5f0c0a52-…`
    Uuid,
    /// `msg_…`
    Prefixed,
    /// Now this, now that.
    Mixed,
}

/// When a window of the rate limit begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WindowKind {
    /// With the first request after the last window.
    FirstRequest,
    /// Windows follow each other from the simulator's start, used or not.
    Calendar,
    /// There are none: each request is forgotten one window's length after it was made.
    Sliding,
}

/// Who shares a window of the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LimitScope {
    /// Each key has its own.
    Key,
    /// All keys of the account.
    Account,
}

/// How `X-RateLimit-Reset` is rounded to seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ResetRounding {
    /// Up: waiting that long is enough.
    Up,
    /// Down: waiting that long can be up to a second too short.
    Down,
}

/// How the text of a 429 tells the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LimitText {
    /// `retry in 42 seconds`
    Seconds,
    /// `retry in 1 minute`
    Minutes,
}

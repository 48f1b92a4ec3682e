//! Switches for every point that the API's documentation leaves open, and for every number that the documentation
//! fixes.
//!
//! Invariant: [`Switches::default`] is the documented API, with the likeliest behaviour if nothing is documented.
//! Switches may be changed at any time; a change holds from the next request on.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::serde::duration;
use serde::{Deserialize, Serialize};

use crate::clock::{duration_text, optional_duration_text};

/// The behaviour of the simulated API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Switches {
    /// The time by which messages are sorted, newest first.
    pub sort_by: SortBy,
    /// The order of two messages with the same time.
    pub ties: Ties,
    /// The list is sorted by times that are off by up to this much. Each message has its own error.
    #[serde(with = "duration_text")]
    pub disorder: Duration,
    /// The time that `since` is compared with.
    pub since: Since,
    /// Whether `since` includes a message of exactly that instant.
    pub since_inclusive: bool,
    /// The answer to a `numberId` of a number that does not exist.
    pub unknown_number: UnknownNumber,

    /// The fate of a cursor when the row from which it was made vanishes.
    pub cursor: CursorKind,
    /// The age at which a cursor begins to be refused; `None`: never.
    #[serde(with = "optional_duration_text")]
    pub cursor_lifetime: Option<Duration>,
    /// The spelling of a cursor.
    pub cursor_text: CursorText,
    /// How `nextCursor` says that there is no further page.
    pub last_cursor: Missing,

    /// How a field without a value (`parsedCode`, `serviceName`, …) is shown.
    pub empty_fields: Missing,
    /// Whether JSON is indented.
    pub pretty: bool,
    /// The form of the ids of messages that are added without one.
    pub ids: Ids,
    /// How many rows a page has when the request does not say.
    pub page_default: usize,
    /// The most rows of a page for an API key.
    pub page_cap: usize,
    /// The most rows of a page for a browser session.
    pub session_page_cap: usize,

    /// The most requests in a window for an API key.
    pub limit: u32,
    /// The length of the window.
    #[serde(with = "duration_text")]
    pub window: Duration,
    /// The beginning of a window.
    pub window_kind: WindowKind,
    /// The requests that share a window.
    pub limit_scope: LimitScope,
    /// The rounding of `X-RateLimit-Reset`.
    pub reset: ResetRounding,
    /// Whether a 429 carries `Retry-After`.
    pub retry_after: bool,
    /// How the text of a 429 states the time.
    pub limit_text: LimitText,

    /// The answer to a request that rents a number.
    pub rent: Rent,
    /// How long it takes until a rented number is in the list.
    #[serde(with = "duration_text")]
    pub provisioning: Duration,

    /// How long an accepted key is still accepted after it was revoked or has expired.
    #[serde(with = "duration_text")]
    pub key_cache: Duration,
    /// The most active keys of an account.
    pub max_keys: usize,

    /// Whether answers carry `Date`.
    pub date: bool,
    /// How far the `Date` header is ahead of the clock that dates the rows.
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
            rent: Rent::Granted,
            provisioning: Duration::from_secs(3),
            key_cache: Duration::from_secs(60),
            max_keys: 5,
            date: true,
            date_skew: SignedDuration::ZERO,
        }
    }
}

/// The time by which messages are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SortBy {
    /// The time when the message was sent to the number.
    ReceivedAt,
    /// The time when the message appeared: a late message comes first.
    IngestedAt,
}

/// The order of two messages with the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ties {
    /// The greater id comes first.
    IdDescending,
    /// The smaller id comes first.
    IdAscending,
    /// The message that appeared last comes first.
    NewestFirst,
    /// The message that appeared first comes first.
    OldestFirst,
}

/// The time that `since` is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Since {
    /// `receivedAt`.
    ReceivedAt,
    /// `ingestedAt`.
    IngestedAt,
    /// No time: the parameter is ignored.
    Ignored,
    /// No time: a request with the parameter finds no message at all.
    MatchesNothing,
}

/// The answer to a `numberId` of a number that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UnknownNumber {
    /// The answer is the documented 404.
    NotFound,
    /// The answer is an empty list.
    EmptyList,
}

/// The fate of a cursor when the row from which it was made vanishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CursorKind {
    /// The cursor still works, because it is a place in the order and not a row.
    Kept,
    /// The cursor is refused.
    RefusedWithoutRow,
    /// The cursor leads to an empty last page.
    EmptyWithoutRow,
}

/// The spelling of a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CursorText {
    /// The cursor is the base64 of `time|id`.
    Documented,
    /// The cursor is a text full of characters that have a meaning in a URL, so it survives only percent-encoding.
    Awkward,
}

/// How a field without a value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Missing {
    /// The field is `null`.
    Null,
    /// The field is absent.
    Absent,
}

/// The form of the ids of messages that are added without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ids {
    /// Ids are UUIDs, such as `5f0c0a52-…`.
    Uuid,
    /// Ids have a prefix, such as `msg_…`.
    Prefixed,
    /// Some ids are UUIDs, and some have a prefix.
    Mixed,
}

/// The beginning of a window of the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WindowKind {
    /// A window begins with the first request after the last window.
    FirstRequest,
    /// Windows follow each other from the simulator's start, whether requests are made in them or not.
    Calendar,
    /// There are no fixed windows: each request is forgotten one window's length after it was made.
    Sliding,
}

/// The requests that share a window of the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LimitScope {
    /// The requests of one key share a window.
    Key,
    /// The requests of all keys of the account share a window.
    Account,
}

/// The rounding of `X-RateLimit-Reset` to seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ResetRounding {
    /// The time is rounded up, so waiting that long is enough.
    Up,
    /// The time is rounded down, so waiting that long can be up to a second too short.
    Down,
}

/// How the text of a 429 states the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LimitText {
    /// In seconds: `retry in 42 seconds`.
    Seconds,
    /// In minutes: `retry in 1 minute`.
    Minutes,
}

/// The answer to a request that rents a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rent {
    /// The number is provisioned.
    Granted,
    /// The payment has to be confirmed first: a 402 with the address of the invoice.
    PaymentRequired,
    /// No number is rented: a 200 with `success` false.
    Refused,
}

//! Effects: everything that can go wrong, in the form in which a test or a person writes it down.
//!
//! In JSON an effect is its name in camelCase, with its values: `"hang"`, `{"latency": "2s"}`, `{"status": {"status":
//! 503}}`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::duration_text;
use crate::feed::message::NewMessage;

/// A change to one request or its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Effect {
    /// The answer has this status (200 to 599) instead of the usual status.
    #[serde(rename_all = "camelCase")]
    Status {
        /// The status.
        status: u16,
        /// The body of the answer.
        #[serde(default)]
        body: ErrorBody,
    },
    /// No answer is ever sent; the connection stays open.
    Hang,
    /// The answer stops in the middle, and the connection ends.
    Break {
        /// The place in the answer at which it stops.
        at: Place,
        /// How the connection ends.
        ending: Ending,
    },
    /// Bytes that are not HTTP come instead of the answer.
    NotHttp,
    /// The answer comes this much later, by the simulator's clock.
    #[serde(with = "duration_text")]
    Latency(Duration),

    /// The body is no JSON, although its length is as announced.
    Malformed(Malformed),
    /// The body is well-formed JSON of at least this many bytes.
    HugeBody(u64),
    /// A part of a page has another type than documented.
    WrongType(WrongType),
    /// One row of a page is bad.
    BadRow {
        /// The row, counted from 0. If the page has fewer rows, the last row is bad.
        #[serde(default)]
        row: usize,
        /// The fault of the row.
        kind: BadRow,
    },
    /// The rows of the page are in reverse order.
    ReverseRows,
    /// The page has no rows. The page is the last page, or says that more rows follow.
    EmptyPage {
        /// Whether the page says that more rows follow, with a cursor if the page has a cursor.
        #[serde(default)]
        more: bool,
    },
    /// The next cursor is the cursor of the request.
    RepeatCursor,
    /// `hasMore` is true, without a cursor.
    MoreWithoutCursor,
    /// The next cursor is this text.
    NextCursor(String),
    /// The cursor of the request is refused.
    RefuseCursor,

    /// The three headers of the rate limit are changed.
    RateHeaders(RateHeaders),
    /// The answer has a `Retry-After` with this value.
    RetryAfter(String),
    /// One header is set or removed.
    Header {
        /// The header's name.
        name: String,
        /// The header's value; `None` removes the header.
        value: Option<String>,
    },

    /// Before the request is answered, these messages appear.
    Add(Vec<NewMessage>),
    /// Before the request is answered, a message appears that was received this long ago.
    #[serde(with = "duration_text")]
    LateRow(Duration),
    /// Before the request is answered, a message appears that is dated this far ahead.
    #[serde(with = "duration_text")]
    FutureRow(Duration),
    /// Before the request is answered, a message appears with the same time as the newest message.
    EqualRow,
    /// Before the request is answered, these messages vanish.
    Vanish(Vec<String>),
    /// Before the request is answered, this many of the first messages of the list vanish.
    VanishNewest(usize),
    /// Before the request is answered, the order of the list changes permanently: among this many messages at the head,
    /// the first one becomes the last one.
    Reorder(usize),
}

impl Effect {
    /// Makes the effect of a status with its documented JSON.
    pub fn status(status: u16) -> Self {
        Self::Status { status, body: ErrorBody::Json }
    }

    /// Makes the effect of a status with a page of HTML, as the CDN in front of the API answers.
    pub fn html(status: u16) -> Self {
        Self::Status { status, body: ErrorBody::Html }
    }

    /// Makes the effect of a connection that is reset before the first byte of the answer.
    pub fn reset() -> Self {
        Self::Break { at: Place::Answer(0), ending: Ending::Reset }
    }

    /// Makes the effect of a connection that is closed after this many bytes of the body.
    pub fn cut(body: u64) -> Self {
        Self::Break { at: Place::Body(body), ending: Ending::Close }
    }

    /// Makes the effect of a bad row at the top of the page.
    pub fn bad_row(kind: BadRow) -> Self {
        Self::BadRow { row: 0, kind }
    }

    /// Whether the effect has a meaning only on a page. A rule with such an effect waits for a page.
    pub(crate) fn needs_page(&self) -> bool {
        matches!(
            self,
            Self::WrongType(_)
                | Self::BadRow { .. }
                | Self::ReverseRows
                | Self::EmptyPage { .. }
                | Self::RepeatCursor
                | Self::MoreWithoutCursor
                | Self::NextCursor(_)
                | Self::RefuseCursor
        )
    }

    /// Whether the effect has a meaning only for a request with a cursor.
    pub(crate) fn needs_cursor(&self) -> bool {
        matches!(self, Self::RepeatCursor | Self::RefuseCursor)
    }
}

/// The body of an answer with another status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorBody {
    /// The body is the API's JSON, with the documented text if there is one.
    #[default]
    Json,
    /// The body is a page of HTML.
    Html,
    /// The body is empty.
    Empty,
}

/// The place where an answer stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// After this many bytes of the answer, including its head.
    Answer(u64),
    /// After this many bytes of the body.
    Body(u64),
}

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// The connection is closed in order.
    Close,
    /// The connection is reset.
    Reset,
    /// The connection stays open and silent.
    Silence,
}

/// The fault of a body that is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Malformed {
    /// The second half of the body is missing.
    Half,
    /// More text follows the JSON.
    Trailing,
    /// The body contains bytes that are no UTF-8.
    NotUtf8,
    /// The body is empty.
    Empty,
}

/// The part of a page that has another type than documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WrongType {
    /// The page is a list.
    Page,
    /// `data` is an object.
    Data,
    /// `data` is null.
    DataNull,
    /// There is no `data`.
    DataMissing,
    /// `meta` is a text.
    Meta,
    /// There is no `meta`.
    MetaMissing,
    /// `hasMore` is a text.
    HasMore,
    /// `nextCursor` is a number.
    NextCursor,
    /// `total` and `limit` are texts.
    Counts,
}

/// The fault of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BadRow {
    /// The row has no `id`.
    WithoutId,
    /// The `id` is null.
    NullId,
    /// The `id` is a number.
    NumericId,
    /// The `id` is an empty text.
    EmptyId,
    /// The row has neither of the two times.
    WithoutTime,
    /// Both times are null.
    NullTime,
    /// Both times are texts that are no times.
    UnreadableTime,
    /// Both times are numbers.
    NumericTime,
    /// `body` and `from` are of other types.
    WrongFields,
    /// The row is a text.
    Text,
    /// The row is null.
    Null,
    /// The row is a list.
    List,
    /// The row is no JSON: `body` contains a raw control character.
    RawControl,
    /// The row is no JSON: `body` contains a byte that is no UTF-8.
    BadByte,
    /// The row is no JSON: `body` contains an escape that does not exist.
    BadEscape,
    /// `body` contains the escape of half a character, which is valid JSON and no text.
    HalfCharacter,
    /// The row is no JSON: a field `score` is `NaN`.
    NotANumber,
    /// The row is no JSON: a field `score` is `01`.
    LeadingZero,
    /// The row is no JSON: a comma follows the last field.
    TrailingComma,
    /// The row is no JSON: `body` contains a quote that is not escaped.
    OpenQuote,
    /// The row is no JSON: it is cut off in the middle.
    CutOff,
}

/// The fault of the three headers of the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RateHeaders {
    /// The headers are missing.
    Missing,
    /// The headers are texts.
    Garbage,
    /// The headers have fractions.
    Fractional,
    /// The headers are all zero.
    Zero,
    /// The headers are negative.
    Negative,
    /// `X-RateLimit-Reset` is the present time in seconds of the Unix epoch.
    Epoch,
    /// The headers are larger than any counter.
    Enormous,
}

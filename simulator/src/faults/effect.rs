//! What can go wrong, as a test or a person writes it down.
//!
//! In JSON an effect is its name in camelCase, with what it needs: `"hang"`, `{"latency": "2s"}`,
//! `{"status": {"status": 503}}`.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration;
use serde::{Deserialize, Serialize};

use crate::feed::message::NewMessage;

/// What happens to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Effect {
    /// Another answer, with this status (200 to 599).
    #[serde(rename_all = "camelCase")]
    Status {
        /// The status.
        status: u16,
        /// What it says.
        #[serde(default)]
        body: ErrorBody,
    },
    /// No answer, ever; the connection stays open.
    Hang,
    /// The answer stops, and the connection ends.
    Break {
        /// Where.
        at: Place,
        /// How.
        ending: Ending,
    },
    /// Something that is not HTTP comes instead of the answer.
    NotHttp,
    /// The answer comes later, by the simulator's clock.
    #[serde(with = "unsigned_duration::friendly::compact::required")]
    Latency(Duration),

    /// The body is no JSON, although its length is as announced.
    Malformed(Malformed),
    /// The body is well-formed JSON of at least so many bytes.
    HugeBody(u64),
    /// A page has something in it of another type than documented.
    WrongType(WrongType),
    /// One row of a page is bad.
    BadRow {
        /// Which row, counted from 0; the last one if there are fewer.
        #[serde(default)]
        row: usize,
        /// In which way.
        kind: BadRow,
    },
    /// The rows of the page are in reverse order.
    ReverseRows,
    /// A page without rows: the last one, or one that says there is more.
    EmptyPage {
        /// Whether it says that there is more, and gives a cursor if it has one.
        #[serde(default)]
        more: bool,
    },
    /// The next cursor is the one that was sent.
    RepeatCursor,
    /// `hasMore` without a cursor.
    MoreWithoutCursor,
    /// The next cursor is this.
    NextCursor(String),
    /// The cursor that was sent is refused.
    RefuseCursor,

    /// The three headers of the rate limit.
    RateHeaders(RateHeaders),
    /// `Retry-After` with this value.
    RetryAfter(String),
    /// Any header: with a value, or taken away.
    Header {
        /// Its name.
        name: String,
        /// Its value; none takes it away.
        value: Option<String>,
    },

    /// Before the request is answered, these messages appear.
    Add(Vec<NewMessage>),
    /// Before the request is answered, a message appears that was received this long ago.
    #[serde(with = "unsigned_duration::friendly::compact::required")]
    LateRow(Duration),
    /// Before the request is answered, a message appears that is dated this far ahead.
    #[serde(with = "unsigned_duration::friendly::compact::required")]
    FutureRow(Duration),
    /// Before the request is answered, a message appears with the very time of the newest.
    EqualRow,
    /// Before the request is answered, these messages vanish.
    Vanish(Vec<String>),
    /// Before the request is answered, so many of the first messages of the list vanish.
    VanishNewest(usize),
    /// Before the request is answered, the first so many messages of the list change places: the first becomes the
    /// last of them, for good.
    Reorder(usize),
}

impl Effect {
    /// A status with its documented JSON.
    pub fn status(status: u16) -> Self {
        Self::Status { status, body: ErrorBody::Json }
    }

    /// A status with a page of HTML, as the CDN in front answers.
    pub fn html(status: u16) -> Self {
        Self::Status { status, body: ErrorBody::Html }
    }

    /// The connection is reset before a byte of the answer.
    pub fn reset() -> Self {
        Self::Break { at: Place::Answer(0), ending: Ending::Reset }
    }

    /// The connection is closed after so many bytes of the body.
    pub fn cut(body: u64) -> Self {
        Self::Break { at: Place::Body(body), ending: Ending::Close }
    }

    /// A bad row at the top of the page.
    pub fn bad_row(kind: BadRow) -> Self {
        Self::BadRow { row: 0, kind }
    }

    /// Whether it only means something on a page: its rule waits for one.
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

    /// Whether it only means something for a request with a cursor.
    pub(crate) fn needs_cursor(&self) -> bool {
        matches!(self, Self::RepeatCursor | Self::RefuseCursor)
    }
}

/// What an answer with another status says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorBody {
    /// The API's JSON, with the documented text where there is one.
    #[default]
    Json,
    /// A page of HTML.
    Html,
    /// Nothing.
    Empty,
}

/// Where an answer stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// After so many bytes of it, its head included.
    Answer(u64),
    /// After so many bytes of its body.
    Body(u64),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// It is closed in order.
    Close,
    /// It is reset.
    Reset,
    /// Not at all: it stays open and silent.
    Silence,
}

/// In which way a body is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Malformed {
    /// Its second half is missing.
    Half,
    /// Something follows it.
    Trailing,
    /// It holds bytes that are no UTF-8.
    NotUtf8,
    /// There is none.
    Empty,
}

/// What is of another type than documented.
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

/// In which way a row is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BadRow {
    /// It has no `id`.
    WithoutId,
    /// Its `id` is null.
    NullId,
    /// Its `id` is a number.
    NumericId,
    /// Its `id` is an empty text.
    EmptyId,
    /// It has neither time.
    WithoutTime,
    /// Its times are null.
    NullTime,
    /// Its times are a text that is no time.
    UnreadableTime,
    /// Its times are numbers.
    NumericTime,
    /// Its `body` and `from` are of other types.
    WrongFields,
    /// It is a text.
    Text,
    /// It is null.
    Null,
    /// It is a list.
    List,
    /// It is no JSON: its `body` holds a control character as it is.
    RawControl,
    /// It is no JSON: its `body` holds a byte that is no UTF-8.
    BadByte,
    /// It is no JSON: its `body` holds an escape that there is not.
    BadEscape,
    /// Its `body` holds the escape of half a character, which is JSON and no text.
    HalfCharacter,
    /// It is no JSON: it has a field `score` that is `NaN`.
    NotANumber,
    /// It is no JSON: it has a field `score` that is `01`.
    LeadingZero,
    /// It is no JSON: a comma follows its last field.
    TrailingComma,
    /// It is no JSON: its `body` holds a quote that is not escaped.
    OpenQuote,
    /// It is no JSON: it is cut off in the middle.
    CutOff,
}

/// What becomes of the three headers of the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RateHeaders {
    /// They are not there.
    Missing,
    /// They are texts.
    Garbage,
    /// They have fractions.
    Fractional,
    /// They are all zero.
    Zero,
    /// They are negative.
    Negative,
    /// `X-RateLimit-Reset` is the time of day in seconds of the epoch.
    Epoch,
    /// They are larger than any counter.
    Enormous,
}

//! Writes rows and times as the API does.

use jiff::Timestamp;
use serde::Serialize;

/// The text of one row, indented as deep as it stands in its page, because indentation is part of the bytes.
pub(crate) fn row_text(row: &impl Serialize, pretty: bool) -> String {
    let text = if pretty { serde_json::to_string_pretty(row) } else { serde_json::to_string(row) };
    // Keys are strings, so nothing here fails to serialize; an empty row would be seen at once.
    let text = text.unwrap_or_default();
    if pretty { text.replace('\n', "\n    ") } else { text }
}

/// A time as the API writes it: `2025-06-15T12:00:00.000Z`.
pub(crate) fn time_text(ms: i64) -> String {
    format!("{:.3}", time(ms))
}

/// A time from milliseconds of a [`Timestamp`], which always fit.
pub(crate) fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

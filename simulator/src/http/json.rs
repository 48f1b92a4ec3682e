//! Writes rows and times as the API writes them.

use jiff::Timestamp;
use serde::Serialize;

/// Returns the text of one row. The row is indented as deep as it stands in its page, because the indentation is part
/// of the bytes.
pub(crate) fn row_text(row: &impl Serialize, pretty: bool) -> String {
    let text = if pretty { serde_json::to_string_pretty(row) } else { serde_json::to_string(row) };
    // Keys are strings, so no row can fail to serialize. An empty row would be noticed at once.
    let text = text.unwrap_or_default();
    if pretty { text.replace('\n', "\n    ") } else { text }
}

/// Writes a time as the API does: `2025-06-15T12:00:00.000Z`.
pub(crate) fn time_text(ms: i64) -> String {
    format!("{:.3}", time(ms))
}

/// Turns milliseconds back into a time. The milliseconds come from a [`Timestamp`], so they are always in its range.
pub(crate) fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

//! How the API writes rows and times.

use jiff::Timestamp;
use serde::Serialize;

/// One row's text; indented as deep as it stands in its page, for indentation is part of the bytes.
pub(crate) fn row_text(row: &impl Serialize, pretty: bool) -> String {
    let text = if pretty { serde_json::to_string_pretty(row) } else { serde_json::to_string(row) };
    // Keys are strings and nothing here fails to serialize; an empty row would be seen at once.
    let text = text.unwrap_or_default();
    if pretty { text.replace('\n', "\n    ") } else { text }
}

/// `2025-06-15T12:00:00.000Z`, as the API writes every time.
pub(crate) fn time_text(ms: i64) -> String {
    format!("{:.3}", time(ms))
}

/// Milliseconds that came from a [`Timestamp`] always fit into one.
pub(crate) fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

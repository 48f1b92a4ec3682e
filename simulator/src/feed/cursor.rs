//! Cursors: places in the order of the list, written as the API writes them.
//!
//! Invariant: a cursor names a row, and the page of the cursor begins with the row that follows in the list. The text
//! of the cursor alone says which row it is. The simulator remembers the cursors that it gave out only if cursors have
//! a lifetime.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::http::json::time_text;
use crate::switches::{CursorText, Switches};

/// The last row before the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) ms: i64,
    pub(crate) id: String,
}

impl Cursor {
    pub(crate) fn text(&self, style: CursorText) -> String {
        let documented = STANDARD.encode(format!("{}|{}", time_text(self.ms), self.id));
        match style {
            CursorText::Documented => documented,
            CursorText::Awkward => format!("{AWKWARD_START}{documented}{AWKWARD_END}"),
        }
    }

    pub(crate) fn parse(text: &str, style: CursorText) -> Option<Self> {
        let text = match style {
            CursorText::Documented => text,
            CursorText::Awkward => text.strip_prefix(AWKWARD_START)?.strip_suffix(AWKWARD_END)?,
        };
        let decoded = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let (time, id) = decoded.split_once('|')?;
        let time: Timestamp = time.parse().ok()?;
        Some(Self { ms: time.as_millisecond(), id: id.to_owned() })
    }
}

/// The beginning of an awkward cursor. These characters change, or cut the text off, in a query that is not
/// percent-encoded.
const AWKWARD_START: &str = "+/ %41#";
const AWKWARD_END: &str = "&cursor=?;é";

/// The times at which cursors were given out, if cursors have a lifetime.
#[derive(Debug, Default)]
pub(crate) struct Issued {
    times: HashMap<String, Duration>,
}

impl Issued {
    pub(crate) fn remember(&mut self, cursor: &str, now: Duration, switches: &Switches) {
        if switches.cursor_lifetime.is_some() {
            self.times.insert(cursor.to_owned(), now);
        }
    }

    /// Whether a cursor has outlived its lifetime, if a lifetime is set. A cursor from before the lifetime was set
    /// counts as expired.
    pub(crate) fn expired(&self, cursor: &str, now: Duration, switches: &Switches) -> bool {
        switches
            .cursor_lifetime
            .is_some_and(|lifetime| self.times.get(cursor).is_none_or(|&issued| now.saturating_sub(issued) >= lifetime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_example_is_reproduced() {
        let time: Timestamp = "2025-06-15T12:00:00Z".parse().unwrap();
        let cursor = Cursor { ms: time.as_millisecond(), id: "abcd1234".to_owned() };
        let text = cursor.text(CursorText::Documented);
        assert_eq!(text, "MjAyNS0wNi0xNVQxMjowMDowMC4wMDBafGFiY2QxMjM0");
        assert_eq!(Cursor::parse(&text, CursorText::Documented), Some(cursor.clone()));
        assert_eq!(Cursor::parse(&text, CursorText::Awkward), None);
        let awkward = cursor.text(CursorText::Awkward);
        assert_eq!(Cursor::parse(&awkward, CursorText::Awkward), Some(cursor));
    }
}

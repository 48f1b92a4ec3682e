//! Reads dates as HTTP writes them.

use jiff::fmt::rfc2822::DateTimeParser;

use crate::domain::UnixMs;

/// The parser of dates. It ignores the weekday, because some servers get the weekday wrong.
static PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`. The two other forms of dates in HTTP, which were obsolete already in 1999,
/// are not understood.
pub fn parse(text: &str) -> Option<UnixMs> {
    PARSER.parse_timestamp(text.trim()).ok().map(|instant| UnixMs(instant.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_write() {
        let expected = UnixMs::parse("1994-11-06T08:49:37Z");
        assert!(expected.is_some());
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", " Sun, 06 Nov 1994 08:49:37 GMT ", "Mon, 06 Nov 1994 08:49:37 +0000"]
        {
            assert_eq!(parse(text), expected, "{text}");
        }
        for text in ["", "soon", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

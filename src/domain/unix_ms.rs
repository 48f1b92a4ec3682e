//! Instants as the feed gives them: whole milliseconds since the Unix epoch.

use std::fmt;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in milliseconds since 1970-01-01T00:00:00Z.
///
/// The feed's times have millisecond precision. Finer times are rounded down. The only effect is that two rows may get
/// the same time, which the rules of coverage allow. Arithmetic saturates, so [`UnixMs::MIN`] and [`UnixMs::MAX`] serve
/// as "no bound".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// The earliest instant, before every row.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest instant, after every row.
    pub const MAX: Self = Self(i64::MAX);

    /// Reads an RFC 3339 (ISO 8601) instant such as `2026-06-15T12:00:00.000Z`; an offset is required.
    ///
    /// Returns `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|instant| Self(instant.as_millisecond()))
    }

    /// The instant `span` later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(whole_ms(span)))
    }

    /// The instant `span` earlier; [`UnixMs::MIN`] stays where it is.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(whole_ms(span)))
    }

    /// How much later `self` is than `earlier`; zero if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Whole milliseconds, as [`UnixMs`] counts them; saturates.
pub fn whole_ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Shows RFC 3339 with milliseconds; the two bounds and instants beyond the year 9999 are shown as words.
impl fmt::Display for UnixMs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(out, "{instant:.3}"),
            Err(_) if self.0 < 0 => out.write_str("the beginning"),
            Err(_) => out.write_str("the end of time"),
        }
    }
}

/// Serializes the instant as the displayed text.
impl Serialize for UnixMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads the text to which [`UnixMs`] serializes.
impl<'de> Deserialize<'de> for UnixMs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bounds = [Self::MIN, Self::MAX];
        let read = Self::parse(&text).or_else(|| bounds.into_iter().find(|bound| bound.to_string() == text));
        read.ok_or_else(|| D::Error::custom("not an instant"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_api_writes() {
        assert_eq!(UnixMs::parse("1970-01-01T00:00:01.234Z"), Some(UnixMs(1234)));
        assert_eq!(UnixMs::parse("1970-01-01T01:00:01.2349+01:00"), Some(UnixMs(1234)));
        for wrong in ["", "yesterday", "1970-01-01", "1970-01-01T00:00:01", "1750000000"] {
            assert_eq!(UnixMs::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shows_what_it_reads() {
        assert_eq!(UnixMs(1234).to_string(), "1970-01-01T00:00:01.234Z");
        assert_eq!(UnixMs::MIN.to_string(), "the beginning");
    }

    #[test]
    fn is_text_in_json_and_read_back() {
        for (instant, json) in [(UnixMs(1234), "\"1970-01-01T00:00:01.234Z\""), (UnixMs::MIN, "\"the beginning\"")] {
            assert_eq!(serde_json::to_string(&instant).unwrap(), json);
            assert_eq!(serde_json::from_str::<UnixMs>(json).unwrap(), instant);
        }
        assert!(serde_json::from_str::<UnixMs>("\"soon\"").is_err());
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(UnixMs::MIN.before(Duration::from_secs(1)), UnixMs::MIN);
        assert_eq!(UnixMs::MAX.after(Duration::MAX), UnixMs::MAX);
        assert_eq!(UnixMs(5).since(UnixMs(9)), Duration::ZERO);
        assert_eq!(UnixMs(9).since(UnixMs(5)), Duration::from_millis(4));
    }
}

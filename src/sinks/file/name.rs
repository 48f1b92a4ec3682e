//! Makes the name of a file from a pattern of strftime and an instant. Pure.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::domain::UnixMs;

/// The path of a file. Conversions of strftime in it stand for parts of the time in UTC; `%Y`, for example, stands for
/// the year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamePattern(String);

impl NamePattern {
    /// Takes the path as a pattern.
    ///
    /// # Errors
    /// The reason in words: a conversion does not exist, or the path is not UTF-8.
    pub(super) fn new(path: &Path) -> Result<Self, String> {
        let pattern = Self(path.to_str().ok_or("is not UTF-8")?.to_owned());
        match pattern.format(Timestamp::UNIX_EPOCH) {
            Ok(_) => Ok(pattern),
            Err(error) => Err(format!("holds a `%` that begins no date: {error}")),
        }
    }

    /// Returns the path at this instant.
    pub(super) fn at(&self, now: UnixMs) -> PathBuf {
        let now = Timestamp::from_millisecond(now.0).unwrap_or_default();
        // A pattern that was valid for one instant is valid for every instant.
        self.format(now).unwrap_or_else(|_| self.0.clone()).into()
    }

    fn format(&self, now: Timestamp) -> Result<String, jiff::Error> {
        strtime::format(&self.0, &now.to_zoned_datetime(TimeZone::UTC))
    }
}

/// The pattern as it was written.
impl fmt::Display for NamePattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_utc() {
        let last = UnixMs::parse("2026-11-28T23:59:59.999Z").unwrap();
        let next = UnixMs::parse("2026-11-29T00:00:00+00:00").unwrap();
        for (pattern, before, after) in [
            ("/v/sms.jsonl", "/v/sms.jsonl", "/v/sms.jsonl"),
            ("/v/%Y-%m-%d.jsonl", "/v/2026-11-28.jsonl", "/v/2026-11-29.jsonl"),
            ("/v/%Y/%m/%d/%H", "/v/2026/11/28/23", "/v/2026/11/29/00"),
            ("/v/%F", "/v/2026-11-28", "/v/2026-11-29"),
            ("/v/100%%", "/v/100%", "/v/100%"),
            ("/v/ä-%j", "/v/ä-332", "/v/ä-333"),
        ] {
            let name = NamePattern::new(Path::new(pattern)).unwrap();
            assert_eq!((name.at(last), name.at(next)), (before.into(), after.into()), "{pattern}");
            assert_eq!(name.to_string(), pattern);
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["/v/%", "/v/%!", "/v/%E.jsonl"] {
            let wrong = NamePattern::new(Path::new(pattern)).unwrap_err();
            assert!(wrong.starts_with("holds a `%` that begins no date: "), "{pattern}: {wrong}");
        }
    }
}

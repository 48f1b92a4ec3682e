//! The name of a sink.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// The name of a sink, 1 to 64 characters of `a`-`z`, `0`-`9`, `_` and `-`.
///
/// The relay finds the records of a sink by this name. So a name is used exactly as it was written: letters are not
/// changed, and spaces are not removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SinkName(String);

/// A text that cannot be the name of a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a sink has 1 to 64 characters of a-z, 0-9, `_` and `-`")]
pub struct InvalidSinkName;

impl SinkName {
    /// The longest name, in characters.
    pub const MAX_LENGTH: usize = 64;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SinkName {
    type Err = InvalidSinkName;

    fn from_str(text: &str) -> Result<Self, InvalidSinkName> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if (1..=Self::MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSinkName)
        }
    }
}

impl fmt::Display for SinkName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl AsRef<str> for SinkName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for SinkName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_names_are_accepted() {
        for name in ["a", "crm", "crm-2", "_", "-", "0", &"x".repeat(64)] {
            assert_eq!(name.parse::<SinkName>().map(|parsed| parsed.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn all_other_names_are_refused() {
        for name in ["", "CRM", "a b", "a.b", "ä", "a/b", "a\n", &"x".repeat(65)] {
            assert_eq!(name.parse::<SinkName>(), Err(InvalidSinkName), "{name:?}");
        }
    }
}

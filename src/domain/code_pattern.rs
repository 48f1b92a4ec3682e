//! The operator's pattern for one-time codes. Pure.

use regex::{Captures, Regex, RegexBuilder};

/// The largest size of a compiled pattern in bytes.
const PATTERN_BYTES: usize = 1 << 20;

/// Why a pattern cannot be used. The text completes a sentence that begins with the name of the pattern:
/// "`codes.pattern` is not a regular expression".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCodePattern {
    /// The pattern does not compile. The text says why, in one line.
    #[error("is not a regular expression: {0}")]
    Syntax(String),
    /// The pattern matches a text without any character, so it would match every message and find no code.
    #[error("matches an empty text, so it finds no code: a code needs at least one character, as in \\d+")]
    MatchesNothing,
}

/// A regular expression that finds the code in the text of a message.
#[derive(Clone, Debug)]
pub struct CodePattern(Regex);

impl CodePattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`InvalidCodePattern`] says in one line what is wrong with the pattern.
    pub fn new(pattern: &str) -> Result<Self, InvalidCodePattern> {
        let built = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
        // The text of a syntax error shows the pattern in several lines; the last line of the text says what is wrong.
        let pattern = built.map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            InvalidCodePattern::Syntax(last.trim_start_matches("error: ").to_owned())
        })?;
        if pattern.is_match("") { Err(InvalidCodePattern::MatchesNothing) } else { Ok(Self(pattern)) }
    }

    /// Returns the first code in a text; `None` if there is no code.
    pub fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.find_all(text).next()
    }

    /// Returns all codes in a text. The code of a match is the first group of the expression, or the whole match if
    /// there is no group. A match with an empty code does not count.
    pub fn find_all<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        self.0.captures_iter(text).filter_map(|found| code_of(&found))
    }
}

fn code_of<'t>(found: &Captures<'t>) -> Option<&'t str> {
    let code = found.get(1).or_else(|| found.get(0))?.as_str();
    Some(code).filter(|code| !code.is_empty())
}

/// Two patterns are equal if they are written alike.
impl PartialEq for CodePattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_code_is_the_first_group_or_the_match() {
        for (pattern, text, expected) in [
            (r"code (\d+)", "your code 12", Some("12")),
            (r"\d{3}-\d{3}", "it is 123-456", Some("123-456")),
            (r"code (\d*)", "your code is", None),
            (r"code (\d*)", "your code is: code 12, code 34", Some("12")),
            (r"\d+", "none", None),
        ] {
            assert_eq!(CodePattern::new(pattern).unwrap().find(text), expected, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_matches_an_empty_text_is_refused() {
        for pattern in ["", "()", r"\d*", r"(\d*)", "(?:code)?", "a|", "^", r"(?i)(\d{4,8})?"] {
            assert_eq!(CodePattern::new(pattern).unwrap_err(), InvalidCodePattern::MatchesNothing, "{pattern}");
        }
        assert!(CodePattern::new(r"code (\d*)").is_ok());
    }

    proptest! {
        #[test]
        fn the_code_is_the_first_of_all_codes(
            pattern in prop::sample::select(vec![r"code (\d*)", r"c(\d)?", r"\d+", r"(\d{2})|c", r"o(d*)(\d)"]),
            text in "(code |[cod0-9 ]){0,12}",
        ) {
            let pattern = CodePattern::new(pattern).unwrap();
            prop_assert_eq!(pattern.find(&text), pattern.find_all(&text).next());
        }
    }
}

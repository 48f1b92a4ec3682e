//! Patterns, compiled: globs for short texts, regular expressions for the body.

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex::{RegexSet, RegexSetBuilder};

/// A compiled expression takes at most so many bytes; a larger one is refused when it is read.
const REGEX_BYTES: usize = 1 << 20;

/// A pattern that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(String);

/// Shell patterns, without regard to case: `*` is any text, `?` one character, `[0-9]` one of these, `{a,b}` either.
#[derive(Clone)]
pub struct Globs(GlobSet);

/// Regular expressions in the syntax of the `regex` crate: no back-references, and so always in linear time.
#[derive(Clone)]
pub struct Regexes(RegexSet);

impl Globs {
    /// Compiles one pattern, to see whether it is one.
    ///
    /// # Errors
    /// [`InvalidPattern`] says what is wrong.
    pub fn check(pattern: &str) -> Result<(), InvalidPattern> {
        glob(pattern).map(drop)
    }

    /// Compiles patterns of which any may match.
    ///
    /// # Errors
    /// [`InvalidPattern`] says what is wrong with the first that is none.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidPattern> {
        let mut builder = GlobSetBuilder::new();
        for pattern in patterns {
            builder.add(glob(pattern)?);
        }
        builder.build().map(Self).map_err(|error| InvalidPattern(error.kind().to_string()))
    }

    pub(super) fn match_any(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

fn glob(pattern: &str) -> Result<globset::Glob, InvalidPattern> {
    let built =
        GlobBuilder::new(pattern).case_insensitive(true).literal_separator(false).backslash_escape(true).build();
    built.map_err(|error| InvalidPattern(error.kind().to_string()))
}

impl Regexes {
    /// Compiles one expression, to see whether it is one.
    ///
    /// # Errors
    /// As for [`Regexes::new`].
    pub fn check(pattern: &str) -> Result<(), InvalidPattern> {
        Self::new([pattern]).map(drop)
    }

    /// Compiles expressions of which any may match.
    ///
    /// # Errors
    /// [`InvalidPattern`] says what is wrong with the first that is none, or that they are too large.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidPattern> {
        let built = RegexSetBuilder::new(patterns).size_limit(REGEX_BYTES).build();
        built.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => {
                InvalidPattern(format!("it would take more than {limit} bytes when compiled"))
            }
            // The last line says what is wrong; those above draw the pattern, which may come from a secret.
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                InvalidPattern(last.strip_prefix("error: ").unwrap_or(last).to_owned())
            }
        })
    }

    pub(super) fn match_any(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl fmt::Debug for Globs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Globs({})", self.0.len())
    }
}

impl fmt::Debug for Regexes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Regexes({})", self.0.len())
    }
}

//! Patterns, compiled: globs for short texts, regular expressions for the body.
//!
//! Texts are compared as people read them, because a message that a filter wrongly leaves out is lost. "Without regard
//! to case" means Unicode's simple case folding: `MÜLLER` equals `Müller`, `ПРОВЕРКА` equals `проверка`, and `Σ` equals
//! both of its small letters. Beyond that, `ß` equals `ss`, and the Turkish `ı` and `İ` equal `i`, because the capital of
//! `ı` is `I` and the small form of `İ` is `i`. A letter with an accent is one character, whether it came as one character
//! or as a letter and an accent (NFC).

use std::borrow::Cow;
use std::fmt;

use globset::GlobBuilder;
use icu_normalizer::ComposingNormalizerBorrowed;
use regex::{RegexSet, RegexSetBuilder};

/// The largest size of a compiled expression in bytes. A larger one is refused when the configuration is read.
const REGEX_BYTES: usize = 1 << 20;

/// The largest size of all compiled globs of one key together, in bytes. Letters beyond ASCII make globs large.
const GLOB_BYTES: usize = 64 << 20;

/// A pattern that does not compile. Displays the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(String);

/// Shell patterns, without regard to case: `*` is any text, `?` one character, `[0-9]` one of these, `{a,b}` either.
#[derive(Clone)]
pub struct Globs(RegexSet);

/// Regular expressions in the syntax of the `regex` crate. It has no back-references, so matching takes linear time.
#[derive(Clone)]
pub struct Regexes(RegexSet);

impl Globs {
    /// Compiles one pattern, to see whether it is valid.
    ///
    /// # Errors
    /// [`InvalidPattern`] says what is wrong.
    pub fn check(pattern: &str) -> Result<(), InvalidPattern> {
        Self::new([pattern]).map(drop)
    }

    /// Compiles patterns of which any may match.
    ///
    /// # Errors
    /// [`InvalidPattern`] says what is wrong with the first invalid pattern.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidPattern> {
        let mut expressions = Vec::new();
        for pattern in patterns {
            GlobBuilder::new(pattern).build().map_err(|error| InvalidPattern(error.kind().to_string()))?;
            let pattern = letters(pattern);
            expressions.push(expression(&pattern));
            if let Some(pattern) = with_double_s(&pattern) {
                expressions.push(expression(&pattern));
            }
        }
        let built = RegexSetBuilder::new(expressions).case_insensitive(true).size_limit(GLOB_BYTES).build();
        built.map(Self).map_err(|error| invalid(&error))
    }

    pub(super) fn match_any(&self, text: &str) -> bool {
        let text = letters(text);
        self.0.is_match(&text) || with_double_s(&text).is_some_and(|text| self.0.is_match(&text))
    }
}

/// The text with each letter written in one way, so that equal letters have equal characters.
fn letters(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let composed = composed(text);
    if composed.contains(['ı', 'İ', '\u{307}']) {
        // The small form of `İ` is an `i` with a combining dot above.
        Cow::Owned(composed.replace(['ı', 'İ'], "i").replace("i\u{307}", "i"))
    } else {
        composed
    }
}

/// Joins letters and their accents into one character each, where there is such a character.
fn composed(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

fn with_double_s(text: &str) -> Option<String> {
    text.contains(['ß', 'ẞ']).then(|| text.replace(['ß', 'ẞ'], "ss"))
}

/// The regular expression for a valid glob.
fn expression(glob: &str) -> String {
    let literal = |next: char| regex::escape(next.encode_utf8(&mut [0; 4]));
    let mut expression = String::from(r"(?s)\A(?:");
    let mut depth = 0_usize;
    let mut rest = glob.chars();
    while let Some(next) = rest.next() {
        match next {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '\\' => expression.push_str(&rest.next().map(literal).unwrap_or_default()),
            '{' => {
                depth += 1;
                expression.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth -= 1;
                expression.push(')');
            }
            ',' if depth > 0 => expression.push('|'),
            '[' => rest = class(rest, &mut expression),
            other => expression.push_str(&literal(other)),
        }
    }
    expression.push_str(r")\z");
    expression
}

/// Translates a class of characters, from behind its opening bracket; returns the rest of the glob.
fn class<'a>(mut rest: std::str::Chars<'a>, expression: &mut String) -> std::str::Chars<'a> {
    expression.push('[');
    if let Some(after) = rest.as_str().strip_prefix(['!', '^']) {
        expression.push('^');
        rest = after.chars();
    }
    let mut first = true;
    while let Some(next) = rest.next() {
        // A name such as `[:digit:]` is the same in both languages.
        let name = rest.as_str().strip_prefix(':').and_then(|after| after.split_once(":]"));
        match (next, name) {
            (']', _) if !first => break,
            ('[', Some((name, after))) if is_name_of_class(name) => {
                expression.push_str(&format!("[:{name}:]"));
                rest = after.chars();
            }
            ('-', _) if !first && !rest.as_str().starts_with(']') => expression.push('-'),
            _ => expression.push_str(&regex::escape(next.encode_utf8(&mut [0; 4]))),
        }
        first = false;
    }
    expression.push(']');
    rest
}

fn is_name_of_class(name: &str) -> bool {
    const NAMES: [&str; 12] =
        ["alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit"];
    NAMES.contains(&name)
}

fn invalid(error: &regex::Error) -> InvalidPattern {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            InvalidPattern(format!("it would take more than {limit} bytes when compiled"))
        }
        // The last line says what is wrong; the lines above quote the pattern, which may come from a secret.
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            InvalidPattern(last.strip_prefix("error: ").unwrap_or(last).to_owned())
        }
    }
}

impl Regexes {
    /// Compiles one expression, to see whether it is valid.
    ///
    /// # Errors
    /// As for [`Regexes::new`].
    pub fn check(pattern: &str) -> Result<(), InvalidPattern> {
        Self::new([pattern]).map(drop)
    }

    /// Compiles expressions of which any may match.
    ///
    /// # Errors
    /// [`InvalidPattern`] says what is wrong with the first invalid expression, or that the expressions are too large.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidPattern> {
        let built = RegexSetBuilder::new(patterns.into_iter().map(composed)).size_limit(REGEX_BYTES).build();
        built.map(Self).map_err(|error| invalid(&error))
    }

    pub(super) fn match_any(&self, text: &str) -> bool {
        self.0.is_match(&composed(text))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Globs::new([pattern]).unwrap().match_any(text)
    }

    #[test]
    fn case_is_that_of_every_alphabet() {
        for (pattern, text) in [
            ("Müller", "MÜLLER"),
            ("MÜLLER", "müller"),
            ("Mu\u{308}ller", "MÜLLER"),
            ("müller", "MU\u{308}LLER"),
            ("É*", "école"),
            ("école", "E\u{301}COLE"),
            ("проверка", "ПРОВЕРКА"),
            ("ΟΔΟΣ", "οδος"),
            ("οδος", "ΟΔΟΣ"),
            ("οδοσ", "οδος"),
            ("straße", "STRASSE"),
            ("STRASSE", "straße"),
            ("STRAẞE", "straße"),
            ("stra?e", "STRAẞE"),
            ("istanbul", "İSTANBUL"),
            ("İstanbul", "ISTANBUL"),
            ("ISPARTA", "ısparta"),
            ("ısparta", "Isparta"),
            ("i\u{307}zmir", "İZMİR"),
            ("M?ller", "MÜLLER"),
            ("M[üo]ller", "MÜLLER"),
            ("M[à-ü]ller", "MÜLLER"),
            ("{müller,maier}", "MAIER"),
            ("*ÖÄ*", "xöäx"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("Muller", "Müller"), ("M[!ü]ller", "MÜLLER"), ("M?ller", "Mueller"), ("ecole", "école"), ("ß", "s")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_regular_expression_sees_letters_with_accents_as_one() {
        let matches = |pattern: &str, text: &str| Regexes::new([pattern]).unwrap().match_any(text);
        assert!(matches("(?i)é+$", "CAFE\u{301}"));
        assert!(matches("^caf.$", "cafe\u{301}"));
        assert!(matches("cafe\u{301}", "café"));
        assert!(!matches("é", "É"), "bodies keep their case");
    }

    proptest! {
        /// For ASCII texts, a pattern matches the same texts as in other programs.
        #[test]
        fn ascii_is_as_everywhere(pattern in r"[a-cA-C*?,.+{}\[\]!^\\:-]{0,8}", text in r"[a-dA-D,.+{}\[\]!^:-]{0,6}") {
            prop_assume!(!pattern.contains("**"));
            let built = GlobBuilder::new(&pattern).case_insensitive(true).build();
            let ours = Globs::new([pattern.as_str()]);
            if let Ok(glob) = built {
                prop_assert_eq!(ours.unwrap().match_any(&text), glob.compile_matcher().is_match(&text));
            } else {
                prop_assert!(ours.is_err());
            }
        }
    }
}

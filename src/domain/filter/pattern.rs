//! Patterns, compiled: globs for short texts, regular expressions for the body.
//!
//! Texts are compared as people read them, because a message that a filter wrongly leaves out is lost. "Without regard
//! to case" means Unicode's full case folding: `MÜLLER` equals `Müller`, `ПРОВЕРКА` equals `проверка`, `Σ` equals both
//! of its small letters, `ß` equals `ss`, and the ligature `ﬁ` equals `fi`. Besides, the Turkish `ı` and `İ` equal `i`,
//! because the capital of `ı` is `I` and the small form of `İ` is `i`. A letter with an accent is one character,
//! whether it came as one character or as a letter and an accent (NFC).
//!
//! A character that folds to several characters, as `ß` folds to `ss`, still counts as one: `?` and `[ß]` match it. In
//! the folded text, which has `ss` instead, `?` would not match. So each pattern is compared twice: with the text as it
//! came, and with the folded text.
//!
//! Some letters cannot be joined with their accents into one character, for example a letter with two accents. Such a
//! letter counts as one character, too. So each pattern is also compared with a text in which the letter and its
//! accents are replaced by one character.

use std::borrow::Cow;
use std::fmt;
use std::str::Chars;
use std::sync::LazyLock;

use globset::GlobBuilder;
use icu_normalizer::ComposingNormalizerBorrowed;
use regex::{Captures, Regex, RegexSet, RegexSetBuilder};

/// The largest size of a compiled expression in bytes. A larger one is refused when the configuration is read.
const REGEX_BYTES: usize = 1 << 20;

/// The largest size of all compiled globs of one key together, in bytes. Letters beyond ASCII make globs large.
const GLOB_BYTES: usize = 64 << 20;

/// A pattern that does not compile. Displays the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(String);

/// Shell patterns, without regard to case: `*` matches any text, `?` one character, `[0-9]` one of these characters,
/// `{a,b}` either alternative. As in shells, an alternative may be empty: `{,+}1*` matches `1650` and `+1650`.
#[derive(Clone)]
pub struct Globs {
    expressions: RegexSet,
    /// For each expression: whether it is compared with folded texts, too (`Expression::excludes_several`).
    takes_folded: Vec<bool>,
}

/// Regular expressions in the syntax of the `regex` crate. This syntax has no back-references, so matching takes linear
/// time.
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

    /// Compiles patterns. A text matches if it matches one of the patterns.
    ///
    /// # Errors
    /// [`InvalidPattern`] says what is wrong with the first invalid pattern.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidPattern> {
        let (mut expressions, mut takes_folded) = (Vec::new(), Vec::new());
        for pattern in patterns {
            GlobBuilder::new(pattern).build().map_err(|error| InvalidPattern(error.kind().to_string()))?;
            let pattern = letters(pattern);
            let pattern = with_stand_ins(&pattern).map_or(pattern, Cow::Owned);
            let Expression { text, excludes_several, .. } = Expression::of(&pattern);
            expressions.push(text);
            takes_folded.push(!excludes_several);
        }
        let built = RegexSetBuilder::new(expressions).case_insensitive(true).size_limit(GLOB_BYTES).build();
        built.map(|expressions| Self { expressions, takes_folded }).map_err(|error| invalid(&error))
    }

    pub(super) fn match_any(&self, text: &str) -> bool {
        let text = letters(text);
        self.match_letters(&text) || with_stand_ins(&text).is_some_and(|text| self.match_letters(&text))
    }

    fn match_letters(&self, text: &str) -> bool {
        if self.expressions.is_match(text) {
            return true;
        }
        let is_match = |folded: String| self.expressions.matches(&folded).iter().any(|place| self.takes_folded[place]);
        !text.is_ascii() && is_match(folded(text))
    }
}

/// Returns the text in a form in which each letter is written in only one way.
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

/// Joins each letter and its accents into one character, if Unicode has such a character.
fn composed(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

/// Returns the text in a form that is the same for capital and small letters, by Unicode's full case folding: `ß`
/// becomes `ss`, and `ﬁ` becomes `fi`.
fn folded(text: &str) -> String {
    composed(&text.chars().flat_map(fold).collect::<String>()).into_owned()
}

/// Finds letters and digits that are followed by marks, such as accents. (Marks that can be joined with their letter
/// into one character were joined before.)
static MARKED: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[\p{L}\p{N}]\p{M}+").ok());

/// Replaces each letter and its marks by one character. The capital letter and the small letter get the same character.
/// `None` if the text has no letter with marks.
fn with_stand_ins(text: &str) -> Option<String> {
    let marked = MARKED.as_ref().filter(|_| !text.is_ascii())?;
    match marked.replace_all(text, |found: &Captures<'_>| stand_in(&found[0]).to_string()) {
        Cow::Borrowed(_) => None,
        Cow::Owned(replaced) => Some(replaced),
    }
}

/// Returns the character that replaces a letter and its marks. If they fold to one character, it is this character.
/// Otherwise a hash chooses one of 65,534 characters of private use, so two different letters rarely get the same one.
fn stand_in(letter: &str) -> char {
    const FIRST: u32 = 0xf_0000;
    const COUNT: u32 = 0xfffe;
    let folded = folded(letter);
    let mut characters = folded.chars();
    if let (Some(single), None) = (characters.next(), characters.next()) {
        return single;
    }
    // FNV-1a
    let hash = folded.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    char::from_u32(FIRST + hash % COUNT).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The full case folding of a character; the result may be several characters. The character is made small, then
/// capital, then small again. For example, the small letter of `ẞ` is `ß`, whose capital is `SS`, whose small letters
/// are `ss`.
fn fold(letter: char) -> impl Iterator<Item = char> {
    letter.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// Every character that folds to several characters, each with its folded text.
static SEVERAL: LazyLock<Vec<(char, String)>> = LazyLock::new(|| {
    let folds = ('\u{80}'..='\u{ffff}').map(|letter| (letter, folded(letter.encode_utf8(&mut [0; 4]))));
    folds.filter(|(_, folded)| folded.chars().nth(1).is_some()).collect()
});

/// The regular expression of a glob.
#[derive(Default)]
struct Expression {
    text: String,
    /// Literal characters that are not part of `text` yet.
    literal: String,
    /// True if a class excludes a character that folds to several characters (`[!ß]`). Then the pattern is not compared
    /// with folded texts: there `ß` is `ss`, and the class would match the `s`.
    excludes_several: bool,
}

impl Expression {
    /// The expression of `glob`, which must be valid.
    fn of(glob: &str) -> Self {
        let mut expression = Self { text: String::from(r"(?s)\A(?:"), ..Self::default() };
        let mut depth = 0_usize;
        let mut rest = glob.chars();
        while let Some(next) = rest.next() {
            match next {
                '*' => expression.push(".*"),
                '?' => expression.push("."),
                '\\' => expression.literal.extend(rest.next()),
                '{' => {
                    depth += 1;
                    expression.push("(?:");
                }
                '}' if depth > 0 => {
                    depth -= 1;
                    expression.push(")");
                }
                ',' if depth > 0 => expression.push("|"),
                '[' => rest = expression.class(rest),
                other => expression.literal.push(other),
            }
        }
        expression.push(r")\z");
        expression
    }

    /// Adds the literal characters that were collected, and then `part`, which is regular expression already.
    fn push(&mut self, part: &str) {
        let literal = std::mem::take(&mut self.literal);
        let folded = if literal.is_ascii() { literal.clone() } else { folded(&literal) };
        match folded == literal || folded == literal.to_lowercase() {
            true => self.text += &regex::escape(&literal),
            false => self.text += &format!("(?:{}|{})", regex::escape(&literal), regex::escape(&folded)),
        }
        self.text += part;
    }

    /// Translates a class of characters. `rest` begins after the opening bracket. Returns the rest of the glob.
    fn class<'a>(&mut self, mut rest: Chars<'a>) -> Chars<'a> {
        let mut class = String::new();
        // The first and the last character of each range; a single character is a range of one. They show whether the
        // class has characters that fold to several characters.
        let mut ranges: Vec<(char, char)> = Vec::new();
        let mut is_range = false;
        let is_negated = rest.as_str().starts_with(['!', '^']);
        if is_negated {
            rest.next();
        }
        while let Some(next) = rest.next() {
            // A name such as `[:digit:]` is the same in globs and in regular expressions.
            let name = rest.as_str().strip_prefix(':').and_then(|after| after.split_once(":]"));
            match (next, name) {
                (']', _) if !class.is_empty() => break,
                ('[', Some((name, after))) if is_name_of_class(name) => {
                    class.push_str(&format!("[:{name}:]"));
                    rest = after.chars();
                }
                ('-', _) if !class.is_empty() && !rest.as_str().starts_with(']') => {
                    class.push('-');
                    is_range = true;
                }
                _ => {
                    class.push_str(&regex::escape(next.encode_utf8(&mut [0; 4])));
                    match ranges.last_mut().filter(|_| is_range) {
                        Some((_, last)) => *last = next,
                        None => ranges.push((next, next)),
                    }
                    is_range = false;
                }
            }
        }
        let is_in = |letter: char| ranges.iter().any(|(first, last)| (*first..=*last).contains(&letter));
        let several: Vec<&str> = match ranges.iter().all(|(_, last)| last.is_ascii()) {
            true => Vec::new(),
            false => SEVERAL.iter().filter(|(letter, _)| is_in(*letter)).map(|(_, folded)| folded.as_str()).collect(),
        };
        if is_negated {
            self.excludes_several |= !several.is_empty();
            self.push(&format!("[^{class}]"));
        } else if several.is_empty() {
            self.push(&format!("[{class}]"));
        } else {
            let several: Vec<String> = several.into_iter().map(regex::escape).collect();
            self.push(&format!("(?:[{class}]|{})", several.join("|")));
        }
        rest
    }
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
        // The last line names the mistake. The lines above quote the pattern, which may come from a secret.
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

    /// Compiles expressions. A text matches if it matches one of the expressions.
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
        write!(out, "Globs({})", self.expressions.len())
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
    fn case_does_not_matter_in_any_alphabet() {
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
            ("{,+}1*", "1650"),
            ("{,+}1*", "+1650"),
            ("{}1", "1"),
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
    fn a_letter_that_folds_to_several_matches_these_and_counts_as_one() {
        for (pattern, text) in [
            ("[ß]", "ß"),
            ("[ß]", "ẞ"),
            ("stra[ß]e", "STRASSE"),
            ("stra[xß]e", "STRASSE"),
            ("stra[À-ü]e", "STRASSE"),
            ("stra[À-ü]e", "straße"),
            ("stra[ẞ]e", "straße"),
            ("[!ß]", "s"),
            ("stra[!x]e", "straße"),
            ("stra[!ß]e", "strase"),
            ("[!ß]traße", "straße"),
            ("ßß", "ssß"),
            ("?ss", "xß"),
            ("fi*", "ﬁnance"),
            ("ﬁnance", "FINANCE"),
            ("office", "oﬃce"),
            ("oﬃce", "OFFICE"),
            ("oﬃce", "oﬀice"),
            ("o?ce", "oﬃce"),
            ("[ﬁ]n", "fin"),
            ("st", "ﬆ"),
            ("\u{149}", "\u{2bc}N"),
            ("ᾳ", "ΑΙ"),
            ("ΑΙ", "ᾼ"),
            ("ΐ", "Ϊ\u{301}"),
            ("Ϊ\u{301}", "ΐ"),
            ("և", "ԵՒ"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("[!ß]", "ß"),
            ("[!ß]", "ẞ"),
            ("stra[!ß]e", "straße"),
            ("stra[!À-ü]e", "STRAẞE"),
            ("*[!ß]", "xß"),
            ("[ß]", "s"),
            ("stra[ß]e", "strase"),
            ("[!ﬁ]", "ﬁ"),
            ("fi", "f"),
            ("ﬁ", "f"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_letter_with_two_accents_is_one_character() {
        for (pattern, text) in [
            ("M?ller", "Mu\u{323}\u{308}ller"),
            ("M[!x]ller", "Mu\u{323}\u{308}ller"),
            ("?", "q\u{303}\u{323}"),
            ("??", "q\u{303}\u{323}x"),
            ("??", "xq\u{303}\u{323}"),
            ("[q\u{303}]x", "q\u{303}x"),
            ("[q\u{303}]x", "Q\u{303}X"),
            ("q\u{303}\u{323}*", "Q\u{323}\u{303}x"),
            ("?\u{303}", "q\u{303}"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("?", "ab"), ("?", ""), ("[q]", "q\u{303}"), ("[!q\u{303}]", "q\u{303}"), ("q\u{303}", "q\u{323}")]
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
        assert!(!matches("é", "É"), "case matters in bodies");
    }

    proptest! {
        /// An ASCII pattern matches the same ASCII texts as in the crate `globset`. (Here `globset` accepts empty
        /// alternatives such as `{,a}`, because shells accept them.)
        #[test]
        fn ascii_is_as_in_globset(pattern in r"[a-cA-C*?,.+{}\[\]!^\\:-]{0,8}", text in r"[a-dA-D,.+{}\[\]!^:-]{0,6}") {
            prop_assume!(!pattern.contains("**"));
            let built = GlobBuilder::new(&pattern).case_insensitive(true).empty_alternates(true).build();
            let ours = Globs::new([pattern.as_str()]);
            if let Ok(glob) = built {
                prop_assert_eq!(ours.unwrap().match_any(&text), glob.compile_matcher().is_match(&text));
            } else {
                prop_assert!(ours.is_err());
            }
        }
    }
}

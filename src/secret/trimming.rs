//! Removes characters that editors, shells and copying leave around a value. Refuses a value if it is not clear whether
//! such characters belong to it.
//!
//! A byte order mark before a value and blank lines around it never belong to the value, so they are removed. White
//! space and quotes around a key, a token or a URL are removed, too, and so is `Bearer ` before it: no key, token or
//! URL contains these. But white space and quotes around a password or a shared secret may be a part of it, so such a
//! value is refused.
//!
//! Invariant: no error text of this module repeats anything of a value, except the code of an invisible character.

/// The byte order mark, at the beginning of a text.
const MARK: char = '\u{feff}';

/// The kind of a value. It decides which characters cannot belong to the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// A key or a token: one word.
    Token,
    /// The value of a header. It may hold quotes. White space around it is never sent.
    Header,
    /// A password, a user name, or a shared secret: any text of one line.
    Text,
}

/// A value after the trimming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tidy<'t> {
    /// The value, without everything that does not belong to it.
    pub text: &'t str,
    /// A description of the removed characters, if the operator should know about them. The text follows the word
    /// "has".
    pub left_out: Option<&'static str>,
}

/// Why a value is refused. The displayed text is the end of a sentence that begins with the value's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubtful {
    /// White space stands around a password or a shared secret.
    #[error("begins or ends with white space, which may be meant or not")]
    WhiteSpaceAround,
    /// Quotes stand around a password or a shared secret.
    #[error("is in quotes, which may be meant or not")]
    QuotesAround,
    /// White space stands inside a key or a token.
    #[error("holds white space")]
    WhiteSpaceInside,
    /// A password or a shared secret has several lines.
    #[error("has more than one line")]
    SeveralLines,
    /// The value contains an invisible character, usually a zero-width space from a web page. The number is the code of
    /// this character.
    #[error("holds an invisible character (U+{0:04X})")]
    Invisible(u32),
}

impl Doubtful {
    /// A remedy for the operator, to be shown after the error.
    pub fn hint(self) -> &'static str {
        match self {
            Self::WhiteSpaceAround | Self::QuotesAround => {
                "take that off where the value stands; if the secret really has it, put two pairs of quotes around: \"\"...\"\""
            }
            Self::WhiteSpaceInside | Self::SeveralLines => "it must be the bare value and nothing else",
            Self::Invisible(_) => "type the value again, or copy it from another place",
        }
    }
}

/// Removes all characters that certainly do not belong to a value of this kind.
///
/// # Errors
/// [`Doubtful`] if the value is ambiguous or certainly a mistake.
pub fn tidy(text: &str, kind: SecretKind) -> Result<Tidy<'_>, Doubtful> {
    let text = without_blank_lines(text);
    let exact = in_two_pairs_of_quotes(text).filter(|_| kind == SecretKind::Text);
    let trimmed = text.trim();
    let around = (trimmed.len() != text.len()).then_some("white space around it");
    let tidied = match kind {
        SecretKind::Header => Tidy { text: trimmed, left_out: around },
        SecretKind::Token => {
            let bare = unquoted(trimmed);
            let quotes = (bare.len() != trimmed.len()).then_some("quotes around it");
            let token = without_scheme(bare);
            let scheme = (token.len() != bare.len()).then_some("`Bearer` before it");
            Tidy { text: token, left_out: scheme.or(quotes).or(around) }
        }
        SecretKind::Text if exact.is_some() => Tidy { text: exact.unwrap_or_default(), left_out: None },
        SecretKind::Text if trimmed.is_empty() => Tidy { text: trimmed, left_out: None },
        SecretKind::Text if around.is_some() => return Err(Doubtful::WhiteSpaceAround),
        SecretKind::Text if unquoted(text).len() != text.len() => return Err(Doubtful::QuotesAround),
        SecretKind::Text => Tidy { text, left_out: None },
    };
    if let Some(invisible) = tidied.text.chars().find(|next| is_invisible(*next)) {
        return Err(Doubtful::Invisible(invisible.into()));
    }
    // A line break in a token or in the value of a header is refused later, where the value is used.
    let is_line_break = |next: char| matches!(next, '\r' | '\n');
    match kind {
        SecretKind::Token if tidied.text.contains(|next: char| next.is_whitespace() && !is_line_break(next)) => {
            Err(Doubtful::WhiteSpaceInside)
        }
        SecretKind::Text if tidied.text.contains(is_line_break) => Err(Doubtful::SeveralLines),
        _ => Ok(tidied),
    }
}

/// Removes white space and quotes around a value that is one word and not a secret: an address, a number, a name.
pub fn bare(text: &str) -> &str {
    unquoted(without_blank_lines(text).trim())
}

/// The text without a byte order mark at its beginning, and without blank lines around it.
pub fn without_blank_lines(text: &str) -> &str {
    let mut text = text.trim_start_matches(MARK);
    while let Some((_, rest)) = text.split_once('\n').filter(|(first, _)| first.trim().is_empty()) {
        text = rest;
    }
    while let Some((before, _)) = text.rsplit_once('\n').filter(|(_, last)| last.trim().is_empty()) {
        text = before;
    }
    text.trim_end_matches('\r')
}

/// Whether a character is invisible and is not white space.
pub fn is_invisible(next: char) -> bool {
    matches!(
        next,
        MARK | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}'
    )
}

/// The text without a pair of quotes around it, and without the white space between these quotes and the text.
pub fn unquoted(text: &str) -> &str {
    let pairs = [('"', '"'), ('\'', '\''), ('\u{201c}', '\u{201d}'), ('\u{2018}', '\u{2019}')];
    let within = |(open, close)| text.strip_prefix(open).and_then(|rest: &str| rest.strip_suffix(close));
    pairs.into_iter().find_map(within).map_or(text, str::trim)
}

/// The text between two pairs of quotes. Two pairs are never written by mistake, so the text between them is meant
/// exactly as it is.
fn in_two_pairs_of_quotes(text: &str) -> Option<&str> {
    text.trim().strip_prefix("\"\"")?.strip_suffix("\"\"").filter(|exact| !exact.is_empty())
}

/// The token without the word `Bearer`, which stands before a token in a header.
fn without_scheme(token: &str) -> &str {
    match token.split_once(char::is_whitespace) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim_start(),
        _ => token,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKED: &str = "\u{feff}s3cret\r\n";

    #[test]
    fn what_never_belongs_to_a_value_is_removed_from_every_kind() {
        for kind in [SecretKind::Token, SecretKind::Header, SecretKind::Text] {
            for text in [
                "s3cret",
                "s3cret\n",
                "s3cret\r\n",
                "s3cret\r",
                "s3cret\n\n",
                "s3cret\r\n\r\n",
                "s3cret\n \t\n",
                "\n\ns3cret\n",
                " \r\ns3cret",
                MARKED,
                "\u{feff}\r\ns3cret",
            ] {
                assert_eq!(tidy(text, kind), Ok(Tidy { text: "s3cret", left_out: None }), "{kind:?} {text:?}");
            }
            for empty in ["", "\n", " ", "\u{feff}", "\u{feff}\r\n", "\r\n \r\n"] {
                assert_eq!(tidy(empty, kind).map(|tidy| tidy.text), Ok(""), "{kind:?} {empty:?}");
            }
        }
    }

    #[test]
    fn more_is_removed_from_a_token_and_a_header() {
        let (space, quotes, bearer) = ("white space around it", "quotes around it", "`Bearer` before it");
        for (kind, text, expected, left_out) in [
            (SecretKind::Token, " t0ken\t", "t0ken", space),
            (SecretKind::Token, "\u{a0}t0ken", "t0ken", space),
            (SecretKind::Token, "\"t0ken\"\n", "t0ken", quotes),
            (SecretKind::Token, "' t0ken '", "t0ken", quotes),
            (SecretKind::Token, "\u{201c}t0ken\u{201d}", "t0ken", quotes),
            (SecretKind::Token, "Bearer t0ken", "t0ken", bearer),
            (SecretKind::Token, "bearer  t0ken\n", "t0ken", bearer),
            (SecretKind::Token, " \"BEARER t0ken\" ", "t0ken", bearer),
            (SecretKind::Header, " Token x ", "Token x", space),
        ] {
            assert_eq!(tidy(text, kind), Ok(Tidy { text: expected, left_out: Some(left_out) }), "{text:?}");
        }
        for (kind, text) in
            [(SecretKind::Header, "\"etag\""), (SecretKind::Header, "Bearer t0ken"), (SecretKind::Token, "t0k\"en")]
        {
            assert_eq!(tidy(text, kind), Ok(Tidy { text, left_out: None }), "{text:?}");
        }
    }

    #[test]
    fn an_ambiguous_value_is_refused() {
        for (kind, text, expected) in [
            (SecretKind::Text, " s3cret", Doubtful::WhiteSpaceAround),
            (SecretKind::Text, "s3cret \n", Doubtful::WhiteSpaceAround),
            (SecretKind::Text, "\"s3cret\"", Doubtful::QuotesAround),
            (SecretKind::Text, "'s3cret'\r\n", Doubtful::QuotesAround),
            (SecretKind::Text, "s3\ncret", Doubtful::SeveralLines),
            (SecretKind::Text, "s3\u{200b}cret", Doubtful::Invisible(0x200b)),
            (SecretKind::Token, "t0\u{feff}ken", Doubtful::Invisible(0xfeff)),
            (SecretKind::Token, "t0 ken", Doubtful::WhiteSpaceInside),
            (SecretKind::Token, "t0\tken", Doubtful::WhiteSpaceInside),
            (SecretKind::Header, "x\u{200b}", Doubtful::Invisible(0x200b)),
        ] {
            assert_eq!(tidy(text, kind), Err(expected), "{text:?}");
            assert!(!expected.to_string().contains("s3") && !expected.hint().is_empty());
        }
        for (text, exact) in [
            ("\"\" s3cret \"\"", " s3cret "),
            ("\"\"\"s3cret\"\"\"\r\n", "\"s3cret\""),
            ("\"\"'s3cret'\"\"", "'s3cret'"),
            (" \"\"s3cret\"\" ", "s3cret"),
        ] {
            assert_eq!(tidy(text, SecretKind::Text), Ok(Tidy { text: exact, left_out: None }), "{text:?}");
        }
        for inner in ["a b", "a\tb", "a\"b", "\"a", "a'"] {
            assert_eq!(tidy(inner, SecretKind::Text), Ok(Tidy { text: inner, left_out: None }), "{inner:?}");
        }
        assert_eq!(Doubtful::Invisible(0xfeff).to_string(), "holds an invisible character (U+FEFF)");
    }

    #[test]
    fn words_and_addresses_lose_white_space_and_quotes() {
        for text in ["info", " info ", "\"info\"", "'info'\r\n", "\u{feff}info\n\n"] {
            assert_eq!(bare(text), "info", "{text:?}");
        }
    }
}

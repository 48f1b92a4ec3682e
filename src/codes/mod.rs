//! One-time codes in messages: the code that the API found, and the operator's pattern for messages in which the API
//! found no code (`[codes]`).

mod mask;

pub use mask::{CodeMask, MASK};

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::{CodePattern, InvalidCodePattern, is_number_event, surrogates};
use crate::settings::{self, Reader, WrittenText, settings};

settings! {
    /// `[codes]`, as written.
    pub struct Settings {
        /// A regular expression that finds the code in the text of a message in which the API found none
        /// (`parsedCode`). The code is the first group of the expression, or the whole match if there is no group.
        /// It is used by `wait --code`, `tail`, `has_code` of filters, `mask_codes`, `message.code` of templates, the
        /// formats and sinks that show a code, the status page and its API. "": no pattern.
        pattern: Option<WrittenText> = settings::text("regular expression", "a regular expression in quotes", None)
            .or("").lines(&[r"pattern = '(?i)code\D{0,20}(\d{4,8})'"]),
    }
}

impl Settings {
    /// Compiles the pattern. An invalid pattern is added to the report.
    pub fn resolve(self, at: &mut Reader<'_>) -> CodeFinder {
        let Some(written) = self.pattern.filter(|written| !written.as_str().is_empty()) else {
            return CodeFinder::default();
        };
        match CodeFinder::parsed_or(written.as_str()) {
            Ok(finder) => finder,
            Err(error) => {
                at.refuse("pattern", &written, &error.to_string(), "");
                CodeFinder::default()
            }
        }
    }
}

/// Finds the code of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CodeFinder {
    pattern: Option<CodePattern>,
    /// Whether only the pattern counts, even if the API found a code.
    ignores_parsed: bool,
}

#[derive(Deserialize)]
struct CodeFields<'a> {
    #[serde(rename = "parsedCode", borrow)]
    parsed_code: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct EventFields<'a> {
    #[serde(rename = "type", borrow)]
    kind: &'a RawValue,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Whether this JSON text is an event about a number (`[events]`). The digits in the text of an event are no codes.
fn is_event(raw: &str) -> bool {
    let fields = serde_json::from_str::<EventFields<'_>>(raw);
    fields.is_ok_and(|event| is_number_event(event.kind.get().trim_matches('"'), event.data.get()))
}

impl CodeFinder {
    /// Makes a finder that uses `pattern` if the API found no code.
    ///
    /// # Errors
    /// [`InvalidCodePattern`] says what is wrong with the pattern.
    pub fn parsed_or(pattern: &str) -> Result<Self, InvalidCodePattern> {
        Ok(Self { pattern: Some(CodePattern::new(pattern)?), ignores_parsed: false })
    }

    /// Makes a finder that uses `pattern` only.
    ///
    /// # Errors
    /// As for [`CodeFinder::parsed_or`].
    pub fn only(pattern: &str) -> Result<Self, InvalidCodePattern> {
        Ok(Self { pattern: Some(CodePattern::new(pattern)?), ignores_parsed: true })
    }

    /// Returns the code of the message with this JSON text; `None` if it has no code.
    pub fn find(&self, raw: &str) -> Option<String> {
        if let Ok(fields) = serde_json::from_str::<CodeFields<'_>>(raw) {
            return self.find_in(raw, fields.parsed_code, fields.body);
        }
        // The parsing above fails if a field is repeated, or if there is half of a surrogate pair. The parsing below
        // accepts both; of repeated fields the last one counts.
        let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&surrogates::mended(raw)).ok()?;
        let field = |name: &str| fields.get(name).map(|value| &**value);
        self.find_in(raw, field("parsedCode"), field("body"))
    }

    fn find_in(&self, raw: &str, parsed: Option<&RawValue>, body: Option<&RawValue>) -> Option<String> {
        let parsed = parsed.filter(|_| !self.ignores_parsed).and_then(parsed_code);
        parsed.or_else(|| {
            let body = text(body?.get())?;
            self.pattern.as_ref()?.find(&body).filter(|_| !is_event(raw)).map(str::to_owned)
        })
    }

    /// Returns every code that the pattern finds in the text of a message.
    fn all_in(&self, body: &str) -> Vec<String> {
        self.pattern.iter().flat_map(|pattern| pattern.find_all(body)).map(str::to_owned).collect()
    }

    /// Returns the pattern; `None` if only the API finds codes.
    pub fn pattern(&self) -> Option<&CodePattern> {
        self.pattern.as_ref()
    }
}

/// Reads the field `parsedCode`: a text that is not empty, or a number as it is written.
fn parsed_code(value: &RawValue) -> Option<String> {
    let json = value.get();
    if json.starts_with('"') {
        return text(json).filter(|code| !code.is_empty());
    }
    json.starts_with(|first: char| first.is_ascii_digit()).then(|| json.to_owned())
}

/// Reads a JSON string. Half of a surrogate pair becomes U+FFFD.
fn text(json: &str) -> Option<String> {
    serde_json::from_str(json).or_else(|_| serde_json::from_str(&surrogates::mended(json))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_the_api_comes_before_the_pattern() {
        let none = CodeFinder::default();
        let pattern = CodeFinder::parsed_or(r"code (\d+)").unwrap();
        let only = CodeFinder::only(r"\d{3}-\d{3}").unwrap();
        for (raw, expected) in [
            (r#"{"parsedCode":"4711","body":"code 12, 123-456"}"#, [Some("4711"), Some("4711"), Some("123-456")]),
            (r#"{"parsedCode":null,"body":"code 12"}"#, [None, Some("12"), None]),
            (r#"{"parsedCode":"","body":"code 12"}"#, [None, Some("12"), None]),
            (r#"{"parsedCode":12,"body":7}"#, [Some("12"), Some("12"), None]),
            (r#"{"parsedCode":false,"body":"hello"}"#, [None, None, None]),
            (r#"{"type":"number.expiring.7d","body":"code 12, 123-456","data":{}}"#, [None, None, None]),
            (r#"{"type":"number","body":"code 12, 123-456"}"#, [None, Some("12"), Some("123-456")]),
            (r#"{"type":1,"type":2,"data":{},"body":"code 12"}"#, [None, Some("12"), None]),
            (r#"{"body":"code 12, 123-456 \ud83d"}"#, [None, Some("12"), Some("123-456")]),
            (r#"{"parsedCode":"1\ud83d","body":"x"}"#, [Some("1\u{fffd}"), Some("1\u{fffd}"), None]),
            (r#"{"\ud83d":1,"body":"code 12"}"#, [None, Some("12"), None]),
            (r#"{"body":"code 11","parsedCode":"1","body":"code 12","parsedCode":null}"#, [None, Some("12"), None]),
            ("[]", [None, None, None]),
        ] {
            let found = [&none, &pattern, &only].map(|finder| finder.find(raw));
            assert_eq!(found.each_ref().map(Option::as_deref), expected, "{raw}");
        }
    }

    #[test]
    fn an_invalid_pattern_is_told_in_one_line() {
        let why = CodeFinder::only("(").unwrap_err().to_string();
        assert_eq!(why, "is not a regular expression: unclosed group");
        assert!(CodeFinder::only("(?:a{1000}){1000}").unwrap_err().to_string().contains("size limit"));
    }
}

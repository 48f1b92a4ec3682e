//! Masks codes: shows a message without its codes. Pure.
//!
//! Invariants: only the value of `parsedCode` and the codes in `body` change; every other byte of the message stays as
//! it came. Every message can be masked, even if its fields are repeated, are written with escapes, or contain half of
//! a surrogate pair.

use std::ops::Range;

use super::CodeFinder;

/// The text that replaces a code.
pub const MASK: &str = "••••••";

/// The most separators, such as spaces and hyphens, that may stand between two characters of a code in a text.
const MOST_SEPARATORS: usize = 3;

/// Masks the codes of messages.
#[derive(Clone, Debug)]
pub struct CodeMask(CodeFinder);

/// A character of a JSON string, and the place of its bytes in the JSON text.
struct SpelledChar {
    value: char,
    at: Range<usize>,
}

impl CodeMask {
    /// Makes a mask for the codes that the API found. If the API found no code in a message, `finder` finds the codes.
    pub fn new(finder: CodeFinder) -> Self {
        Self(finder)
    }

    /// Returns the JSON text of a message without its codes. An event about a number has no codes and stays as it is.
    pub fn masked(&self, raw: &str) -> String {
        if super::is_event(raw) {
            return raw.to_owned();
        }
        let members = members(raw);
        let values = |name: &str| {
            let named = members.iter().filter(|(key, _)| text_of(&spelled(raw, key.clone())) == name);
            named.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        let mut codes = Vec::new();
        for value in values("parsedCode") {
            let code = match &raw[value.clone()] {
                "null" | "false" | "\"\"" => continue,
                text if text.starts_with('"') => text_of(&spelled(raw, value.clone())),
                other => other.to_owned(),
            };
            codes.push(code);
            edits.push((value, format!("\"{MASK}\"")));
        }
        for value in values("body").into_iter().filter(|value| raw[value.clone()].starts_with('"')) {
            let body = spelled(raw, value);
            let in_body = if codes.is_empty() { self.0.all_in(&text_of(&body)) } else { codes.clone() };
            let mut found: Vec<Range<usize>> = in_body.iter().flat_map(|code| places(&body, code)).collect();
            found.sort_unstable_by_key(|place| (place.start, place.end));
            let mut end = 0;
            for place in found {
                // Places of two codes may overlap.
                match edits.last_mut() {
                    Some((last, _)) if place.start < end => last.end = last.end.max(place.end),
                    _ => edits.push((place.clone(), MASK.to_owned())),
                }
                end = end.max(place.end);
            }
        }
        edits.sort_unstable_by_key(|(place, _)| place.start);
        let (mut masked, mut from) = (String::with_capacity(raw.len()), 0);
        for (place, text) in edits {
            masked.push_str(&raw[from..place.start]);
            masked.push_str(&text);
            from = place.end;
        }
        masked.push_str(&raw[from..]);
        masked
    }
}

/// Finds the places of a code in a text. ASCII letters match without regard to case, and separators within the code do
/// not count, so that 123456 is found in `123 456` and in `123-456`.
fn places(text: &[SpelledChar], code: &str) -> Vec<Range<usize>> {
    let mut wanted: Vec<char> = code.chars().filter(|next| !is_separator(*next)).collect();
    if wanted.is_empty() {
        wanted = code.chars().collect();
    }
    let (mut found, mut at) = (Vec::new(), 0);
    while at < text.len() {
        match end_of_match(&text[at..], &wanted) {
            Some(length) => {
                found.push(text[at].at.start..text[at + length - 1].at.end);
                at += length;
            }
            None => at += 1,
        }
    }
    found
}

/// If the text begins with the code, returns how many characters of the text belong to the code.
fn end_of_match(text: &[SpelledChar], wanted: &[char]) -> Option<usize> {
    let (mut length, mut separators) = (0, 0);
    let mut left = wanted.iter();
    let mut next = left.next()?;
    loop {
        let found = text.get(length)?.value;
        length += 1;
        if found.eq_ignore_ascii_case(next) {
            separators = 0;
            match left.next() {
                Some(following) => next = following,
                None => return Some(length),
            }
        } else if length > 1 && is_separator(found) && separators < MOST_SEPARATORS {
            separators += 1;
        } else {
            return None;
        }
    }
}

fn is_separator(next: char) -> bool {
    next.is_whitespace() || matches!(next, '-' | '.' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

fn text_of(spelled: &[SpelledChar]) -> String {
    spelled.iter().map(|one| one.value).collect()
}

/// Returns the members of a JSON object: the place of each name and of each value. Stops at the place where the text is
/// not valid JSON.
fn members(raw: &str) -> Vec<(Range<usize>, Range<usize>)> {
    let bytes = raw.as_bytes();
    let mut members = Vec::new();
    let mut at = after_space(bytes, 0);
    while matches!(bytes.get(at), Some(b'{' | b',')) {
        let name = after_space(bytes, at + 1);
        if bytes.get(name) != Some(&b'"') {
            break;
        }
        let name_end = after_string(bytes, name);
        let colon = after_space(bytes, name_end);
        if bytes.get(colon) != Some(&b':') {
            break;
        }
        let value = after_space(bytes, colon + 1);
        let value_end = after_value(bytes, value);
        members.push((name..name_end, value..value_end));
        at = after_space(bytes, value_end);
    }
    members
}

fn after_space(bytes: &[u8], from: usize) -> usize {
    let space = bytes.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    from + space
}

/// Returns the place of the first byte after the string that begins at `from`.
fn after_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    loop {
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') => return at + 1,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

/// Returns the place of the first byte after the value that begins at `from`.
fn after_value(bytes: &[u8], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = after_string(bytes, at),
            b'{' | b'[' => (at, depth) = (at + 1, depth + 1),
            b'}' | b']' if depth > 0 => (at, depth) = (at + 1, depth - 1),
            b'}' | b']' | b',' if depth == 0 => return at,
            byte if depth == 0 && byte.is_ascii_whitespace() => return at,
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// Reads the JSON string at this place, character by character. Half of a surrogate pair, and an escape that is cut
/// short, count as U+FFFD.
fn spelled(raw: &str, string: Range<usize>) -> Vec<SpelledChar> {
    let text = &raw[string.clone()];
    let opened = text.strip_prefix('"').unwrap_or(text);
    let mut at = string.start + (text.len() - opened.len());
    let mut rest = opened.strip_suffix('"').unwrap_or(opened);
    let mut read = Vec::new();
    while let Some(next) = rest.chars().next() {
        let (value, length) = if next == '\\' { escaped(rest) } else { (next, next.len_utf8()) };
        read.push(SpelledChar { value, at: at..at + length });
        at += length;
        rest = &rest[length..];
    }
    read
}

/// Returns the character that the escape at the beginning of this text means, and the length of the escape in bytes.
fn escaped(text: &str) -> (char, usize) {
    let Some(kind) = text.chars().nth(1) else { return ('\\', 1) };
    let value = match kind {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'u' => {
            let Some(first) = utf16_unit(text) else { return (char::REPLACEMENT_CHARACTER, 2) };
            let pair = [first, utf16_unit(&text[6..]).unwrap_or(0)];
            return match char::decode_utf16(pair).next() {
                Some(Ok(value)) => (value, 6 * value.len_utf16()),
                _ => (char::REPLACEMENT_CHARACTER, 6),
            };
        }
        other => other,
    };
    (value, 1 + kind.len_utf8())
}

/// Returns the UTF-16 code unit at the beginning of the text, written as `\u` and four hexadecimal digits.
fn utf16_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    // `from_str_radix` alone would accept a sign, too.
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn masked(raw: &str) -> String {
        CodeMask::new(CodeFinder::default()).masked(raw)
    }

    #[test]
    fn the_code_and_its_places_in_the_text_are_masked_and_nothing_else() {
        for (raw, expected) in [
            (
                r#"{"id":"m123456", "body":"123456 is it. G-123456, 123 456, 123-456!","parsedCode":"123456","n":1.50e3}"#,
                r#"{"id":"m123456", "body":"•••••• is it. G-••••••, ••••••, ••••••!","parsedCode":"••••••","n":1.50e3}"#,
            ),
            (
                r#"{"parsedCode":"AB-12","body":"ab12 Ab - 12 ab1"}"#,
                r#"{"parsedCode":"••••••","body":"•••••• •••••• ab1"}"#,
            ),
            (r#"{"parsedCode":123456,"body":"123456"}"#, r#"{"parsedCode":"••••••","body":"••••••"}"#),
            (
                r#"{"parsedCode":"12","body":"\u0031\u0032 \ud83d\ude00 \ud83d \"12\" \\12"}"#,
                r#"{"parsedCode":"••••••","body":"•••••• \ud83d\ude00 \ud83d \"••••••\" \\••••••"}"#,
            ),
            (r#"{"parsedC\u006fde":"12","b\u006fdy":"12"}"#, r#"{"parsedC\u006fde":"••••••","b\u006fdy":"••••••"}"#),
            (
                r#"{"parsedCode":"1234","parsedCode":"99","body":"1234","body":"99"}"#,
                r#"{"parsedCode":"••••••","parsedCode":"••••••","body":"••••••","body":"••••••"}"#,
            ),
            (
                r#"{"body":{"parsedCode":"12"},"x":[{"body":"12"},"}"],"parsedCode":"12"}"#,
                r#"{"body":{"parsedCode":"12"},"x":[{"body":"12"},"}"],"parsedCode":"••••••"}"#,
            ),
            (r#"{"parsedCode":null,"body":"123456"}"#, r#"{"parsedCode":null,"body":"123456"}"#),
            (r#"{"parsedCode":"","body":"a"}"#, r#"{"parsedCode":"","body":"a"}"#),
            ("[]", "[]"),
            ("", ""),
            (r#"{"body":"12"#, r#"{"body":"12"#),
            // Escapes that are not valid JSON, in front of characters of several bytes.
            (
                r#"{"parsedCode":"1234","body":"\u é1234 \u12é1234 \u+123 \é1234 \ud83d\u 1234"}"#,
                r#"{"parsedCode":"••••••","body":"\u é•••••• \u12é•••••• \u+123 \é•••••• \ud83d\u ••••••"}"#,
            ),
            (r#"{"parsedCode":"1234","body":"1234 é"#, r#"{"parsedCode":"••••••","body":"•••••• é"#),
            (r#"{"parsedCode":"12","body":"12\"#, r#"{"parsedCode":"••••••","body":"••••••\"#),
        ] {
            assert_eq!(masked(raw), expected);
        }
    }

    #[test]
    fn the_pattern_counts_where_the_api_found_no_code() {
        let mask = CodeMask::new(CodeFinder::parsed_or(r"(?:code|pin) (\d+)").unwrap());
        assert_eq!(mask.masked(r#"{"body":"code 12, pin 345, 6"}"#), r#"{"body":"code ••••••, pin ••••••, 6"}"#);
        assert_eq!(
            mask.masked(r#"{"body":"code 12, pin 345","parsedCode":"345"}"#),
            r#"{"body":"code 12, pin ••••••","parsedCode":"••••••"}"#
        );
        let event = r#"{"type":"number.expiring.7d","body":"pin 345 in its sentence","data":{}}"#;
        assert_eq!(mask.masked(event), event);
    }

    proptest! {
        #[test]
        fn no_code_is_left_and_every_other_field_stays(
            code in "[0-9A-Za-z]{1,8}",
            words in prop::collection::vec(("[ -~é😀\n\"\\\\]{0,6}", any::<bool>()), 0..6),
            other in "[ -~]{0,9}",
        ) {
            let body: String = words.iter().map(|(word, has)| format!("{word}{}", if *has { &code } else { "" })).collect();
            let raw = json!({ "id": "m", "body": body, "parsedCode": code, "other": other, "n": 1.5 }).to_string();
            let masked: Value = serde_json::from_str(&masked(&raw)).unwrap();
            let left = masked["body"].as_str().unwrap().to_ascii_lowercase();
            prop_assert!(!left.contains(&code.to_ascii_lowercase()), "{}", left);
            prop_assert_eq!(&masked["parsedCode"], MASK);
            prop_assert_eq!((&masked["id"], &masked["other"], &masked["n"]), (&json!("m"), &json!(other), &json!(1.5)));
        }

        #[test]
        fn any_text_can_be_masked(raw in ".{0,60}", inside in r#"[{}\[\]":,\\u0-9a-dé ]{0,40}"#) {
            let _ = masked(&raw);
            let _ = masked(&format!("{{\"body\":\"{inside}\",\"parsedCode\":\"{inside}\"}}"));
            let _ = masked(&format!("{{\"body\":{inside}"));
        }
    }
}

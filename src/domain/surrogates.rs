//! Repairs half characters. An escape such as `\ud83d` is half of a character. Without the other half it is valid in
//! JSON, but cannot be part of a text in most languages, such as Rust.

/// Returns the JSON text with U+FFFD in the place of each half character. The rest of the text stays as it is.
pub fn mended(json: &str) -> String {
    let mut whole = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let follows_low = || escape.get(6..).and_then(unit).is_some_and(|low| (0xdc00..0xe000).contains(&low));
        let length = match unit(escape) {
            Some(0xd800..0xdc00) if follows_low() => 12,
            Some(0xd800..0xe000) => {
                whole.push_str("\\ufffd");
                rest = &escape[6..];
                continue;
            }
            Some(_) => 6,
            // The escape consists of the backslash and the character that it escapes.
            None => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
        };
        let (escape, after) = escape.split_at(length);
        whole.push_str(escape);
        rest = after;
    }
    whole + rest
}

/// Returns the code of an escape such as `\u00e9` at the beginning of a text.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    // `from_str_radix` would also accept `+123`.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_are_replaced_and_nothing_else() {
        for (json, expected) in [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\ud83dx\ude00""#, r#""\ufffdx\ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#""é\u00e9\n\"""#, r#""é\u00e9\n\"""#),
            ("\\", "\\"),
            ("\\u+123", "\\u+123"),
            ("\\ud83", "\\ud83"),
            ("\\é", "\\é"),
        ] {
            assert_eq!(mended(json), expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn any_string_can_be_read_afterwards(
            parts in prop::collection::vec(prop_oneof!["\\\\u[dD][89abcdefABCDEF][0-9a-f]{2}", "[a-zé\u{1f600}]", Just("\\\\".to_owned()), Just("\\\"".to_owned())], 0..12)
        ) {
            let json = format!("\"{}\"", parts.concat());
            prop_assert!(serde_json::from_str::<String>(&mended(&json)).is_ok(), "{}", json);
        }

        #[test]
        fn any_text_survives(text in "[\\\\uUdD8a\"é]{0,20}") {
            let _: String = mended(&text);
        }
    }
}

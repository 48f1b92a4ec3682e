//! Puts JSON on one line, with every token spelled as it was.

/// Removes the white space between the tokens of a JSON text. Nothing else changes: numbers keep their digits, strings
/// keep their escapes, objects keep their order and repeated keys. Parsing the text and writing it again would not keep
/// all of this.
///
/// In valid JSON all line breaks are between tokens. If the text is not valid JSON, line breaks inside strings are
/// removed, too, so that the result is always one line.
pub fn one_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    let mut in_string = false;
    let mut rest = json;
    // White space, quotes and backslashes are ASCII, so no byte of a longer character equals one of them.
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'"' | b'\\')) {
        line.push_str(&rest[..at]);
        let found = rest.as_bytes()[at];
        let mut taken = at + 1;
        match found {
            b'"' => {
                in_string = !in_string;
                line.push('"');
            }
            b'\\' => {
                line.push('\\');
                // A quote or a backslash after this backslash is escaped. It is copied here, so that it does not count
                // as the end of the string or as the beginning of an escape.
                if let Some(escaped @ ('"' | '\\')) = rest[taken..].chars().next() {
                    line.push(escaped);
                    taken += 1;
                }
            }
            b' ' | b'\t' if in_string => line.push(char::from(found)),
            _ => {}
        }
        rest = &rest[taken..];
    }
    line.push_str(rest);
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn white_space_is_removed_only_between_tokens() {
        for (json, line) in [
            ("{}", "{}"),
            (" [ 1 ,\t2 ,\r\n3 ] ", "[1,2,3]"),
            (r#"{ "a b" : " c \" d " }"#, r#"{"a b":" c \" d "}"#),
            (r#"[ "\\" , " \\\" " ]"#, r#"["\\"," \\\" "]"#),
            (r#"[ "\u0000\n" ]"#, r#"["\u0000\n"]"#),
            (
                "[ 1.0e+5, 1.0E5, -0, 10000000000000000000000001, 0.10 ]",
                "[1.0e+5,1.0E5,-0,10000000000000000000000001,0.10]",
            ),
            ("{ \"a\": 1, \"a\": 2 }", "{\"a\":1,\"a\":2}"),
            ("\" é \u{2028} \u{1f600} \"", "\" é \u{2028} \u{1f600} \""),
        ] {
            assert_eq!(one_line(json), line, "{json}");
        }
    }

    #[test]
    fn what_is_not_json_is_still_one_line() {
        for broken in ["\"a\nb", "\\", "\"\\", "{\n\"", "\"\\\n\""] {
            assert!(!one_line(broken).contains(['\n', '\r']), "{broken:?}");
        }
    }

    /// Makes JSON text with white space wherever JSON allows it. The text also has spellings, such as `1.0E5`, that are
    /// lost if JSON is parsed and written again.
    fn json() -> impl Strategy<Value = String> {
        let space = "[ \t\r\n]{0,3}";
        let scalar = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?",
            string(),
        ];
        (scalar, space).prop_map(|(value, space)| format!("{space}{value}{space}")).prop_recursive(
            4,
            48,
            6,
            move |inner| {
                prop_oneof![
                    prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!(" [\n{}]\t", items.join(","))),
                    (prop::collection::vec((string(), inner), 0..5), space).prop_map(|(members, space)| {
                        let members: Vec<_> =
                            members.iter().map(|(key, value)| format!("{space}{key}{space}:{value}")).collect();
                        format!("{{{}\r\n}}{space}", members.join(","))
                    }),
                ]
            },
        )
    }

    fn string() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[ a-z0-9é\u{1f600}{}\\[\\],:]{0,4}",
            prop::sample::select(vec![r"\u0000", r#"\""#, r"\\", r"\n", r"\/", r"\ud83d\ude00", r"\t"])
                .prop_map(str::to_owned),
        ];
        prop::collection::vec(piece, 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
    }

    /// Collects the tokens of a JSON text, as `serde_json` finds them: brackets, braces, keys and scalars. Keys and
    /// scalars keep their spelling.
    fn tokens(json: &RawValue, found: &mut Vec<String>) {
        let text = json.get();
        match text.as_bytes()[0] {
            b'[' => {
                found.push("[".into());
                let items: Vec<&RawValue> = serde_json::from_str(text).unwrap();
                items.into_iter().for_each(|item| tokens(item, found));
                found.push("]".into());
            }
            b'{' => {
                found.push("{".into());
                let Members(members) = serde_json::from_str(text).unwrap();
                for (key, value) in members {
                    found.push(key.get().to_owned());
                    tokens(&value, found);
                }
                found.push("}".into());
            }
            _ => found.push(text.to_owned()),
        }
    }

    /// The members of an object as spelled, including repeated keys.
    struct Members(Vec<(Box<RawValue>, Box<RawValue>)>);

    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Members;

                fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    out.write_str("an object")
                }

                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                    let mut members = Vec::new();
                    while let Some(member) = map.next_entry()? {
                        members.push(member);
                    }
                    Ok(Members(members))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }

    proptest! {
        #[test]
        fn every_token_keeps_its_spelling(json in json()) {
            let line = one_line(&json);
            prop_assert!(!line.contains(['\n', '\r']));
            let (mut before, mut after) = (Vec::new(), Vec::new());
            tokens(serde_json::from_str(&json).unwrap(), &mut before);
            tokens(serde_json::from_str(&line).unwrap(), &mut after);
            prop_assert_eq!(&before, &after);
            let spelled: usize = before.iter().map(String::len).sum();
            let separators = line.len() - spelled;
            // Besides the tokens, the line has only commas and colons, which are not more than the tokens.
            prop_assert!(separators <= before.len());
            prop_assert_eq!(one_line(&line), line);
        }

        #[test]
        fn any_text_becomes_one_line(text in "[\\\\\" \n\r\t{}a]{0,60}") {
            prop_assert!(!one_line(&text).contains(['\n', '\r']));
        }
    }
}

//! Escapes a value for the media type of a template.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters that are escaped in the value of a form's field: all but letters, digits and `-._~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The kind of text into which a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escaping {
    /// The value is inside a JSON string.
    Json,
    /// The value is inside a JSON string. The text has several JSON values: each is on a line of its own, or follows a
    /// separator.
    JsonLines,
    /// The value is in HTML or XML.
    Markup,
    /// The value is in HTML or XML, in a line of a stream. It must not contain line breaks.
    MarkupLine,
    /// The value is the value of a form's field.
    Form,
    /// The value is in a line for people. It must not contain line breaks, and must not control a terminal.
    Line,
    /// The value is one part of an address, such as the second part of the MQTT topic `sms/16505551234`. The argument
    /// lists the characters that have a meaning in the address, such as the separator `/`. In the value they become
    /// `_`, and so do white space and control characters. There is one exception: if `+` is on the list, a `+` at the
    /// beginning of the value (as in phone numbers) is left out. An empty value becomes `_`, so that no part of the
    /// address is empty.
    Part(&'static str),
    /// The value is in a text that no program parses, so nothing is escaped.
    None,
}

/// Whether a text of this media type holds several JSON values. `essence`: the media type without its parameters, in
/// small letters.
fn is_lines_of_json(essence: &str) -> bool {
    let (_, subtype) = essence.split_once('/').unwrap_or(("", essence));
    let subtype = subtype.strip_prefix("x-").unwrap_or(subtype);
    matches!(subtype, "ndjson" | "jsonl" | "jsonlines" | "json-lines" | "json-seq" | "jsonseq")
        || subtype.ends_with("+json-seq")
}

impl Escaping {
    pub(super) fn of(content_type: &str, as_line: bool) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/x-www-form-urlencoded" => Self::Form,
            "text/html" | "text/xml" | "application/xml" => Self::markup(as_line),
            lines if is_lines_of_json(lines) => Self::JsonLines,
            json if json.ends_with("/json") || json.ends_with("+json") => Self::Json,
            xml if xml.ends_with("+xml") => Self::markup(as_line),
            _ if as_line => Self::Line,
            _ => Self::None,
        }
    }

    fn markup(as_line: bool) -> Self {
        if as_line { Self::MarkupLine } else { Self::Markup }
    }

    /// Returns the text that is written in the place of a missing value.
    pub(super) fn of_nothing(self) -> &'static str {
        if let Self::Part(_) = self { "_" } else { "" }
    }

    pub(super) fn escape(self, text: &str) -> String {
        match self {
            Self::Json | Self::JsonLines => {
                let quoted = serde_json::Value::from(text).to_string();
                quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
            }
            Self::Markup => text.chars().fold(String::with_capacity(text.len()), |mut escaped, next| {
                match next {
                    '&' => escaped.push_str("&amp;"),
                    '<' => escaped.push_str("&lt;"),
                    '>' => escaped.push_str("&gt;"),
                    '"' => escaped.push_str("&quot;"),
                    '\'' => escaped.push_str("&#39;"),
                    other if is_forbidden_in_xml(other) => {}
                    other => escaped.push(other),
                }
                escaped
            }),
            Self::MarkupLine => Self::Markup.escape(&Self::Line.escape(text)),
            Self::Form => utf8_percent_encode(text, RESERVED).to_string(),
            Self::Line => text.replace("\r\n", " ").chars().map(on_one_line).collect(),
            Self::Part(special) => {
                let shown = text.strip_prefix('+').filter(|_| special.contains('+')).unwrap_or(text);
                let is_special = |next: char| special.contains(next) || next.is_whitespace() || next.is_control();
                match shown.is_empty() {
                    true => self.of_nothing().to_owned(),
                    false => shown.chars().map(|next| if is_special(next) { '_' } else { next }).collect(),
                }
            }
            Self::None => text.to_owned(),
        }
    }
}

/// Whether XML 1.0 forbids the character. Parsers refuse the whole document if it contains such a character.
fn is_forbidden_in_xml(next: char) -> bool {
    !matches!(next, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..)
}

/// Writes a text for people on one line. White space at the end is left out. Every other line break or tab becomes a
/// space. Characters that would control a terminal, or would reverse the direction of writing, become U+FFFD.
pub fn text_on_one_line(text: &str) -> String {
    Escaping::Line.escape(text.trim_end())
}

/// Replaces a character that a text on one line must not have. A line break or a tab becomes a space. A character that
/// would control a terminal, or would reverse the direction of writing, becomes U+FFFD.
fn on_one_line(next: char) -> char {
    match next {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        control if control.is_control() => '\u{fffd}',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_decides_the_escaping() {
        for (content_type, as_line, expected) in [
            ("application/json", false, Escaping::Json),
            ("Application/JSON; charset=utf-8", true, Escaping::Json),
            ("application/vnd.api+json", false, Escaping::Json),
            ("application/x-ndjson", false, Escaping::JsonLines),
            ("application/jsonl; charset=utf-8", true, Escaping::JsonLines),
            ("Application/JSON-Seq", false, Escaping::JsonLines),
            ("application/geo+json-seq", false, Escaping::JsonLines),
            ("text/x-ndjson", false, Escaping::JsonLines),
            ("text/html; charset=utf-8", false, Escaping::Markup),
            ("text/html; charset=utf-8", true, Escaping::MarkupLine),
            ("application/soap+xml", false, Escaping::Markup),
            ("application/x-www-form-urlencoded", false, Escaping::Form),
            ("text/plain", false, Escaping::None),
            ("text/plain", true, Escaping::Line),
        ] {
            assert_eq!(Escaping::of(content_type, as_line), expected, "{content_type}");
        }
    }

    #[test]
    fn a_part_of_an_address_is_never_empty_and_holds_no_separator() {
        for (special, value, expected) in [
            ("/+#", "+16505551234", "16505551234"),
            ("/+#", "+1/6+#\u{0}", "1_6___"),
            (".*>", "+16505551234", "+16505551234"),
            (".*>", "a.b c>", "a_b_c_"),
            ("/+#", "+", "_"),
            ("/+#", "", "_"),
        ] {
            assert_eq!(Escaping::Part(special).escape(value), expected, "{value:?}");
        }
    }

    #[test]
    fn characters_that_xml_cannot_contain_are_left_out() {
        let text = "a\u{0}\u{1}\t\n\r\u{b}\u{1f} \u{7f}\u{85}\u{fffd}\u{fffe}\u{ffff}\u{10000}\u{10ffff}";
        let kept = "a\t\n\r \u{7f}\u{85}\u{fffd}\u{10000}\u{10ffff}";
        assert_eq!(Escaping::Markup.escape(text), kept);
    }

    #[test]
    fn each_escaping_of_one_text() {
        const TEXT: &str = "a\"b\\c\nd\r\ne & <f> 'g'\u{1b}[31m\u{202e}é\u{1f600}";
        for (escaping, expected) in [
            (Escaping::Json, "a\\\"b\\\\c\\nd\\r\\ne & <f> 'g'\\u001b[31m\u{202e}é\u{1f600}"),
            (Escaping::Markup, "a&quot;b\\c\nd\r\ne &amp; &lt;f&gt; &#39;g&#39;[31m\u{202e}é\u{1f600}"),
            (Escaping::JsonLines, "a\\\"b\\\\c\\nd\\r\\ne & <f> 'g'\\u001b[31m\u{202e}é\u{1f600}"),
            (Escaping::Form, "a%22b%5Cc%0Ad%0D%0Ae%20%26%20%3Cf%3E%20%27g%27%1B%5B31m%E2%80%AE%C3%A9%F0%9F%98%80"),
            (Escaping::Line, "a\"b\\c d e & <f> 'g'\u{fffd}[31m\u{fffd}é\u{1f600}"),
            (Escaping::Part("/+#"), "a\"b\\c_d__e_&_<f>_'g'_[31m\u{202e}é\u{1f600}"),
            (Escaping::None, TEXT),
        ] {
            assert_eq!(escaping.escape(TEXT), expected, "{escaping:?}");
        }
    }
}

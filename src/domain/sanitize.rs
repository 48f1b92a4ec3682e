//! Makes text from outside safe to show: on a terminal, in a log, in a line of a protocol.
//!
//! The sender of a message, an answer or a header can write anything into it: line breaks that begin a new line, escape
//! sequences that clear or rename a terminal, characters that reverse the direction of the text after them. All these
//! characters are escaped.

use std::fmt::{self, Display, Write};

/// Shows a value. Every character that could act on a terminal or break out of its line is escaped, as JSON would
/// escape it: `\n`, `\u001b`, `\u202e`. If the value is JSON, it has the same meaning afterwards, because in valid JSON
/// such characters occur only in strings.
///
/// ```
/// use joltsms_relay::domain::Sanitized;
///
/// assert_eq!(Sanitized::line(&"500\r\nINFO all is well\u{1b}[2J").to_string(), r"500\r\nINFO all is well\u001b[2J");
/// ```
#[derive(Clone, Copy)]
pub struct Sanitized<'a, T: ?Sized> {
    value: &'a T,
    keep_lines: bool,
}

impl<'a, T: Display + ?Sized> Sanitized<'a, T> {
    /// Shows the value on one line.
    pub fn line(value: &'a T) -> Self {
        Self { value, keep_lines: false }
    }

    /// Shows the value with its own line breaks, for texts whose lines the program itself wrote.
    pub fn lines(value: &'a T) -> Self {
        Self { value, keep_lines: true }
    }
}

impl<T: Display + ?Sized> Display for Sanitized<'_, T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(ControlEscaping { out, keep_lines: self.keep_lines }, "{}", self.value)
    }
}

/// Escapes text while it is written.
struct ControlEscaping<'w, W: ?Sized> {
    out: &'w mut W,
    keep_lines: bool,
}

impl<W: Write + ?Sized> Write for ControlEscaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (at, next) in text.char_indices() {
            if acts(next) && !(self.keep_lines && next == '\n') {
                self.out.write_str(&text[plain..at])?;
                match next {
                    '\n' => self.out.write_str("\\n")?,
                    '\r' => self.out.write_str("\\r")?,
                    '\t' => self.out.write_str("\\t")?,
                    _ => {
                        let mut units = [0; 2];
                        next.encode_utf16(&mut units).iter().try_for_each(|unit| write!(self.out, "\\u{unit:04x}"))?;
                    }
                }
                plain = at + next.len_utf8();
            }
        }
        self.out.write_str(&text[plain..])
    }
}

/// Whether a character acts instead of being shown: controls, line and paragraph separators, changes of direction, and
/// invisible characters that can carry text. Joiners do not count: without them some scripts and most emoji fall apart.
pub fn acts(next: char) -> bool {
    next.is_control()
        || matches!(next,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_act_are_escaped() {
        for (text, line) in [
            ("plain, é, 漢字, \u{1f469}\u{200d}\u{1f4bb}", "plain, é, 漢字, \u{1f469}\u{200d}\u{1f4bb}"),
            ("a\nb\r\nc\td", r"a\nb\r\nc\td"),
            ("\u{1b}]52;c;aGk=\u{7}", r"\u001b]52;c;aGk=\u0007"),
            ("\u{9b}2J \u{7f}\0", r"\u009b2J \u007f\u0000"),
            ("\u{202e}gpj.exe\u{2066}", r"\u202egpj.exe\u2066"),
            ("\u{2028}\u{feff}\u{e0041}", r"\u2028\ufeff\udb40\udc41"),
        ] {
            assert_eq!(Sanitized::line(text).to_string(), line);
        }
        assert_eq!(Sanitized::lines("a\nb\r\nc\u{1b}").to_string(), "a\nb\\r\nc\\u001b");
    }

    #[test]
    fn escaped_json_is_the_same_json() {
        let json = "{\"a\u{9b}\":\"\u{202e}\u{e0041}\u{7f} é\"}";
        let plain = Sanitized::line(json).to_string();
        assert_eq!(plain, r#"{"a\u009b":"\u202e\udb40\udc41\u007f é"}"#);
        let read = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&plain), read(json));
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_acts_is_left(text in proptest::prelude::any::<String>()) {
            let line = Sanitized::line(&text).to_string();
            proptest::prop_assert!(!line.contains(acts));
            proptest::prop_assert_eq!(Sanitized::line(&line).to_string(), line);
        }
    }
}

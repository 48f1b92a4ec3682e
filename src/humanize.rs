//! Formats numbers, sizes, time spans and tables for people.

use std::time::Duration;

use crate::domain::Sanitized;

/// Formats a time span in its largest unit: `0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{:.1} s", span.as_secs_f64()),
        1..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Formats a size in its largest unit: `812 B`, `12.5 KiB`, `1.2 GiB`.
pub fn bytes(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

/// Formats a count with its noun: `1 message`, `1,200 messages`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Formats `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Makes a text from outside safe for a terminal: control characters are escaped.
pub fn harmless(text: &str) -> String {
    Sanitized::line(text).to_string()
}

/// Breaks a text into lines of at most `columns` characters, between words. A longer word has a line of its own.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut length) = (String::new(), 0);
    for piece in pieces(text) {
        let more = piece.chars().count();
        if length > 0 && length + 1 + more > columns {
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        line.push_str(&piece);
        length += more;
    }
    lines.push(line);
    lines
}

/// Returns the words of a text. A number and the word after it, such as its unit, are one piece.
fn pieces(text: &str) -> Vec<String> {
    let is_number = |word: &str| {
        word.ends_with(|last: char| last.is_ascii_digit())
            && word.chars().all(|next| next.is_ascii_digit() || matches!(next, '.' | ','))
    };
    let mut pieces: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match pieces.last_mut().filter(|last| is_number(last)) {
            Some(number) => *number = format!("{number} {word}"),
            None => pieces.push(word.to_owned()),
        }
    }
    pieces
}

/// Formats a table with a head. The first and the last column are aligned to the left, the columns between them to the
/// right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|&word| word.to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            last if last + 1 == widths.len() => cell.clone(),
            _ => format!("{cell:>width$}"),
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_one_unit() {
        for (millis, said) in [
            (0, "0.0 s"),
            (640, "0.6 s"),
            (12_300, "12 s"),
            (119_999, "119 s"),
            (120_000, "2 min"),
            (7_199_000, "119 min"),
            (7_200_000, "2 h"),
            (172_800_000, "2 d"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), said);
        }
    }

    #[test]
    fn sizes_have_one_unit() {
        let sizes = [0, 1023, 1024, 12_800, 5 << 20, u64::MAX];
        assert_eq!(sizes.map(bytes), ["0 B", "1023 B", "1.0 KiB", "12.5 KiB", "5.0 MiB", "16777215.9 TiB"]);
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, said) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), said);
        }
        assert_eq!((count(1, "message"), count(2000, "message")), ("1 message".into(), "2,000 messages".into()));
    }

    #[test]
    fn texts_are_broken_between_words() {
        for (text, columns, expected) in [
            ("", 10, &[""][..]),
            ("one", 10, &["one"]),
            ("one two three", 7, &["one two", "three"]),
            ("one two three", 6, &["one", "two", "three"]),
            ("a https://example.com/long b", 8, &["a", "https://example.com/long", "b"]),
            ("äöü äöü", 7, &["äöü äöü"]),
        ] {
            assert_eq!(wrapped(text, columns), expected, "{text:?} {columns}");
        }
    }

    #[test]
    fn columns_are_aligned() {
        let rows =
            vec![vec!["crm".into(), "12".into(), "ok".into()], vec!["archive".into(), "1".into(), String::new()]];
        assert_eq!(table(&["SINK", "N", "STATE"], &rows), "SINK      N  STATE\ncrm      12  ok\narchive   1\n");
    }
}

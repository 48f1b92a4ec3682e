//! The text of the configuration file, and the excerpts of it that error texts show.
//!
//! Invariant: no excerpt shows a value that may be a secret. A value is shown as `"…"` unless the code that reads its
//! key says that it may be shown. Comments are cut off. In a file that is not TOML no value is shown at all, because it
//! is unknown where a value begins and ends.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::declarations::Declarations;

/// Stands for a hidden value.
const HIDDEN: char = '…';

/// The greatest width of an excerpt, in characters. Of a longer line, only the part around the marked columns is shown.
const WIDEST: usize = 120;

/// The configuration file.
pub(super) struct SourceFile {
    path: PathBuf,
    text: String,
    /// The first byte of each line.
    lines: Vec<usize>,
    /// The parts that may be secret, as byte ranges: every value that is not a table or an array, and keys of an
    /// unusual form.
    values: Vec<Range<usize>>,
}

/// One line of the file, as it may be shown, and the columns that are marked below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Excerpt {
    /// Counted from 1.
    pub(super) line: usize,
    /// The line without the parts that must not be shown.
    pub(super) text: String,
    /// How many characters of `text` stand before the caret.
    pub(super) indent: usize,
    /// How many carets are drawn; at least 1.
    pub(super) width: usize,
}

impl SourceFile {
    /// Makes the value from the text of the file and the places of its values.
    pub(super) fn new(path: PathBuf, text: String, mut values: Vec<Range<usize>>) -> Self {
        values.sort_by_key(|range| range.start);
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        Self { path, text, lines, values }
    }

    /// The path of the file, as it was named or found.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The line of a byte, counted from 1. A byte after the end belongs to the last line.
    pub(super) fn line_of(&self, at: usize) -> usize {
        let at = at.min(self.text.trim_end().len());
        self.lines.partition_point(|start| *start <= at)
    }

    /// The line in which `span` begins, with carets under `span`. Values in `span` are shown if `reveal` is true.
    pub(super) fn excerpt(&self, span: &Range<usize>, reveal: bool) -> Excerpt {
        let line = self.line_of(span.start);
        let bytes = self.bytes_of_line(line);
        // Each shown character, with the byte of the file that it stands for.
        let mut shown: Vec<(usize, char)> = Vec::new();
        let mut at = bytes.start;
        let first = self.values.partition_point(|value| value.end <= bytes.start);
        for value in self.values.iter().skip(first).take_while(|value| value.start < bytes.end) {
            let is_revealed = reveal && value.start >= span.start && value.end <= span.end;
            let hidden = value.start.max(at)..value.end.min(bytes.end);
            if is_revealed || hidden.is_empty() {
                continue;
            }
            shown.extend(self.characters(at..hidden.start));
            let is_quoted = self.text.get(value.clone()).is_some_and(|text| text.starts_with(['"', '\'']));
            let stand_in = if is_quoted { format!("\"{HIDDEN}\"") } else { HIDDEN.to_string() };
            shown.extend(stand_in.chars().map(|next| (hidden.start, next)));
            at = hidden.end;
        }
        shown.extend(self.characters(at..bytes.end));
        // A `#` in a value that is shown does not begin a comment, so the search for a comment begins after that value.
        let searched_from = if reveal { span.end } else { bytes.start };
        let comment = shown.iter().position(|(at, next)| *next == '#' && *at >= searched_from);
        shown.truncate(comment.unwrap_or(shown.len()));
        let column = |byte: usize| shown.iter().take_while(|(at, _)| *at < byte).count();
        let text: String = shown.iter().map(|(_, next)| *next).collect();
        cut(line, &text, column(span.start), column(span.end))
    }

    /// The line of this byte in a file that is not TOML: the key or the header of the line, never a value.
    pub(super) fn excerpt_of_broken(&self, declared: &Declarations, at: usize) -> Excerpt {
        let line = self.line_of(at);
        let bytes = self.bytes_of_line(line);
        let text = self.text.get(bytes.clone()).unwrap_or_default();
        let shown = match text.find('=') {
            Some(equals) if declared.is_known(text[..equals].trim()) => equals + 1,
            None if declared.is_known_header(text) => text.len(),
            // A line that looks complete may be the rest of a broken string, so nothing of it is shown.
            _ => 0,
        };
        let (head, rest) = text.split_at(shown);
        let mut shown: String = head.chars().map(harmless).collect();
        let is_hidden = !rest.trim().is_empty();
        if is_hidden {
            shown += if rest.starts_with(' ') { " " } else { "" };
            shown.push(HIDDEN);
        }
        let column = text.get(..at.saturating_sub(bytes.start)).map_or(0, |before| before.chars().count());
        let column = column.min(shown.chars().count().saturating_sub(usize::from(is_hidden)));
        cut(line, &shown, column, column + 1)
    }

    /// The lines that cannot be checked because this line is not TOML. These are the line itself and, if it looks like
    /// the header of a table, all lines down to the next header.
    pub(super) fn doubtful_lines(&self, line: usize) -> Range<usize> {
        let is_header = |line: &usize| {
            self.text.get(self.bytes_of_line(*line)).is_some_and(|text| text.trim_start().starts_with('['))
        };
        let last = self.lines.len();
        if is_header(&line) { line..(line + 1..=last).find(is_header).unwrap_or(last + 1) } else { line..line + 1 }
    }

    /// The bytes of a line, without its end, and without a byte order mark, which has no width.
    fn bytes_of_line(&self, line: usize) -> Range<usize> {
        let start = self.lines.get(line - 1).copied().unwrap_or(self.text.len());
        let end = self.lines.get(line).copied().unwrap_or(self.text.len());
        let content = self.text.get(start..end).unwrap_or_default().trim_end_matches(['\n', '\r']);
        let mark = if content.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        start + mark..start + content.len()
    }

    /// The characters of a part of the file, each with its first byte.
    fn characters(&self, bytes: Range<usize>) -> impl Iterator<Item = (usize, char)> {
        let text = self.text.get(bytes.clone()).unwrap_or_default();
        text.char_indices().map(move |(at, next)| (bytes.start + at, harmless(next)))
    }
}

/// A space in place of a character that acts on a terminal; any other character stays.
fn harmless(next: char) -> char {
    if next.is_control() { ' ' } else { next }
}

/// Cuts a line that is too long, around its caret.
fn cut(line: usize, text: &str, start: usize, end: usize) -> Excerpt {
    let text = text.trim_end();
    let length = text.chars().count();
    let first = if length > WIDEST { start.saturating_sub(WIDEST / 3).min(length - WIDEST) } else { 0 };
    let text: String = text.chars().skip(first).take(WIDEST).collect();
    let start = (start - first).min(text.chars().count());
    let width = end.saturating_sub(first).min(text.chars().count()).saturating_sub(start).max(1);
    Excerpt { line, text: without_keys(&text), indent: start, width }
}

/// Hides the text after `jolt_sk_`. Error texts show names and paths, and somebody may have put an API key in the place
/// of a name or a path.
pub(super) fn without_keys(text: &str) -> String {
    let mut parts = text.split("jolt_sk_");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|next: char| next.is_alphanumeric());
        clean += if rest.len() == part.len() { "jolt_sk_" } else { "jolt_sk_…" };
        clean += rest;
    }
    clean
}

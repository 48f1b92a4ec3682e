//! The terminal, pipe or file that a command prints to: how wide it is, and whether it shows colours.

use std::io::{IsTerminal as _, stdout};

use rustix::termios::tcgetwinsize;

use super::global_flags::Flags;
use crate::humanize::wrapped;

/// A text after its label is wrapped only if at least this many columns are left for the text.
const LEAST_FOR_TEXT: usize = 20;

/// If a line is broken, its further lines are indented by this many columns more than its first line.
const FURTHER_INDENT: usize = 2;

/// The stdout of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    /// The width of the terminal in columns; `None`: stdout is no terminal, or its width is not known.
    pub(super) columns: Option<usize>,
    /// Whether colours are shown.
    pub(super) colored: bool,
}

/// The colour of a text, by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Warning,
    Bad,
    Faint,
}

impl Screen {
    /// Returns the width of stdout, and whether it shows colours.
    pub(super) fn stdout(flags: &Flags) -> Self {
        let stdout = stdout();
        let is_terminal = stdout.is_terminal();
        let columns = tcgetwinsize(&stdout).ok().filter(|_| is_terminal).map(|size| usize::from(size.ws_col));
        Self { columns: columns.filter(|columns| *columns > 0), colored: flags.color() && is_terminal }
    }

    /// Colours a text if colours are shown.
    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        };
        if self.colored && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Whether no line of a text is wider than the terminal.
    pub(super) fn holds(&self, text: &str) -> bool {
        self.columns.is_none_or(|columns| text.lines().all(|line| line.chars().count() <= columns))
    }

    /// Breaks the lines of a text that are wider than the terminal, and indents their further parts.
    pub(super) fn folded(&self, text: &str) -> String {
        let mut folded = String::new();
        for line in text.lines() {
            if self.holds(line) {
                folded += &format!("{line}\n");
                continue;
            }
            let words = line.trim_start();
            let first = line.len() - words.len();
            let further = first + FURTHER_INDENT;
            for (place, part) in self.behind(further, words).iter().enumerate() {
                let indent = if place == 0 { first } else { further };
                folded += &format!("{:indent$}{part}\n", "");
            }
        }
        folded
    }

    /// Formats a label of `width` columns, and the text after it. If the text is too wide, it is broken into lines that
    /// begin below each other.
    pub(super) fn labelled(&self, label: &str, width: usize, text: &str) -> String {
        let lines = self.behind(width, text);
        let labels = std::iter::once(label).chain(std::iter::repeat(""));
        labels.zip(lines).map(|(label, line)| format!("{label:<width$}{line}\n")).collect()
    }

    /// Breaks a text that stands after a label of this width, so that label and text fit the terminal. Returns the
    /// lines of the text without the label.
    pub(super) fn behind(&self, label: usize, text: &str) -> Vec<String> {
        match self.columns.and_then(|columns| columns.checked_sub(label)) {
            Some(room) if room >= LEAST_FOR_TEXT => wrapped(text, room),
            _ => vec![text.to_owned()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_wrapped_only_where_it_has_room() {
        let text = "twelve words of which some are long and others are not so long";
        let lines = |columns| Screen { columns, colored: false }.behind(10, text).len();
        assert_eq!([lines(None), lines(Some(29)), lines(Some(30)), lines(Some(80))], [1, 1, 4, 1]);
    }

    #[test]
    fn the_lines_of_a_wide_text_stand_below_each_other() {
        let labelled = |columns| Screen { columns, colored: false }.labelled("name", 6, "a text that is too wide");
        assert_eq!(labelled(None), "name  a text that is too wide\n");
        assert_eq!(labelled(Some(26)), "name  a text that is too\n      wide\n");
    }

    #[test]
    fn a_text_fits_if_its_longest_line_does() {
        let holds = |columns| Screen { columns, colored: false }.holds("a\nbücher\n");
        assert_eq!([holds(None), holds(Some(6)), holds(Some(5))], [true, true, false]);
    }

    #[test]
    fn a_wide_line_is_broken_and_indented() {
        let folded = |columns| Screen { columns, colored: false }.folded("short\n  a line that is too wide for it\n");
        assert_eq!(folded(None), "short\n  a line that is too wide for it\n");
        assert_eq!(folded(Some(26)), "short\n  a line that is too\n    wide for it\n");
    }

    #[test]
    fn without_colours_a_text_stays_as_it_is() {
        let plain = Screen { columns: None, colored: false };
        let colored = Screen { colored: true, ..plain };
        assert_eq!(
            (plain.paint(Tone::Bad, "x"), colored.paint(Tone::Bad, "x")),
            ("x".into(), "\x1b[31mx\x1b[0m".into())
        );
        assert_eq!(colored.paint(Tone::Good, ""), "");
    }
}

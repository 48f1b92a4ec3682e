//! The progress bar of a long catch-up, on a terminal, below the lines of the log.
//!
//! Invariant: the bar never breaks a line of the log. The bar is removed before a line is written, and drawn again
//! below the line.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::config::{Config, LogFormat};
use crate::ingest::CatchUp;

/// The progress bar, while it is shown. Clones share one bar.
#[derive(Clone, Debug, Default)]
pub struct Bar(Arc<Mutex<Option<ProgressBar>>>);

impl Bar {
    /// Makes a bar for this process, if the log goes to a terminal as text and shows the level `info`. Makes none if
    /// messages go to a terminal as well, because the bar would mix with them.
    pub fn for_terminal(config: &Config) -> Option<Self> {
        let log_is_there = config.log.dir.is_none() && config.log.format == LogFormat::Text;
        let is_told = config.log.level >= tracing::Level::INFO;
        let prints = config.sinks.iter().any(|sink| sink.target.is_stdout());
        let mixed = prints && io::stdout().is_terminal();
        (log_is_there && is_told && !mixed && io::stderr().is_terminal()).then(Self::default)
    }

    /// Draws the progress of a catch-up; `None` removes the bar. Blocks until the terminal accepts the output. If the
    /// terminal never accepts output, this blocks for ever.
    pub fn show(&self, catch_up: Option<&CatchUp>) {
        let mut bar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match catch_up.filter(|catch_up| catch_up.is_long()) {
            Some(catch_up) => {
                let bar = bar.get_or_insert_with(ProgressBar::no_length);
                draw(bar, catch_up);
            }
            None => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
            }
        }
    }
}

fn draw(bar: &ProgressBar, catch_up: &CatchUp) {
    let template = match catch_up.pages_left {
        Some(left) => {
            bar.set_length(catch_up.pages_read.saturating_add(left));
            "{bar:20} {wide_msg}"
        }
        None => "{spinner} {wide_msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(words(catch_up));
    bar.set_position(catch_up.pages_read);
    bar.tick();
}

/// Describes a catch-up: `1240 older messages, 320 pages to go, 3 minutes, back to 2026-11-25T08:00:00.000Z`. The text
/// is cut off at the end of the terminal's line.
fn words(catch_up: &CatchUp) -> String {
    let mut words = format!("{} older messages", catch_up.messages_read);
    if let Some(pages) = catch_up.pages_left {
        words += &format!(", {pages} pages to go");
    }
    if let Some(left) = catch_up.time_left() {
        words += &format!(", {}", HumanDuration(Duration::from_secs(left.as_secs())));
    }
    words + &format!(", back to {}", catch_up.reached)
}

/// A writer that writes lines to stderr, above the bar.
#[derive(Debug)]
pub(super) struct AboveBar {
    pub(super) bar: Option<Bar>,
    pub(super) stderr: File,
}

impl Write for AboveBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { bar: Some(Bar(bar)), stderr } = self else { return self.stderr.write(bytes) };
        let bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
        match &*bar {
            Some(bar) => bar.suspend(|| stderr.write(bytes)),
            None => stderr.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stderr.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;

    #[test]
    fn the_bar_tells_what_was_read_and_what_is_left() {
        let known = CatchUp {
            walks: 1,
            pages_read: 124,
            messages_read: 1240,
            pages_left: Some(320),
            pages_per_minute: 60.0,
            reached: UnixMs(0),
        };
        let words_of = |catch_up: &CatchUp| words(catch_up);
        assert_eq!(
            words_of(&known),
            "1240 older messages, 320 pages to go, 5 minutes, back to 1970-01-01T00:00:00.000Z"
        );
        let unknown = CatchUp { pages_left: None, ..known };
        assert_eq!(words_of(&unknown), "1240 older messages, back to 1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn the_bar_is_there_only_while_there_is_much_to_read() {
        let bar = Bar::default();
        let long = CatchUp {
            walks: 1,
            pages_read: 3,
            messages_read: 30,
            pages_left: Some(50),
            pages_per_minute: 0.0,
            reached: UnixMs(0),
        };
        let is_there = || bar.0.lock().unwrap().is_some();
        bar.show(Some(&CatchUp { pages_left: Some(2), ..long }));
        assert!(!is_there());
        bar.show(Some(&long));
        assert!(is_there());
        let nowhere = File::options().write(true).open("/dev/null").unwrap();
        AboveBar { bar: Some(bar.clone()), stderr: nowhere }.write_all(b"a line\n").unwrap();
        bar.show(None);
        assert!(!is_there());
    }
}

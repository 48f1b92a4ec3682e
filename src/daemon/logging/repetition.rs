//! Decides which lines are left out of the log, because lines of the same kind were written too often. Pure.
//!
//! Invariants: in every window, the first [`LINES_OF_A_KIND`] lines of each kind are written. The further lines are
//! left out and counted, and their number is reported once, when the window is over.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::time::Instant;

/// The length of a window. Each kind of line has windows of its own. A window begins with the first line of the kind
/// after the end of the previous window.
pub(super) const REPETITION_WINDOW: Duration = Duration::from_secs(60);

/// The most lines of one kind that are written in one window.
pub(super) const LINES_OF_A_KIND: u32 = 50;

/// For each kind `K` of lines: how many were written and left out in its window.
#[derive(Debug)]
pub(super) struct Repetitions<K>(HashMap<K, LinesOfKind>);

#[derive(Debug)]
struct LinesOfKind {
    window_began: Instant,
    written: u32,
    /// The lines that were left out and not reported yet.
    left_out: Option<LinesLeftOut>,
}

#[derive(Debug)]
struct LinesLeftOut {
    lines: u64,
    /// The message of the first of these lines.
    message: String,
    report_at: Instant,
}

/// A report of the lines of one kind that were left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RepetitionReport<K> {
    pub(super) kind: K,
    /// How many lines were left out.
    pub(super) lines: u64,
    /// The message of the first of these lines.
    pub(super) message: String,
}

impl<K> Default for Repetitions<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Eq + Hash> Repetitions<K> {
    /// Returns whether a line of this kind is written, and counts the line.
    pub(super) fn admits(&mut self, kind: K, message: &str, now: Instant) -> bool {
        let begins = LinesOfKind { window_began: now, written: 0, left_out: None };
        let lines = self.0.entry(kind).or_insert(begins);
        if now.saturating_duration_since(lines.window_began) >= REPETITION_WINDOW {
            (lines.window_began, lines.written) = (now, 0);
        }
        if lines.written < LINES_OF_A_KIND {
            lines.written += 1;
            return true;
        }
        let report_at = lines.window_began + REPETITION_WINDOW;
        let first = || LinesLeftOut { lines: 0, message: message.to_owned(), report_at };
        lines.left_out.get_or_insert_with(first).lines += 1;
        false
    }

    /// Returns the instant at which the next report is due; `None` if no line was left out.
    pub(super) fn next_report(&self) -> Option<Instant> {
        self.0.values().filter_map(|lines| Some(lines.left_out.as_ref()?.report_at)).min()
    }

    /// Returns the reports that are due.
    pub(super) fn due_reports(&mut self, now: Instant) -> Vec<RepetitionReport<K>> {
        self.take_reports(|left_out| left_out.report_at <= now)
    }

    /// Returns all reports, also those that are not due yet.
    pub(super) fn last_reports(&mut self) -> Vec<RepetitionReport<K>> {
        self.take_reports(|_| true)
    }

    fn take_reports(&mut self, is_due: impl Fn(&LinesLeftOut) -> bool) -> Vec<RepetitionReport<K>> {
        let reports = self.0.iter_mut().filter_map(|(kind, lines)| {
            let LinesLeftOut { lines, message, .. } = lines.left_out.take_if(|left_out| is_due(left_out))?;
            Some(RepetitionReport { kind: kind.clone(), lines, message })
        });
        reports.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> Instant {
        Clock::starting_at(UnixMs(0)).monotonic()
    }

    /// Logs lines of one kind at one moment. Returns how many of them are written.
    fn log(repetitions: &mut Repetitions<&'static str>, kind: &'static str, lines: u32, now: Instant) -> usize {
        (0..lines).filter(|line| repetitions.admits(kind, &format!("line {line}"), now)).count()
    }

    fn report(kind: &'static str, lines: u64, message: &str) -> RepetitionReport<&'static str> {
        RepetitionReport { kind, lines, message: message.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_lines_of_each_kind_are_written_and_the_rest_is_counted() {
        let (mut repetitions, now) = (Repetitions::default(), start());
        assert_eq!(log(&mut repetitions, "crm", 1000, now), 50);
        assert_eq!(log(&mut repetitions, "shop", 7, now), 7, "the lines of another kind are counted separately");
        assert_eq!(repetitions.next_report(), Some(now + REPETITION_WINDOW));
        assert_eq!(repetitions.due_reports(now + 59 * SECOND), []);
        assert_eq!(repetitions.due_reports(now + 60 * SECOND), [report("crm", 950, "line 50")]);
        assert_eq!((repetitions.next_report(), repetitions.last_reports()), (None, vec![]), "reported once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_now_and_then_is_never_left_out() {
        let (mut repetitions, now) = (Repetitions::default(), start());
        // Thirty lines a minute, for twenty minutes.
        let written = (0..600).filter(|time| repetitions.admits("api", "", now + 2 * SECOND * *time)).count();
        assert_eq!((written, repetitions.next_report()), (600, None));
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_window_begins_with_the_next_line() {
        let (mut repetitions, now) = (Repetitions::default(), start());
        assert_eq!(log(&mut repetitions, "crm", 60, now), 50);
        // The window is over before anybody has asked for the report.
        assert_eq!(log(&mut repetitions, "crm", 60, now + 90 * SECOND), 50);
        assert_eq!(repetitions.due_reports(now + 90 * SECOND), [report("crm", 20, "line 50")]);
        assert_eq!(log(&mut repetitions, "crm", 1, now + 100 * SECOND), 0);
        assert_eq!(repetitions.next_report(), Some(now + 150 * SECOND), "the end of the window that began at 90 s");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_process_reports_everything() {
        let (mut repetitions, now) = (Repetitions::default(), start());
        log(&mut repetitions, "crm", 51, now);
        assert_eq!(repetitions.last_reports(), [report("crm", 1, "line 50")]);
        assert_eq!(repetitions.last_reports(), []);
    }
}

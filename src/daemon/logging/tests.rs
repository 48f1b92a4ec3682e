//! Tests of whole lines: the limit on repetitions, and the examples in `docs/logging.md`.

use super::*;
use crate::delivery::log_sentences::{MESSAGE_IS_DEAD, SINK_FAILS};

/// The text of `docs/logging.md`.
const DOCUMENT: &str = include_str!("../../../docs/logging.md");

/// Returns the lines that the log writes for `events`.
fn log_of(format: LogFormat, stream: LogStream, events: impl FnOnce(), limit: Option<RepetitionLimit>) -> String {
    let lines = Lines(Arc::default());
    let log = Log { level: Level::TRACE, format, dir: None, keep_files: 0 };
    let (dispatch, _) = dispatch(&log, false, stream, lines.clone(), limit);
    tracing::dispatcher::with_default(&dispatch, events);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn examples() {
    tracing::info!(failures = 3, "the API can be polled again");
    tracing::warn!(sink.name = "crm", reason = "503: try later", "{SINK_FAILS}");
    tracing::error!(
        refusal = %"401 UNAUTHORIZED",
        retry_s = 60,
        "the API accepts no key: make a new one in the dashboard and configure it; deliveries go on"
    );
}

/// Logs `lines` lines of each of three kinds.
fn repeat(lines: usize) {
    for _ in 0..lines {
        tracing::debug!(sink.name = "crm", "delivered");
        for sink in ["crm", "shop"] {
            tracing::error!(sink.name = sink, "{MESSAGE_IS_DEAD}");
        }
    }
}

/// Returns one value for each line: whether the document has this line. Times do not matter.
fn documented(lines: &str) -> Vec<bool> {
    let time = regex::Regex::new(r"\d{4}-\d\d-\d\dT[\d:.]+Z").unwrap();
    let without_time = |line: &str| time.replace(line, "TIME").into_owned();
    let known: Vec<String> = DOCUMENT.lines().map(without_time).collect();
    lines.lines().map(|line| known.contains(&without_time(line))).collect()
}

#[test]
fn the_examples_of_the_document_are_real() {
    let forms = [
        (LogFormat::Text, LogStream::Plain),
        (LogFormat::Text, LogStream::Journal),
        (LogFormat::Json, LogStream::Plain),
    ];
    for (format, stream) in forms {
        let lines = log_of(format, stream, examples, None);
        assert_eq!(documented(&lines), [true; 3], "{lines}");
    }
    for (level, number) in [(Level::ERROR, 3), (Level::WARN, 4), (Level::INFO, 6)] {
        assert_eq!(line::priority(level), number);
        assert!(DOCUMENT.contains(&format!("| `{level}` | {number} (")), "{level}");
    }
    let (notice, _) =
        notice(&Log { level: Level::WARN, format: LogFormat::Text, dir: None, keep_files: 0 }, false, LogStream::Plain);
    let line = String::from_utf8(notice(376)).unwrap();
    assert_eq!(documented(&line), [true], "{line}");
    let count = repetition::LINES_OF_A_KIND;
    let seconds = repetition::REPETITION_WINDOW.as_secs();
    assert!(DOCUMENT.contains(&format!("{count} lines of the same kind in {seconds} seconds")));
    assert!(DOCUMENT.contains("Up to 1,024 lines wait") && writer::BUFFERED_LINES == 1024);
    assert!(DOCUMENT.contains(&format!("`{PREFIX}.2026-06-15.log`")));
}

#[test]
fn lines_that_repeat_are_left_out_and_counted_for_each_sink() {
    let (limit, guard) = repetition_limit::start(Clock::system());
    let lines = log_of(
        LogFormat::Text,
        LogStream::Plain,
        || {
            repeat(1000);
            tracing::error!(sink.name = "crm", "another line");
            drop(guard);
        },
        Some(limit),
    );
    let count = |text: &str| lines.lines().filter(|line| line.ends_with(text)).count();
    assert_eq!(count("DEBUG delivered sink.name=\"crm\""), 1000);
    for sink in ["crm", "shop"] {
        assert_eq!(count(&format!("ERROR {MESSAGE_IS_DEAD} sink.name=\"{sink}\"")), 50);
        let report = format!("lines=950 repeated=\"{MESSAGE_IS_DEAD}\" sink.name=\"{sink}\"");
        assert_eq!(count(&format!("ERROR lines that repeat were left out of the log {report}")), 1, "{lines}");
    }
    assert_eq!(count("ERROR another line sink.name=\"crm\""), 1);
    let reports: Vec<&str> = lines.lines().filter(|line| line.contains("repeat were left out")).collect();
    assert!(documented(&reports.join("\n")).contains(&true), "{reports:?}");
}

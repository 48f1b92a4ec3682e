//! The log, which is written to stderr or to one file a day. The log never goes to stdout, because stdout belongs to
//! messages.
//!
//! Invariants:
//! - Other crates may log warnings and errors only, since the HTTP client's debug lines name URLs. The errors of the
//!   certificate verifier are left out, because the relay's own lines report them once, with a remedy. [`line`] formats
//!   all lines.
//! - The relay never waits for the log; `writer` sees to that.
//! - A line that repeats too often is left out and counted; `repetition_limit` sees to that.

mod daily_file;
mod line;
mod repetition;
mod repetition_limit;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Level};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use super::progress::{AboveBar, Bar};
use crate::config::{Log, LogFormat};
use crate::sinks::stdout::append_only;
use crate::time::Clock;
use daily_file::DailyFile;
use line::LogStream;
use repetition_limit::{RepetitionGuard, RepetitionLimit};
use writer::{LinesGuard, Notice};

/// The log target of the certificate verifier. The verifier logs an error for each certificate that it refuses; these
/// errors are left out. Its warnings about authorities that cannot be read are logged.
const VERIFIER: &str = "rustls_platform_verifier";

/// The beginning of the names of log files.
const PREFIX: &str = "joltsms-relay";

/// When this guard is dropped, it waits until the last lines of the log are written.
#[derive(Debug)]
#[must_use = "without it the last lines of the log may be lost"]
pub struct LogGuard {
    // The fields are dropped in this order: the first one may log, the second one waits for the last lines.
    _repetitions: RepetitionGuard,
    _lines: LinesGuard,
}

/// Starts the log of this process. On stderr the lines are written above `bar`. `journal` says that stderr is systemd's
/// journal: then each line begins with its priority, and lines for people have no time, because the journal adds the
/// time itself.
///
/// # Errors
/// An error if the directory or its files cannot be made, or if a log was started before.
pub fn start(log: &Log, color: bool, journal: bool, bar: Option<Bar>) -> anyhow::Result<(LogGuard, LogLevel)> {
    let Some(dir) = &log.dir else {
        let color = color && io::stderr().is_terminal();
        // This is a copy of stderr, because `std::io::Stderr` would hold its lock for as long as a write takes.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        append_only(&stderr);
        let stream = if journal { LogStream::Journal } else { LogStream::Plain };
        return init(log, color, stream, AboveBar { bar, stderr });
    };
    let refused = |error: &dyn std::fmt::Display| anyhow::anyhow!("cannot write the log to {}: {error}", dir.display());
    std::fs::create_dir_all(dir).map_err(|error| refused(&error))?;
    let appender = DailyFile::open(dir, log.keep_files, today).map_err(|error| refused(&error))?;
    let started = init(log, false, LogStream::Plain, appender)?;
    super::permissions::close(dir, &[PREFIX]);
    Ok(started)
}

/// Returns the date of today in UTC, such as `2026-01-31`.
fn today() -> String {
    let mut now = Clock::system().machine_time().to_string();
    now.truncate(now.find('T').unwrap_or(now.len()));
    now
}

/// Returns a text of one or several lines in the form for the journal: each line begins with the priority of an error.
pub fn with_error_priority(text: &str) -> String {
    let priority = line::priority(Level::ERROR);
    text.lines().map(|line| format!("<{priority}>{line}")).collect::<Vec<_>>().join("\n")
}

fn init(
    log: &Log,
    color: bool,
    stream: LogStream,
    to: impl Write + Send + 'static,
) -> anyhow::Result<(LogGuard, LogLevel)> {
    let (notice, of_notice) = notice(log, color, stream);
    let (lines, lines_guard) = writer::start(to, notice);
    let (limit, limit_guard) = repetition_limit::start(Clock::system());
    let (dispatch, of_lines) = dispatch(log, color, stream, lines, Some(limit));
    dispatch.try_init()?;
    Ok((LogGuard { _repetitions: limit_guard, _lines: lines_guard }, LogLevel([of_notice, of_lines])))
}

/// Calls `say`, which logs something, and writes the log lines to stderr as JSON. Used for errors before [`start`].
/// `journal` says that stderr is systemd's journal.
pub fn before_start(journal: bool, say: impl FnOnce()) {
    let stream = if journal { LogStream::Journal } else { LogStream::Plain };
    let lines = Arc::<Mutex<Vec<u8>>>::default();
    let log = Log { level: Level::ERROR, format: LogFormat::Json, dir: None, keep_files: 0 };
    let (dispatch, _) = dispatch(&log, false, stream, Lines(Arc::clone(&lines)), None);
    tracing::dispatcher::with_default(&dispatch, say);
    // stderr may be closed. The exit code reports the failure as well.
    drop(io::stderr().write_all(&lines.lock().unwrap_or_else(PoisonError::into_inner)));
}

/// Changes the level of the log of this process.
#[derive(Clone, Debug)]
pub struct LogLevel([reload::Handle<Targets, Registry>; 2]);

impl LogLevel {
    /// From now on, logs lines of this level and of more important levels.
    pub fn set(&self, level: Level) {
        for handle in &self.0 {
            // Fails only after the log has ended.
            handle.reload(targets(level)).ok();
        }
    }
}

/// Returns the filter of the lines for a level. Lines of other crates pass only if they are warnings or errors.
fn targets(level: Level) -> Targets {
    let ours = LevelFilter::from_level(level);
    let others = LevelFilter::from_level(level.min(Level::WARN));
    Targets::new().with_default(others).with_target("joltsms_relay", ours)
}

/// Builds the layers between an event and the bytes of its line. Also returns the handle that changes the level.
/// Without `limit` all lines are written, however often they repeat.
fn dispatch<W>(
    log: &Log,
    color: bool,
    stream: LogStream,
    writer: W,
    limit: Option<RepetitionLimit>,
) -> (Dispatch, reload::Handle<Targets, Registry>)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (targets, handle) = reload::Layer::new(targets(log.level));
    // With `log_internal_errors` the library would write its own errors to stderr, and block if nobody reads stderr.
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(color).log_internal_errors(false);
    let once = filter_fn(|line| *line.level() != Level::ERROR || !line.target().starts_with(VERIFIER));
    let registry = tracing_subscriber::registry().with(targets).with(once).with(limit);
    let dispatch = match log.format {
        LogFormat::Json => registry.with(layer.event_format(line::Json(stream))).into(),
        LogFormat::Text => registry.with(layer.event_format(line::TextLine(stream))).into(),
    };
    (dispatch, handle)
}

/// Makes the function that formats the line about missing lines. This line has the same format as all lines. It does
/// not pass through the queue, because the queue is full when lines are missing. Also returns the handle that changes
/// the level.
fn notice(log: &Log, color: bool, stream: LogStream) -> (Notice, reload::Handle<Targets, Registry>) {
    let line = Arc::<Mutex<Vec<u8>>>::default();
    let (dispatch, level) = dispatch(log, color, stream, Lines(Arc::clone(&line)), None);
    let notice = Box::new(move |lines| {
        tracing::dispatcher::with_default(&dispatch, || {
            tracing::warn!(lines, "the log could not be written for a while: lines are missing here");
        });
        std::mem::take(&mut *line.lock().unwrap_or_else(PoisonError::into_inner))
    });
    (notice, level)
}

/// A writer that keeps the bytes that are written to it.
#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

//! The log: stderr, or a file a day. Never stdout, which belongs to messages.
//!
//! Invariant: only our own lines. The HTTP client's debug lines name URLs, so other crates may at most warn; what the
//! verifier of certificates says at every attempt, our own lines say once, with what to do. What a line may look like is
//! [`line`]'s.

mod line;

use std::io::{self, IsTerminal as _};

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::progress::{AboveBar, Bar};
use crate::config::{Log, LogFormat};
use crate::files;
use crate::time::Clock;

/// Its errors come with each attempt; its warnings, of authorities that cannot be read, stay.
const VERIFIER: &str = "rustls_platform_verifier";

/// How the names of log files begin.
const PREFIX: &str = "joltsms-relay";

/// Keeps the log going; what is buffered is written when it is dropped.
#[derive(Debug, Default)]
#[must_use = "dropping it ends the log"]
pub struct LogGuard {
    _writer: Option<WorkerGuard>,
}

/// Starts the log of this process. On stderr its lines stand above `bar`.
///
/// # Errors
/// If the directory or its files cannot be made, or a log was started before.
pub fn start(log: &Log, color: bool, bar: Option<Bar>) -> anyhow::Result<LogGuard> {
    let Some(dir) = &log.dir else {
        let color = color && io::stderr().is_terminal();
        // The journal stamps each line itself.
        let stamp = std::env::var_os("JOURNAL_STREAM").is_none() || io::stderr().is_terminal();
        init(log, color, stamp, AboveBar(bar))?;
        return Ok(LogGuard::default());
    };
    let refused = |error: &dyn std::fmt::Display| anyhow::anyhow!("cannot write the log to {}: {error}", dir.display());
    std::fs::create_dir_all(dir).map_err(|error| refused(&error))?;
    // Made here so that it is made through no link, and for the directory's owner if root begins the day.
    let today = Clock::system().wall().to_string();
    let today = today.split_once('T').map_or("", |(date, _)| date);
    files::open_or_make(&dir.join(format!("{PREFIX}.{today}.log"))).map_err(|error| refused(&error))?;
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(PREFIX)
        .filename_suffix("log")
        .max_log_files(log.keep_files)
        .build(dir)
        .map_err(|error| refused(&error))?;
    let (writer, guard) = tracing_appender::non_blocking(appender);
    init(log, false, true, writer)?;
    super::private::close(dir, &[PREFIX]);
    Ok(LogGuard { _writer: Some(guard) })
}

fn init<W>(log: &Log, color: bool, stamp: bool, writer: W) -> anyhow::Result<()>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let ours = LevelFilter::from_level(log.level);
    let others = LevelFilter::from_level(log.level.min(Level::WARN));
    let targets = Targets::new().with_default(others).with_target("joltsms_relay", ours);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(color);
    let once = filter_fn(|line| *line.level() != Level::ERROR || !line.target().starts_with(VERIFIER));
    let registry = tracing_subscriber::registry().with(targets).with(once);
    match log.format {
        LogFormat::Json => registry.with(layer.event_format(line::Json)).try_init()?,
        LogFormat::Text => registry.with(layer.event_format(line::Text { stamp })).try_init()?,
    }
    Ok(())
}

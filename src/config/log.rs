//! The keys of `[log]`. They are declared here and not in the daemon, which makes the log, because the daemon is a
//! higher layer.

use std::path::PathBuf;

use tracing::Level;

use crate::settings::{self, WordChoice, settings};

settings! {
    /// `[log]`
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Log {
        /// The least important level that is logged; less important lines are left out.
        pub level: Level = settings::choice(Level::INFO),
        /// text is for people; json is one object a line.
        pub format: LogFormat = settings::choice(LogFormat::Text),
        /// Where log files go, a new one each day. Default: $LOGS_DIRECTORY if it is set; otherwise the log goes to
        /// stderr.
        pub dir: Option<PathBuf> = settings::path().by_default("\"/var/log/joltsms-relay\""),
        /// How many of the daily files are kept.
        pub keep_files: usize = settings::integer(7, 1..=10_000),
    }
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl WordChoice for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl WordChoice for Level {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::ERROR),
        ("warn", Self::WARN),
        ("info", Self::INFO),
        ("debug", Self::DEBUG),
        ("trace", Self::TRACE),
    ];
}

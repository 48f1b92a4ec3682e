//! As written -> resolved.
//!
//! Every limit of a value stands here, beside its key.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tracing::Level;

use super::errors::Report;
use super::keys::Section;
use super::reader::{LONGEST, Reader};
use super::sources::Sources;
use super::written::{Origin, Written};
use super::{Config, Log, LogFormat, defaults, locate, sinks};
use crate::{api, ingest, store};

/// The least and the most that a request may take.
pub(super) const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);

/// The least and the most that the state may be allowed to take, in bytes: below 16 MiB the journal alone would fill it.
const SIZES: std::ops::RangeInclusive<u64> = 16 << 20..=1 << 50;

const DAY: Duration = Duration::from_secs(86_400);
const TENTH: Duration = Duration::from_millis(100);

/// Everything, if it could be read; what could not is in the report.
pub(super) fn config(sources: &Sources, written: &mut Written, report: &mut Report) -> Option<Config> {
    let account = account(sources, written, report);
    let api = api(sources, written, report);
    let poll = poll(sources, written, report);
    let state = state(sources, written, report);
    let log = log(sources, written, report);
    let sinks_implied = written.sinks.values().all(|sink| sink.origin == Origin::Default);
    let sinks = sinks::resolve(sources, written, &account, report);
    let file = report.file().map(|file| file.path().to_owned());
    Some(Config { file, api: api?, account, poll, state: state?, log, sinks, sinks_implied, warnings: Vec::new() })
}

fn account(sources: &Sources, written: &mut Written, report: &mut Report) -> Arc<str> {
    let mut api = Reader::new("api".to_owned(), written.section(Section::Api), &sources.env, report);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match api.text("account", "a text in quotes") {
        None => defaults::API_ACCOUNT.into(),
        Some(text) => {
            let name = text.as_str();
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                let help =
                    "it is a name of yours, such as \"main\": 1 to 64 letters, digits, `.`, `_` and `-`".to_owned();
                api.refuse("account", &text, "cannot name an account", Some(help));
            }
            name.into()
        }
    }
}

fn api(sources: &Sources, written: &mut Written, report: &mut Report) -> Option<api::Options> {
    let mut api = Reader::new("api".to_owned(), written.section(Section::Api), &sources.env, report);
    let allow_http = api.boolean("allow_http", false);
    let url = match api.table().entries.get("url") {
        Some(_) => api.api_url("url", allow_http),
        None => Url::parse(defaults::API_URL).ok(),
    };
    let keys = api.api_keys("key");
    let requests_per_minute = api.integer("requests_per_minute", defaults::API_REQUESTS_PER_MINUTE, 1..=1_000_000);
    let timeout = api.duration("timeout", defaults::API_TIMEOUT, TIMEOUTS);
    let connect_timeout = api.duration("connect_timeout", defaults::CONNECT_TIMEOUT, TIMEOUTS);
    let way = api.way(url.as_ref());
    Some(api::Options { url: url?, keys, requests_per_minute, timeout, connect_timeout, way })
}

fn poll(sources: &Sources, written: &mut Written, report: &mut Report) -> ingest::Options {
    let mut poll = Reader::new("poll".to_owned(), written.section(Section::Poll), &sources.env, report);
    ingest::Options {
        interval: poll.duration("interval", defaults::POLL_INTERVAL, TENTH..=DAY),
        start: poll.start("start", defaults::POLL_START),
        lookback: poll.duration("lookback", defaults::POLL_LOOKBACK, Duration::ZERO..=30 * DAY),
        sweep_interval: poll.duration("sweep_interval", defaults::POLL_SWEEP_INTERVAL, TENTH..=30 * DAY),
    }
}

/// `[state]`, and `--state-dir` before it.
pub(super) fn state(sources: &Sources, written: &mut Written, report: &mut Report) -> Option<store::Options> {
    let file = report.file().map(|file| file.path().to_owned());
    let mut state = Reader::new("state".to_owned(), written.section(Section::State), &sources.env, report);
    let keep_delivered = keep(&mut state, "keep_delivered", defaults::STATE_KEEP_DELIVERED);
    let keep_dead = keep(&mut state, "keep_dead", defaults::STATE_KEEP_DEAD);
    let max_size = state.size("max_size", defaults::STATE_MAX_SIZE, SIZES);
    let min_free = state.size("min_free", defaults::STATE_MIN_FREE, 0..=*SIZES.end());
    let key = state.path("dir");
    let is_written = state.table().entries.contains_key("dir");
    let dir = match &sources.flags.state_dir {
        Some(dir) if dir.as_os_str().is_empty() => {
            let flag = Origin::Flag("--state-dir");
            report.error(&flag, "is empty".to_owned(), Some("name a directory, or leave it out".to_owned()));
            None
        }
        Some(dir) => Some(dir.clone()),
        None if is_written => key,
        None => {
            let found: Option<PathBuf> = locate::state_dir(sources, file.as_deref());
            if found.is_none() && report.is_complete() {
                let message = "there is no state directory: neither $STATE_DIRECTORY nor $HOME is set";
                let help = "set `state.dir`, JOLTSMS_RELAY_STATE__DIR or --state-dir".to_owned();
                report.error(&Origin::Default, message.to_owned(), Some(help));
            }
            found
        }
    };
    Some(store::Options { dir: dir?, keep_delivered, keep_dead, max_size, min_free })
}

fn keep(state: &mut Reader<'_>, key: &str, default: store::Keep) -> store::Keep {
    let default = match default {
        store::Keep::For(default) => Some(default),
        store::Keep::Forever => None,
    };
    let kept = state.duration_or(key, "forever", default, Duration::ZERO..=LONGEST);
    kept.map_or(store::Keep::Forever, store::Keep::For)
}

fn log(sources: &Sources, written: &mut Written, report: &mut Report) -> Log {
    let levels = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let mut log = Reader::new("log".to_owned(), written.section(Section::Log), &sources.env, report);
    Log {
        level: log.choice("level", &levels).unwrap_or(defaults::LOG_LEVEL),
        format: log.choice("format", &formats).unwrap_or(defaults::LOG_FORMAT),
        dir: log.path("dir").or_else(|| locate::log_dir(sources)),
        keep_files: log.integer("keep_files", defaults::LOG_KEEP_FILES, 1..=10_000),
    }
}

//! Every default value, in one place. config.example.toml shows the same values; a test holds the two together.

use std::time::Duration;

use tracing::Level;

use super::{Format, LogFormat};
use crate::delivery::Retry;
use crate::domain::Start;
use crate::store::Keep;

/// `api.url`: the vendor's documented base URL.
pub(super) const API_URL: &str = "https://api.joltsms.com";
/// `api.requests_per_minute`: the vendor's documented limit.
pub(super) const API_REQUESTS_PER_MINUTE: u32 = 120;
/// `api.account`.
pub(super) const API_ACCOUNT: &str = "main";
/// `api.timeout`.
pub(super) const API_TIMEOUT: Duration = Duration::from_secs(30);
/// `api.connect_timeout` and that of the http sinks.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// `poll.interval`: half of the budget, so that catching up has the other half.
pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// `poll.start`: a first run must not flood receivers with old messages.
pub(super) const POLL_START: Start = Start::Now;
/// `poll.lookback`.
pub(super) const POLL_LOOKBACK: Duration = Duration::from_secs(3_600);
/// `poll.sweep_interval`.
pub(super) const POLL_SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// `state.keep_delivered`.
pub(super) const STATE_KEEP_DELIVERED: Keep = Keep::For(Duration::from_secs(7 * 86_400));

/// `state.keep_dead`.
pub(super) const STATE_KEEP_DEAD: Keep = Keep::Forever;
/// `state.max_size`, in bytes.
pub(super) const STATE_MAX_SIZE: u64 = 1 << 30;
/// `state.min_free`, in bytes.
pub(super) const STATE_MIN_FREE: u64 = 64 << 20;

/// `log.level`.
pub(super) const LOG_LEVEL: Level = Level::INFO;
/// What `--quiet` stands for.
pub(super) const LOG_LEVEL_QUIET: &str = "warn";
/// `log.format`.
pub(super) const LOG_FORMAT: LogFormat = LogFormat::Text;
/// `log.keep_files`: a week, since the file changes daily.
pub(super) const LOG_KEEP_FILES: usize = 7;

/// The sink that there is if none is configured.
pub(super) const SINK_NAME: &str = "stdout";
/// The sink that `--forward-to` makes.
pub(super) const FORWARD_NAME: &str = "forward";
/// `sinks.NAME.format`.
pub(super) const SINK_FORMAT: Format = Format::Message;
/// `sinks.NAME.timeout`.
pub(super) const SINK_TIMEOUT: Duration = Duration::from_secs(20);
/// `sinks.NAME.concurrency` of an http sink. For standard output it is the number of lines that are written before they
/// are recorded, all in one transaction; their order stays.
pub(super) const SINK_CONCURRENCY: usize = 8;
/// `sinks.NAME.start`: a new receiver must not be flooded with old messages.
pub(super) const SINK_START: Start = Start::Now;
/// `sinks.NAME.retry`.
pub(super) const RETRY: Retry = Retry {
    initial: Duration::from_secs(5),
    factor: 3.0,
    max: Duration::from_secs(12 * 3_600),
    give_up_after: Some(Duration::from_secs(3 * 86_400)),
};

//! What the running relay writes about itself for those outside of it; see [`crate::admin::LiveFile`].

use std::path::Path;
use std::time::Duration;

use crate::admin::{Live, LiveFile, LiveSink};
use crate::config::Config;
use crate::delivery::{Held, SinkStatus};
use crate::ingest::{Condition, Report};
use crate::time::{Clock, Instant};

/// Answers of the API and of receivers are quoted up to this length.
const QUOTED: usize = 200;

/// At least so often something is written, so that a relay that stands still can be told from one that runs.
const RAREST: Duration = Duration::from_secs(5);

/// The file and what does not change.
#[derive(Debug)]
pub(super) struct Pulse {
    file: Option<LiveFile>,
    clock: Clock,
    began: Instant,
    last: Live,
}

impl Pulse {
    /// Nothing depends on the file: without it the relay runs, and says so.
    pub(super) fn new(dir: &Path, config: &Config, clock: &Clock) -> Self {
        let file = match LiveFile::open(dir, config.sinks.len()) {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::warn!(%error, "what `joltsms-relay status` shows of the running relay cannot be written");
                None
            }
        };
        let last = Live {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            interval_ms: u64::try_from(config.poll.interval.as_millis()).unwrap_or(u64::MAX),
            requests_per_minute: config.api.requests_per_minute,
            ..Live::default()
        };
        Self { file, clock: clock.clone(), began: clock.monotonic(), last }
    }

    /// How often to write: as often as there is something new, and once a second at most.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_millis(self.last.interval_ms).clamp(Duration::from_secs(1), RAREST)
    }

    pub(super) fn write(&mut self, report: &Report, sinks: &[SinkStatus]) {
        let now = self.clock.wall();
        let (condition, why) = condition(&report.condition);
        let live = Live {
            // Counted back, since the relay's time may be put right after the start.
            started_at: now.before(self.clock.monotonic() - self.began).0,
            written_at: now.0,
            condition: condition.to_owned(),
            why: why.map(|why| why.chars().take(QUOTED).collect()),
            condition_since: report.since.map(|at| at.0),
            last_poll: report.last_poll.map(|at| at.0),
            server_ahead_ms: report.server_ahead_ms,
            total: report.total,
            pages_per_minute: report.catch_up.map(|catch_up| catch_up.pages_per_minute),
            server_limit: report.server_limit.and_then(|server| server.limit),
            server_remaining: report.server_limit.map(|server| server.remaining),
            server_resets_at: report.server_limit.map(|server| server.resets.0),
            foreign: report.foreign_requests,
            sinks: sinks.iter().map(sink).collect(),
            ..self.last.clone()
        };
        self.last = live;
        self.put();
    }

    /// It ended as it should.
    pub(super) fn stopped(&mut self) {
        self.last.stopped_at = Some(self.clock.wall().0);
        self.put();
    }

    fn put(&mut self) {
        if let Some(file) = &mut self.file {
            file.write(&self.last);
        }
    }
}

fn condition(condition: &Condition) -> (&'static str, Option<&str>) {
    match condition {
        Condition::Starting => ("starting", None),
        Condition::Polling => ("polling", None),
        Condition::Waiting(why) => ("waiting", Some(why)),
        Condition::Failing(why) => ("failing", Some(why)),
        Condition::NoRoom(why) => ("full", Some(why)),
        Condition::NoKey(why) => ("no_key", Some(why)),
    }
}

fn sink(status: &SinkStatus) -> LiveSink {
    let (held, held_until) = match status.held {
        Some(Held::Busy { until }) => (Some("busy"), Some(until)),
        Some(Held::Probing { next }) => (Some("probing"), next),
        // Pauses are in the state.
        Some(Held::Operator | Held::Gone | Held::Closed | Held::Disabled) | None => (None, None),
    };
    LiveSink {
        name: status.name.clone(),
        in_flight: status.in_flight,
        failing_since: status.failing_since.map(|at| at.0),
        held: held.map(str::to_owned),
        held_until: held_until.map(|at| at.0),
    }
}

//! What the running relay writes about itself for those outside of it; see [`crate::admin::LiveFile`].
//!
//! It is written on a thread of its own: a disk that does not answer holds up nothing else.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::admin::{Live, LiveFile, LiveSink};
use crate::config::Config;
use crate::delivery::{Held, SinkStatus};
use crate::ingest::{Condition, PollReport};
use crate::time::{Clock, Instant};

/// Answers of the API and of receivers are quoted up to this length.
const QUOTED: usize = 200;

/// At least so often something is written, so that a relay that stands still can be told from one that runs.
const RAREST: Duration = Duration::from_secs(5);

/// The end of the relay waits so long until its last words are written.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was written last, and the thread that writes.
#[derive(Debug)]
pub(super) struct StatusWriter {
    mailbox: Arc<Mailbox>,
    clock: Clock,
    began: Instant,
    last: Live,
}

/// Holds the newest of what is to be written; an older one is not waited for.
#[derive(Debug, Default)]
struct Mailbox {
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    next: Option<Live>,
    writing: bool,
    /// Nobody writes, or nobody puts anything in any more.
    over: bool,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, live: Live) {
        self.lock().next = Some(live);
        self.changed.notify_all();
    }

    /// Waits for something to write.
    fn take(&self) -> Option<Live> {
        let mut content = self.lock();
        content.writing = false;
        self.changed.notify_all();
        let is_empty = |content: &mut Content| content.next.is_none() && !content.over;
        content = self.changed.wait_while(content, is_empty).unwrap_or_else(PoisonError::into_inner);
        content.writing = true;
        content.next.take()
    }

    /// Waits until everything is written, but not for ever.
    fn wait(&self) {
        let is_busy = |content: &mut Content| (content.next.is_some() || content.writing) && !content.over;
        drop(self.changed.wait_timeout_while(self.lock(), PATIENCE, is_busy));
    }

    fn end(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }
}

impl Drop for StatusWriter {
    fn drop(&mut self) {
        self.mailbox.end();
    }
}

impl StatusWriter {
    /// Nothing depends on the file: without it the relay runs, and says so.
    pub(super) fn new(dir: &Path, config: &Config, clock: &Clock) -> Self {
        let mailbox = Arc::<Mailbox>::default();
        let inbox = Arc::clone(&mailbox);
        let writing = LiveFile::open(dir, config.sinks.len()).and_then(|mut file| {
            let write = move || {
                while let Some(live) = inbox.take() {
                    file.write(&live);
                }
            };
            thread::Builder::new().name("status".to_owned()).spawn(write)
        });
        if let Err(error) = writing {
            tracing::warn!(%error, "what `joltsms-relay status` shows of the running relay cannot be written");
            mailbox.end();
        }
        let last = Live {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            interval_ms: u64::try_from(config.poll.interval.as_millis()).unwrap_or(u64::MAX),
            requests_per_minute: config.api.requests_per_minute,
            ..Live::default()
        };
        Self { mailbox, clock: clock.clone(), began: clock.monotonic(), last }
    }

    /// How often to write: as often as there is something new, and once a second at most.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_millis(self.last.interval_ms).clamp(Duration::from_secs(1), RAREST)
    }

    pub(super) fn write(&mut self, report: &PollReport, sinks: &[SinkStatus]) {
        let now = self.clock.relay_time();
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
            journal_held: report.journal_held,
            pages_per_minute: report.catch_up.map(|catch_up| catch_up.pages_per_minute),
            server_limit: report.server_limit.and_then(|server| server.limit),
            server_remaining: report.server_limit.map(|server| server.remaining),
            server_resets_at: report.server_limit.map(|server| server.resets.0),
            foreign: report.foreign_requests,
            numbers_why: report.numbers_trouble.as_ref().map(|(why, _)| why.chars().take(QUOTED).collect()),
            numbers_since: report.numbers_trouble.as_ref().map(|(_, since)| since.0),
            sinks: sinks.iter().map(sink).collect(),
            ..self.last.clone()
        };
        self.last = live;
        self.mailbox.put(self.last.clone());
    }

    /// It ended as it should.
    pub(super) fn stopped(&mut self) {
        self.last.stopped_at = Some(self.clock.relay_time().0);
        self.mailbox.put(self.last.clone());
        self.mailbox.wait();
    }
}

fn condition(condition: &Condition) -> (&'static str, Option<&str>) {
    match condition {
        Condition::Starting => ("starting", None),
        Condition::Polling => ("polling", None),
        Condition::Limited(until) => ("limited", Some(until)),
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
        learned_per_minute: status.learned_per_minute,
    }
}

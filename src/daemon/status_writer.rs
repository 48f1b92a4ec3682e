//! Writes the report of the running relay about itself to [`LiveFile`], which `joltsms-relay status` reads.
//!
//! Invariant: the file is written on a thread of its own, so a disk that does not answer does not hold up other work.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::Config;
use crate::delivery::SinkStatus;
use crate::ingest::{Mode, PollReport};
use crate::status::{Live, LiveFile, RelayReport, ReloadReport};
use crate::time::{Clock, Instant};

/// The longest time between two reports of a running relay. A relay that has not written a report for much longer is
/// stuck.
const RAREST: Duration = Duration::from_secs(5);

/// The longest time that the end of the relay waits until the last report is written.
const PATIENCE: Duration = Duration::from_secs(1);

/// A writer of reports. It remembers the last report, and owns the thread that writes.
#[derive(Debug)]
pub(super) struct StatusWriter {
    mailbox: Arc<Mailbox>,
    clock: Clock,
    began: Instant,
    last: Live,
    published: watch::Sender<Live>,
}

/// How the relay ended, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The relay was stopped, or nobody reads its output any more.
    AsAsked,
    /// `once` has read everything and delivered what was due.
    CaughtUp,
    /// The relay ended for this reason.
    Failed(String),
    /// The state is damaged; the text says where.
    Damaged(String),
}

/// A mailbox with the newest report that is to be written. A newer report replaces an older report that was not written
/// yet.
#[derive(Debug, Default)]
struct Mailbox {
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    next: Option<Live>,
    writing: bool,
    /// No report is written any more. The relay has ended, or the file or the thread could not be made.
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

    /// Waits for a report to write; `None`: there will be no more reports.
    fn take(&self) -> Option<Live> {
        let mut content = self.lock();
        content.writing = false;
        self.changed.notify_all();
        let is_empty = |content: &mut Content| content.next.is_none() && !content.over;
        content = self.changed.wait_while(content, is_empty).unwrap_or_else(PoisonError::into_inner);
        content.writing = true;
        content.next.take()
    }

    /// Waits until the last report is written, but [`PATIENCE`] at most.
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
    /// Opens the file in `dir` and starts the thread. The relay does not depend on the file: if opening it fails, the
    /// relay runs without the file and logs the reason.
    pub(super) fn new(dir: &Path, config: &Config, mode: Mode, clock: &Clock) -> Self {
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
            tracing::warn!(%error, "the status of the running relay cannot be written to relay.status");
            mailbox.end();
        }
        let relay = RelayReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: Some(std::process::id()),
            once: mode == Mode::Once,
            ..RelayReport::default()
        };
        let interval_ms = milliseconds(config.poll.interval);
        let last = Live { relay, interval_ms, ..Live::default() };
        let published = watch::Sender::new(Live::default());
        Self { mailbox, clock: clock.clone(), began: clock.monotonic(), last, published }
    }

    /// Returns the time between two reports. This is the poll interval, but at least one second, and at most
    /// [`RAREST`].
    pub(super) fn interval(&self) -> Duration {
        self.last.interval().clamp(Duration::from_secs(1), RAREST)
    }

    /// Puts the poll interval and the result of a reload into the reports.
    pub(super) fn follow(&mut self, poll_interval: Duration, reload: &ReloadReport) {
        self.last.interval_ms = milliseconds(poll_interval);
        self.last.relay.reload = reload.clone();
    }

    /// Dates the reports by another clock from now on.
    pub(super) fn follow_clock(&mut self, clock: &Clock) {
        self.clock = clock.clone();
    }

    /// Writes that the process stands by.
    pub(super) fn stand_by(&mut self) {
        self.last.relay.stands_by = true;
        self.publish(&PollReport::default(), &[]);
    }

    /// Writes the reports of a relay that works.
    pub(super) fn write(&mut self, report: &PollReport, sinks: &[SinkStatus]) {
        self.last.relay.stands_by = false;
        self.publish(report, sinks);
    }

    fn publish(&mut self, report: &PollReport, sinks: &[SinkStatus]) {
        let now = self.clock.relay_time();
        // The time of the start is computed anew for each report, because the relay's time may have been corrected
        // since the start.
        self.last.relay.started_at = now.before(self.clock.monotonic() - self.began);
        self.last.relay.last_heard_at = now;
        self.last.spacing_ms = u64::try_from(report.spacing.as_millis()).unwrap_or(u64::MAX);
        self.last.polling = report.clone();
        self.last.budget = report.budget;
        self.last.storage = report.storage;
        self.last.feed = report.feed;
        self.last.catch_up = report.catch_up;
        self.last.sinks = sinks.iter().map(|sink| (sink.name.clone(), sink.clone())).collect();
        self.published.send_replace(self.last.clone());
        self.mailbox.put(self.last.clone());
    }

    /// Returns a channel with the newest report. Before the first report, its value has no process id.
    pub(super) fn reports(&self) -> watch::Receiver<Live> {
        self.published.subscribe()
    }

    /// Writes how the relay ended. A relay that is killed writes no such report.
    pub(super) fn stopped(&mut self, end: End) {
        let now = self.clock.relay_time();
        let relay = &mut self.last.relay;
        relay.started_at = now.before(self.clock.monotonic() - self.began);
        (relay.last_heard_at, relay.stopped_at) = (now, Some(now));
        match end {
            End::AsAsked => {}
            End::CaughtUp => relay.caught_up_at = Some(now),
            End::Failed(why) => relay.failure = Some(why),
            End::Damaged(why) => (relay.failure, relay.damaged) = (Some(why), true),
        }
        self.mailbox.put(self.last.clone());
        self.mailbox.wait();
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

//! Tests of delivery from the outside: a real store, paused time, and a receiver in memory.

mod added_sink;
mod clocks;
mod fallback;
mod lanes;
mod log_lines;
mod max_age;
mod operators;
mod order;
mod outage;
mod outcomes;
mod pauses;
mod reload;
mod schedules;
mod settlement_batches;
mod shutdown;
mod throttled;
mod trouble;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::sleep;

use super::clock_reading::ClockReading;
use super::context::{Identity, Shared, SinkContext};
use super::health::{SharedHealth, SinkHealth};
use super::settler::Settler;
use super::{Delivery, Options, Order, Retry, Setup, Waker};
use crate::domain::{
    DeliveryClass, Insert, Invocation, Marks, PauseReason, PollChange, Row, RowStanding, Seq, Start, UnixMs, WalkId,
};
use crate::formats::Format;
use crate::sinks::{Attempt, Attempting, Outgoing, Sink};
use crate::store::tests::TestState;
use crate::store::{MessageSelection, ReplaySelection, SinkId, SinkSetup, Spool, Store, WaitingCounts};
use crate::time::backoff::Jitter;
use crate::time::{Clock, Liveness};

const START: UnixMs = UnixMs(1_750_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// A state directory, its store, and a clock that follows tokio's paused time.
pub(super) struct World {
    dir: TempDir,
    state: Arc<TestState>,
    store: Store,
    clock: Clock,
    next_seq: AtomicI64,
    sinks: Mutex<HashMap<String, SinkId>>,
}

impl World {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = TestState::in_dir(dir.path());
        Self::with(dir, state)
    }

    /// Makes a world whose state is always in a file, for a test that changes the file.
    pub(super) fn on_a_file() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = TestState::in_file(dir.path());
        Self::with(dir, state)
    }

    fn with(dir: TempDir, state: TestState) -> Self {
        let store = state.open_store();
        let state = Arc::new(state);
        Self {
            dir,
            state,
            store,
            clock: Clock::starting_at(START),
            next_seq: AtomicI64::new(1),
            sinks: Mutex::default(),
        }
    }

    /// Releases messages, oldest first, for the sinks that are registered by now. Returns the ids of the messages:
    /// `m1`, `m2`, …
    pub(super) async fn release(&self, count: i64, class: DeliveryClass) -> Vec<String> {
        self.release_rows((0..count).map(|_| (None, None)).collect(), class).await
    }

    /// Releases one message for each of these numbers, oldest first. Returns the ids of the messages.
    async fn release_of(&self, numbers: &[Option<String>], class: DeliveryClass) -> Vec<String> {
        self.release_rows(numbers.iter().map(|number| (None, number.clone())).collect(), class).await
    }

    /// Releases one message for each of these times of receipt. Returns the ids of the messages.
    async fn release_received(&self, times: &[UnixMs], class: DeliveryClass) -> Vec<String> {
        self.release_rows(times.iter().map(|time| (Some(*time), None)).collect(), class).await
    }

    async fn release_rows(&self, rows: Vec<(Option<UnixMs>, Option<String>)>, class: DeliveryClass) -> Vec<String> {
        let count = i64::try_from(rows.len()).unwrap();
        let first = self.next_seq.fetch_add(count, Ordering::Relaxed);
        let now = self.clock.relay_time();
        let inserts = (first..).zip(rows).map(|(seq, (time, number))| {
            let id = format!("m{seq}");
            let raw = format!("{{ \"id\": \"{id}\" }}").into();
            let time = time.unwrap_or(UnixMs(seq));
            let row = Row { id, readable: true, spoiled: None, time, ingested: None, number, raw };
            PollChange::Insert(Box::new(Insert { seq: Seq(seq), row, standing: RowStanding::News, held_by: None }))
        });
        let mut ops: Vec<PollChange> = inserts.collect();
        // Each message has a release of its own, so that the messages are released in the order of this call, whatever
        // their times are.
        ops.extend((first..first + count).map(|seq| PollChange::Release { rows: vec![Seq(seq)], class }));
        self.store.write(move |spool| spool.commit(&ops, now)).await.unwrap();
        (first..first + count).map(|seq| format!("m{seq}")).collect()
    }

    /// Brings the state to the point at which the poller has stored the first page.
    async fn begin(&self) {
        let (now, begun) = (self.clock.relay_time(), UnixMs(0));
        let marks = Marks {
            frontier: begun,
            watermark: begun,
            anchor: begun,
            start_instant: begun,
            next_seq: Seq(1),
            next_walk: WalkId(1),
        };
        self.store.write(move |spool| spool.commit(&[PollChange::Advance(marks)], now)).await.unwrap();
    }

    async fn start(&self, sinks: Vec<(&str, Options, Arc<dyn Sink>)>) -> Delivery {
        let registrations = sinks.iter().map(|(name, options, _)| SinkSetup {
            ordered: options.order == Order::Number,
            start: options.start,
            enabled: options.enabled,
            fallback: options.fallback.as_ref().map(ToString::to_string),
            ..SinkSetup::new(*name)
        });
        self.register_as(registrations.collect()).await;
        let setups = sinks
            .into_iter()
            .map(|(name, options, sink)| Setup {
                name: name.to_owned(),
                selection: MessageSelection::default(),
                options,
                format: Format::default(),
                mask: None,
                sink,
                metrics: crate::metrics::SinkMetrics::unread(),
            })
            .collect();
        Delivery::start(self.store.clone(), self.clock.clone(), 1, Invocation::default(), setups).await.unwrap()
    }

    /// Registers the sinks, so that messages can be released for them before delivery runs.
    pub(super) async fn register(&self, names: &[&str]) {
        self.register_as(names.iter().map(|&name| SinkSetup::new(name)).collect()).await;
    }

    async fn register_as(&self, sinks: Vec<SinkSetup>) {
        let (names, now) = (sinks.clone(), self.clock.relay_time());
        let known = self.store.write(move |spool| spool.register_sinks(&sinks, UnixMs::MAX, now)).await.unwrap();
        let ids = known.into_iter().map(|registered| registered.id);
        self.sinks.lock().unwrap().extend(names.into_iter().map(|sink| sink.name).zip(ids));
    }

    /// Makes the context of the sink `crm` as the sink's loop has it, with a running settler.
    pub(super) async fn context(&self, options: Options, sink: Arc<dyn Sink>) -> SinkContext {
        let setups = [SinkSetup { ordered: options.order == Order::Number, ..SinkSetup::new("crm") }];
        let now = ClockReading::now(&self.clock);
        let register = move |spool: &mut Spool| spool.register_sinks(&setups, UnixMs::MAX, now.relay_time);
        let registered = self.store.write(register).await.unwrap()[0];
        let (clock, jitter) = (self.clock.clone(), Arc::new(Jitter::seeded(1)));
        let (stopping, damage) = (watch::channel(None).1, watch::channel(None).0);
        let (settler, settling) = Settler::new(
            self.store.clone(),
            clock.clone(),
            Arc::clone(&jitter),
            stopping.clone(),
            Liveness::new(&clock),
            damage.clone(),
        );
        tokio::spawn(settling);
        let (store, sink_count) = (self.store.clone(), Arc::new(AtomicUsize::new(1)));
        let (waker, wake) = Waker::new();
        let invocation = Invocation::default();
        let shared = Shared { store, clock, jitter, settler, invocation, wake, waker, stopping, damage, sink_count };
        let (name, format, mask) = ("crm".to_owned(), Format::default(), None);
        let health = SharedHealth::new(SinkHealth::restored(registered.health, now));
        let metrics = crate::metrics::SinkMetrics::unread();
        let identity = Identity { registered, name, options, format, mask, sink, metrics };
        SinkContext { shared, identity, health }
    }

    async fn waiting(&self, name: &str) -> WaitingCounts {
        let id = self.sinks.lock().unwrap()[name];
        self.store.read(move |spool| spool.waiting(id)).await.unwrap()
    }

    /// Does what the command `replay` does: every settled message of the sink is put into the sink's queue again.
    /// Returns the number of these messages.
    async fn replay_settled(&self, name: &str) -> usize {
        let id = self.sinks.lock().unwrap()[name];
        let choice = ReplaySelection {
            sinks: vec![id],
            new: false,
            without_events: Vec::new(),
            ids: Vec::new(),
            since: UnixMs::MIN,
            until: UnixMs::MAX,
            filter: None,
            failed: false,
        };
        let replay = move |spool: &mut Spool| {
            let last = spool.last_released()?;
            let (mut after, mut replayed) = (Some(0), 0);
            while let Some(from) = after {
                let portion = spool.replayable(&choice, from, last)?;
                replayed += spool.replay(&portion.found)?;
                after = portion.next;
            }
            Ok(replayed)
        };
        self.store.write(replay).await.unwrap()
    }

    /// Does what the command `sinks pause` does.
    async fn pause(&self, name: &str, reason: PauseReason) {
        let (id, now) = (self.sinks.lock().unwrap()[name], self.clock.relay_time());
        self.store.write(move |spool| spool.pause(id, reason, now)).await.unwrap();
    }

    async fn resume(&self, name: &str) {
        let (id, now) = (self.sinks.lock().unwrap()[name], self.clock.relay_time());
        assert!(self.store.write(move |spool| spool.resume(id, now)).await.unwrap().is_some());
    }

    async fn paused(&self, name: &str) -> Option<PauseReason> {
        let id = self.sinks.lock().unwrap()[name];
        self.store.read(move |spool| spool.pause_of(id)).await.unwrap().map(|pause| pause.reason)
    }

    /// Opens a connection as a command beside the daemon does.
    fn second_connection(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.dir.path().join("state.db")).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection
    }
}

pub(super) fn options(concurrency: usize) -> Options {
    let retry = Retry {
        initial: Duration::from_secs(5),
        factor: 3.0,
        max: Duration::from_secs(12 * 3600),
        give_up_after: Some(3 * DAY),
    };
    Options::new(concurrency, retry)
}

/// Waits in paused time until a condition is true. Fails if it is not true within `within`.
async fn until(what: &str, within: Duration, mut is_so: impl AsyncFnMut() -> bool) {
    let step = Duration::from_millis(20).max(within / 10_000);
    let mut waited = Duration::ZERO;
    while !is_so().await {
        assert!(waited < within, "not within {within:?}: {what}");
        sleep(step).await;
        waited += step;
    }
}

/// Decides how the receiver answers an attempt, and how long the answer takes.
type Respond = dyn Fn(Asked<'_>) -> (Duration, Attempt) + Send + Sync;

/// One attempt as the receiver sees it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    id: &'a str,
    /// The number of earlier attempts for this message.
    before: usize,
    at: UnixMs,
}

/// A receiver in memory. The receiver remembers the attempts that were begun, in their order.
pub(super) struct Receiver {
    clock: Clock,
    respond: Box<Respond>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    begun: Vec<(String, UnixMs)>,
    accepted: Vec<String>,
    counts: HashMap<String, usize>,
    under_way: usize,
    most_under_way: usize,
}

impl Receiver {
    pub(super) fn new(
        world: &World,
        respond: impl Fn(Asked<'_>) -> (Duration, Attempt) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { clock: world.clock.clone(), respond: Box::new(respond), seen: Arc::default() })
    }

    /// A receiver that accepts every message within a millisecond.
    pub(super) fn healthy(world: &World) -> Arc<Self> {
        Self::new(world, |_| (Duration::from_millis(1), ACCEPTED))
    }

    fn begun(&self) -> Vec<(String, UnixMs)> {
        self.seen.lock().unwrap().begun.clone()
    }

    fn ids_begun(&self) -> Vec<String> {
        self.begun().into_iter().map(|(id, _)| id).collect()
    }

    fn attempts(&self) -> usize {
        self.seen.lock().unwrap().begun.len()
    }

    fn accepted(&self) -> usize {
        self.seen.lock().unwrap().accepted.len()
    }

    fn most_under_way(&self) -> usize {
        self.seen.lock().unwrap().most_under_way
    }
}

impl Sink for Receiver {
    fn takes_lines(&self) -> bool {
        false
    }

    fn begin(&self, outgoing: Outgoing) -> Attempting {
        let at = self.clock.relay_time();
        let mut seen = self.seen.lock().unwrap();
        let count = seen.counts.entry(outgoing.id.clone()).or_default();
        let before = *count;
        *count += 1;
        seen.begun.push((outgoing.id.clone(), at));
        seen.under_way += 1;
        seen.most_under_way = seen.most_under_way.max(seen.under_way);
        drop(seen);
        let (takes, attempt) = (self.respond)(Asked { id: &outgoing.id, before, at });
        let left = UnderWay(Arc::clone(&self.seen));
        Box::pin(async move {
            sleep(takes).await;
            if let Attempt::Accepted { .. } = attempt {
                left.0.lock().unwrap().accepted.push(outgoing.id);
            }
            drop(left);
            attempt
        })
    }
}

struct UnderWay(Arc<Mutex<Seen>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().unwrap().under_way -= 1;
    }
}

pub(super) const ACCEPTED: Attempt = Attempt::Accepted { status: Some(200) };

fn unavailable() -> Attempt {
    failed(503, None)
}

fn failed(status: u16, retry_after: Option<Duration>) -> Attempt {
    Attempt::Failed { status: Some(status), retry_after, answer: format!("{status} as asked") }
}

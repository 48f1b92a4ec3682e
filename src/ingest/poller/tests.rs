//! Tests of the loop on a feed in memory, with paused time: how often the loop sends requests when things go wrong, and
//! which messages it releases.

mod account;
mod clocks;
mod failing_disk;
mod limits;
mod once;
mod outage;
mod replays;
mod troubled_pages;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::{Ending, Mode, Parts, PollError, Poller};
use crate::api::budget::{Budget, BudgetLimits, RateHeaders, WINDOW};
use crate::api::{Error, KeyRefusal, Page, Response};
use crate::domain::{Cursor, Invocation, More, Row, Seq, Start, UnixMs};
use crate::ingest::coverage::Rules;
use crate::ingest::feed::PageFuture;
use crate::ingest::{Feed, NumberUses, WaitingReaders};
use crate::store::tests::TestState;
use crate::store::{self, ClaimLimits, PastDelivery, Replayable, RetentionPeriod, SinkId, SinkSetup, Spool, Store};
use crate::time::{Clock, Instant, Liveness};

type Script = dyn FnMut(usize, Option<&Cursor>, u32) -> Result<Page, Error> + Send;

/// Makes the rate limit headers of the answer to the request with this number.
type Rates = fn(usize) -> RateHeaders;

/// A feed that answers each request after 50 ms, as its script says.
#[derive(Clone)]
struct Double {
    clock: Clock,
    script: Arc<Mutex<Box<Script>>>,
    asked: Arc<Mutex<Vec<Instant>>>,
    rates: Rates,
    keys: usize,
    key: usize,
    /// This many answers, from the first one on, have no `Date`.
    undated: usize,
    /// How many milliseconds the `Date` of answers is ahead of the double's clock.
    date_ahead_ms: Arc<AtomicI64>,
}

impl Feed for Double {
    fn fetch(&self, cursor: Option<&Cursor>, limit: u32, _: UnixMs) -> PageFuture {
        let number = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(self.clock.monotonic());
            asked.len()
        };
        let page = (self.script.lock().unwrap())(number, cursor, limit);
        let ahead = self.date_ahead_ms.load(Ordering::Relaxed);
        let rate = (self.rates)(number);
        let date = (number > self.undated).then(|| UnixMs(self.clock.relay_time().0 + ahead));
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Response { date, rate, page }
        })
    }

    fn identity(&self) -> (String, String) {
        ("https://api".to_owned(), format!("key {}", self.key))
    }

    fn next_key(&mut self) -> bool {
        self.key = (self.key + 1) % self.keys;
        self.key != 0
    }
}

struct World {
    double: Double,
    store: Store,
    clock: Clock,
    dir: tempfile::TempDir,
    requests: u32,
    numbers: NumberUses,
    options: store::Options,
}

const BEGAN: UnixMs = UnixMs(1_700_000_000_000);

impl World {
    async fn new(script: impl FnMut(usize, Option<&Cursor>, u32) -> Result<Page, Error> + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = TestState::in_dir(dir.path());
        Self::with(dir, &state, script).await
    }

    /// Makes a world whose state is always in a file, for a test that looks into the file or changes it.
    async fn on_a_file(
        script: impl FnMut(usize, Option<&Cursor>, u32) -> Result<Page, Error> + Send + 'static,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = TestState::in_file(dir.path());
        Self::with(dir, &state, script).await
    }

    async fn with(
        dir: tempfile::TempDir,
        state: &TestState,
        script: impl FnMut(usize, Option<&Cursor>, u32) -> Result<Page, Error> + Send + 'static,
    ) -> Self {
        let store = state.open_store();
        store.write(|spool| spool.register_sinks(&[SinkSetup::new("all")], UnixMs::MAX, UnixMs(0))).await.unwrap();
        let clock = Clock::starting_at(BEGAN);
        let script: Box<Script> = Box::new(script);
        let (script, asked) = (Arc::new(Mutex::new(script)), Arc::default());
        let date_ahead_ms = Arc::default();
        let rates = |_| RateHeaders::default();
        let double = Double { clock: clock.clone(), script, asked, rates, keys: 1, key: 0, undated: 0, date_ahead_ms };
        let options = store::Options {
            dir: dir.path().to_owned(),
            database: None,
            namespace: String::new(),
            keep_delivered: RetentionPeriod::Forever,
            keep_dead: RetentionPeriod::Forever,
            max_size: 1 << 40,
            min_free: 0,
        };
        Self { double, store, clock, dir, requests: 120, numbers: NumberUses::default(), options }
    }

    fn poller(&self, mode: Mode) -> Poller<Double> {
        let limits = BudgetLimits { requests: self.requests, window: WINDOW, head_interval: Duration::from_secs(1) };
        Poller::new(Parts {
            feed: self.double.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            budget: Budget::in_memory(limits),
            rules: Rules::new(Start::Beginning, Duration::from_secs(3600), Duration::from_secs(60)),
            mode,
            state: self.options.clone(),
            accept_account: false,
            numbers: self.numbers.clone(),
            released: Box::new(|| ()),
            liveness: Liveness::new(&self.clock),
            tells_progress: true,
            metrics: crate::metrics::IngestMetrics::unread(),
            invocation: Invocation::default(),
            readers: watch::channel(WaitingReaders::default()).1,
            changes: store::ChangeWatch::default(),
        })
    }

    /// Runs a poller for this long. Returns how many requests there were in this world so far, those of earlier pollers
    /// included.
    async fn run_for(&self, length: Duration) -> Result<usize, PollError> {
        let (stop, stops) = watch::channel(false);
        let running = tokio::spawn(self.poller(Mode::Run).run(stops));
        tokio::time::sleep(length).await;
        stop.send_replace(true);
        assert_eq!(running.await.unwrap()?, Ending::Stopped);
        Ok(self.asked())
    }

    fn asked(&self) -> usize {
        self.double.asked.lock().unwrap().len()
    }

    /// Returns the ids of the messages that were released: first the backfill messages in their order, then the live
    /// ones in theirs.
    async fn released(&self) -> Vec<String> {
        let all = ClaimLimits { rows: 1_000_000, bytes: usize::MAX, details: false };
        let read = self.store.read(move |spool| {
            let mut ids = Vec::new();
            for class in [crate::domain::DeliveryClass::Backfill, crate::domain::DeliveryClass::Live] {
                let claims = spool.claim_fresh(SinkId(1), class, all, &|_| false)?;
                ids.extend(claims.into_iter().map(|claim| claim.id));
            }
            Ok(ids)
        });
        read.await.unwrap()
    }
}

fn row(number: i64) -> Row {
    let time = UnixMs(BEGAN.0 - 10_000_000 + number * 1000);
    Row {
        id: format!("m{number}"),
        readable: true,
        spoiled: None,
        time,
        ingested: Some(time),
        number: Some("n".to_owned()),
        raw: "{}".into(),
    }
}

/// Makes one page of a list that has the rows `count` down to 1, ten rows a page. A cursor is the number of the last
/// row of the page that gave it.
fn page(count: i64, cursor: Option<&Cursor>) -> Page {
    let from = cursor.map_or(count, |cursor| cursor.0.parse::<i64>().unwrap() - 1);
    let to = (from - 9).max(1);
    let rows = (to..=from).rev().map(row).collect();
    let more = if to > 1 { More::Cursor(Cursor(to.to_string())) } else { More::End };
    Page { rows, more, total: None }
}

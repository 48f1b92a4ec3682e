//! Tests of the loop on a feed in memory, with paused time: how often the loop asks when things go wrong.

mod clocks;
mod limits;
mod outage;

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

/// The headers about the limit, by the number of the request.
type Rates = fn(usize) -> RateHeaders;

/// A feed that answers each request, 50 ms later, as its script says.
#[derive(Clone)]
struct Double {
    clock: Clock,
    script: Arc<Mutex<Box<Script>>>,
    asked: Arc<Mutex<Vec<Instant>>>,
    rates: Rates,
    keys: usize,
    key: usize,
    /// How many answers, from the first one on, have no `Date`.
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
            keep_delivered: RetentionPeriod::Forever,
            keep_dead: RetentionPeriod::Forever,
            max_size: 1 << 40,
            min_free: 0,
        };
        Self { double, store, clock, dir, requests: 120, options }
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
            numbers: NumberUses::default(),
            released: Box::new(|| ()),
            liveness: Liveness::new(&self.clock),
            tells_progress: true,
            metrics: crate::metrics::IngestMetrics::unread(),
            invocation: Invocation::default(),
            readers: watch::channel(WaitingReaders::default()).1,
        })
    }

    /// Runs a poller for this long. Returns how many requests there were.
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

    /// Returns the ids of the messages that were released, in order.
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

/// Makes a page of the rows `count` down to 1, ten a page. The cursor is the number of the last row of the page before.
fn page(count: i64, cursor: Option<&Cursor>) -> Page {
    let from = cursor.map_or(count, |cursor| cursor.0.parse::<i64>().unwrap() - 1);
    let to = (from - 9).max(1);
    let rows = (to..=from).rev().map(row).collect();
    let more = if to > 1 { More::Cursor(Cursor(to.to_string())) } else { More::End };
    Page { rows, more, total: None }
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_down_for_a_day_is_asked_once_a_minute_and_then_read() {
    let world = World::new(|_, _, _| Err(Error::Server(503))).await;
    let asked = world.run_for(Duration::from_secs(24 * 3600)).await.unwrap();
    assert!((1440..1700).contains(&asked), "{asked} requests in a day");
    *world.double.script.lock().unwrap() = Box::new(|_, cursor, _| Ok(page(35, cursor)));
    world.run_for(Duration::from_secs(60)).await.unwrap();
    let expected: Vec<String> = (1..=35).map(|number| format!("m{number}")).collect();
    assert_eq!(world.released().await, expected);
}

#[tokio::test(start_paused = true)]
async fn refused_keys_are_tried_again_once_a_minute() {
    let refusal = KeyRefusal { status: 401, code: "UNAUTHORIZED".to_owned() };
    let mut world = World::new(move |_, _, _| Err(Error::KeyRefused(refusal.clone()))).await;
    world.double.keys = 3;
    let asked = world.run_for(Duration::from_secs(3600)).await.unwrap();
    assert!((3 * 60..=3 * 61).contains(&asked), "{asked} requests in an hour with three keys");
}

#[tokio::test(start_paused = true)]
async fn a_walk_that_goes_in_circles_is_no_hot_loop_and_live_messages_pass() {
    // Behind the first page every cursor leads to itself.
    let world = World::new(|number, cursor, _| {
        let count = if number < 1000 { 35 } else { 36 };
        let mut page = page(count, cursor);
        if let (Some(cursor), More::Cursor(_)) = (cursor, &page.more) {
            page.more = More::Cursor(cursor.clone());
        }
        Ok(page)
    })
    .await;
    let asked = world.run_for(Duration::from_secs(3600)).await.unwrap();
    let polls = 3600;
    // The further requests read the gap, and sweeps, which come to the same page.
    assert!(asked < polls + 400, "{} requests beside the polls in an hour", asked - polls);
    let released = world.released().await;
    assert!(released.contains(&"m36".to_owned()), "a live message waits for a walk in trouble");
    assert!(released.contains(&"m26".to_owned()), "what was read of a stalled gap is handed on: {released:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_above_a_row_that_can_never_be_read_is_handed_on() {
    let world = World::new(|_, cursor, limit| {
        let mut page = page(35, cursor);
        page.rows.truncate(usize::try_from(limit).unwrap());
        if page.rows.iter().any(|row| row.id == "m22") {
            return Err(Error::Garbled("it is not JSON".to_owned()));
        }
        if let (Some(last), true) = (page.rows.last(), limit < 10) {
            page.more = More::Cursor(Cursor(last.id.trim_start_matches('m').to_owned()));
        }
        Ok(page)
    })
    .await;
    world.run_for(Duration::from_secs(1800)).await.unwrap();
    let released = world.released().await;
    let expected: Vec<String> = (23..=35).map(|number| format!("m{number}")).collect();
    assert_eq!(released, expected);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_cannot_be_read_is_stepped_over_with_smaller_ones() {
    // A page that ends in message 22 cannot be read, as if that message spoiled its own cursor; nor can any larger page
    // that contains it.
    let world = World::new(|_, cursor, limit| {
        let mut page = page(35, cursor);
        page.rows.truncate(usize::try_from(limit).unwrap());
        let ids: Vec<&str> = page.rows.iter().map(|row| row.id.as_str()).collect();
        if ids.contains(&"m22") && (ids.last() == Some(&"m22") || ids.len() > 3) {
            return Err(Error::Garbled("it is not JSON".to_owned()));
        }
        let last = ids.last().map(|id| id.trim_start_matches('m').to_owned());
        if let (Some(last), true) = (last, limit < 10) {
            page.more = More::Cursor(Cursor(last));
        }
        Ok(page)
    })
    .await;
    world.run_for(Duration::from_secs(120)).await.unwrap();
    let expected: Vec<String> = (1..=35).map(|number| format!("m{number}")).collect();
    assert_eq!(world.released().await, expected);
}

#[tokio::test(start_paused = true)]
async fn the_newest_page_that_cannot_be_read_is_stepped_over_too() {
    let world = World::new(|_, cursor, limit| {
        let mut page = page(35, cursor);
        if cursor.is_none() && limit == 10 {
            return Err(Error::Garbled("it is not JSON".to_owned()));
        }
        if limit < 10 {
            page.rows.truncate(usize::try_from(limit).unwrap());
            let last = page.rows.last().map(|row| row.id.trim_start_matches('m').to_owned());
            page.more = last.map_or(More::End, |last| More::Cursor(Cursor(last)));
        }
        Ok(page)
    })
    .await;
    world.run_for(Duration::from_secs(30)).await.unwrap();
    let expected: Vec<String> = (1..=35).map(|number| format!("m{number}")).collect();
    assert_eq!(world.released().await, expected);
}

fn spoiled(number: i64, id: Option<&str>) -> Row {
    let known = crate::domain::SpoiledRow { id: id.map(str::to_owned), place: 1, wrong: "invalid escape".to_owned() };
    Row {
        id: format!("unreadable:{number}"),
        readable: false,
        spoiled: Some(Box::new(known)),
        number: None,
        ..row(number)
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_spoiled_is_set_aside_once_and_delivered_when_it_is_mended() {
    // Message 30 is spoiled for a minute; message 29 is spoiled after it was sound.
    let world = World::new(|number, cursor, _| {
        let mut page = page(35, cursor);
        for row in &mut page.rows {
            match row.id.as_str() {
                "m30" if number < 60 => *row = spoiled(30, Some("m30")),
                "m29" if number > 20 => *row = spoiled(29, Some("m29")),
                "m28" if number < 60 => *row = spoiled(28, None),
                _ => {}
            }
        }
        Ok(page)
    })
    .await;
    world.run_for(Duration::from_secs(40)).await.unwrap();
    let released = world.released().await;
    assert_eq!(released.len(), 33, "all but the spoiled ones: {released:?}");
    let known = |spool: &Spool| spool.known(&["unreadable:28", "unreadable:29", "unreadable:30"]);
    let known = world.store.read(known).await.unwrap().into_iter().map(|seq| seq.is_some());
    assert_eq!(known.collect::<Vec<_>>(), [true, false, true], "what was known before it was spoiled is known");
    world.run_for(Duration::from_secs(120)).await.unwrap();
    let mut released = world.released().await;
    released.sort_unstable();
    let mut expected: Vec<String> = (1..=35).map(|number| format!("m{number}")).collect();
    expected.sort_unstable();
    assert_eq!(released, expected, "each once, the mended ones too");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_too_large_is_read_row_by_row() {
    let world = World::new(|_, cursor, limit| {
        let mut page = page(35, cursor);
        let large = page.rows.iter().any(|row| row.id == "m17");
        if limit > 1 {
            return if large { Err(Error::TooLarge { cap: 1 }) } else { Ok(page) };
        }
        page.rows.truncate(1);
        let last = page.rows[0].id.trim_start_matches('m').to_owned();
        page.more = if last == "1" { More::End } else { More::Cursor(Cursor(last)) };
        Ok(page)
    })
    .await;
    world.run_for(Duration::from_secs(120)).await.unwrap();
    assert_eq!(world.released().await.len(), 35);
}

#[tokio::test(start_paused = true)]
async fn once_ends_when_all_was_read_and_gives_up_on_an_api_that_is_down() {
    let world = World::new(|_, cursor, _| Ok(page(135, cursor))).await;
    let (_stop, stops) = watch::channel(false);
    assert_eq!(world.poller(Mode::Once).run(stops.clone()).await.unwrap(), Ending::CaughtUp);
    assert_eq!(world.released().await.len(), 135);
    *world.double.script.lock().unwrap() = Box::new(|_, _, _| Err(Error::Server(500)));
    let ending = world.poller(Mode::Once).run(stops).await.unwrap();
    assert_eq!(ending, Ending::GaveUp("500 from the API".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn another_account_ends_it_before_anything_is_stored() {
    let mut world = World::on_a_file(|_, cursor, _| Ok(page(5, cursor))).await;
    world.run_for(Duration::from_secs(5)).await.unwrap();
    world.double.key = 7;
    let other = |_: usize, _: Option<&Cursor>, _: u32| {
        let mut page = page(3, None);
        for row in &mut page.rows {
            row.id = format!("other {}", row.id);
            row.number = Some("other".to_owned());
        }
        Ok(page)
    };
    *world.double.script.lock().unwrap() = Box::new(other);
    let before = world.store.read(|spool| Ok((spool.load_coverage()?, spool.account()?))).await.unwrap();
    assert!(matches!(world.run_for(Duration::from_secs(5)).await, Err(PollError::OtherAccount)));
    let after = world.store.read(|spool| Ok((spool.load_coverage()?, spool.account()?))).await.unwrap();
    assert_eq!(before, after);
    *world.double.script.lock().unwrap() = Box::new(|_, cursor, _| Ok(page(6, cursor)));
    world.run_for(Duration::from_secs(5)).await.unwrap();
    assert_eq!(world.released().await.len(), 6, "a known message tells that it is the same account");
}

/// Changes tables through a connection beside the relay's own, so that the relay's next statements run into the
/// changes.
fn tamper(dir: &std::path::Path, sql: &str) {
    let connection = rusqlite::Connection::open(dir.join("state.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection.execute_batch(sql).unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_request_a_minute_is_shared_by_turns() {
    let world = World { requests: 1, ..World::new(|_, cursor, _| Ok(page(135, cursor))).await };
    world.run_for(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(world.released().await.len(), 135);
}

#[tokio::test(start_paused = true)]
async fn once_tries_again_what_stalled_in_an_earlier_process() {
    let refused = || Err(Error::Refused { status: 400, code: "BAD_CURSOR".to_owned() });
    let world = World::new(move |_, cursor, _| if cursor.is_some() { refused() } else { Ok(page(35, None)) }).await;
    let (_stop, stops) = watch::channel(false);
    let ending = world.poller(Mode::Once).run(stops.clone()).await.unwrap();
    assert!(matches!(ending, Ending::GaveUp(_)), "{ending:?}");
    let ending = world.poller(Mode::Once).run(stops.clone()).await.unwrap();
    assert!(matches!(ending, Ending::GaveUp(_)), "it still ends: {ending:?}");
    *world.double.script.lock().unwrap() = Box::new(|_, cursor, _| Ok(page(35, cursor)));
    assert_eq!(world.poller(Mode::Once).run(stops).await.unwrap(), Ending::CaughtUp);
    assert_eq!(world.released().await.len(), 35);
}

#[tokio::test(start_paused = true)]
async fn once_gives_up_where_it_is_only_ever_refused() {
    let world = World::new(|_, _, _| Err(Error::RateLimited)).await;
    let (_stop, stops) = watch::channel(false);
    let running = world.poller(Mode::Once).run(stops);
    let ending = tokio::time::timeout(Duration::from_secs(3600), running).await.expect("an end").unwrap();
    assert_eq!(ending, Ending::GaveUp("429: over the rate limit".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_nothing_is_tried_less_and_less_often() {
    let world = World::on_a_file(|_, cursor, _| Ok(page(35, cursor))).await;
    tamper(world.dir.path(), "CREATE TRIGGER full BEFORE INSERT ON message BEGIN SELECT RAISE(ABORT, 'full'); END");
    let asked = world.run_for(Duration::from_secs(3600)).await.unwrap();
    assert!(asked < 100, "{asked} requests in an hour");
    let (_stop, stops) = watch::channel(false);
    let running = world.poller(Mode::Once).run(stops);
    let ending = tokio::time::timeout(Duration::from_secs(3600), running).await.expect("an end").unwrap();
    assert!(matches!(ending, Ending::GaveUp(_)), "{ending:?}");
    tamper(world.dir.path(), "DROP TRIGGER full");
    world.run_for(Duration::from_secs(120)).await.unwrap();
    assert_eq!(world.released().await.len(), 35);
}

/// The state can neither be written nor read again for a while. Decisions of this time must have no effect.
#[tokio::test(start_paused = true)]
async fn a_page_that_was_not_stored_is_read_again_also_if_the_state_cannot_be_loaded_at_once() {
    let world = World::on_a_file(|_, _, _| Err(Error::Server(500))).await;
    let dir = world.dir.path().to_owned();
    let mut broken = false;
    *world.double.script.lock().unwrap() = Box::new(move |number, cursor, _| {
        assert!(!broken || dir.join("mended").exists(), "asked by a state that is ahead of the disk");
        if number == 6 {
            broken = true;
            tamper(&dir, "ALTER TABLE walk RENAME TO gone");
        }
        Ok(page(135, cursor))
    });
    let dir = world.dir.path().to_owned();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        tamper(&dir, "ALTER TABLE gone RENAME TO walk");
        std::fs::write(dir.join("mended"), "").unwrap();
    });
    world.run_for(Duration::from_secs(300)).await.unwrap();
    let released = world.released().await;
    let missing: Vec<i64> = (1..=135).filter(|number| !released.contains(&format!("m{number}"))).collect();
    assert_eq!(missing, Vec::<i64>::new(), "never handed on");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_read_for_a_while_does_not_end_it() {
    let world = World::on_a_file(|_, cursor, _| Ok(page(5, cursor))).await;
    let dir = world.dir.path().to_owned();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        tamper(&dir, "ALTER TABLE message RENAME TO gone");
        tokio::time::sleep(Duration::from_secs(120)).await;
        tamper(&dir, "ALTER TABLE gone RENAME TO message");
    });
    world.run_for(Duration::from_secs(600)).await.unwrap();
    assert_eq!(world.released().await.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_an_empty_list_is_not_believed_yet_is_handed_on() {
    let world = World::new(|_, _, _| Ok(Page { rows: Vec::new(), more: More::End, total: Some(0) })).await;
    let clock = world.clock.clone();
    let mut came = None;
    *world.double.script.lock().unwrap() = Box::new(move |number, _, _| {
        let mut rows = Vec::new();
        if number > 1 {
            let now = *came.get_or_insert(clock.relay_time());
            rows.push(Row { time: now, ingested: Some(now), ..row(1) });
            rows.push(Row { time: UnixMs(now.0 - 60_000), ingested: Some(UnixMs(now.0 - 60_000)), ..row(0) });
        }
        Ok(Page { rows, more: More::End, total: None })
    });
    let mut poller = world.poller(Mode::Run);
    poller.rules.start = Start::Now;
    let (stop, stops) = watch::channel(false);
    let running = tokio::spawn(poller.run(stops));
    tokio::time::sleep(Duration::from_secs(30)).await;
    stop.send_replace(true);
    running.await.unwrap().unwrap();
    assert_eq!(world.released().await, ["m1"], "the other one was there before");
}

/// When somebody asks for messages that a sink never had, the poller decides on them within five seconds, also while
/// nothing else happens and the API is down.
#[tokio::test(start_paused = true)]
async fn a_replay_is_heard_within_five_seconds_whenever_it_comes() {
    let world = World::new(|_, cursor, _| Ok(page(20, cursor))).await;
    world.run_for(Duration::from_secs(20)).await.unwrap();
    let sinks = [SinkSetup::new("all"), SinkSetup::new("later")];
    let known = world.store.write(move |spool| spool.register_sinks(&sinks, UnixMs::MAX, UnixMs(0))).await.unwrap();
    let sink = known[1].id;
    *world.double.script.lock().unwrap() = Box::new(|_, _, _| Err(Error::Server(503)));
    let (_stop, stops) = watch::channel(false);
    let running = tokio::spawn(world.poller(Mode::Run).run(stops));
    tokio::time::sleep(Duration::from_secs(600)).await;
    for seq in 1..=20_i64 {
        let found = Replayable { seq: Seq(seq), sink, received: UnixMs(0), before: PastDelivery::Never };
        assert_eq!(world.store.write(move |spool| spool.replay(&[found])).await.unwrap(), 1);
        let asked = world.clock.monotonic();
        while world.store.read(Spool::has_undecided).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let waited = world.clock.monotonic() - asked;
            assert!(waited <= Duration::from_millis(5_100), "{waited:?}");
        }
        tokio::time::sleep(Duration::from_millis(730)).await;
    }
    running.abort();
}

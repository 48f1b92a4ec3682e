//! A test of the size of the state over a long time. Poller and delivery run unchanged on a real file; time is paused,
//! and the API and the receivers are in memory.
//!
//! In the test suite everything is shorter: the run takes a day and a half, messages are kept for four hours, and ids
//! for eight. The variable `JOLTSMS_RELAY_DAYS=365` makes the run a whole year with the real limits. That takes hours,
//! since every loop turns every five seconds of the year. For the store alone the command is `just year`
//! (docs/guarantees.md).

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use joltsms_relay::api::budget::{Budget, BudgetLimits, RateHeaders, WINDOW};
use joltsms_relay::api::{Page, Response};
use joltsms_relay::delivery::{Delivery, Options, Retry, Setup};
use joltsms_relay::domain::{Cursor, Invocation, More, Row, Start, UnixMs};
use joltsms_relay::formats::Format;
use joltsms_relay::ingest::coverage::Rules;
use joltsms_relay::ingest::{Feed, Mode, NumberUses, Parts, Poller, WaitingReaders};
use joltsms_relay::metrics::Metrics;
use joltsms_relay::sinks::{Attempt, Attempting, Outgoing, Sink};
use joltsms_relay::store::{self, MessageSelection, RetentionPeriod, Spool, Store};
use joltsms_relay::time::{Clock, Liveness};
use tokio::sync::watch;

const BEGAN: i64 = 1_767_225_600_000;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// A feed with one message a minute, the first one half a minute after the beginning.
#[derive(Clone)]
struct Minutely {
    clock: Clock,
}

impl Feed for Minutely {
    fn fetch(&self, cursor: Option<&Cursor>, limit: u32, _: UnixMs) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        let now = self.clock.relay_time();
        let newest = (now.0 - BEGAN + 30_000) / 60_000;
        let from = cursor.map_or(newest, |cursor| cursor.0.parse::<i64>().unwrap());
        let to = (from - i64::from(limit)).max(0);
        let rows = (to + 1..=from).rev().map(row).collect();
        let more = if to > 0 { More::Cursor(Cursor(to.to_string())) } else { More::End };
        let page = Ok(Page { rows, more, total: None });
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Response { date: Some(now), rate: RateHeaders::default(), page }
        })
    }

    fn identity(&self) -> (String, String) {
        ("https://api".to_owned(), "key".to_owned())
    }

    fn next_key(&mut self) -> bool {
        false
    }
}

fn row(number: i64) -> Row {
    let time = UnixMs(BEGAN + number * 60_000 - 30_000);
    // The row is as long as the documented example, and the row's id is as long as a UUID.
    let id = format!("{number:036}");
    let body = "Your code is 123456. It is valid for ten minutes. Do not tell it to anyone, whoever asks for it.";
    let raw = format!(
        "{{\"id\":\"{id}\",\"numberId\":\"num_1\",\"number\":{{\"id\":\"num_1\",\"phoneNumber\":\"+14155550100\"}},\
         \"from\":\"+18005550100\",\"to\":\"+14155550100\",\"body\":\"{body}\",\"parsedCode\":\"123456\",\
         \"encrypted\":false,\"isRead\":false,\"receivedAt\":\"{time}\",\"ingestedAt\":\"{time}\"}}"
    );
    Row {
        id,
        readable: true,
        spoiled: None,
        time,
        ingested: Some(time),
        number: Some("num_1".to_owned()),
        raw: raw.into(),
    }
}

/// A sink that accepts every message, and counts how often it got each one.
#[derive(Default)]
struct Taken(Mutex<Vec<u8>>);

impl Sink for Taken {
    fn takes_lines(&self) -> bool {
        false
    }

    fn begin(&self, outgoing: Outgoing) -> Attempting {
        let number: usize = outgoing.id.parse().unwrap();
        let mut taken = self.0.lock().unwrap();
        if taken.len() <= number {
            taken.resize(number + 1, 0);
        }
        taken[number] += 1;
        Box::pin(std::future::ready(Attempt::Accepted { status: Some(200) }))
    }
}

/// Returns a directory in memory if the machine has one, because a flush costs nothing there.
fn scratch() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

#[tokio::test(start_paused = true)]
async fn the_state_does_not_grow() {
    let days = std::env::var("JOLTSMS_RELAY_DAYS").ok().map(|days| days.parse::<u32>().unwrap());
    let (length, step, keep, ids, settled_after) = match days {
        Some(days) => (days * DAY, 30 * DAY, 7 * DAY, 30 * DAY, 2),
        None => (36 * HOUR, 6 * HOUR, 4 * HOUR, 8 * HOUR, 3),
    };
    let (dir, clock) = (scratch(), Clock::starting_at(UnixMs(BEGAN)));
    let store = Store::open(dir.path()).unwrap();
    let taken = Arc::new(Taken::default());
    let retry = Retry { initial: Duration::from_secs(5), factor: 3.0, max: HOUR, give_up_after: None };
    let metrics = Metrics::new("main").unwrap();
    let sink = Setup {
        name: "all".to_owned(),
        options: Options::new(8, retry),
        format: Format::default(),
        mask: None,
        sink: Arc::<Taken>::clone(&taken),
        selection: MessageSelection::default(),
        metrics: metrics.sink("all"),
    };
    let delivery = Delivery::start(store.clone(), clock.clone(), 1, Invocation::default(), vec![sink]).await.unwrap();
    let waker = delivery.waker();
    let poller = Poller::new(Parts {
        invocation: Invocation::default(),
        feed: Minutely { clock: clock.clone() },
        store: store.clone(),
        clock: clock.clone(),
        budget: Budget::in_memory(BudgetLimits { requests: 120, window: WINDOW, head_interval: MINUTE }),
        rules: Rules { remember_ids: ids, ..Rules::new(Start::Beginning, HOUR, HOUR) },
        mode: Mode::Run,
        state: store::Options {
            dir: dir.path().to_owned(),
            database: None,
            namespace: String::new(),
            keep_delivered: RetentionPeriod::For(keep),
            keep_dead: RetentionPeriod::Forever,
            max_size: 1 << 30,
            min_free: 0,
        },
        accept_account: false,
        numbers: NumberUses::default(),
        released: Box::new(move || waker.wake()),
        liveness: Liveness::new(&clock),
        tells_progress: false,
        metrics: metrics.ingest(),
        readers: watch::channel(WaitingReaders::default()).1,
        changes: store::ChangeWatch::default(),
    });
    let (stop, stops) = watch::channel(false);
    let polling = tokio::spawn(poller.run(stops));

    let mut sizes = Vec::new();
    let steps = length.as_secs() / step.as_secs();
    for number in 1..=steps {
        tokio::time::sleep(step).await;
        let space = store.read(Spool::disk_usage).await.unwrap();
        let file = std::fs::metadata(dir.path().join("state.db")).unwrap().len();
        let messages = taken.0.lock().unwrap().len() - 1;
        println!("{number}: {messages} messages, {} bytes used, {file} bytes in the file", space.used);
        sizes.push(space.used);
    }
    stop.send_replace(true);
    polling.await.unwrap().unwrap();
    delivery.drain(Duration::ZERO).await;

    let taken = taken.0.lock().unwrap();
    let minutes = usize::try_from(step.as_secs() * steps / 60).unwrap();
    assert!(taken.len() >= minutes, "{} messages in {minutes} minutes", taken.len());
    assert!(taken[1..].iter().all(|times| *times == 1), "each once");
    let settled = &sizes[settled_after..];
    let (least, most) = (settled.iter().min().unwrap(), settled.iter().max().unwrap());
    assert!(most - least <= most / 10 + (4 << 20), "it grows: {sizes:?}");
    assert!(sizes.last().unwrap() <= &(sizes[settled_after] + sizes[settled_after] / 20), "it grows: {sizes:?}");
}

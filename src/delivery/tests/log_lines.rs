//! Tests which lines delivery writes into the log, and which contents no line ever has.

use std::io;
use std::sync::LazyLock;

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use super::super::log_sentences::{
    NOTHING_GETS_THROUGH, RECEIVER_WANTS_SILENCE, SINK_WORKS_AGAIN, STORE_CAN_BE_READ, STORE_CANNOT_BE_READ,
};
use super::*;

/// Collects the log of this thread. All tasks of a test run on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self, level: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.trim_start().starts_with(level)).map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A second subscriber that exists until the process ends. While there is only one subscriber, tracing decides once for
/// each log statement whether the line is wanted, on the thread that reaches the statement first. That may be the
/// thread of another test, which does not want the line. With a second subscriber, tracing asks all subscribers.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(subscriber(Log::default())));

fn subscriber(log: Log) -> impl tracing::Subscriber + Send + Sync {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_writer(log)
        .finish()
}

fn listen() -> (Log, DefaultGuard) {
    LazyLock::force(&SECOND);
    let log = Log::default();
    let guard = tracing::subscriber::set_default(subscriber(log.clone()));
    (log, guard)
}

#[tokio::test(start_paused = true)]
async fn an_outage_and_its_end_are_logged_once() {
    let (log, _guard) = listen();
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(200, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |asked| {
        let up = asked.at.since(START) >= HOUR;
        (Duration::from_millis(1), if up { ACCEPTED } else { unavailable() })
    });
    let _delivery = world.start(vec![("crm", options(4), receiver.clone())]).await;
    until("all delivered", 2 * HOUR, async || world.waiting("crm").await == WaitingCounts::default()).await;
    sleep(MINUTE).await;
    let warnings = log.lines("WARN");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("sink.name=\"crm\"") && warnings[0].contains("503 as asked"), "{warnings:?}");
    let news = log.lines("INFO");
    assert_eq!(news.len(), 2, "{news:?}");
    assert!(news[0].contains(NOTHING_GETS_THROUGH) && news[1].contains(SINK_WORKS_AGAIN), "{news:?}");
    assert!(news[1].contains("sink.waiting=19"), "the number of waiting messages: {news:?}");
    assert_eq!(log.lines("ERROR"), Vec::<String>::new());
    let attempts = log.lines("DEBUG");
    assert_eq!(attempts.len(), receiver.attempts(), "one line for each attempt");
    assert!(attempts.iter().all(|line| line.contains("message.id=\"m") && line.contains("http.status=")));
}

#[tokio::test(start_paused = true)]
async fn every_dead_letter_is_an_error_and_no_line_holds_a_body() {
    let (log, _guard) = listen();
    let world = World::on_a_file();
    world.register(&["crm"]).await;
    world.release(2, DeliveryClass::Live).await;
    // No line of any level may have the text of a message. The id is allowed.
    world
        .second_connection()
        .execute("UPDATE message SET raw = json_object('id', id, 'body', 'your code is 424242'), sum = NULL", [])
        .unwrap();
    let receiver = Receiver::new(&world, |_| (Duration::from_millis(1), failed(400, None)));
    let mut options = options(2);
    options.retry.give_up_after = Some(MINUTE);
    let _delivery = world.start(vec![("crm", options, receiver)]).await;
    until("both are dead", HOUR, async || world.waiting("crm").await.dead == 2).await;
    until("and logged", MINUTE, async || log.lines("ERROR").len() == 2).await;
    let mut dead = log.lines("ERROR");
    dead.sort();
    for (line, id) in dead.iter().zip(["m1", "m2"]) {
        for part in [&format!("message.id=\"{id}\""), "sink.name=\"crm\"", "reason=\"gave_up\"", "400 as asked"] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
    let everything = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!everything.contains("424242") && !everything.contains("your code"), "{everything}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_soon_after_a_logged_one_is_logged_a_minute_later_if_it_goes_on() {
    let (log, _guard) = listen();
    let world = World::new();
    world.register(&["crm"]).await;
    // The receiver fails, works, and then fails for good. The next attempt after that is an hour away.
    let receiver = Receiver::new(&world, |asked| {
        let answer = match asked.id {
            "m1" if asked.before == 0 => failed(500, None),
            "m2" => failed(502, None),
            _ => ACCEPTED,
        };
        (Duration::from_millis(1), answer)
    });
    let mut options = options(1);
    (options.retry.initial, options.retry.factor) = (Duration::from_secs(10), 360.0);
    let delivery = world.start(vec![("crm", options, receiver.clone())]).await;
    world.release(1, DeliveryClass::Live).await;
    delivery.waker().wake();
    until("it works again", MINUTE, async || log.lines("INFO").len() == 1).await;
    world.release(1, DeliveryClass::Live).await;
    delivery.waker().wake();
    until("tried twice", MINUTE, async || receiver.ids_begun() == ["m1", "m1", "m2", "m2"]).await;
    assert_eq!(log.lines("WARN").len(), 1, "{:?}", log.lines("WARN"));
    until("a minute is over", MINUTE, async || log.lines("WARN").len() == 2).await;
    let told = world.clock.relay_time().since(START);
    assert!(told >= MINUTE && told < Duration::from_secs(62), "{told:?}");
    assert!(log.lines("WARN")[1].contains("502 as asked"), "{:?}", log.lines("WARN"));
    assert_eq!(receiver.attempts(), 4, "it was logged before the next attempt");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_sets_the_pace_is_logged_once() {
    let (log, _guard) = listen();
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(60, DeliveryClass::Live).await;
    let last = AtomicI64::new(i64::MIN);
    let receiver = Receiver::new(&world, move |asked| {
        let takes = asked.at.0.saturating_sub(last.load(Ordering::Relaxed)) >= 1000;
        if takes {
            last.store(asked.at.0, Ordering::Relaxed);
        }
        (Duration::from_millis(5), if takes { ACCEPTED } else { failed(429, Some(Duration::from_secs(1))) })
    });
    let _delivery = world.start(vec![("crm", options(8), receiver.clone())]).await;
    until("all delivered", 2 * MINUTE, async || world.waiting("crm").await == WaitingCounts::default()).await;
    let warnings = log.lines("WARN");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in [RECEIVER_WANTS_SILENCE, "sink.name=\"crm\"", "429 as asked", "wait_s=1"] {
        assert!(warnings[0].contains(part), "{part} in {warnings:?}");
    }
    assert_eq!(log.lines("INFO"), Vec::<String>::new(), "the sink never failed, so no line says that it works again");
}

/// Messages grow too old on a disk that cannot be written, while reads still work.
#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_writes_is_logged_once_and_so_is_its_recovery() {
    let (log, _guard) = listen();
    let world = World::on_a_file();
    world.register(&["crm"]).await;
    world.release_received(&[world.clock.relay_time()], DeliveryClass::Live).await;
    let full = "CREATE TRIGGER full BEFORE UPDATE ON delivery WHEN NEW.state = 'dead'
                BEGIN SELECT RAISE(ABORT, 'disk is full, says the test'); END";
    world.second_connection().execute_batch(full).unwrap();
    let receiver = Receiver::new(&world, |_| (Duration::from_millis(1), unavailable()));
    let options = Options { max_age: Some(MINUTE), ..options(1) };
    let _delivery = world.start(vec![("crm", options, receiver)]).await;
    sleep(HOUR).await;
    let said = |level: &str, sentence: &str| log.lines(level).iter().filter(|line| line.contains(sentence)).count();
    assert_eq!((said("ERROR", STORE_CANNOT_BE_READ), said("INFO", STORE_CAN_BE_READ)), (1, 0));
    world.second_connection().execute_batch("DROP TRIGGER full").unwrap();
    until("it has expired", 2 * MINUTE, async || world.waiting("crm").await.dead == 1).await;
    until("the recovery is logged", MINUTE, async || said("INFO", STORE_CAN_BE_READ) == 1).await;
    assert_eq!(said("ERROR", STORE_CANNOT_BE_READ), 1);
}

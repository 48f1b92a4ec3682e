//! Tests of wrong clocks: the machine's clock at the start, and the `Date` of the API's answers. Nothing is removed
//! before the right time is known. Then the stored times are corrected.

use std::sync::atomic::Ordering;

use super::*;
use crate::domain::{DeliveryClass, Insert, Outcome, PollChange, RowStanding, Seq};
use crate::store::Settlement;

const DAY: Duration = Duration::from_secs(86_400);

impl World {
    /// Stores a message that was delivered at `BEGAN`.
    async fn deliver_one(&self) {
        let insert = Insert { seq: Seq(1), row: row(1), standing: RowStanding::News, held_by: None };
        let changes = [
            PollChange::Insert(Box::new(insert)),
            PollChange::Release { rows: vec![Seq(1)], class: DeliveryClass::Live },
        ];
        let settlement = Settlement {
            sink: SinkId(1),
            seq: Seq(1),
            attempts: 1,
            first_attempt: BEGAN,
            outcome: Outcome::Delivered { status: None },
            health: None,
        };
        let stored = self.store.write(move |spool| {
            spool.commit(&changes, BEGAN)?;
            spool.settle(&[settlement], BEGAN)
        });
        stored.await.unwrap();
    }

    fn count(&self, messages: &str) -> i64 {
        let connection = rusqlite::Connection::open(self.dir.path().join("state.db")).unwrap();
        let counted = format!("SELECT count(*) FROM message WHERE {messages}");
        connection.query_row(&counted, [], |row| row.get(0)).unwrap()
    }

    fn texts(&self) -> i64 {
        self.count("raw IS NOT NULL")
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_removed_before_the_right_time_is_known() {
    let empty = || Page { rows: Vec::new(), more: More::End, total: None };
    let mut world = World::on_a_file(move |_, _, _| Ok(empty())).await;
    world.deliver_one().await;
    world.options.keep_delivered = RetentionPeriod::For(2 * DAY);
    // The relay's clock is 8 days ahead. The double sends the right `Date`, by its own clock.
    world.clock = Clock::unconfirmed_at(BEGAN.after(8 * DAY));
    let (stop, stops) = watch::channel(false);
    let running = tokio::spawn(world.poller(Mode::Run).run(stops));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!world.clock.is_confirmed(), "the API's `Date` differs from the machine's clock");
    assert_eq!(world.texts(), 1);
    world.clock.set_machine(world.double.clock.relay_time());
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(world.clock.is_confirmed());
    assert_eq!(world.clock.relay_time(), world.double.clock.relay_time());
    assert_eq!(world.texts(), 1);
    // A later jump of the machine's clock removes nothing either.
    world.clock.set_machine(BEGAN.after(80 * DAY));
    tokio::time::sleep(DAY).await;
    assert_eq!(world.texts(), 1);
    tokio::time::sleep(DAY).await;
    assert_eq!(world.texts(), 0, "two days have passed");
    stop.send_replace(true);
    assert_eq!(running.await.unwrap().unwrap(), Ending::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_date_at_the_start_is_believed_only_after_a_quarter_of_an_hour() {
    let mut world = World::new(|_, cursor, _| Ok(page(5, cursor))).await;
    world.clock = Clock::unconfirmed_at(BEGAN);
    world.double.clock = Clock::starting_at(BEGAN.after(400 * DAY));
    let (stop, stops) = watch::channel(false);
    let running = tokio::spawn(world.poller(Mode::Run).run(stops));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((world.asked(), world.clock.message_time()), (1, None));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.clock.message_time(), None, "it was repeated for only ten minutes");
    assert!(!world.clock.is_confirmed(), "the machine's clock differs from the `Date`");
    tokio::time::sleep(Duration::from_secs(600)).await;
    let far = world.clock.message_time().unwrap().since(BEGAN);
    assert!(far > 399 * DAY, "it was repeated for a quarter of an hour: {far:?}");
    stop.send_replace(true);
    assert_eq!(running.await.unwrap().unwrap(), Ending::Stopped);
}

/// Makes a page of these rows, newest first. A cursor is the number of rows above the page to which it leads.
fn page_of(mut rows: Vec<Row>, cursor: Option<&Cursor>) -> Page {
    rows.sort_by_key(|row| std::cmp::Reverse(row.time));
    let from = cursor.map_or(0, |cursor| cursor.0.parse().unwrap());
    let more = if rows.len() > from + 10 { More::Cursor(Cursor((from + 10).to_string())) } else { More::End };
    Page { rows: rows.into_iter().skip(from).take(10).collect(), more, total: None }
}

/// Only the first answer to the second process has a wrong `Date`. A message that shows up late, below newer messages,
/// is still found.
#[tokio::test(start_paused = true)]
async fn a_wrong_first_date_hides_no_late_message() {
    const MINUTE: i64 = 60_000;
    for ahead in [60 * MINUTE, 70 * 366 * 24 * 60 * MINUTE] {
        let world = World::new(|_, _, _| Err(Error::Server(503))).await;
        let (clock, date_ahead) = (world.clock.clone(), Arc::clone(&world.double.date_ahead_ms));
        let mut first_of_process = 1;
        *world.double.script.lock().unwrap() = Box::new(move |number, cursor, _| {
            let passed = clock.relay_time().since(BEGAN);
            if passed >= Duration::from_secs(100) && first_of_process == 1 {
                first_of_process = number;
            }
            let is_first = number == first_of_process && number > 1;
            date_ahead.store(if is_first { ahead } else { 0 }, Ordering::Relaxed);
            let dated = |number: i64, at: i64| Row { time: at_ms(at), ingested: Some(at_ms(at)), ..row(number) };
            let mut rows: Vec<Row> = (1..=20).map(|number| dated(number, -120 * MINUTE + number)).collect();
            // These messages arrive while the first process runs, and show that the rows' clock is right.
            let arrived = (21_i64..=80).filter(|number| passed >= Duration::from_secs(number.unsigned_abs()));
            rows.extend(arrived.map(|number| dated(number, 1000 * number)));
            if passed >= Duration::from_secs(700) {
                rows.push(dated(99, -38 * MINUTE));
            }
            Ok(page_of(rows, cursor))
        });
        world.run_for(Duration::from_secs(90)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
        world.run_for(Duration::from_secs(1200)).await.unwrap();
        assert!(world.released().await.contains(&"m99".to_owned()), "{ahead} ms ahead");
    }
}

/// The first answer on a new state has a `Date` of 1973. The messages that come after it are released at once; the
/// relay does not read the whole list first.
#[tokio::test(start_paused = true)]
async fn a_wrong_first_date_holds_up_no_message() {
    let world = World::new(|_, _, _| Err(Error::Server(503))).await;
    let date_ahead = Arc::clone(&world.double.date_ahead_ms);
    *world.double.script.lock().unwrap() = Box::new(move |number, cursor, _| {
        let behind = if number == 1 { -50 * 366 * 86_400_000 } else { 0 };
        date_ahead.store(behind, Ordering::Relaxed);
        let mut rows: Vec<Row> = (1..=5000).map(row).collect();
        if number > 1 {
            rows.push(Row { time: at_ms(500), ingested: Some(at_ms(500)), ..row(9999) });
        }
        Ok(page_of(rows, cursor))
    });
    let mut poller = world.poller(Mode::Run);
    poller.rules.start = Start::Now;
    let (stop, stops) = watch::channel(false);
    let running = tokio::spawn(poller.run(stops));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.released().await, ["m9999"]);
    stop.send_replace(true);
    assert_eq!(running.await.unwrap().unwrap(), Ending::Stopped);
}

fn at_ms(milliseconds: i64) -> UnixMs {
    UnixMs(BEGAN.0 + milliseconds)
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_date_confirms_nothing() {
    for undated in [1, usize::MAX] {
        let mut world = World::on_a_file(|_, _, _| Ok(Page { rows: Vec::new(), more: More::End, total: None })).await;
        world.deliver_one().await;
        world.options.keep_delivered = RetentionPeriod::For(2 * DAY);
        world.clock = Clock::unconfirmed_at(BEGAN.after(8 * DAY));
        world.double.undated = undated;
        let (stop, stops) = watch::channel(false);
        let running = tokio::spawn(world.poller(Mode::Run).run(stops));
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(!world.clock.is_confirmed(), "with {undated} answers that have no date");
        assert_eq!(world.texts(), 1);
        stop.send_replace(true);
        assert_eq!(running.await.unwrap().unwrap(), Ending::Stopped);
    }
}

/// Makes an account to which a message comes every ten seconds from the second minute on. These messages are dated
/// ahead by `off`. No answer has a `Date`.
async fn arrivals(off: Duration) -> World {
    let clock = Clock::starting_at(BEGAN);
    let mut world = World::on_a_file(move |_, cursor, _| {
        let passed = clock.relay_time().since(BEGAN).as_secs() / 10;
        let came = i64::try_from(passed.saturating_sub(6)).unwrap();
        let mut page = page(5 + came, cursor);
        for row in &mut page.rows {
            let number: u64 = row.id[1..].parse().unwrap();
            if number > 5 {
                row.time = BEGAN.after(off + Duration::from_secs((number + 1) * 10));
                row.ingested = Some(row.time);
            }
        }
        Ok(page)
    })
    .await;
    world.double.undated = usize::MAX;
    world
}

#[tokio::test(start_paused = true)]
async fn without_a_date_messages_that_arrive_tell_the_time() {
    let mut world = arrivals(Duration::ZERO).await;
    world.clock = Clock::unconfirmed_at(BEGAN.after(DAY));
    let (stop, stops) = watch::channel(false);
    let running = tokio::spawn(world.poller(Mode::Run).run(stops));
    tokio::time::sleep(Duration::from_secs(30)).await;
    let right = || world.double.clock.relay_time();
    let quiet = world.clock.message_time().unwrap();
    assert!(
        quiet <= right() && !world.clock.is_confirmed(),
        "{quiet}: messages from before the start do not show what time it is"
    );
    tokio::time::sleep(Duration::from_secs(300)).await;
    let off =
        world.clock.message_time().unwrap().since(right()).max(right().since(world.clock.message_time().unwrap()));
    assert!(off < Duration::from_secs(30) && !world.clock.is_confirmed(), "{off:?}");
    assert_eq!(world.clock.memory().messages_ahead_ms, Some(0), "no difference is stored for other processes");
    world.clock.set_machine(right());
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(world.clock.is_confirmed(), "the machine's clock and the messages agree");
    assert!(world.clock.relay_time().since(right()) < Duration::from_secs(5));
    stop.send_replace(true);
    assert_eq!(running.await.unwrap().unwrap(), Ending::Stopped);
}

#[tokio::test(start_paused = true)]
async fn without_a_date_a_message_with_a_wrong_time_makes_no_other_message_look_old() {
    let mut world = arrivals(400 * DAY).await;
    world.clock = Clock::unconfirmed_at(BEGAN);
    let (stop, stops) = watch::channel(false);
    let running = tokio::spawn(world.poller(Mode::Run).run(stops));
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(world.clock.message_time().unwrap() <= world.double.clock.relay_time());
    assert!(!world.clock.is_confirmed());
    stop.send_replace(true);
    assert_eq!(running.await.unwrap().unwrap(), Ending::Stopped);
}

impl World {
    /// Sets by how many milliseconds the `Date` of the API's answers is ahead.
    fn set_date_ahead(&self, ahead: i64) {
        self.double.date_ahead_ms.store(ahead, Ordering::Relaxed);
    }

    /// Returns by how many milliseconds the relay's estimate of the messages' clock is ahead of the right time.
    fn messages_ahead(&self) -> i64 {
        self.clock.message_time().unwrap().0 - self.double.clock.relay_time().0
    }

    /// Returns by how many milliseconds the anchor is ahead of the right time.
    async fn anchor_ahead(&self) -> i64 {
        let coverage = self.store.read(Spool::load_coverage).await.unwrap().unwrap();
        coverage.marks.anchor.0 - self.double.clock.relay_time().0
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

#[tokio::test(start_paused = true)]
async fn a_date_that_is_far_off_for_a_minute_changes_nothing() {
    for off in [DAY_MS, -5 * HOUR_MS, 400 * DAY_MS] {
        let world = World::new(|_, cursor, _| Ok(page(25, cursor))).await;
        let (stop, stops) = watch::channel(false);
        let running = tokio::spawn(world.poller(Mode::Run).run(stops));
        tokio::time::sleep(100 * SECOND).await;
        for repeated in 0..3 {
            world.set_date_ahead(off);
            for _ in 0..120 {
                tokio::time::sleep(SECOND / 2).await;
                assert!(world.messages_ahead() < MINUTE_MS, "with a Date {off} ms ahead, messages look old");
                assert!(world.anchor_ahead().await < MINUTE_MS, "with a Date {off} ms ahead, the anchor runs ahead");
            }
            world.set_date_ahead(0);
            tokio::time::sleep((1 + repeated) * 10 * SECOND).await;
            assert!(world.messages_ahead().abs() < MINUTE_MS, "the Date is right again");
        }
        assert!(world.anchor_ahead().await > -2 * MINUTE_MS, "sweeps go on");
        stop.send_replace(true);
        assert_eq!(running.await.unwrap().unwrap(), Ending::Stopped);
    }
}

#[tokio::test(start_paused = true)]
async fn a_date_that_stays_far_off_is_believed_after_a_quarter_of_an_hour() {
    for off in [DAY_MS, -5 * HOUR_MS] {
        let world = World::new(|_, cursor, _| Ok(page(25, cursor))).await;
        let (stop, stops) = watch::channel(false);
        let running = tokio::spawn(world.poller(Mode::Run).run(stops));
        tokio::time::sleep(100 * SECOND).await;
        world.set_date_ahead(off);
        tokio::time::sleep(14 * 60 * SECOND).await;
        assert!(world.messages_ahead() < MINUTE_MS);
        tokio::time::sleep(2 * 60 * SECOND).await;
        assert!((world.messages_ahead() - off).abs() < MINUTE_MS, "{} ms ahead", world.messages_ahead());
        stop.send_replace(true);
        assert_eq!(running.await.unwrap().unwrap(), Ending::Stopped);
    }
}

#[tokio::test(start_paused = true)]
async fn new_messages_do_not_wait_while_the_date_is_behind() {
    const EVERY: u64 = 20;
    // At the start the list has 25 messages, one for each of the last 25 seconds. From the 200th second on, a message
    // comes every 20 s, with the right time.
    let right = Clock::starting_at(BEGAN);
    let came = move |now: UnixMs| i64::try_from((now.since(BEGAN).as_secs() / EVERY).saturating_sub(9)).unwrap();
    let clock = right.clone();
    let world = World::on_a_file(move |_, cursor, _| {
        let mut page = page(25 + came(clock.relay_time()), cursor);
        for row in &mut page.rows {
            let number: i64 = row.id[1..].parse().unwrap();
            row.time = if number <= 25 {
                UnixMs(BEGAN.0 - 1000 * (26 - number))
            } else {
                BEGAN.after(Duration::from_secs(EVERY * (u64::try_from(number - 25).unwrap() + 9)))
            };
            row.ingested = Some(row.time);
        }
        Ok(page)
    })
    .await;
    let (stop, stops) = watch::channel(false);
    let running = tokio::spawn(world.poller(Mode::Run).run(stops));
    tokio::time::sleep(150 * SECOND).await;
    // The wrong `Date` lasts for an hour: at first the relay does not believe it, later it counts as the API's time.
    world.set_date_ahead(-3 * HOUR_MS);
    let mut latest = Duration::ZERO;
    let mut waits = 0_u32;
    for _ in 0..3600 {
        tokio::time::sleep(SECOND).await;
        let there = 25 + came(right.relay_time());
        waits = if world.count("release_no IS NOT NULL") < there { waits + 1 } else { 0 };
        latest = latest.max(waits * SECOND);
    }
    assert!(latest <= 4 * SECOND, "a message waited for {latest:?}");
    stop.send_replace(true);
    assert_eq!(running.await.unwrap().unwrap(), Ending::Stopped);
}

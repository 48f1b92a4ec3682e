//! The machine's clock is wrong at the start: nothing is removed, and the state follows once it is right.

use super::*;
use crate::domain::{Class, Insert, Outcome, RowStanding, Seq, StoreOp};
use crate::store::Settlement;

const DAY: Duration = Duration::from_secs(86_400);

impl World {
    /// A message that was delivered at `BEGAN`.
    async fn deliver_one(&self) {
        let insert = Insert { seq: Seq(1), row: row(1), standing: RowStanding::News, held_by: None };
        let ops = [StoreOp::Insert(Box::new(insert)), StoreOp::Release { rows: vec![Seq(1)], class: Class::Live }];
        let settlement = Settlement {
            sink: SinkId(1),
            seq: Seq(1),
            attempts: 1,
            first_attempt: BEGAN,
            outcome: Outcome::Delivered { status: None },
            health: None,
        };
        let stored = self.store.write(move |spool| {
            spool.commit(&ops, BEGAN)?;
            spool.settle(&[settlement], BEGAN)
        });
        stored.await.unwrap();
    }

    fn texts(&self) -> i64 {
        let connection = rusqlite::Connection::open(self.dir.path().join("state.db")).unwrap();
        connection.query_row("SELECT count(*) FROM message WHERE raw IS NOT NULL", [], |row| row.get(0)).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_removed_before_it_is_known_what_time_it_is() {
    let empty = || Page { rows: Vec::new(), more: More::End, total: None };
    let mut world = World::new(move |_, _, _| Ok(empty())).await;
    world.deliver_one().await;
    world.options.keep_delivered = Keep::For(2 * DAY);
    // The double goes on telling the right time by the clock that it has.
    world.clock = Clock::unconfirmed_at(BEGAN.after(8 * DAY));
    let (stop, stops) = watch::channel(false);
    let running = tokio::spawn(world.poller(Mode::Run).run(stops));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!world.clock.is_confirmed(), "the API says something else");
    assert_eq!(world.texts(), 1);
    world.clock.set_machine(world.double.clock.relay_time());
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(world.clock.is_confirmed());
    assert_eq!(world.clock.relay_time(), world.double.clock.relay_time());
    assert_eq!(world.texts(), 1);
    // A jump later on changes nothing either.
    world.clock.set_machine(BEGAN.after(80 * DAY));
    tokio::time::sleep(DAY).await;
    assert_eq!(world.texts(), 1);
    tokio::time::sleep(DAY).await;
    assert_eq!(world.texts(), 0, "two days have passed");
    stop.send_replace(true);
    assert_eq!(running.await.unwrap().unwrap(), Ending::Stopped);
}

#[tokio::test(start_paused = true)]
async fn one_answer_with_a_wrong_date_makes_no_message_old() {
    let mut world = World::new(|_, cursor, _| Ok(page(5, cursor))).await;
    world.clock = Clock::unconfirmed_at(BEGAN);
    world.double.clock = Clock::starting_at(BEGAN.after(400 * DAY));
    let (stop, stops) = watch::channel(false);
    let running = tokio::spawn(world.poller(Mode::Run).run(stops));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((world.asked(), world.clock.message_time()), (1, None));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let far = world.clock.message_time().unwrap().since(BEGAN);
    assert!(far > 399 * DAY, "it was repeated: {far:?}");
    assert!(!world.clock.is_confirmed(), "the machine's clock says something else");
    stop.send_replace(true);
    assert_eq!(running.await.unwrap().unwrap(), Ending::Stopped);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_date_confirms_nothing() {
    for undated in [1, usize::MAX] {
        let mut world = World::new(|_, _, _| Ok(Page { rows: Vec::new(), more: More::End, total: None })).await;
        world.deliver_one().await;
        world.options.keep_delivered = Keep::For(2 * DAY);
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

/// An account whose messages come every ten seconds from the second minute on, `off` by their own clock.
async fn arrivals(off: Duration) -> World {
    let clock = Clock::starting_at(BEGAN);
    let mut world = World::new(move |_, cursor, _| {
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
    assert!(quiet <= right() && !world.clock.is_confirmed(), "{quiet}: what was there before tells no more");
    tokio::time::sleep(Duration::from_secs(300)).await;
    let off =
        world.clock.message_time().unwrap().since(right()).max(right().since(world.clock.message_time().unwrap()));
    assert!(off < Duration::from_secs(30) && !world.clock.is_confirmed(), "{off:?}");
    assert_eq!(world.clock.memory().messages_ahead_ms, Some(0), "nobody else is told");
    world.clock.set_machine(right());
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(world.clock.is_confirmed(), "both agree");
    assert!(world.clock.relay_time().since(right()) < Duration::from_secs(5));
    stop.send_replace(true);
    assert_eq!(running.await.unwrap().unwrap(), Ending::Stopped);
}

#[tokio::test(start_paused = true)]
async fn without_a_date_a_message_with_a_wrong_time_makes_no_other_old() {
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

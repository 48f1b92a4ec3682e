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
            standing: None,
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

//! Tests of trouble: the store fails, a receiver is gone, nobody reads the output any more, or the relay itself panics.

use super::super::BlockedBy;
use super::*;
use crate::domain::PauseReason;

#[tokio::test(start_paused = true)]
async fn a_result_that_cannot_be_recorded_is_kept_and_its_message_is_not_sent_again() {
    let world = World::on_a_file();
    world.register(&["crm"]).await;
    world.release(10, DeliveryClass::Live).await;
    let receiver = Receiver::healthy(&world);
    // The trigger makes each transaction fail that settles a delivery, as a full disk would. Reads still succeed.
    world
        .second_connection()
        .execute_batch(
            "CREATE TRIGGER full BEFORE UPDATE ON delivery BEGIN SELECT RAISE(ABORT, 'disk is full, says the test'); END",
        )
        .unwrap();
    let delivery = world.start(vec![("crm", options(4), receiver.clone())]).await;
    until("four were sent", MINUTE, async || receiver.accepted() == 4).await;
    sleep(10 * MINUTE).await;
    assert_eq!(receiver.attempts(), 4, "a worker is free only when its settlement is on the disk");
    assert_eq!(delivery.status()[0].in_flight, 4);
    assert!(delivery.longest_stall() <= Duration::from_secs(10), "{:?}", delivery.longest_stall());
    assert_eq!(world.waiting("crm").await.fresh, 10);
    world.second_connection().execute_batch("DROP TRIGGER full").unwrap();
    until("all delivered", MINUTE, async || world.waiting("crm").await == WaitingCounts::default()).await;
    assert_eq!(receiver.attempts(), 10, "none was sent twice");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_is_asked_again_with_growing_waits() {
    let world = World::on_a_file();
    world.register(&["crm"]).await;
    world.release(3, DeliveryClass::Live).await;
    let connection = world.second_connection();
    let receiver = Receiver::healthy(&world);
    connection.execute_batch("ALTER TABLE message RENAME TO elsewhere").unwrap();
    let _delivery = world.start(vec![("crm", options(4), receiver.clone())]).await;
    sleep(HOUR).await;
    assert_eq!(receiver.attempts(), 0);
    connection.execute_batch("ALTER TABLE elsewhere RENAME TO message").unwrap();
    until("it goes on by itself", 2 * MINUTE, async || receiver.accepted() == 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_message_is_never_sent() {
    let world = World::on_a_file();
    world.register(&["crm"]).await;
    world.release(3, DeliveryClass::Live).await;
    world.second_connection().execute("UPDATE message SET raw = '{}' WHERE id = 'm2'", []).unwrap();
    let receiver = Receiver::healthy(&world);
    let delivery = world.start(vec![("crm", options(1), receiver.clone())]).await;
    let error = tokio::time::timeout(MINUTE, delivery.state_damaged()).await.unwrap();
    assert!(error.to_string().contains("message \"m2\" is not what was stored"), "{error}");
    assert_eq!(receiver.attempts(), 0);
}

#[tokio::test(start_paused = true)]
async fn gone_pauses_the_sink_and_keeps_its_messages() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(20, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |_| {
        (Duration::from_millis(1), Attempt::Gone { status: Some(410), answer: "410 Gone".into() })
    });
    let delivery = world.start(vec![("crm", options(2), receiver.clone())]).await;
    sleep(4 * DAY).await;
    assert_eq!(receiver.attempts(), 2, "the two that were under way");
    assert_eq!(delivery.status()[0].blocked_by, Some(BlockedBy::Pause(PauseReason::Gone)));
    assert_eq!(world.waiting("crm").await, WaitingCounts { fresh: 18, retry: 2, dead: 0 });
    delivery.drain(Duration::ZERO).await;
    // After another start the sink is still paused.
    let back = Receiver::healthy(&world);
    let delivery = world.start(vec![("crm", options(2), back.clone())]).await;
    sleep(DAY).await;
    assert_eq!((back.attempts(), delivery.status()[0].blocked_by), (0, Some(BlockedBy::Pause(PauseReason::Gone))));
    // Five days have passed, and no message was given up: the pause does not count towards the three days of
    // `give_up_after`.
    world.resume("crm").await;
    until("all delivered", MINUTE, async || back.accepted() == 20).await;
    assert_eq!(delivery.status()[0].blocked_by, None);
}

#[tokio::test(start_paused = true)]
async fn a_pause_by_an_operator_is_noticed_and_does_not_count_towards_giving_up() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(1, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |_| (Duration::from_millis(1), unavailable()));
    let mut options = options(2);
    options.retry.give_up_after = Some(2 * HOUR);
    let delivery = world.start(vec![("crm", options, receiver.clone())]).await;
    sleep(HOUR).await;
    let attempts = receiver.attempts();
    world.pause("crm", PauseReason::Operator).await;
    until("noticed", Duration::from_secs(6), async || {
        delivery.status()[0].blocked_by == Some(BlockedBy::Pause(PauseReason::Operator))
    })
    .await;
    sleep(4 * HOUR).await;
    assert_eq!(receiver.attempts(), attempts, "nothing is sent meanwhile");
    let resumed = world.clock.relay_time();
    world.resume("crm").await;
    until("tried at once", Duration::from_secs(6), async || receiver.attempts() == attempts + 1).await;
    until("given up", 2 * HOUR, async || world.waiting("crm").await.dead == 1).await;
    let left = world.clock.relay_time().since(resumed);
    assert!(left > Duration::from_secs(3590) && left < Duration::from_secs(3700), "an hour was left: {left:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_wake_up_for_commands_a_pause_and_its_end_take_effect_at_once() {
    let world = World::new();
    world.register(&["crm"]).await;
    let receiver = Receiver::healthy(&world);
    let delivery = world.start(vec![("crm", options(2), receiver.clone())]).await;
    let at_once = Duration::from_millis(500);
    world.pause("crm", PauseReason::Operator).await;
    delivery.waker().look_for_commands();
    until("paused", at_once, async || delivery.status()[0].blocked_by.is_some()).await;
    world.release(1, DeliveryClass::Live).await;
    world.resume("crm").await;
    delivery.waker().look_for_commands();
    until("delivered", at_once, async || receiver.accepted() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_output_stays_paused_until_the_next_start() {
    let world = World::new();
    let closed = Receiver::new(&world, |_| (Duration::from_millis(1), Attempt::Closed));
    let crm = Receiver::healthy(&world);
    let delivery = world.start(vec![("out", options(1), closed.clone()), ("crm", options(1), crm.clone())]).await;
    world.release(2, DeliveryClass::Live).await;
    delivery.waker().wake();
    until("paused in the store", MINUTE, async || world.paused("out").await == Some(PauseReason::Closed)).await;
    sleep(HOUR).await;
    assert_eq!((closed.attempts(), crm.accepted()), (1, 2));
    delivery.drain(Duration::ZERO).await;
    let open = Receiver::healthy(&world);
    let _delivery = world.start(vec![("out", options(1), open.clone()), ("crm", options(1), crm.clone())]).await;
    until("all written", MINUTE, async || open.accepted() == 2).await;
    assert_eq!(world.paused("out").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_panic_over_one_message_is_a_failure_of_that_message() {
    struct Panics(Arc<Receiver>);
    impl Sink for Panics {
        fn takes_lines(&self) -> bool {
            false
        }

        fn begin(&self, outgoing: Outgoing) -> Attempting {
            let is_bad = outgoing.id == "m2";
            let attempting = self.0.begin(outgoing);
            Box::pin(async move {
                assert!(!is_bad, "as the test wants it");
                attempting.await
            })
        }
    }
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(4, DeliveryClass::Live).await;
    let receiver = Receiver::healthy(&world);
    let _delivery = world.start(vec![("crm", options(1), Arc::new(Panics(receiver.clone())))]).await;
    until("the others delivered", MINUTE, async || receiver.accepted() == 3).await;
    until("and `m2` waits", MINUTE, async || world.waiting("crm").await.retry == 1).await;
    assert!(receiver.attempts() < 10);
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_breaks_is_reported() {
    struct Breaks;
    impl Sink for Breaks {
        fn takes_lines(&self) -> bool {
            false
        }

        fn begin(&self, _: Outgoing) -> Attempting {
            panic!("as the test wants it")
        }
    }
    let world = World::new();
    let delivery =
        world.start(vec![("good", options(1), Receiver::healthy(&world)), ("bad", options(1), Arc::new(Breaks))]).await;
    let broken = delivery.loop_died();
    tokio::pin!(broken);
    assert!(tokio::time::timeout(HOUR, &mut broken).await.is_err(), "all is well");
    world.release(1, DeliveryClass::Live).await;
    delivery.waker().wake();
    tokio::time::timeout(MINUTE, broken).await.unwrap();
    assert!(delivery.until_idle().await.unwrap(), "its message waits");
}

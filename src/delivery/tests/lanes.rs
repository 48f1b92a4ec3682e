//! Tests of the order in which messages are sent, and that no lane and no sink waits for another.

use super::*;

#[tokio::test(start_paused = true)]
async fn live_messages_do_not_wait_for_a_backfill() {
    for concurrency in [1, 2, 8] {
        let world = World::new();
        world.register(&["crm"]).await;
        world.release(2_000, DeliveryClass::Backfill).await;
        let receiver = Receiver::new(&world, |_| (Duration::from_secs(1), ACCEPTED));
        let delivery = world.start(vec![("crm", options(concurrency), receiver.clone())]).await;
        sleep(Duration::from_millis(10_500)).await;
        let ids = world.release(3, DeliveryClass::Live).await;
        let released = world.clock.relay_time();
        delivery.waker().wake();
        until("live is served", MINUTE, async || ids.iter().all(|id| receiver.ids_begun().contains(id))).await;
        let first_live = receiver.begun().into_iter().find(|(id, _)| *id == ids[0]).unwrap().1;
        // With one worker a live message waits for the delivery that is under way. With more workers it does not wait.
        let allowed = if concurrency == 1 { Duration::from_secs(1) } else { Duration::from_millis(50) };
        assert!(first_live.since(released) <= allowed, "{concurrency}: {:?}", first_live.since(released));
    }
}

#[tokio::test(start_paused = true)]
async fn a_backfill_goes_on_while_live_messages_never_end() {
    for concurrency in [1, 2, 8] {
        let world = World::new();
        world.register(&["crm"]).await;
        world.release(2_000, DeliveryClass::Live).await;
        let backfill = world.release(20, DeliveryClass::Backfill).await;
        let receiver = Receiver::new(&world, |_| (Duration::from_secs(1), ACCEPTED));
        let _delivery = world.start(vec![("crm", options(concurrency), receiver.clone())]).await;
        until("the backfill is delivered", 2 * MINUTE, async || {
            let begun = receiver.ids_begun();
            backfill.iter().all(|id| begun.contains(id))
        })
        .await;
        assert!(receiver.attempts() < 2_000);
        assert_eq!(receiver.most_under_way(), concurrency);
    }
}

#[tokio::test(start_paused = true)]
async fn retries_that_hang_do_not_hold_up_new_messages() {
    let world = World::new();
    world.register(&["crm"]).await;
    // These are too few messages to open the breaker.
    let hanging = world.release(5, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, move |asked| {
        if hanging.iter().any(|id| id == asked.id) {
            (Duration::from_secs(20), Attempt::Failed { status: None, retry_after: None, answer: "hung".into() })
        } else {
            (Duration::from_millis(1), ACCEPTED)
        }
    });
    let delivery = world.start(vec![("crm", options(4), receiver.clone())]).await;
    // The first attempts of these messages are made in the live lane. The test waits until they are over.
    until("they have become retries", 10 * MINUTE, async || world.waiting("crm").await.fresh == 0).await;
    for _ in 0..200 {
        let done = receiver.accepted();
        world.release(1, DeliveryClass::Live).await;
        delivery.waker().wake();
        until("delivered at once", Duration::from_millis(100), async || receiver.accepted() == done + 1).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert!(receiver.attempts() > 200 + 5 + 5, "there were retries meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_dead_sink_does_not_slow_a_healthy_one() {
    let world = World::new();
    let healthy = Receiver::healthy(&world);
    let hangs = Receiver::new(&world, |_| {
        (Duration::from_secs(20), Attempt::Failed { status: None, retry_after: None, answer: "hung".into() })
    });
    let delivery = world.start(vec![("dead", options(2), hangs.clone()), ("crm", options(2), healthy.clone())]).await;
    for number in 1..=300 {
        world.release(1, DeliveryClass::Live).await;
        delivery.waker().wake();
        until("delivered at once", Duration::from_millis(100), async || healthy.accepted() == number).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert!(delivery.status()[0].failing && !delivery.status()[1].failing);
    let dead = world.waiting("dead").await;
    assert_eq!((dead.fresh + dead.retry, dead.dead), (300, 0), "its messages are kept");
    // A message that failed at one sink is not sent again to the other sink.
    sleep(HOUR).await;
    assert_eq!(healthy.attempts(), 300);
}

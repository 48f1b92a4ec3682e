//! Tests of the end of delivery: the drain, closed outputs, and commands that deliver the due messages and end.

use futures_util::FutureExt as _;

use super::super::{BlockedBy, Drained};
use super::*;
use crate::domain::PauseReason;

#[tokio::test(start_paused = true)]
async fn deliveries_under_way_get_a_grace_and_are_recorded() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(10, DeliveryClass::Live).await;
    let receiver =
        Receiver::new(&world, |asked| (Duration::from_secs(if asked.id == "m1" { 3600 } else { 5 }), ACCEPTED));
    let delivery = world.start(vec![("crm", options(4), receiver.clone())]).await;
    until("four are under way", MINUTE, async || receiver.attempts() == 4).await;
    let before = world.clock.relay_time();
    let drained = delivery.drain(Duration::from_secs(8)).await;
    assert_eq!(drained, Drained { cut_off: 1, unrecorded: 0 });
    assert!(world.clock.relay_time().since(before) <= Duration::from_secs(9));
    assert_eq!(receiver.attempts(), 4, "no attempt began after the stop signal");
    assert_eq!(world.waiting("crm").await, WaitingCounts { fresh: 7, retry: 0, dead: 0 });
    // The next process sends exactly the messages that were not recorded.
    let next = Receiver::healthy(&world);
    let _delivery = world.start(vec![("crm", options(1), next.clone())]).await;
    until("the rest is delivered", MINUTE, async || next.accepted() == 7).await;
    assert_eq!(next.ids_begun(), ["m1", "m5", "m6", "m7", "m8", "m9", "m10"]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_relay_drains_at_once() {
    let world = World::new();
    let delivery = world.start(vec![("crm", options(4), Receiver::healthy(&world))]).await;
    sleep(MINUTE).await;
    let before = world.clock.relay_time();
    assert_eq!(delivery.drain(Duration::from_secs(8)).await, Drained::default());
    assert_eq!(world.clock.relay_time(), before);
}

/// The stop signal comes while the relay waits for the next probe.
#[tokio::test(start_paused = true)]
async fn a_relay_that_retries_drains_at_once() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(100, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |_| (Duration::from_millis(1), unavailable()));
    let delivery = world.start(vec![("crm", options(4), receiver.clone())]).await;
    sleep(HOUR + Duration::from_millis(500)).await;
    let before = world.clock.relay_time();
    delivery.drain(Duration::from_secs(8)).await;
    assert!(world.clock.relay_time().since(before) < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn results_that_could_not_be_recorded_at_the_end_are_counted() {
    let world = World::on_a_file();
    world.register(&["crm"]).await;
    world.release(3, DeliveryClass::Live).await;
    world
        .second_connection()
        .execute_batch("CREATE TRIGGER full BEFORE UPDATE ON delivery BEGIN SELECT RAISE(ABORT, 'full'); END")
        .unwrap();
    let receiver = Receiver::healthy(&world);
    let delivery = world.start(vec![("crm", options(2), receiver.clone())]).await;
    until("two were sent", MINUTE, async || receiver.accepted() == 2).await;
    let before = world.clock.relay_time();
    assert_eq!(delivery.drain(Duration::from_secs(8)).await, Drained { cut_off: 0, unrecorded: 2 });
    assert!(world.clock.relay_time().since(before) <= Duration::from_secs(11));
}

#[tokio::test(start_paused = true)]
async fn a_closed_output_ends_the_relay_only_if_there_is_no_other_sink() {
    let world = World::new();
    let closes = |world: &World| Receiver::new(world, |_| (Duration::from_millis(1), Attempt::Closed));
    let alone = world.start(vec![("stdout", options(2), closes(&world))]).await;
    let closed = alone.outputs_closed();
    tokio::pin!(closed);
    sleep(MINUTE).await;
    assert_eq!(closed.as_mut().now_or_never(), None);
    world.release(5, DeliveryClass::Live).await;
    alone.waker().wake();
    tokio::time::timeout(MINUTE, closed).await.unwrap();
    assert_eq!(world.waiting("stdout").await, WaitingCounts { fresh: 5, retry: 0, dead: 0 });
    alone.drain(Duration::ZERO).await;

    let (stdout, crm) = (closes(&world), Receiver::healthy(&world));
    let both = world.start(vec![("stdout", options(2), stdout.clone()), ("crm", options(2), crm.clone())]).await;
    world.release(1, DeliveryClass::Live).await;
    both.waker().wake();
    until("the other one goes on", MINUTE, async || crm.accepted() == 1).await;
    let closed = both.outputs_closed();
    sleep(DAY).await;
    assert_eq!(closed.now_or_never(), None);
    assert_eq!(both.status()[0].blocked_by, Some(BlockedBy::Pause(PauseReason::Closed)));
    assert!(stdout.attempts() <= 2, "a closed output gets no further message");
    assert_eq!(world.waiting("stdout").await.fresh, 6, "unwritten messages are kept");
}

#[tokio::test(start_paused = true)]
async fn without_sinks_no_output_counts_as_closed() {
    let world = World::new();
    let delivery = world.start(vec![]).await;
    assert_eq!(delivery.outputs_closed().now_or_never(), None);
    assert!(!delivery.until_idle().await.unwrap());
    assert_eq!(delivery.drain(Duration::ZERO).await, Drained::default());
}

#[tokio::test(start_paused = true)]
async fn until_idle_waits_for_all_due_messages() {
    let world = World::new();
    let good = Receiver::new(&world, |_| (Duration::from_secs(2), ACCEPTED));
    let delivery = world.start(vec![("crm", options(2), good.clone())]).await;
    assert!(!delivery.until_idle().await.unwrap(), "there was no message");
    world.release(7, DeliveryClass::Backfill).await;
    // The test sends no wake-up: delivery asks the store by itself.
    assert!(!delivery.until_idle().await.unwrap());
    assert_eq!(good.accepted(), 7);
    assert_eq!(world.waiting("crm").await, WaitingCounts::default());
}

#[tokio::test(start_paused = true)]
async fn until_idle_tells_that_messages_are_left() {
    for attempt in [
        unavailable(),
        failed(429, Some(HOUR)),
        Attempt::Gone { status: Some(410), answer: String::new() },
        Attempt::Closed,
    ] {
        let world = World::new();
        world.register(&["bad", "good"]).await;
        world.release(50, DeliveryClass::Backfill).await;
        let good = Receiver::healthy(&world);
        let answer = attempt.clone();
        let bad = Receiver::new(&world, move |_| (Duration::from_millis(1), answer.clone()));
        let delivery = world.start(vec![("bad", options(3), bad.clone()), ("good", options(3), good.clone())]).await;
        let began = world.clock.relay_time();
        assert!(delivery.until_idle().await.unwrap(), "{attempt:?}");
        assert_eq!(good.accepted(), 50);
        assert!(bad.attempts() > 0);
        assert!(world.clock.relay_time().since(began) < MINUTE, "it does not wait for {attempt:?}");
    }
}

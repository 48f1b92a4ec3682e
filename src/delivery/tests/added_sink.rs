//! Tests of a sink that is added while the state already has messages: with which messages the sink begins.

use super::*;

impl World {
    /// A world with one message for each of the last `count` hours, oldest first. All were delivered to the sink `old`.
    /// The texts of the two oldest messages were removed.
    async fn with_history(world: Self, count: u32) -> Self {
        world.begin().await;
        world.register(&["old"]).await;
        let now = world.clock.relay_time();
        let times: Vec<UnixMs> = (0..count).rev().map(|ago| now.before(ago * HOUR)).collect();
        world.release_received(&times, DeliveryClass::Live).await;
        let receiver = Receiver::healthy(&world);
        let delivery = world.start(vec![("old", options(8), receiver.clone())]).await;
        let all = usize::try_from(count).unwrap();
        until("delivered", MINUTE, async || world.waiting("old").await == WaitingCounts::default()).await;
        assert_eq!(receiver.accepted(), all);
        delivery.drain(Duration::ZERO).await;
        world.state.change("UPDATE message SET raw = NULL WHERE seq <= 2");
        world
    }
}

fn starting(start: Start, concurrency: usize) -> Options {
    Options { start, ..options(concurrency) }
}

fn ids(from: usize, to: usize) -> Vec<String> {
    (from..=to).map(|seq| format!("m{seq}")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_new_sink_begins_where_it_is_told() {
    for (start, first) in [
        (Start::Now, 11),
        (Start::Beginning, 3),
        (Start::Back(4 * HOUR + HOUR / 2), 6),
        (Start::Back(100 * DAY), 3),
        (Start::At(START.before(2 * HOUR)), 8),
        (Start::At(START.after(DAY)), 11),
    ] {
        let world = World::with_history(World::new(), 10).await;
        let (old, new) = (Receiver::healthy(&world), Receiver::healthy(&world));
        let sinks = || -> Vec<(&str, Options, Arc<dyn Sink>)> {
            vec![("old", options(8), old.clone()), ("new", starting(start, 1), new.clone())]
        };
        let delivery = world.start(sinks()).await;
        let expected = ids(first, 10);
        until("what it begins with", MINUTE, async || new.accepted() == expected.len()).await;
        assert_eq!(new.ids_begun(), expected, "{start:?}");
        world.release(1, DeliveryClass::Live).await;
        delivery.waker().wake();
        until("what comes", MINUTE, async || new.accepted() == expected.len() + 1 && old.accepted() == 1).await;
        until("recorded", MINUTE, async || world.waiting("new").await == WaitingCounts::default()).await;
        delivery.drain(Duration::ZERO).await;
        // The store knows the sink now, so another start does not give it the messages again.
        let _delivery = world.start(sinks()).await;
        sleep(HOUR).await;
        assert_eq!(new.ids_begun().len(), expected.len() + 1, "{start:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_first_run_the_start_of_a_sink_has_no_effect() {
    let world = World::new();
    world.register(&["old"]).await;
    world.release(5, DeliveryClass::Live).await;
    let new = Receiver::healthy(&world);
    let _delivery = world.start(vec![("new", starting(Start::Beginning, 1), new.clone())]).await;
    sleep(HOUR).await;
    assert_eq!(new.attempts(), 0, "on a first run poll.start decides for all sinks");
}

#[tokio::test(start_paused = true)]
async fn a_new_sink_gets_a_long_history_in_steps_despite_restarts() {
    let world = World::with_history(World::on_a_file(), 10).await;
    // There are more messages than one step handles, and two of three are removed from the store.
    for _ in 0..7 {
        world.release(1_000, DeliveryClass::Backfill).await;
    }
    world
        .second_connection()
        .execute_batch("DELETE FROM delivery; DELETE FROM message WHERE seq > 10 AND seq % 3 > 0")
        .unwrap();
    let kept: i64 = world
        .second_connection()
        .query_row("SELECT count(*) FROM message WHERE raw IS NOT NULL", [], |row| row.get(0))
        .unwrap();
    let new = Receiver::healthy(&world);
    let sinks = || -> Vec<(&str, Options, Arc<dyn Sink>)> { vec![("new", starting(Start::Beginning, 8), new.clone())] };
    // The process ends before the first step is over.
    world.start(sinks()).await.drain(Duration::ZERO).await;
    let delivery = world.start(sinks()).await;
    let live = world.release(1, DeliveryClass::Live).await;
    delivery.waker().wake();
    until("live does not wait", Duration::from_secs(1), async || new.ids_begun().contains(&live[0])).await;
    let expected = usize::try_from(kept).unwrap() + 1;
    until("all delivered", 10 * MINUTE, async || new.accepted() >= expected).await;
    until("recorded", MINUTE, async || world.waiting("new").await == WaitingCounts::default()).await;
    assert_eq!(new.accepted(), expected);
    let left: Option<i64> = world
        .second_connection()
        .query_row("SELECT fill_next FROM sink WHERE name = 'new'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, None);
    let distinct = new.seen.lock().unwrap().counts.len();
    assert_eq!(distinct, expected, "each once");
}

#[tokio::test(start_paused = true)]
async fn once_does_not_end_before_a_new_sink_has_the_messages_with_which_it_begins() {
    let world = World::with_history(World::new(), 10).await;
    let new = Receiver::healthy(&world);
    let delivery = world.start(vec![("new", starting(Start::Beginning, 1), new.clone())]).await;
    assert!(!delivery.until_idle().await.unwrap());
    assert_eq!(new.accepted(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_new_sink_with_order_number_gets_older_messages_first() {
    let world = World::with_history(World::new(), 10).await;
    let new = Receiver::healthy(&world);
    let options = Options { order: Order::Number, ..starting(Start::Beginning, 4) };
    world.register_as(vec![SinkSetup { ordered: true, start: Start::Beginning, ..SinkSetup::new("new") }]).await;
    // This message is released before the old ones are in the sink's queue.
    world.release(1, DeliveryClass::Live).await;
    let _delivery = world.start(vec![("new", options, new.clone())]).await;
    until("all delivered", MINUTE, async || new.accepted() == 9).await;
    assert_eq!(new.ids_begun(), ids(3, 11));
}

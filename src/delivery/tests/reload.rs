//! Tests of reloads: sinks that are changed, removed and added again while their deliveries are under way.

use super::super::SinkChange;
use super::*;

fn setup(name: &str, options: Options, sink: Arc<dyn Sink>) -> Setup {
    let (name, selection, format) = (name.to_owned(), MessageSelection::default(), Format::default());
    Setup { name, selection, options, format, mask: None, sink, metrics: crate::metrics::SinkMetrics::unread() }
}

async fn reload(delivery: &mut Delivery, setups: Vec<(Setup, SinkChange)>) {
    let sinks = delivery.registrar().register(setups).await.unwrap();
    delivery.follow(sinks);
}

/// A receiver that takes an hour for the first message, and accepts every message.
fn slow_at_first(world: &World) -> Arc<Receiver> {
    Receiver::new(world, |asked| (if asked.id == "m1" { HOUR } else { Duration::from_millis(1) }, ACCEPTED))
}

#[tokio::test(start_paused = true)]
async fn a_message_under_way_is_not_sent_by_the_new_settings_too() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(3, DeliveryClass::Live).await;
    let (old, new) = (slow_at_first(&world), Receiver::healthy(&world));
    let mut delivery = world.start(vec![("crm", options(1), old.clone())]).await;
    until("the first is under way", MINUTE, async || old.attempts() == 1).await;
    reload(&mut delivery, vec![(setup("crm", options(4), new.clone()), SinkChange::Receiver)]).await;
    until("the others are delivered", MINUTE, async || new.accepted() == 2).await;
    until("the first has ended", 2 * HOUR, async || old.accepted() == 1).await;
    sleep(MINUTE).await;
    assert_eq!((old.ids_begun(), new.ids_begun()), (vec!["m1".to_owned()], vec!["m2".to_owned(), "m3".to_owned()]));
    assert_eq!(world.waiting("crm").await, WaitingCounts::default());
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_removed_and_added_again_sends_nothing_twice() {
    let world = World::new();
    world.register(&["crm", "other"]).await;
    world.release(3, DeliveryClass::Live).await;
    let (old, new, other) = (slow_at_first(&world), Receiver::healthy(&world), Receiver::healthy(&world));
    let mut delivery = world.start(vec![("crm", options(1), old.clone()), ("other", options(1), other.clone())]).await;
    until("the first is under way", MINUTE, async || old.attempts() == 1).await;
    let keep_other = || (setup("other", options(1), other.clone()), SinkChange::Same);
    reload(&mut delivery, vec![keep_other()]).await;
    world.release(1, DeliveryClass::Live).await;
    delivery.waker().wake();
    until("the other goes on", MINUTE, async || other.accepted() == 4).await;
    assert_eq!(delivery.status().len(), 1);
    delivery.end_retired_sinks();
    reload(&mut delivery, vec![keep_other(), (setup("crm", options(2), new.clone()), SinkChange::Receiver)]).await;
    until("the waiting messages are delivered", MINUTE, async || new.accepted() == 2).await;
    until("the first has ended", 2 * HOUR, async || old.accepted() == 1).await;
    // The fourth message came while the sink was not configured.
    assert_eq!((old.ids_begun(), new.ids_begun()), (vec!["m1".to_owned()], vec!["m2".to_owned(), "m3".to_owned()]));
    assert_eq!(delivery.drain(MINUTE).await.cut_off, 0);
}

#[tokio::test(start_paused = true)]
async fn the_loop_of_a_removed_sink_ends_when_nothing_is_under_way() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(2, DeliveryClass::Live).await;
    let (old, new) = (slow_at_first(&world), Receiver::healthy(&world));
    let mut delivery = world.start(vec![("crm", options(1), old.clone())]).await;
    until("the first is under way", MINUTE, async || old.attempts() == 1).await;
    reload(&mut delivery, Vec::new()).await;
    sleep(MINUTE).await;
    delivery.end_retired_sinks();
    assert_eq!(delivery.retired.len(), 1, "a delivery is under way");
    until("the first has ended", 2 * HOUR, async || old.accepted() == 1).await;
    sleep(MINUTE).await;
    delivery.end_retired_sinks();
    assert!(delivery.retired.is_empty() && old.attempts() == 1);
    // Added again, the sink has a new loop.
    reload(&mut delivery, vec![(setup("crm", options(1), new.clone()), SinkChange::Receiver)]).await;
    until("the second is delivered", MINUTE, async || new.accepted() == 1).await;
    assert_eq!(new.ids_begun(), ["m2"]);
}

#[tokio::test(start_paused = true)]
async fn a_silence_outlasts_new_settings_but_not_a_new_receiver() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(1, DeliveryClass::Live).await;
    let busy = Receiver::new(&world, |_| (Duration::from_millis(1), failed(429, Some(10 * MINUTE))));
    let mut delivery = world.start(vec![("crm", options(1), busy.clone())]).await;
    until("it is refused", MINUTE, async || busy.attempts() == 1).await;
    sleep(Duration::from_secs(1)).await;
    let new = Receiver::healthy(&world);
    reload(&mut delivery, vec![(setup("crm", options(2), new.clone()), SinkChange::Settings)]).await;
    sleep(5 * MINUTE).await;
    assert_eq!(new.attempts(), 0, "the receiver asked for ten minutes");
    reload(&mut delivery, vec![(setup("crm", options(2), new.clone()), SinkChange::Receiver)]).await;
    until("the new receiver has it", MINUTE, async || new.accepted() == 1).await;
}

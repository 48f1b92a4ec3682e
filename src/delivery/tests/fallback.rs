//! Tests of handing dead letters over to another sink.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_sent_by_the_fallback_at_once() {
    let world = World::new();
    let rejecting = Receiver::new(&world, |_| {
        let answer = "no".to_owned();
        (Duration::from_millis(1), Attempt::Rejected { status: Some(422), answer })
    });
    let accepting = Receiver::healthy(&world);
    let with_fallback = Options { fallback: Some("ops".parse().unwrap()), ..options(2) };
    let sinks: Vec<(&str, Options, Arc<dyn Sink>)> =
        vec![("crm", with_fallback, rejecting.clone()), ("ops", options(2), accepting.clone())];
    let delivery = world.start(sinks).await;
    // Both sinks get message 1. So it is not handed over when `crm` gives it up.
    let ids = world.release(1, DeliveryClass::Live).await;
    delivery.waker().wake();
    delivery.until_idle().await.unwrap();
    assert_eq!(accepting.ids_begun(), ids);
    assert_eq!(world.waiting("crm").await.dead, 1);

    // From now on the filter of `ops` wants no message, so `ops` gets only messages that `crm` hands over.
    world.register_as(vec![SinkSetup { fallback: Some("ops".to_owned()), ..SinkSetup::new("crm") }]).await;
    let all = [SinkSetup { fallback: Some("ops".to_owned()), ..SinkSetup::new("crm") }, unwanting("ops")];
    world.register_as(all.to_vec()).await;
    let more = world.release(20, DeliveryClass::Live).await;
    let began = world.clock.monotonic();
    delivery.waker().wake();
    assert!(!delivery.until_idle().await.unwrap(), "nothing is left");
    assert!(world.clock.monotonic() - began < Duration::from_secs(1), "the other sink was woken up");
    let mut sent = accepting.ids_begun().split_off(1);
    sent.sort_unstable();
    let mut expected = more.clone();
    expected.sort_unstable();
    assert_eq!(sent, expected, "each once");
    assert_eq!((world.waiting("crm").await.dead, rejecting.attempts()), (21, 21));
}

/// A sink whose filter wants nothing.
fn unwanting(name: &str) -> SinkSetup {
    use crate::domain::filter::{Clause, Filter};
    let nothing = Clause { has_code: Some(true), ..Clause::default() };
    let filter = Some(Filter::any_of(vec![nothing]));
    SinkSetup { selection: MessageSelection { filter, ..MessageSelection::default() }, ..SinkSetup::new(name) }
}

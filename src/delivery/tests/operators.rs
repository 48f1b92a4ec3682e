//! Tests that commands take effect within seconds, however much traffic there is: wake-ups do not put off the slow
//! poll.

use super::super::BlockedBy;
use super::*;
use crate::domain::{PauseReason, SinkName};
use crate::store::{DeadLetterAction, DeadLetterSelection, PastDelivery, Replayable, ResolvedUpTo, Resumed, Spool};

/// The promised time within which commands take effect (five seconds), and half a second more.
const PROMISED: Duration = Duration::from_millis(5_500);

/// Releases several messages a second, each with its wake-up, until the future `noticed` is over.
async fn under_traffic(world: &World, delivery: &Delivery, noticed: impl Future<Output = ()>) {
    let traffic = async {
        loop {
            world.release(1, DeliveryClass::Live).await;
            delivery.waker().wake();
            sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::select! {
        () = noticed => {}
        () = traffic => {}
    }
}

/// A world with a healthy receiver, in which messages have come without a break.
async fn busy_world() -> (World, Arc<Receiver>, Delivery) {
    let world = World::new();
    let receiver = Receiver::healthy(&world);
    let delivery = world.start(vec![("crm", options(2), receiver.clone())]).await;
    under_traffic(&world, &delivery, sleep(Duration::from_secs(20))).await;
    assert!(receiver.accepted() > 60);
    (world, receiver, delivery)
}

#[tokio::test(start_paused = true)]
async fn a_pause_and_its_end_are_noticed_under_traffic() {
    let (world, receiver, delivery) = busy_world().await;
    world.pause("crm", PauseReason::Operator).await;
    let noticed = until("paused", PROMISED, async || {
        delivery.status()[0].blocked_by == Some(BlockedBy::Pause(PauseReason::Operator))
    });
    under_traffic(&world, &delivery, noticed).await;
    let before = receiver.attempts();
    under_traffic(&world, &delivery, sleep(MINUTE)).await;
    assert_eq!(receiver.attempts(), before, "nothing is sent meanwhile");
    world.resume("crm").await;
    let noticed = until("resumed", PROMISED, async || receiver.attempts() > before);
    under_traffic(&world, &delivery, noticed).await;
}

#[tokio::test(start_paused = true)]
async fn a_rename_is_noticed_under_traffic() {
    let (world, _, delivery) = busy_world().await;
    let (id, name) = (world.sinks.lock().unwrap()["crm"], "desk".parse::<SinkName>().unwrap());
    assert!(world.store.write(move |spool| spool.rename_sink(id, &name)).await.unwrap());
    let noticed = until("renamed", PROMISED, async || delivery.status()[0].name == "desk");
    under_traffic(&world, &delivery, noticed).await;
}

#[tokio::test(start_paused = true)]
async fn dead_letters_and_replays_are_sent_again_under_traffic() {
    let (world, receiver, delivery) = busy_world().await;
    let sink = world.sinks.lock().unwrap()["crm"];
    world.state.change("UPDATE delivery SET state = 'dead', reason = 'gave_up', settled_at = 0 WHERE seq = 1");
    let count_of = |id: &str| receiver.ids_begun().iter().filter(|begun| *begun == id).count();
    assert_eq!((count_of("m1"), count_of("m2")), (1, 1));
    let (now, all) = (world.clock.relay_time(), DeadLetterSelection::default());
    let settle = move |spool: &mut Spool| {
        spool.resolve_dead_letters(&all, DeadLetterAction::Retry, ResolvedUpTo::default(), now)
    };
    assert_eq!(world.store.write(settle).await.unwrap().0, 1);
    let found = Replayable { seq: Seq(2), sink, received: UnixMs(2), before: PastDelivery::Delivered };
    assert_eq!(world.store.write(move |spool| spool.replay(&[found])).await.unwrap(), 1);
    let noticed = until("sent again", PROMISED, async || count_of("m1") == 2 && count_of("m2") == 2);
    under_traffic(&world, &delivery, noticed).await;
}

#[tokio::test(start_paused = true)]
async fn a_silence_that_the_receiver_asked_for_ends_when_somebody_resumes_the_sink() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(3, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |asked| {
        let mended = asked.at.since(START) >= MINUTE;
        (Duration::from_millis(1), if mended { ACCEPTED } else { failed(503, Some(HOUR)) })
    });
    let delivery = world.start(vec![("crm", options(1), receiver.clone())]).await;
    until("it is silent", MINUTE, async || matches!(delivery.status()[0].blocked_by, Some(BlockedBy::Silence { .. })))
        .await;
    under_traffic(&world, &delivery, sleep(2 * MINUTE)).await;
    assert_eq!(receiver.attempts(), 1);
    let (id, now) = (world.sinks.lock().unwrap()["crm"], world.clock.relay_time());
    let resumed = world.store.write(move |spool| spool.resume(id, now)).await.unwrap();
    assert!(matches!(resumed, Some(Resumed::Silence(until)) if until.since(START) >= HOUR), "{resumed:?}");
    let noticed = until("the refused message is delivered", PROMISED, async || {
        receiver.seen.lock().unwrap().accepted.contains(&"m1".to_owned())
    });
    under_traffic(&world, &delivery, noticed).await;
    let again = world.store.write(move |spool| spool.resume(id, now)).await.unwrap();
    assert_eq!(again, None, "nothing is left to end");
}

/// The sink is paused and resumed between two slow polls. The loop does not see the pause. It still notices that
/// somebody resumed the sink, and ends the silence.
#[tokio::test(start_paused = true)]
async fn a_pause_that_the_loop_did_not_see_ends_a_silence_too() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(1, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |asked| {
        (Duration::from_millis(1), if asked.before > 0 { ACCEPTED } else { failed(429, Some(HOUR)) })
    });
    let delivery = world.start(vec![("crm", options(1), receiver.clone())]).await;
    until("it is silent", MINUTE, async || matches!(delivery.status()[0].blocked_by, Some(BlockedBy::Silence { .. })))
        .await;
    world.pause("crm", PauseReason::Operator).await;
    world.resume("crm").await;
    until("delivered", 2 * PROMISED, async || receiver.accepted() == 1).await;
}

/// Somebody resumes the sink while no relay runs. The next relay sends the messages that were refused or failed before,
/// without waiting for their due times.
#[tokio::test(start_paused = true)]
async fn a_resume_while_no_relay_runs_makes_retries_due() {
    for (answer, pauses) in [(failed(429, Some(HOUR)), false), (failed(500, None), true)] {
        let world = World::new();
        world.register(&["crm"]).await;
        world.release(1, DeliveryClass::Live).await;
        let receiver = Receiver::new(&world, move |asked| {
            (Duration::from_millis(1), if asked.before > 0 { ACCEPTED } else { answer.clone() })
        });
        let mut options = options(1);
        options.retry.initial = HOUR;
        let delivery = world.start(vec![("crm", options.clone(), receiver.clone())]).await;
        until("it waits", MINUTE, async || world.waiting("crm").await.retry == 1).await;
        if pauses {
            world.pause("crm", PauseReason::Operator).await;
        }
        delivery.drain(Duration::ZERO).await;
        sleep(MINUTE).await;
        world.resume("crm").await;
        let _delivery = world.start(vec![("crm", options, receiver.clone())]).await;
        until("sent again at once", PROMISED, async || receiver.accepted() == 1).await;
    }
}

//! Tests of `max_age`: a message that is too old is not sent. The message becomes a dead letter even while nothing can
//! be sent.

use super::super::BlockedBy;
use super::*;

const AGE: Duration = Duration::from_secs(600);

fn ageing(concurrency: usize) -> Options {
    Options { max_age: Some(AGE), ..options(concurrency) }
}

impl World {
    async fn dead_letters(&self) -> Vec<(String, String, u32, String)> {
        let read = "SELECT m.id, reason, attempts, answer FROM delivery JOIN message AS m USING (seq)
                    WHERE state = 'dead' ORDER BY seq";
        let connection = self.second_connection();
        let mut statement = connection.prepare(read).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

fn expired(id: &str, attempts: u32, answer: &str) -> (String, String, u32, String) {
    (id.to_owned(), "expired".to_owned(), attempts, answer.to_owned())
}

#[tokio::test(start_paused = true)]
async fn messages_that_come_in_time_are_sent_and_older_ones_are_not() {
    let world = World::on_a_file();
    let receiver = Receiver::healthy(&world);
    let delivery = world.start(vec![("crm", ageing(2), receiver.clone())]).await;
    let now = world.clock.relay_time();
    let times =
        [now.before(AGE), now.before(AGE - Duration::from_secs(30)), now, now.before(30 * DAY), now.after(HOUR)];
    world.release_received(&times, DeliveryClass::Backfill).await;
    delivery.waker().wake();
    until("all settled", MINUTE, async || world.waiting("crm").await == WaitingCounts { fresh: 0, retry: 0, dead: 2 })
        .await;
    assert_eq!(receiver.ids_begun(), ["m2", "m3", "m5"]);
    let never = "too old before it could be sent";
    assert_eq!(world.dead_letters().await, [expired("m1", 0, never), expired("m4", 0, never)]);
}

#[tokio::test(start_paused = true)]
async fn messages_grow_too_old_while_the_receiver_is_down() {
    let world = World::on_a_file();
    let now = world.clock.relay_time();
    world.register(&["crm"]).await;
    world.release_received(&vec![now; 300], DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |_| (Duration::from_millis(1), unavailable()));
    let delivery = world.start(vec![("crm", ageing(4), receiver.clone())]).await;
    sleep(AGE - Duration::from_secs(1)).await;
    assert!(matches!(delivery.status()[0].blocked_by, Some(BlockedBy::Breaker { .. })));
    let attempts = receiver.attempts();
    assert_eq!(world.waiting("crm").await.dead, 0);
    until("all expired", Duration::from_secs(8), async || {
        world.waiting("crm").await == WaitingCounts { fresh: 0, retry: 0, dead: 300 }
    })
    .await;
    assert!(receiver.attempts() <= attempts + 1, "they expire without a request");
    let dead = world.dead_letters().await;
    assert_eq!(dead[0], expired("m1", 2, "503 as asked"));
    assert_eq!(dead[299], expired("m300", 0, "too old before it could be sent"));
    sleep(DAY).await;
    assert!(receiver.attempts() <= attempts + 1, "no message is left to try");
}

#[tokio::test(start_paused = true)]
async fn messages_grow_too_old_during_a_silence_and_while_the_sink_is_off() {
    let world = World::new();
    let now = world.clock.relay_time();
    world.register(&["busy", "off"]).await;
    world.release_received(&[now, now.after(MINUTE)], DeliveryClass::Live).await;
    let busy = Receiver::new(&world, |_| (Duration::from_millis(1), failed(503, Some(HOUR))));
    let off = Receiver::healthy(&world);
    let sinks: Vec<(&str, Options, Arc<dyn Sink>)> =
        vec![("busy", ageing(1), busy.clone()), ("off", Options { enabled: false, ..ageing(1) }, off.clone())];
    let _delivery = world.start(sinks).await;
    sleep(AGE + Duration::from_secs(6)).await;
    for name in ["busy", "off"] {
        assert_eq!(world.waiting(name).await.dead, 1, "{name}");
    }
    sleep(MINUTE).await;
    for name in ["busy", "off"] {
        assert_eq!(world.waiting(name).await, WaitingCounts { fresh: 0, retry: 0, dead: 2 }, "{name}");
    }
    assert_eq!((busy.attempts(), off.attempts()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn messages_that_grew_too_old_while_the_relay_was_down_are_found_at_the_start() {
    let world = World::new();
    let now = world.clock.relay_time();
    world.register(&["crm"]).await;
    world.release_received(&vec![now; 1_700], DeliveryClass::Live).await;
    let down = Receiver::new(&world, |_| (Duration::from_millis(1), unavailable()));
    let delivery = world.start(vec![("crm", ageing(4), down.clone())]).await;
    until("some have failed", MINUTE, async || world.waiting("crm").await.retry >= 10).await;
    delivery.drain(Duration::ZERO).await;
    sleep(DAY).await;
    let attempts = down.attempts();
    let _delivery = world.start(vec![("crm", ageing(4), down.clone())]).await;
    until("all expired", Duration::from_secs(20), async || world.waiting("crm").await.dead == 1_700).await;
    assert_eq!(down.attempts(), attempts);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_grows_too_old_during_its_attempt_is_not_tried_again() {
    let world = World::on_a_file();
    let now = world.clock.relay_time();
    world.register(&["crm"]).await;
    world.release_received(&[now, now], DeliveryClass::Live).await;
    let receiver =
        Receiver::new(&world, |asked| (AGE + MINUTE, if asked.id == "m1" { failed(500, None) } else { ACCEPTED }));
    let _delivery = world.start(vec![("crm", ageing(2), receiver.clone())]).await;
    until("both settled", 2 * AGE, async || {
        world.waiting("crm").await == WaitingCounts { fresh: 0, retry: 0, dead: 1 }
    })
    .await;
    assert_eq!(world.dead_letters().await, [expired("m1", 1, "500 as asked")]);
    assert_eq!(receiver.accepted(), 1, "the other was begun in time");
}

#[tokio::test(start_paused = true)]
async fn a_replayed_message_does_not_become_too_old() {
    let world = World::on_a_file();
    let old = world.clock.relay_time().before(DAY);
    world.register(&["crm"]).await;
    world.release_received(&[old, old], DeliveryClass::Live).await;
    world.second_connection().execute("UPDATE delivery SET replays = 1 WHERE seq = 1", []).unwrap();
    let receiver = Receiver::new(&world, |asked| {
        (Duration::from_millis(1), if asked.before < 2 { unavailable() } else { ACCEPTED })
    });
    let _delivery = world.start(vec![("crm", ageing(1), receiver.clone())]).await;
    until("delivered", HOUR, async || receiver.accepted() == 1).await;
    assert_eq!(receiver.ids_begun(), ["m1", "m1", "m1"]);
    assert_eq!(world.waiting("crm").await.dead, 1);
}

//! Tests of the times of attempts: retries, giving up, `Retry-After`, the breaker.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_message_is_delivered_once_when_it_comes() {
    let world = World::new();
    let receiver = Receiver::healthy(&world);
    let delivery = world.start(vec![("crm", options(4), receiver.clone())]).await;
    sleep(HOUR).await;
    world.release(1, DeliveryClass::Live).await;
    let released = world.clock.relay_time();
    delivery.waker().wake();
    until("delivered", MINUTE, async || receiver.accepted() == 1).await;
    let (_, begun) = receiver.begun()[0];
    assert!(begun.since(released) < Duration::from_millis(50), "it waited {:?}", begun.since(released));
    sleep(DAY).await;
    assert_eq!(receiver.attempts(), 1);
    assert_eq!(world.waiting("crm").await, WaitingCounts::default());
}

#[tokio::test(start_paused = true)]
async fn a_lost_wake_up_costs_seconds() {
    let world = World::new();
    let receiver = Receiver::healthy(&world);
    let _delivery = world.start(vec![("crm", options(4), receiver.clone())]).await;
    sleep(HOUR).await;
    world.release(1, DeliveryClass::Live).await;
    until("delivered without a wake-up", Duration::from_secs(6), async || receiver.accepted() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_waited_at_the_start_is_delivered_without_a_wake_up() {
    let world = World::new();
    world.register(&["crm"]).await;
    let ids = world.release(1200, DeliveryClass::Live).await;
    let receiver = Receiver::healthy(&world);
    let _delivery = world.start(vec![("crm", options(4), receiver.clone())]).await;
    until("all delivered", MINUTE, async || receiver.accepted() == 1200).await;
    assert_eq!(receiver.ids_begun(), ids, "in the order of release, over several chunks");
    assert_eq!(receiver.most_under_way(), 4);
}

#[tokio::test(start_paused = true)]
async fn retries_follow_the_schedule_until_a_failure_at_the_deadline() {
    let world = World::on_a_file();
    world.register(&["crm"]).await;
    world.release(1, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |_| (Duration::from_millis(300), unavailable()));
    let mut options = options(4);
    options.retry.give_up_after = Some(12 * HOUR);
    let _delivery = world.start(vec![("crm", options, receiver.clone())]).await;
    sleep(12 * HOUR + MINUTE).await;
    assert_eq!(world.waiting("crm").await, WaitingCounts { fresh: 0, retry: 0, dead: 1 });
    let times: Vec<UnixMs> = receiver.begun().into_iter().map(|(_, at)| at).collect();
    for (number, pair) in times.windows(2).enumerate().take(8) {
        let planned = 5.0 * 3_f64.powi(i32::try_from(number).unwrap());
        let waited = pair[1].since(pair[0]).as_secs_f64() - 0.3;
        assert!((planned..=planned * 1.1 + 0.1).contains(&waited), "wait {number}: {waited} s, planned {planned} s");
    }
    let (first, last) = (times[0], times[times.len() - 1]);
    // The last attempt is made at the deadline, so its failure makes a dead letter.
    let past = last.since(first.after(12 * HOUR));
    assert!(last >= first.after(12 * HOUR) && past < Duration::from_millis(100), "{past:?}");
    let (reason, status, answer, attempts): (String, u16, String, u32) = world
        .second_connection()
        .query_row("SELECT reason, status, answer, attempts FROM delivery", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .unwrap();
    assert_eq!((reason.as_str(), status, answer.as_str()), ("gave_up", 503, "503 as asked"));
    assert_eq!(usize::try_from(attempts).unwrap(), times.len());
    sleep(6 * HOUR).await;
    assert_eq!(receiver.attempts(), times.len(), "a dead letter is not tried again");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_wants_silence_gets_it() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(5, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |asked| {
        let busy = asked.id == "m1" && asked.before == 0;
        (Duration::from_millis(1), if busy { failed(429, Some(10 * MINUTE)) } else { ACCEPTED })
    });
    let delivery = world.start(vec![("crm", options(1), receiver.clone())]).await;
    until("the silence is shown", MINUTE, async || {
        matches!(delivery.status()[0].blocked_by, Some(super::super::BlockedBy::Silence { .. }))
    })
    .await;
    // New messages do not break the silence.
    world.release(1, DeliveryClass::Live).await;
    delivery.waker().wake();
    until("all delivered", HOUR, async || receiver.accepted() == 6).await;
    let times: Vec<Duration> = receiver.begun().iter().map(|(_, at)| at.since(START)).collect();
    assert!(times[1] >= 10 * MINUTE && times[1] < 10 * MINUTE + Duration::from_secs(1), "{times:?}");
    assert_eq!(delivery.status()[0].blocked_by, None);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_of_a_failure_concerns_only_its_message() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(3, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |asked| {
        let refuse = asked.id == "m1" && asked.before == 0;
        (Duration::from_millis(1), if refuse { failed(500, Some(HOUR)) } else { ACCEPTED })
    });
    let _delivery = world.start(vec![("crm", options(1), receiver.clone())]).await;
    until("the others delivered", MINUTE, async || receiver.accepted() == 2).await;
    until("then `m1`", 2 * HOUR, async || receiver.accepted() == 3).await;
    let (id, at) = receiver.begun().pop().unwrap();
    assert_eq!(id, "m1");
    assert!(at.since(START) >= HOUR && at.since(START) < HOUR + Duration::from_secs(1));
}

/// The receiver answers 503 for a day while thousands of messages wait.
#[tokio::test(start_paused = true)]
async fn a_dead_receiver_gets_a_probe_a_minute_and_everything_when_it_is_back() {
    const WAITING: i64 = 5_000;
    let world = World::new();
    world.register(&["crm"]).await;
    for _ in 0..10 {
        world.release(WAITING / 10, DeliveryClass::Live).await;
    }
    let receiver = Receiver::new(&world, |asked| {
        let up = asked.at.since(START) >= DAY;
        (Duration::from_millis(1), if up { ACCEPTED } else { unavailable() })
    });
    let delivery = world.start(vec![("crm", options(16), receiver.clone())]).await;
    sleep(DAY - Duration::from_secs(1)).await;
    let attempts = receiver.attempts();
    // A day has 1440 minutes, and the waits are 54 to 60 s long. The attempts before the breaker opened come on top.
    assert!((1_400..1_700).contains(&attempts), "{attempts} attempts in a day");
    let distinct = receiver.seen.lock().unwrap().counts.len();
    assert!(distinct > 700, "every other probe is the next message in order, not one message again: {distinct}");
    assert!(matches!(delivery.status()[0].blocked_by, Some(super::super::BlockedBy::Breaker { .. })));
    assert!(delivery.status()[0].failing);
    until("all delivered soon after", 3 * MINUTE, async || receiver.accepted() == usize::try_from(WAITING).unwrap())
        .await;
    until("and recorded", MINUTE, async || world.waiting("crm").await == WaitingCounts::default()).await;
    assert_eq!(delivery.status()[0].blocked_by, None);
    let repeated = receiver.seen.lock().unwrap().accepted.len();
    assert_eq!(repeated, usize::try_from(WAITING).unwrap(), "each once");
}

#[tokio::test(start_paused = true)]
async fn while_nothing_gets_through_failed_messages_are_tried_beside_new_ones() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(20, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |_| (Duration::from_millis(1), unavailable()));
    let mut patient = options(8);
    patient.retry.give_up_after = Some(2 * HOUR);
    let delivery = world.start(vec![("crm", patient, receiver.clone())]).await;
    for _ in 0..6 * 60 {
        world.release(2, DeliveryClass::Live).await;
        delivery.waker().wake();
        sleep(MINUTE).await;
    }
    let begun = receiver.ids_begun();
    let again = begun.len() - begun.iter().collect::<std::collections::HashSet<_>>().len();
    assert!(again >= begun.len() / 3, "{again} of {} attempts were not the first", begun.len());
    let dead = world.waiting("crm").await.dead;
    assert!(dead >= 10, "{dead} were given up after two hours of six");
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_no_message_waits_out_a_long_back_off() {
    for restarted in [false, true] {
        let world = World::on_a_file();
        world.register(&["crm"]).await;
        world.release(12, DeliveryClass::Live).await;
        let receiver = Receiver::new(&world, |asked| {
            let up = asked.at.since(START) >= 8 * HOUR;
            (Duration::from_millis(1), if up { ACCEPTED } else { unavailable() })
        });
        let mut delivery = world.start(vec![("crm", options(4), receiver.clone())]).await;
        sleep(7 * HOUR).await;
        if restarted {
            delivery.drain(Duration::ZERO).await;
            delivery = world.start(vec![("crm", options(4), receiver.clone())]).await;
            // Ten failures in a row open the breaker again.
            world.release(10, DeliveryClass::Live).await;
            delivery.waker().wake();
        }
        sleep(HOUR).await;
        let next: i64 =
            world.second_connection().query_row("SELECT max(due) FROM delivery", [], |row| row.get(0)).unwrap();
        assert!(UnixMs(next).since(world.clock.relay_time()) > HOUR, "the back-off is long by now");
        let expected = if restarted { 23 } else { 13 };
        world.release(1, DeliveryClass::Live).await;
        delivery.waker().wake();
        until("all delivered", 2 * MINUTE, async || receiver.accepted() == expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_never_accepted_do_not_hold_up_the_others() {
    let world = World::new();
    world.register(&["crm"]).await;
    // 30 bad messages come before the good ones. Ten would be enough to open the breaker.
    world.release(30, DeliveryClass::Live).await;
    let poison: std::collections::HashSet<String> = (1..=30).map(|number| format!("m{number}")).collect();
    let receiver = Receiver::new(&world, move |asked| {
        (Duration::from_millis(1), if poison.contains(asked.id) { failed(422, None) } else { ACCEPTED })
    });
    let delivery = world.start(vec![("crm", options(2), receiver.clone())]).await;
    // Within this hour each bad message is tried at least once.
    sleep(HOUR).await;
    world.release(100, DeliveryClass::Live).await;
    delivery.waker().wake();
    until("the others are delivered", 2 * MINUTE, async || receiver.accepted() == 100).await;
    // A live message every minute closes the breaker again and again. The bad messages keep to their own schedule.
    for minute in 1..=600 {
        world.release(1, DeliveryClass::Live).await;
        delivery.waker().wake();
        until("delivered", 2 * MINUTE, async || receiver.accepted() == 100 + minute).await;
        sleep(MINUTE).await;
    }
    let most = *receiver.seen.lock().unwrap().counts.values().max().unwrap();
    assert!(most <= 11, "one was tried {most} times within 10 hours");
}

#[tokio::test(start_paused = true)]
async fn due_times_from_a_clock_that_was_ahead_are_brought_forward_at_the_start() {
    let world = World::on_a_file();
    world.register(&["crm"]).await;
    world.release(1, DeliveryClass::Live).await;
    let year_2099 = UnixMs::parse("2099-01-01T00:00:00Z").unwrap();
    world
        .second_connection()
        .execute("UPDATE delivery SET state = 'retry', attempts = 1, first_attempt = 0, due = ?1", [year_2099.0])
        .unwrap();
    let receiver = Receiver::healthy(&world);
    let _delivery = world.start(vec![("crm", options(1), receiver.clone())]).await;
    until("delivered within the longest wait there is", DAY + MINUTE, async || receiver.accepted() == 1).await;
}

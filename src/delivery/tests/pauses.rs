//! Tests of pauses, silences, failure counts and limits of a sink, also across restarts.

use super::super::BlockedBy;
use super::super::breaker::FAILURES_THAT_OPEN;
use super::*;
use crate::domain::PauseReason;

fn most_in_a_minute(begun: &[(String, UnixMs)]) -> usize {
    let within = |place: usize| begun[place..].iter().take_while(|(_, at)| at.since(begun[place].1) < MINUTE).count();
    (0..begun.len()).map(within).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn a_silence_goes_on_after_restarts() {
    for status in [429, 502, 503, 504] {
        let world = World::new();
        world.register(&["crm"]).await;
        world.release(3, DeliveryClass::Live).await;
        let receiver = Receiver::new(&world, move |asked| {
            let busy = asked.at.since(START) < 10 * MINUTE;
            (Duration::from_millis(1), if busy { failed(status, Some(HOUR)) } else { ACCEPTED })
        });
        let delivery = world.start(vec![("crm", options(1), receiver.clone())]).await;
        until("refused", MINUTE, async || receiver.attempts() == 1).await;
        for _ in 0..5 {
            sleep(MINUTE).await;
        }
        delivery.drain(Duration::ZERO).await;
        for _ in 0..3 {
            let delivery = world.start(vec![("crm", options(1), receiver.clone())]).await;
            until("the silence is shown again", MINUTE, async || {
                matches!(delivery.status()[0].blocked_by, Some(BlockedBy::Silence { .. }))
            })
            .await;
            sleep(5 * MINUTE).await;
            delivery.drain(Duration::ZERO).await;
        }
        let _delivery = world.start(vec![("crm", options(1), receiver.clone())]).await;
        until("all delivered", 2 * HOUR, async || receiver.accepted() == 3).await;
        let second = receiver.begun()[1].1.since(START);
        assert!(second >= HOUR && second < HOUR + MINUTE, "{status}: {second:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_does_not_forget_that_nothing_gets_through() {
    let world = World::on_a_file();
    world.register(&["crm"]).await;
    world.release(200, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |_| (Duration::from_millis(1), unavailable()));
    let delivery = world.start(vec![("crm", options(8), receiver.clone())]).await;
    until("the breaker is open", MINUTE, async || {
        matches!(delivery.status()[0].blocked_by, Some(BlockedBy::Breaker { .. }))
    })
    .await;
    delivery.drain(Duration::ZERO).await;
    let before = receiver.attempts();
    for restarts in 1..=5 {
        let delivery = world.start(vec![("crm", options(8), receiver.clone())]).await;
        sleep(Duration::from_secs(2)).await;
        assert_eq!(receiver.attempts() - before, restarts, "one attempt after a start, not eight");
        delivery.drain(Duration::ZERO).await;
    }
    let failures: u32 = world.second_connection().query_row("SELECT failures FROM sink", [], |row| row.get(0)).unwrap();
    assert_eq!(failures, FAILURES_THAT_OPEN + 5);
}

#[tokio::test(start_paused = true)]
async fn failures_before_a_restart_count_after_it() {
    let world = World::new();
    world.register(&["crm"]).await;
    let receiver = Receiver::new(&world, |_| (Duration::from_millis(1), unavailable()));
    for round in 1..=2 {
        world.release(5, DeliveryClass::Live).await;
        let delivery = world.start(vec![("crm", options(1), receiver.clone())]).await;
        until("five more failed", MINUTE, async || receiver.attempts() >= 5 * round).await;
        until("and were recorded", MINUTE, async || world.waiting("crm").await.fresh == 0).await;
        let probing = async || matches!(delivery.status()[0].blocked_by, Some(BlockedBy::Breaker { .. }));
        if round == 2 {
            until("the tenth has opened it", MINUTE, probing).await;
        } else {
            assert!(!probing().await);
        }
        delivery.drain(Duration::ZERO).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_works_writes_nothing_about_itself() {
    let world = World::on_a_file();
    world.register(&["crm"]).await;
    let connection = world.second_connection();
    let trigger = "CREATE TRIGGER standing BEFORE UPDATE OF failures, busy_until ON sink
                   BEGIN SELECT RAISE(ABORT, 'the test wants no writing'); END";
    connection.execute_batch(trigger).unwrap();
    world.release(200, DeliveryClass::Live).await;
    let receiver = Receiver::healthy(&world);
    let delivery = world.start(vec![("crm", options(4), receiver.clone())]).await;
    until("all delivered", MINUTE, async || world.waiting("crm").await == WaitingCounts::default()).await;
    delivery.drain(Duration::ZERO).await;
    // This shows that the trigger works: the next message fails, and its failure cannot be recorded.
    world.release(1, DeliveryClass::Live).await;
    let fails = Receiver::new(&world, |_| (Duration::from_millis(1), unavailable()));
    let delivery = world.start(vec![("crm", options(4), fails.clone())]).await;
    sleep(MINUTE).await;
    assert_eq!((fails.attempts(), delivery.status()[0].in_flight), (1, 1), "it cannot be recorded");
    connection.execute_batch("DROP TRIGGER standing").unwrap();
    until("recorded, and tried again", MINUTE, async || fails.attempts() > 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_requests_counts_all_workers_retries_and_restarts() {
    for limit in [6_u32, 60, 600] {
        let world = World::new();
        world.register(&["crm"]).await;
        world.release(i64::from(limit) * 2, DeliveryClass::Live).await;
        let receiver = Receiver::new(&world, |asked| {
            // Some attempts fail, and all attempts take longer than the wait between the beginnings of two attempts.
            let fails = asked.before == 0 && asked.id.ends_with('3');
            (Duration::from_secs(11), if fails { failed(500, None) } else { ACCEPTED })
        });
        let paced = || {
            let mut paced = options(256);
            paced.requests_per_minute = limit;
            paced.retry.initial = Duration::from_secs(1);
            paced
        };
        let mut delivery = world.start(vec![("crm", paced(), receiver.clone())]).await;
        for _ in 0..4 {
            sleep(13 * Duration::from_secs(1)).await;
            delivery.drain(Duration::from_secs(15)).await;
            delivery = world.start(vec![("crm", paced(), receiver.clone())]).await;
        }
        until("all delivered", 10 * MINUTE, async || world.waiting("crm").await == WaitingCounts::default()).await;
        let begun = receiver.begun();
        let (most, limit) = (most_in_a_minute(&begun), usize::try_from(limit).unwrap());
        assert!(most <= limit, "{most} in a minute, the limit is {limit}");
        let undisturbed = most_in_a_minute(&begun[begun.len() / 2..]);
        assert!(undisturbed + 2 + limit / 50 >= limit, "{undisturbed} of {limit}: it is not slower than it has to be");
        let gaps = begun.windows(2).map(|pair| pair[1].1.since(pair[0].1));
        let shortest = gaps.min().unwrap();
        let even = MINUTE / u32::try_from(limit).unwrap();
        assert!(shortest + Duration::from_millis(12) >= even, "a burst: {shortest:?} apart instead of {even:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn once_waits_until_the_limit_has_let_all_messages_through() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(30, DeliveryClass::Backfill).await;
    let receiver = Receiver::healthy(&world);
    let delivery =
        world.start(vec![("crm", Options { requests_per_minute: 60, ..options(4) }, receiver.clone())]).await;
    assert!(!delivery.until_idle().await.unwrap());
    assert_eq!(receiver.accepted(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_switched_off_keeps_its_messages() {
    let world = World::new();
    let receiver = Receiver::healthy(&world);
    let off = || Options { enabled: false, ..options(4) };
    let delivery = world.start(vec![("crm", off(), receiver.clone())]).await;
    world.release(20, DeliveryClass::Live).await;
    delivery.waker().wake();
    sleep(4 * DAY).await;
    assert_eq!(
        (receiver.attempts(), delivery.status()[0].blocked_by),
        (0, Some(BlockedBy::Pause(PauseReason::Disabled)))
    );
    assert!(!delivery.until_idle().await.unwrap(), "messages of a sink that is off do not count");
    assert_eq!(world.waiting("crm").await, WaitingCounts { fresh: 20, retry: 0, dead: 0 });
    delivery.drain(Duration::ZERO).await;
    let delivery = world.start(vec![("crm", options(4), receiver.clone())]).await;
    until("all delivered", MINUTE, async || receiver.accepted() == 20).await;
    assert_eq!(delivery.status()[0].blocked_by, None);
}

#[tokio::test(start_paused = true)]
async fn never_giving_up_means_never() {
    let world = World::on_a_file();
    world.register(&["crm"]).await;
    world.release(1, DeliveryClass::Live).await;
    // The message has been tried for years by now.
    let years_ago = world.clock.relay_time().before(3_000 * DAY);
    world
        .second_connection()
        .execute("UPDATE delivery SET state = 'retry', attempts = 9999, first_attempt = ?1, due = ?1", [years_ago.0])
        .unwrap();
    let receiver = Receiver::new(&world, |asked| {
        (Duration::from_millis(1), if asked.before < 5 { failed(404, None) } else { ACCEPTED })
    });
    let mut options = options(1);
    options.retry.give_up_after = None;
    options.retry.max = MINUTE;
    let _delivery = world.start(vec![("crm", options, receiver.clone())]).await;
    until("delivered after all", HOUR, async || receiver.accepted() == 1).await;
    assert_eq!(world.waiting("crm").await.dead, 0);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_message_is_a_dead_letter_at_once_and_holds_up_no_other() {
    let world = World::on_a_file();
    world.register(&["crm"]).await;
    world.release(50, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |asked| {
        let bad = asked.id != "m50";
        let rejected = Attempt::Rejected { status: Some(422), answer: "422 Unprocessable Entity".into() };
        (Duration::from_millis(1), if bad { rejected } else { ACCEPTED })
    });
    let delivery = world.start(vec![("crm", options(2), receiver.clone())]).await;
    until("all settled", Duration::from_secs(10), async || {
        world.waiting("crm").await == WaitingCounts { fresh: 0, retry: 0, dead: 49 }
    })
    .await;
    assert_eq!(
        (receiver.attempts(), delivery.status()[0].blocked_by),
        (50, None),
        "the receiver answers, so the breaker stays closed"
    );
    let told: (String, u16, String, u32) = world
        .second_connection()
        .query_row("SELECT DISTINCT reason, status, answer, attempts FROM delivery WHERE state = 'dead'", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .unwrap();
    assert_eq!(told, ("rejected".to_owned(), 422, "422 Unprocessable Entity".to_owned(), 1));
}

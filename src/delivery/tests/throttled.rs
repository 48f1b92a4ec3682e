//! Tests of a receiver that sets the pace: a refusal is no failure of a message, and messages are sent as fast as the
//! receiver accepts them.

use super::super::BlockedBy;
use super::*;

/// Makes a receiver that accepts one message in each second, and answers 429 to all others.
fn one_a_second(world: &World) -> Arc<Receiver> {
    let last = AtomicI64::new(i64::MIN);
    Receiver::new(world, move |asked| {
        let takes = asked.at.0.saturating_sub(last.load(Ordering::Relaxed)) >= 1000;
        if takes {
            last.store(asked.at.0, Ordering::Relaxed);
        }
        (Duration::from_millis(5), if takes { ACCEPTED } else { failed(429, Some(Duration::from_secs(1))) })
    })
}

fn attempts_of(world: &World) -> Vec<(i64, i64)> {
    let connection = world.second_connection();
    let mut statement =
        connection.prepare("SELECT attempts, count(*) FROM delivery GROUP BY attempts ORDER BY attempts").unwrap();
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

fn failures_of(world: &World) -> u32 {
    world.second_connection().query_row("SELECT failures FROM sink", [], |row| row.get(0)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn messages_go_as_fast_as_the_receiver_takes_them() {
    for (order, concurrency) in [(Order::None, 1), (Order::None, 8), (Order::None, 64), (Order::Number, 8)] {
        let world = World::on_a_file();
        world.register_as(vec![SinkSetup { ordered: order == Order::Number, ..SinkSetup::new("crm") }]).await;
        let of: Vec<Option<String>> = (0..60).map(|place| Some(format!("n{}", place % 3))).collect();
        let ids = world.release_of(&of, DeliveryClass::Live).await;
        let receiver = one_a_second(&world);
        let options = Options { order, ..options(concurrency) };
        let delivery = world.start(vec![("crm", options, receiver.clone())]).await;
        until("all delivered", 78 * SECOND, async || receiver.accepted() == 60).await;
        let refused = receiver.attempts() - 60;
        assert!(refused <= concurrency + 13, "{order:?} {concurrency}: {refused} were refused");
        until("and recorded", MINUTE, async || world.waiting("crm").await == WaitingCounts::default()).await;
        assert_eq!(attempts_of(&world), [(1, 60)], "refused attempts do not count");
        assert_eq!(failures_of(&world), 0);
        assert!(!delivery.status()[0].failing && delivery.status()[0].failing_since.is_none());
        if order == Order::Number {
            let accepted = receiver.seen.lock().unwrap().accepted.clone();
            for number in 0..3 {
                let of = |ids: &[String]| ids.iter().filter(|id| place(id) % 3 == number).cloned().collect::<Vec<_>>();
                assert_eq!(of(&accepted), of(&ids), "number {number}");
            }
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Returns the index of an id among `m1`, `m2`, …, counted from 0.
fn place(id: &str) -> usize {
    id[1..].parse::<usize>().unwrap() - 1
}

#[tokio::test(start_paused = true)]
async fn a_restart_does_not_begin_with_a_burst() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(60, DeliveryClass::Live).await;
    let receiver = one_a_second(&world);
    let mut delivery = world.start(vec![("crm", options(8), receiver.clone())]).await;
    for _ in 0..4 {
        sleep(12 * SECOND).await;
        delivery.drain(SECOND).await;
        let before = (receiver.attempts(), receiver.accepted());
        delivery = world.start(vec![("crm", options(8), receiver.clone())]).await;
        sleep(2 * SECOND).await;
        let refused = (receiver.attempts() - before.0) - (receiver.accepted() - before.1);
        assert!(refused <= 2, "{refused} were refused after a start");
    }
    until("all delivered", MINUTE, async || receiver.accepted() == 60).await;
    assert!(receiver.attempts() < 60 + 8 + 25, "{}", receiver.attempts());
}

/// Twelve refusals in a row do not open the breaker. The first failure after them is followed by the first wait of the
/// schedule, even if the process was restarted in between.
#[tokio::test(start_paused = true)]
async fn refusals_do_not_count_as_steps_of_the_schedule() {
    for restarts in [false, true] {
        let world = World::on_a_file();
        world.register(&["crm"]).await;
        world.release(1, DeliveryClass::Live).await;
        let receiver = Receiver::new(&world, |asked| {
            let answer = match asked.before {
                0..12 => failed(429, Some(MINUTE)),
                12 => failed(500, None),
                _ => ACCEPTED,
            };
            (Duration::from_millis(5), answer)
        });
        let mut delivery = world.start(vec![("crm", options(8), receiver.clone())]).await;
        until("refused", HOUR, async || receiver.attempts() == 12).await;
        until("silent", SECOND, async || matches!(delivery.status()[0].blocked_by, Some(BlockedBy::Silence { .. })))
            .await;
        let status = delivery.status()[0].clone();
        assert!(!status.failing && status.failing_since.is_some(), "refusals do not count as failures");
        if restarts {
            delivery.drain(Duration::ZERO).await;
            delivery = world.start(vec![("crm", options(8), receiver.clone())]).await;
        }
        assert_eq!((attempts_of(&world), failures_of(&world)), (vec![(0, 1)], 0));
        until("delivered", HOUR, async || receiver.accepted() == 1).await;
        let begun = receiver.begun();
        let wait = begun[13].1.since(begun[12].1);
        assert!(wait >= 5 * SECOND && wait < 6 * SECOND, "{wait:?}");
        until("recorded", MINUTE, async || attempts_of(&world) == [(2, 1)]).await;
        assert_eq!(delivery.status()[0].failing_since, None);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_are_given_up_even_if_the_receiver_only_refuses_them() {
    let world = World::on_a_file();
    world.register(&["crm"]).await;
    world.release(3, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |_| (Duration::from_millis(5), failed(429, None)));
    let mut options = options(2);
    options.retry.give_up_after = Some(HOUR);
    let _delivery = world.start(vec![("crm", options, receiver.clone())]).await;
    sleep(59 * MINUTE).await;
    assert_eq!(world.waiting("crm").await.dead, 0);
    let attempts = receiver.attempts();
    assert!((50..75).contains(&attempts), "one a minute while nothing gets through: {attempts}");
    until("all are dead", 10 * MINUTE, async || world.waiting("crm").await.dead == 3).await;
    assert_eq!(attempts_of(&world), [(1, 3)], "the attempt that made the dead letter counts");
}

/// The command `once` delivers the due messages and ends. It waits for the end of a short silence, but not of a long
/// one.
#[tokio::test(start_paused = true)]
async fn once_waits_for_a_receiver_that_sets_the_pace() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(20, DeliveryClass::Live).await;
    let receiver = one_a_second(&world);
    let delivery = world.start(vec![("crm", options(8), receiver.clone())]).await;
    assert!(!delivery.until_idle().await.unwrap(), "no message is left");
    assert_eq!(receiver.accepted(), 20);
    drop(delivery);
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(20, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |_| (Duration::from_millis(5), failed(429, None)));
    let delivery = world.start(vec![("crm", options(8), receiver.clone())]).await;
    assert!(delivery.until_idle().await.unwrap(), "messages are left");
    let took = world.clock.relay_time().since(START);
    assert!(took < MINUTE, "{took:?}");
}

/// While the receiver sets the pace, workers are always free. So the lanes take turns.
#[tokio::test(start_paused = true)]
async fn refused_messages_are_sent_while_new_messages_keep_coming() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(2_000, DeliveryClass::Live).await;
    let backfill = world.release(10, DeliveryClass::Backfill).await;
    let receiver = one_a_second(&world);
    let _delivery = world.start(vec![("crm", options(8), receiver.clone())]).await;
    until("the backfill goes on", 4 * MINUTE, async || {
        let seen = receiver.seen.lock().unwrap();
        backfill.iter().all(|id| seen.accepted.contains(id))
    })
    .await;
    let accepted = receiver.seen.lock().unwrap().accepted.clone();
    assert!((1..=8).all(|place| accepted.contains(&format!("m{place}"))), "the refused messages: {accepted:?}");
}

/// One message that is refused for ever costs a few silences at first. After that it holds up only itself.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_refused_alone_does_not_set_the_pace_for_others() {
    for (status, asked) in [(429, None), (429, Some(SECOND)), (503, Some(SECOND))] {
        for concurrency in [1, 8] {
            let world = World::new();
            world.register(&["crm"]).await;
            let ids = world.release(200, DeliveryClass::Live).await;
            let refused = ids[3].clone();
            let receiver = Receiver::new(&world, move |asked_for| {
                let answer = if asked_for.id == refused { failed(status, asked) } else { ACCEPTED };
                (Duration::from_millis(5), answer)
            });
            let _delivery = world.start(vec![("crm", options(concurrency), receiver.clone())]).await;
            until("all others delivered", 2 * MINUTE, async || receiver.accepted() == 199).await;
            let before = receiver.attempts();
            sleep(10 * MINUTE).await;
            assert!(receiver.attempts() - before <= 5, "{status} {concurrency}: its own schedule grows");
        }
    }
}

/// A receiver refuses every message of one number for ever. The failures of these messages do not open the breaker, so
/// new messages of other numbers are delivered at once.
#[tokio::test(start_paused = true)]
async fn messages_that_are_refused_alone_do_not_count_as_failures_of_the_receiver() {
    for concurrency in [1, 8] {
        let world = World::new();
        world.register(&["crm"]).await;
        let of: Vec<Option<String>> = (0..40).map(|place| Some(format!("number{}", place % 2))).collect();
        let ids = world.release_of(&of, DeliveryClass::Live).await;
        let refused: Vec<String> = ids.iter().step_by(2).cloned().collect();
        let receiver = Receiver::new(&world, move |asked| {
            let answer = if refused.iter().any(|id| asked.id == *id) { failed(429, Some(SECOND)) } else { ACCEPTED };
            (Duration::from_millis(5), answer)
        });
        let delivery = world.start(vec![("crm", options(concurrency), receiver.clone())]).await;
        until("the other number", 5 * MINUTE, async || receiver.accepted() == 20).await;
        for count in 21..41 {
            sleep(17 * SECOND).await;
            world.release_of(&[Some("number1".to_owned())], DeliveryClass::Live).await;
            delivery.waker().wake();
            until("a new message", 3 * SECOND, async || receiver.accepted() == count).await;
        }
    }
}

/// A receiver with a limit for each receiving number. One number is above its limit all the time.
#[tokio::test(start_paused = true)]
async fn a_number_that_is_always_refused_holds_back_no_other() {
    for (order, concurrency) in [(Order::Number, 1), (Order::Number, 8), (Order::None, 1), (Order::None, 8)] {
        let world = World::new();
        world.register_as(vec![SinkSetup { ordered: order == Order::Number, ..SinkSetup::new("crm") }]).await;
        world.release_of(&[Some("a".to_owned())], DeliveryClass::Live).await;
        let receiver = Receiver::new(&world, |asked| {
            let attempt = if asked.id == "m1" { failed(429, Some(SECOND)) } else { ACCEPTED };
            (Duration::from_millis(5), attempt)
        });
        let options = Options { order, ..options(concurrency) };
        let delivery = world.start(vec![("crm", options, receiver.clone())]).await;
        until("refused", SECOND, async || receiver.attempts() == 1).await;
        let of: Vec<Option<String>> = (0..10).map(|place| Some(format!("other{}", place % 2))).collect();
        let others = world.release_of(&of, DeliveryClass::Live).await;
        delivery.waker().wake();
        until(&format!("the others, {order:?} {concurrency}"), 2 * MINUTE, async || receiver.accepted() == 10).await;
        let accepted = receiver.seen.lock().unwrap().accepted.clone();
        for number in 0..2 {
            let of = |ids: &[String]| ids.iter().filter(|id| place(id) % 2 == number).cloned().collect::<Vec<_>>();
            assert_eq!(of(&accepted), of(&others), "in the order of their number");
        }
        assert!(receiver.ids_begun().iter().filter(|id| *id == "m1").count() > 1, "`m1` is tried again meanwhile");
    }
}

/// The receiver refuses the first attempt for each message, and `m1` always. `m1` does not hold up the others.
#[tokio::test(start_paused = true)]
async fn numbers_that_were_refused_take_turns() {
    let world = World::new();
    world.register_as(vec![SinkSetup { ordered: true, ..SinkSetup::new("crm") }]).await;
    let of: Vec<Option<String>> = ["a", "b", "c"].map(|number| Some(number.to_owned())).into();
    world.release_of(&of, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |asked| {
        let attempt = if asked.id == "m1" || asked.before == 0 { failed(429, Some(SECOND)) } else { ACCEPTED };
        (Duration::from_millis(5), attempt)
    });
    let options = Options { order: Order::Number, ..options(8) };
    let _delivery = world.start(vec![("crm", options, receiver.clone())]).await;
    until("the others", 2 * MINUTE, async || receiver.accepted() == 2).await;
}

/// The receiver has a limit for each receiving number. Every message of one number is refused, and that number has many
/// messages.
#[tokio::test(start_paused = true)]
async fn a_number_whose_messages_are_all_refused_slows_no_other_down() {
    for (order, concurrency) in [(Order::None, 1), (Order::None, 8), (Order::Number, 8)] {
        let world = World::new();
        world.register_as(vec![SinkSetup { ordered: order == Order::Number, ..SinkSetup::new("crm") }]).await;
        let is_refused = |id: &str| place(id) % 10 == 9;
        let of = (0..400).map(|place| Some(if place % 10 == 9 { "refused".into() } else { format!("n{}", place % 3) }));
        world.release_of(&of.collect::<Vec<_>>(), DeliveryClass::Live).await;
        let receiver = Receiver::new(&world, move |asked| {
            let attempt = if is_refused(asked.id) { failed(429, Some(SECOND)) } else { ACCEPTED };
            (Duration::from_millis(5), attempt)
        });
        let options = Options { order, ..options(concurrency) };
        let _delivery = world.start(vec![("crm", options, receiver.clone())]).await;
        until("all others delivered", 40 * SECOND, async || receiver.accepted() == 360).await;
    }
}

/// One in four messages is refused whatever the pace is: the other messages are not slowed down.
#[tokio::test(start_paused = true)]
async fn messages_are_not_slowed_down_if_the_receiver_refuses_at_any_pace() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(1_000, DeliveryClass::Live).await;
    let random = Jitter::seeded(1);
    let receiver = Receiver::new(&world, move |_| {
        let attempt = if random.fraction() < 0.25 { failed(429, Some(SECOND)) } else { ACCEPTED };
        (Duration::from_millis(100), attempt)
    });
    let delivery = world.start(vec![("crm", options(8), receiver.clone())]).await;
    until("nearly all delivered", 2 * MINUTE, async || receiver.accepted() >= 980).await;
    assert!(receiver.attempts() < 1_500, "{}", receiver.attempts());
    assert_eq!(delivery.status()[0].blocked_by, None, "nothing is held back");
}

/// `status` shows the learned pace. The relay forgets it when an operator resumes the sink.
#[tokio::test(start_paused = true)]
async fn a_resume_ends_the_learned_pace() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release(400, DeliveryClass::Live).await;
    let last = AtomicI64::new(i64::MIN);
    let receiver = Receiver::new(&world, move |asked| {
        let is_limited = asked.at.since(START) < MINUTE;
        let takes = !is_limited || asked.at.0.saturating_sub(last.load(Ordering::Relaxed)) >= 1000;
        if takes {
            last.store(asked.at.0, Ordering::Relaxed);
        }
        (Duration::from_millis(5), if takes { ACCEPTED } else { failed(429, Some(SECOND)) })
    });
    let delivery = world.start(vec![("crm", options(8), receiver.clone())]).await;
    assert_eq!(delivery.status()[0].learned_per_minute, None);
    sleep(MINUTE).await;
    let learned = delivery.status()[0].learned_per_minute;
    assert!(learned.is_some_and(|learned| (45..75).contains(&learned)), "about one a second: {learned:?}");
    world
        .store
        .write({
            let (id, now) = (world.sinks.lock().unwrap()["crm"], world.clock.relay_time());
            move |spool| spool.resume(id, now)
        })
        .await
        .unwrap();
    until("all delivered", 8 * SECOND, async || receiver.accepted() == 400).await;
    assert_eq!(delivery.status()[0].learned_per_minute, None);
}

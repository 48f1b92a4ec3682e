//! Tests of a receiver that is down for hours while messages arrive.

use super::*;

#[tokio::test(start_paused = true)]
async fn after_eight_hours_without_a_receiver_everything_arrives_once_within_minutes() {
    const MINUTES: i64 = 8 * 60;
    let world = World::new();
    let receiver = Receiver::new(&world, |asked| {
        let is_away = asked.at.since(START) < 8 * HOUR;
        let refused = Attempt::Failed { status: None, retry_after: None, answer: "connection refused".to_owned() };
        (Duration::from_millis(20), if is_away { refused } else { ACCEPTED })
    });
    let delivery = world.start(vec![("crm", options(8), receiver.clone())]).await;
    for _ in 0..MINUTES {
        world.release(1, DeliveryClass::Live).await;
        delivery.waker().wake();
        sleep(MINUTE).await;
    }
    let during = receiver.attempts();
    let all = usize::try_from(MINUTES).unwrap();
    until("all delivered", 5 * MINUTE, async || receiver.accepted() == all).await;
    let took = world.clock.relay_time().since(START.after(8 * HOUR));
    println!("{during} attempts in 8 h; everything delivered {took:?} later");
    assert!((470..560).contains(&during), "{during} attempts in 8 h: one a minute, and the first few");
    assert!(took < 2 * MINUTE, "{took:?}");
    let mut accepted = receiver.seen.lock().unwrap().accepted.clone();
    accepted.sort_by_key(|id| id.trim_start_matches('m').parse::<i64>().unwrap());
    assert_eq!(accepted, (1..=MINUTES).map(|number| format!("m{number}")).collect::<Vec<_>>(), "each once");
    // Each message was attempted for the first time in the order of release.
    let mut first = Vec::new();
    for id in receiver.ids_begun() {
        if !first.contains(&id) {
            first.push(id);
        }
    }
    assert_eq!(first, accepted);
}

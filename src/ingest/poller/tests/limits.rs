//! Tests of the API's limit. When the known limit changes, the due time of the next poll changes at once.

use super::*;

/// The number of the first request whose answer states the second limit.
const CHANGED: usize = 4;

/// At first the API states a limit of 20 requests in 5 minutes. So while older messages are read, a poll comes every
/// half minute. Then a page of older messages states the documented limit, 120 requests a minute. The next poll
/// comes after a second, not after half a minute.
#[tokio::test(start_paused = true)]
async fn a_new_limit_counts_at_once_if_a_page_of_older_messages_states_it() {
    let polls = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&polls);
    let mut world = World::new(move |number, cursor, _| {
        if cursor.is_none() {
            asked.lock().unwrap().push(number);
        }
        Ok(page(2000, cursor))
    })
    .await;
    world.double.rates = |number| {
        let (limit, seconds, used) = if number < CHANGED { (20, 300, number) } else { (120, 60, number + 1 - CHANGED) };
        RateHeaders {
            limit: Some(limit),
            remaining: Some(limit - u32::try_from(used).unwrap().min(limit)),
            reset: Some(Duration::from_secs(seconds)),
            ..RateHeaders::default()
        }
    };
    world.run_for(Duration::from_secs(120)).await.unwrap();
    let (polls, asked) = (polls.lock().unwrap().clone(), world.double.asked.lock().unwrap().clone());
    assert!(!polls.contains(&CHANGED), "the request with the new limit must ask for older messages: {polls:?}");
    let next = *polls.iter().find(|number| **number > CHANGED).unwrap();
    let waited = asked[next - 1] - asked[CHANGED - 1];
    assert!(waited <= Duration::from_millis(1100), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn with_one_request_a_minute_polls_and_walks_take_turns() {
    let world = World { requests: 1, ..World::new(|_, cursor, _| Ok(page(135, cursor))).await };
    world.run_for(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(world.released().await.len(), 135);
}

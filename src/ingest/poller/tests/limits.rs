//! Tests of the API's limit: the due time of the next poll depends on what is known about the limit at that time.

use super::*;

/// The request whose answer states another limit.
const CHANGED: usize = 4;

/// The limit is 20 requests in 5 minutes, so a poll comes every half minute beside the reading of older messages. Then
/// the answer to a page of older messages states the documented limit. The next poll does not wait for the old limit.
#[tokio::test(start_paused = true)]
async fn a_new_limit_counts_at_once_whatever_answer_told_it() {
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
    assert!(!polls.contains(&CHANGED), "a page of older messages: {polls:?}");
    let next = *polls.iter().find(|number| **number > CHANGED).unwrap();
    let waited = asked[next - 1] - asked[CHANGED - 1];
    assert!(waited <= Duration::from_millis(1100), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn one_request_a_minute_is_shared_by_turns() {
    let world = World { requests: 1, ..World::new(|_, cursor, _| Ok(page(135, cursor))).await };
    world.run_for(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(world.released().await.len(), 135);
}

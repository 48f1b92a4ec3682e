//! Tests of `once`: the command always ends, whether it has read everything or gives up.

use super::*;

#[tokio::test(start_paused = true)]
async fn once_ends_when_all_was_read_and_gives_up_on_an_api_that_is_down() {
    let world = World::new(|_, cursor, _| Ok(page(135, cursor))).await;
    let (_stop, stops) = watch::channel(false);
    assert_eq!(world.poller(Mode::Once).run(stops.clone()).await.unwrap(), Ending::CaughtUp);
    assert_eq!(world.released().await.len(), 135);
    *world.double.script.lock().unwrap() = Box::new(|_, _, _| Err(Error::Server(500)));
    let ending = world.poller(Mode::Once).run(stops).await.unwrap();
    assert_eq!(ending, Ending::GaveUp("500 from the API".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn once_tries_a_walk_again_that_stalled_in_an_earlier_process() {
    let refused = || Err(Error::Refused { status: 400, code: "BAD_CURSOR".to_owned() });
    let world = World::new(move |_, cursor, _| if cursor.is_some() { refused() } else { Ok(page(35, None)) }).await;
    let (_stop, stops) = watch::channel(false);
    let ending = world.poller(Mode::Once).run(stops.clone()).await.unwrap();
    assert!(matches!(ending, Ending::GaveUp(_)), "{ending:?}");
    let ending = world.poller(Mode::Once).run(stops.clone()).await.unwrap();
    assert!(matches!(ending, Ending::GaveUp(_)), "the second process ends, too: {ending:?}");
    *world.double.script.lock().unwrap() = Box::new(|_, cursor, _| Ok(page(35, cursor)));
    assert_eq!(world.poller(Mode::Once).run(stops).await.unwrap(), Ending::CaughtUp);
    assert_eq!(world.released().await.len(), 35);
}

#[tokio::test(start_paused = true)]
async fn once_gives_up_if_every_answer_is_a_429() {
    let world = World::new(|_, _, _| Err(Error::RateLimited)).await;
    let (_stop, stops) = watch::channel(false);
    let running = world.poller(Mode::Once).run(stops);
    let ending = tokio::time::timeout(Duration::from_secs(3600), running).await.expect("`once` does not end").unwrap();
    assert_eq!(ending, Ending::GaveUp("429: over the rate limit".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn once_does_not_wait_for_the_list_of_numbers_while_an_empty_first_page_is_not_believed() {
    let mut world = World::new(|_, _, _| Ok(Page { rows: Vec::new(), more: More::End, total: None })).await;
    world.numbers.expiry_terms = vec![Duration::from_secs(7 * 86_400)];
    let (_stop, stops) = watch::channel(false);
    let began = world.clock.monotonic();
    assert_eq!(world.poller(Mode::Once).run(stops).await.unwrap(), Ending::CaughtUp);
    // An empty first page is believed after the API has shown it three times, one second apart.
    let took = world.clock.monotonic().saturating_duration_since(began);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

//! Tests of an API that is away for hours while messages come.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const AWAY: std::ops::Range<Duration> = HOUR..Duration::from_secs(9 * 3600);

/// Makes a page of a list to which a message has come in each minute since [`BEGAN`].
fn page_at(now: UnixMs, cursor: Option<&Cursor>) -> Page {
    let minutes = i64::try_from(now.since(BEGAN).as_secs() / 60).unwrap();
    let mut page = page(minutes, cursor);
    if minutes == 0 {
        return Page { rows: Vec::new(), more: More::End, total: None };
    }
    for row in &mut page.rows {
        let number: i64 = row.id.trim_start_matches('m').parse().unwrap();
        row.time = UnixMs(BEGAN.0 + number * 60_000);
        row.ingested = Some(row.time);
    }
    page
}

fn failure(number: usize) -> Error {
    let failures = [
        Error::Transport("connection refused".to_owned()),
        Error::Transport("no answer within 30s".to_owned()),
        Error::Server(503),
        Error::Blocked,
        Error::Malformed("it is HTML".to_owned()),
    ];
    failures[number % failures.len()].clone()
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_of_eight_hours_all_messages_are_released_in_order_within_minutes() {
    let world = World::new(|_, _, _| Err(Error::Server(500))).await;
    let clock = world.clock.clone();
    let requests = Arc::<Mutex<Vec<Duration>>>::default();
    let seen = Arc::clone(&requests);
    *world.double.script.lock().unwrap() = Box::new(move |number, cursor, _| {
        let now = clock.relay_time();
        seen.lock().unwrap().push(now.since(BEGAN));
        if AWAY.contains(&now.since(BEGAN)) { Err(failure(number)) } else { Ok(page_at(now, cursor)) }
    });
    let (stop, stops) = watch::channel(false);
    let running = tokio::spawn(world.poller(Mode::Run).run(stops));
    tokio::time::sleep(AWAY.end).await;
    let expected: Vec<String> = (1..=9 * 60).map(|number| format!("m{number}")).collect();
    let mut released = world.released().await;
    assert_eq!(released.len(), 59, "the messages of the hour before the outage");
    while released.len() < expected.len() && world.clock.relay_time().since(BEGAN) < AWAY.end + HOUR {
        tokio::time::sleep(Duration::from_secs(1)).await;
        released = world.released().await;
    }
    let caught_up = world.clock.relay_time().since(BEGAN) - AWAY.end;
    stop.send_replace(true);
    assert_eq!(running.await.unwrap().unwrap(), Ending::Stopped);
    let requests = requests.lock().unwrap().clone();
    let during = requests.iter().filter(|at| AWAY.contains(*at)).count();
    let first = *requests.iter().find(|at| **at >= AWAY.end).unwrap() - AWAY.end;
    println!("{during} requests in 8 h; asked again after {first:?}, everything released after {caught_up:?}");
    assert!((480..560).contains(&during), "{during} requests in 8 h: one a minute, and a few more at first");
    assert!(first <= Duration::from_secs(60), "asked again after {first:?}");
    assert!(caught_up <= Duration::from_secs(120), "49 pages took {caught_up:?}");
    // `World::released` lists the messages of the catch-up first, and the live messages after them.
    let (before, missed) = expected.split_at(59);
    assert_eq!(released[..missed.len()], *missed, "each missed message once, in order");
    assert_eq!(released[missed.len()..][..before.len()], *before);
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_down_for_a_day_is_asked_once_a_minute_and_then_read() {
    let world = World::new(|_, _, _| Err(Error::Server(503))).await;
    let asked = world.run_for(Duration::from_secs(24 * 3600)).await.unwrap();
    assert!((1440..1700).contains(&asked), "{asked} requests in a day");
    *world.double.script.lock().unwrap() = Box::new(|_, cursor, _| Ok(page(35, cursor)));
    world.run_for(Duration::from_secs(60)).await.unwrap();
    let expected: Vec<String> = (1..=35).map(|number| format!("m{number}")).collect();
    assert_eq!(world.released().await, expected);
}

#[tokio::test(start_paused = true)]
async fn refused_keys_are_tried_again_once_a_minute() {
    let refusal = KeyRefusal { status: 401, code: "UNAUTHORIZED".to_owned() };
    let mut world = World::new(move |_, _, _| Err(Error::KeyRefused(refusal.clone()))).await;
    world.double.keys = 3;
    let asked = world.run_for(Duration::from_secs(3600)).await.unwrap();
    assert!((3 * 60..=3 * 61).contains(&asked), "{asked} requests in an hour with three keys");
}

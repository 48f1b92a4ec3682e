//! Tests of pages that cannot be read, are too large or empty, or have a cursor that leads nowhere.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_walk_that_goes_in_circles_causes_few_requests_and_does_not_hold_up_live_messages() {
    // Each page but the first one gives out the cursor with which it was requested.
    let world = World::new(|number, cursor, _| {
        let count = if number < 1000 { 35 } else { 36 };
        let mut page = page(count, cursor);
        if let (Some(cursor), More::Cursor(_)) = (cursor, &page.more) {
            page.more = More::Cursor(cursor.clone());
        }
        Ok(page)
    })
    .await;
    let asked = world.run_for(Duration::from_secs(3600)).await.unwrap();
    let polls = 3600;
    // All other requests belong to the gap, or to sweeps, which go in the same circle.
    assert!(asked < polls + 400, "{} requests beside the polls in an hour", asked - polls);
    let released = world.released().await;
    assert!(released.contains(&"m36".to_owned()), "a live message waits for the walk that goes in circles");
    assert!(released.contains(&"m26".to_owned()), "a stalled gap releases the rows that it has read: {released:?}");
}

#[tokio::test(start_paused = true)]
async fn the_rows_above_a_row_that_can_never_be_read_are_released() {
    let world = World::new(|_, cursor, limit| {
        let mut page = page(35, cursor);
        page.rows.truncate(usize::try_from(limit).unwrap());
        if page.rows.iter().any(|row| row.id == "m22") {
            return Err(Error::Garbled("it is not JSON".to_owned()));
        }
        if let (Some(last), true) = (page.rows.last(), limit < 10) {
            page.more = More::Cursor(Cursor(last.id.trim_start_matches('m').to_owned()));
        }
        Ok(page)
    })
    .await;
    world.run_for(Duration::from_secs(1800)).await.unwrap();
    let released = world.released().await;
    let expected: Vec<String> = (23..=35).map(|number| format!("m{number}")).collect();
    assert_eq!(released, expected);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_cannot_be_read_is_read_in_smaller_pages() {
    // A page cannot be read if it ends with message 22 (as if this message spoiled the cursor), or if it contains
    // message 22 and has more than three rows.
    let world = World::new(|_, cursor, limit| {
        let mut page = page(35, cursor);
        page.rows.truncate(usize::try_from(limit).unwrap());
        let ids: Vec<&str> = page.rows.iter().map(|row| row.id.as_str()).collect();
        if ids.contains(&"m22") && (ids.last() == Some(&"m22") || ids.len() > 3) {
            return Err(Error::Garbled("it is not JSON".to_owned()));
        }
        let last = ids.last().map(|id| id.trim_start_matches('m').to_owned());
        if let (Some(last), true) = (last, limit < 10) {
            page.more = More::Cursor(Cursor(last));
        }
        Ok(page)
    })
    .await;
    world.run_for(Duration::from_secs(120)).await.unwrap();
    let expected: Vec<String> = (1..=35).map(|number| format!("m{number}")).collect();
    assert_eq!(world.released().await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_newest_page_that_cannot_be_read_is_read_in_smaller_pages_too() {
    let world = World::new(|_, cursor, limit| {
        let mut page = page(35, cursor);
        if cursor.is_none() && limit == 10 {
            return Err(Error::Garbled("it is not JSON".to_owned()));
        }
        if limit < 10 {
            page.rows.truncate(usize::try_from(limit).unwrap());
            let last = page.rows.last().map(|row| row.id.trim_start_matches('m').to_owned());
            page.more = last.map_or(More::End, |last| More::Cursor(Cursor(last)));
        }
        Ok(page)
    })
    .await;
    world.run_for(Duration::from_secs(30)).await.unwrap();
    let expected: Vec<String> = (1..=35).map(|number| format!("m{number}")).collect();
    assert_eq!(world.released().await, expected);
}

fn spoiled(number: i64, id: Option<&str>) -> Row {
    let known = crate::domain::SpoiledRow { id: id.map(str::to_owned), place: 1, wrong: "invalid escape".to_owned() };
    Row {
        id: format!("unreadable:{number}"),
        readable: false,
        spoiled: Some(Box::new(known)),
        number: None,
        ..row(number)
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_spoiled_is_set_aside_once_and_delivered_when_it_is_mended() {
    // Messages 30 and 28 are spoiled at first, and valid later. Message 29 is valid at first, and spoiled later.
    let world = World::new(|number, cursor, _| {
        let mut page = page(35, cursor);
        for row in &mut page.rows {
            match row.id.as_str() {
                "m30" if number < 60 => *row = spoiled(30, Some("m30")),
                "m29" if number > 20 => *row = spoiled(29, Some("m29")),
                "m28" if number < 60 => *row = spoiled(28, None),
                _ => {}
            }
        }
        Ok(page)
    })
    .await;
    world.run_for(Duration::from_secs(40)).await.unwrap();
    let released = world.released().await;
    assert_eq!(released.len(), 33, "all messages but 28 and 30: {released:?}");
    let known = |spool: &Spool| spool.known(&["unreadable:28", "unreadable:29", "unreadable:30"]);
    let known = world.store.read(known).await.unwrap().into_iter().map(|seq| seq.is_some());
    assert_eq!(known.collect::<Vec<_>>(), [true, false, true], "message 29 is not set aside, because it is stored");
    world.run_for(Duration::from_secs(120)).await.unwrap();
    let mut released = world.released().await;
    released.sort_unstable();
    let mut expected: Vec<String> = (1..=35).map(|number| format!("m{number}")).collect();
    expected.sort_unstable();
    assert_eq!(released, expected, "each message once, 28 and 30 too");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_too_large_is_read_row_by_row() {
    let world = World::new(|_, cursor, limit| {
        let mut page = page(35, cursor);
        let large = page.rows.iter().any(|row| row.id == "m17");
        if limit > 1 {
            return if large { Err(Error::TooLarge { cap: 1 }) } else { Ok(page) };
        }
        page.rows.truncate(1);
        let last = page.rows[0].id.trim_start_matches('m').to_owned();
        page.more = if last == "1" { More::End } else { More::Cursor(Cursor(last)) };
        Ok(page)
    })
    .await;
    world.run_for(Duration::from_secs(120)).await.unwrap();
    assert_eq!(world.released().await.len(), 35);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_released_although_it_came_before_the_relay_believed_an_empty_list() {
    let world = World::new(|_, _, _| Ok(Page { rows: Vec::new(), more: More::End, total: Some(0) })).await;
    let clock = world.clock.clone();
    let mut came = None;
    *world.double.script.lock().unwrap() = Box::new(move |number, _, _| {
        let mut rows = Vec::new();
        if number > 1 {
            let now = *came.get_or_insert(clock.relay_time());
            rows.push(Row { time: now, ingested: Some(now), ..row(1) });
            rows.push(Row { time: UnixMs(now.0 - 60_000), ingested: Some(UnixMs(now.0 - 60_000)), ..row(0) });
        }
        Ok(Page { rows, more: More::End, total: None })
    });
    let mut poller = world.poller(Mode::Run);
    poller.rules.start = Start::Now;
    let (stop, stops) = watch::channel(false);
    let running = tokio::spawn(poller.run(stops));
    tokio::time::sleep(Duration::from_secs(30)).await;
    stop.send_replace(true);
    running.await.unwrap().unwrap();
    assert_eq!(world.released().await, ["m1"], "message 0 was received before the first run");
}

//! Tests of the lists as documented: rows, pages, cursors, filters, errors. The tests also check that the handle shows
//! the same as the lists.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use joltsms_simulator::{NewMessage, NewNumber, Options, Simulator, Switches, TimedOut};
use serde_json::json;

use crate::client::{Broken, DEADLINE, Request, after, at, fill, get, session, start, try_get, until, walk, with};

/// Returns switches with which a test may send as many requests as it likes.
fn unlimited() -> Switches {
    Switches { limit: 1_000_000, ..Switches::default() }
}

#[test]
fn a_message_is_served_as_documented() {
    let simulator = start();
    let number = &simulator.handle().numbers()[0];
    let message = NewMessage::new().id("abcd1234").from("+18005559876").body("Your code is 847291 ✓").code("847291");
    simulator.handle().add(message.received_at(at(0)).ingested_at(at(1500)));
    let response = get(&simulator, "/v1/messages");
    assert_eq!(response.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(
        response.json(),
        json!({
            "data": [{
                "id": "abcd1234",
                "numberId": number.id,
                "number": {"id": number.id, "phoneNumber": number.phone_number},
                "from": "+18005559876",
                "to": number.phone_number,
                "body": "Your code is 847291 ✓",
                "parsedCode": "847291",
                "encrypted": false,
                "isRead": false,
                "receivedAt": "2025-06-15T12:00:00.000Z",
                "ingestedAt": "2025-06-15T12:00:01.500Z"
            }],
            "meta": {"hasMore": false, "nextCursor": null, "total": 1, "limit": 10}
        })
    );
}

#[test]
fn pages_hold_ten_and_the_cursor_is_the_documented_one() {
    let simulator = start();
    simulator.handle().add(NewMessage::new().id("abcd1234").received_at(at(0)));
    simulator.handle().add_many((1..10).map(|n| NewMessage::new().id(format!("n{n}")).received_at(at(n))));
    simulator.handle().add(NewMessage::new().id("older").received_at(at(-1)));
    let first = get(&simulator, "/v1/messages?limit=50");
    assert_eq!(first.ids().len(), 10);
    assert_eq!(
        first.json()["meta"],
        json!({"hasMore": true, "nextCursor": "MjAyNS0wNi0xNVQxMjowMDowMC4wMDBafGFiY2QxMjM0", "total": 11, "limit": 10})
    );
    let second = get(&simulator, &after("/v1/messages", &first.next_cursor().unwrap()));
    assert_eq!(second.ids(), ["older"]);
    assert_eq!(second.json()["meta"], json!({"hasMore": false, "nextCursor": null, "total": 11, "limit": 10}));
    assert_eq!(get(&simulator, "/v1/messages?limit=3").ids(), ["n9", "n8", "n7"]);
}

#[test]
fn a_session_may_have_a_hundred_rows_and_gets_twenty() {
    let simulator = start();
    fill(&simulator.handle(), 150);
    assert_eq!(session(&simulator, "GET", "/v1/messages", "").ids().len(), 20);
    assert_eq!(session(&simulator, "GET", "/v1/messages?limit=500", "").ids().len(), 100);
}

#[test]
fn a_walk_shows_every_message_once_newest_first() {
    let simulator = with(unlimited());
    let handle = simulator.handle();
    // Many messages have the same time, and they are added in no particular order.
    handle.add_many((0..137_i64).map(|n| NewMessage::new().received_at(at((n * 53 % 11) * 1000))));
    let rows = handle.rows();
    let expected: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    assert!(rows.windows(2).all(|pair| (pair[0].received_at, &pair[0].id) > (pair[1].received_at, &pair[1].id)));
    assert_eq!(rows.len(), 137);
    assert_eq!(walk(&simulator, "/v1/messages"), expected);
    assert_eq!(walk(&simulator, "/v1/messages?limit=7"), expected);
}

#[test]
fn filters_find_what_they_name() {
    let simulator = with(unlimited());
    let handle = simulator.handle();
    let other = handle.add_number(NewNumber { id: Some("num_b".into()), ..NewNumber::default() });
    for n in 0..40_i64 {
        let message = NewMessage::new().id(format!("m{n:02}")).received_at(at(n)).ingested_at(at(n));
        let message = if n % 3 == 0 { message.number("num_b") } else { message };
        handle.add(message.from(if n % 4 == 0 { "SHOPLY" } else { "72752" }));
    }
    let expected = |wanted: &dyn Fn(i64) -> bool| -> Vec<String> {
        (0..40).rev().filter(|&n| wanted(n)).map(|n| format!("m{n:02}")).collect()
    };
    assert_eq!(walk(&simulator, "/v1/messages?numberId=num_b"), expected(&|n| n % 3 == 0));
    assert_eq!(walk(&simulator, "/v1/messages?from=SHOPLY"), expected(&|n| n % 4 == 0));
    assert_eq!(walk(&simulator, "/v1/messages?numberId=num_b&from=SHOPLY"), expected(&|n| n % 12 == 0));
    assert_eq!(walk(&simulator, "/v1/messages?since=2025-06-15T12:00:00.021Z"), expected(&|n| n > 21));
    let both = "/v1/messages?since=2025-06-15T12:00:00.010Z&numberId=num_b";
    assert_eq!(walk(&simulator, both), expected(&|n| n > 10 && n % 3 == 0));
    assert_eq!(walk(&simulator, "/v1/messages?from=nobody"), Vec::<String>::new());
    for (target, total) in [("?from=SHOPLY", 10), ("?since=2025-06-15T12:00:00.021Z", 18), ("?numberId=num_b", 14)] {
        assert_eq!(get(&simulator, &format!("/v1/messages{target}")).json()["meta"]["total"], total, "{target}");
    }
    assert_eq!(get(&simulator, both).json()["meta"]["total"], 10);
    assert!(handle.rows().iter().filter(|row| row.number_id == "num_b").all(|row| row.to == other.phone_number));
}

#[test]
fn an_unknown_number_is_the_documented_404() {
    let simulator = start();
    for target in ["/v1/messages?numberId=num_nowhere", "/v1/numbers/num_nowhere"] {
        let response = get(&simulator, target);
        assert_eq!(response.status, 404);
        let expected = json!({"error": "NOT_FOUND", "message": "Number not found or you do not have access"});
        assert_eq!(response.json(), expected);
    }
}

#[test]
fn what_cannot_be_understood_is_a_400_and_not_a_page() {
    let simulator = start();
    for target in ["limit=ten", "limit=0", "since=yesterday", "cursor=abc", "cursor="] {
        let response = get(&simulator, &format!("/v1/messages?{target}"));
        assert_eq!(response.status, 400, "{target}");
        assert!(response.json()["message"].is_string());
    }
    assert_eq!(get(&simulator, "/v1/numbers?scope=mine").status, 400);
    assert_eq!(get(&simulator, "/v2/messages").status, 404);
    assert_eq!(Request::new("PUT", "/v1/messages").bearer(simulator.key()).send(&simulator).status, 404);
}

#[test]
fn numbers_are_served_counted_filtered_and_paged() {
    let simulator = start();
    let handle = simulator.handle();
    for n in 0..12_i64 {
        handle.add_number(NewNumber {
            id: Some(format!("num_{n:02}")),
            shared: n % 2 == 0,
            status: (n == 5).then(|| "EXPIRED".into()),
            created_at: Some(at(n)),
            service_name: Some("PayPal".into()),
            tags: vec!["prod".into()],
            ..NewNumber::default()
        });
    }
    handle.add(NewMessage::new().number("num_05").received_at(at(9000)));
    let row = get(&simulator, "/v1/numbers?status=expired").json()["data"][0].clone();
    assert_eq!(row["id"], "num_05");
    assert_eq!((&row["messageCount"], &row["unreadCount"]), (&json!(1), &json!(1)));
    assert_eq!((&row["lastMessageAt"], &row["createdAt"]), (&json!("2025-06-15T12:00:09.000Z"), &json!(at(5))));
    assert_eq!((&row["serviceName"], &row["tags"], &row["notes"]), (&json!("PayPal"), &json!(["prod"]), &json!(null)));
    assert_eq!(get(&simulator, "/v1/numbers/num_05").json()["data"], row);

    let shared: Vec<String> = [10, 8, 6, 4, 2, 0].iter().map(|n| format!("num_{n:02}")).collect();
    assert_eq!(walk(&simulator, "/v1/numbers?scope=shared&limit=4"), shared);
    assert_eq!(walk(&simulator, "/v1/numbers?scope=owned").len(), 7);
    let all = walk(&simulator, "/v1/numbers?limit=5");
    assert_eq!((all.len(), all[1].as_str()), (13, "num_10"));
}

#[test]
fn the_handle_shows_the_very_bytes_that_are_served() {
    for pretty in [false, true] {
        let simulator = with(Switches { pretty, ..Switches::default() });
        let handle = simulator.handle();
        fill(&handle, 3);
        let id = handle.add(NewMessage::new().extra("carrierFee", "0.1000000000000000055511151231").unwrap());
        let response = get(&simulator, "/v1/messages");
        for row in handle.rows() {
            assert!(response.text().contains(&row.json), "{}\n{}", response.text(), row.json);
        }
        assert!(handle.row(&id).unwrap().json.contains("0.1000000000000000055511151231"));
        response.json();
    }
}

#[test]
fn an_extra_field_of_a_known_name_replaces_it() {
    let simulator = start();
    simulator.handle().add(NewMessage::new().extra("receivedAt", "\"soon\"").unwrap().extra("id", "17").unwrap());
    let row = get(&simulator, "/v1/messages").json()["data"][0].clone();
    assert_eq!((&row["receivedAt"], &row["id"]), (&json!("soon"), &json!(17)));
    assert_eq!(row.as_object().unwrap().len(), 11);
}

#[test]
fn rows_vanish_return_move_and_are_replaced() {
    let simulator = start();
    let handle = simulator.handle();
    fill(&handle, 4);
    assert!(handle.vanish("m2") && !handle.vanish("m2") && !handle.vanish("nobody"));
    assert_eq!(get(&simulator, "/v1/messages").ids(), ["m3", "m1", "m0"]);
    assert!(handle.relocate("m0", at(60_000)));
    let page = get(&simulator, "/v1/messages");
    assert_eq!(page.ids(), ["m0", "m3", "m1"]);
    assert_eq!(page.json()["data"][0]["receivedAt"], "2025-06-15T12:00:00.000Z");
    assert!(handle.restore("m2") && !handle.restore("m2"));
    handle.add(NewMessage::new().id("m3").body("new text").received_at(at(-5)));
    assert_eq!(get(&simulator, "/v1/messages").ids(), ["m0", "m2", "m1", "m3"]);
    assert_eq!(handle.row("m3").unwrap().body, "new text");
    assert_eq!(handle.all_rows().len(), 4);
    assert!(handle.rows().iter().all(|row| !row.vanished));
    handle.clear_messages();
    assert_eq!((handle.message_count(), get(&simulator, "/v1/messages").ids().len()), (0, 0));
}

#[test]
fn the_log_tells_what_was_asked_and_answered() {
    let simulator = start();
    let handle = simulator.handle();
    fill(&handle, 12);
    let first = get(&simulator, "/v1/messages?limit=4");
    handle.advance(Duration::from_millis(1250));
    let cursor = first.next_cursor().unwrap();
    get(&simulator, &after("/v1/messages", &cursor));
    Request::new("GET", "/v1/numbers").send(&simulator);
    let log = handle.requests();
    assert_eq!(log.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((log[0].path.as_str(), log[0].query.as_str()), ("/v1/messages", "limit=4"));
    assert_eq!((log[0].status, log[0].rows, log[0].bytes), (Some(200), 4, first.body.len() as u64));
    assert_eq!((log[1].cursor.as_deref(), log[1].rows), (Some(cursor.as_str()), 8));
    assert_eq!((log[1].at.as_millis(), log[1].wall), (1250, at(1250)));
    assert_eq!(log[1].key.as_deref(), Some(handle.keys()[0].id.as_str()));
    assert_eq!((log[2].status, &log[2].key), (Some(401), &None));
    assert_eq!(handle.requests_after(2).len(), 1);
    let counters = handle.counters();
    assert_eq!((counters.requests, counters.rows, counters.by_status[&200]), (3, 12, 2));
    handle.clear_requests();
    assert_eq!((handle.requests().len(), handle.counters().requests), (0, 0));
}

#[test]
fn the_busiest_stretch_is_found() {
    let simulator = start();
    let handle = simulator.handle();
    for pause in [0, 400, 400, 300, 5000, 999, 1] {
        handle.advance(Duration::from_millis(pause));
        get(&simulator, "/v1/messages");
    }
    let most = |ms| handle.max_requests_in_any(Duration::from_millis(ms));
    assert_eq!((most(1), most(1000), most(1001), most(1101), most(60_000)), (1, 3, 3, 4, 7));
}

#[test]
fn a_host_that_is_down_refuses_connections_and_comes_back() {
    let simulator = start();
    let handle = simulator.handle();
    // A task notices the change. Connections that are made before that are answered or closed.
    handle.set_listening(false);
    until(|| try_get(&simulator, "/v1/numbers") == Err(Broken::Refused));
    assert_eq!(try_get(&simulator, "/v1/numbers"), Err(Broken::Refused));
    handle.set_listening(true);
    until(|| try_get(&simulator, "/v1/numbers").is_ok());
    assert_eq!(get(&simulator, "/v1/numbers").status, 200);
}

#[test]
fn waiting_ends_with_the_condition() {
    let simulator = start();
    let handle = simulator.handle();
    let waiting = {
        let handle = handle.clone();
        std::thread::spawn(move || handle.wait_until_blocking(DEADLINE, |h| h.requests().len() == 2))
    };
    get(&simulator, "/v1/messages");
    get(&simulator, "/v1/messages");
    assert_eq!(waiting.join().unwrap(), Ok(()));
    let never = handle.wait_until_blocking(Duration::from_millis(5), |_| false);
    assert_eq!(never, Err(TimedOut));
}

#[tokio::test]
async fn it_runs_on_the_runtime_of_a_test_and_ends_with_all_connections() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let (handle, url) = (simulator.handle(), simulator.url());
    let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    let simulator = tokio::task::spawn_blocking(move || {
        get(&simulator, "/v1/messages");
        simulator
    });
    handle.wait_until(DEADLINE, |handle| handle.counters().requests == 1).await.unwrap();
    let never = handle.wait_until(Duration::from_millis(5), |_| false).await;
    assert_eq!(never, Err(TimedOut));
    let mut open = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    open.set_read_timeout(Some(DEADLINE)).unwrap();
    simulator.await.unwrap().shutdown().await;
    let end = open.read(&mut [0]);
    assert!(
        end.as_ref().map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |count| *count == 0),
        "{end:?}"
    );
    assert_eq!(handle.counters().requests, 1, "what was seen can be read afterwards");
}

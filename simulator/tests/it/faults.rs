//! Tests of every fault, and of the rules that decide on which request a fault acts.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use joltsms_simulator::{
    BadRow, Effect, Ending, Malformed, NewMessage, Place, RateHeaders, Rule, Simulator, WrongType,
};
use serde_json::{Value, json};

use crate::client::{Broken, DEADLINE, Request, Response, after, at, fill, get, start, try_get};

const MESSAGES: &str = "/v1/messages";

/// Returns a simulator with three messages, and with this effect on the next request.
fn facing(effect: Effect) -> Simulator {
    let simulator = start();
    fill(&simulator.handle(), 3);
    simulator.handle().add_fault(Rule::once(effect));
    simulator
}

/// Returns the first page as the effect changes it. Checks that the second request is answered as if there had been no
/// effect.
fn page_with(effect: Effect) -> Response {
    let simulator = facing(effect);
    let page = get(&simulator, MESSAGES);
    assert_eq!(get(&simulator, MESSAGES).ids(), ["m2", "m1", "m0"]);
    page
}

fn broken_by(effect: Effect) -> Broken {
    let simulator = facing(effect);
    let broken = try_get(&simulator, MESSAGES).expect_err("the answer must not arrive");
    assert_eq!(get(&simulator, MESSAGES).ids(), ["m2", "m1", "m0"]);
    broken
}

/// Returns the bytes of an unspoiled answer on the connection.
fn whole() -> Vec<u8> {
    let simulator = start();
    fill(&simulator.handle(), 3);
    let impossible = Effect::Break { at: Place::Answer(1 << 40), ending: Ending::Close };
    simulator.handle().add_fault(Rule::once(impossible));
    let response = get(&simulator, MESSAGES);
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (name, value) in &response.headers {
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    [&head, &b"\r\n"[..], &response.body].concat()
}

#[test]
fn status_with_the_documented_json() {
    for (status, code) in [
        (401, "UNAUTHORIZED"),
        (403, "SESSION_REQUIRED"),
        (404, "NOT_FOUND"),
        (418, "I_M_A_TEAPOT"),
        (429, "RATE_LIMIT_EXCEEDED"),
        (500, "INTERNAL_ERROR"),
        (503, "SERVICE_UNAVAILABLE"),
    ] {
        let response = page_with(Effect::status(status));
        assert_eq!((response.status, &response.json()["error"]), (status, &json!(code)));
        assert_eq!(response.header("x-ratelimit-remaining"), Some("119"));
        assert_eq!(response.header("retry-after"), (status == 429).then_some("60"));
    }
    assert_eq!(page_with(Effect::status(204)).body, b"");
}

#[test]
fn status_with_html() {
    for status in [200, 403, 429, 502] {
        let response = page_with(Effect::html(status));
        assert_eq!((response.status, response.header("content-type")), (status, Some("text/html; charset=UTF-8")));
        assert!(response.text().starts_with("<!DOCTYPE html>"));
    }
}

#[test]
fn status_with_nothing() {
    let response = page_with(Effect::Status { status: 500, body: joltsms_simulator::ErrorBody::Empty });
    assert_eq!((response.status, response.body.len(), response.header("content-type")), (500, 0, None));
}

#[test]
fn hang() {
    let simulator = facing(Effect::Hang);
    let request = Request::new("GET", MESSAGES).bearer(simulator.key()).patience(200);
    assert_eq!(request.try_send(&simulator).unwrap_err(), Broken::Silent(Vec::new()));
    assert_eq!(simulator.handle().requests()[0].status, None);
    assert_eq!(get(&simulator, MESSAGES).status, 200);
}

#[test]
fn reset() {
    assert_eq!(broken_by(Effect::reset()), Broken::Reset(Vec::new()));
}

#[test]
fn close_without_an_answer() {
    let simulator = facing(Effect::Break { at: Place::Answer(0), ending: Ending::Close });
    assert_eq!(try_get(&simulator, MESSAGES).unwrap_err(), Broken::Cut(Vec::new()));
    assert_eq!(simulator.handle().requests()[0].status, None);
}

#[test]
fn cut_at_any_byte() {
    let whole = whole();
    let head = whole.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    for length in [1, 9, head - 3, head, head + 1, whole.len() - 1] {
        let place = Place::Answer(length as u64);
        let cut = broken_by(Effect::Break { at: place, ending: Ending::Close });
        assert_eq!(cut, Broken::Cut(whole[..length].to_vec()), "{length}");
    }
    for length in [0, 1, 100] {
        assert_eq!(broken_by(Effect::cut(length)), Broken::Cut(whole[..head + length as usize].to_vec()), "{length}");
    }
}

#[test]
fn reset_in_the_body() {
    let Broken::Reset(received) = broken_by(Effect::Break { at: Place::Body(10), ending: Ending::Reset }) else {
        panic!("not reset");
    };
    // A reset may overtake bytes that were sent before it, but no byte beyond the planned place is ever sent.
    assert!(whole().starts_with(&received) && received.len() < whole().len());
}

#[test]
fn silence_in_the_body() {
    let simulator = facing(Effect::Break { at: Place::Body(10), ending: Ending::Silence });
    let request = Request::new("GET", MESSAGES).bearer(simulator.key()).patience(200);
    let Broken::Silent(received) = request.try_send(&simulator).unwrap_err() else { panic!("not silent") };
    assert!(received.ends_with(b"\r\n\r\n{\"data\":[{"), "{}", String::from_utf8_lossy(&received));
}

#[test]
fn a_break_beyond_the_end_spoils_neither_this_answer_nor_the_next() {
    let simulator = facing(Effect::Break { at: Place::Answer(whole().len() as u64 + 100), ending: Ending::Close });
    let mut stream = TcpStream::connect(simulator.url().strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    for _ in 0..3 {
        let request =
            format!("GET {MESSAGES} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", simulator.key());
        stream.write_all(request.as_bytes()).unwrap();
        let mut received = Vec::new();
        while !received.ends_with(b"\"limit\":10}}") {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "cut: {}", String::from_utf8_lossy(&received));
            received.extend_from_slice(&buffer[..count]);
        }
    }
    assert_eq!(simulator.handle().requests().len(), 3, "all on one connection");
}

#[test]
fn not_http() {
    assert!(matches!(broken_by(Effect::NotHttp), Broken::NotHttp(bytes) if bytes.starts_with(b"220 ")));
}

#[test]
fn latency() {
    let simulator = facing(Effect::Latency(Duration::from_secs(7)));
    let request = Request::new("GET", MESSAGES).bearer(simulator.key()).patience(200);
    assert_eq!(request.try_send(&simulator).unwrap_err(), Broken::Silent(Vec::new()));

    simulator.handle().add_fault(Rule::once(Effect::Latency(Duration::from_secs(7))));
    let handle = simulator.handle();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| get(&simulator, MESSAGES));
        handle.wait_until_blocking(DEADLINE, |handle| handle.requests().len() == 2).unwrap();
        handle.advance(Duration::from_secs(7));
        assert_eq!(answer.join().unwrap().ids().len(), 3);
    });
    // This part of the test uses a real clock, in real time.
    let simulator = Simulator::start_in_background(joltsms_simulator::Options::default()).unwrap();
    simulator.handle().add_fault(Rule::once(Effect::Latency(Duration::from_millis(60))));
    #[expect(clippy::disallowed_methods, reason = "a real delay is measured")]
    let begin = Instant::now();
    get(&simulator, MESSAGES);
    assert!(begin.elapsed() >= Duration::from_millis(60));
}

#[test]
fn malformed_json() {
    let sound = get(&facing(Effect::Latency(Duration::ZERO)), MESSAGES).body;
    for kind in [Malformed::Half, Malformed::Trailing, Malformed::NotUtf8, Malformed::Empty] {
        let response = page_with(Effect::Malformed(kind));
        assert_eq!(response.status, 200);
        assert!(serde_json::from_slice::<Value>(&response.body).is_err(), "{kind:?}");
        assert_eq!(response.header("content-length"), Some(response.body.len().to_string().as_str()));
        match kind {
            Malformed::Half => assert_eq!(response.body, sound[..sound.len() / 2]),
            Malformed::Trailing => assert!(response.body.starts_with(&sound)),
            Malformed::NotUtf8 => assert!(std::str::from_utf8(&response.body).is_err()),
            Malformed::Empty => assert_eq!(response.body, b""),
        }
    }
}

#[test]
fn huge_body() {
    const SIZE: u64 = 40 << 20;
    let simulator = facing(Effect::HugeBody(SIZE));
    let response = get(&simulator, MESSAGES);
    assert_eq!(response.body.len() as u64, SIZE);
    assert_eq!(response.ids(), ["m2", "m1", "m0"]);
    assert_eq!(simulator.handle().requests()[0].bytes, SIZE);
}

#[test]
fn wrong_types() {
    type Check = fn(&Value) -> bool;
    let checks: [(WrongType, Check); 9] = [
        (WrongType::Page, Value::is_array),
        (WrongType::Data, |page| page["data"]["rows"].is_array()),
        (WrongType::DataNull, |page| page.get("data") == Some(&Value::Null)),
        (WrongType::DataMissing, |page| page.get("data").is_none() && page["meta"].is_object()),
        (WrongType::Meta, |page| page["meta"].is_string()),
        (WrongType::MetaMissing, |page| page.get("meta").is_none() && page["data"].is_array()),
        (WrongType::HasMore, |page| page["meta"]["hasMore"] == "false"),
        (WrongType::NextCursor, |page| page["meta"]["nextCursor"].is_number()),
        (WrongType::Counts, |page| page["meta"]["total"].is_string() && page["meta"]["limit"].is_string()),
    ];
    for (kind, check) in checks {
        let page = page_with(Effect::WrongType(kind)).json();
        assert!(check(&page), "{kind:?}: {page}");
    }
}

#[test]
fn bad_rows() {
    type Check = fn(&Value) -> bool;
    let checks: [(BadRow, Check); 12] = [
        (BadRow::WithoutId, |row| row.is_object() && row.get("id").is_none()),
        (BadRow::NullId, |row| row.get("id") == Some(&Value::Null)),
        (BadRow::NumericId, |row| row["id"].is_number()),
        (BadRow::EmptyId, |row| row["id"] == ""),
        (BadRow::WithoutTime, |row| row.get("receivedAt").is_none() && row.get("ingestedAt").is_none()),
        (BadRow::NullTime, |row| row.get("receivedAt") == Some(&Value::Null) && row["ingestedAt"].is_null()),
        (BadRow::UnreadableTime, |row| {
            row["receivedAt"].as_str().is_some_and(|text| text.parse::<Timestamp>().is_err())
        }),
        (BadRow::NumericTime, |row| row["receivedAt"].is_number() && row["ingestedAt"].is_number()),
        (BadRow::WrongFields, |row| row["body"].is_object() && row["from"].is_object()),
        (BadRow::Text, Value::is_string),
        (BadRow::Null, Value::is_null),
        (BadRow::List, Value::is_array),
    ];
    for (kind, check) in checks {
        for (row, place) in [(0, 0), (1, 1), (99, 2)] {
            let page = page_with(Effect::BadRow { row, kind }).json();
            let rows = page["data"].as_array().unwrap();
            assert!(check(&rows[place]), "{kind:?}: {}", rows[place]);
            let sound = ["m2", "m1", "m0"];
            for other in (0..3).filter(|other| *other != place) {
                assert_eq!(rows[other]["id"], sound[other], "{kind:?}");
            }
        }
    }
    assert_eq!(page_with(Effect::bad_row(BadRow::Null)).json()["data"][0], Value::Null);
}

#[test]
fn rows_that_are_no_json() {
    let sound = page_with(Effect::Latency(Duration::ZERO)).body;
    let text = String::from_utf8(sound.clone()).unwrap();
    let row = |id: &str| {
        let rows: Vec<&serde_json::value::RawValue> =
            serde_json::from_str::<HashMap<&str, &serde_json::value::RawValue>>(&text)
                .and_then(|page| serde_json::from_str(page["data"].get()))
                .unwrap();
        rows.into_iter().find(|row| row.get().contains(&format!("\"id\":\"{id}\""))).unwrap().get().to_owned()
    };
    for kind in [
        BadRow::RawControl,
        BadRow::BadByte,
        BadRow::BadEscape,
        BadRow::HalfCharacter,
        BadRow::NotANumber,
        BadRow::LeadingZero,
        BadRow::TrailingComma,
        BadRow::OpenQuote,
        BadRow::CutOff,
    ] {
        let body = page_with(Effect::BadRow { row: 1, kind }).body;
        assert!(serde_json::from_slice::<Value>(&body).is_err(), "{kind:?}");
        assert_eq!(std::str::from_utf8(&body).is_err(), kind == BadRow::BadByte, "{kind:?}");
        let shown = String::from_utf8_lossy(&body);
        for other in ["m2", "m0"] {
            assert!(shown.contains(&row(other)), "{kind:?}: {shown}");
        }
        let (_, meta) = text.split_once("\"meta\"").unwrap();
        assert!(shown.ends_with(meta), "{kind:?}: {shown}");
    }
}

#[test]
fn reversed_rows() {
    assert_eq!(page_with(Effect::ReverseRows).ids(), ["m0", "m1", "m2"]);
}

#[test]
fn empty_pages() {
    let simulator = start();
    fill(&simulator.handle(), 5);
    simulator.handle().add_faults([false, true].map(|more| Rule::once(Effect::EmptyPage { more })));
    let [last, more, sound] = [(); 3].map(|()| get(&simulator, "/v1/messages?limit=2"));
    assert_eq!((last.ids().len(), last.next_cursor(), &last.json()["meta"]["hasMore"]), (0, None, &json!(false)));
    assert_eq!((more.ids().len(), &more.json()["meta"]["hasMore"]), (0, &json!(true)));
    assert_eq!(more.next_cursor(), sound.next_cursor());
    assert_eq!(sound.ids().len(), 2);
}

#[test]
fn cursor_faults() {
    let simulator = start();
    let handle = simulator.handle();
    fill(&handle, 9);
    let cursor = get(&simulator, "/v1/messages?limit=2").next_cursor().unwrap();
    let target = after("/v1/messages?limit=2", &cursor);
    let with = |effect: Effect| {
        handle.add_fault(Rule::once(effect));
        let page = get(&simulator, &target);
        assert_eq!(get(&simulator, &target).ids(), ["m6", "m5"]);
        page
    };
    let repeated = with(Effect::RepeatCursor);
    assert_eq!((repeated.next_cursor().as_deref(), repeated.ids().len()), (Some(cursor.as_str()), 2));
    let without = with(Effect::MoreWithoutCursor);
    assert_eq!((without.next_cursor(), &without.json()["meta"]["hasMore"]), (None, &json!(true)));
    assert_eq!(with(Effect::NextCursor("elsewhere".into())).next_cursor().as_deref(), Some("elsewhere"));
    let refused = with(Effect::RefuseCursor);
    assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("INVALID_CURSOR")));
    // A request without a cursor has no cursor to repeat or to refuse, so the rule waits.
    handle.add_fault(Rule::once(Effect::RefuseCursor));
    assert_eq!(get(&simulator, MESSAGES).status, 200);
    assert_eq!(get(&simulator, &target).status, 400);
}

#[test]
fn rate_headers() {
    let told = |kind| {
        let response = page_with(Effect::RateHeaders(kind));
        ["limit", "remaining", "reset"].map(|name| response.header(&format!("X-RateLimit-{name}")).map(str::to_owned))
    };
    let text = |values: [&str; 3]| values.map(|value| Some(value.to_owned()));
    assert_eq!(told(RateHeaders::Missing), [None, None, None]);
    assert_eq!(told(RateHeaders::Garbage), text(["lots", "some", "soon"]));
    assert_eq!(told(RateHeaders::Fractional), text(["120.0", "7.5", "41.25"]));
    assert_eq!(told(RateHeaders::Zero), text(["0", "0", "0"]));
    assert_eq!(told(RateHeaders::Negative), text(["-1", "-1", "-1"]));
    assert_eq!(told(RateHeaders::Enormous), text(["99999999999999999999999"; 3]));
    let epoch = (at(0).as_second() + 60).to_string();
    assert_eq!(told(RateHeaders::Epoch), text(["120", "119", &epoch]));
}

#[test]
fn retry_after_and_any_header() {
    assert_eq!(page_with(Effect::RetryAfter("soon".into())).header("retry-after"), Some("soon"));
    let gone = page_with(Effect::Header { name: "Date".into(), value: None });
    assert_eq!(gone.header("date"), None);
    let set = page_with(Effect::Header { name: "X-RateLimit-Remaining".into(), value: Some("3".into()) });
    assert_eq!(set.header("x-ratelimit-remaining"), Some("3"));
    assert_eq!(set.headers.iter().filter(|(name, _)| name == "x-ratelimit-remaining").count(), 1);
}

#[test]
fn rows_that_appear_before_the_answer() {
    let rows = |effect| {
        let simulator = facing(effect);
        simulator.handle().advance(Duration::from_secs(60));
        let page = get(&simulator, MESSAGES).json();
        assert_eq!(get(&simulator, MESSAGES).json(), page, "once");
        page["data"].as_array().unwrap().clone()
    };
    let added = rows(Effect::Add(vec![NewMessage::new().id("a").received_at(at(1)), NewMessage::new().id("b")]));
    let ids: Vec<&str> = added.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["b", "m2", "m1", "a", "m0"]);

    let late = rows(Effect::LateRow(Duration::from_millis(59_500)));
    assert_eq!((&late[0]["id"], &late[2]["receivedAt"]), (&json!("m2"), &json!("2025-06-15T12:00:00.500Z")));
    assert_eq!(late[2]["ingestedAt"], "2025-06-15T12:01:00.000Z");

    let future = rows(Effect::FutureRow(Duration::from_secs(86_400)));
    assert_eq!((future.len(), &future[0]["receivedAt"]), (4, &json!("2025-06-16T12:01:00.000Z")));

    let equal = rows(Effect::EqualRow);
    assert_eq!((equal.len(), &equal[0]["receivedAt"]), (4, &equal[1]["receivedAt"]));
}

#[test]
fn rows_that_vanish_or_move_before_the_answer() {
    let vanished = facing(Effect::Vanish(vec!["m1".into(), "nobody".into()]));
    assert_eq!([get(&vanished, MESSAGES).ids(), get(&vanished, MESSAGES).ids()], [["m2", "m0"], ["m2", "m0"]]);
    let newest = facing(Effect::VanishNewest(2));
    assert_eq!([get(&newest, MESSAGES).ids(), get(&newest, MESSAGES).ids()], [["m0"], ["m0"]]);
    let reordered = facing(Effect::Reorder(2));
    let order = ["m1", "m2", "m0"];
    assert_eq!([get(&reordered, MESSAGES).ids(), get(&reordered, MESSAGES).ids()], [order, order]);
}

#[test]
fn effects_join() {
    let simulator = start();
    let rule = Rule::once(Effect::html(503)).and(Effect::RetryAfter("9".into()));
    simulator.handle().add_fault(rule.and(Effect::RateHeaders(RateHeaders::Missing)));
    let response = get(&simulator, MESSAGES);
    assert_eq!((response.status, response.header("retry-after")), (503, Some("9")));
    assert_eq!(response.header("x-ratelimit-limit"), None);
}

/// Returns the statuses of this many requests. A rule that acts answers with a status of its own.
fn statuses(simulator: &Simulator, count: usize) -> Vec<u16> {
    (0..count).map(|_| get(simulator, MESSAGES).status).collect()
}

#[test]
fn rules_act_in_their_order_as_often_as_they_say() {
    let simulator = start();
    let handle = simulator.handle();
    handle.add_faults([Rule::once(Effect::status(500)).times(2), Rule::once(Effect::status(502))]);
    assert_eq!(statuses(&simulator, 4), [500, 500, 502, 200]);
    let number = handle.add_fault(Rule::always(Effect::status(503)));
    assert_eq!(statuses(&simulator, 3), [503, 503, 503]);
    let log = handle.requests();
    assert_eq!(
        log.iter().map(|entry| entry.fault).collect::<Vec<_>>(),
        [Some(1), Some(1), Some(2), None, Some(3), Some(3), Some(3)]
    );
    assert_eq!((handle.counters().faults, handle.faults()[2].2), (6, 3));
    assert!(handle.remove_fault(number) && !handle.remove_fault(number));
    assert_eq!(statuses(&simulator, 1), [200]);
    handle.add_fault(Rule::always(Effect::status(503)));
    handle.clear_faults();
    assert_eq!((statuses(&simulator, 1), handle.faults().len()), (vec![200], 0));
}

#[test]
fn rules_hit_whom_they_name() {
    let simulator = start();
    let handle = simulator.handle();
    fill(&handle, 12);
    let cursor = get(&simulator, MESSAGES).next_cursor().unwrap();
    let second = after(MESSAGES, &cursor);
    let status = |target: &str| get(&simulator, target).status;
    let only = |rule: Rule| {
        handle.clear_faults();
        handle.add_fault(rule);
    };
    only(Rule::always(Effect::status(500)).path(MESSAGES));
    assert_eq!((status(MESSAGES), status("/v1/numbers")), (500, 200));
    only(Rule::always(Effect::status(500)).path("/v1/num*"));
    assert_eq!((status(MESSAGES), status("/v1/numbers")), (200, 500));
    only(Rule::always(Effect::status(500)).cursor(true));
    assert_eq!((status(MESSAGES), status(&second)), (200, 500));
    only(Rule::always(Effect::status(500)).cursor(false));
    assert_eq!((status(MESSAGES), status(&second)), (500, 200));
    only(Rule::always(Effect::status(500)).from_nth(3));
    assert_eq!(statuses(&simulator, 4), [200, 200, 500, 500]);
    let mut post = Rule::always(Effect::status(500));
    post.when.method = Some("POST".into());
    only(post);
    let posted = Request::new("POST", MESSAGES).bearer(simulator.key()).send(&simulator).status;
    assert_eq!((status(MESSAGES), posted), (200, 500));

    let other = handle.create_key("other", None).unwrap();
    for name in [&other.id, &other.secret, "other"] {
        only(Rule::always(Effect::status(500)).key(name));
        let theirs = Request::new("GET", MESSAGES).bearer(&other.secret).send(&simulator).status;
        assert_eq!((status(MESSAGES), theirs), (200, 500));
    }
}

#[test]
fn rules_take_their_share() {
    let counts = [7, 7, 8].map(|seed| {
        let options = joltsms_simulator::Options { seed, ..Default::default() };
        let simulator = Simulator::start_in_background(options).unwrap();
        simulator.handle().set_switches(|switches| switches.limit = 1000);
        simulator.handle().add_fault(Rule::always(Effect::status(500)).share(0.25));
        statuses(&simulator, 200)
    });
    let failed = counts[0].iter().filter(|status| **status == 500).count();
    assert!((20..80).contains(&failed), "{failed}");
    assert_eq!(counts[0], counts[1], "the seed decides");
    assert_ne!(counts[0], counts[2]);
}

#[test]
fn a_page_fault_waits_for_a_page() {
    let simulator = start();
    let handle = simulator.handle();
    fill(&handle, 3);
    handle.spend(120);
    handle.add_fault(Rule::once(Effect::ReverseRows));
    assert_eq!(get(&simulator, MESSAGES).status, 429);
    assert_eq!(Request::new("GET", MESSAGES).send(&simulator).status, 401);
    handle.reset_limits();
    assert_eq!(get(&simulator, "/v1/numbers/nowhere").status, 404);
    assert_eq!(get(&simulator, MESSAGES).ids(), ["m0", "m1", "m2"]);
}

#[test]
fn a_fault_costs_what_the_request_costs() {
    let simulator = facing(Effect::status(503));
    get(&simulator, MESSAGES);
    assert_eq!(get(&simulator, MESSAGES).header("x-ratelimit-remaining"), Some("118"));
}

#[test]
fn a_script_can_be_written_as_json() {
    let script = r#"[
        {"effects": ["hang"], "when": {"path": "/v1/messages", "cursor": true, "skip": 2, "share": 0.5}},
        {"effects": [{"latency": "1500ms"}, {"status": {"status": 503, "body": "html"}}, {"retryAfter": "3"}], "times": null},
        {"effects": [{"break": {"at": {"body": 20}, "ending": "reset"}}], "times": 3},
        {"effects": [{"badRow": {"kind": "numericId"}}, {"add": [{"to": "+16505550100", "extra": {"n": 1.50}}]}]}
    ]"#;
    let rules: Vec<Rule> = serde_json::from_str(script).unwrap();
    assert_eq!(rules.iter().map(|rule| rule.times).collect::<Vec<_>>(), [Some(1), None, Some(3), Some(1)]);
    assert!(matches!(rules[1].effects[0], Effect::Latency(latency) if latency == Duration::from_millis(1500)));
    let again: Vec<Rule> = serde_json::from_str(&serde_json::to_string(&rules).unwrap()).unwrap();
    assert_eq!(format!("{again:?}"), format!("{rules:?}"));
    let Effect::Add(messages) = &again[3].effects[1] else { panic!("{again:?}") };
    assert_eq!(messages[0].extra["n"].get(), "1.50");
    for wrong in
        [r#"{"effects": ["hangs"]}"#, r#"{"effects": [], "time": 2}"#, r#"{"effects": [], "when": {"paths": "/"}}"#]
    {
        assert!(serde_json::from_str::<Rule>(wrong).is_err(), "{wrong}");
    }
}

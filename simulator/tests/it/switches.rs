//! Tests of every switch with each of its values. (The switches for keys and for the rate limit are tested in `keys`
//! and `limit`.)

use std::time::Duration;

use joltsms_simulator::{
    CursorKind, CursorText, Ids, Missing, NewMessage, NewNumber, Options, Simulator, Since, SortBy, Switches, Ties,
    UnknownNumber,
};
use serde_json::json;

use crate::client::{START, after, at, fill, get, session, start, walk, with};

/// Returns a simulator with three messages: `early` was received first and appeared last; `mid` and `late` came in
/// time.
fn with_a_late_message(switches: Switches) -> Simulator {
    let simulator = with(switches);
    simulator.handle().add_many([
        NewMessage::new().id("mid").received_at(at(1000)).ingested_at(at(1000)),
        NewMessage::new().id("late").received_at(at(2000)).ingested_at(at(2000)),
        NewMessage::new().id("early").received_at(at(0)).ingested_at(at(3000)),
    ]);
    simulator
}

#[test]
fn sort_by() {
    for (sort_by, expected) in
        [(SortBy::ReceivedAt, ["late", "mid", "early"]), (SortBy::IngestedAt, ["early", "late", "mid"])]
    {
        let simulator = with_a_late_message(Switches { sort_by, ..Switches::default() });
        assert_eq!(walk(&simulator, "/v1/messages?limit=1"), expected);
        // The result is the same if the switch is changed while messages are there.
        let other = with_a_late_message(Switches::default());
        other.handle().set_switches(|switches| switches.sort_by = sort_by);
        assert_eq!(walk(&other, "/v1/messages?limit=1"), expected);
    }
}

#[test]
fn ties() {
    for (ties, expected) in [
        (Ties::IdDescending, ["c", "b", "a"]),
        (Ties::IdAscending, ["a", "b", "c"]),
        (Ties::NewestFirst, ["c", "a", "b"]),
        (Ties::OldestFirst, ["b", "a", "c"]),
    ] {
        let simulator = with(Switches { ties, ..Switches::default() });
        simulator.handle().add_many(["b", "a", "c"].map(|id| NewMessage::new().id(id).received_at(at(0))));
        assert_eq!(get(&simulator, "/v1/messages").ids(), expected);
        assert_eq!(walk(&simulator, "/v1/messages?limit=1"), expected);
    }
}

#[test]
fn disorder() {
    let disorder = Duration::from_secs(10);
    let simulator = with(Switches { disorder, limit: 1000, ..Switches::default() });
    fill(&simulator.handle(), 100);
    let walked = walk(&simulator, "/v1/messages");
    let place = |id: &String| 99 - id[1..].parse::<i64>().unwrap();
    let displaced: Vec<i64> = walked.iter().enumerate().map(|(index, id)| place(id) - index as i64).collect();
    assert!(displaced.iter().any(|by| *by != 0));
    assert!(displaced.iter().all(|by| by.abs() <= 20));
    let (mut sorted, mut all) = (walked.clone(), (0..100).map(|n| format!("m{n}")).collect::<Vec<_>>());
    sorted.sort_unstable();
    all.sort_unstable();
    assert_eq!(sorted, all, "every message is shown once");
    assert_eq!(walk(&simulator, "/v1/messages?limit=3"), walked, "and stays where it is");
}

#[test]
fn since() {
    for (since, expected) in [
        (Since::ReceivedAt, &["late"][..]),
        (Since::IngestedAt, &["late", "early"]),
        (Since::Ignored, &["late", "mid", "early"]),
        (Since::MatchesNothing, &[]),
    ] {
        let simulator = with_a_late_message(Switches { since, ..Switches::default() });
        let target = "/v1/messages?since=2025-06-15T12:00:01.000Z";
        assert_eq!(get(&simulator, target).ids(), expected, "{since:?}");
        assert_eq!(walk(&simulator, &format!("{target}&limit=1")), expected, "{since:?}");
        assert_eq!(get(&simulator, target).json()["meta"]["total"], expected.len());
        assert_eq!(get(&simulator, "/v1/messages").ids().len(), 3);
    }
}

#[test]
fn since_inclusive() {
    for (since_inclusive, expected) in [(false, &["late"][..]), (true, &["late", "mid"])] {
        let simulator = with_a_late_message(Switches { since_inclusive, ..Switches::default() });
        assert_eq!(get(&simulator, "/v1/messages?since=2025-06-15T12:00:01.000Z").ids(), expected);
    }
}

#[test]
fn unknown_number() {
    let simulator = with(Switches { unknown_number: UnknownNumber::EmptyList, ..Switches::default() });
    fill(&simulator.handle(), 3);
    assert_eq!(get(&simulator, "/v1/messages?numberId=nowhere").ids().len(), 0);
    simulator.handle().set_switches(|switches| switches.unknown_number = UnknownNumber::NotFound);
    assert_eq!(get(&simulator, "/v1/messages?numberId=nowhere").status, 404);
}

#[test]
fn cursor_of_a_vanished_row() {
    for (cursor, status, expected) in [
        (CursorKind::Kept, 200, &["m1", "m0"][..]),
        (CursorKind::RefusedWithoutRow, 400, &[]),
        (CursorKind::EmptyWithoutRow, 200, &[]),
    ] {
        let simulator = with(Switches { cursor, ..Switches::default() });
        let handle = simulator.handle();
        fill(&handle, 5);
        let text = get(&simulator, "/v1/messages?limit=3").next_cursor().unwrap();
        let second = || get(&simulator, &after("/v1/messages", &text));
        assert_eq!(second().ids(), ["m1", "m0"], "{cursor:?}: the row is there");
        handle.vanish("m2");
        let answer = second();
        assert_eq!(answer.status, status, "{cursor:?}");
        match status {
            200 => assert_eq!(
                (answer.ids(), answer.next_cursor()),
                (expected.iter().map(ToString::to_string).collect(), None)
            ),
            _ => assert_eq!(answer.json()["error"], "INVALID_CURSOR"),
        }
        handle.restore("m2");
        assert_eq!(second().ids(), ["m1", "m0"], "{cursor:?}: the row is back");
    }
}

#[test]
fn cursor_lifetime() {
    let simulator = with(Switches { cursor_lifetime: Some(Duration::from_secs(5)), ..Switches::default() });
    let handle = simulator.handle();
    fill(&handle, 5);
    let text = get(&simulator, "/v1/messages?limit=3").next_cursor().unwrap();
    let second = || get(&simulator, &after("/v1/messages?limit=1", &text)).status;
    handle.advance(Duration::from_millis(4999));
    assert_eq!(second(), 200);
    handle.advance(Duration::from_millis(1));
    assert_eq!(second(), 400);
    handle.set_switches(|switches| switches.cursor_lifetime = None);
    assert_eq!(second(), 200);
}

#[test]
fn cursor_text() {
    let simulator = with(Switches { cursor_text: CursorText::Awkward, ..Switches::default() });
    fill(&simulator.handle(), 15);
    assert_eq!(walk(&simulator, "/v1/messages?limit=4").len(), 15);
    let text = get(&simulator, "/v1/messages").next_cursor().unwrap();
    // This is what a client without percent-encoding would send, as far as it fits into a request line.
    let careless =
        format!("/v1/messages?cursor={}", text.replace(' ', "%20").replace('é', "%C3%A9").replace('#', "%23"));
    assert_eq!(get(&simulator, &careless).status, 400);
    simulator.handle().set_switches(|switches| switches.cursor_text = CursorText::Documented);
    assert_eq!(get(&simulator, &after("/v1/messages", &text)).status, 400);
}

#[test]
fn last_cursor() {
    for (last_cursor, shown) in [(Missing::Null, true), (Missing::Absent, false)] {
        let simulator = with(Switches { last_cursor, ..Switches::default() });
        let meta = get(&simulator, "/v1/messages").json()["meta"].clone();
        assert_eq!(meta.as_object().unwrap().contains_key("nextCursor"), shown);
        assert_eq!(meta["hasMore"], false);
        fill(&simulator.handle(), 11);
        assert!(get(&simulator, "/v1/messages").next_cursor().is_some());
    }
}

#[test]
fn empty_fields() {
    for (empty_fields, shown) in [(Missing::Null, true), (Missing::Absent, false)] {
        let simulator = with(Switches { empty_fields, ..Switches::default() });
        simulator.handle().add(NewMessage::new().body("no code in here"));
        let row = get(&simulator, "/v1/messages").json()["data"][0].clone();
        assert_eq!(row.as_object().unwrap().get("parsedCode"), shown.then_some(&json!(null)));
        // A shared number has no subscription of this account.
        simulator.handle().add_number(NewNumber { shared: true, ..NewNumber::default() });
        let number = get(&simulator, "/v1/numbers?scope=shared").json()["data"][0].clone();
        for field in ["displayStatus", "notes", "expiresAt", "nextBillingDate", "subscriptionId", "autoRenewEnabled"] {
            assert_eq!(number.as_object().unwrap().get(field), shown.then_some(&json!(null)), "{field}");
        }
        simulator.handle().add(NewMessage::new().body("code 1").code("1"));
        assert_eq!(
            get(&simulator, "/v1/messages").json()["data"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|row| row["parsedCode"] == "1")
                .count(),
            1
        );
    }
}

#[test]
fn pretty() {
    let [plain, pretty] = [false, true].map(|pretty| {
        let simulator = with(Switches { pretty, ..Switches::default() });
        simulator.handle().add_many([NewMessage::new().id("one").body("b"), NewMessage::new().id("two").body("b")]);
        ["/v1/messages", "/v1/numbers", "/nowhere", "/v1/messages?limit=1", "/v1/messages?from=nobody"]
            .map(|target| get(&simulator, target))
    });
    for (plain, pretty) in plain.iter().zip(&pretty) {
        assert_eq!(plain.json(), pretty.json());
        assert!(!plain.text().contains('\n'));
        // The text is indented exactly as serde's printer does it, including the rows. The printer does not keep the
        // order of fields, so the lines are sorted.
        let lines = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(|line| line.trim_end_matches(',').to_owned()).collect();
            lines.sort_unstable();
            lines
        };
        assert_eq!(lines(pretty.text()), lines(&format!("{:#}", pretty.json())));
    }
}

#[test]
fn ids() {
    let shapes = |ids: Ids| {
        let simulator = with(Switches { ids, ..Switches::default() });
        let made = simulator.handle().add_many((0..20).map(|_| NewMessage::new()));
        made.iter().filter(|id| id.starts_with("msg_")).count()
    };
    assert_eq!((shapes(Ids::Uuid), shapes(Ids::Prefixed)), (0, 20));
    assert!((1..20).contains(&shapes(Ids::Mixed)));
}

#[test]
fn page_sizes() {
    let switches = Switches { page_default: 4, page_cap: 6, session_page_cap: 8, ..Switches::default() };
    let simulator = with(switches);
    fill(&simulator.handle(), 20);
    let size = |target: &str| get(&simulator, target).ids().len();
    assert_eq!((size("/v1/messages"), size("/v1/messages?limit=50")), (4, 6));
    assert_eq!(session(&simulator, "GET", "/v1/messages?limit=50", "").ids().len(), 8);
}

#[test]
fn date() {
    let simulator = start();
    let handle = simulator.handle();
    let date = || get(&simulator, "/v1/numbers").header("date").map(str::to_owned);
    assert_eq!(date().as_deref(), Some("Sun, 15 Jun 2025 12:00:00 GMT"));
    handle.set_switches(|switches| switches.date_skew = jiff::SignedDuration::from_secs(-3600));
    assert_eq!(date().as_deref(), Some("Sun, 15 Jun 2025 11:00:00 GMT"));
    assert_eq!(handle.now().to_string(), "2025-06-15T12:00:00Z", "rows are stamped without the skew");
    handle.set_switches(|switches| switches.date = false);
    assert_eq!(date(), None);
}

#[test]
fn the_clock_is_real_unless_it_is_manual() {
    let simulator = Simulator::start_in_background(Options::default()).unwrap();
    let handle = simulator.handle();
    let date = get(&simulator, "/v1/numbers").header("date").unwrap().to_owned();
    let date = jiff::fmt::rfc2822::parse(&date).unwrap().timestamp();
    assert!(date.duration_since(handle.now()).abs() < jiff::SignedDuration::from_secs(30));
    assert!(handle.now() > START.parse().unwrap());
    let before = handle.elapsed();
    handle.advance(Duration::from_secs(3600));
    assert!(handle.elapsed() >= before + Duration::from_secs(3600));
    let still = with(Switches::default()).handle();
    assert_eq!((still.now(), still.elapsed()), (at(0), Duration::ZERO));
}

#[test]
fn switches_survive_json() {
    let switches = Switches {
        cursor_lifetime: Some(Duration::from_millis(1500)),
        date_skew: jiff::SignedDuration::from_secs(-90),
        ties: Ties::NewestFirst,
        ..Switches::default()
    };
    let text = serde_json::to_string(&switches).unwrap();
    assert!(text.contains(r#""window":"1m""#), "{text}");
    assert_eq!(serde_json::from_str::<Switches>(&text).unwrap(), switches);
    assert!(serde_json::from_str::<Switches>(r#"{"prety": true}"#).is_err());
    assert_eq!(serde_json::from_str::<Switches>("{}").unwrap(), Switches::default());
}

//! Tests of a feed that behaves in ways that no documentation rules out: cursors lead nowhere, pages are empty, rows
//! are late, tied, dated ahead, gone, moved or unreadable.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use joltsms_simulator::{BadRow, CursorKind, Effect, NewMessage, Rule, SortBy, WrongType};

use crate::support::cases::side_by_side;
use crate::support::relay::Relay;
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::waiting::wait_until;

/// Faults during a catch-up, and the text with which the log reports them.
struct CatchUp {
    faults: Vec<Rule>,
    said: &'static str,
}

#[test]
fn a_catch_up_gets_over_pages_that_lead_nowhere() {
    let catch_up = |fault: Rule, said| CatchUp { faults: vec![fault], said };
    let once = |effect| Rule::once(effect).cursor(true);
    let cases = [
        ("the same cursor again", catch_up(once(Effect::RepeatCursor), "anomaly=\"no_progress\"")),
        ("the same cursor twice", catch_up(once(Effect::RepeatCursor).times(2), "anomaly=\"no_progress\"")),
        ("more without a cursor", catch_up(once(Effect::MoreWithoutCursor), "anomaly=\"no_progress\"")),
        ("an invented cursor", catch_up(once(Effect::NextCursor("x".to_owned())), "400: INVALID_CURSOR")),
        ("an empty page", catch_up(once(Effect::EmptyPage { more: false }), "anomaly=\"empty_page\"")),
        ("empty pages", catch_up(once(Effect::EmptyPage { more: false }).times(2), "anomaly=\"empty_page\"")),
        ("an empty page with more", catch_up(once(Effect::EmptyPage { more: true }), "")),
        ("a refused cursor", catch_up(once(Effect::RefuseCursor), "400: INVALID_CURSOR")),
        ("a cursor refused twice", catch_up(once(Effect::RefuseCursor).times(2), "anomaly=\"restarted\"")),
        ("the page upside down", catch_up(once(Effect::ReverseRows), "")),
        ("all pages upside down", catch_up(Rule::always(Effect::ReverseRows), "")),
    ];
    side_by_side(&cases, |CatchUp { faults, said }| {
        let scene = Scene::new();
        scene.add_past(35);
        scene.handle().add_faults(faults.clone());
        let relay = scene.setup_from_beginning().start();
        assert_eq!(relay.ids(35), scene.ids(), "complete and in order; the log:\n{}", relay.log());
        relay.wait_for_log(said);
        assert!(scene.handle().counters().faults > 0);
        scene.handle().clear_faults();
        let id = scene.add();
        assert_eq!(relay.ids(1), [id]);
        ends_with_nothing_more(relay);
    });
}

#[test]
fn the_newest_page_may_be_wrong_too() {
    let cases = [
        ("empty", Effect::EmptyPage { more: false }),
        ("empty with more", Effect::EmptyPage { more: true }),
        ("more without a cursor", Effect::MoreWithoutCursor),
        ("upside down", Effect::ReverseRows),
    ];
    side_by_side(&cases, |effect| {
        let scene = Scene::new();
        scene.add_past(25);
        scene.handle().add_fault(Rule::once(effect.clone()).cursor(false).times(2));
        let relay = scene.setup_from_beginning().start();
        assert_eq!(relay.ids(25), scene.ids(), "{}", relay.log());
        let last = scene.handle().add_fault(Rule::once(effect.clone()).cursor(false).times(5));
        let ids = [scene.add(), scene.add()];
        assert_eq!(relay.ids(2), ids);
        scene.wait_for_fault(last, 5);
        let id = scene.add();
        assert_eq!(relay.ids(1), [id]);
        ends_with_nothing_more(relay);
    });
}

#[test]
fn live_messages_do_not_wait_while_every_cursor_is_refused() {
    let scene = Scene::new();
    scene.add_past(35);
    scene.handle().add_fault(Rule::always(Effect::RefuseCursor));
    let relay = scene.setup_from_beginning().start();
    relay.wait_for_log_times("400: INVALID_CURSOR", 2);
    relay.wait_for_log("anomaly=\"restarted\"");
    let live = scene.add();
    assert_eq!(relay.ids(1), std::slice::from_ref(&live), "before the gap below it is read");
    scene.handle().clear_faults();
    let mut rest = scene.ids();
    rest.retain(|id| *id != live);
    assert_eq!(relay.ids(35), rest, "then the gap, in order");
    ends_with_nothing_more(relay);
}

#[test]
fn a_catch_up_outlives_its_cursors() {
    let scene = Scene::new();
    scene.add_past(35);
    let hangs = scene.handle().add_fault(Rule::always(Effect::Hang).cursor(true));
    let mut relay = scene.setup_from_beginning().start();
    scene.wait_for_fault(hangs, 1);
    relay.kill();
    scene.handle().clear_faults();
    // From now on, earlier cursors are refused as too old, and new messages move the borders of the pages.
    scene.handle().set_switches(|switches| switches.cursor_lifetime = Some(Duration::from_secs(60)));
    let live: Vec<String> = (0..7).map(|_| scene.add()).collect();
    let relay = scene.setup_from_beginning().start();
    assert_eq!(relay.ids(7), live, "these do not wait for the gap");
    assert_eq!(relay.ids(35), scene.ids()[..35]);
    relay.wait_for_log("the API refuses a cursor that it gave out: reading on another way kind=\"refused\"");
    relay.wait_for_log("reading older messages again from the newest one on anomaly=\"restarted\"");
    ends_with_nothing_more(relay);
}

/// Stops a catch-up in its middle, removes all messages that the catch-up has not read yet except `left` of them, and
/// lets the catch-up go on.
fn rows_vanish_under_a_catch_up(kind: CursorKind, left: usize) {
    let scene = Scene::with(|switches| switches.cursor = kind);
    scene.add_past(45);
    let handle = scene.handle();
    let before = scene.ids();
    let wait = handle.add_fault(Rule::always(Effect::Hang).cursor(true).from_nth(2));
    let mut relay = scene.setup_from_beginning().start();
    scene.wait_for_fault(wait, 1);
    relay.kill();
    // Twenty messages were read, and the cursor was made from the oldest of these.
    for id in &before[left..26] {
        assert!(handle.vanish(id));
    }
    handle.clear_faults();
    let relay = scene.setup_from_beginning().start();
    let expected = [&before[..left], &before[25..]].concat();
    let mut arrived = relay.ids(expected.len());
    relay.wait_for_log(match kind {
        CursorKind::RefusedWithoutRow => "400: INVALID_CURSOR",
        CursorKind::EmptyWithoutRow => "anomaly=\"empty_page\"",
        CursorKind::Kept if left == 0 => "anomaly=\"empty_page\"",
        CursorKind::Kept => "",
    });
    arrived.sort_unstable();
    let mut expected = expected;
    expected.sort_unstable();
    assert_eq!(arrived, expected);
    ends_with_nothing_more(relay);
}

#[test]
fn rows_vanish_while_a_gap_is_open() {
    let cases = [
        ("cursors are places", (CursorKind::Kept, 12)),
        ("cursors are refused without their row", (CursorKind::RefusedWithoutRow, 12)),
        ("cursors find nothing without their row", (CursorKind::EmptyWithoutRow, 12)),
        ("nothing is left below", (CursorKind::Kept, 0)),
    ];
    side_by_side(&cases, |(kind, left)| rows_vanish_under_a_catch_up(*kind, *left));
}

#[test]
fn whatever_appears_in_the_middle_of_a_catch_up_arrives() {
    let scene = Scene::new();
    scene.add_past(35);
    let appears = [
        Effect::LateRow(Duration::from_secs(20 * 60)),
        Effect::LateRow(Duration::from_secs(5)),
        Effect::FutureRow(Duration::from_secs(3600)),
        Effect::EqualRow,
    ];
    let rule = appears.into_iter().fold(Rule::always(Effect::Add(vec![NewMessage::new()])), Rule::and);
    scene.handle().add_fault(Rule { times: Some(3), ..rule.clone() }.cursor(true));
    let relay = scene.setup_from_beginning().set("POLL__SWEEP_INTERVAL", "300ms").start();
    let mut arrived = relay.ids(35 + 3 * 5);
    scene.handle().add_fault(Rule { times: Some(2), ..rule }.cursor(false));
    arrived.extend(relay.ids(2 * 5));
    arrived.sort_unstable();
    let mut expected = scene.ids();
    expected.sort_unstable();
    assert_eq!(arrived, expected);
    ends_with_nothing_more(relay);
}

#[test]
fn what_vanishes_before_it_is_read_does_not_stop_the_rest() {
    let scene = Scene::new();
    scene.add_past(35);
    let oldest = scene.ids()[..12].to_vec();
    scene.handle().add_fault(Rule::once(Effect::Vanish(oldest.clone())).cursor(true));
    scene.handle().add_fault(Rule::once(Effect::VanishNewest(4)).cursor(false).from_nth(2));
    let relay = scene.setup_from_beginning().start();
    let arrived = relay.ids(23);
    assert!(oldest.iter().all(|id| !arrived.contains(id)));
    scene.wait_until(|handle| handle.message_count() == 35 - 12 - 4);
    assert!(scene.ids().iter().all(|id| arrived.contains(id)));
    let id = scene.add();
    assert_eq!(relay.ids(1), [id]);
    ends_with_nothing_more(relay);
}

#[test]
fn counts_that_are_no_numbers_are_not_missed() {
    let scene = Scene::new();
    scene.add_past(25);
    scene.handle().add_fault(Rule::always(Effect::WrongType(WrongType::Counts)));
    let relay = scene.setup().start();
    relay.wait_for_log("relaying what comes from now on");
    let id = scene.add();
    assert_eq!(relay.ids(1), [id]);
    assert!(!relay.log().contains("WARN"), "{}", relay.log());
    ends_with_nothing_more(relay);
}

#[test]
fn a_list_of_one_page_is_read_without_a_request_for_a_second() {
    let scene = Scene::new();
    scene.add_past(7);
    let relay = scene.setup_from_beginning().set("POLL__SWEEP_INTERVAL", "300ms").start();
    relay.ids(7);
    scene.wait_for_polls(5);
    let asked = scene.handle().requests();
    assert!(asked.iter().all(|request| request.cursor.is_none()), "{asked:?}");
    ends_with_nothing_more(relay);
}

#[test]
fn a_late_row_is_found_by_the_sweep() {
    let scene = Scene::new();
    scene.add_past(40);
    let relay = scene.setup_from_beginning().set("POLL__SWEEP_INTERVAL", "300ms").start();
    relay.ids(40);
    let time = scene.handle().now() - SignedDuration::from_mins(30);
    let late = scene.handle().add(NewMessage::new().received_at(time));
    assert!(scene.handle().newest_rows(30).iter().all(|row| row.id != late), "far behind the newest page");
    assert_eq!(relay.ids(1), [late]);
    ends_with_nothing_more(relay);
}

#[test]
fn without_a_sweep_the_late_row_would_not_have_been_found() {
    let scene = Scene::new();
    scene.add_past(40);
    let relay = scene.setup_from_beginning().set("POLL__SWEEP_INTERVAL", "1h").start();
    relay.ids(40);
    let time = scene.handle().now() - SignedDuration::from_mins(30);
    scene.handle().add(NewMessage::new().received_at(time));
    let live = scene.add();
    assert_eq!(relay.ids(1), [live]);
    ends_with_nothing_more(relay);
}

#[test]
fn rows_with_one_time_across_pages_all_arrive() {
    let scene = Scene::new();
    let time = scene.handle().now() - SignedDuration::from_secs(30);
    let tied = || NewMessage::new().received_at(time).ingested_at(time);
    scene.handle().add_many((0..35).map(|_| tied()));
    let relay = scene.setup_from_beginning().set("POLL__SWEEP_INTERVAL", "300ms").start();
    let mut arrived = relay.ids(35);
    // Two more messages get that same time, one by the fault and one by the test. They stand somewhere among the others.
    scene.handle().add_fault(Rule::once(Effect::EqualRow));
    let another = scene.handle().add(tied());
    arrived.extend(relay.ids(2));
    assert!(arrived.contains(&another));
    arrived.sort_unstable();
    let mut expected = scene.ids();
    expected.sort_unstable();
    assert_eq!(arrived, expected);
    ends_with_nothing_more(relay);
}

fn in_2099() -> Timestamp {
    "2099-12-31T23:59:59Z".parse().unwrap()
}

/// Adds messages one after the other, so that the relay must notice each message by itself.
fn live_messages_arrive_promptly(scene: &Scene, relay: &Relay) {
    for _ in 0..5 {
        let id = scene.add();
        let before = scene.handle().counters().requests;
        assert_eq!(relay.ids(1), [id], "{}", relay.log());
        let requests = scene.handle().counters().requests - before;
        assert!(requests <= 12, "{requests} requests to notice one message");
    }
}

#[test]
fn rows_from_the_future_make_nobody_deaf() {
    let cases = [("one", 1), ("nine", 9), ("a page", 10), ("a block over pages", 34)];
    side_by_side(&cases, |count| {
        let scene = Scene::new();
        scene.add_past(15);
        let mut relay = scene.setup_from_beginning().start();
        relay.ids(15);
        let future = scene.handle().add_many((0..*count).map(|_| NewMessage::new().received_at(in_2099())));
        let mut arrived = relay.ids(future.len());
        arrived.sort_unstable();
        let mut expected = future;
        expected.sort_unstable();
        assert_eq!(arrived, expected);
        live_messages_arrive_promptly(&scene, &relay);
        assert!(relay.stop().success());
        // Another message on top is news as well, also for a relay that has to find the block again after a start.
        let id = scene.handle().add(NewMessage::new().received_at(in_2099() + SignedDuration::from_secs(1)));
        let relay = scene.setup_from_beginning().start();
        assert_eq!(relay.ids(1), [id]);
        live_messages_arrive_promptly(&scene, &relay);
        ends_with_nothing_more(relay);
    });
}

#[test]
fn without_a_date_time_goes_on_all_the_same() {
    let scene = Scene::with(|switches| switches.date = false);
    scene.add_past(40);
    let relay = scene.setup_from_beginning().set("POLL__SWEEP_INTERVAL", "300ms").start();
    assert_eq!(relay.ids(40), scene.ids());
    // A page is full of messages dated a moment after their arrival, and then no message comes. These messages must
    // become ordinary when that moment has come.
    let now = scene.handle().now();
    let ahead = (1..=12).map(|step| now + SignedDuration::from_millis(250 + step));
    let ids = scene.handle().add_many(ahead.map(|time| NewMessage::new().received_at(time).ingested_at(now)));
    assert_eq!(relay.ids(12), ids);
    let time = scene.handle().now() - SignedDuration::from_mins(30);
    let late = scene.handle().add(NewMessage::new().received_at(time).ingested_at(now));
    assert_eq!(relay.ids(1), [late], "found by a sweep, although nothing else happens");
    live_messages_arrive_promptly(&scene, &relay);
    ends_with_nothing_more(relay);
}

#[test]
fn a_first_run_begins_below_a_block_from_the_future() {
    let scene = Scene::new();
    scene.add_past(15);
    scene.handle().add_many((0..25).map(|_| NewMessage::new().received_at(in_2099())));
    let relay = scene.setup().start();
    relay.wait_for_log("older_messages=40");
    live_messages_arrive_promptly(&scene, &relay);
    ends_with_nothing_more(relay);
}

#[test]
fn rows_that_change_places_come_once() {
    let scene = Scene::new();
    scene.add_past(35);
    scene.handle().add_fault(Rule::always(Effect::Reorder(7)));
    let relay = scene.setup_from_beginning().set("POLL__SWEEP_INTERVAL", "300ms").start();
    let mut arrived = relay.ids(35);
    arrived.push(scene.add());
    assert_eq!(relay.ids(1), arrived[35..]);
    arrived.sort_unstable();
    let mut expected = scene.ids();
    expected.sort_unstable();
    assert_eq!(arrived, expected);
    ends_with_nothing_more(relay);
}

#[test]
fn a_row_that_vanishes_from_the_newest_page_and_comes_back_is_not_repeated() {
    let scene = Scene::new();
    scene.add_past(15);
    let relay = scene.setup_from_beginning().start();
    assert_eq!(relay.ids(15), scene.ids());
    let gone: Vec<String> = scene.handle().newest_rows(3).into_iter().map(|row| row.id).collect();
    assert!(gone.iter().all(|id| scene.handle().vanish(id)));
    let id = scene.add();
    assert_eq!(relay.ids(1), [id]);
    assert!(gone.iter().all(|id| scene.handle().restore(id)));
    let last = scene.add();
    assert_eq!(relay.ids(1), [last]);
    ends_with_nothing_more(relay);
}

const SET_ASIDE: &str = "SELECT count(*) FROM message WHERE standing = 'unreadable'";

/// Returns a relay that has caught up with 25 messages, one of them in a bad row, and the id of that message. `said` is the line
/// that the relay logs about the row. The row is good again when the sweep passes it.
fn catch_up_past_one_bad_row(kind: BadRow, said: &str) -> (Scene, Relay, String) {
    let scene = Scene::new();
    scene.add_past(25);
    scene.handle().add_fault(Rule::always(Effect::BadRow { row: 4, kind }).cursor(true).times(1));
    let relay = scene.setup_from_beginning().start();
    let mut expected = scene.ids();
    let bad = expected.remove(25 - 10 - 1 - 4);
    assert_eq!(relay.ids(24), expected, "{}", relay.log());
    relay.wait_for_log(said);
    assert_eq!(scene.count(SET_ASIDE), 1);
    (scene, relay, bad)
}

#[test]
fn a_row_without_an_id_is_kept_and_never_delivered() {
    let cases = [
        ("no id", BadRow::WithoutId),
        ("null", BadRow::NullId),
        ("a number", BadRow::NumericId),
        ("empty", BadRow::EmptyId),
        ("a text instead of a row", BadRow::Text),
        ("null instead of a row", BadRow::Null),
        ("a list instead of a row", BadRow::List),
    ];
    side_by_side(&cases, |kind| {
        let said = "a message without an id came: it is kept in the state, but cannot be delivered";
        let (scene, relay, bad) = catch_up_past_one_bad_row(*kind, said);
        let raw =
            "SELECT count(*) FROM message WHERE standing = 'unreadable' AND raw IS NOT NULL AND release_no IS NULL";
        assert_eq!(scene.count(raw), 1, "kept as it came, and not handed on");

        // The newest row is bad for as long as it is the newest.
        let always = scene.handle().add_fault(Rule::always(Effect::bad_row(*kind)).cursor(false));
        let id = scene.add();
        // Rows whose ends cannot be found count as one row.
        let kept = if matches!(kind, BadRow::Text | BadRow::Null) { 1 } else { 2 };
        scene.wait_for_fault(always, 3);
        wait_until("the second bad row", || scene.count(SET_ASIDE) == kept, || relay.log());
        scene.handle().remove_fault(always);
        assert_eq!(relay.ids(1), [id], "it has its id now");
        assert!(!relay.log().contains(&bad));
        ends_with_nothing_more(relay);
    });
}

#[test]
fn one_row_that_is_no_json_hides_none_of_the_others() {
    let cases = [
        ("a raw control character", BadRow::RawControl),
        ("a byte that is no UTF-8", BadRow::BadByte),
        ("a bad escape", BadRow::BadEscape),
        ("NaN", BadRow::NotANumber),
        ("a leading zero", BadRow::LeadingZero),
        ("a trailing comma", BadRow::TrailingComma),
        ("an open quote", BadRow::OpenQuote),
        ("cut off", BadRow::CutOff),
    ];
    side_by_side(&cases, |kind| {
        let said = "a message came that is no valid JSON: it is set aside as it came and not delivered; the messages \
                    beside it are delivered";
        let (scene, relay, bad) = catch_up_past_one_bad_row(*kind, said);

        // The newest row is bad for as long as it is the newest.
        let always = scene.handle().add_fault(Rule::always(Effect::bad_row(*kind)).cursor(false));
        let id = scene.add();
        scene.wait_for_fault(always, 5);
        wait_until("the second spoiled row", || scene.count(SET_ASIDE) == 2, || relay.log());
        let (code, traced, _) = crate::support::relay::Setup::bare(scene.dir()).args(&["trace", &id]).output();
        assert!(code == 0 && traced.contains("no: its row was read and set aside"), "{code} {traced}");
        scene.handle().remove_fault(always);
        assert_eq!(relay.ids(1), std::slice::from_ref(&id), "it is mended now");
        let log = relay.log();
        assert_eq!(log.matches(said).count(), 2, "each is said once: {log}");
        assert!(log.contains("anomaly=\"spoiled_row\"") && log.contains(&bad) && log.contains(&id), "{log}");
        assert_eq!(scene.count("SELECT value FROM counter WHERE name = 'anomaly.spoiled_row'"), 2);
        ends_with_nothing_more(relay);
        let (code, saved, _) = crate::support::relay::Setup::bare(scene.dir()).args(&["state", "export"]).output();
        assert_eq!((code, saved.matches("\"standing\":\"unreadable\"").count()), (0, 2), "{saved}");
    });
}

#[test]
fn half_of_a_character_in_a_text_is_delivered_as_it_came() {
    let scene = Scene::new();
    scene.add_past(25);
    scene.handle().add_fault(Rule::once(Effect::BadRow { row: 4, kind: BadRow::HalfCharacter }).cursor(true));
    let relay = scene.setup_from_beginning().start();
    let lines: Vec<String> = (0..25).map(|_| relay.line()).collect();
    let halves = lines.iter().filter(|line| line.contains(r#""body":"\ud83d"#)).count();
    assert_eq!(halves, 1, "{lines:?}");
    assert_eq!(scene.count(SET_ASIDE), 0);
    ends_with_nothing_more(relay);
}

#[test]
fn the_history_of_a_number_that_is_newly_shared_is_delivered_and_told() {
    // A message that is ingested now stands above messages that were received later.
    let scene = Scene::with(|switches| switches.sort_by = SortBy::IngestedAt);
    scene.add_past(15);
    let relay = scene.setup_from_beginning().start();
    assert_eq!(relay.ids(15), scene.ids());
    let now = scene.handle().now();
    let hours = |hours: i64| now - SignedDuration::from_hours(hours);
    let history =
        (1..=4).rev().map(|ago| NewMessage::new().number("num_shared").received_at(hours(ago)).ingested_at(now));
    let mut expected = scene.handle().add_many(history);
    let mut arrived = relay.ids(4);
    arrived.sort_unstable();
    expected.sort_unstable();
    assert_eq!(arrived, expected);
    relay.wait_for_log("a number that is new here brought older messages along: they are delivered like new ones");
    let log = relay.log();
    assert!(log.contains("number.id=\"num_shared\" messages=4"), "{log}");
    ends_with_nothing_more(relay);
}

#[test]
fn a_row_with_strange_fields_is_delivered_as_it_is() {
    let cases = [
        ("no time", BadRow::WithoutTime),
        ("null times", BadRow::NullTime),
        ("unreadable times", BadRow::UnreadableTime),
        ("numbers for times", BadRow::NumericTime),
        ("other types", BadRow::WrongFields),
    ];
    side_by_side(&cases, |kind| {
        let scene = Scene::new();
        scene.add_past(25);
        scene.handle().add_fault(Rule::once(Effect::BadRow { row: 4, kind: *kind }).cursor(true));
        let relay = scene.setup_from_beginning().start();
        assert_eq!(relay.ids(25), scene.ids(), "in its neighbour's place; {}", relay.log());
        scene.handle().add_fault(Rule::always(Effect::bad_row(*kind)).cursor(false));
        let ids = [scene.add(), scene.add()];
        let mut arrived = relay.ids(2);
        arrived.sort_by_key(|id| ids.iter().position(|known| known == id));
        assert_eq!(arrived, ids);
        assert_eq!(scene.count(SET_ASIDE), 0);
        ends_with_nothing_more(relay);
    });
}

//! Tests of the points that the documentation of the API leaves open. Whichever way the API behaves, each message
//! arrives once, and in order where there is an order: in a catch-up over several pages, with ties, with new messages,
//! and with a late message.

use std::time::Duration;

use jiff::SignedDuration;
use joltsms_simulator::{
    CursorKind, CursorText, Ids, LimitScope, LimitText, LoggedRequest, Missing, NewMessage, ResetRounding, Since,
    SortBy, Switches, Ties, UnknownNumber, WindowKind,
};

use crate::support::cases::side_by_side;
use crate::support::scene::{Scene, ends_with_nothing_more};

type Change = fn(&mut Switches);

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_unstable();
    ids
}

/// Runs a relay through its whole life on an API whose behaviour `change` has changed.
fn everything_arrives_once(change: Change) {
    let scene = Scene::with(change);
    let handle = scene.handle();
    scene.add_past(20);
    // A dozen messages with the same time lie across the border of two pages.
    let time = handle.now() - SignedDuration::from_secs(45);
    handle.add_many((0..12).map(|_| NewMessage::new().received_at(time).ingested_at(time)));
    let before = handle.rows().into_iter().map(|row| (row.received_at, row.id)).collect::<Vec<_>>();
    let mut relay = scene.setup_from_beginning().set("POLL__SWEEP_INTERVAL", "400ms").start();

    let arrived = relay.ids(before.len());
    let time_of = |id: &String| before.iter().find(|(_, known)| known == id).map(|(time, _)| *time);
    assert!(arrived.iter().map(time_of).is_sorted(), "oldest first");
    assert_eq!(sorted(arrived), sorted(before.iter().map(|(_, id)| id.clone()).collect()));

    let live = [scene.add(), scene.add(), scene.add()];
    assert_eq!(sorted(relay.ids(3)), sorted(live.to_vec()));
    let time = handle.now() - SignedDuration::from_mins(25);
    let late = handle.add(NewMessage::new().received_at(time));
    assert_eq!(relay.ids(1), [late], "{}", relay.log());

    // More messages than a page holds come while the relay is down.
    assert!(relay.stop().success());
    let missed: Vec<String> = (0..14).map(|_| scene.add()).collect();
    let relay = scene.setup_from_beginning().set("POLL__SWEEP_INTERVAL", "400ms").start();
    let arrived = relay.ids(14);
    if handle.switches().disorder.is_zero() {
        assert_eq!(arrived, missed, "{}", relay.log());
    }
    assert_eq!(sorted(arrived), sorted(missed));
    let last = scene.add();
    assert_eq!(relay.ids(1), [last]);
    assert!(!relay.log().contains("WARN"), "{}", relay.log());
    ends_with_nothing_more(relay);
}

fn check(cases: &[(&str, Change)]) {
    side_by_side(cases, |change| everything_arrives_once(*change));
}

#[test]
fn the_order_of_the_list() {
    check(&[
        ("by receivedAt", |switches| switches.sort_by = SortBy::ReceivedAt),
        ("by ingestedAt", |switches| switches.sort_by = SortBy::IngestedAt),
        ("ties: the smaller id first", |switches| switches.ties = Ties::IdAscending),
        ("ties: the greater id first", |switches| switches.ties = Ties::IdDescending),
        ("ties: the newest first", |switches| switches.ties = Ties::NewestFirst),
        ("ties: the oldest first", |switches| switches.ties = Ties::OldestFirst),
        ("off by seconds", |switches| switches.disorder = Duration::from_secs(5)),
    ]);
}

#[test]
fn cursors() {
    check(&[
        ("spelled awkwardly", |switches| switches.cursor_text = CursorText::Awkward),
        ("refused without their row", |switches| switches.cursor = CursorKind::RefusedWithoutRow),
        ("empty without their row", |switches| switches.cursor = CursorKind::EmptyWithoutRow),
        ("living for a minute", |switches| switches.cursor_lifetime = Some(Duration::from_secs(60))),
        ("absent on the last page", |switches| switches.last_cursor = Missing::Absent),
        ("null on the last page", |switches| switches.last_cursor = Missing::Null),
    ]);
}

#[test]
fn pages_and_rows() {
    check(&[
        ("pages of three", |switches| switches.page_cap = 3),
        ("pages of one", |switches| switches.page_cap = 1),
        ("empty fields are absent", |switches| switches.empty_fields = Missing::Absent),
        ("indented", |switches| switches.pretty = true),
        ("ids with a prefix", |switches| switches.ids = Ids::Prefixed),
        ("ids of both kinds", |switches| switches.ids = Ids::Mixed),
    ]);
}

#[test]
fn clocks() {
    check(&[
        ("no date", |switches| switches.date = false),
        ("a date ten minutes ahead", |switches| switches.date_skew = SignedDuration::from_mins(10)),
        ("a date ten minutes behind", |switches| switches.date_skew = SignedDuration::from_mins(-10)),
        ("a date three hours ahead", |switches| switches.date_skew = SignedDuration::from_hours(3)),
        ("a date three hours behind", |switches| switches.date_skew = SignedDuration::from_hours(-3)),
    ]);
}

/// Each new message is dated in the future, and so are all messages of the hours before.
#[test]
fn new_messages_do_not_wait_for_all_that_is_dated_after_the_server_s_now() {
    let scene = Scene::with(|switches| switches.date_skew = SignedDuration::from_hours(-3));
    scene.add_past(600);
    let relay = scene.setup().start();
    let is_head = |request: &LoggedRequest| !request.query.contains("cursor");
    // The relay has read the earlier messages page by page, and now reads the first page only.
    scene.wait_until(|handle| {
        let requests = handle.requests();
        requests.len() > 60 && requests.iter().rev().take(5).all(is_head)
    });
    let before = scene.handle().requests().len();
    for _ in 0..12 {
        let new = scene.add();
        assert_eq!(relay.ids(1), [new], "{}", relay.log());
    }
    let pages = scene.handle().requests()[before..].iter().filter(|request| !is_head(request)).count();
    assert!(pages <= 12, "{pages} pages were read for 12 messages that the first page shows");
    ends_with_nothing_more(relay);
}

#[test]
fn what_is_never_asked_does_not_matter() {
    check(&[
        ("since is ignored", |switches| switches.since = Since::Ignored),
        ("since matches nothing", |switches| switches.since = Since::MatchesNothing),
        ("since compares ingestedAt", |switches| switches.since = Since::IngestedAt),
        ("since includes the instant", |switches| switches.since_inclusive = true),
        ("an unknown number is an empty list", |switches| switches.unknown_number = UnknownNumber::EmptyList),
    ]);
}

#[test]
fn it_asks_for_pages_and_nothing_else() {
    let scene = Scene::new();
    scene.add_past(25);
    let relay = scene.setup_from_beginning().start();
    relay.ids(25);
    ends_with_nothing_more(relay);
    for request in scene.handle().requests() {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/v1/messages"));
        let names: Vec<&str> = request.query.split('&').filter_map(|pair| pair.split('=').next()).collect();
        assert!(names == ["limit"] || names == ["limit", "cursor"], "{}", request.query);
    }
}

#[test]
fn the_rate_limit() {
    check(&[
        ("windows on the calendar", |switches| switches.window_kind = WindowKind::Calendar),
        ("a sliding window", |switches| switches.window_kind = WindowKind::Sliding),
        ("for the account", |switches| switches.limit_scope = LimitScope::Account),
        ("a reset that is rounded down", |switches| switches.reset = ResetRounding::Down),
    ]);
}

/// Another program has used up the window, so the relay gets each kind of 429.
#[test]
fn a_429_of_each_kind_is_waited_for() {
    let cases: [(&str, Change); 5] = [
        ("as documented", |_| {}),
        ("without Retry-After", |switches| switches.retry_after = false),
        ("told in minutes", |switches| switches.limit_text = LimitText::Minutes),
        ("rounded down", |switches| switches.reset = ResetRounding::Down),
        ("on the calendar", |switches| switches.window_kind = WindowKind::Calendar),
    ];
    side_by_side(&cases, |change| {
        let scene = Scene::with(|switches| {
            switches.window = Duration::from_secs(2);
            switches.limit = 500;
            change(switches);
        });
        scene.add_past(3);
        let relay = scene.setup_from_beginning().start();
        relay.ids(3);
        scene.handle().spend(500);
        relay.wait_for_log("over the API's rate limit; silent until it resets");
        let id = scene.add();
        assert_eq!(relay.ids(1), [id]);
        ends_with_nothing_more(relay);
    });
}

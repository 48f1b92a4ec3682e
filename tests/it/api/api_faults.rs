//! Tests in which the API fails in every way that it can. The log reports the failure, nothing is lost, and nothing
//! comes twice.

use std::time::Duration;

use joltsms_simulator::{Effect, Ending, ErrorBody, Malformed, NewMessage, Place, RateHeaders, Rule, WrongType};

use crate::support::cases::side_by_side;
use crate::support::scene::{Scene, ends_with_nothing_more};

/// A fault that acts once in the middle of a catch-up and once on a poll for new messages, and the text with which the
/// log reports the fault.
struct Case {
    effects: Vec<Effect>,
    said: &'static str,
}

fn case(effects: impl IntoIterator<Item = Effect>, said: &'static str) -> Case {
    Case { effects: effects.into_iter().collect(), said }
}

fn rule(effects: &[Effect], cursor: bool) -> Rule {
    let mut rule = Rule::once(effects[0].clone()).cursor(cursor);
    rule.effects = effects.to_vec();
    rule
}

/// Lets a page of the catch-up fail, and later a poll. Checks that the relay goes on.
fn is_survived(case: &Case) {
    let scene = Scene::new();
    scene.add_past(35);
    scene.handle().add_fault(rule(&case.effects, true));
    // The short timeout is set only where it is the subject of the test, since a busy machine may be late by itself.
    let timeout = if case.said.contains("within 1s") { "1s" } else { "30s" };
    let relay = scene.setup_from_beginning().set("API__TIMEOUT", timeout).start();
    assert_eq!(relay.ids(35), scene.ids(), "complete and in order; the log:\n{}", relay.log());
    let said = format!("error={}", case.said);
    relay.wait_for_log(&said);

    scene.handle().add_fault(rule(&case.effects, false));
    let id = scene.add();
    relay.wait_for_log("the API cannot be polled; trying again until it can");
    relay.wait_for_log_times(&said, 2);
    assert_eq!(relay.ids(1), [id]);
    relay.wait_for_log("the API can be polled again");
    ends_with_nothing_more(relay);
}

#[test]
fn statuses() {
    let cases = [
        ("400 json", case([Effect::status(400)], "400: BAD_REQUEST")),
        ("404 html", case([Effect::html(404)], "404: Not Found")),
        ("408 json", case([Effect::status(408)], "408 from the API")),
        ("409 html", case([Effect::html(409)], "409: Conflict")),
        ("418 json", case([Effect::status(418)], "418: I_M_A_TEAPOT")),
        ("500 json", case([Effect::status(500)], "500 from the API")),
        ("500 html", case([Effect::html(500)], "500 from the API")),
        ("502 html", case([Effect::html(502)], "502 from the API")),
        ("503 json", case([Effect::status(503)], "503 from the API")),
        ("503 html", case([Effect::html(503), Effect::RetryAfter("1".to_owned())], "503 from the API")),
        ("503 empty", case([Effect::Status { status: 503, body: ErrorBody::Empty }], "503 from the API")),
        ("504 html", case([Effect::html(504)], "504 from the API")),
        ("520 html", case([Effect::html(520)], "520 from the API")),
        ("403 html", case([Effect::html(403)], "403 from the network in front of the API, not from the API")),
    ];
    side_by_side(&cases, is_survived);
}

#[test]
fn redirects() {
    let to =
        |location: Option<&str>| Effect::Header { name: "location".to_owned(), value: location.map(str::to_owned) };
    let cases = [
        (
            "301",
            case(
                [Effect::html(301), to(Some("https://login.example/?back=1"))],
                "301 redirect to login.example, not followed; is api.url right?",
            ),
        ),
        (
            "302",
            case(
                [Effect::html(302), to(Some("https://login.example/"))],
                "302 redirect to login.example, not followed; is api.url right?",
            ),
        ),
        (
            "307",
            case(
                [Effect::status(307), to(Some("https://login.example/"))],
                "307 redirect to login.example, not followed; is api.url right?",
            ),
        ),
        ("308 to itself", case([Effect::html(308), to(Some("/v1/messages/"))], "308 redirect to another path")),
        ("304", case([Effect::status(304), to(None)], "304")),
    ];
    side_by_side(&cases, is_survived);
}

#[test]
fn broken_connections() {
    let stop = |at, ending| Effect::Break { at, ending };
    let cases = [
        ("reset before an answer", case([Effect::reset()], "connection reset by the other side")),
        (
            "closed before an answer",
            case([stop(Place::Answer(0), Ending::Close)], "connection closed before message completed"),
        ),
        (
            "closed in the headers",
            case([stop(Place::Answer(20), Ending::Close)], "connection closed before message completed"),
        ),
        ("cut in the body", case([Effect::cut(40)], "end of file before message length reached")),
        ("reset in the body", case([stop(Place::Body(40), Ending::Reset)], "connection reset by the other side")),
        ("silent in the body", case([stop(Place::Body(40), Ending::Silence)], "no answer within 1s")),
        ("no answer", case([Effect::Hang], "no answer within 1s")),
        ("late", case([Effect::Latency(Duration::from_secs(5))], "no answer within 1s")),
        ("not http", case([Effect::NotHttp], "the answer cannot be read: it does not begin with HTTP/1.1 or HTTP/1.0")),
    ];
    side_by_side(&cases, is_survived);
}

#[test]
fn answers_that_are_no_page() {
    let field = "the answer is not a page of messages: a field is missing or of another type";
    let cases = [
        (
            "half",
            case([Effect::Malformed(Malformed::Half)], "the answer is not a page of messages: it is cut off after"),
        ),
        (
            "trailing",
            case([Effect::Malformed(Malformed::Trailing)], "the answer is not a page of messages: it is not JSON"),
        ),
        (
            "not utf-8",
            case([Effect::Malformed(Malformed::NotUtf8)], "the answer is not a page of messages: it is not JSON"),
        ),
        ("empty", case([Effect::Malformed(Malformed::Empty)], "the answer is not a page of messages: it is empty")),
        ("html with 200", case([Effect::html(200)], "the answer is not a page of messages: it is HTML")),
        ("json with 200", case([Effect::status(200)], field)),
        ("204", case([Effect::status(204)], "the answer is not a page of messages: it is empty")),
        ("a list", case([Effect::WrongType(WrongType::Page)], field)),
        ("data is an object", case([Effect::WrongType(WrongType::Data)], field)),
        ("data is null", case([Effect::WrongType(WrongType::DataNull)], field)),
        ("no data", case([Effect::WrongType(WrongType::DataMissing)], field)),
        ("meta is a text", case([Effect::WrongType(WrongType::Meta)], field)),
        ("no meta", case([Effect::WrongType(WrongType::MetaMissing)], field)),
        ("hasMore is a text", case([Effect::WrongType(WrongType::HasMore)], field)),
        ("nextCursor is a number", case([Effect::WrongType(WrongType::NextCursor)], field)),
    ];
    side_by_side(&cases, is_survived);
}

/// One 429, and how long the relay sends no request after it.
struct Refusal {
    effects: Vec<Effect>,
    waits: Duration,
}

#[test]
fn over_the_rate_limit() {
    let header =
        |name: &str, value: Option<&str>| Effect::Header { name: name.to_owned(), value: value.map(str::to_owned) };
    let retry_after = |text: &str| Effect::RetryAfter(text.to_owned());
    let headers = Effect::RateHeaders;
    let refusal = |effects: Vec<Effect>, milliseconds| Refusal { effects, waits: Duration::from_millis(milliseconds) };
    let cases = [
        ("documented", refusal(vec![Effect::status(429), header("x-ratelimit-reset", Some("2"))], 2000)),
        ("html", refusal(vec![Effect::html(429), header("x-ratelimit-reset", Some("2"))], 2000)),
        ("fractions", refusal(vec![Effect::status(429), header("x-ratelimit-reset", Some("1.5"))], 1500)),
        ("zero", refusal(vec![Effect::status(429), headers(RateHeaders::Zero)], 1000)),
        ("retry-after only", refusal(vec![Effect::status(429), headers(RateHeaders::Missing), retry_after("2")], 2000)),
        ("an epoch", refusal(vec![Effect::status(429), headers(RateHeaders::Epoch), retry_after("2")], 2000)),
        ("garbage", refusal(vec![Effect::status(429), headers(RateHeaders::Garbage), retry_after("soon")], 1000)),
        ("negative", refusal(vec![Effect::status(429), headers(RateHeaders::Negative), retry_after("-1")], 1000)),
        ("enormous", refusal(vec![Effect::status(429), headers(RateHeaders::Enormous), retry_after("1")], 1000)),
        ("nothing", refusal(vec![Effect::html(429), headers(RateHeaders::Missing), header("retry-after", None)], 1000)),
    ];
    side_by_side(&cases, |Refusal { effects, waits }| {
        let scene = Scene::new();
        scene.add_past(3);
        let relay = scene.setup_from_beginning().start();
        relay.ids(3);
        scene.handle().add_fault(rule(effects, false));
        let id = scene.add();
        relay.wait_for_log("over the API's rate limit; silent until it resets");
        let log = relay.log();
        let said = log.split("wait_s=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
        let said: f64 = said.parse().unwrap();
        assert!(said >= waits.as_secs_f64() && said <= waits.as_secs_f64() * 1.1 + 0.01, "{said} s, not {waits:?}");
        assert_eq!(relay.ids(1), [id]);
        let requests = scene.handle().requests();
        let refused = requests.iter().position(|request| request.fault.is_some()).unwrap();
        let silence = requests[refused + 1].at - requests[refused].at;
        assert!(silence >= *waits, "silent for {silence:?} instead of {waits:?}");
        ends_with_nothing_more(relay);
    });
}

#[test]
fn rate_headers_that_make_no_sense_stop_nothing() {
    use RateHeaders::{Enormous, Epoch, Garbage, Missing, Negative, Zero};
    let cases = [
        ("missing", Missing),
        ("garbage", Garbage),
        ("zero", Zero),
        ("negative", Negative),
        ("an epoch", Epoch),
        ("enormous", Enormous),
    ];
    side_by_side(&cases, |kind| {
        let scene = Scene::new();
        scene.add_past(5);
        scene.handle().add_fault(Rule::always(Effect::RateHeaders(*kind)));
        let relay = scene.setup_from_beginning().start();
        assert_eq!(relay.ids(5), scene.ids());
        let id = scene.add();
        assert_eq!(relay.ids(1), [id]);
        assert!(!relay.log().contains("WARN"), "{}", relay.log());
        ends_with_nothing_more(relay);
    });
}

#[test]
fn fractions_in_rate_headers_are_understood() {
    let scene = Scene::new();
    let fractional = Effect::RateHeaders(RateHeaders::Fractional);
    scene.handle().add_fault(Rule::once(fractional).and(Effect::Add(vec![NewMessage::new().id("a")])).from_nth(2));
    let relay = scene.setup_from_beginning().start();
    assert_eq!(relay.ids(1), ["a"]);
    // Seven requests are left for 41 seconds. The relay must believe neither that none is left nor that thousands are
    // left.
    scene.wait_until(|handle| handle.requests().len() >= 3);
    let requests = scene.handle().requests();
    let pause = requests[2].at - requests[1].at;
    assert!(pause > Duration::from_secs(2) && pause < Duration::from_secs(10), "{pause:?}");
    ends_with_nothing_more(relay);
}

#[test]
fn other_programs_on_the_key_are_noticed_and_left_room() {
    let scene = Scene::with(|switches| switches.limit = 1000);
    scene.add_past(3);
    let relay = scene.setup_from_beginning().start();
    relay.ids(3);
    scene.handle().spend(40);
    relay.wait_for_log("other programs use the same API key; leaving room for them requests_a_minute=40");
    scene.handle().spend(1);
    let id = scene.add();
    assert_eq!(relay.ids(1), [id]);
    assert_eq!(relay.log().matches("other programs").count(), 1, "said once");
    ends_with_nothing_more(relay);
}

#[test]
fn a_page_over_the_cap_is_read_one_by_one() {
    let huge = || Rule::once(Effect::HugeBody(9 << 20));
    let scene = Scene::new();
    scene.add_past(25);
    scene.handle().add_fault(huge().cursor(true));
    let relay = scene.setup_from_beginning().start();
    assert_eq!(relay.ids(25), scene.ids());
    let singles = || scene.handle().requests().iter().filter(|request| request.query.contains("limit=1&")).count();
    assert_eq!(singles(), 1, "one row behind the cursor, then whole pages again");

    scene.handle().add_fault(huge().cursor(false));
    relay.wait_for_log("reading the newest messages one by one for a while error=the page has more than 8388608 bytes");
    let ids = [scene.add(), scene.add(), scene.add()];
    assert_eq!(relay.ids(3), ids, "{}", relay.log());
    ends_with_nothing_more(relay);
}

#[test]
fn a_slow_api_is_waited_for() {
    let scene = Scene::new();
    scene.add_past(15);
    scene.handle().add_fault(Rule::always(Effect::Latency(Duration::from_millis(300))));
    let relay = scene.setup_from_beginning().start();
    assert_eq!(relay.ids(15), scene.ids());
    let id = scene.add();
    assert_eq!(relay.ids(1), [id]);
    assert!(!relay.log().contains("WARN"), "{}", relay.log());
    ends_with_nothing_more(relay);
}

#[test]
fn an_api_that_is_down_is_said_once_and_waited_for() {
    let scene = Scene::new();
    scene.handle().set_listening(false);
    let relay = scene.setup_from_beginning().set("LOG__LEVEL", "debug").start();
    relay.wait_for_log(
        "the API cannot be polled; trying again until it can kind=\"transport\" error=connection refused",
    );
    relay.wait_for_log("still failing");
    assert_eq!(relay.log().matches("WARN").count(), 1, "{}", relay.log());
    scene.add_past(3);
    scene.handle().set_listening(true);
    assert_eq!(relay.ids(3), scene.ids());
    relay.wait_for_log("the API can be polled again");
    ends_with_nothing_more(relay);
}

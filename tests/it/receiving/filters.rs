//! Tests of filters on the real program: which sink gets which message, and messages that wait until the details of
//! their number are known.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use joltsms_simulator::{Effect, NewMessage, NewNumber, Rule};

use crate::support::relay::Setup;
use crate::support::scene::Scene;
use crate::support::servers::raw::{RawAnswer, RawServer};
use crate::support::servers::receiver::Receiver;

/// A relay with three sinks: `pay` wants messages to the numbers of one service, `codes` wants messages with a code,
/// `all` wants all messages.
const CONFIGURATION: &str = r#"
[sinks.pay]
type = "http"
url = "PAY"
filter = { service = "paypal" }

[sinks.codes]
type = "http"
url = "CODES"
filter = [{ has_code = true, exclude = { from = "+1900*" } }, { body = "(?i)urgent" }]

[sinks.all]
type = "http"
url = "ALL"
"#;

fn number(scene: &Scene, id: &str, service: Option<&str>) {
    let service_name = service.map(str::to_owned);
    scene.handle().add_number(NewNumber { id: Some(id.to_owned()), service_name, ..NewNumber::default() });
}

fn message(scene: &Scene, id: &str, number: &str, from: &str, body: &str) -> NewMessage {
    let now = scene.handle().now();
    NewMessage::new().id(id).number(number).from(from).body(body).received_at(now)
}

fn started(scene: &Scene) -> ([Receiver; 3], crate::support::relay::Relay) {
    let receivers = [(); 3].map(|()| Receiver::in_background());
    let mut text = CONFIGURATION.to_owned();
    for (name, receiver) in ["PAY", "CODES", "ALL"].into_iter().zip(&receivers) {
        text = text.replace(&format!("\"{name}\""), &format!("\"{}\"", receiver.url()));
    }
    let file = scene.file(&text);
    let relay = scene.setup_from_beginning().args(&["--config", &file]).start();
    (receivers, relay)
}

#[test]
fn each_sink_gets_what_it_wants_and_nothing_else() {
    let scene = Scene::new();
    number(&scene, "n-pay", Some("PayPal"));
    number(&scene, "n-other", Some("Other"));
    let handle = scene.handle();
    handle.add(message(&scene, "1", "n-pay", "+18005550100", "hello"));
    handle.add(message(&scene, "2", "n-other", "+18005550100", "Your code is 123456").code("123456"));
    handle.add(message(&scene, "3", "n-pay", "+19005550100", "Your code is 123456").code("123456"));
    handle.add(message(&scene, "4", "n-other", "+19005550100", "This is URGENT"));
    let ([pay, codes, all], mut relay) = started(&scene);
    all.wait(4, &relay);
    pay.wait(2, &relay);
    codes.wait(2, &relay);
    // A number is rented later. The first message to this number makes the relay read the list of numbers again.
    number(&scene, "n-new", Some("PayPal"));
    handle.add(message(&scene, "5", "n-new", "+18005550100", "hello"));
    pay.wait(3, &relay);
    all.wait(5, &relay);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    let ids = |receiver: &Receiver| {
        let mut ids = receiver.webhook_ids();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(&pay), ["1", "3", "5"]);
    assert_eq!(ids(&codes), ["2", "4"]);
    assert_eq!(ids(&all), ["1", "2", "3", "4", "5"]);
}

#[test]
fn what_depends_on_the_number_waits_over_a_restart_until_the_list_can_be_read() {
    let scene = Scene::new();
    number(&scene, "n-pay", Some("PayPal"));
    let refused = scene.handle().add_fault(Rule::always(Effect::status(503)).path("/v1/numbers"));
    scene.handle().add(message(&scene, "1", "n-pay", "+18005550100", "hello"));
    let ([pay, _, all], mut relay) = started(&scene);
    all.wait(1, &relay);
    relay.wait_for_log("the list of numbers cannot be read; messages that need details of their number wait");
    scene.wait_for_fault(refused, 2);
    assert_eq!(pay.count(), 0, "nobody guesses");
    relay.kill();
    scene.handle().clear_faults();
    let ([pay, _, all], mut relay) = started(&scene);
    pay.wait(1, &relay);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    assert_eq!((pay.webhook_ids(), all.count()), (vec!["1".to_owned()], 0));
}

#[test]
fn a_number_that_the_api_does_not_list_has_no_service() {
    let scene = Scene::new();
    let page = Effect::EmptyPage { more: false };
    scene.handle().add_fault(Rule::always(page).path("/v1/numbers"));
    scene.handle().add(message(&scene, "1", "n-gone", "+18005550100", "hello"));
    let ([pay, _, all], mut relay) = started(&scene);
    all.wait(1, &relay);
    scene.wait_until(|_| scene.count("SELECT count(*) FROM delivery WHERE state = 'undecided'") == 0);
    scene.wait_until(|_| scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'") == 1);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    assert_eq!(pay.count(), 0);
}

#[test]
fn a_number_whose_row_is_spoiled_is_not_absent() {
    let row = |id: &str, number: &str| {
        format!(
            r#"{{"id":"{id}","numberId":"{number}","receivedAt":"2026-06-15T12:00:00.000Z","ingestedAt":"2026-06-15T12:00:00.500Z"}}"#
        )
    };
    let messages =
        format!(r#"{{"data":[{},{}],"meta":{{"hasMore":false}}}}"#, row("m2", "n-sound"), row("m1", "n-bad"))
            .into_bytes();
    let number = |id: &str, service: &str| format!(r#"{{"id":"{id}","serviceName":"{service}"}}"#);
    let list = |bad: &str| {
        format!(r#"{{"data":[{bad},{}],"meta":{{"hasMore":false}}}}"#, number("n-sound", "PayPal")).into_bytes()
    };
    let (spoiled, whole) = (list(&number("n-bad", "Pay\u{1}Pal")), list(&number("n-bad", "PayPal")));
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let api = RawServer::answering_each(move |request| {
        if request.head.contains("/v1/messages") {
            return RawAnswer::json("200 OK", &messages);
        }
        RawAnswer::json("200 OK", if is_mended.load(Ordering::Relaxed) { &whole } else { &spoiled })
    });
    let (wanted, excluded) = (Receiver::in_background(), Receiver::in_background());
    let dir = tempfile::tempdir().unwrap();
    let mut relay = on_raw_api(&api, dir.path())
        .set("SINKS__WANTED__TYPE", "http")
        .set("SINKS__WANTED__URL", &wanted.url())
        .set("SINKS__WANTED__FILTER__SERVICE", "paypal")
        .set("SINKS__OTHERS__TYPE", "http")
        .set("SINKS__OTHERS__URL", &excluded.url())
        .set("SINKS__OTHERS__FILTER__EXCLUDE__SERVICE", "paypal")
        .start();
    relay.wait_for_log("rows of the list of numbers are no valid JSON");
    wanted.wait(1, &relay);
    relay.wait_for_log("the list of numbers cannot be read; messages that need details of their number wait");
    assert_eq!(
        wanted.webhook_ids(),
        ["m2"],
        "the sound row of the list counts; the service of the other number stays unknown"
    );
    mended.store(true, Ordering::Relaxed);
    wanted.wait(2, &relay);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    assert_eq!((wanted.webhook_ids(), excluded.count()), (vec!["m2".to_owned(), "m1".to_owned()], 0));
}

/// Returns the setup of a relay on this API, without a sink. The relay reads all messages, as fast as the API answers.
fn on_raw_api(api: &RawServer, dir: &Path) -> Setup {
    Setup::bare(dir)
        .env("JOLTSMS_API_URL", api.url("/").as_str())
        .env("JOLTSMS_API_KEY", "jolt_sk_0123456789abcdef0123456789abcdef")
        .set("POLL__START", "beginning")
        .set("API__REQUESTS_PER_MINUTE", "100000")
}

#[test]
fn a_list_of_numbers_that_does_not_end_is_told() {
    let row =
        r#"{"id":"m1","numberId":"n","receivedAt":"2026-06-15T12:00:00.000Z","ingestedAt":"2026-06-15T12:00:00.500Z"}"#;
    let messages = format!(r#"{{"data":[{row}],"meta":{{"hasMore":false}}}}"#).into_bytes();
    let pages = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&pages);
    let api = RawServer::answering_each(move |request| {
        if request.head.contains("/v1/messages") {
            return RawAnswer::json("200 OK", &messages);
        }
        let page = counted.fetch_add(1, Ordering::Relaxed);
        let body = format!(r#"{{"data":[{{"id":"other-{page}"}}],"meta":{{"hasMore":true,"nextCursor":"c{page}"}}}}"#);
        RawAnswer::json("200 OK", body.as_bytes())
    });
    let dir = tempfile::tempdir().unwrap();
    let mut relay = on_raw_api(&api, dir.path())
        .set("SINKS__OUT__TYPE", "stdout")
        .set("SINKS__OUT__FILTER__SERVICE", "paypal")
        .start();
    relay.wait_for_log("the list of numbers is long: the rest of it gets a fifth of the budget at most");
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    assert!(pages.load(Ordering::Relaxed) >= 50);
}

#[test]
fn a_filter_compares_letters_of_every_alphabet_without_regard_to_case() {
    let scene = Scene::new();
    let senders = ["MÜLLER", "Mu\u{308}ller", "ПРОВЕРКА", "Somebody", "STRASSE"];
    for (number, from) in (1..).zip(senders) {
        scene.handle().add(message(&scene, &number.to_string(), "n", from, "hello"));
    }
    let receiver = Receiver::in_background();
    let file = scene.file(&format!(
        "[sinks.crm]\ntype = \"http\"\nurl = \"{}\"\nfilter = {{ from = [\"müller\", \"провер*\", \"straße\"], exclude = {{ from = \"ПРОВЕРКИ\" }} }}\n",
        receiver.url()
    ));
    let mut relay = scene.setup_from_beginning().args(&["--config", &file]).start();
    receiver.wait(4, &relay);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    let mut ids = receiver.webhook_ids();
    ids.sort_unstable();
    assert_eq!(ids, ["1", "2", "3", "5"]);
}

#[test]
fn without_such_a_filter_numbers_are_not_asked_for() {
    let scene = Scene::new();
    scene.add_past(3);
    let relay = scene.setup_from_beginning().start();
    relay.ids(3);
    let asked = scene.handle().requests().iter().filter(|request| request.path.starts_with("/v1/numbers")).count();
    assert_eq!(asked, 0);
}

#[test]
fn once_waits_for_the_list_of_numbers() {
    let scene = Scene::new();
    number(&scene, "n-pay", Some("PayPal"));
    scene.handle().add(message(&scene, "1", "n-pay", "+18005550100", "hello"));
    let pay = Receiver::in_background();
    let file = scene
        .file(&format!("[sinks.pay]\ntype = \"http\"\nurl = \"{}\"\nfilter = {{ service = \"PayPal\" }}\n", pay.url()));
    let (code, _, log) = scene.setup_from_beginning().args(&["once", "--config", &file]).output();
    assert_eq!((code, pay.webhook_ids()), (0, vec!["1".to_owned()]), "{log}");
}

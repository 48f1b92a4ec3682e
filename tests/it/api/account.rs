//! Tests that the state belongs to one account. Another key or address of that account is accepted; another account is
//! refused.

use joltsms_simulator::{Options, Switches};

use crate::support::cases::side_by_side;
use crate::support::relay::Setup;
use crate::support::scene::{Scene, ends_with_nothing_more};

const SAME: &str = "the API key or address is new; its messages belong to the same account";
const OTHER: &str = "the API key or address belongs to another account than the state: the state knows none of the \
                     messages and numbers that the API shows";

/// Returns everything that the state records about messages and their account.
fn contents(scene: &Scene) -> Vec<i64> {
    let tables = ["message", "delivery", "walk", "number", "meta", "coverage"];
    let mut counts: Vec<i64> =
        tables.iter().map(|table| scene.count(&format!("SELECT count(*) FROM {table}"))).collect();
    counts.push(scene.count("SELECT frontier + watermark + anchor + next_seq FROM coverage"));
    counts
}

/// Runs a relay once, so that the state belongs to the account.
fn used(scene: &Scene) {
    scene.add_past(15);
    let relay = scene.setup_from_beginning().start();
    assert_eq!(relay.ids(15), scene.ids());
    ends_with_nothing_more(relay);
}

/// Returns a simulator of another account, with another key and other numbers.
fn other() -> Scene {
    let switches = Switches { limit: 100_000, ..Switches::default() };
    Scene::of(Options { seed: 99, switches, ..Options::default() })
}

/// Returns a relay that reads the other account, with the state of the first account.
fn on_the_state_of(scene: &Scene, other: &Scene) -> Setup {
    other.setup_from_beginning().set("STATE__DIR", &scene.dir().join("state").display().to_string())
}

type Change = fn(&Scene);

#[test]
fn another_key_of_the_account_is_accepted() {
    let known_message = |_: &Scene| {};
    let only_a_known_number = |scene: &Scene| scene.handle().clear_messages();
    let cases: [(&str, Change); 2] =
        [("a message is known", known_message), ("only a number is known", only_a_known_number)];
    side_by_side(&cases, |change| {
        let scene = Scene::new();
        used(&scene);
        change(&scene);
        let ids: Vec<String> = (0..12).map(|_| scene.add()).collect();
        let key = scene.handle().create_key("another", None).unwrap();
        let relay = scene.setup().env("JOLTSMS_API_KEY", &key.secret).start();
        assert_eq!(relay.ids(12), ids);
        relay.wait_for_log(SAME);
        ends_with_nothing_more(relay);
        let relay = scene.setup().env("JOLTSMS_API_KEY", &key.secret).start();
        let id = scene.add();
        assert_eq!(relay.ids(1), [id]);
        assert!(!relay.log().contains(SAME), "it is known now");
        ends_with_nothing_more(relay);
    });
}

#[test]
fn another_address_of_the_account_is_accepted() {
    let scene = Scene::new();
    used(&scene);
    let id = scene.add();
    let address = scene.simulator().url().replace("127.0.0.1", "localhost");
    let relay = scene.setup().env("JOLTSMS_API_URL", &address).start();
    assert_eq!(relay.ids(1), [id], "{}", relay.log());
    relay.wait_for_log(SAME);
    ends_with_nothing_more(relay);
}

#[test]
fn another_account_is_refused_and_nothing_of_it_is_kept() {
    let cases: [(&str, &[&str]); 2] = [("run", &["run"]), ("once", &["once"])];
    side_by_side(&cases, |arguments| {
        let (scene, other) = (Scene::new(), other());
        used(&scene);
        other.add_past(15);
        let before = contents(&scene);
        let (code, stdout, log) = on_the_state_of(&scene, &other).args(arguments).output();
        assert_eq!((code, stdout.as_str()), (78, ""), "{log}");
        assert!(log.contains(OTHER) && log.contains("--accept-account-change"), "{log}");
        assert_eq!(contents(&scene), before);
        // The account to which the state belongs goes on as if nothing had happened.
        let id = scene.add();
        let relay = scene.setup().start();
        assert_eq!(relay.ids(1), [id]);
        ends_with_nothing_more(relay);
    });
}

#[test]
fn another_account_is_accepted_when_the_operator_says_so() {
    let (scene, other) = (Scene::new(), other());
    used(&scene);
    let ids: Vec<String> = (0..3).map(|_| other.add()).collect();
    let relay = on_the_state_of(&scene, &other).args(&["run", "--accept-account-change"]).start();
    assert_eq!(relay.ids(3), ids, "{}", relay.log());
    ends_with_nothing_more(relay);
    let relay = on_the_state_of(&scene, &other).start();
    let id = other.add();
    assert_eq!(relay.ids(1), [id], "from now on it is the account of the state");
    ends_with_nothing_more(relay);
}

const OPEN: &str = "the API key or address is new and shows no messages yet; waiting for a message of a number that \
                    the state knows";

#[test]
fn a_new_key_that_shows_no_messages_is_waited_for() {
    let scene = Scene::new();
    used(&scene);
    scene.handle().clear_messages();
    let key = scene.handle().create_key("another", None).unwrap();
    let relay = scene.setup().env("JOLTSMS_API_KEY", &key.secret).start();
    relay.wait_for_log(OPEN);
    let requests = scene.handle().counters().requests;
    scene.wait_until(|handle| handle.counters().requests >= requests + 5);
    assert_eq!(relay.log().matches(OPEN).count(), 1, "said once:\n{}", relay.log());
    let id = scene.add();
    assert_eq!(relay.ids(1), [id], "to a number that is known");
    relay.wait_for_log(SAME);
    ends_with_nothing_more(relay);
}

#[test]
fn once_does_not_wait_for_ever_for_a_known_message() {
    let (scene, other) = (Scene::new(), other());
    used(&scene);
    let (code, stdout, log) = on_the_state_of(&scene, &other).args(&["once"]).output();
    assert_eq!((code, stdout.as_str()), (75, ""), "{log}");
    assert!(log.contains(OPEN), "{log}");
}

//! Tests of SIGHUP, which makes a running relay read its configuration again, and of files with secrets that are replaced
//! while the relay runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use joltsms_simulator::{Effect, Rule};

use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::receiver::{Receiver, Reply};
use crate::support::waiting::wait_until;

const RELOADED: &str = "INFO SIGHUP: the configuration was read again and is in effect";
const NOT_RELOADED: &str = "ERROR SIGHUP: the new configuration cannot be used: nothing has changed errors=";
const NEEDS_RESTART: &str = "WARN these settings keep their old values until the relay is started again";
const SECRETS_READ_AGAIN: &str = "INFO a file with a secret has changed: the new value is in use changed=";
const SECRETS_NOT_READ: &str =
    "WARN a file with a secret has changed and cannot be used: the old values stay in use until it can errors=";

/// Settings that every configuration of these tests has.
const HEAD: &str = "[poll]\ninterval = \"150ms\"\nstart = \"beginning\"\n\n[api]\nrequests_per_minute = 10000\n";

/// A sink with this name and URL, and further lines.
fn sink(name: &str, url: &str, lines: &str) -> String {
    format!("\n[sinks.{name}]\ntype = \"http\"\nurl = \"{url}\"\n{lines}\n")
}

/// Writes the configuration with these sections behind [`HEAD`]. Returns its path.
fn configure(scene: &Scene, sections: &str) -> String {
    scene.file(&format!("{HEAD}{sections}"))
}

/// A relay with only a configuration file.
fn setup(scene: &Scene, file: &str) -> Setup {
    Setup::new(scene.simulator(), scene.dir()).env("JOLTSMS_RELAY_CONFIG", file)
}

fn hang_up(relay: &Relay, said: &str) {
    let times = relay.log().matches(said).count();
    relay.signal("HUP");
    relay.wait_for_log_times(said, times + 1);
}

/// Puts a file in the place of another, as programs that rotate secrets do.
fn replace(path: &Path, content: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, content).unwrap();
    fs::rename(&draft, path).unwrap();
}

fn status(setup: &Setup) -> serde_json::Value {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_joltsms-relay"))
        .env_clear()
        .env("JOLTSMS_RELAY_STATE__DIR", setup.state())
        .args(["status", "--json"])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn sinks_are_added_changed_and_removed() {
    let scene = Scene::new();
    let [first, second, third] = [(); 3].map(|()| Receiver::in_background());
    let file = configure(&scene, &(sink("crm", &first.url(), "") + &sink("old", &second.url(), "")));
    let mut relay = setup(&scene, &file).start();
    let mut ids = vec![scene.add()];
    first.wait(1, &relay);
    second.wait(1, &relay);
    // `crm` goes elsewhere, `old` is gone, `new` is new.
    configure(&scene, &(sink("crm", &third.url(), "concurrency = 2") + &sink("new", &second.url(), "start = \"now\"")));
    hang_up(&relay, RELOADED);
    relay.wait_for_log("sinks.added=\"new\" sinks.removed=\"old\" changed=\"sinks.crm.concurrency,sinks.crm.url\"");
    ids.push(scene.add());
    third.wait(1, &relay);
    second.wait(2, &relay);
    assert_eq!(first.webhook_ids(), ids[..1]);
    assert_eq!(third.webhook_ids(), ids[1..]);
    assert_eq!(second.webhook_ids(), ids);
    // Another reload with the same file changes nothing.
    hang_up(&relay, "INFO SIGHUP: the configuration was read again; no setting that a reload can change has changed");
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn waiting_messages_go_to_the_new_address_and_the_attempt_under_way_ends_at_the_old_one() {
    let scene = Scene::new();
    let [old, new] = [(); 2].map(|()| Receiver::in_background());
    old.reply(|_| Reply { delay: Duration::from_secs(3), ..Reply::status(200) });
    let one_at_a_time = "concurrency = 1\nretry = { initial = \"1h\" }";
    let file = configure(&scene, &sink("crm", &old.url(), one_at_a_time));
    let mut relay = setup(&scene, &file).start();
    let under_way = scene.add();
    old.wait(1, &relay);
    let waiting = scene.add();
    scene.wait_for_polls(2);
    configure(&scene, &sink("crm", &new.url(), "concurrency = 2"));
    hang_up(&relay, RELOADED);
    new.wait(1, &relay);
    assert_eq!(new.webhook_ids(), [waiting]);
    wait_until(
        "both deliveries",
        || scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'") == 2,
        || relay.log(),
    );
    assert_eq!((old.webhook_ids(), new.count()), (vec![under_way], 1), "no message was sent twice");
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_new_address_ends_the_wait_after_failures() {
    let scene = Scene::new();
    let [old, new] = [(); 2].map(|()| Receiver::in_background());
    old.answer_with(500);
    let file = configure(&scene, &sink("crm", &old.url(), "retry = { initial = \"1h\" }"));
    let mut relay = setup(&scene, &file).start();
    let id = scene.add();
    old.wait(1, &relay);
    wait_until("a retry", || scene.count("SELECT count(*) FROM delivery WHERE state = 'retry'") == 1, || relay.log());
    configure(&scene, &sink("crm", &new.url(), "retry = { initial = \"1h\" }"));
    hang_up(&relay, RELOADED);
    new.wait(1, &relay);
    assert_eq!(new.webhook_ids(), [id]);
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn messages_of_a_removed_sink_wait_until_it_is_back() {
    let scene = Scene::new();
    let [crm, other] = [(); 2].map(|()| Receiver::in_background());
    crm.answer_with(500);
    let both = sink("crm", &crm.url(), "retry = { initial = \"1s\" }") + &sink("other", &other.url(), "");
    let file = configure(&scene, &both);
    let mut relay = setup(&scene, &file).start();
    let id = scene.add();
    crm.wait(1, &relay);
    other.wait(1, &relay);
    configure(&scene, &sink("other", &other.url(), ""));
    hang_up(&relay, RELOADED);
    relay.wait_for_log(
        "WARN messages wait for a sink that is not configured any more; they are kept until a sink of this name is \
         configured again sink.name=\"crm\" messages=1",
    );
    let second = scene.add();
    other.wait(2, &relay);
    crm.answer_with(200);
    let before = crm.count();
    configure(&scene, &both);
    hang_up(&relay, RELOADED);
    crm.wait(before + 1, &relay);
    assert_eq!(crm.webhook_ids().last(), Some(&id));
    assert!(!crm.webhook_ids().contains(&second), "it came while the sink was not configured");
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn an_invalid_file_changes_nothing_and_is_said_once() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let file = configure(&scene, &sink("crm", &receiver.url(), ""));
    let mut setup = setup(&scene, &file);
    let mut relay = setup.start();
    let first = scene.add();
    receiver.wait(1, &relay);
    configure(&scene, "\n[poll.x]\n[sinks.crm]\ntype = \"http\"\nurl = \"ftp://x\"\nconcurency = 3\n");
    relay.signal("HUP");
    relay.wait_for_log(NOT_RELOADED);
    let log = relay.log();
    let said = log.lines().find(|line| line.contains(NOT_RELOADED)).unwrap();
    for part in ["config.toml:8: ", "config.toml:11: ", "config.toml:12: ", "concurency", "sinks.crm.url"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let second = scene.add();
    receiver.wait(2, &relay);
    assert_eq!(receiver.webhook_ids(), [first, second]);
    wait_until("the failure in the status", || !status(&setup)["relay"]["reload_failed_at"].is_null(), || relay.log());
    let shown = status(&setup);
    assert!(shown["relay"]["reload_error"].as_str().unwrap().contains("config.toml:8: "), "{shown}");
    assert_eq!(shown["healthy"], true, "{shown}");
    assert_eq!(relay.log().matches(NOT_RELOADED).count(), 1);
    // A file that is gone is no order to run without a file.
    fs::remove_file(&file).unwrap();
    hang_up(&relay, NOT_RELOADED);
    configure(&scene, &sink("crm", &receiver.url(), "concurrency = 3"));
    hang_up(&relay, RELOADED);
    wait_until("the end of the failure", || status(&setup)["relay"]["reload_failed_at"].is_null(), || relay.log());
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn settings_take_effect_and_what_needs_a_restart_is_named() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let crm = sink("crm", &receiver.url(), "");
    scene.add_past(1);
    let file = scene.file(&format!("[poll]\ninterval = \"1d\"\nstart = \"beginning\"\n{crm}"));
    let mut setup = setup(&scene, &file);
    let mut relay = setup.start();
    receiver.wait(1, &relay);
    // With a poll a day nothing would arrive.
    let api = "\n[api]\nrequests_per_minute = 5000\n";
    let log = "\n[log]\nlevel = \"debug\"\nformat = \"json\"\n";
    scene.file(&format!(
        "[poll]\ninterval = \"150ms\"\nlookback = \"2h\"\n{api}{log}\n[state]\nkeep_dead = \"1d\"\n{crm}"
    ));
    hang_up(&relay, RELOADED);
    relay.wait_for_log(
        "changed=\"api.requests_per_minute,log.level,poll.interval,poll.lookback,poll.start,state.keep_dead\"",
    );
    relay.wait_for_log("INFO poll.start only counts on a first run and is ignored now");
    relay
        .wait_for_log("WARN these settings keep their old values until the relay is started again keys=\"log.format\"");
    let id = scene.add();
    receiver.wait(2, &relay);
    assert_eq!(receiver.webhook_ids().last(), Some(&id));
    relay.wait_for_log(" DEBUG ");
    wait_until("the limit in the status", || status(&setup)["budget"]["limit"] == 5000, || relay.log());
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_new_address_of_the_api_holds_back_its_new_key() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let crm = sink("crm", &receiver.url(), "");
    let api = format!("\n[api]\nurl = \"{}\"\nkey = {{ env = \"ONE\" }}\n", scene.simulator().url());
    let poll = "[poll]\ninterval = \"150ms\"\n";
    let file = scene.file(&format!("{poll}{api}{crm}"));
    let second = scene.handle().create_key("second", None).unwrap();
    let mut relay = Setup::bare(scene.dir())
        .env("JOLTSMS_RELAY_CONFIG", &file)
        .env("ONE", &scene.simulator().key())
        .env("TWO", &second.secret)
        .start();
    scene.wait_for_polls(1);
    scene.file(&format!("{poll}\n[api]\nurl = \"http://127.0.0.1:9\"\nkey = {{ env = \"TWO\" }}\n{crm}"));
    relay.signal("HUP");
    relay.wait_for_log(
        "WARN these settings keep their old values until the relay is started again keys=\"api.key,api.url\"",
    );
    scene.wait_for_polls(3);
    assert!(scene.handle().requests().iter().all(|request| request.key.as_ref() != Some(&second.id)));
    assert_eq!(relay.stop().code(), Some(0));
}

/// A sink whose token lies in a file.
fn with_token(scene: &Scene, receiver: &Receiver, token: &Path) -> String {
    let auth = format!("auth = {{ bearer = {{ file = \"{}\" }} }}", token.display());
    configure(scene, &sink("crm", &receiver.url(), &auth))
}

fn last_token(receiver: &Receiver) -> String {
    receiver.received().last().unwrap().headers["authorization"].to_str().unwrap().to_owned()
}

#[test]
fn a_token_that_is_replaced_in_its_file_is_used() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let token = scene.dir().join("token");
    fs::write(&token, "token-one\n").unwrap();
    let file = with_token(&scene, &receiver, &token);
    let mut relay = setup(&scene, &file).start();
    scene.add();
    receiver.wait(1, &relay);
    assert_eq!(last_token(&receiver), "Bearer token-one");
    // Replaced by another file, then written in place.
    replace(&token, "token-two\n");
    relay.wait_for_log(&format!("{SECRETS_READ_AGAIN}\"sinks.crm.auth.bearer\""));
    scene.add();
    receiver.wait(2, &relay);
    assert_eq!(last_token(&receiver), "Bearer token-two");
    fs::write(&token, "token-three\n").unwrap();
    relay.wait_for_log_times(SECRETS_READ_AGAIN, 2);
    scene.add();
    receiver.wait(3, &relay);
    assert_eq!(last_token(&receiver), "Bearer token-three");
    // A file that is empty is not used, and that is said once.
    fs::write(&token, "").unwrap();
    relay.wait_for_log(SECRETS_NOT_READ);
    scene.add();
    receiver.wait(4, &relay);
    assert_eq!(last_token(&receiver), "Bearer token-three");
    assert_eq!(relay.log().matches(SECRETS_NOT_READ).count(), 1, "{}", relay.log());
    fs::write(&token, "token-four\n").unwrap();
    relay.wait_for_log_times(SECRETS_READ_AGAIN, 3);
    scene.add();
    receiver.wait(5, &relay);
    assert_eq!(last_token(&receiver), "Bearer token-four");
    assert!(!relay.log().contains("token-"), "{}", relay.log());
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_new_token_of_the_admin_endpoint_is_said_to_need_a_restart() {
    let scene = Scene::new();
    let token = scene.dir().join("admin-token");
    fs::write(&token, "the-first-token-of-all").unwrap();
    let mut setup =
        scene.setup().set("ADMIN__LISTEN", "127.0.0.1:0").set("ADMIN__TOKEN__FILE", token.to_str().unwrap());
    let mut relay = setup.start();
    relay.wait_for_log("relaying what comes from now on");
    replace(&token, "the-second-token-of-all");
    relay.wait_for_log(&format!("{NEEDS_RESTART} keys=\"admin.token\""));
    assert_eq!(relay.stop().code(), Some(0));
}

/// A scene with an API key in a file, and an API that notices a revoked key at once. Returns the files of the key and of
/// the configuration, too.
fn with_key_file(receiver: &Receiver) -> (Scene, PathBuf, String) {
    let scene = Scene::with(|switches| switches.key_cache = Duration::ZERO);
    let key = scene.dir().join("key");
    fs::write(&key, scene.simulator().key()).unwrap();
    let api = "\nurl = \"URL\"\nkey = { file = \"key\" }\n".replace("URL", &scene.simulator().url());
    let file = configure(&scene, &(api + &sink("crm", &receiver.url(), "")));
    (scene, key, file)
}

#[test]
fn a_key_that_was_replaced_is_read_as_soon_as_the_old_one_is_refused() {
    let receiver = Receiver::in_background();
    let (scene, key, file) = with_key_file(&receiver);
    let mut setup = Setup::bare(scene.dir()).env("JOLTSMS_RELAY_CONFIG", &file);
    let mut relay = setup.start();
    let first = scene.add();
    receiver.wait(1, &relay);
    let second = scene.handle().create_key("second", None).unwrap();
    replace(&key, &second.secret);
    scene.handle().revoke_key("start");
    let id = scene.add();
    receiver.wait(2, &relay);
    assert_eq!(receiver.webhook_ids(), [first, id]);
    relay.wait_for_log(&format!("{SECRETS_READ_AGAIN}\"api.key\""));
    assert!(!relay.log().contains("ERROR"), "{}", relay.log());
    assert_eq!(scene.handle().requests().last().unwrap().key, Some(second.id));
    let ending = &second.secret[second.secret.len() - 4..];
    wait_until("the key in the status", || status(&setup)["polling"]["key_ending"] == ending, || relay.log());
    assert!(status(&setup)["polling"]["key_since"].is_string());
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_refused_key_without_a_new_one_is_said_and_a_new_one_ends_it() {
    let receiver = Receiver::in_background();
    let (scene, key, file) = with_key_file(&receiver);
    let mut relay = Setup::bare(scene.dir()).env("JOLTSMS_RELAY_CONFIG", &file).start();
    scene.add();
    receiver.wait(1, &relay);
    scene.handle().revoke_key("start");
    relay.wait_for_log("ERROR the API accepts no key");
    let refused = scene.handle().counters().by_status[&401];
    assert_eq!(refused, 1, "the refused key is not tried again at once");
    let second = scene.handle().create_key("second", None).unwrap();
    fs::write(&key, &second.secret).unwrap();
    scene.add();
    receiver.wait(2, &relay);
    assert_eq!(relay.log().matches("ERROR").count(), 1, "{}", relay.log());
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_new_key_of_another_account_stops_no_deliveries() {
    let receiver = Receiver::in_background();
    let (scene, key, file) = with_key_file(&receiver);
    let mut relay = Setup::bare(scene.dir()).env("JOLTSMS_RELAY_CONFIG", &file).start();
    scene.add();
    receiver.wait(1, &relay);
    let second = scene.handle().create_key("second", None).unwrap();
    scene.handle().clear_messages();
    let number = scene.handle().add_number(joltsms_simulator::NewNumber::default());
    scene.handle().add_fault(Rule::always(Effect::status(500)).key("start"));
    replace(&key, &second.secret);
    scene.handle().add(joltsms_simulator::NewMessage::new().id("other").number(number.id));
    relay.wait_for_log("refusal=the key belongs to another account than the state and is not used");
    assert_eq!(receiver.count(), 1);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
}

/// The figures of a run of rotations and reloads.
#[derive(Debug, Default)]
struct Figures {
    reloads: usize,
    rotations: usize,
    messages: usize,
    lost: usize,
    repeated: usize,
}

/// Adds ten messages in a second for `rounds` rounds of `pause`, and between the rounds replaces the key and the token,
/// changes the sinks, and reloads.
fn rotate_and_reload(rounds: usize, pause: Duration) -> Figures {
    let scene = Scene::with(|switches| switches.key_cache = Duration::ZERO);
    let [crm, beside] = [(); 2].map(|()| Receiver::in_background());
    for receiver in [&crm, &beside] {
        receiver.answer(|place| (200, Duration::from_millis(if place % 7 == 0 { 700 } else { 5 })));
    }
    let (key, token) = (scene.dir().join("key"), scene.dir().join("token"));
    let mut secret = scene.simulator().key();
    fs::write(&key, &secret).unwrap();
    fs::write(&token, "token-0").unwrap();
    let configuration = |round: usize| {
        let api = format!("url = \"{}\"\nkey = {{ file = \"key\" }}\n", scene.simulator().url());
        let lines = format!("concurrency = {}\nauth = {{ bearer = {{ file = \"token\" }} }}", 2 + round % 3);
        let other = if round.is_multiple_of(2) { "other" } else { "further" };
        let crm_url = if round % 4 < 2 { crm.url() } else { crm.url() + "/again" };
        configure(&scene, &(api + &sink("crm", &crm_url, &lines) + &sink(other, &beside.url(), "start = \"now\"")))
    };
    let file = configuration(0);
    let mut relay = Setup::bare(scene.dir()).env("JOLTSMS_RELAY_CONFIG", &file).start();
    let (mut ids, mut figures, mut name) = (vec![scene.add()], Figures::default(), "start".to_owned());
    crm.wait(1, &relay);
    for round in 1..=rounds {
        let mut ticks = 0;
        let began = scene.handle().now();
        while scene.handle().now().duration_since(began).unsigned_abs() < pause {
            ids.push(scene.add());
            ticks += 1;
            wait_until(
                "the next tenth of a second",
                || scene.handle().now().duration_since(began).unsigned_abs() >= Duration::from_millis(100) * ticks,
                String::new,
            );
        }
        // The old key is accepted until the new one is in the file; then it is refused.
        let next = scene.handle().create_key(&format!("key-{round}"), None).unwrap();
        replace(&key, &next.secret);
        replace(&token, &format!("token-{round}"));
        scene.handle().revoke_key(&name);
        (secret, name) = (next.secret, next.id);
        figures.rotations += 1;
        configuration(round);
        hang_up(&relay, RELOADED);
        figures.reloads += 1;
    }
    ids.push(scene.add());
    let unique = || crm.webhook_ids().into_iter().collect::<std::collections::BTreeSet<_>>();
    wait_until("all messages", || unique().len() >= ids.len(), || relay.log());
    scene.wait_for_polls(5);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    assert!(!relay.log().contains("ERROR") && !relay.log().contains(&secret), "{}", relay.log());
    let received = crm.webhook_ids();
    figures.messages = ids.len();
    figures.lost = ids.iter().filter(|id| !unique().contains(*id)).count();
    figures.repeated = received.len() - unique().len();
    figures
}

#[test]
fn nothing_is_lost_or_repeated_while_secrets_are_rotated_and_the_file_is_reloaded() {
    // For longer: JOLTSMS_RELAY_SECONDS=120, with a reload every five seconds.
    let seconds = std::env::var("JOLTSMS_RELAY_SECONDS").ok().map(|seconds| seconds.parse::<usize>().unwrap());
    let (rounds, pause) = match seconds {
        Some(seconds) => (seconds.div_ceil(5), Duration::from_secs(5)),
        None => (4, Duration::from_millis(700)),
    };
    let figures = rotate_and_reload(rounds, pause);
    println!("{figures:?}");
    assert_eq!((figures.lost, figures.repeated), (0, 0), "{figures:?}");
}

//! Tests of the commands as a shell sees them: exit codes, signals, files, and contents that no output may show.

use std::fs::{self, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use joltsms_relay::daemon::log_sentences::{ONCE_IS_DONE, SINK_NOT_CONFIGURED, STOPPED, STOPPED_AT_ONCE, STOPPING};
use joltsms_relay::delivery::log_sentences::SINK_FAILS;
use joltsms_simulator::{Effect, NewMessage, Rule};
use serde_json::Value;

use crate::support::cases::side_by_side;
use crate::support::relay::Setup;
use crate::support::relay::process::id_of;
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::{Received, Receiver, Reply};
use crate::support::waiting::wait_until;

fn ids_of(stdout: &str) -> Vec<String> {
    stdout.lines().map(id_of).collect()
}

#[test]
fn once_says_that_it_waits_for_the_budget() {
    let scene = Scene::new();
    scene.add_past(45);
    let mut setup = scene.setup_from_beginning().set("API__REQUESTS_PER_MINUTE", "2").args(&["once", "--quiet"]);
    let mut relay = setup.start();
    let said = "WARN waiting for the request budget, which allows no request before that time \
                (api.requests_per_minute)";
    relay.wait_for_log(said);
    let log = relay.log();
    let wait = log.split("wait_s=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    assert!((2..=60).contains(&wait.parse::<u32>().unwrap()), "{log}");
    relay.kill();
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let scene = Scene::new();
    for arguments in [&["check"][..], &["schema"], &["init", "-"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut relay = scene.setup().args(arguments).start_with_stdout(full);
        assert_eq!(relay.wait().code(), Some(1), "{arguments:?}");
        let said = "joltsms-relay: cannot write to standard output: No space left on device";
        assert!(relay.log().contains(said), "{arguments:?}: {}", relay.log());
    }
}

#[test]
fn once_catches_up_completely_and_ends() {
    let scene = Scene::new();
    scene.add_past(35);
    let (code, stdout, log) = scene.setup_from_beginning().args(&["once"]).output();
    assert_eq!((code, ids_of(&stdout)), (0, scene.ids()), "{log}");
    // There is a new message, and a late message far behind messages that are known. `once` finds both, since `once`
    // includes a sweep.
    let new = scene.add();
    let time = scene.handle().now() - SignedDuration::from_mins(20);
    let late = scene.handle().add(NewMessage::new().received_at(time));
    let (code, stdout, log) = scene.setup().args(&["once"]).output();
    assert_eq!(code, 0, "{log}");
    let mut arrived = ids_of(&stdout);
    arrived.sort_by_key(|id| *id != new);
    assert_eq!(arrived, [new, late]);
    let (code, stdout, _) = scene.setup().args(&["once"]).output();
    assert_eq!((code, stdout.as_str()), (0, ""), "nothing is new");
}

#[test]
fn once_ends_also_on_a_slow_api() {
    let scene = Scene::new();
    scene.add_past(35);
    // The API is slower than the pause between two polls, so a poll is always under way.
    scene.handle().add_fault(Rule::always(Effect::Latency(Duration::from_millis(300))).cursor(false));
    let mut setup = scene.setup_from_beginning().set("POLL__INTERVAL", "100ms").args(&["once"]);
    let (code, stdout, log) = setup.output();
    assert_eq!((code, ids_of(&stdout)), (0, scene.ids()), "{log}");
    let time = scene.handle().now() - SignedDuration::from_mins(20);
    let late = scene.handle().add(NewMessage::new().received_at(time));
    let (code, stdout, log) = setup.output();
    assert_eq!((code, ids_of(&stdout)), (0, vec![late]), "{log}");
}

#[test]
fn what_waits_for_a_sink_that_is_not_configured_any_more_is_said_and_kept() {
    let scene = Scene::new();
    scene.add_past(3);
    let receiver = Receiver::in_background();
    receiver.answer_with(500);
    let forward = |url: &str| scene.setup_from_beginning().args(&["once", "--forward-to", url]).output();
    assert_eq!(forward(&receiver.url()).0, 75);
    let (code, stdout, log) = scene.setup().args(&["once"]).output();
    assert_eq!((code, stdout.as_str()), (0, ""), "they are not for stdout: {log}");
    let said = format!("WARN {SINK_NOT_CONFIGURED}");
    assert!(log.contains(&said) && log.contains("sink.name=\"forward\" messages=3"), "{log}");
    let (_, status, _) = scene.setup().args(&["status"]).output();
    let remedy = "configure it again, or give its messages up with `sinks drop forward`";
    assert!(status.contains("not configured any more") && status.contains(remedy), "{status}");
    receiver.answer_with(200);
    let mut relay = scene.setup().args(&["--forward-to", &receiver.url()]).start();
    receiver.wait(6, &relay);
    assert!(relay.stop().success());
    assert!(!relay.log().contains(&said), "{}", relay.log());
}

#[test]
fn once_says_what_is_left() {
    let scene = Scene::new();
    scene.add_past(12);
    let receiver = Receiver::in_background();
    receiver.answer(|place| (if place < 5 { 500 } else { 200 }, Duration::ZERO));
    let mut setup = scene.setup_from_beginning().sink(&receiver.url()).args(&["once"]);
    setup = setup.set("SINKS__CRM__CONCURRENCY", "1").set("SINKS__CRM__RETRY__INITIAL", "300ms");
    let (code, _, log) = setup.output();
    assert_eq!(code, 75, "{log}");
    assert!(log.contains("caught up, but some messages wait for another attempt: run it again"), "{log}");
    let counts = format!("INFO {ONCE_IS_DONE} messages=12 deliveries=");
    assert!(log.contains(&counts) && !log.contains("waiting=0"), "{log}");
    let sent = receiver.count();
    let due =
        || scene.count("SELECT count(*) FROM delivery WHERE state = 'retry' AND due > 1000 * unixepoch('subsec')");
    wait_until("the next attempts to be due", || due() == 0, String::new);
    let (code, _, log) = setup.output();
    assert_eq!(code, 0, "{log}");
    assert_eq!(receiver.count() - sent, 5, "only what was left");
    assert!(log.contains(&format!("INFO {ONCE_IS_DONE} messages=0 deliveries=5 waiting=0")), "{log}");
    let (code, _, log) = { setup }.args(&["--quiet"]).output();
    assert_eq!((code, log.as_str()), (0, ""));
    let mut delivered: Vec<String> =
        receiver.received().iter().filter(|request| request.status == 200).map(Received::message_id).collect();
    delivered.sort_unstable();
    let mut expected = scene.ids();
    expected.sort_unstable();
    assert_eq!(delivered, expected);
}

#[test]
fn once_gives_up_on_an_api_that_stays_away() {
    let scene = Scene::new();
    scene.handle().add_fault(Rule::always(Effect::html(502)));
    let (code, stdout, log) = scene.setup_from_beginning().args(&["once"]).output();
    assert_eq!((code, stdout.as_str()), (75, ""), "{log}");
    assert!(log.contains("gave up: the API could not be read completely; run it again why=502 from the API"), "{log}");
    assert_eq!(scene.handle().counters().requests, 5);
}

#[test]
fn once_can_be_interrupted() {
    let cases = [("INT", 130), ("TERM", 143)].map(|(signal, code)| (signal, (signal, code)));
    side_by_side(&cases, |(signal, code)| {
        let scene = Scene::new();
        scene.add_past(25);
        let hangs = scene.handle().add_fault(Rule::always(Effect::Hang).cursor(true));
        let mut relay = scene.setup_from_beginning().args(&["once"]).start();
        scene.wait_for_fault(hangs, 1);
        relay.signal(signal);
        assert_eq!(relay.wait().code(), Some(*code), "{}", relay.log());
        scene.handle().clear_faults();
        let (code, stdout, log) = scene.setup_from_beginning().args(&["once"]).output();
        assert_eq!((code, ids_of(&stdout)), (0, scene.ids()), "{log}");
    });
}

#[test]
fn run_ends_with_0_on_a_signal() {
    let cases = ["INT", "TERM", "HUP"].map(|signal| (signal, signal));
    side_by_side(&cases, |signal| {
        // If the tests were started with `nohup`, the relay would ignore a hangup.
        if *signal == "HUP" && joltsms_relay::daemon::ignores_hangups() {
            return;
        }
        let scene = Scene::new();
        scene.add_past(3);
        let mut relay = scene.setup_from_beginning().start();
        relay.ids(3);
        relay.signal(signal);
        assert_eq!(relay.wait().code(), Some(0), "{}", relay.log());
        relay.wait_for_log(STOPPED);
    });
}

#[test]
fn with_a_file_a_hangup_does_not_end_it() {
    let scene = Scene::new();
    scene.add_past(3);
    let file = scene.file("[poll]\nstart = \"beginning\"\n");
    let relay = scene.setup().args(&["run", "--config", &file]).start();
    relay.ids(3);
    relay.signal("HUP");
    relay.wait_for_log("SIGHUP");
    let id = scene.add();
    assert_eq!(relay.ids(1), [id]);
    ends_with_nothing_more(relay);
}

#[test]
fn started_with_nohup_it_outlives_a_hangup_also_without_a_file() {
    let scene = Scene::new();
    let ignores = "trap '' HUP; exec \"$0\" \"$@\"";
    let relay = scene.setup_from_beginning().behind(ignores).start();
    let first = scene.add();
    assert_eq!(relay.ids(1), [first]);
    relay.signal("HUP");
    let second = scene.add();
    assert_eq!(relay.ids(1), [second]);
    ends_with_nothing_more(relay);
}

#[test]
fn a_stop_waits_for_the_answers_under_way() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.answer(|_| (200, Duration::from_millis(1500)));
    let mut setup = scene.setup_from_beginning().sink(&receiver.url());
    let mut relay = setup.start();
    let id = scene.add();
    receiver.wait(1, &relay);
    relay.signal("TERM");
    assert_eq!(relay.wait().code(), Some(0));
    relay.wait_for_log(STOPPED);
    assert_eq!(scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'"), 1);
    let mut relay = setup.start();
    let last = scene.add();
    receiver.wait(2, &relay);
    assert!(relay.stop().success());
    assert_eq!(receiver.webhook_ids(), [id, last]);
}

#[test]
fn a_stop_waits_for_no_retry() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.answer_with(503);
    let setup = scene.setup_from_beginning().sink(&receiver.url());
    let mut relay = { setup }.set("SINKS__CRM__RETRY__INITIAL", "1h").start();
    scene.add();
    receiver.wait(1, &relay);
    relay.wait_for_log(SINK_FAILS);
    let began = now();
    relay.signal("TERM");
    assert_eq!(relay.wait().code(), Some(0));
    assert!(now() - began < Duration::from_secs(6), "sooner than the grace");
    assert_eq!(scene.count("SELECT count(*) FROM delivery WHERE state = 'retry'"), 1);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.reply(|_| Reply::never());
    let mut setup = scene.setup_from_beginning().sink(&receiver.url());
    let mut relay = setup.start();
    let id = scene.add();
    receiver.wait(1, &relay);
    let began = now();
    relay.signal("TERM");
    relay.wait_for_log(STOPPING);
    relay.signal("INT");
    assert_eq!(relay.wait().code(), Some(0));
    assert!(now() - began < Duration::from_secs(6), "sooner than the grace");
    relay.wait_for_log(STOPPED_AT_ONCE);
    receiver.answer_with(200);
    let mut relay = setup.start();
    receiver.wait(2, &relay);
    assert_eq!(receiver.webhook_ids(), [id.clone(), id]);
    assert!(relay.stop().success());
}

#[expect(clippy::disallowed_methods, reason = "a measurement, not a decision")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_stop_does_not_wait_for_the_api() {
    let scene = Scene::new();
    let hangs = scene.handle().add_fault(Rule::always(Effect::Hang));
    let mut relay = scene.setup().start();
    scene.wait_for_fault(hangs, 1);
    let began = now();
    assert_eq!(relay.stop().code(), Some(0));
    assert!(now() - began < Duration::from_secs(6), "the API's time-out is 30 s");
}

#[test]
fn check_shows_what_each_sink_gets_and_how() {
    let scene = Scene::new();
    let file = scene.file(
        "[sinks.a]\ntype = \"stdout\"\n\
         [sinks.b]\ntype = \"http\"\nurl = \"https://b.example\"\nformat = \"slack\"\norder = \"number\"\n\
         requests_per_minute = 60\nmax_age = \"10m\"\nenabled = false\n\
         filter = { to = \"+1hunter2*\", has_code = false, exclude = { body = \"hunter2\", tags = [\"x\"] } }\n\
         [sinks.c]\ntype = \"http\"\nurl = \"https://c.example\"\nformat = \"cloudevents\"\n\
         filter = [{ from = \"+1*\" }, { service = \"PayPal\" }]\n",
    );
    let (code, out, log) = scene.setup().args(&["check", "--config", &file]).output();
    assert_eq!((code, log.as_str()), (0, ""));
    let sinks: Vec<&str> = out.lines().skip_while(|line| !line.starts_with("sink ")).collect();
    let expected = [
        "sink           a: standard output",
        "               format message, all messages",
        "sink           b: POST https://b.example/",
        "               format slack, filter on to + has_code = false + exclude (body + tags), in the order of each \
         number, at most 60 requests a minute, none older than 10m, switched off (enabled = false)",
        "sink           c: POST https://c.example/",
        "               format cloudevents, filter on from or on service",
    ];
    assert_eq!(sinks, expected);
}

#[test]
fn check_shows_events_and_who_gets_them() {
    let scene = Scene::new();
    let sinks = "[sinks.a]\ntype = \"stdout\"\n[sinks.b]\ntype = \"http\"\nurl = \"https://b.example\"\n";
    let events = "[events]\nnumber_expiring = [\"7d\", \"1d\"]\n";
    let check = |text: &str| {
        let file = scene.file(text);
        scene.setup().args(&["check", "--config", &file]).output()
    };
    let (code, out, log) = check(&format!("{events}{sinks}events = true\n"));
    assert_eq!((code, log.as_str()), (0, ""));
    assert!(out.contains("\nevents         a number expires within 7d or 1d: to b\n"), "{out}");
    assert!(out.contains("\n               format message, all messages, and events"), "{out}");
    let (code, out, log) = check(&format!("{events}{sinks}"));
    assert!(out.contains("\nevents         a number expires within 7d or 1d: to no sink\n"), "{out}");
    let told = "config.toml:2: `events.number_expiring` is set, and no sink has `events = true`, so the events go nowhere; \
                set `events = true` in the sinks that should get the events";
    assert!(code == 0 && log.contains(told), "{log}");
}

#[test]
fn check_shows_what_the_configuration_comes_to() {
    let scene = Scene::new();
    let setup = scene.setup().sink("https://user:hidden@crm.example.com/hook?token=hidden");
    let (code, stdout, log) = { setup }.args(&["check"]).output();
    assert_eq!((code, log.as_str()), (0, ""));
    for line in ["configuration  valid (no file)", "sink           crm: POST https://…@crm.example.com/…?…"] {
        assert!(stdout.lines().any(|said| said == line), "{stdout}");
    }
    assert_eq!(scene.handle().counters().requests, 0);
    assert!(!scene.dir().join("state").exists(), "nothing was touched");
}

#[test]
fn check_speaks_of_a_first_run_until_there_was_one() {
    let scene = Scene::new();
    let polling = || {
        let (code, stdout, log) = scene.setup().args(&["check"]).output();
        assert_eq!((code, log.as_str()), (0, ""));
        stdout.lines().find(|line| line.starts_with("poll ")).unwrap().to_owned()
    };
    assert!(polling().ends_with("ms, first run from now, the last 1h again every 1m"), "{}", polling());
    assert_eq!(scene.setup().args(&["once"]).output().0, 0);
    assert!(polling().ends_with("ms, the last 1h again every 1m"), "{}", polling());
}

#[test]
fn mistakes_are_told_before_anything_is_done() {
    let scene = Scene::new();
    let bare = || Setup::bare(scene.dir());
    let file = scene.file("[poll]\nintervall = \"1s\"\n[api]\ntimeout = 5\n");
    let cases: [(&str, Setup, i32, &[&str]); 8] = [
        ("an unknown command", bare().args(&["rum"]), 2, &["unrecognized subcommand 'rum'", "Usage:"]),
        ("an unknown flag", bare().args(&["--fast"]), 2, &["unexpected argument '--fast'"]),
        (
            "a flag of run",
            bare().args(&["status", "--format", "slack"]),
            2,
            &["'--format' is for run, once and check only"],
        ),
        ("a flag without its value", bare().args(&["run", "--start"]), 2, &["a value is required for '--start"]),
        ("no key", bare(), 78, &["JOLTSMS_API_KEY"]),
        ("an unknown variable", scene.setup().set("POLL__INTERVALL", "1s"), 78, &["did you mean", "POLL__INTERVAL"]),
        (
            "a file with two mistakes",
            scene.setup().args(&["run", "-c", &file]),
            78,
            &["config.toml:2: ", "`interval`", "config.toml:4: "],
        ),
        ("a file that is not there", scene.setup().args(&["run", "-c", "/nowhere.toml"]), 78, &["/nowhere.toml"]),
    ];
    for (name, mut setup, expected, said) in cases {
        let (code, stdout, log) = setup.output();
        assert_eq!((code, stdout.as_str()), (expected, ""), "{name}: {log}");
        for text in said {
            assert!(log.contains(text), "{name}: {text} in {log}");
        }
    }
    assert_eq!(scene.handle().counters().requests, 0);
    assert!(!scene.dir().join("state").exists());
}

#[test]
fn an_invalid_configuration_is_reported_in_the_format_of_the_log() {
    let scene = Scene::new();
    let file = scene.file("[log]\nformat = \"json\"\n[poll]\nintervall = \"1s\"\n[api]\ntimeout = 5\n");
    let by_variable = scene.setup().set("LOG__FORMAT", "json").set("POLL__START", "soon");
    let cases = [
        ("a file", scene.setup().args(&["-c", &file]), vec![format!("{file}:4"), format!("{file}:6")]),
        ("a variable", by_variable, vec!["JOLTSMS_RELAY_POLL__START".to_owned()]),
        ("no place", Setup::bare(scene.dir()).set("LOG__FORMAT", "json").args(&["once"]), vec![String::new()]),
    ];
    for (name, mut setup, places) in cases {
        let (code, stdout, log) = setup.output();
        assert_eq!((code, stdout.as_str()), (78, ""), "{name}: {log}");
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let found: Vec<&str> = lines.iter().map(|line| line["place"].as_str().unwrap_or_default()).collect();
        assert_eq!(found, places, "{name}: {log}");
        for line in &lines {
            assert_eq!(line["level"], "ERROR", "{name}: {log}");
            assert!(line["timestamp"].is_string(), "{name}: {log}");
            assert!(line["message"].as_str().is_some_and(|said| !said.is_empty()), "{name}: {log}");
        }
        assert!(name == "a file" || lines[0]["hint"].is_string(), "{name}: {log}");
    }
    let (_, _, log) = scene.setup().args(&["check", "-c", &file]).output();
    assert!(log.contains("2 errors in the configuration"), "an answer for people: {log}");
}

#[test]
fn help_and_version_are_answers() {
    let scene = Scene::new();
    for (argument, said) in [("--help", "Exit codes:"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let (code, stdout, log) = Setup::bare(scene.dir()).args(&[argument]).output();
        assert_eq!((code, log.as_str()), (0, ""));
        assert!(stdout.contains(said), "{stdout}");
    }
}

#[test]
fn the_log_goes_to_files_when_it_is_told_to() {
    let scene = Scene::new();
    scene.add_past(3);
    let dir = scene.dir().join("log");
    fs::create_dir(&dir).unwrap();
    let setup = scene.setup_from_beginning().set("LOG__DIR", dir.to_str().unwrap()).set("LOG__FORMAT", "json");
    let mut relay = { setup }.start();
    relay.ids(3);
    assert!(relay.stop().success());
    assert_eq!(relay.log(), "", "nothing on stderr");
    let files: Vec<_> = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let text = fs::read_to_string(file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<&str> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    assert_eq!(said.first(), Some(&"joltsms-relay"));
    assert_eq!(said.last(), Some(&STOPPED));
    assert!(lines.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()), "{text}");
}

#[test]
fn a_log_that_cannot_be_written_is_told() {
    let scene = Scene::new();
    fs::write(scene.dir().join("file"), "").unwrap();
    let dir = scene.dir().join("file/log").display().to_string();
    let (code, stdout, log) = scene.setup().set("LOG__DIR", &dir).output();
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(log.contains(&format!("joltsms-relay: cannot write the log to {dir}: ")), "{log}");
}

#[test]
fn quiet_is_quiet() {
    let scene = Scene::new();
    scene.add_past(3);
    let mut relay = scene.setup_from_beginning().args(&["run", "-q"]).start();
    relay.ids(3);
    assert!(relay.stop().success());
    assert_eq!(relay.log(), "");
}

#[test]
fn codes_do_not_go_to_the_journal_by_accident() {
    let scene = Scene::new();
    scene.add_past(3);
    let (_reader, writer) = std::io::pipe().unwrap();
    let writer = OwnedFd::from(writer);
    let found = File::from(writer.as_fd().try_clone_to_owned().unwrap()).metadata().unwrap();
    let journal = format!("{}:{}", found.dev(), found.ino());
    let mut relay = scene.setup_from_beginning().env("JOURNAL_STREAM", &journal).start_with_stdout(writer);
    assert_eq!(relay.wait().code(), Some(78));
    assert!(relay.log().contains("standard output goes to the journal"), "{}", relay.log());
    assert_eq!(scene.handle().counters().requests, 0);
}

#[test]
fn no_output_holds_a_secret() {
    let scene = Scene::with(|switches| switches.key_cache = Duration::ZERO);
    let receiver = Receiver::in_background();
    receiver.reply(|place| match place {
        0 => Reply::status(302).header("location", "https://user:hunter2@login.example/?token=hunter2"),
        1 => Reply::status(500),
        _ => Reply::status(200),
    });
    let hook = format!("http://ann:hunter2@{}/hook?token=hunter2", receiver.address());
    let handle = scene.handle();
    scene.add_past(25);
    let location = Effect::Header {
        name: "location".to_owned(),
        value: Some("https://user:hunter2@login.example/?token=hunter2".to_owned()),
    };
    handle.add_faults([
        Rule::once(Effect::status(500)).cursor(false).from_nth(2),
        Rule::once(Effect::html(302)).cursor(true).and(location),
        Rule::once(Effect::reset()).cursor(false).from_nth(3),
    ]);
    let body = "my code is hunter2";
    let message = handle.add(NewMessage::new().body(body));
    let setup = scene.setup_from_beginning().set("SINKS__OUT__TYPE", "stdout").sink(&hook);
    let mut setup = setup.set("LOG__LEVEL", "trace").set("SINKS__CRM__RETRY__INITIAL", "100ms");
    let mut relay = setup.start();
    relay.wait_for_log("302 redirect to login.example");
    relay.wait_for_log("the API can be polled again");
    receiver.wait(28, &relay);
    handle.revoke_key("start");
    relay.wait_for_log("the API accepts no key");
    assert!(relay.stop().success());
    let lines = relay.rest();
    assert!(lines.iter().any(|line| id_of(line) == message && line.contains(body)), "stdout is for messages");
    let (_, checked, complained) = { setup }.args(&["check"]).output();
    let (_, _, refused) =
        scene.setup_from_beginning().sink("http://ann:hunter2@crm.example.com/?token=hunter2").output();
    let outputs = [("the log", relay.log()), ("check", checked + &complained), ("a refusal", refused)];
    for (name, output) in outputs {
        assert!(!output.is_empty(), "{name}");
        for secret in ["hunter2", &scene.simulator().key()] {
            assert!(!output.contains(secret), "{name} holds a secret:\n{output}");
        }
    }
}

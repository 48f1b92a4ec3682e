//! Tests of `[codes] pattern`: every place that shows the code of a message shows the code that `wait --code` prints.

use joltsms_relay::codes::MASK;

use crate::support::prerequisites::has_type;
use crate::support::scene::Scene;

/// The sinks that show the code of a message, with the lines by which they show the code `4711`.
const SHOWN: [(&str, &str, &str); 10] = [
    ("http", "url = \"http://127.0.0.1:1/\"\nformat = \"jolt-event\"", r#""otp":"4711""#),
    ("http", "url = \"http://127.0.0.1:1/\"\nformat = \"slack\"", ", code 4711"),
    ("http", "url = \"http://127.0.0.1:1/\"\nformat = \"discord\"", ", code 4711"),
    ("http", "url = \"http://127.0.0.1:1/\"\nformat = \"teams\"", ", code 4711"),
    (
        "http",
        "url = \"http://127.0.0.1:1/\"\nformat = \"template\"\ntemplate = '{\"code\":\"{{ message.code }}\"}'",
        r#"{"code":"4711"}"#,
    ),
    ("ntfy", "url = \"http://127.0.0.1:1/\"\ntopic = \"sms\"", ", code 4711"),
    ("exec", "command = [\"/bin/cat\"]", "JOLTSMS_MESSAGE_CODE: 4711"),
    ("mqtt", "url = \"mqtt://127.0.0.1:1\"\ntopic = \"sms\"\nhome_assistant = true", "joltsms/16505551234/code: 4711"),
    (
        "smtp",
        "url = \"smtp://127.0.0.1:1\"\nfrom = \"a@example.com\"\nto = \"b@example.com\"\nsubject = \"{{ message.code }}!\"",
        "Subject: 4711!",
    ),
    ("postgres", "url = \"postgresql://relay@127.0.0.1:1/sms\"\ntable = \"sms\"", "code: 4711"),
];

/// Returns what `check --message` shows for a message of which the API found no code, and the lines that show the code.
fn preview(body: &str, keys_of_all: &str) -> (String, Vec<&'static str>) {
    let scene = Scene::new();
    let message = scene.dir().join("message.json");
    std::fs::write(&message, format!(r#"{{"id":"m1","from":"+1","to":"+16505551234","body":"{body}"}}"#)).unwrap();
    let (mut config, mut lines) = ("[codes]\npattern = 'PIN (\\S{4,6})'\n".to_owned(), Vec::new());
    for (number, (name, keys, line)) in SHOWN.iter().enumerate().filter(|(_, (name, ..))| has_type(name)) {
        config += &format!("[sinks.sink{number}]\ntype = \"{name}\"\n{keys}\n{keys_of_all}\n");
        lines.push(*line);
    }
    let config = scene.file(&config);
    let arguments = ["--config", &config, "check", "--message", message.to_str().unwrap()];
    let (code, said, log) = scene.setup().args(&arguments).output();
    assert_eq!(code, 0, "{log}");
    (said, lines)
}

#[test]
fn every_place_that_shows_a_code_shows_the_one_that_the_pattern_finds() {
    // The body of a real message may end in half a character.
    for body in ["PIN 4711 is yours", r"PIN 4711 \ud83d"] {
        let (said, lines) = preview(body, "");
        for line in lines {
            let times = said.matches(line).count();
            assert!(times > 0, "{line}: {said}");
        }
        // The headings of the four formats for people.
        assert!(said.matches(", code 4711").count() >= 3, "{said}");
    }
}

#[test]
fn a_masked_sink_shows_no_code_that_the_pattern_finds() {
    let (said, _) = preview("PIN 4711 is yours", "mask_codes = true");
    assert!(said.contains(MASK) && !said.contains("4711"), "{said}");
}

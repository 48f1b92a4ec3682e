//! Tests that `check --message` shows exactly what receivers get.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::process::{Output, Stdio};

use joltsms_relay::domain::UnixMs;
use joltsms_relay::sinks::signing::{Encoding, Key, Signed, Signing};
use joltsms_simulator::{NewMessage, NewNumber};

use crate::support::relay::Setup;
use crate::support::relay::terminal::terminal;
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The configuration of sinks of every format, with everything that a request can carry. `NAME` stands for the address
/// of each sink.
const EVERYTHING: &str = r#"
[sinks.out]
type = "stdout"
format = "template"
template = "{{ message.from }}: {{ message.body }}"
[sinks.message]
type = "http"
url = "NAME"
signing = { scheme = "standard-webhooks", secrets = { env = "SECRET" } }
[sinks.event]
type = "http"
url = "NAME"
format = "jolt-event"
method = "PUT"
auth = { basic = { user = { env = "TOKEN" }, password = { env = "TOKEN" } } }
signing = { scheme = "hmac-sha256", secrets = { env = "SECRET" }, header = "X-Sum", prefix = "v=", signed = "timestamp.body" }
[sinks.cloud]
type = "http"
url = "NAME"
format = "cloudevents"
headers = { X-Team = "ops", X-Other = { env = "TOKEN" }, Cookie = { env = "TOKEN" }, Accept = "text/plain" }
[sinks.slack]
type = "http"
url = "NAME"
format = "slack"
auth = { bearer = { env = "TOKEN" } }
[sinks.discord]
type = "http"
url = "NAME"
format = "discord"
[sinks.text]
type = "http"
url = "NAME"
format = "template"
content_type = "text/plain"
template = "{{ message.body }}\n{{ number.serviceName }}"
"#;

const HTTP: [&str; 6] = ["message", "event", "cloud", "slack", "discord", "text"];

fn check(setup: Setup, file: &str) -> Output {
    setup.args(&["check", "--message", file]).into_command().output().unwrap()
}

/// Returns the part of the output about each sink, by the name of the sink.
fn sinks(stdout: &[u8]) -> BTreeMap<String, String> {
    let text = str::from_utf8(stdout).unwrap();
    let parts = text.split("\nsink ").skip(1);
    let named = parts.map(|part| part.split_once(": ").unwrap_or_else(|| panic!("no name: {part}")));
    named.map(|(name, said)| (name.to_owned(), said.strip_suffix('\n').unwrap().to_owned())).collect()
}

/// Returns the signature headers of a body for the time that the headers contain.
fn signatures(sink: &str, headers: &BTreeMap<String, String>, body: &str) -> Vec<(String, String)> {
    let signing = match sink {
        "message" => Signing::StandardWebhooks(vec![Key::standard(SECRET).unwrap()]),
        _ => Signing::HmacSha256 {
            key: Key::raw(SECRET),
            header: "x-sum".parse().unwrap(),
            encoding: Encoding::Hex,
            prefix: "v=".to_owned(),
            signed: Signed::TimestampAndBody,
        },
    };
    let at = UnixMs(headers["webhook-timestamp"].parse::<i64>().unwrap() * 1000);
    let made = signing.headers(&headers["webhook-id"], at, body.as_bytes());
    made.into_iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

/// Waits until the relay has read the list of numbers.
fn wait_for_details(scene: &Scene) {
    scene.wait_until(|handle| handle.requests().iter().any(|request| request.path.starts_with("/v1/numbers")));
    scene.wait_until(|_| scene.count("SELECT count(*) FROM number WHERE id = 'n-1' AND details IS NOT NULL") == 1);
}

#[test]
fn what_is_shown_is_what_receivers_get() {
    let scene = Scene::new();
    let receivers = [(); HTTP.len()].map(|()| Receiver::in_background());
    let urls: Vec<String> =
        receivers.iter().map(|receiver| format!("http://ann:hunter2@{}/hunter2", receiver.address())).collect();
    let mut text = EVERYTHING.to_owned();
    for (name, receiver) in HTTP.iter().zip(&receivers) {
        // A sink without other authorization has a user and a password in its URL.
        let url = match *name {
            "event" | "slack" => receiver.url(),
            _ => urls[HTTP.iter().position(|other| other == name).unwrap()].clone(),
        };
        text = text.replacen("\"NAME\"", &format!("\"{url}\""), 1);
    }
    let config = scene.file(&text);
    let setup = || {
        let setup = scene.setup_from_beginning().args(&["--config", &config]);
        setup.env("SECRET", SECRET).env("TOKEN", "hunter2")
    };
    let service_name = Some("Acme".to_owned());
    scene.handle().add_number(NewNumber { id: Some("n-1".to_owned()), service_name, ..NewNumber::default() });
    let mut relay = setup().start();
    wait_for_details(&scene);
    let now = scene.handle().now();
    let new = NewMessage::new().id("a.b").number("n-1").from("+18005550100").body("<one>\n\u{1b}[2J \u{1f600} 123456");
    scene.handle().add(new.code("123456").received_at(now));
    let line = relay.line();
    receivers.iter().for_each(|receiver| receiver.wait(1, &relay));
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());

    let file = scene.dir().join("message.json");
    fs::write(&file, format!("\n{}\n", scene.handle().rows()[0].json)).unwrap();
    let output = check(setup(), file.to_str().unwrap());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!shown.contains("hunter2") && !shown.contains("whsec"), "{shown}");
    let sinks = sinks(&output.stdout);
    assert_eq!(sinks["out"], format!("takes it\n{line}"));
    for (name, receiver) in HTTP.iter().zip(&receivers) {
        let received = &receiver.received()[0];
        let (head, body) = sinks[*name].split_once("\n\n").unwrap();
        assert_eq!(body.as_bytes(), &received.body[..], "{name}");
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some("takes it"));
        let method = if *name == "event" { "PUT" } else { "POST" };
        assert_eq!(lines.next().unwrap(), format!("{method} http://{}/…", receiver.address()));
        let printed: BTreeMap<String, String> =
            lines.map(|line| line.split_once(": ").unwrap()).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let sent: BTreeMap<String, String> = received
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        assert!(printed.keys().eq(sent.keys()), "{name}: {printed:?} and {sent:?}");
        let signed = ["message", "event"].contains(name);
        for (header, value) in &printed {
            let secret = ["authorization", "cookie", "x-other"].contains(&header.as_str());
            match header.as_str() {
                _ if secret => assert_eq!(value, "[redacted]", "{name}: {header}"),
                "webhook-timestamp" | "webhook-signature" | "x-sum" => assert!(signed, "{name}: {header}"),
                _ => assert_eq!(value, &sent[header], "{name}: {header}"),
            }
        }
        if signed {
            for headers in [&printed, &sent] {
                for (header, value) in signatures(name, headers, body) {
                    assert_eq!(headers[&header], value, "{name}: {header}");
                }
            }
        }
    }
}

/// The configuration of sinks with different filters.
const WANTS: &str = r#"
[sinks.all]
type = "http"
url = "http://127.0.0.1:9/"
[sinks.off]
type = "http"
url = "http://127.0.0.1:9/"
enabled = false
[sinks.young]
type = "http"
url = "http://127.0.0.1:9/"
max_age = "10m"
[sinks.codes]
type = "http"
url = "http://127.0.0.1:9/"
filter = { has_code = true }
[sinks.some]
type = "http"
url = "http://127.0.0.1:9/"
filter = [{ from = "+44*" }, { body = "urgent" }]
[sinks.pay]
type = "http"
url = "http://127.0.0.1:9/"
filter = { service = "PayPal" }
[sinks.told]
type = "http"
url = "http://127.0.0.1:9/"
format = "template"
template = '"{{ number.serviceName }}"'
"#;

#[test]
fn it_says_which_sinks_take_a_message_and_why_others_do_not() {
    let scene = Scene::new();
    let config = scene.file(WANTS);
    let file = scene.dir().join("m.json");
    fs::write(
        &file,
        r#"{"id":"m1","numberId":"n-1","from":"+1800","body":"hi","receivedAt":"2026-01-31T08:00:00.000Z"}"#,
    )
    .unwrap();
    let setup = || scene.setup().args(&["--config", &config]);
    let output = check(setup(), file.to_str().unwrap());
    assert_eq!(output.status.code(), Some(0));
    assert!(!scene.dir().join("state").exists() && scene.handle().counters().requests == 0, "nothing was touched");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let head = "message m1, received 2026-01-31T08:00:00.000Z\nnumber n-1, its details are not in the state (--number FILE gives them)\n";
    assert!(text.starts_with(head), "{text}");
    let said = sinks(&output.stdout);
    let first = |name: &str| said[name].lines().next().unwrap();
    for (name, expected) in [
        ("all", "takes it"),
        ("off", "takes it; it is switched off (enabled = false), so the message would be kept"),
        ("young", "takes it; it is older than max_age = \"10m\", so it would be a dead letter (expired)"),
        ("codes", "filtered out by filter.has_code"),
        ("some", "filtered out by from of filter 1, body of filter 2"),
        ("pay", "the message would wait: the details of its number are unknown, and filter.service asks for them"),
        ("told", "the message would wait: the details of its number are unknown, and the sink's template shows them"),
    ] {
        assert_eq!(first(name), expected, "{name}");
    }
    // The details of the number can be given with `--number`.
    let number = scene.dir().join("n.json");
    fs::write(&number, r#"{"id":"n-1","serviceName":"PayPal","tags":[]}"#).unwrap();
    let given = || {
        let arguments = ["check", "--message", file.to_str().unwrap(), "--number", number.to_str().unwrap()];
        setup().args(&arguments).into_command().output().unwrap()
    };
    let output = given();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.contains("\nnumber n-1, with the details that were given\n"), "{text}");
    assert!(output.status.success() && output.stderr.is_empty());
    let said = sinks(&output.stdout);
    assert!(said["pay"].starts_with("takes it\n") && said["told"].ends_with("\n\n\"PayPal\""), "{said:?}");
    fs::write(&number, r#"{"id":"n-2","serviceName":"Other"}"#).unwrap();
    let output = given();
    let warned = String::from_utf8(output.stderr).unwrap();
    assert!(warned.contains("warning: the message is for number n-1, the details are of n-2"), "{warned}");
    assert_eq!(sinks(&output.stdout)["pay"], "filtered out by filter.service");
    fs::write(&number, "[]").unwrap();
    assert_eq!(given().status.code(), Some(1));
    // Or a relay reads the list of numbers; from then on the state knows the details.
    let service_name = Some("PayPal".to_owned());
    scene.handle().add_number(NewNumber { id: Some("n-1".to_owned()), service_name, ..NewNumber::default() });
    let mut relay = setup().start();
    wait_for_details(&scene);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    let said = sinks(&check(setup(), file.to_str().unwrap()).stdout);
    assert!(said["pay"].starts_with("takes it\n"), "{}", said["pay"]);
    assert!(said["told"].ends_with("\n\n\"PayPal\""), "{}", said["told"]);
}

#[test]
fn what_is_no_message_and_what_a_template_fails_over_is_said() {
    let scene = Scene::new();
    let file = scene.dir().join("m.json");
    let path = file.to_str().unwrap();
    let failing = |setup: Setup, path: &str, code: i32, expected: &str| {
        let output = check(setup, path);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(expected), "{said}");
    };
    failing(scene.setup(), path, 1, "cannot read ");
    fs::write(&file, "{\"id\":\n oops}").unwrap();
    failing(scene.setup(), path, 1, "m.json:2:2: this is not JSON: expected value");
    failing(scene.setup().set("POLL__INTERVAL", "soon"), path, 78, "POLL__INTERVAL");
    let template = "{{ message.id }}{% if message.from == \"ODD\" %}{{ message.new }}{% endif %}";
    let setup = scene.setup().sink("http://127.0.0.1:9/").set("SINKS__CRM__FORMAT", "template");
    let setup = setup.set("SINKS__CRM__CONTENT_TYPE", "text/plain").set("SINKS__CRM__TEMPLATE", template);
    let setup = setup.set("SINKS__CRM__ENABLED", "false");
    fs::write(&file, r#"{"id":"m","from":"ODD"}"#).unwrap();
    let mut command = setup.args(&["check", "--message", "-"]).into_command();
    let output = command.stdin(Stdio::from(File::open(&file).unwrap())).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = "takes it, but its template fails on it: line 1 of the template: undefined value: `message.new` is \
                    undefined; the message would be a dead letter (template); it is switched off (enabled = false), so the \
                    message would be kept";
    assert_eq!(sinks(&output.stdout)["crm"], expected);
}

#[test]
fn a_terminal_gets_nothing_that_acts_on_it_and_nobody_the_password_of_a_proxy() {
    let scene = Scene::new();
    let file = scene.dir().join("m.json");
    fs::write(&file, "{\"id\":\"m\",\"body\":\"x\\u001b[2J\\u202e\\nsink evil: takes it\"}").unwrap();
    let setup = scene.setup().sink("http://crm.example/hook").set("SINKS__CRM__ALLOW_HTTP", "true");
    let setup =
        setup.set("SINKS__CRM__PROXY", "http://ann:hunter2@p.example:3128").set("SINKS__CRM__FORMAT", "template");
    let setup = setup.set("SINKS__CRM__CONTENT_TYPE", "text/plain").set("SINKS__CRM__TEMPLATE", "{{ message.body }}");
    let (mut screen, side) = terminal();
    let mut relay = setup.args(&["check", "--message", file.to_str().unwrap()]).start_with_stdout(side);
    let mut seen = Vec::new();
    while !seen.ends_with(b"evil: takes it\r\n") {
        let mut byte = [0];
        screen.read_exact(&mut byte).unwrap();
        seen.extend(byte);
    }
    assert_eq!(relay.wait().code(), Some(0), "{}", relay.log());
    let seen = String::from_utf8(seen).unwrap().replace("\r\n", "\n");
    let (head, body) = seen.split_once("\n\n| ").unwrap();
    assert_eq!(body, "x\\u001b[2J\\u202e\n| sink evil: takes it\n");
    assert!(head.ends_with("\nproxy-authorization: [redacted]") && !head.contains("hunter2"), "{head}");
}

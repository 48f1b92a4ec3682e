//! Tests in which published libraries read what the relay sends: the verifiers of Standard Webhooks and the SDK of
//! CloudEvents.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::prerequisites::{all_there, libraries, missing_libraries, missing_programs, program};
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::{Received, Receiver};

const COUNT: i64 = 1_000;

const SECRETS: [&str; 2] =
    ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="];

/// Writes a file with a thousand deliveries, each of another message. Returns its path.
fn deliveries(scene: &Scene, settings: &[(&str, &str)]) -> PathBuf {
    scene.add_past(COUNT);
    let receiver = Receiver::in_background();
    let mut setup = scene.setup_from_beginning().sink(&receiver.url());
    for (key, value) in settings {
        setup = setup.set(key, value);
    }
    let relay = setup.start();
    receiver.wait(usize::try_from(COUNT).unwrap(), &relay);
    ends_with_nothing_more(relay);
    let received = receiver.received();
    let ids: BTreeSet<String> = received.iter().map(|request| request.webhook_id().to_owned()).collect();
    assert_eq!((ids, received.len()), (scene.ids().into_iter().collect(), scene.ids().len()), "each once");
    let path = scene.dir().join("deliveries.jsonl");
    fs::write(&path, received.iter().map(|request| line(request) + "\n").collect::<String>()).unwrap();
    path
}

fn line(request: &Received) -> String {
    let headers: Value =
        request.headers.iter().map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap()))).collect();
    json!({"headers": headers, "body": str::from_utf8(&request.body).unwrap()}).to_string()
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

fn output(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_published_verifiers_accept_both_secrets_and_refuse_what_was_altered() {
    let mut missing = missing_programs(&["node"]);
    missing.extend(missing_libraries(&["venv/bin/python", "node_modules/standardwebhooks"]));
    if !all_there(&missing) {
        return;
    }
    let scene = Scene::new();
    let both = SECRETS.join(",");
    let path = deliveries(
        &scene,
        &[("SINKS__CRM__SIGNING__SCHEME", "standard-webhooks"), ("SINKS__CRM__SIGNING__SECRETS", &both)],
    );
    // The verifiers try each delivery with each secret. They also try four altered copies of each delivery.
    let expected = json!({
        "deliveries": COUNT, "accepted": 2 * COUNT, "altered_accepted": 0, "altered_refused": 8 * COUNT,
    });
    let python = Command::new(libraries().join("venv/bin/python"))
        .args([script("verify.py"), path.clone()])
        .args(SECRETS)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&python.stderr);
    assert!(python.status.success(), "{said}");
    assert_eq!(serde_json::from_slice::<Value>(&python.stdout).unwrap(), expected, "the library of Python");
    let mut node = Command::new(program("node").unwrap());
    node.args([script("verify.cjs"), libraries(), path]).args(SECRETS);
    assert_eq!(output(&mut node), expected, "the library of Node");
}

#[test]
fn the_sdk_of_cloudevents_accepts_every_event() {
    let mut missing = missing_programs(&["node"]);
    missing.extend(missing_libraries(&["node_modules/cloudevents"]));
    if !all_there(&missing) {
        return;
    }
    let scene = Scene::new();
    let path = deliveries(&scene, &[("SINKS__CRM__FORMAT", "cloudevents")]);
    let mut node = Command::new(program("node").unwrap());
    node.args([script("cloudevents.cjs"), libraries(), path]);
    assert_eq!(output(&mut node), json!({"accepted": COUNT, "different": COUNT}));
}

/// Returns the block of docs/signing.md that names this file.
fn block(file: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/signing.md")).unwrap();
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let names_file = |code: &&str| code.lines().next().is_some_and(|line| line.ends_with(file));
    blocks.map(|(_, code)| code).find(names_file).unwrap_or_else(|| panic!("no block of {file}")).to_owned()
}

#[test]
fn the_programs_of_the_documents_accept_a_request_and_refuse_altered_ones() {
    if !all_there(&missing_programs(&["python3", "node", "php"])) {
        return;
    }
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let mut setup = scene.setup().sink(&receiver.url());
    let secrets = SECRETS.join(",");
    setup = setup.set("SINKS__CRM__SIGNING__SCHEME", "standard-webhooks").set("SINKS__CRM__SIGNING__SECRETS", &secrets);
    let relay = setup.start();
    scene.wait_for_polls(2);
    scene.add();
    receiver.wait(1, &relay);
    let request = receiver.received().remove(0);
    let header = |name: &str| request.headers[name].to_str().unwrap().to_owned();
    let (id, timestamp, signature) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    let old = (timestamp.parse::<i64>().unwrap() - 1_000).to_string();
    for (name, file) in [("python3", "verify.py"), ("node", "verify.mjs"), ("php", "verify.php")] {
        fs::write(scene.dir().join(file), block(file)).unwrap();
        let body = scene.dir().join("body");
        let accepts = |secret: &str, id: &str, timestamp: &str, signature: &str, text: &[u8]| {
            fs::write(&body, text).unwrap();
            let mut command = Command::new(program(name).unwrap());
            command.arg(scene.dir().join(file)).stdin(fs::File::open(&body).unwrap());
            command.env("SECRET", secret).env("ID", id).env("TIMESTAMP", timestamp).env("SIGNATURE", signature);
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert_eq!(said, "", "{name}");
            output.status.code() == Some(0)
        };
        for secret in SECRETS {
            assert!(accepts(secret, &id, &timestamp, &signature, &request.body), "{name}");
        }
        let altered = [&request.body[..], b" "].concat();
        assert!(!accepts(SECRETS[0], &id, &timestamp, &signature, &altered), "{name}: another body");
        assert!(!accepts(SECRETS[0], "other", &timestamp, &signature, &request.body), "{name}: another id");
        assert!(!accepts(SECRETS[0], &id, &old, &signature, &request.body), "{name}: another time");
        assert!(!accepts("whsec_AAAA", &id, &timestamp, &signature, &request.body), "{name}: another secret");
    }
}

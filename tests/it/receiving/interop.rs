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

//! Tests of the formats other than the API's own, as receivers get them from the real program.

use joltsms_relay::delivery::log_sentences::{MESSAGE_IS_DEAD, SINK_FAILS};
use joltsms_simulator::NewMessage;
use serde_json::{Value, json};

use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

#[test]
fn a_receiver_of_the_vendor_s_webhooks_gets_what_it_knows() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let setup = scene.setup().sink(&receiver.url()).set("SINKS__CRM__FORMAT", "jolt-event");
    let relay = setup.set("API__ACCOUNT", "user_xyz789").start();
    relay.wait_for_log("relaying what comes from now on");
    let message = NewMessage::new().from("+18005559876").body("Your code is 847291").code("847291");
    let id = scene.handle().add(message);
    receiver.wait(1, &relay);
    let received = &receiver.received()[0];
    assert_eq!(received.headers["content-type"], "application/json");
    assert_eq!(received.webhook_id(), id);
    let event: Value = serde_json::from_slice(&received.body).unwrap();
    assert_eq!(event["id"], format!("evt_sms_{id}"));
    assert_eq!((&event["type"], &event["accountId"]), (&json!("sms.received"), &json!("user_xyz789")));
    assert_eq!((&event["data"]["messageId"], &event["data"]["otp"]), (&json!(id), &json!("847291")));
    ends_with_nothing_more(relay);
}

#[test]
fn people_read_what_their_template_makes() {
    let scene = Scene::new();
    let file = scene.file(
        "[sinks.out]\ntype = \"stdout\"\nformat = \"template\"\ntemplate = \"{{ message.from }}: {{ message.body }}\"\n",
    );
    let relay = scene.setup().args(&["--config", &file]).start();
    relay.wait_for_log("relaying what comes from now on");
    scene.handle().add(NewMessage::new().from("ACME").body("one\ntwo\u{1b}[2J\u{7}"));
    assert_eq!(relay.line(), "ACME: one two\u{fffd}[2J\u{fffd}");
    ends_with_nothing_more(relay);
}

#[test]
fn what_a_template_makes_nothing_of_becomes_a_dead_letter_and_the_others_arrive() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let template = "{{ message.body }}{% if message.from == \"ODD\" %}{{ message.new }}{% endif %}";
    let setup = scene.setup().sink(&receiver.url()).set("SINKS__CRM__FORMAT", "template");
    let setup = setup.set("SINKS__CRM__CONTENT_TYPE", "text/plain").set("SINKS__CRM__TEMPLATE", template);
    let relay = { setup }.start();
    relay.wait_for_log("relaying what comes from now on");
    let odd = scene.handle().add(NewMessage::new().from("ODD").body("a secret text"));
    scene.handle().add(NewMessage::new().from("EVEN").body("hello"));
    receiver.wait(1, &relay);
    relay.wait_for_log(MESSAGE_IS_DEAD);
    wait_until(
        "both to be settled",
        || scene.count("SELECT count(*) FROM delivery WHERE state IN ('dead', 'delivered')") == 2,
        || relay.log(),
    );
    let log = relay.log();
    let of = format!("ERROR {MESSAGE_IS_DEAD} message.id=\"{odd}\" sink.name=\"crm\" attempts=0 took_ms=");
    let why = " reason=\"template\" answer=\"line 1 of the template: undefined value: `message.new` is undefined\"";
    assert!(log.contains(&of) && log.contains(why), "{log}");
    assert!(!log.contains("a secret text") && !log.contains(SINK_FAILS), "{log}");
    assert_eq!(scene.count("SELECT count(*) FROM delivery WHERE state = 'dead' AND reason = 'template'"), 1);
    ends_with_nothing_more(relay);
    assert_eq!(receiver.count(), 1);
    let received = &receiver.received()[0];
    assert_eq!((&received.body[..], received.headers["content-type"].to_str().unwrap()), (&b"hello"[..], "text/plain"));
}

#[test]
fn check_says_how_requests_leave_and_shows_no_secret() {
    let scene = Scene::new();
    let file = scene.file(
        "[sinks.crm]\ntype = \"http\"\nurl = \"https://a.example/hooks/hunter2\"\nmethod = \"PUT\"\n\
         auth = { bearer = { env = \"TOKEN\" } }\nproxy = { env = \"PROXY\" }\n\
         signing = { scheme = \"standard-webhooks\", secrets = [{ env = \"NEW\" }, { env = \"OLD\" }] }\n\
         [sinks.other]\ntype = \"http\"\nurl = \"https://b.example\"\n\
         signing = { scheme = \"hmac-sha256\", secrets = { env = \"TOKEN\" }, header = \"X-Sum\" }\n",
    );
    let setup = scene.setup().args(&["check", "--config", &file]).env("TOKEN", "hunter2");
    let setup =
        setup.env("PROXY", "http://ann:hunter2@p.example:3128").env("OLD", "whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVu");
    let (code, out, said) = { setup }.env("NEW", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").output();
    assert_eq!(code, 0, "{said}");
    for line in [
        "sink           crm: PUT https://a.example/…, signed (standard-webhooks, 2 secrets), authenticated, through \
         http://…@p.example:3128/",
        "sink           other: POST https://b.example/, signed (hmac-sha256 in x-sum)",
    ] {
        assert!(out.contains(line), "{out}");
    }
    assert!(!out.contains("hunter2") && !out.contains("whsec") && said.is_empty(), "{out}{said}");
}

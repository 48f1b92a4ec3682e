//! Tests of the services that people ask for: Slack, Discord, Telegram, ntfy and Apprise, as stubs that give the documented
//! answers.

use joltsms_relay::delivery::log_sentences::{
    RECEIVER_TAKES_NOTHING, RECEIVER_WANTS_SILENCE, SINK_FAILS, SINK_WORKS_AGAIN,
};
use serde_json::{Value, json};

use crate::support::prerequisites::has_type;
use crate::support::relay::setup::Setup;
use crate::support::scene::Scene;
use crate::support::servers::receiver::{Receiver, Reply};

fn reply(status: u16, body: impl Into<bytes::Bytes>) -> Reply {
    Reply { body: body.into(), ..Reply::status(status) }
}

/// Gives these answers in turn, and the last one again and again.
fn answer(receiver: &Receiver, replies: Vec<Reply>) {
    receiver.reply(move |request| replies[request.min(replies.len() - 1)].clone());
}

fn body_of(receiver: &Receiver, request: usize) -> Value {
    serde_json::from_slice(&receiver.received()[request].body).unwrap()
}

fn telegram(scene: &Scene, receiver: &Receiver) -> Setup {
    scene
        .setup()
        .set("SINKS__TG__TYPE", "telegram")
        .set("SINKS__TG__URL", receiver.url().trim_end_matches("/hook"))
        .set("SINKS__TG__TOKEN", "123:HUNTER2")
        .set("SINKS__TG__CHAT", "-100123")
        .set("SINKS__TG__RETRY__INITIAL", "100ms")
}

#[test]
fn slack_and_discord_pause_the_sink_when_their_webhook_is_gone() {
    for (format, status, body, words) in [
        ("slack", 404, "no_service", "404 Not Found: Slack does not know the webhook"),
        ("slack", 404, "channel_not_found", "404 Not Found: the channel of the webhook does not exist"),
        ("slack", 403, "invalid_token", "403 Forbidden: Slack does not accept the token"),
        ("discord", 404, r#"{"message": "Unknown Webhook", "code": 10015}"#, "404 Not Found: Discord does not know"),
        ("discord", 401, r#"{"message": "x", "code": 50027}"#, "401 Unauthorized: Discord does not accept the token"),
    ] {
        let scene = Scene::new();
        let receiver = Receiver::in_background();
        answer(&receiver, vec![reply(status, body)]);
        let mut relay = scene.setup().sink(&receiver.url()).set("SINKS__CRM__FORMAT", format).start();
        relay.wait_for_log("relaying what comes from now on");
        scene.add();
        relay.wait_for_log(&format!("{RECEIVER_TAKES_NOTHING} sink.name=\"crm\" reason=\"{words}"));
        assert_eq!(relay.stop().code(), Some(0));
        assert_eq!(receiver.count(), 1, "{body}");
        assert_eq!(scene.count("SELECT count(*) FROM sink WHERE paused = 'gone'"), 1);
    }
}

#[test]
fn discord_s_own_wait_counts() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let limited = reply(429, r#"{"message": "You are being rate limited.", "retry_after": 0.4, "global": false}"#);
    answer(&receiver, vec![limited.header("retry-after", "600"), Reply::status(204)]);
    let mut relay = scene.setup().sink(&receiver.url()).set("SINKS__CRM__FORMAT", "discord").start();
    relay.wait_for_log("relaying what comes from now on");
    scene.add();
    receiver.wait(2, &relay);
    assert!(relay.log().contains(RECEIVER_WANTS_SILENCE) && relay.log().contains("wait_s=0.4"), "{}", relay.log());
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn telegram_gets_text_and_its_answers_are_read() {
    if !has_type("telegram") {
        return;
    }
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let limited = json!({
        "ok": false, "error_code": 429, "description": "Too Many Requests: retry after 1", "parameters": {"retry_after": 1}
    });
    answer(
        &receiver,
        vec![
            reply(429, limited.to_string()),
            reply(200, "<html>a captive portal</html>"),
            reply(200, r#"{"ok":true,"result":{}}"#),
        ],
    );
    let mut relay = telegram(&scene, &receiver).start();
    relay.wait_for_log("relaying what comes from now on");
    let id = scene.add();
    relay.wait_for_log(&format!("{RECEIVER_WANTS_SILENCE} sink.name=\"tg\""));
    relay
        .wait_for_log(&format!("{SINK_FAILS} sink.name=\"tg\" reason=\"the answer is not one of Telegram's Bot API\""));
    relay.wait_for_log(SINK_WORKS_AGAIN);
    let body = body_of(&receiver, 2);
    let row: Value = serde_json::from_str(&scene.handle().row(&id).unwrap().json).unwrap();
    let text = body["text"].as_str().unwrap();
    assert!(text.starts_with("SMS to ") && text.ends_with(row["body"].as_str().unwrap()), "{body}");
    assert_eq!((&body["chat_id"], &body["disable_notification"]), (&json!("-100123"), &json!(false)));
    answer(
        &receiver,
        vec![reply(403, r#"{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}"#)],
    );
    scene.add();
    let words = "403 Forbidden: the user has blocked the bot";
    relay.wait_for_log(&format!("{RECEIVER_TAKES_NOTHING} sink.name=\"tg\" reason=\"{words}\""));
    assert!(!relay.log().contains("HUNTER2"), "{}", relay.log());
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn ntfy_gets_the_topic_and_an_id_against_repeats() {
    if !has_type("ntfy") {
        return;
    }
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    answer(&receiver, vec![reply(429, r#"{"code":42901,"http":429}"#), reply(200, r#"{"id":"x"}"#)]);
    let mut relay = scene
        .setup()
        .set("SINKS__PHONE__TYPE", "ntfy")
        .set("SINKS__PHONE__URL", &receiver.url())
        .set("SINKS__PHONE__TOPIC", "hunter2-topic")
        .set("SINKS__PHONE__TOKEN", "tk_hunter2")
        .set("SINKS__PHONE__PRIORITY", "5")
        .set("SINKS__PHONE__TAGS", "key,phone")
        .start();
    relay.wait_for_log("relaying what comes from now on");
    let id = scene.add();
    receiver.wait(2, &relay);
    let body = body_of(&receiver, 1);
    assert!(body["message"].as_str().unwrap().starts_with("SMS to "), "{body}");
    assert_eq!(body["topic"], "hunter2-topic");
    assert_eq!((&body["priority"], &body["tags"]), (&json!(5), &json!(["key", "phone"])));
    assert_eq!(body["sequence_id"], id.as_str());
    assert_eq!(body_of(&receiver, 0)["sequence_id"], id.as_str(), "the same at every attempt");
    assert_eq!(receiver.received()[1].headers["authorization"], "Bearer tk_hunter2");
    assert_eq!(relay.stop().code(), Some(0));
    assert!(!relay.log().contains("hunter2"), "{}", relay.log());
}

#[test]
fn apprise_gets_text_and_tags_and_a_key_that_it_does_not_know_pauses_the_sink() {
    if !has_type("apprise") {
        return;
    }
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let answers = [424, 500, 200, 204].map(|status| reply(status, if status == 204 { "" } else { r#"{"error":"x"}"# }));
    answer(&receiver, answers.to_vec());
    let mut relay = scene
        .setup()
        .set("SINKS__ALL__TYPE", "apprise")
        .set("SINKS__ALL__URL", &receiver.url().replace("/hook", "/notify/hunter2"))
        .set("SINKS__ALL__TAGS", "ops,night shift")
        .set("SINKS__ALL__RETRY__INITIAL", "100ms")
        .start();
    relay.wait_for_log("relaying what comes from now on");
    let id = scene.add();
    let words = "424 Failed Dependency: a service could not be notified, or no service has the tags";
    relay.wait_for_log(&format!("{SINK_FAILS} sink.name=\"all\" reason=\"{words}\""));
    relay.wait_for_log(SINK_WORKS_AGAIN);
    let body = body_of(&receiver, 2);
    let row: Value = serde_json::from_str(&scene.handle().row(&id).unwrap().json).unwrap();
    let text = body["body"].as_str().unwrap();
    assert!(text.starts_with("SMS to ") && text.ends_with(row["body"].as_str().unwrap()), "{body}");
    assert_eq!((&body["tag"], &body["format"]), (&json!("ops,night shift"), &json!("text")));
    scene.add();
    let words = "the Apprise server has no configuration under this key";
    relay.wait_for_log(&format!("{RECEIVER_TAKES_NOTHING} sink.name=\"all\" reason=\"{words}\""));
    assert_eq!(relay.stop().code(), Some(0));
    assert!(!relay.log().contains("hunter2"), "{}", relay.log());
    assert_eq!(scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'"), 1);
}

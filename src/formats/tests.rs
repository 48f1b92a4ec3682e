//! Tests of the payloads of each format, for ordinary, strange and hostile messages.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::codes::CodeFinder;

const AS_IT_CAME: &str =
    "{ \"id\" : \"m1\",\n\t\"n\": 12345678901234567890.10, \"x\":\"\\u0000 \u{1f600}\",\r\n \"new\": [ 1 ] }";

/// The message in the API's documentation.
const DOCUMENTED: &str = r#"{"id":"msg_def789","numberId":"num_abc456","number":{"id":"num_abc456","phoneNumber":"+16505551234"},"from":"+18005559876","to":"+16505551234","body":"Your verification code is 847291","parsedCode":"847291","encrypted":false,"isRead":false,"receivedAt":"2026-01-31T08:00:00.000Z","ingestedAt":"2026-01-31T08:00:00.412Z"}"#;

fn account() -> Arc<str> {
    "main".into()
}

fn known(name: &str, account: Arc<str>) -> Format {
    Format::named(name, FormatContext { account, codes: CodeFinder::default() }).unwrap()
}

fn all() -> [Format; 7] {
    let template = Template::new("{{ message.body | tojson }}", "application/json", account(), false).unwrap();
    [
        known("message", account()),
        known("jolt-event", account()),
        known("cloudevents", account()),
        known("slack", account()),
        known("discord", account()),
        known("teams", account()),
        Format::Template(Arc::new(template)),
    ]
}

fn text(format: &Format, raw: &str) -> String {
    String::from_utf8(format.payload(raw.into(), None).unwrap().body).unwrap()
}

fn parsed(format: &Format, raw: &str) -> Value {
    let text = text(format, raw);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_message_is_passed_on_byte_for_byte() {
    let payload = known("message", account()).payload(AS_IT_CAME.into(), None).unwrap();
    assert_eq!(payload, Payload { content_type: "application/json".into(), body: AS_IT_CAME.as_bytes().to_vec() });
}

#[test]
fn a_line_differs_from_the_message_only_between_tokens() {
    let line = known("message", account()).line(AS_IT_CAME.into(), None).unwrap();
    let expected = "{\"id\":\"m1\",\"n\":12345678901234567890.10,\"x\":\"\\u0000 \u{1f600}\",\"new\":[1]}";
    assert_eq!(String::from_utf8(line.body).unwrap(), expected);
}

/// The expected payload is the example in the vendor's documentation. The times, which the example leaves out, were
/// added.
#[test]
fn a_jolt_event_is_what_the_vendor_documents() {
    let expected = r#"{"id":"evt_sms_msg_def789","type":"sms.received","createdAt":"2026-01-31T08:00:00.412Z","accountId":"user_xyz789","numberId":"num_abc456","data":{"messageId":"msg_def789","from":"+18005559876","to":"+16505551234","body":"Your verification code is 847291","otp":"847291","receivedAt":"2026-01-31T08:00:00.000Z"}}"#;
    let payload = known("jolt-event", "user_xyz789".into()).payload(DOCUMENTED.into(), None).unwrap();
    assert_eq!(payload.content_type, "application/json");
    assert_eq!(String::from_utf8(payload.body).unwrap(), expected);
}

#[test]
fn a_jolt_event_has_every_field_whatever_the_message_has() {
    let format = known("jolt-event", account());
    let bare = json!({
        "id": "evt_sms_m1", "type": "sms.received", "createdAt": null, "accountId": "main", "numberId": null,
        "data": {"messageId": "m1", "from": null, "to": null, "body": null, "otp": null, "receivedAt": null},
    });
    for raw in [r#"{"id":"m1"}"#, r#"{"id":"m1","parsedCode":null}"#, r#"{"id":"m0","id":"m1"}"#] {
        assert_eq!(parsed(&format, raw), bare, "{raw}");
    }
    let odd = parsed(&format, r#"{"id":"a\"b","receivedAt":5,"body":["x"],"parsedCode":123}"#);
    assert_eq!((&odd["id"], &odd["createdAt"]), (&json!("evt_sms_a\"b"), &json!(5)));
    assert_eq!((&odd["data"]["body"], &odd["data"]["otp"]), (&json!(["x"]), &json!(123)));
}

#[test]
fn a_cloud_event_carries_the_message_as_it_came() {
    let payload = known("cloudevents", account()).payload(AS_IT_CAME.into(), None).unwrap();
    assert_eq!(payload.content_type, "application/cloudevents+json");
    let expected = format!(
        r#"{{"specversion":"1.0","id":"m1","source":"/joltsms/main","type":"com.joltsms.sms.received","datacontenttype":"application/json","data":{AS_IT_CAME}}}"#
    );
    assert_eq!(String::from_utf8(payload.body).unwrap(), expected);
    let event = parsed(&known("cloudevents", account()), DOCUMENTED);
    assert_eq!((&event["time"], &event["subject"]), (&json!("2026-01-31T08:00:00.000Z"), &json!("+16505551234")));
    for odd in [r#"{"id":"m","receivedAt":"yesterday","to":""}"#, r#"{"id":"m","receivedAt":5,"to":null}"#] {
        let event = parsed(&known("cloudevents", account()), odd);
        assert!(event.get("time").is_none() && event.get("subject").is_none(), "{event}");
    }
}

fn shown_by(format: &Format, body: &str) -> String {
    let raw = json!({"id": "m", "from": "+1", "to": "+2", "body": body}).to_string();
    let made = parsed(format, &raw);
    let content = made.get("text").or(made.get("content")).and_then(Value::as_str).unwrap();
    content.split_once('\n').unwrap().1.to_owned()
}

#[test]
fn a_template_needs_the_number_if_it_shows_details_that_the_message_lacks() {
    for (source, needs) in [
        ("{{ message.body }} number.tags", false),
        ("{{ number.id }} {{ number.phoneNumber }}", false),
        ("{% set number = 5 %}{{ number }}", false),
        ("{% macro twice(number) %}{{ number }}{{ number }}{% endmacro %}{{ twice(1) }}", false),
        ("{{ number.serviceName }}", true),
        ("{% if message.from == 'nobody' %}{{ number.notes }}{% endif %}", true),
        ("{{ number.tags | join(', ') }}", true),
        ("{{ number['serviceName'] }}", true),
        ("{{ number | tojson }}", true),
        ("{% for name in number %}{{ name }}{% endfor %}", true),
        ("{% set n = number %}{{ n.serviceName }}", true),
        ("{% set number = number %}{{ number.serviceName }}", true),
        ("{% with number = number.serviceName %}{{ number }}{% endwith %}", true),
    ] {
        let template = Template::new(source, "text/plain", account(), false).unwrap();
        let expected = if needs { NumberUse::Needed } else { NumberUse::Ignored };
        assert_eq!(Format::Template(Arc::new(template)).number_use(), expected, "{source}");
    }
}

#[test]
fn details_of_the_number_are_shown_if_they_are_known() {
    const NUMBER: &str = r#"{"id":"num_abc456","phoneNumber":"+16505551234","serviceName":"Ac*me","tags":["a","b"]}"#;
    let source =
        "{{ number.serviceName }}: {{ number.tags | join(' ') }}, {{ number.phoneNumber }}, {{ number.notes }}";
    let template = Template::new(source, "text/plain", account(), false).unwrap();
    for (format, known, unknown) in [
        (known("slack", account()), "SMS to +16505551234 (Ac*me) from", "SMS to +16505551234 from"),
        (known("discord", account()), r"SMS to +16505551234 \\(Ac\\*me\\) from", "SMS to +16505551234 from"),
        (Format::Template(Arc::new(template)), "Ac*me: a b, +16505551234, ", ": , +16505551234, "),
    ] {
        let made = |number| String::from_utf8(format.payload(DOCUMENTED.into(), number).unwrap().body).unwrap();
        assert!(made(Some(NUMBER)).contains(known), "{}", made(Some(NUMBER)));
        assert!(made(None).contains(unknown), "{}", made(None));
    }
}

#[test]
fn the_text_of_a_sender_is_no_markup_in_slack() {
    for (body, shown) in [
        ("<!channel> & <@U1|x>", "&lt;!channel&gt; &amp; &lt;@U1|x&gt;"),
        ("@channel @HERE @everyone", "@\u{200b}channel @\u{200b}HERE @\u{200b}everyone"),
        ("mail a@heresy.example, *bold* `x`", "mail a@heresy.example, *bold* `x`"),
        ("&lt;!here&gt;", "&amp;lt;!here&amp;gt;"),
    ] {
        assert_eq!(shown_by(&known("slack", account()), body), shown);
    }
    let made = parsed(&known("slack", account()), DOCUMENTED);
    assert_eq!(made["text"], "SMS to +16505551234 from +18005559876, code 847291\nYour verification code is 847291");
    for switch in ["mrkdwn", "link_names", "unfurl_links", "unfurl_media"] {
        assert_eq!(made[switch], false, "{switch}");
    }
    assert_eq!(made["parse"], "none");
}

#[test]
fn the_text_of_a_sender_is_no_markup_in_discord() {
    for (body, shown) in [
        ("**b** __u__ ~~s~~ ||x|| `c`", r"\*\*b\*\* \_\_u\_\_ \~\~s\~\~ \|\|x\|\| \`c\`"),
        ("[x](https://evil.example) <@1> :smile:", r"\[x\]\(https\://evil.example\) \<\@1\> \:smile\:"),
        ("# big\n- item\n> quote\n-# small\n1. one 2.", "\\# big\n\\- item\n\\> quote\n\\-# small\n1\\. one 2."),
        ("@everyone", "\\@\u{200b}everyone"),
        (r"\*", r"\\\*"),
        ("5 - 4 # 3, 1.5", "5 - 4 # 3, 1.5"),
    ] {
        assert_eq!(shown_by(&known("discord", account()), body), shown);
    }
    let made = parsed(&known("discord", account()), DOCUMENTED);
    assert_eq!(made["content"], "SMS to +16505551234 from +18005559876, code 847291\nYour verification code is 847291");
    assert_eq!((&made["allowed_mentions"], &made["flags"]), (&json!({"parse": []}), &json!(4)));
}

#[test]
fn a_chat_shows_the_service_of_a_number_and_a_heading_of_one_line() {
    let raw = r#"{"id":"m","from":"a\nb","to":"+2","body":"x"}"#;
    for format in [known("slack", account()), known("discord", account())] {
        let made = format.payload(raw.into(), Some(r#"{"serviceName":"Acme"}"#)).unwrap();
        let made: Value = serde_json::from_slice(&made.body).unwrap();
        let content = made.get("text").or(made.get("content")).unwrap().as_str().unwrap().replace('\\', "");
        assert!(content == "SMS to +2 (Acme) from a b\nx", "{content}");
        let bare = parsed(&format, r#"{"id":"m"}"#);
        let content = bare.get("text").or(bare.get("content")).unwrap().as_str().unwrap();
        assert_eq!(content, "SMS to an unknown number from an unknown sender\n");
    }
}

#[test]
fn long_texts_are_cut_at_the_limit_of_the_chat() {
    for (format, longest) in [(known("slack", account()), 4_000), (known("discord", account()), 2_000)] {
        for piece in ["x", "*", "<", "\u{1f600}", "@everyone "] {
            let raw = json!({"id": "m", "body": piece.repeat(5_000)}).to_string();
            let made = parsed(&format, &raw);
            let content = made.get("text").or(made.get("content")).unwrap().as_str().unwrap();
            let count = if format.name() == "slack" { content.chars().count() } else { content.encode_utf16().count() };
            assert!((longest - 12..=longest).contains(&count), "{count}");
            assert!(content.ends_with('…') && !content.ends_with("\\…"), "{content}");
        }
        let fits = "x".repeat(longest - "SMS to an unknown number from an unknown sender\n".len());
        let made = parsed(&format, &json!({"id": "m", "body": fits}).to_string()).to_string();
        assert!(!made.contains('…'));
    }
}

/// Media types, templates, and their outputs for the documented message.
#[test]
fn templates_and_what_they_make() {
    for (content_type, source, made) in [
        ("application/json", r#"{"text":"{{ message.body }}"}"#, r#"{"text":"Your verification code is 847291"}"#),
        (
            "application/json",
            r#"{"text":{{ message.body | tojson }}}"#,
            r#"{"text":"Your verification code is 847291"}"#,
        ),
        ("application/json", "{{ message | tojson }}", DOCUMENTED),
        (
            "application/json",
            r#"{"c":"{{ message.parsedCode }}","n":{{ number.notes | tojson }}}"#,
            r#"{"c":"847291","n":null}"#,
        ),
        (
            "text/plain",
            "{{ message.from }} -> {{ number.phoneNumber }} ({{ account }})",
            "+18005559876 -> +16505551234 (main)",
        ),
        ("text/plain", "{% if message.parsedCode %}{{ message.parsedCode }}{% else %}none{% endif %}", "847291"),
        ("text/plain", "{{ message.body[:4] }}{{ number.tags | join(',') }}", "Your"),
        ("text/plain", "{{ message.new | default('-') }}{{ number.serviceName }}", "-"),
        ("text/html", "<b>{{ message.body }}</b>", "<b>Your verification code is 847291</b>"),
        (
            "application/x-www-form-urlencoded",
            "to={{ message.to }}&b={{ message.body }}",
            "to=%2B16505551234&b=Your%20verification%20code%20is%20847291",
        ),
        ("application/json", "{% macro q(x) %}\"{{ x }}\"{% endmacro %}[{{ q(message.to) }}]", r#"["+16505551234"]"#),
        ("application/json", "{% set x %}a{{ message.to }}{% endset %}\"{{ x }}\"", "\"a+16505551234\""),
    ] {
        let template =
            Template::new(source, content_type, account(), false).unwrap_or_else(|wrong| panic!("{source}: {wrong}"));
        let format = Format::Template(Arc::new(template));
        let payload = format.payload(DOCUMENTED.into(), None).unwrap();
        assert_eq!(payload.content_type, content_type);
        let text = String::from_utf8(payload.body).unwrap();
        if made == DOCUMENTED {
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), serde_json::from_str::<Value>(made).unwrap());
        } else {
            assert_eq!(text, made, "{source}");
        }
    }
}

#[test]
fn a_template_shows_the_code_that_the_pattern_finds_and_the_message_stays_as_it_came() {
    let template = Template::new("{{ message.code }} {{ message | tojson }}", "text/plain", account(), false).unwrap();
    let codes = CodeFinder::parsed_or(r"PIN (\d+)").unwrap();
    let format = Format::Template(Arc::new(template.with_codes(codes)));
    for (raw, code) in [
        (r#"{"body":"PIN 12","parsedCode":"4711"}"#, "4711"),
        (r#"{"body":"PIN 12"}"#, "12"),
        (r#"{"body":"none"}"#, ""),
        (r#"{"body":"PIN 12","code":"mine"}"#, "mine"),
    ] {
        let payload = format.payload(raw.into(), None).unwrap();
        let text = String::from_utf8(payload.body).unwrap();
        let (shown, message) = text.split_once(' ').unwrap();
        let message: Value = serde_json::from_str(message).unwrap();
        assert_eq!(
            (shown, message.get("code").and_then(Value::as_str)),
            (code, raw.contains("mine").then_some("mine"))
        );
    }
}

#[test]
fn a_jolt_event_has_the_code_that_the_pattern_finds_and_the_vendor_s_code_as_it_is_spelled() {
    let codes = CodeFinder::parsed_or(r"PIN (\d+)").unwrap();
    let format = Format::named("jolt-event", FormatContext { account: account(), codes }).unwrap();
    for (raw, otp) in [
        (r#"{"body":"PIN 12","parsedCode":4711}"#, json!(4711)),
        (r#"{"body":"PIN 12","parsedCode":""}"#, json!("12")),
        (r#"{"body":"none","parsedCode":""}"#, json!("")),
        (r#"{"body":"none"}"#, json!(null)),
    ] {
        assert_eq!(parsed(&format, raw)["data"]["otp"], otp, "{raw}");
    }
}

#[test]
fn mistakes_of_templates_are_found_before_any_message() {
    for (content_type, source, line, wrong) in [
        ("text/plain", "a\n{{ message.body }", Some(2), "syntax error: unexpected"),
        ("text/plain", "{% if message.body %}x", Some(1), "syntax error: unexpected end of input"),
        ("text/plain", "\n\n{{ mesage.body }}", Some(3), "undefined value"),
        ("text/plain", "{{ message.parsedCode.x }}", Some(1), "undefined value: `message.parsedCode.x` is undefined"),
        (
            "text/plain",
            "\n{{ number.tags | last }}",
            Some(2),
            "undefined value: a filter or a function on this line has no result, such as `last` of an empty list; \
             `| default(\"…\")` names another value (tried with a message that has no more than an id)",
        ),
        ("text/plain", "{{ message.bdy }}", Some(1), "undefined value"),
        ("text/plain", "{{ message.body | uper }}", Some(1), "unknown filter: filter uper is unknown"),
        ("text/plain", "{{ now() }}", Some(1), "unknown function: now is unknown"),
        ("text/plain", "{{ message.parsedCode.x }}", None, "undefined value"),
        (
            "text/plain",
            "{{ message.body | int }}",
            Some(1),
            "invalid operation: a filter, a function or an operator on this line cannot use the value that it gets (tried \
             with a message that has everything)",
        ),
        (
            "text/plain",
            "{{ message.body + 1 }}",
            Some(1),
            "invalid operation: tried to use + operator on unsupported types string and number (tried with",
        ),
        (
            "text/plain",
            "{{ message.body[::0] }}",
            Some(1),
            "invalid operation: cannot slice by step size of 0 (tried with",
        ),
        (
            "text/plain",
            "{{ message.number.phoneNumber }}",
            Some(1),
            "(tried with a message that has no more than an id)",
        ),
        (
            "text/plain",
            "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
            Some(1),
            "it takes too many steps",
        ),
        ("text/plain", "{{ 'x' * 100000000 }}", Some(1), "it takes too many steps or makes too long a text"),
        ("text/plain", "{% include 'x' %}", Some(1), "syntax error"),
        ("application/json", r#"{"a": {{ message.body }}}"#, None, "makes no valid JSON: an error at line 1 column"),
        ("application/json", r#"{"a": {{ message.parsedCode }}}"#, None, "makes no valid JSON"),
        ("application/json", r#"{"a": "{{ message.body | safe }}"}"#, None, "makes no valid JSON"),
        ("application/json", "", None, "makes no valid JSON"),
    ] {
        let mistake =
            Template::new(source, content_type, account(), false).err().unwrap_or_else(|| panic!("accepted: {source}"));
        assert!(mistake.wrong.contains(wrong), "{source}: {mistake:?}");
        assert!(line.is_none() || mistake.line == line, "{source}: {mistake:?}");
    }
}

#[test]
fn the_error_for_a_message_that_a_template_cannot_use_does_not_quote_the_message() {
    let source = "{{ message.new | default('1') | int }}";
    let template = Template::new(source, "text/plain", account(), false).unwrap();
    let format = Format::Template(Arc::new(template));
    for raw in [r#"{"id":"m","new":"hunter2"}"#, r#"{"id":"m","new":["hunter2"]}"#, r#"["hunter2"]"#] {
        let Unrenderable(said) = format.payload(raw.into(), None).unwrap_err();
        assert!(said.contains("the template: ") && !said.contains("hunter2"), "{said}");
    }
    assert!(!format!("{format:?}").contains("message.new"), "a template may hold a secret");
}

#[test]
fn on_a_stream_values_stay_on_their_line() {
    let as_line = |source: &str, content_type: &str, raw: &str| {
        let template = Template::new(source, content_type, account(), true).unwrap();
        let line = Format::Template(Arc::new(template)).line(raw.into(), None).unwrap();
        String::from_utf8(line.body).unwrap()
    };
    let raw = r#"{"id":"m","from":"+1","body":"a\nb\u001b[2Jc"}"#;
    assert_eq!(as_line("{{ message.from }}: {{ message.body }}\n\n", "text/plain", raw), "+1: a b\u{fffd}[2Jc");
    assert_eq!(as_line("{{ message.from }}\n  {{ message.body }}", "text/plain", raw), "+1\n  a b\u{fffd}[2Jc");
    let html = r#"{"id":"m","from":"+1","body":"a\n<b>"}"#;
    assert_eq!(as_line("<p>{{ message.body }}</p>", "text/html", html), "<p>a &lt;b&gt;</p>");
    assert_eq!(as_line("{\n \"a\": \"{{ message.body }}\"\n}", "application/json", raw), r#"{"a":"a\nb\u001b[2Jc"}"#);
    for format in [known("jolt-event", account()), known("cloudevents", account())] {
        let line = String::from_utf8(format.line("{ \"id\":\n \"m\" }".into(), None).unwrap().body).unwrap();
        assert!(!line.contains([' ', '\n']), "{line}");
    }
}

#[test]
fn on_a_stream_a_text_for_people_is_one_line_and_keeps_its_spaces() {
    let line = |raw: &str| String::from_utf8(known("text", account()).line(raw.into(), None).unwrap().body).unwrap();
    for (body, shown) in [
        ("a code", "a code"),
        (r#"your \"new code\"  is 1"#, "your \"new code\"  is 1"),
        (r"one\r\ntwo\nthree\tfour", "one two three four"),
        (r"a\u001b[2J\u202eb", "a\u{fffd}[2J\u{fffd}b"),
        (r"the end\n\n", "the end"),
    ] {
        let raw = format!(r#"{{ "id":"m", "from":"+1", "to":"+2", "body":"{body}" }}"#);
        assert_eq!(line(&raw), format!("SMS to +2 from +1 {shown}"));
    }
}

#[test]
fn templates_are_equal_only_if_text_account_and_use_are_equal() {
    let template =
        |source: &str, account: &str, as_line| Template::new(source, "text/plain", account.into(), as_line).unwrap();
    assert_eq!(template("a", "main", false), template("a", "main", false));
    for other in [template("b", "main", false), template("a", "other", false), template("a", "main", true)] {
        assert_ne!(template("a", "main", false), other);
    }
}

#[test]
fn strange_messages_have_a_payload_in_every_format() {
    let deep = format!(r#"{{"id":"m","x":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    for raw in [
        r#"{"id":"m","body":"\ud83d","from":"\ude00\ud83d"}"#,
        r#"{"id":"m","\ud83d":1,"body":"x"}"#,
        r#"{"id":"m","body":{"a":1},"from":5,"to":[],"number":"x"}"#,
        r#"{"id":"m","body":"a","body":"b"}"#,
        &deep,
    ] {
        for format in all() {
            if let (Format::Template(_), true) = (&format, raw.len() > 1_000) {
                // The parser of templates does not allow a message that is nested so deeply. It returns an error and
                // does not crash.
                assert!(format.payload(raw.into(), None).is_err());
                continue;
            }
            let made = text(&format, raw);
            let read = serde_json::from_str::<serde::de::IgnoredAny>(&made);
            assert!(read.is_ok(), "{format:?}: {made}");
            if !["message", "cloudevents"].contains(&format.name()) && raw.contains("\"body\":\"x\"") {
                assert!(made.contains('x'), "{format:?}: {made}");
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_sender_writes_stays_a_value(body in "(\\PC|[<>&@*_`\"\\\\\n\r\t{}\u{1b}])*", from in "\\PC{0,12}", id in "[a-zA-Z0-9_.\"-]{1,12}") {
        let raw = json!({"id": id, "from": from, "to": "+1", "body": body}).to_string();
        for format in all() {
            let first = format.payload(raw.as_str().into(), None).unwrap();
            prop_assert_eq!(&first, &format.payload(raw.as_str().into(), None).unwrap(), "the same at every attempt");
            let made: Value = serde_json::from_slice(&first.body).unwrap();
            match format.name() {
                "message" => prop_assert_eq!(made["body"].as_str(), Some(body.as_str())),
                "jolt-event" => prop_assert_eq!(made["data"]["body"].as_str(), Some(body.as_str())),
                "cloudevents" => prop_assert_eq!(made["data"]["body"].as_str(), Some(body.as_str())),
                "template" => prop_assert_eq!(made.as_str(), Some(body.as_str())),
                "slack" => {
                    let text = made["text"].as_str().unwrap();
                    prop_assert!(!text.contains(['<', '>']));
                }
                "discord" => {
                    // The number of backslashes before every character of markup is odd: the last of them escapes the
                    // character, so that it begins no markup.
                    let content = made["content"].as_str().unwrap();
                    for mark in ['*', '_', '~', '`', '|', '<', '>', '[', ']', '(', ')', ':', '@'] {
                        for (at, _) in content.match_indices(mark) {
                            let slashes = content[..at].chars().rev().take_while(|next| *next == '\\').count();
                            prop_assert!(slashes % 2 == 1, "{}", content);
                        }
                    }
                }
                "teams" => {
                    let blocks = made["attachments"][0]["content"]["body"].as_array().unwrap();
                    let lines = blocks.iter().skip(1).map(|block| block["inlines"][0]["text"].as_str().unwrap());
                    prop_assert_eq!(lines.collect::<Vec<_>>().join("\n"), body.as_str());
                }
                other => panic!("this test does not know the format {other}"),
            }
        }
    }
}

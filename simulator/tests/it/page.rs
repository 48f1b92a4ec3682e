//! Tests of the web page: what it shows, each of its forms, and that it needs nothing from elsewhere.

use std::time::Duration;

use joltsms_simulator::{Missing, NewMessage, Simulator};

use crate::client::{Request, Response, get, start};

fn page(simulator: &Simulator) -> String {
    let page = Request::new("GET", "/").send(simulator);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=UTF-8")));
    page.text().to_owned()
}

fn post(simulator: &Simulator, fields: &[(&str, &str)]) -> Response {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    Request::new("POST", "/").header("Sec-Fetch-Site", "same-origin").body(&body.join("&")).send(simulator)
}

/// Sends a form that must succeed. Returns the page behind it.
fn done(simulator: &Simulator, fields: &[(&str, &str)]) -> String {
    let answer = post(simulator, fields);
    assert_eq!(answer.status, 303, "{fields:?}: {}", answer.text());
    let target = answer.header("location").unwrap().split('#').next().unwrap().to_owned();
    let page = Request::new("GET", &target).send(simulator).text().to_owned();
    assert!(page.contains("role=\"status\">"), "{fields:?}");
    page
}

#[test]
fn the_page_shows_the_account_and_costs_no_request() {
    let simulator = start();
    let handle = simulator.handle();
    handle.add(NewMessage::new().from("<SHOPLY>").body("<script>alert('1')</script> & \"482913\"").code("482913"));
    get(&simulator, "/v1/messages?from=%22%3E%3Cb%3E");
    let before = handle.requests().len();
    let page = page(&simulator);
    assert_eq!(handle.requests().len(), before);
    assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;482913&quot;"));
    assert!(page.contains("&lt;SHOPLY&gt;") && page.contains(&simulator.key()) && page.contains(&simulator.session()));
    assert!(page.contains(&handle.numbers()[0].phone_number));
    assert!(page.contains("<b>119 of 120</b> requests left"), "looking costs nothing");
    assert!(page.contains("GET /v1/messages?from=%22%3E%3Cb%3E"));
    for switch in ["sortBy", "provisioning", "dateSkew"] {
        assert!(page.contains(&format!("<code>{switch}</code>")), "{switch}");
    }
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_no_inline_script() {
    let simulator = start();
    let answer = Request::new("GET", "/").send(&simulator);
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let page = answer.text();
    for attribute in ["src=\"", "href=\""] {
        for link in page.split(attribute).skip(1) {
            assert!(link.starts_with(['/', '#']) || link.starts_with("data:,"), "{}", &link[..20]);
        }
    }
    assert_eq!(page.matches("<script").count(), 1);
    for inline in [" style=\"", "<style", " onclick", " onload", "javascript:"] {
        assert!(!page.contains(inline), "{inline}");
    }
    for (target, kind) in [("/_simulator/page.css", "text/css"), ("/_simulator/page.js", "text/javascript")] {
        let asset = Request::new("GET", target).send(&simulator);
        assert_eq!(asset.status, 200);
        assert!(asset.header("content-type").unwrap().starts_with(kind) && !asset.text().contains("http"), "{target}");
    }
}

#[test]
fn a_test_message_is_sent_in_time_late_old_and_in_a_burst() {
    let simulator = start();
    let handle = simulator.handle();
    let send = |more: &[(&str, &str)]| {
        let fields =
            [("action", "send"), ("from", "SHOPLY"), ("body", "Code {code}, {n}"), ("count", "1"), ("by", "5m")];
        let fields: Vec<_> =
            fields.into_iter().filter(|(name, _)| !more.iter().any(|(known, _)| known == name)).collect();
        done(&simulator, &[&fields, more].concat())
    };
    send(&[("timing", "now"), ("to", "+16505550177")]);
    let row = handle.rows().remove(0);
    assert_eq!((row.from.as_str(), row.to.as_str()), ("SHOPLY", "+16505550177"));
    assert_eq!(row.body, format!("Code {}, 1", row.code.clone().unwrap()));
    let now = handle.now();
    assert_eq!((row.received_at, row.ingested_at), (now, now));
    send(&[("timing", "late"), ("from", "LATE")]);
    send(&[("timing", "old"), ("by", "2d"), ("from", "OLD")]);
    let times = |from: &str| {
        let row = handle.rows().into_iter().find(|row| row.from == from).unwrap();
        [row.received_at, row.ingested_at].map(|time| now.duration_since(time).as_secs())
    };
    assert_eq!((times("LATE"), times("OLD")), ([300, 0], [172_800, 172_800]));
    send(&[("count", "25"), ("body", "")]);
    assert_eq!(handle.message_count(), 28);
}

#[test]
fn each_form_does_what_it_says() {
    let simulator = start();
    let handle = simulator.handle();
    let id = handle.add(NewMessage::new());
    done(&simulator, &[("action", "remove"), ("id", &id)]);
    assert_eq!(handle.message_count(), 0);
    done(&simulator, &[("action", "number"), ("phone", "+16505550111"), ("service", "PayPal")]);
    assert_eq!(handle.numbers()[1].details.service_name.as_deref(), Some("PayPal"));
    done(&simulator, &[("action", "share"), ("number", "+16505550123"), ("count", "4"), ("length", "2d")]);
    assert_eq!(handle.message_count(), 4);
    let page = done(&simulator, &[("action", "withdraw"), ("number", "+16505550123")]);
    assert!(handle.message_count() == 0 && page.contains("Share again"));
    done(&simulator, &[("action", "share"), ("number", "+16505550123")]);
    assert_eq!(handle.message_count(), 4);
    done(&simulator, &[("action", "clear-messages")]);
    assert_eq!(handle.message_count(), 0);

    done(&simulator, &[("action", "key"), ("name", "ci")]);
    done(&simulator, &[("action", "revoke"), ("key", "ci")]);
    assert!(handle.keys()[1].revoked_at.is_some());
    done(&simulator, &[("action", "foreign"), ("perMinute", "60")]);
    assert_eq!(handle.foreign_clients().len(), 1);
    done(&simulator, &[("action", "traffic"), ("perMinute", "30")]);
    assert!((handle.traffic().per_minute - 30.0).abs() < 1e-9);
    let before = handle.now();
    done(&simulator, &[("action", "clock"), ("advance", "1d")]);
    assert!(handle.now() >= before + Duration::from_secs(86_400));

    done(&simulator, &[("action", "switch"), ("name", "sortBy"), ("value", "ingestedAt")]);
    done(&simulator, &[("action", "switch"), ("name", "pageCap"), ("value", "3")]);
    done(&simulator, &[("action", "switch"), ("name", "cursorLifetime"), ("value", "5m")]);
    for (value, expected) in [("absent", Missing::Absent), ("null", Missing::Null)] {
        done(&simulator, &[("action", "switch"), ("name", "emptyFields"), ("value", value)]);
        assert_eq!(handle.switches().empty_fields, expected);
    }
    let switches = handle.switches();
    assert_eq!((switches.page_cap, switches.cursor_lifetime), (3, Some(Duration::from_secs(300))));
    get(&simulator, "/v1/messages");
    done(&simulator, &[("action", "clear-requests")]);
    assert!(handle.requests().is_empty());
    done(&simulator, &[("action", "outage"), ("length", "1s")]);
}

#[test]
fn faults_are_switched_on_and_off() {
    let simulator = start();
    let ask = || get(&simulator, "/v1/messages").status;
    let page = done(&simulator, &[("action", "fault-on"), ("fault", "503")]);
    assert!(page.contains("aria-pressed=\"true\">503 with JSON"));
    assert_eq!((ask(), ask()), (503, 503));
    let page = done(&simulator, &[("action", "fault-off"), ("fault", "503")]);
    assert!(!page.contains("aria-pressed=\"true\""));
    assert_eq!(ask(), 200);
    let page = self::page(&simulator);
    let presets: Vec<&str> =
        page.split("name=\"fault\" value=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(presets.len() >= 10);
    for preset in &presets {
        done(&simulator, &[("action", "fault-on"), ("fault", preset)]);
    }
    assert_eq!(self::page(&simulator).matches("aria-pressed=\"true\"").count(), presets.len());
    done(&simulator, &[("action", "clear-rules")]);
    done(&simulator, &[("action", "rule"), ("rule", r#"{"effects": [{"status": {"status": 502}}], "times": 1}"#)]);
    assert_eq!((ask(), ask()), (502, 200));
    let number = simulator.handle().faults()[0].0.to_string();
    done(&simulator, &[("action", "remove-rule"), ("number", &number)]);
    assert!(simulator.handle().faults().is_empty());
}

#[test]
fn a_form_that_is_not_understood_changes_nothing_and_keeps_its_texts() {
    let simulator = start();
    let wrong: &[(&[(&str, &str)], &str)] = &[
        (&[("action", "send"), ("count", "1"), ("to", "4711"), ("body", "a <text>")], "is not a phone number"),
        (&[("action", "send"), ("count", "many")], "is not a number"),
        (&[("action", "send"), ("count", "1000000")], "at most 100000"),
        (&[("action", "send"), ("count", "1"), ("timing", "late"), ("by", "soon")], "is not a duration"),
        (&[("action", "rule"), ("rule", "{\"effects\": [\"explode\"]}")], "explode"),
        (&[("action", "switch"), ("name", "pretty"), ("value", "maybe")], "maybe"),
        (&[("action", "switch"), ("name", "prety"), ("value", "true")], "prety"),
        (&[("action", "remove"), ("id", "none")], "no such message"),
        (&[("action", "revoke"), ("key", "none")], "no such key"),
        (&[("action", "traffic"), ("perMinute", "-1")], "between 0 and 60000"),
        (&[("action", "explode")], "nothing that the simulator can do"),
        (&[], "nothing that the simulator can do"),
    ];
    for (fields, why) in wrong {
        let answer = post(&simulator, fields);
        assert_eq!(answer.status, 400, "{fields:?}");
        assert!(answer.text().contains("role=\"alert\"") && answer.text().contains(why), "{fields:?}");
    }
    assert!(post(&simulator, wrong[0].0).text().contains("a &lt;text&gt;</textarea>"));
    let handle = simulator.handle();
    assert_eq!((handle.message_count(), handle.numbers().len(), handle.faults().len()), (0, 1, 0));
}

#[test]
fn a_form_of_another_website_is_refused() {
    let simulator = start();
    for site in ["cross-site", "same-site"] {
        let form = Request::new("POST", "/").header("Sec-Fetch-Site", site).body("action=send&count=1");
        assert_eq!(form.send(&simulator).status, 400, "{site}");
    }
    assert_eq!(simulator.handle().message_count(), 0);
    assert!(!Request::new("GET", "/?done=%3Cb%3E").send(&simulator).text().contains("class=\"notice\""));
}

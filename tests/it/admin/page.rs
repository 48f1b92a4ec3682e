//! Tests of the status page as a browser without JavaScript uses the page.

use jiff::SignedDuration;
use joltsms_simulator::{NewMessage, NewNumber};

use super::browser::{Browser, header};
use super::client::{Answer, TOKEN, address, get, get_with_token, request, with_token};
use crate::support::relay::{Relay, Setup};
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

const CODE: &str = "482913";

fn message(to: &str, from: &str) -> NewMessage {
    let text = NewMessage::new().from(from).body(format!("Your code is {CODE} <b>")).code(CODE);
    text.extra("to", &format!("{to:?}")).unwrap()
}

/// Waits until the page has what it should.
fn wait_for_page(browser: &Browser, relay: &Relay, path: &str, condition: impl Fn(&str) -> bool) -> String {
    let mut last = String::new();
    wait_until(
        "the page to change",
        || {
            last = browser.get(path).body;
            condition(&last)
        },
        || relay.log(),
    );
    last
}

fn sinks_said(scene: &Scene) -> serde_json::Value {
    let (code, printed, log) = Setup::bare(scene.dir()).args(&["sinks", "list", "--json"]).output();
    assert_eq!((code, log.as_str()), (0, ""));
    serde_json::from_str::<serde_json::Value>(&printed).unwrap()[0].clone()
}

#[test]
fn a_browser_logs_in_by_the_token_and_out_again() {
    let scene = Scene::new();
    let relay = with_token(scene.setup()).start();
    let address = address(&relay);
    let mut browser = Browser::new(address, "");
    let answer = browser.get("/");
    assert_eq!((answer.status, header(&answer, "location").as_str()), (303, "/login"));
    get(address, "/").assert_problem(401);
    let login = browser.get("/login");
    assert!(login.status == 200 && login.body.contains("<label for=\"token\">"), "{login:?}");
    let wrong = browser.post("/login", "token=wrong");
    assert!(wrong.status == 401 && wrong.body.contains("not the token") && !wrong.head.contains("set-cookie"));
    let answer = browser.log_in();
    let cookie = header(&answer, "set-cookie");
    assert!(cookie.contains("; path=/; httponly; samesite=strict"), "{cookie}");
    assert!(!cookie.contains(TOKEN) && !cookie.contains("secure"), "{cookie}");
    assert_eq!(header(&answer, "location"), "/");
    let page = browser.get("/");
    assert_eq!(page.status, 200, "{page:?}");
    assert!(!page.body.contains(TOKEN));
    let forged = Browser::new(address, "");
    let forged = forged.send("GET", "/", &[("Cookie", "joltsms_relay_session=9999999999999.00")], "");
    assert_eq!(forged.status, 303);
    let secure = browser.send("POST", "/login", &[("X-Forwarded-Proto", "https")], &format!("token={TOKEN}"));
    assert!(header(&secure, "set-cookie").contains("; secure"), "{secure:?}");
    assert!(header(&browser.post("/logout", ""), "set-cookie").contains("max-age=0"));
    assert!(!relay.log().contains(TOKEN));
    ends_with_nothing_more(relay);
}

#[test]
fn a_page_loads_only_its_own_files_and_stays_in_no_frame() {
    let scene = Scene::new();
    let relay = with_token(scene.setup()).start();
    let browser = Browser::logged_in(address(&relay));
    let page = browser.get("/");
    let policy = header(&page, "content-security-policy");
    for part in
        ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "form-action 'self'"]
    {
        assert!(policy.split("; ").any(|found| found == part), "{part}: {policy}");
    }
    assert_eq!(header(&page, "cache-control"), "no-store");
    assert!(!page.body.contains(" style=") && !page.body.contains("<style") && !page.body.contains(" onclick"));
    for kind in ["page.css?", "page.js?", "icon.svg?"] {
        let start = page.body.find(&format!("/assets/{kind}")).unwrap_or_else(|| panic!("{kind}"));
        let path = page.body[start..].split('"').next().unwrap();
        let asset = browser.get(path);
        assert!(asset.status == 200 && !asset.body.is_empty() && asset.head.contains("immutable"), "{asset:?}");
        assert!(!asset.body.contains("://") || kind == "icon.svg?", "{kind} names another host");
    }
    assert!(!page.body.contains("://"), "{}", page.body);
    ends_with_nothing_more(relay);
}

#[test]
fn a_code_that_the_pattern_finds_is_a_code_for_filters_and_for_the_page() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let setup = with_token(scene.setup_from_beginning().sink(&receiver.url())).set("CODES__PATTERN", r"PIN (\d+)");
    let relay = { setup }.set("SINKS__CRM__FILTER__HAS_CODE", "true").start();
    let address = address(&relay);
    scene.handle().add(NewMessage::new().body("no code in here"));
    scene.handle().add(NewMessage::new().body(format!("PIN {CODE}")));
    receiver.wait(1, &relay);
    let browser = Browser::logged_in(address);
    let page = wait_for_page(&browser, &relay, "/?show=all", |page| page.contains("for no sink"));
    assert_eq!(page.matches(&format!("<code class=\"code\">{CODE}</code>")).count(), 1, "{page}");
    assert_eq!(page.matches("data-copy=").count(), 1, "{page}");
    let listed = get_with_token(address, "/api/v1/messages").json();
    // Both messages may have come in the same moment, so their order is not known.
    let codes: Vec<_> = listed["messages"].as_array().unwrap().iter().map(|message| &message["code"]).collect();
    let (null, code) = (serde_json::Value::Null, CODE.into());
    assert!(codes == [&null, &code] || codes == [&code, &null], "{listed}");
    assert_eq!(receiver.count(), 1, "the filter wants codes only");
    ends_with_nothing_more(relay);
}

#[test]
fn a_reload_replaces_the_pattern_of_the_page_and_its_api() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let text = |pattern: &str| {
        let url = receiver.url();
        format!("[sinks.crm]\ntype = \"http\"\nurl = \"{url}\"\n[codes]\npattern = '{pattern}'\n")
    };
    let file = scene.file(&text("token (\\w+)"));
    let relay = with_token(scene.setup_from_beginning()).env("JOLTSMS_RELAY_CONFIG", &file).start();
    let address = address(&relay);
    scene.handle().add(NewMessage::new().body(format!("PIN {CODE}")));
    receiver.wait(1, &relay);
    let code = || get_with_token(address, "/api/v1/messages").json()["messages"][0]["code"].clone();
    assert_eq!(code(), serde_json::Value::Null);
    scene.file(&text("PIN (\\d+)"));
    relay.signal("HUP");
    wait_until("the new pattern", || code() == CODE, || relay.log());
    let page = Browser::logged_in(address).get("/?show=all").body;
    assert!(page.contains(&format!("<code class=\"code\">{CODE}</code>")), "{page}");
    ends_with_nothing_more(relay);
}

#[test]
fn codes_and_texts_are_in_the_page_only_if_its_address_asks_for_them() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let relay = with_token(scene.setup_from_beginning().sink(&receiver.url())).start();
    let address = address(&relay);
    let browser = Browser::logged_in(address);
    let first = scene.handle().add(message("+16505550001", "PayPal"));
    receiver.wait(1, &relay);
    let ids = [first, scene.handle().add(message("+16505550002", "Bank"))];
    receiver.wait(2, &relay);
    let masked = wait_for_page(&browser, &relay, "/", |page| page.matches("crm: delivered").count() == 2);
    assert!(!masked.contains(CODE) && !masked.contains("Your code"), "{masked}");
    assert_eq!((masked.matches("••••••").count(), masked.matches("data-copy=").count()), (2, 2));
    let one = browser.get(&format!("/?show={}", ids[0])).body;
    assert_eq!(one.matches(&format!("<code class=\"code\">{CODE}</code>")).count(), 1, "{one}");
    assert!(one.contains("Your code is 482913 &lt;b&gt;"), "{one}");
    assert_eq!(browser.get("/?show=all").body.matches("Your code is").count(), 2);
    for (query, expected) in [
        ("to=%2B1650555000*", vec!["PayPal", "Bank"]),
        ("to=*0001", vec!["PayPal"]),
        ("from=bank", vec!["Bank"]),
        ("from=nobody", vec![]),
        ("since=1h&limit=1", vec!["Bank"]),
        ("since=2099-01-01T00:00:00Z", vec![]),
    ] {
        let page = browser.get(&format!("/?{query}")).body;
        let found: Vec<&str> =
            ["PayPal", "Bank"].into_iter().filter(|name| page.contains(&format!(">{name}<"))).collect();
        assert_eq!(found, expected, "{query}");
        let listed = get_with_token(address, &format!("/api/v1/messages?{query}")).json();
        let listed = listed["messages"].as_array().unwrap().iter().map(|row| row["message"]["from"].as_str().unwrap());
        assert_eq!(listed.collect::<Vec<_>>(), expected, "{query}");
    }
    assert!(browser.get("/?limit=x").body.contains("The filter is ignored: limit is a number"));
    get_with_token(address, "/api/v1/messages?limit=x").assert_problem(400);
    get_with_token(address, "/api/v1/messages?form=x").assert_problem(400);
    let after = get_with_token(address, &format!("/api/v1/messages?after={}", ids[0])).json();
    assert_eq!((after["messages"].as_array().unwrap().len(), &after["messages"][0]["code"]), (1, &CODE.into()));
    let only = get_with_token(address, &format!("/api/v1/messages?id={}", ids[0])).json();
    assert_eq!(
        (&only["messages"][0]["id"], &only["messages"][0]["sinks"][0]["state"]),
        (&ids[0].as_str().into(), &"delivered".into())
    );
    assert!(!relay.log().contains(CODE));
    ends_with_nothing_more(relay);
}

#[test]
fn every_button_does_its_work_without_javascript() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.answer_with(400);
    let relay =
        with_token(scene.setup_from_beginning().sink(&receiver.url())).set("SINKS__CRM__REJECT_STATUS", "400").start();
    let browser = Browser::logged_in(address(&relay));
    let ids: Vec<String> = (0..3).map(|_| scene.add()).collect();
    let page = wait_for_page(&browser, &relay, "/", |page| page.contains("Retry 3 dead letters"));
    assert!(page.contains("Drop 3 dead letters") && page.contains("3 rejected"), "{page}");
    let refused = browser.act("/api/v1/sinks/crm/test", "back=to%3Dx%26evil%3D1");
    assert!(refused.body.contains("crm did not accept a test message: 400"), "{}", refused.body);
    assert!(refused.body.contains("value=\"x\"") && !refused.body.contains("evil"), "the filter stays");
    receiver.answer_with(200);
    assert!(browser.act("/api/v1/sinks/crm/test", "").body.contains("crm accepted a test message (200)"));
    let test = receiver.received().last().unwrap().webhook_id().to_owned();
    assert!(test.starts_with("test_"), "{test}");
    let page = browser.act("/api/v1/sinks/crm/pause", "").body;
    assert!(page.contains("crm is paused, a running relay hears of it within 5 s"), "{page}");
    assert_eq!(sinks_said(&scene)["paused"], "operator");
    assert!(browser.act("/api/v1/sinks/crm/pause", "").body.contains("crm is paused already"));
    let page = browser.act("/api/v1/dead-letters/retry", &format!("sink=crm&id={}", ids[0])).body;
    assert!(page.contains("1 dead letter is sent again"), "{page}");
    let page = browser.act("/api/v1/dead-letters/drop", &format!("sink=crm&id={}", ids[1])).body;
    assert!(page.contains("1 dead letter is given up"), "{page}");
    assert!(browser.act("/api/v1/dead-letters/retry", "sink=crm").body.contains("1 dead letter is sent again"));
    let sink = sinks_said(&scene);
    assert_eq!((&sink["dead"], &sink["waiting"]), (&0.into(), &2.into()));
    // The page reads the status at most once a second.
    wait_for_page(&browser, &relay, "/", |page| {
        page.contains("/resume\"") && page.contains("There are no dead letters")
    });
    assert!(browser.act("/api/v1/sinks/crm/resume", "").body.contains("crm is resumed: it was paused for"));
    wait_for_page(&browser, &relay, "/", |page| page.matches("crm: delivered").count() == 2);
    let before = receiver.count();
    let page = browser.act("/api/v1/replay", &format!("id={}", ids[0])).body;
    assert!(page.contains("crm: 1 message again"), "{page}");
    receiver.wait(before + 1, &relay);
    for (path, form) in [
        ("/api/v1/dead-letters/drop", ""),
        ("/api/v1/dead-letters/drop", "all=true&sink=crm"),
        ("/api/v1/dead-letters/retry", "sink=nobody"),
        ("/api/v1/replay", ""),
        ("/api/v1/replay", "from=["),
        ("/api/v1/sinks/nobody/pause", ""),
        ("/api/v1/sinks/crm/pause", "snik=crm"),
    ] {
        let page = browser.act(path, form).body;
        assert!(page.contains("class=\"notice bad\""), "{path} {form}: {page}");
    }
    assert_eq!(browser.get("/api/v1/sinks/crm/pause").status, 405);
    ends_with_nothing_more(relay);
}

#[test]
fn programs_act_with_the_token_and_get_json() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let relay = with_token(scene.setup_from_beginning().sink(&receiver.url())).start();
    let address = address(&relay);
    let bearer = format!("Bearer {TOKEN}");
    let host = address.to_string();
    let post = |path: &str| -> Answer {
        request(address, "POST", path, &[("Host", &host), ("Authorization", &bearer), ("Content-Length", "0")])
    };
    scene.add();
    receiver.wait(1, &relay);
    let paused = post("/api/v1/sinks/crm/pause");
    assert_eq!((paused.status, &paused.json()["changed"]), (200, &1.into()), "{paused:?}");
    assert_eq!(post("/api/v1/sinks/crm/pause").json()["changed"], 0);
    assert_eq!(post("/api/v1/sinks/crm/resume").json()["changed"], 1);
    post("/api/v1/sinks/nobody/pause").assert_problem(404);
    post("/api/v1/dead-letters/retry").assert_problem(400);
    post("/api/v1/dead-letters/drop?id=x").assert_problem(404);
    assert_eq!(post("/api/v1/dead-letters/drop?all=true").json()["changed"], 0);
    assert_eq!(post("/api/v1/replay?all=true").json()["changed"], 1);
    receiver.wait(2, &relay);
    let document = get_with_token(address, "/api/v1/openapi.json").json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys().filter(|_| !path.ends_with("/events")) {
            let path = path.replace("{name}", "crm");
            let answer = request(address, &method.to_uppercase(), &path, &[("Host", &host)]);
            answer.assert_problem(401);
        }
    }
    ends_with_nothing_more(relay);
}

#[test]
fn a_replay_sends_events_only_to_sinks_that_ask_for_events() {
    let scene = Scene::new();
    let (receiver, other) = (Receiver::in_background(), Receiver::in_background());
    let expires = scene.handle().now() + SignedDuration::from_hours(23);
    scene.handle().add_number(NewNumber { expires_at: Some(expires), ..NewNumber::default() });
    let config = |more: &str| {
        format!(
            "[sinks.crm]\ntype = \"http\"\nurl = \"{}\"\nevents = true\n[events]\nnumber_expiring = \"1d\"\n\
             [sinks.other]\ntype = \"http\"\nurl = \"{}\"\n{more}",
            receiver.url(),
            other.url()
        )
    };
    let file = scene.file(&config(""));
    let relay = with_token(scene.setup().env("JOLTSMS_RELAY_CONFIG", &file)).start();
    let (address, bearer) = (address(&relay), format!("Bearer {TOKEN}"));
    let host = address.to_string();
    receiver.wait(1, &relay);
    let is_told = || scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'") == 1;
    wait_until("the record of the delivery", is_told, || relay.log());
    let replay = || {
        let headers = [("Host", host.as_str()), ("Authorization", &bearer), ("Content-Length", "0")];
        request(address, "POST", "/api/v1/replay?sink=other", &headers).json()["changed"].as_u64()
    };
    assert_eq!(replay(), Some(0), "the sink does not ask for events");
    scene.file(&config("events = true\n"));
    relay.signal("HUP");
    wait_until("a sink that asks for events", || replay() == Some(1), || relay.log());
    other.wait(1, &relay);
    assert_eq!(other.received()[0].webhook_id(), receiver.received()[0].webhook_id());
    ends_with_nothing_more(relay);
}

#[test]
fn a_change_with_the_cookie_comes_from_the_page_itself() {
    let scene = Scene::new();
    let relay = with_token(scene.setup()).start();
    let address = address(&relay);
    let browser = Browser::logged_in(address);
    let own = format!("http://{address}");
    for headers in [
        &[][..],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[("Origin", "http://127.0.0.1:1")],
        &[("Origin", own.as_str()), ("Sec-Fetch-Site", "cross-site")],
    ] {
        let answer = browser.send("POST", "/api/v1/sinks/stdout/pause", headers, "");
        answer.assert_problem(403);
    }
    assert_eq!(sinks_said(&scene)["paused"], serde_json::Value::Null);
    ends_with_nothing_more(relay);
}

#[test]
fn a_page_that_only_shows_has_no_button_and_changes_nothing() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.answer_with(400);
    let relay = with_token(scene.setup_from_beginning().sink(&receiver.url()))
        .set("SINKS__CRM__REJECT_STATUS", "400")
        .set("ADMIN__READ_ONLY", "true")
        .start();
    let address = address(&relay);
    let browser = Browser::logged_in(address);
    scene.add();
    let page = wait_for_page(&browser, &relay, "/", |page| page.contains("1 rejected"));
    assert!(!page.contains("/api/v1/sinks/") && !page.contains("/api/v1/dead-letters/"), "{page}");
    for path in
        ["sinks/crm/pause", "sinks/crm/resume", "sinks/crm/test", "dead-letters/retry", "dead-letters/drop", "replay"]
    {
        let answer = browser.post(&format!("/api/v1/{path}"), "all=true");
        let problem = answer.assert_problem(403);
        assert!(problem["detail"].as_str().unwrap().contains("admin.read_only"), "{problem}");
    }
    get_with_token(address, "/api/v1/wait?claim=true&since=1h").assert_problem(403);
    assert_eq!(get_with_token(address, "/api/v1/wait?since=1h").status, 200);
    assert_eq!(get_with_token(address, "/api/v1/messages").status, 200);
    assert_eq!(sinks_said(&scene)["dead"], 1);
    ends_with_nothing_more(relay);
}

#[test]
fn a_base_path_stands_before_every_address() {
    let scene = Scene::new();
    let relay = with_token(scene.setup()).set("ADMIN__BASE_PATH", "/ops/relay/").start();
    let address = address(&relay);
    let mut browser = Browser::new(address, "/ops/relay");
    assert_eq!(header(&browser.get("/"), "location"), "/ops/relay/login");
    let answer = browser.log_in();
    assert_eq!(header(&answer, "location"), "/ops/relay/");
    assert!(header(&answer, "set-cookie").contains("path=/ops/relay/;"), "{answer:?}");
    let page = browser.get("/").body;
    for attribute in ["href=\"/", "src=\"/", "action=\"/"] {
        let found = page.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap());
        let others: Vec<&str> = found.filter(|path| !path.starts_with("ops/relay/")).collect();
        assert!(others.is_empty(), "{attribute}: {others:?}");
    }
    assert!(browser.act("/api/v1/sinks/stdout/pause", "").body.contains("stdout is paused"));
    for path in ["/healthz", "/ops/relay/healthz", "/ops/relay/metrics"] {
        assert_eq!(get(address, path).status, 200, "{path}");
    }
    ends_with_nothing_more(relay);
}

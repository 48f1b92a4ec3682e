//! Tests of another side that is hostile: it sends messages, pages, answers and headers that were made to break, fill,
//! inject or hide. The relay hands them on as they came, or refuses them in words of its own. They have no other
//! effect.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use joltsms_relay::delivery::log_sentences::{MESSAGE_IS_DEAD, SINK_WORKS_AGAIN};
use tempfile::TempDir;

use crate::support::cases::side_by_side;
use crate::support::relay::terminal::terminal;
use crate::support::relay::{Relay, Setup};
use crate::support::servers::raw::{Conversation, RawAnswer, RawServer};
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

const KEY: &str = "jolt_sk_0123456789abcdef0123456789abcdef";

/// A text that would clear a terminal, write the terminal's clipboard, rename the terminal, begin a line, or turn the
/// direction of text. `EVIL` is in bytes; the second constant is escaped as in JSON.
const EVIL: &str = "\u{9b}2JEVIL\u{202e}\u{2028}\u{85}\u{7f}";
const EVIL_JSON: &str = r"\u001b[2J\u001b]52;c;RVZJTA==\u0007\u001b]0;EVIL\u0007\r\nERROR EVIL\u0000\u009b31m\u202e";

/// Returns a relay that sends all messages to a receiver and to stdout, and the directory of its state.
fn relay_of(api: &RawServer, receiver: &str) -> (TempDir, Setup) {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::bare(dir.path())
        .env("JOLTSMS_API_URL", api.url("/").as_str())
        .env("JOLTSMS_API_KEY", KEY)
        .set("POLL__START", "beginning")
        .set("POLL__INTERVAL", "150ms")
        .set("API__REQUESTS_PER_MINUTE", "10000")
        .set("LOG__LEVEL", "trace")
        .set("SINKS__OUT__TYPE", "stdout")
        .sink(receiver)
        .set("SINKS__CRM__TIMEOUT", "2s")
        .set("SINKS__CRM__RETRY__INITIAL", "100ms")
        .set("SINKS__CRM__RETRY__FACTOR", "1");
    (dir, setup)
}

/// Starts an API that answers request `n` with the page that `page` makes for `n`, and with the machine's time as the
/// `Date`.
fn api_with(page: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> RawServer {
    RawServer::answering_each(move |request| {
        let body = page(request.number);
        let (date, length) = (http_date(), body.len());
        let head = format!(
            "HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        RawAnswer::keep([head.as_bytes(), &body].concat())
    })
}

#[expect(clippy::disallowed_methods, reason = "what an API says of the time")]
fn http_date() -> String {
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&jiff::Timestamp::now()).unwrap()
}

fn row(id: &str, rest: &str) -> String {
    format!(r#"{{"id":{id},"receivedAt":"2026-06-15T12:00:00.000Z","ingestedAt":"2026-06-15T12:00:00.500Z"{rest}}}"#)
}

fn page(rows: &str) -> Vec<u8> {
    format!(r#"{{"data":[{rows}],"meta":{{"hasMore":false}}}}"#).into_bytes()
}

/// Checks that no part of a log acts on a terminal, or begins a line that the relay did not write.
fn is_harmless(log: &str, json: bool) {
    let acts = |next: char| next != '\n' && joltsms_relay::domain::acts(next);
    assert!(!log.contains(acts), "{log:?}");
    for line in log.lines() {
        match json {
            true => drop(serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{line:?}"))),
            false => assert!(line.starts_with("20") && line.contains('Z'), "{line:?}"),
        }
        assert!(line.len() < 10_000, "a line of {} bytes", line.len());
    }
}

/// Returns the most memory that the relay has used, in MiB; 0 if the system does not show it.
fn peak(relay: &Relay) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0_u64) / 1024
}

fn ends(mut relay: Relay, json: bool) -> String {
    let most = peak(&relay);
    assert!(most < 200, "{most} MiB");
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    is_harmless(&relay.log(), json);
    relay.log()
}

#[test]
fn whatever_a_message_holds_it_arrives_as_it_came() {
    let nested = |deep: usize| format!(r#","x":{}{}"#, "[".repeat(deep), "]".repeat(deep));
    let texts = format!(r#","from":"{EVIL}{EVIL_JSON}","to":"{EVIL_JSON}","numberId":"{EVIL_JSON}","body":"{EVIL}""#);
    let cases = [
        ("nested 100,000 deep", row(r#""m1""#, &nested(100_000))),
        ("a million fields", row(r#""m1""#, &r#","a":1"#.repeat(1_000_000))),
        ("a number of a million digits", row(r#""m1""#, &format!(r#","n":{}"#, "9".repeat(1_000_000)))),
        ("a text of seven million", row(r#""m1""#, &format!(r#","body":"{}""#, "x".repeat(7_000_000)))),
        ("half of a character", row(r#""m1""#, r#","body":"\ud83d","\udc00":"\udfff\ud800""#)),
        ("controls and directions", row(r#""m1""#, &texts)),
        ("the id twice", row(r#""m0","id":"m1""#, "")),
        ("the id spelled out", row(r#""m0","\u0069d":"\u006d1""#, "")),
    ];
    side_by_side(&cases, |row| {
        let answer = page(row);
        let api = api_with(move |_| answer.clone());
        let receiver = Receiver::in_background();
        let (_dir, mut setup) = relay_of(&api, &receiver.url());
        let relay = setup.start();
        assert!(relay.line() == *row, "another message on stdout");
        receiver.wait(1, &relay);
        let received = receiver.received().remove(0);
        assert!(received.body == row.as_bytes(), "another message at the receiver");
        assert_eq!(received.webhook_id(), "m1");
        let log = ends(relay, false);
        assert!(!log.contains("EVIL"), "{log}");
    });
}

#[test]
fn an_id_of_any_content_reaches_no_header_and_no_line_of_the_log_as_it_is() {
    let long = "x".repeat(100_000);
    let cases = [
        ("begins a header", r"m1\r\nX-Evil: 1\r\n\r\nEVIL"),
        ("acts on a terminal", EVIL_JSON),
        ("acts in bytes", EVIL),
        ("ends early", r"m1\u0000EVIL"),
        ("is endless", long.as_str()),
        ("quotes", r#"m1\" sink.name=\"EVIL"#),
    ];
    for (format, json) in [("text", false), ("json", true)] {
        side_by_side(&cases, |id| {
            let answer = page(&row(&format!("\"{id}\""), ""));
            let api = api_with(move |_| answer.clone());
            let receiver = Receiver::in_background();
            receiver.answer_with(500);
            let (_dir, setup) = relay_of(&api, &receiver.url());
            let relay = setup.set("LOG__FORMAT", format).set("SINKS__CRM__RETRY__GIVE_UP_AFTER", "1ms").start();
            relay.line();
            relay.wait_for_log(MESSAGE_IS_DEAD);
            let received = receiver.received().remove(0);
            let webhook_id = received.webhook_id();
            assert!(webhook_id.len() == 68 && webhook_id.starts_with("msg_"), "{webhook_id}");
            for name in received.headers.keys() {
                let ours = ["host", "user-agent", "accept", "content-type", "content-length", "webhook-id"];
                assert!(ours.contains(&name.as_str()), "{name}");
            }
            ends(relay, json);
        });
    }
}

#[test]
fn half_of_a_character_is_no_id() {
    let (bad, good) = (row(r#""\ud83d""#, ""), row(r#""m1""#, ""));
    let answer = page(&format!("{bad},{good}"));
    let api = api_with(move |_| answer.clone());
    let receiver = Receiver::in_background();
    let (_dir, mut setup) = relay_of(&api, &receiver.url());
    let relay = setup.start();
    assert_eq!(relay.line(), good);
    relay.wait_for_log("a message without an id came");
    ends(relay, false);
}

/// The first answer of an API whose later answers are correct.
struct Answer {
    bytes: Vec<u8>,
    said: &'static str,
}

#[test]
fn what_is_no_page_is_refused_in_few_words() {
    let json = |body: Vec<u8>| {
        let mut bytes =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len())
                .into_bytes();
        bytes.extend(body);
        bytes
    };
    let raw = |head: &str| format!("HTTP/1.1 200 OK\r\n{head}\r\n").into_bytes();
    let rows: Vec<String> = (0..1_000_000).map(|number| number.to_string()).collect();
    let bomb = include_bytes!("../../fixtures/zeros-64MiB.gz");
    let mut packed =
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len()).into_bytes();
    packed.extend(bomb);
    let answer = |bytes, said| Answer { bytes, said };
    let cases = [
        ("a million rows", answer(json(page(&rows.join(","))), "it has more than 10000 rows")),
        ("rows nested 100,000 deep", answer(json(page(&"[".repeat(100_000))), "a message came that is no valid JSON")),
        ("not utf-8", answer(json(page("\"EVIL\u{0}\"").iter().map(|byte| byte | 0x80).collect()), "it is not JSON")),
        ("a bare escape", answer(json(page("\"\u{1b}[2JEVIL\"")), "a message came that is no valid JSON")),
        ("packed to a thousandth", answer(packed, "the page has more than 8388608 bytes")),
        ("packed, but not", answer(raw("content-encoding: gzip\r\ncontent-length: 4\r\n\r\nEVIL"), "kind=")),
        (
            "a header of a megabyte",
            answer(raw(&format!("x: {}\r\n", "y".repeat(1 << 20))), "its head has more than 5000 headers or 408 KiB"),
        ),
        (
            "ten thousand headers",
            answer(raw(&"x: EVIL\r\n".repeat(10_000)), "its head has more than 5000 headers or 408 KiB"),
        ),
        ("a bare escape in a header", answer(raw("x: \u{1b}[2JEVIL\r\n"), "it is empty")),
        ("NUL in a header", answer(raw("x: \0EVIL\r\n"), "a NUL or a bare carriage return stands among its headers")),
        ("another length", answer(raw("content-length: -5\r\n"), "its Content-Length is not one number")),
        (
            "two lengths",
            answer(raw("content-length: 5\r\ncontent-length: 6\r\n"), "its Content-Length is not one number"),
        ),
    ];
    side_by_side(&cases, |Answer { bytes, said }| {
        let good = row(r#""m1""#, "");
        let (bytes, answer) = (bytes.clone(), page(&good));
        let api = RawServer::answering_each(move |request| match request.number {
            0 => RawAnswer::close(bytes.clone()),
            _ => RawAnswer::json("200 OK", &answer),
        });
        let receiver = Receiver::in_background();
        let (_dir, mut setup) = relay_of(&api, &receiver.url());
        let relay = setup.start();
        assert_eq!(relay.line(), good);
        relay.wait_for_log(said);
        let log = ends(relay, false);
        assert!(!log.contains("EVIL"), "{log}");
    });
}

#[test]
fn what_an_error_of_the_api_says_for_itself_is_not_repeated() {
    let evil = format!(r#"{{"error":"{EVIL_JSON}","message":"{EVIL}","code":[["EVIL"]]}}"#);
    let long = format!(r#"{{"error":"{}"}}"#, "E".repeat(60_000));
    let cases = [
        ("400", "400 Bad Request", evil.clone(), "error=400: an unreadable error code"),
        ("an endless code", "400 Bad Request", long, "error=400: an unreadable error code"),
        ("a reason of its own", "500 EVIL\u{9b}2J", evil.clone(), "kind="),
        ("a reason that acts", "500 EVIL\u{1b}[2J", evil.clone(), "kind="),
        ("401", "401 Unauthorized", evil.clone(), "refusal=401 an unreadable error code"),
        ("403", "403 Forbidden", evil.clone(), "refusal=403 an unreadable error code"),
        ("404", "404 Not Found", evil, "error=404: an unreadable error code"),
    ]
    .map(|(name, status, body, said)| (name, (status, body, said)));
    side_by_side(&cases, |(status, body, said)| {
        let (status, body) = (*status, body.clone().into_bytes());
        let api = RawServer::answering_each(move |_| RawAnswer::json(status, &body));
        let (_dir, mut setup) = relay_of(&api, "http://127.0.0.1:9/");
        let relay = setup.start();
        relay.wait_for_log(said);
        let log = ends(relay, false);
        assert!(!log.contains("EVIL") && !log.contains("EEEE"), "{log}");
    });
}

#[test]
fn where_a_redirect_leads_is_told_without_what_acts() {
    let long = format!("https://{}.example/", "x".repeat(60_000));
    let cases = [
        (
            "bytes that act",
            format!("https://login.example/{}", EVIL.trim_end_matches('\u{7f}')),
            "nowhere",
            "302 Found",
        ),
        ("spelled out", "https://login.example/%1b[2J%0d%0a".to_owned(), "login.example", "https://login.example/"),
        ("an endless host", long, "redirect to", "302 redirect to https://xxx"),
        ("a script", "javascript:alert(1)//%0aEVIL".to_owned(), "another path", "a javascript address"),
        ("a host that acts", "evil://a%1bb/".to_owned(), "redirect to", "redirect to"),
    ]
    .map(|(name, location, api, receiver)| (name, (location, api, receiver)));
    side_by_side(&cases, |(location, of_the_api, of_the_receiver)| {
        let redirect = move |location: &str| {
            format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n").into_bytes()
        };
        let good = page(&row(r#""m1""#, ""));
        let bytes = redirect(location);
        let api = RawServer::answering_each(move |request| match request.number {
            1 => RawAnswer::keep(bytes.clone()),
            _ => RawAnswer::json("200 OK", &good),
        });
        let bytes = redirect(location);
        let receiver = RawServer::answering_each(move |_| RawAnswer::keep(bytes.clone()));
        let (_dir, mut setup) = relay_of(&api, receiver.url("/hook").as_str());
        let relay = setup.start();
        relay.wait_for_log(of_the_receiver);
        relay.wait_for_log(of_the_api);
        let log = ends(relay, false);
        assert!(!log.contains("EVIL"), "{log}");
    });
}

/// Writes the bytes `again` repeatedly, until the other side closes the connection.
async fn endless(conversation: &mut Conversation, begin: &str, again: &[u8], slowly: bool) {
    let mut every = tokio::time::interval(Duration::from_millis(100));
    let mut going = conversation.say(begin.as_bytes()).await;
    while going {
        going = conversation.say(again).await;
        if slowly {
            every.tick().await;
        }
    }
}

/// An answer that never ends: its beginning, the bytes that are repeated, and whether they come slowly.
struct Wearing {
    begin: &'static str,
    again: &'static [u8],
    slowly: bool,
    /// The text with which the log reports the answer; `None` if the message was accepted.
    said: Option<&'static str>,
}

#[test]
fn a_receiver_that_never_ends_costs_one_attempt_at_a_time() {
    const ONE_MIB: &[u8] = &[b'x'; 1 << 20];
    let wearing = |begin, again, slowly, said| Wearing { begin, again, slowly, said };
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";
    let failed = "HTTP/1.1 500 No\r\ncontent-length: 1073741824\r\n\r\n";
    let chunked = "HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n";
    let cases = [
        ("headers", wearing("HTTP/1.1 200 OK\r\n", b"x: EVIL\r\n", false, Some("reason="))),
        (
            "one header",
            wearing("HTTP/1.1 200 OK\r\nx: ", ONE_MIB, false, Some("its head has more than 5000 headers or 408 KiB")),
        ),
        (
            "a status line",
            wearing("HTTP/1.1 200 ", ONE_MIB, false, Some("its head has more than 5000 headers or 408 KiB")),
        ),
        ("1xx", wearing("", b"HTTP/1.1 103 Early Hints\r\nlink: EVIL\r\n\r\n", false, Some("no answer within 2s"))),
        ("a head, slowly", wearing("HTTP/1.1 200 OK\r\nx: ", b"y", true, Some("no answer within 2s"))),
        ("a gigabyte after a failure", wearing(failed, ONE_MIB, false, Some("500 Internal Server Error"))),
        ("a gigabyte after an acceptance", wearing(ok, ONE_MIB, false, None)),
        ("a body, slowly, after an acceptance", wearing(ok, b"y", true, None)),
        (
            "empty lines of a chunked body",
            wearing(chunked, b"1;EVIL\r\nx\r\n", false, Some("500 Internal Server Error")),
        ),
        ("a length of a chunk", wearing(chunked, b"0", false, Some("500 Internal Server Error"))),
    ];
    side_by_side(&cases, |Wearing { begin, again, slowly, said }| {
        let good = page(&row(r#""m1""#, ""));
        let api = api_with(move |_| good.clone());
        let (begin, again, slowly) = (*begin, *again, *slowly);
        let receiver = RawServer::in_background(move |mut conversation| async move {
            while let Some(request) = conversation.read_request().await {
                if request.number == 0 {
                    return endless(&mut conversation, begin, again, slowly).await;
                }
                conversation.say(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            }
        });
        let (dir, mut setup) = relay_of(&api, receiver.url("/hook").as_str());
        let relay = setup.start();
        match said {
            Some(said) => {
                relay.wait_for_log(said);
                relay.wait_for_log(SINK_WORKS_AGAIN);
            }
            None => wait_until("the delivery", || is_delivered(dir.path()), || relay.log()),
        }
        let log = ends(relay, false);
        assert!(!log.contains("EVIL"), "{log}");
        let requests = receiver.requests();
        assert_eq!(requests.len(), 1 + usize::from(said.is_some()));
        assert!(requests.iter().all(|request| request.header("webhook-id") == ["m1"] && !request.body.is_empty()));
    });
}

fn is_delivered(dir: &Path) -> bool {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let Ok(state) = rusqlite::Connection::open_with_flags(dir.join("state/state.db"), flags) else { return false };
    let settled = "SELECT count(*) FROM delivery JOIN sink ON sink.id = delivery.sink
                   WHERE state = 'delivered' AND name = 'crm'";
    state.query_row(settled, [], |row| row.get(0)) == Ok(1)
}

#[test]
fn a_terminal_gets_nothing_that_acts_on_it() {
    let (mut screen, side) = terminal();
    let row = row(r#""m1""#, &format!(r#","body":"{EVIL}{EVIL_JSON}""#));
    let answer = page(&row);
    let api = api_with(move |_| answer.clone());
    let (_dir, mut setup) = relay_of(&api, "http://127.0.0.1:9/");
    let mut relay = setup.start_with_stdout(side);
    let mut seen = Vec::new();
    while !seen.ends_with(b"\n") {
        let mut byte = [0];
        screen.read_exact(&mut byte).unwrap();
        seen.extend(byte);
    }
    let line = String::from_utf8(seen).unwrap();
    let line = line.trim_end_matches(['\r', '\n']);
    assert!(!line.contains(joltsms_relay::domain::acts), "{line:?}");
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(read(line), read(&row), "the same message, spelled out");
    assert!(relay.stop().success());
}

//! Compares the tables in docs/delivery.md with the program. Each line of a table is made by an attempt over a real
//! connection.

use std::fmt::Write as _;

use reqwest::Url;
use tokio::net::TcpListener;

use super::super::after_attempt::{AttemptHistory, Decision, HealthSignal, Refusals, decide};
use super::*;
use crate::domain::Outcome;
use crate::http::raw_server::{Conversation, RawServer};
use crate::sinks::http::{HttpSink, Options as HttpOptions, Statuses};
use crate::time::backoff::Jitter;

const PAGE: &str = include_str!("../../../docs/delivery.md");

async fn attempt(url: Url, statuses: Statuses) -> Attempt {
    let options = HttpOptions { statuses, ..HttpOptions::plain(url, Duration::from_secs(1)) };
    let sink = HttpSink::new(&options, Clock::starting_at(START)).unwrap();
    let body = b"{}".to_vec();
    sink.begin(Outgoing { id: "m1".into(), content_type: "application/json".into(), body, message: "{}".into() }).await
}

/// Makes one line of a table: what the receiver does, what follows from that, and the words that operators see.
fn row(told: &str, attempt: Attempt) -> String {
    let history = AttemptHistory {
        attempts: 1,
        first_attempt: START,
        ended: START,
        paused: Duration::ZERO,
        expires: None,
        refusals: Refusals::default(),
    };
    let Decision { outcome, signal } = decide(attempt, history, &options(1).retry, &Jitter::seeded(1));
    let (follows, words) = match outcome.unwrap() {
        Outcome::Delivered { .. } => ("delivered".to_owned(), String::new()),
        Outcome::Dead { reason, answer, .. } => (format!("dead letter, `{}`", reason.as_str()), answer),
        Outcome::Retry { due, answer, .. } => {
            let follows = match signal {
                HealthSignal::Refused(refusal) => {
                    let (asked, wait) = (refusal.asked, due.since(START).as_secs_f64());
                    let grows = if asked.is_some() { "" } else { ", longer each time" };
                    format!("refused; the whole sink waits {wait} s{grows}")
                }
                HealthSignal::Gone => "tried again; the sink is paused until it is resumed".to_owned(),
                _ if due.since(START) > Duration::from_secs(6) => {
                    format!("tried again after {} s", due.since(START).as_secs_f64())
                }
                _ => "tried again".to_owned(),
            };
            (follows, answer)
        }
    };
    let words = if words.is_empty() { "-".to_owned() } else { format!("`{words}`") };
    format!("| {told} | {follows} | {words} |\n")
}

async fn answered(told: &str, head: &str, statuses: Statuses) -> String {
    let server = RawServer::answering(format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n")).await;
    row(told, attempt(server.url("/hooks/SECRETKEY?token=SECRET"), statuses).await)
}

/// Returns the table under a heading of the document.
fn table(heading: &str) -> String {
    let (_, section) = PAGE.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n#").next().unwrap();
    section.lines().filter(|line| line.starts_with("| ")).skip(1).fold(String::new(), |all, line| all + line + "\n")
}

#[track_caller]
fn is_on_the_page(heading: &str, expected: &str) {
    assert_eq!(table(heading), expected, "docs/delivery.md, {heading}:\n{expected}");
}

#[tokio::test]
async fn every_status_that_matters() {
    let mut rows = String::new();
    for first in ["100 Continue", "103 Early Hints"] {
        let server =
            RawServer::answering(format!("HTTP/1.1 {first}\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
        let number = first.split(' ').next().unwrap();
        rows += &row(&format!("{number}, then 200"), attempt(server.await.url("/"), Statuses::default()).await);
    }
    let statuses = [
        200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 299, 300, 304, 305, 400, 401, 402, 403, 404, 405, 406, 407,
        408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 499,
        500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 522, 524, 530, 599,
    ];
    for status in statuses {
        rows += &answered(&status.to_string(), &format!("{status} SECRET"), Statuses::default()).await;
    }
    is_on_the_page("## Statuses", &rows);
    assert!(
        !rows.contains("SECRET"),
        "the receiver's words beside the status are not shown, since they may quote the message"
    );
}

#[tokio::test]
async fn what_retry_after_does() {
    let mut rows = String::new();
    for (status, asked) in [
        ("429", "120"),
        ("429", "0"),
        ("429", "soon"),
        ("502", "120"),
        ("503", "120"),
        ("504", "120"),
        ("503", "1.5"),
        ("503", "0"),
        ("503", "Mon, 15 Jun 2026 12:02:00 GMT"),
        ("503", "Mon, 15 Jun 2026 11:00:00 GMT"),
        ("503", "315360000"),
        ("503", "Mon, 15 Jun 2036 12:00:00 GMT"),
        ("503", "soon"),
        ("503", "-5"),
        ("503", "1e9"),
        ("500", "120"),
        ("404", "120"),
    ] {
        let head = format!("{status} X\r\ndate: Mon, 15 Jun 2026 12:00:00 GMT\r\nretry-after: {asked}");
        rows += &answered(&format!("{status}, `Retry-After: {asked}`"), &head, Statuses::default()).await;
    }
    is_on_the_page("## `Retry-After`", &rows);
}

#[tokio::test]
async fn every_redirect() {
    let mut rows = String::new();
    for status in [301, 302, 303, 307, 308] {
        let head = format!("{status} X\r\nlocation: https://login.example.com/sso?next=SECRET");
        rows += &answered(&format!("{status} to another host"), &head, Statuses::default()).await;
    }
    for (told, location) in [
        ("302 to a path", "/login"),
        ("302 to itself", "/hooks/SECRETKEY?token=SECRET"),
        ("302 with a user and a password", "https://user:SECRET@login.example.com/"),
        ("302 to something else", "mailto:someone@example.com"),
        ("302 to nothing that makes sense", "https://["),
    ] {
        rows += &answered(told, &format!("302 X\r\nlocation: {location}"), Statuses::default())
            .await
            .replace("http://127.0.0.1:", "http://crm.example.com:");
    }
    rows += &answered("302 without `Location`", "302 X", Statuses::default()).await;
    // The port differs from run to run.
    let port = |text: &str| {
        let mut parts = text.split("http://crm.example.com:");
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |all, part| {
            all + "http://crm.example.com" + part.trim_start_matches(|c: char| c.is_ascii_digit())
        })
    };
    let rows = port(&rows);
    is_on_the_page("## Redirects", &rows);
    assert!(!rows.contains("SECRET"), "{rows}");
}

#[tokio::test]
async fn what_accept_status_and_reject_status_change() {
    let mut rows = String::new();
    let statuses = || Statuses { accept: vec![302, 409, 410], reject: vec![400, 429, 503] };
    for (told, head) in [
        ("409, accepted here", "409 X"),
        ("302, accepted here", "302 X\r\nlocation: /login"),
        ("410, accepted here", "410 X"),
        ("400, rejected here", "400 X"),
        ("429 with `Retry-After`, rejected here", "429 X\r\nretry-after: 120"),
        ("503 with `Retry-After`, rejected here", "503 X\r\nretry-after: 120"),
    ] {
        rows += &answered(told, head, statuses()).await;
    }
    let gone = Statuses { accept: Vec::new(), reject: vec![410] };
    rows += &answered("410, rejected here", "410 X", gone).await;
    is_on_the_page("## `accept_status` and `reject_status`", &rows);
}

/// Starts a server that calls `speak` with each connection.
async fn server<F: Future<Output = ()> + Send + 'static>(
    speak: impl Fn(Conversation) -> F + Send + Sync + 'static,
) -> RawServer {
    RawServer::start(speak).await
}

#[tokio::test]
async fn every_way_not_to_answer() {
    let mut rows = String::new();
    let mut add = |told: &str, attempt: Attempt| write!(rows, "{}", row(told, attempt)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    add("nobody listens", attempt(Url::parse(&refused).unwrap(), Statuses::default()).await);
    let unknown = attempt(Url::parse("http://crm.invalid/").unwrap(), Statuses::default()).await;
    let Attempt::Failed { status, retry_after, answer } = unknown else { panic!("{unknown:?}") };
    // After these words come the words of the operating system, which differ from machine to machine.
    assert!(answer.starts_with("cannot resolve the host name"), "{answer}");
    add(
        "the host name is unknown",
        Attempt::Failed { status, retry_after, answer: "cannot resolve the host name: …".into() },
    );

    let hangs = server(Conversation::hang).await;
    add("it takes the request and says nothing", attempt(hangs.url("/"), Statuses::default()).await);
    let cut = server(|mut conversation| async move {
        conversation.read_request().await;
    })
    .await;
    add("it closes without an answer", attempt(cut.url("/"), Statuses::default()).await);
    let half = server(|mut conversation| async move {
        conversation.read_request().await;
        conversation.say(b"HTTP/1.1 200 O").await;
    })
    .await;
    add("it closes in the middle of the head", attempt(half.url("/"), Statuses::default()).await);
    let resets = server(|mut conversation| async move {
        conversation.read_request().await;
        conversation.reset();
    })
    .await;
    add("it resets the connection", attempt(resets.url("/"), Statuses::default()).await);
    let other = server(|mut conversation| async move {
        conversation.read_request().await;
        conversation.say(b"220 mail.example.com ESMTP\r\n").await;
    })
    .await;
    add("it speaks another protocol", attempt(other.url("/"), Statuses::default()).await);
    let talks_first = server(|mut conversation| async move {
        conversation.say(b"220 mail.example.com ESMTP\r\n").await;
        conversation.hang().await;
    })
    .await;
    let mut https = talks_first.url("/");
    https.set_scheme("https").unwrap();
    add("it does not speak TLS, and the URL is https", attempt(https, Statuses::default()).await);
    let drips = server(|mut conversation| async move {
        conversation.read_request().await;
        let mut every = tokio::time::interval(Duration::from_secs(1));
        for byte in b"HTTP/1.1 200 OK\r\n\r\n" {
            every.tick().await;
            conversation.say(&[*byte]).await;
        }
    })
    .await;
    add("the head comes at one byte a second", attempt(drips.url("/"), Statuses::default()).await);
    is_on_the_page("## No answer", &rows);
}

#[tokio::test]
async fn whatever_the_body_does() {
    let mut rows = String::new();
    for (told, status) in [("200", "200 OK"), ("500", "500 X")] {
        let head = move |rest: &str| format!("HTTP/1.1 {status}\r\n{rest}\r\n\r\n");
        let gigabyte = server(move |mut conversation| async move {
            conversation.read_request().await;
            conversation.say(head("content-length: 1073741824").as_bytes()).await;
            while conversation.say(&[b'x'; 65536]).await {}
        })
        .await;
        rows += &row(&format!("{told}, a body of 1 GiB"), attempt(gigabyte.url("/"), Statuses::default()).await);
        let drips = server(move |mut conversation| async move {
            conversation.read_request().await;
            conversation.say(head("content-length: 100").as_bytes()).await;
            let mut every = tokio::time::interval(Duration::from_secs(1));
            while conversation.say(b"x").await {
                every.tick().await;
            }
        })
        .await;
        rows +=
            &row(&format!("{told}, a body at one byte a second"), attempt(drips.url("/"), Statuses::default()).await);
        let cut = server(move |mut conversation| async move {
            conversation.read_request().await;
            conversation.say(head("content-length: 100").as_bytes()).await;
            conversation.say(b"only this").await;
        })
        .await;
        rows += &row(&format!("{told}, a body that is cut"), attempt(cut.url("/"), Statuses::default()).await);
    }
    is_on_the_page("## Bodies", &rows);
}

#[tokio::test]
async fn whatever_the_head_looks_like() {
    let many = |count: usize| "x: v\r\n".repeat(count);
    let ok = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}content-length: 2\r\n\r\nok");
    let mut rows = String::new();
    for (told, answer) in [
        ("200, a folded header", ok("x: a\r\n b\r\n")),
        ("200, a space before a colon", ok("x : a\r\n")),
        ("200, control characters in a header", ok("x: \u{1}\u{7f}\r\n")),
        ("200, a line that is no header", ok("nonsense\r\n")),
        ("200, 4,000 headers", ok(&many(4_000))),
        ("200 without a reason, lines that end in LF", "HTTP/1.1 200\ncontent-length: 2\n\nok".to_owned()),
        ("200 of HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nok".to_owned()),
        ("200, the length twice", ok("content-length: 2\r\n")),
        ("200, and more than was announced", ok("") + "HTTP/1.1 500 No\r\n\r\n"),
        ("5,001 headers", ok(&many(5_001))),
        ("a head of a megabyte", ok(&format!("x: {}\r\n", "y".repeat(1 << 20)))),
        ("200, an empty length", "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n".to_owned()),
        ("200, NUL or a bare carriage return in a header", ok("x: \0 a\rb\r\n")),
        ("200, control characters in the reason", "HTTP/1.1 200 O\0\x01K\r\n\r\n".to_owned()),
        ("200 of HTTP/1.0, in chunks", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()),
        ("a length that is no number", "HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n".to_owned()),
        ("two lengths", ok("content-length: 3\r\n")),
        ("a first line without a status", "HTTP/1.1 OK\r\n\r\n".to_owned()),
    ] {
        let server = server(move |mut conversation| {
            let answer = answer.clone();
            async move {
                conversation.read_request().await;
                conversation.say(answer.as_bytes()).await;
            }
        })
        .await;
        rows += &row(told, attempt(server.url("/"), Statuses::default()).await);
    }
    let resets = server(|mut conversation| async move {
        conversation.read_request().await;
        conversation.say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        conversation.reset();
    })
    .await;
    rows += &row("200, then it resets the connection", attempt(resets.url("/"), Statuses::default()).await);
    is_on_the_page("## Heads", &rows);
}

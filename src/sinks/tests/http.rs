//! Tests of the requests that receivers get from an http sink, and of the meaning of the receivers' answers.

use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Url};
use tokio::net::TcpListener;
use wiremock::matchers::{body_string, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::message;
use crate::domain::UnixMs;
use crate::http::raw_server::{Conversation, RawServer};
use crate::sinks::http::{HttpSink, Options, Statuses};
use crate::sinks::signing::{Encoding, Key, Signed, Signing};
use crate::sinks::{Attempt, Sink};
use crate::time::Clock;

const TIMEOUT: Duration = Duration::from_millis(800);

fn sink(url: Url) -> HttpSink {
    sink_with(url, |_| {})
}

fn sink_with(url: Url, change: impl FnOnce(&mut Options)) -> HttpSink {
    let mut options = Options {
        connect_timeout: Duration::from_secs(5),
        statuses: Statuses { accept: vec![409], reject: vec![422] },
        ..Options::plain(url, TIMEOUT)
    };
    change(&mut options);
    HttpSink::new(&options, Clock::starting_at(UnixMs(1_614_265_330_000))).unwrap()
}

async fn attempt(url: Url) -> Attempt {
    sink(url).begin(message("m1", "{}")).await
}

fn failed(status: Option<u16>, answer: &str) -> Attempt {
    Attempt::Failed { status, retry_after: None, answer: answer.to_owned() }
}

#[tokio::test]
async fn a_message_arrives_as_it_came() {
    const RAW: &str = "{ \"id\": \"m.1\",\n \"n\": 1234567890123456789012.50, \"x\": \"\\u0000é\u{1f600}\" }";
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/hooks/sms"))
        .and(body_string(RAW))
        .and(header("content-type", "application/json"))
        .and(header("content-length", RAW.len().to_string().as_str()))
        .and(header("webhook-id", "msg_9ef2752950bb06e242332e310fa66b63c115ca0203db61165c5ee5710f72dc8c"))
        .and(header("user-agent", concat!("joltsms-relay/", env!("CARGO_PKG_VERSION"))))
        .respond_with(ResponseTemplate::new(204))
        .expect(1)
        .mount(&server)
        .await;
    let url = Url::parse(&format!("{}/hooks/sms", server.uri())).unwrap();
    let accepted = sink(url).begin(message("m.1", RAW)).await;
    let requests = server.received_requests().await.unwrap();
    assert_eq!(accepted, Attempt::Accepted { status: Some(204) }, "{requests:?}");
}

#[tokio::test]
async fn there_is_one_of_each_header_and_nothing_else() {
    let server = RawServer::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut url = server.url("/a?b=c");
    url.set_username("user").unwrap();
    url.set_password(Some("pass")).unwrap();
    assert_eq!(attempt(url).await, Attempt::Accepted { status: Some(200) });
    let request = &server.requests()[0];
    assert_eq!(request.head.lines().next(), Some("POST /a?b=c HTTP/1.1"));
    assert_eq!(request.body, b"{}");
    for (name, value) in [
        ("content-type", "application/json"),
        ("content-length", "2"),
        ("webhook-id", "m1"),
        ("authorization", "Basic dXNlcjpwYXNz"),
        ("user-agent", concat!("joltsms-relay/", env!("CARGO_PKG_VERSION"))),
        ("accept", "*/*"),
    ] {
        assert_eq!(request.header(name), [value], "{name}");
    }
    assert_eq!(request.header("host").len(), 1);
    // The head has the request line, seven headers, and the blank line. So there is no header for a chunked body, which
    // some servers would lose.
    assert_eq!(request.head.lines().count(), 9, "{}", request.head);
}

#[tokio::test]
async fn the_operator_s_headers_and_the_length_are_always_sent() {
    let server = RawServer::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    for method in [Method::POST, Method::PUT, Method::PATCH] {
        let sink = sink_with(server.url("/"), |options| {
            options.method = method.clone();
            options.headers.insert("x-team", HeaderValue::from_static("ops"));
            options.headers.insert("authorization", HeaderValue::from_static("Bearer t"));
        });
        for body in ["{}", ""] {
            assert_eq!(sink.begin(message("m1", body)).await, Attempt::Accepted { status: Some(200) });
            let request = server.requests().pop().unwrap();
            assert_eq!(request.head.lines().next(), Some(format!("{method} / HTTP/1.1").as_str()));
            let length = body.len().to_string();
            for (name, value) in
                [("x-team", "ops"), ("authorization", "Bearer t"), ("content-length", &length), ("webhook-id", "m1")]
            {
                assert_eq!(request.header(name), [value], "{name}");
            }
            assert!(request.header("transfer-encoding").is_empty());
        }
    }
}

#[tokio::test]
async fn what_is_signed_is_what_is_sent() {
    let server = RawServer::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let key = Key::standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let sink = sink_with(server.url("/"), |options| options.signing = Some(Signing::StandardWebhooks(vec![key])));
    sink.begin(message("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#)).await;
    let request = server.requests().pop().unwrap();
    assert_eq!(request.header("webhook-timestamp"), ["1614265330"]);
    assert_eq!(request.header("webhook-signature"), ["v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="]);

    let hmac = Signing::HmacSha256 {
        key: Key::raw("It's a Secret to Everybody"),
        header: HeaderName::from_static("x-hub-signature-256"),
        encoding: Encoding::Hex,
        prefix: "sha256=".to_owned(),
        signed: Signed::Body,
    };
    sink_with(server.url("/"), |options| options.signing = Some(hmac)).begin(message("m", "Hello, World!")).await;
    let request = server.requests().pop().unwrap();
    let expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(request.header("x-hub-signature-256"), [expected]);
    assert!(request.header("webhook-timestamp").is_empty());
}

/// A table: the answer of a receiver, and how the attempt ends, with the words that users see.
#[tokio::test]
async fn answers_and_their_words() {
    for (answer, expected) in [
        ("200 OK\r\ncontent-length: 2\r\n\r\nok", Attempt::Accepted { status: Some(200) }),
        ("204 No Content\r\n\r\n", Attempt::Accepted { status: Some(204) }),
        ("202 Accepted\r\nconnection: close\r\n\r\nbye", Attempt::Accepted { status: Some(202) }),
        ("410 Gone\r\ncontent-length: 0\r\n\r\n", Attempt::Gone { status: Some(410), answer: "410 Gone".into() }),
        ("500 Whatever SECRET\r\ncontent-length: 6\r\n\r\nSECRET", failed(Some(500), "500 Internal Server Error")),
        ("404 Not Found\r\nretry-after: soon\r\ncontent-length: 0\r\n\r\n", failed(Some(404), "404 Not Found")),
        (
            "503 Service Unavailable\r\nretry-after: 7.5\r\ncontent-length: 0\r\n\r\n",
            Attempt::Failed {
                status: Some(503),
                retry_after: Some(Duration::from_millis(7500)),
                answer: "503 Service Unavailable".into(),
            },
        ),
        (
            "429 Too Many Requests\r\ndate: Sun, 06 Nov 1994 08:49:00 GMT\r\n\
             retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 0\r\n\r\n",
            Attempt::Failed {
                status: Some(429),
                retry_after: Some(Duration::from_secs(37)),
                answer: "429 Too Many Requests".into(),
            },
        ),
        (
            "302 Found\r\nlocation: https://sso.example.com/login?next=SECRET\r\ncontent-length: 0\r\n\r\n",
            failed(Some(302), "302 redirect to https://sso.example.com/…?…, not followed"),
        ),
        ("409 Conflict\r\ncontent-length: 0\r\n\r\n", Attempt::Accepted { status: Some(409) }),
        (
            "422 Unprocessable Content\r\nretry-after: 60\r\ncontent-length: 0\r\n\r\n",
            Attempt::Rejected { status: Some(422), answer: "422 Unprocessable Entity".into() },
        ),
        ("100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Attempt::Accepted { status: Some(200) }),
    ] {
        let server = RawServer::answering(format!("HTTP/1.1 {answer}")).await;
        assert_eq!(attempt(server.url("/")).await, expected, "{answer}");
        assert_eq!(server.requests().len(), 1, "sent once: {answer}");
    }
}

#[tokio::test]
async fn failures_without_an_answer_and_their_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    assert_eq!(attempt(refused).await, failed(None, "connection refused"));

    let hangs = RawServer::start(Conversation::hang).await;
    assert_eq!(attempt(hangs.url("/")).await, failed(None, "no answer within 800ms"));

    let cuts = RawServer::start(|mut conversation| async move {
        conversation.read_request().await;
        conversation.say(b"HTTP/1.1 200").await;
    })
    .await;
    assert_eq!(attempt(cuts.url("/")).await, failed(None, "connection closed before message completed"));

    let resets = RawServer::start(|mut conversation| async move {
        conversation.read_request().await;
        conversation.reset();
    })
    .await;
    assert_eq!(attempt(resets.url("/")).await, failed(None, "connection reset by the other side"));

    let slow_head = RawServer::start(|mut conversation| async move {
        conversation.read_request().await;
        let mut every = tokio::time::interval(Duration::from_millis(100));
        for byte in "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".bytes() {
            every.tick().await;
            if !conversation.say(&[byte]).await {
                return;
            }
        }
    })
    .await;
    assert_eq!(attempt(slow_head.url("/")).await, failed(None, "no answer within 800ms"));
}

/// Once the status has arrived, it does not matter what happens to the body.
#[tokio::test]
async fn accepted_is_accepted_whatever_the_body_does() {
    let accepted = Attempt::Accepted { status: Some(200) };
    let cut = RawServer::start(|mut conversation| async move {
        conversation.read_request().await;
        conversation.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this").await;
    })
    .await;
    assert_eq!(attempt(cut.url("/")).await, accepted);

    let drips = RawServer::start(|mut conversation| async move {
        conversation.read_request().await;
        conversation.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n").await;
        let mut every = tokio::time::interval(Duration::from_millis(50));
        while conversation.say(b"x").await {
            every.tick().await;
        }
    })
    .await;
    assert_eq!(attempt(drips.url("/")).await, accepted);

    let gigabyte = RawServer::start(|mut conversation| async move {
        conversation.read_request().await;
        conversation.say(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n").await;
        while conversation.say(&[b'x'; 65536]).await {}
    })
    .await;
    let clock = Clock::system();
    let began = clock.monotonic();
    assert_eq!(attempt(gigabyte.url("/")).await, accepted);
    assert!(clock.monotonic() - began < TIMEOUT, "the body was not read to the end");

    let not_what_it_says = RawServer::answering(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nZZ\r\n",
    )
    .await;
    assert_eq!(attempt(not_what_it_says.url("/")).await, accepted);
}

#[tokio::test]
async fn connections_are_used_again_unless_the_body_is_too_long() {
    for (length, connections) in [(0, 1), (60_000, 1), (8 << 20, 3)] {
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + length, b'x');
        let server = RawServer::answering(answer).await;
        let sink = sink(server.url("/"));
        for number in 0..3 {
            let attempt = sink.begin(message(&format!("m{number}"), "{}")).await;
            assert_eq!(attempt, Attempt::Accepted { status: Some(200) });
        }
        assert_eq!(server.connections(), connections, "{length} bytes");
    }
}

#[tokio::test]
async fn no_attempt_fails_because_the_receiver_closes_idle_connections() {
    let server = RawServer::start(|mut conversation| async move {
        conversation.read_request().await;
        conversation.say(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    let sink = sink(server.url("/"));
    for number in 1..=20 {
        assert_eq!(sink.begin(message("m", "{}")).await, Attempt::Accepted { status: Some(200) }, "{number}");
        // The server closes the connection after each answer. The yields below let the client notice this before the
        // next message. Between real messages there is enough time for that.
        tokio::time::timeout(Duration::from_secs(5), async {
            while server.connections() < number {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(server.requests().len(), 20);
}

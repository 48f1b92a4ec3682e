//! Tests of the API's client and of the client for receivers, with real sockets.

use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Method, Url};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::body::{self, BodyError};
use super::client::{self, ClientOptions};
use super::failure::{describe, describe_through};
use super::lenient_client::LenientClient;
use super::raw_server::{Conversation, RawServer};
use super::{Proxy, Transport};

const OPTIONS: ClientOptions = ClientOptions {
    timeout: Duration::from_millis(1500),
    connect_timeout: Duration::from_secs(1),
    keep_idle: client::KEEP_IDLE,
    gzip: true,
};

async fn get(url: Url) -> Result<reqwest::Response, reqwest::Error> {
    client::build(&OPTIONS, &Transport::default(), &url).unwrap().get(url).send().await
}

/// Sends a request as a sink does.
async fn ask_receiver(url: Url) -> Result<reqwest::Response, String> {
    ask_receiver_over(&Transport::default(), url).await
}

async fn ask_receiver_over(transport: &Transport, url: Url) -> Result<reqwest::Response, String> {
    let client = LenientClient::new(&OPTIONS, transport, &url).unwrap();
    let request = client.request(Method::GET, url).build().unwrap();
    client.execute(request).await.map_err(|error| error.describe(&transport.proxy, &OPTIONS))
}

/// Returns the words for a request without an answer. The client of the API and the client for receivers must find the
/// same words.
async fn words(url: Url) -> String {
    let words = describe(&get(url.clone()).await.unwrap_err(), &OPTIONS);
    assert_eq!(ask_receiver(url).await.unwrap_err(), words);
    words
}

/// Returns an address that refuses connections: the port was bound a moment ago and is free again.
async fn refusing() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap()
}

#[tokio::test]
async fn words_for_a_request_without_an_answer() {
    assert_eq!(words(refusing().await).await, "connection refused");
    let closes = RawServer::start(|mut conversation| async move {
        conversation.read_request().await;
    })
    .await;
    assert_eq!(words(closes.url("/")).await, "connection closed before message completed");
    let resets = RawServer::start(|mut conversation| async move {
        conversation.read_request().await;
        conversation.reset();
    })
    .await;
    assert_eq!(words(resets.url("/")).await, "connection reset by the other side");
    let hangs = RawServer::start(Conversation::hang).await;
    assert_eq!(words(hangs.url("/")).await, "no answer within 1.5s");
    let nonsense = RawServer::answering("SSH-2.0-OpenSSH_9.9\r\n\r\n").await;
    assert_eq!(
        words(nonsense.url("/")).await,
        "the answer cannot be read: it does not begin with HTTP/1.1 or HTTP/1.0"
    );
    let headers = RawServer::answering(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20))).await;
    let too_large = "the answer cannot be read: its head has more than 5000 headers or 408 KiB";
    assert_eq!(words(headers.url("/")).await, too_large);
    let mut plain = hangs.url("/");
    plain.set_scheme("https").unwrap();
    let not_tls = RawServer::answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let mut https = not_tls.url("/");
    https.set_scheme("https").unwrap();
    // The server waits for a blank line, which a TLS greeting does not have.
    assert_eq!(words(https).await, "no connection within 1s");
}

#[tokio::test]
async fn no_words_hold_any_part_of_the_url() {
    let mut refused = refusing().await;
    let hanging = RawServer::start(Conversation::hang).await;
    let mut hangs = hanging.url("/");
    for url in [&mut refused, &mut hangs] {
        url.set_path("/services/SECRETPATH");
        url.set_query(Some("token=SECRETQUERY"));
        url.set_username("SECRETUSER").unwrap();
        url.set_password(Some("SECRETPASSWORD")).unwrap();
        let error = get(url.clone()).await.unwrap_err();
        let words = describe(&error, &OPTIONS);
        assert!(!words.contains("SECRET") && !words.contains("127.0.0.1"), "{words}");
    }
    let unknown = Url::parse("http://SECRETHOST.invalid/").unwrap();
    let words = words(unknown).await;
    assert!(
        !words.to_uppercase().contains("SECRETHOST") && words.starts_with("cannot resolve the host name"),
        "{words}"
    );
}

#[tokio::test]
async fn a_failed_handshake_is_named() {
    // The server sends the TLS alert that a server sends if it shares no cipher with the client.
    let answers = RawServer::start(|mut conversation| async move {
        conversation.say(b"\x15\x03\x03\x00\x02\x02\x28").await;
        conversation.hang().await;
    })
    .await;
    let mut url = answers.url("/");
    url.set_scheme("https").unwrap();
    assert_eq!(words(url).await, "the other side refuses the TLS handshake: HandshakeFailure");
}

/// The error contains the proxy's answer, and does not repeat the proxy's address with its password.
#[tokio::test]
async fn a_proxy_that_says_no_is_named() {
    let answers = ["407 Proxy Authentication Required", "403 Forbidden"];
    let asked = AtomicUsize::new(0);
    let proxy = RawServer::start(move |mut conversation| {
        let answer = answers[asked.fetch_add(1, Ordering::Relaxed) % answers.len()];
        async move {
            conversation.read_request().await;
            conversation.say(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
        }
    })
    .await;
    let mut address = proxy.url("/");
    address.set_username("ann").unwrap();
    address.set_password(Some("hunter2")).unwrap();
    let transport = Transport { proxy: Proxy::at(address), ..Transport::default() };
    let url = Url::parse("https://receiver.example/").unwrap();
    let client = client::build(&OPTIONS, &transport, &url).unwrap();
    for said in ["the proxy requires a valid user and password (407)", "the proxy refuses to connect"] {
        let error = client.get(url.clone()).send().await.unwrap_err();
        assert_eq!(describe(&error, &OPTIONS), said);
        let (words, host) = (describe_through(&transport.proxy, &error, &OPTIONS), transport.proxy.host().unwrap());
        assert_eq!(words, format!("{said} (through the proxy {host})"));
        let request = proxy.requests().pop().unwrap();
        assert!(request.head.starts_with("CONNECT receiver.example:443 HTTP/1.1\r\n"), "{}", request.head);
        assert_eq!(request.header("proxy-authorization"), ["Basic YW5uOmh1bnRlcjI="]);
    }
}

#[tokio::test]
async fn a_body_is_read_up_to_the_cap_and_not_further() {
    let server = RawServer::answering("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789").await;
    let body = body::read_capped(get(server.url("/")).await.unwrap(), 10).await.unwrap();
    assert_eq!(body, b"0123456789");
    let refused = body::read_capped(get(server.url("/")).await.unwrap(), 9).await;
    assert!(matches!(refused, Err(BodyError::TooLarge { cap: 9 })));

    let chunked = RawServer::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n",
    )
    .await;
    assert_eq!(body::read_capped(get(chunked.url("/")).await.unwrap(), 10).await.unwrap(), b"0123456789");
    let refused = body::read_capped(get(chunked.url("/")).await.unwrap(), 9).await;
    assert!(matches!(refused, Err(BodyError::TooLarge { cap: 9 })));
}

#[tokio::test]
async fn a_body_that_never_ends_or_breaks_off_is_an_error() {
    let endless = RawServer::start(|mut conversation| async move {
        conversation.read_request().await;
        conversation.say(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while conversation.say(&[b'x'; 65536]).await {}
    })
    .await;
    let refused = body::read_capped(get(endless.url("/")).await.unwrap(), 1 << 20).await;
    assert!(matches!(refused, Err(BodyError::TooLarge { .. })));

    let cut = RawServer::start(|mut conversation| async move {
        conversation.read_request().await;
        conversation.say(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123").await;
    })
    .await;
    let error = body::read_capped(get(cut.url("/?key=SECRET")).await.unwrap(), 100).await.unwrap_err();
    let BodyError::Transport(cause) = &error else { panic!("{error:?}") };
    assert!(!describe(cause, &OPTIONS).is_empty());
    assert!(!format!("{error} {cause} {:?}", error.source()).contains("SECRET"));

    let drips = RawServer::start(|mut conversation| async move {
        conversation.read_request().await;
        conversation.say(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0").await;
        conversation.hang().await;
    })
    .await;
    let error = body::read_capped(get(drips.url("/")).await.unwrap(), 100).await.unwrap_err();
    let BodyError::Transport(cause) = &error else { panic!("{error:?}") };
    assert_eq!(describe(cause, &OPTIONS), "no answer within 1.5s");
}

#[tokio::test]
async fn the_limit_of_a_body_counts_unpacked_bytes() {
    // The bytes are 1 MiB of zeros, which gzip packs to about a kilobyte.
    const BOMB: &[u8] = include_bytes!("../../tests/fixtures/zeros-1MiB.gz");
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", BOMB.len()).into_bytes();
    answer.extend_from_slice(BOMB);
    let server = RawServer::answering(answer).await;
    let refused = body::read_capped(get(server.url("/")).await.unwrap(), 100_000).await;
    assert!(matches!(refused, Err(BodyError::TooLarge { cap: 100_000 })), "{refused:?}");
    assert_eq!(body::read_capped(get(server.url("/")).await.unwrap(), 1 << 20).await.unwrap().len(), 1 << 20);
}

#[tokio::test]
async fn each_request_is_sent_once_and_no_redirect_is_followed() {
    let server = RawServer::answering("HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(get(server.url("/")).await.unwrap().status(), 302);
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("user-agent"), [client::USER_AGENT]);
    assert!(client::USER_AGENT.starts_with("joltsms-relay/"));

    let closes = RawServer::start(|mut conversation| async move {
        conversation.read_request().await;
    })
    .await;
    get(closes.url("/")).await.unwrap_err();
    assert_eq!((closes.connections(), closes.requests().len()), (1, 1));
    ask_receiver(closes.url("/")).await.unwrap_err();
    assert_eq!((closes.connections(), closes.requests().len()), (2, 2));
    assert_eq!(ask_receiver(server.url("/")).await.unwrap().status(), 302);
    let requests = server.requests();
    assert_eq!((requests.len(), requests[1].header("user-agent")), (2, vec![client::USER_AGENT]));
}

/// Returns odd heads that HTTP clients usually accept, each with a name. In the tests the body `ok` follows each head.
fn odd_heads() -> Vec<(&'static str, Vec<u8>)> {
    let line = |line: &str| format!("HTTP/1.1 200 OK\r\n{line}\r\ncontent-length: 2\r\n\r\n").into_bytes();
    let many = |count: usize| (0..count).map(|number| format!("x-{number}: v")).collect::<Vec<_>>().join("\r\n");
    let status = |line: &str| format!("{line}\r\ncontent-length: 2\r\n\r\n").into_bytes();
    vec![
        ("a folded header", line("content-security-policy: default-src\r\n 'self'\r\n\tx")),
        ("a header folded at once", line("x:\r\n v")),
        ("a space before the colon", line("x-powered-by : x")),
        ("a tab before the colon", line("x-powered-by\t: x")),
        ("controls in a value", line("set-cookie: a=b\x7fc\x01d\x1b[2J")),
        ("a control in a name", line("x\x01y: v")),
        ("a name beyond ASCII", line("x-\u{e9}: v")),
        ("a value beyond ASCII", line("x-team: Müller")),
        (
            "a value beyond UTF-8",
            [b"HTTP/1.1 200 OK\r\nx: \xff\xfe\r\n".as_slice(), b"content-length: 2\r\n\r\n"].concat(),
        ),
        ("a line without a colon", line("no header at all")),
        ("no name", line(": v")),
        ("a name in quotes", line("\"x\": v")),
        ("120 headers", line(&many(120))),
        ("4,000 headers", line(&many(4_000))),
        ("a line of 64 KiB", line(&format!("x: {}", "y".repeat(64 << 10)))),
        ("no reason", status("HTTP/1.1 200")),
        ("an empty reason", status("HTTP/1.1 200 ")),
        ("a reason beyond ASCII", status("HTTP/1.1 200 Schön")),
        ("HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\n".to_vec()),
        ("HTTP/1.0 with a length", status("HTTP/1.0 200 OK")),
        ("bare line feeds", b"HTTP/1.1 200 OK\ncontent-length: 2\n\n".to_vec()),
        ("blank lines first", status("\r\n\r\nHTTP/1.1 200 OK")),
        (
            "interim answers first",
            status("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK"),
        ),
        ("the length twice", line("content-length: 2")),
        ("the length twice in one line", b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\n".to_vec()),
    ]
}

/// Starts a server that answers a request with these bytes and ends the connection.
async fn saying_once(bytes: impl Into<Vec<u8>>) -> RawServer {
    let bytes = bytes.into();
    RawServer::start(move |mut conversation| {
        let bytes = bytes.clone();
        async move {
            conversation.read_request().await;
            conversation.say(&bytes).await;
        }
    })
    .await
}

#[tokio::test]
async fn an_answer_that_other_clients_accept_is_accepted() {
    for (name, head) in odd_heads() {
        let server = saying_once([head.as_slice(), b"ok"].concat()).await;
        let response =
            get(server.url("/")).await.unwrap_or_else(|error| panic!("{name}: {}", describe(&error, &OPTIONS)));
        assert_eq!(response.status(), 200, "{name}");
        assert_eq!(body::read_capped(response, 10).await.unwrap(), b"ok", "{name}");
        let answer = ask_receiver(server.url("/")).await.unwrap_or_else(|words| panic!("{name}: {words}"));
        assert_eq!((answer.status().as_u16(), answer.headers().contains_key("connection")), (200, false), "{name}");
        assert_eq!(body::read_capped(answer, 10).await.unwrap(), b"ok", "{name}");
    }
    let folded =
        saying_once("HTTP/1.1 429 No\r\nRetry-After :\r\n  7\r\nx-\u{e9}: v\r\ncontent-length: 0\r\n\r\n").await;
    let response = get(folded.url("/")).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "7", "a folded header is read");
}

/// Returns heads that the HTTP library refuses although their status can be read, each with a name. In the tests the
/// body `ok` follows each head.
fn heads_to_mend() -> Vec<(&'static str, String)> {
    let ok = |line: &str| format!("HTTP/1.1 200 OK\r\n{line}\r\ncontent-length: 2\r\n\r\n");
    let status = |line: &str| format!("{line}\r\ncontent-length: 2\r\n\r\n");
    vec![
        ("an empty length", "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n".to_owned()),
        ("an empty length, and a length", ok("content-length: ")),
        ("NUL in a value", ok("x: a\0b")),
        ("NUL in a name", ok("x\0y: v")),
        ("a bare carriage return in a value", ok("x: a\rb")),
        ("two carriage returns", ok("x: a\r")),
        ("a control in the reason", status("HTTP/1.1 200 O\x01K")),
        ("NUL in the reason", status("HTTP/1.1 200 O\0K")),
        ("two spaces", status("HTTP/1.1  200 OK")),
        ("a tab after the status", status("HTTP/1.1 200\tOK")),
        ("small letters", status("http/1.1 200 OK")),
        ("an interim answer before", status("HTTP/1.1 103 Early\r\nx: \0\r\n\r\nHTTP/1.1 200 OK\r\nx: \0")),
    ]
}

/// Bytes that follow the answer on its connection do not become another answer, whether the server keeps the connection
/// open or not.
#[tokio::test]
async fn an_answer_with_a_mended_head_is_accepted() {
    for (name, head) in heads_to_mend() {
        for following in ["", "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"] {
            let closes = saying_once(format!("{head}ok{following}")).await;
            let answer = ask_receiver(closes.url("/")).await.unwrap_or_else(|words| panic!("{name}: {words}"));
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["connection"].as_bytes()),
                (200, &&b"close"[..]),
                "{name}"
            );
            let body = body::read_capped(answer, 100).await.unwrap();
            assert_eq!(
                body,
                if name == "an empty length" { format!("ok{following}") } else { "ok".to_owned() }.as_bytes()
            );

            let stays = RawServer::answering(format!("{head}ok{following}")).await;
            let client = LenientClient::new(&OPTIONS, &Transport::default(), &stays.url("/")).unwrap();
            for _ in 0..3 {
                let request = client.request(Method::POST, stays.url("/")).body("{}").build().unwrap();
                let answer = client.execute(request).await.unwrap();
                assert_eq!(answer.status(), 200, "{name}");
                assert!(
                    body::discard(answer, 100, OPTIONS.timeout).await,
                    "{name}: the end of the body is known at once"
                );
            }
            assert_eq!((stays.requests().len(), stays.connections()), (3, 3), "{name}");
        }
    }
}

#[tokio::test]
async fn chunks_in_an_answer_of_http_1_0_are_read() {
    let server = saying_once("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    assert_eq!(body::read_capped(ask_receiver(server.url("/")).await.unwrap(), 10).await.unwrap(), b"ok");
}

/// One connection carries answers with sound heads and with heads to mend, all in small pieces.
#[tokio::test]
async fn a_connection_stays_open_until_a_head_is_mended() {
    let (plain, odd) =
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "HTTP/1.1 503 N\0\r\ncontent-length: 2\r\n\r\nno");
    let server = RawServer::start(move |mut conversation| async move {
        for answer in [plain, plain, odd, plain] {
            if conversation.read_request().await.is_none() {
                return;
            }
            for piece in answer.as_bytes().chunks(7) {
                conversation.say(piece).await;
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    let client = LenientClient::new(&OPTIONS, &Transport::default(), &server.url("/")).unwrap();
    for (count, status) in [200, 200, 503, 200, 200, 503].into_iter().enumerate() {
        let request = client.request(Method::POST, server.url("/")).body(vec![b'x'; 100_000]).build().unwrap();
        let answer = client.execute(request).await.unwrap();
        assert_eq!(answer.status(), status, "{count}");
        assert!(body::discard(answer, 10, OPTIONS.timeout).await, "{count}");
    }
    assert_eq!((server.requests().len(), server.connections()), (6, 2));
}

/// An HTTP proxy gets the whole request with the user and the password. An answer of the proxy with an odd head is
/// accepted, too.
#[tokio::test]
async fn both_clients_send_the_same_request_to_a_proxy() {
    let proxy = RawServer::answering("HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n").await;
    let mut address = proxy.url("/");
    address.set_username("ann").unwrap();
    address.set_password(Some("hunter%202")).unwrap();
    let transport = Transport { proxy: Proxy::at(address), ..Transport::default() };
    let url = Url::parse("http://receiver.example/hook?a=b").unwrap();
    assert_eq!(ask_receiver_over(&transport, url.clone()).await.unwrap().status(), 200);
    let lenient = proxy.requests().pop().unwrap();
    client::build(&OPTIONS, &transport, &url).unwrap().get(url).send().await.unwrap_err();
    let strict = proxy.requests().pop().unwrap();
    let lines = |head: &str| {
        // Only the API's client asks for packed bodies.
        let lines = head.lines().filter(|line| !line.starts_with("accept-encoding"));
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&lenient.head), lines(&strict.head));
    assert!(lenient.head.starts_with("GET http://receiver.example/hook?a=b HTTP/1.1\r\n"), "{}", lenient.head);
    assert_eq!(lenient.header("proxy-authorization"), ["Basic YW5uOmh1bnRlciAy"]);
}

/// For an answer that cannot be read, the error names the part that cannot be read.
#[tokio::test]
async fn the_part_of_an_answer_that_cannot_be_read_is_named() {
    let head = |line: &str| format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n");
    let too_large = "its head has more than 5000 headers or 408 KiB";
    let mut mended = Vec::new();
    for (bytes, part) in [
        (head(&"x: v\r\n".repeat(5_001)), too_large),
        (head(&format!("x: {}", "y".repeat(1 << 20))), too_large),
        (format!("HTTP/1.1 200 {}", "y".repeat(1 << 20)), too_large),
        (head("content-length:"), "its Content-Length is not one number"),
        (head("content-length: two"), "its Content-Length is not one number"),
        (head("content-length: -5"), "its Content-Length is not one number"),
        (head("content-length: 2\r\ncontent-length: 3"), "its Content-Length is not one number"),
        (head("x: a\0b"), "a NUL or a bare carriage return stands among its headers"),
        (head("x: a\rb"), "a NUL or a bare carriage return stands among its headers"),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(), "it is HTTP/1.0 with a Transfer-Encoding"),
        ("HTTP/1.1 OK\r\n\r\n".to_owned(), "its first line has no status"),
        ("HTTP/1.1  200 OK\r\n\r\n".to_owned(), "its first line has no status"),
        ("http/1.1 200 OK\r\n\r\n".to_owned(), "it does not begin with HTTP/1.1 or HTTP/1.0"),
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned(), "it does not begin with HTTP/1.1 or HTTP/1.0"),
    ] {
        let server = saying_once(bytes.clone()).await;
        let expected = format!("the answer cannot be read: {part}");
        assert_eq!(describe(&get(server.url("/")).await.unwrap_err(), &OPTIONS), expected, "{bytes:.60}");
        match ask_receiver(server.url("/")).await {
            Ok(answer) => mended.push((part, answer.status().as_u16())),
            Err(words) => assert_eq!(words, expected, "{bytes:.60}"),
        }
    }
    let expected = [
        ("its Content-Length is not one number", 200),
        ("a NUL or a bare carriage return stands among its headers", 200),
        ("a NUL or a bare carriage return stands among its headers", 200),
        ("it is HTTP/1.0 with a Transfer-Encoding", 200),
        ("its first line has no status", 200),
        ("it does not begin with HTTP/1.1 or HTTP/1.0", 200),
    ];
    assert_eq!(mended, expected, "a receiver's answer with one of these mistakes is mended");
}

/// The status counts, however the connection ends after the status.
#[tokio::test]
async fn a_reset_after_the_answer_changes_nothing() {
    for length in ["content-length: 2\r\n", "content-length: 3\r\n", ""] {
        for size in [10, 4 << 20] {
            let server = RawServer::start(move |mut conversation| async move {
                conversation.read_request().await;
                conversation.say(format!("HTTP/1.1 200 OK\r\n{length}\r\nok").as_bytes()).await;
                conversation.reset();
            })
            .await;
            let client = client::build(&OPTIONS, &Transport::default(), &server.url("/")).unwrap();
            let response = client.post(server.url("/")).body(vec![b'x'; size]).send().await.unwrap();
            assert_eq!(response.status(), 200, "{length} {size}");
            assert!(body::discard(response, 10, OPTIONS.timeout).await == length.contains('2'), "{length} {size}");
            let client = LenientClient::new(&OPTIONS, &Transport::default(), &server.url("/")).unwrap();
            let request = client.request(Method::POST, server.url("/")).body(vec![b'x'; size]).build().unwrap();
            let answer = client.execute(request).await.unwrap();
            assert_eq!(answer.status(), 200, "{length} {size}");
            assert!(body::discard(answer, 10, OPTIONS.timeout).await == length.contains('2'), "{length} {size}");
        }
    }
}

/// A receiver answers before it has read the whole message, and closes the connection. The bytes that it did not read
/// turn the close into a reset.
#[tokio::test]
async fn an_answer_before_the_end_of_the_request_counts() {
    for size in [10, 10_000] {
        let server = RawServer::start(|mut conversation| async move {
            conversation.read_head().await;
            conversation.say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            conversation.reset();
        })
        .await;
        let client = client::build(&OPTIONS, &Transport::default(), &server.url("/")).unwrap();
        for _ in 0..20 {
            let response = client.post(server.url("/")).body(vec![b'x'; size]).send().await.unwrap();
            assert_eq!(response.status(), 200, "{size}");
        }
        let client = LenientClient::new(&OPTIONS, &Transport::default(), &server.url("/")).unwrap();
        for _ in 0..20 {
            let request = client.request(Method::POST, server.url("/")).body(vec![b'x'; size]).build().unwrap();
            assert_eq!(client.execute(request).await.unwrap().status(), 200, "{size}");
        }
    }
}

/// Over HTTP/2, as over HTTP/1.1, an answer with a large head is accepted.
#[tokio::test]
async fn a_large_head_is_accepted_over_http2_too() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let mut server = rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(acceptor.clone(), socket));
        }
    });
    async fn serve(acceptor: tokio_rustls::TlsAcceptor, socket: tokio::net::TcpStream) {
        let mut connection = h2::server::handshake(acceptor.accept(socket).await.unwrap()).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let answer = (0..30).fold(hyper::Response::builder(), |answer, number| {
                answer.header(format!("x-{number}"), "y".repeat(4 << 10))
            });
            respond.send_response(answer.body(()).unwrap(), true).unwrap();
        }
    }
    let authorities = vec![cert.der().clone()];
    let transport = Transport { tls: super::tls_files::tls(authorities, None), ..Transport::default() };
    let url = Url::parse(&format!("https://localhost:{port}/")).unwrap();
    let response = client::build(&OPTIONS, &transport, &url).unwrap().get(url.clone()).send().await;
    let response = response.unwrap_or_else(|error| panic!("{}", describe(&error, &OPTIONS)));
    let answer = ask_receiver_over(&transport, url).await.unwrap();
    for response in [response, answer] {
        assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
        assert_eq!(response.headers().len(), 30);
    }
}

/// Bytes that follow an answer, and that belong to no request, do not become the answer to the next request.
#[tokio::test]
async fn bytes_after_an_answer_are_not_the_next_answer() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    for garbage in ["garbage", "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", "\r\n", "\0"] {
        let server = RawServer::answering(format!("{head}{garbage}")).await;
        let client = client::build(&OPTIONS, &Transport::default(), &server.url("/")).unwrap();
        for _ in 0..3 {
            let response = client.get(server.url("/")).send().await.unwrap();
            assert_eq!(response.status(), 200, "{garbage:?}");
            body::discard(response, 10, OPTIONS.timeout).await;
        }
        assert_eq!(server.requests().len(), 3);
        let client = LenientClient::new(&OPTIONS, &Transport::default(), &server.url("/")).unwrap();
        for _ in 0..3 {
            let request = client.request(Method::GET, server.url("/")).build().unwrap();
            let answer = client.execute(request).await.unwrap();
            assert_eq!(answer.status(), 200, "{garbage:?}");
            body::discard(answer, 10, OPTIONS.timeout).await;
        }
        assert_eq!(server.requests().len(), 6);
    }
}

/// Returns a frame of HTTP/2 with the error `code`. Kind 3 (RST_STREAM) ends the request. Kind 7 (GOAWAY) ends the
/// connection, and says that the server has not looked at the request.
fn http2_frame(kind: u8, code: u32) -> Vec<u8> {
    let (stream, content) = match kind {
        3 => (1_u32, code.to_be_bytes().to_vec()),
        _ => (0, [0_u32.to_be_bytes(), code.to_be_bytes()].concat()),
    };
    let length = u8::try_from(content.len()).unwrap();
    [&[0, 0, length, kind, 0], stream.to_be_bytes().as_slice(), &content].concat()
}

/// Starts a server of HTTP/2. After the first request it sends `says` and then hangs; if `says` is `None`, it ends the
/// connection.
async fn http2_server(says: Option<Vec<u8>>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        socket.write_all(&settings).await.unwrap();
        // The client sends the greeting, the settings, the window, and the request, which is the only frame of type 1.
        let mut heard = vec![0; 24];
        socket.read_exact(&mut heard).await.unwrap();
        while heard.get(3) != Some(&1) {
            heard = vec![0; 9];
            socket.read_exact(&mut heard).await.unwrap();
            let mut content = vec![0; usize::from(heard[2]) + (usize::from(heard[1]) << 8)];
            socket.read_exact(&mut content).await.unwrap();
        }
        let Some(says) = says else { return };
        socket.write_all(&says).await.unwrap();
        while socket.read(&mut heard).await.is_ok_and(|read| read > 0) {}
    });
    url
}

#[tokio::test]
async fn a_failure_of_http2_is_described() {
    let (reset, go_away) = (|code| Some(http2_frame(3, code)), |code| Some(http2_frame(7, code)));
    for (says, said) in [
        (reset(2), "the other side ended the request over HTTP/2 (RST_STREAM with INTERNAL_ERROR)"),
        (
            reset(7),
            "the other side ended the request over HTTP/2 (RST_STREAM with REFUSED_STREAM: it did not look at the request)",
        ),
        (
            reset(13),
            "the other side ended the request over HTTP/2 (RST_STREAM with HTTP_1_1_REQUIRED: it wants HTTP/1.1)",
        ),
        (reset(0xabc), "the other side ended the request over HTTP/2 (RST_STREAM with code 2748)"),
        (go_away(11), "the other side ended the HTTP/2 connection (GOAWAY with ENHANCE_YOUR_CALM: it gets too much)"),
        (go_away(0), "the other side ended the HTTP/2 connection (GOAWAY with NO_ERROR: no error)"),
        // A frame of this kind (RST_STREAM) must be longer.
        (
            Some(vec![0, 0, 1, 3, 0, 0, 0, 0, 1, 0]),
            "the other side broke the rules of HTTP/2, so the connection was ended (PROTOCOL_ERROR)",
        ),
        (None, "connection closed by the other side"),
    ] {
        let url = http2_server(says).await;
        let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().retry(reqwest::retry::never());
        let error = client.build().unwrap().get(url).send().await.unwrap_err();
        assert_eq!(describe(&error, &OPTIONS), said);
    }
}

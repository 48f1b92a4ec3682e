//! The shared client against real sockets.

use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Url;
use tokio::net::TcpListener;

use super::body::{self, BodyError};
use super::client::{self, ClientOptions};
use super::failure::describe;
use super::raw_server::{Conversation, RawServer};
use super::{Proxy, Way};

const OPTIONS: ClientOptions = ClientOptions {
    timeout: Duration::from_millis(1500),
    connect_timeout: Duration::from_secs(1),
    keep_idle: client::KEEP_IDLE,
    gzip: true,
};

async fn get(url: Url) -> Result<reqwest::Response, reqwest::Error> {
    client::build(&OPTIONS, &Way::default()).unwrap().get(url).send().await
}

async fn words(url: Url) -> String {
    describe(&get(url).await.unwrap_err(), &OPTIONS)
}

/// An address that refuses connections: it was bound a moment ago.
async fn refusing() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap()
}

#[tokio::test]
async fn what_people_read_when_there_is_no_answer() {
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
    assert_eq!(words(nonsense.url("/")).await, "invalid HTTP version parsed");
    let headers = RawServer::answering(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20))).await;
    assert_eq!(words(headers.url("/")).await, "message head is too large");
    let mut plain = hangs.url("/");
    plain.set_scheme("https").unwrap();
    let not_tls = RawServer::answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let mut https = not_tls.url("/");
    https.set_scheme("https").unwrap();
    // It waits for a blank line, which a TLS greeting does not have.
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
    // A TLS alert, as a server sends it that shares no cipher with us.
    let answers = RawServer::start(|mut conversation| async move {
        conversation.say(b"\x15\x03\x03\x00\x02\x02\x28").await;
        conversation.hang().await;
    })
    .await;
    let mut url = answers.url("/");
    url.set_scheme("https").unwrap();
    assert_eq!(words(url).await, "the other side refuses the TLS handshake: HandshakeFailure");
}

/// What the proxy says is heard; its address, with the password, is not repeated.
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
    let way = Way { proxy: Proxy::Url(address), ..Way::default() };
    let client = client::build(&OPTIONS, &way).unwrap();
    for said in ["the proxy wants a user and a password, or others (407)", "the proxy refuses to connect"] {
        let error = client.get("https://receiver.example/").send().await.unwrap_err();
        assert_eq!(describe(&error, &OPTIONS), said);
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
async fn a_packed_body_counts_as_what_it_unpacks_to() {
    // 1 MiB of zeros, packed by gzip to about a kilobyte.
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
}

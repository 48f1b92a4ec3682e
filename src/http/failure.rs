//! Describes in one line, for operators, why a request got no answer.

use std::error::Error;
use std::io::{self, ErrorKind};

use super::client_options::{ClientOptions, LARGEST_HEAD, MOST_HEADERS};
use super::proxy::Proxy;
use super::{http2_failure, tls_failure};

const DEAD: &str = "the connection is dead: the other side does not even confirm what it gets";

/// Describes an error without any URL: "connection refused", "no answer within 20s", "invalid peer certificate: …".
///
/// A time-out names its limit. TLS errors have words of their own, with a remedy. For other errors the description
/// lists the chain of causes from the outside in, and leaves out layers that only say that there is a cause.
pub fn describe(error: &reqwest::Error, options: &ClientOptions) -> String {
    if is_dead(error.source()) {
        return DEAD.to_owned();
    }
    if error.is_timeout() {
        return if error.is_connect() {
            format!("no connection within {:?}", options.connect_timeout.min(options.timeout))
        } else {
            no_answer(options)
        };
    }
    describe_causes(error.source()).unwrap_or_else(|| kind_of(error).to_owned())
}

/// Describes an error of hyper, the HTTP library on which the clients are built, as [`describe`] does.
pub(super) fn describe_cause(cause: &(dyn Error + 'static)) -> String {
    if is_dead(Some(cause)) {
        return DEAD.to_owned();
    }
    describe_causes(Some(cause)).unwrap_or_else(|| "the request failed".to_owned())
}

/// The words for a request that got no answer within its time limit.
pub(super) fn no_answer(options: &ClientOptions) -> String {
    format!("no answer within {:?}", options.timeout)
}

/// Describes the chain of causes that begins with `next`; `None` if none of the causes has a text that is of use.
fn describe_causes(mut next: Option<&(dyn Error + 'static)>) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    while let Some(cause) = next {
        next = cause.source();
        if let Some(tls) = tls_failure::words(cause) {
            words.push(tls);
            break;
        }
        if let Some(plain) = cause.downcast_ref().and_then(|io| plain_word(innermost(io).kind())) {
            words.push(plain.to_owned());
            break;
        }
        if let Some(http2) = http2_failure::words(cause) {
            words.retain(|earlier| earlier != "http2 error");
            words.push(http2);
            break;
        }
        let text = cause.to_string();
        let text = in_plain_words(&text).unwrap_or(text);
        let told = words.iter().any(|earlier| earlier.contains(&text));
        if !told && !is_wrapping(&text) {
            words.push(text);
        }
    }
    (!words.is_empty()).then(|| words.join(": ").replace(['\r', '\n'], " "))
}

/// Describes an error as [`describe`] does, for a request through `proxy`. If there was no connection, the words name
/// the proxy, because the proxy may be the side that refuses.
pub fn describe_through(proxy: &Proxy, error: &reqwest::Error, options: &ClientOptions) -> String {
    let words = describe(error, options);
    match proxy.host().filter(|_| error.is_connect()) {
        Some(host) => format!("{words} (through the proxy {host})"),
        None => words,
    }
}

/// Describes an error of a connection that is not HTTP, in one line.
pub fn describe_io(error: &io::Error) -> String {
    if let Some(tls) = tls_failure::words(error) {
        return tls;
    }
    let innermost = innermost(error);
    match plain_word(innermost.kind()) {
        Some(plain) => plain.to_owned(),
        None if innermost.kind() == ErrorKind::UnexpectedEof => "connection closed by the other side".to_owned(),
        None if innermost.kind() == ErrorKind::TimedOut => DEAD.to_owned(),
        None => innermost.to_string().replace(['\r', '\n'], " "),
    }
}

/// Puts phrases of the client's libraries into plain words. If an answer cannot be read, the words name the part that
/// cannot be read.
fn in_plain_words(jargon: &str) -> Option<String> {
    let unreadable = |part: &str| format!("the answer cannot be read: {part}");
    Some(match jargon {
        "dns error" => "cannot resolve the host name".to_owned(),
        "tunnel error: unsuccessful" => "the proxy refuses to connect".to_owned(),
        "tunnel error: proxy authorization required" => "the proxy requires a valid user and password (407)".to_owned(),
        "invalid HTTP version parsed" => unreadable("it does not begin with HTTP/1.1 or HTTP/1.0"),
        "invalid HTTP version parsed (found HTTP2 preface)" => unreadable("it is HTTP/2, which nobody asked for"),
        "invalid HTTP status-code parsed" => unreadable("its first line has no status"),
        "invalid HTTP header parsed" => unreadable("a NUL or a bare carriage return stands among its headers"),
        "invalid content-length parsed" => unreadable("its Content-Length is not one number"),
        "unexpected transfer-encoding parsed" => unreadable("it is HTTP/1.0 with a Transfer-Encoding"),
        "message head is too large" => {
            unreadable(&format!("its head has more than {MOST_HEADERS} headers or {} KiB", LARGEST_HEAD >> 10))
        }
        _ => return None,
    })
}

/// Whether the operating system or a ping found that the connection is dead. Such an error is not a time-out of the
/// client.
fn is_dead(mut next: Option<&(dyn Error + 'static)>) -> bool {
    while let Some(cause) = next {
        let gave_up = |io| innermost(io).kind() == ErrorKind::TimedOut && innermost(io).raw_os_error().is_some();
        if cause.downcast_ref().is_some_and(gave_up) || cause.to_string() == "keep-alive timed out" {
            return true;
        }
        next = cause.source();
    }
    false
}

/// Returns the innermost I/O error. Libraries wrap one I/O error in another. `source` of the outer error does not
/// return the inner error, but the source of the inner error.
fn innermost(mut error: &io::Error) -> &io::Error {
    while let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        error = inner;
    }
    error
}

/// Whether a cause is a layer of the client whose text is of no use.
fn is_wrapping(text: &str) -> bool {
    [
        "client error (",
        "tcp connect error",
        "connection error",
        "error sending request",
        "error trying to connect",
        "error resolving DNS",
        "request or response body error",
        "error reading a body from connection",
    ]
    .iter()
    .any(|wrapping| text.starts_with(wrapping))
}

fn plain_word(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::ConnectionReset => "connection reset by the other side",
        ErrorKind::ConnectionAborted => "connection aborted",
        ErrorKind::BrokenPipe => "connection closed by the other side",
        ErrorKind::HostUnreachable => "host unreachable",
        ErrorKind::NetworkUnreachable => "network unreachable",
        _ => return None,
    })
}

/// Returns the words for an error without a cause. The error's own text may contain the URL, so that text is not used.
fn kind_of(error: &reqwest::Error) -> &'static str {
    if error.is_connect() {
        "no connection"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else if error.is_builder() {
        "the request could not be built"
    } else {
        "the request failed"
    }
}

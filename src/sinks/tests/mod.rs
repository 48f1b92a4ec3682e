//! Tests of the sinks with real sockets and real pipes.

mod http;
mod lines;

use super::Outgoing;

fn message(id: &str, body: &str) -> Outgoing {
    let (content_type, body, message) = ("application/json".into(), body.as_bytes().to_vec(), "{}".into());
    Outgoing { id: id.to_owned(), content_type, body, message }
}

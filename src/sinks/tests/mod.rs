//! Tests of the sinks with real sockets and real pipes.

mod http;
mod lines;

use super::Outgoing;

fn message(id: &str, body: &str) -> Outgoing {
    Outgoing { id: id.to_owned(), content_type: "application/json".into(), body: body.as_bytes().to_vec() }
}

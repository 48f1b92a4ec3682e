//! Tests of the sinks with real sockets and real pipes.

mod http;
mod lines;

use super::Outgoing;

/// Returns a word for how an attempt ended, for tables of tests.
#[cfg(any(feature = "sink-amqp", feature = "sink-kafka", feature = "sink-mqtt", feature = "sink-nats"))]
pub(super) fn kind(attempt: &super::Attempt) -> &'static str {
    use super::Attempt;
    match attempt {
        Attempt::Accepted { .. } => "accepted",
        Attempt::Failed { .. } => "failed",
        Attempt::Busy { .. } => "busy",
        Attempt::Rejected { .. } => "rejected",
        Attempt::Gone { .. } => "gone",
        Attempt::Closed => "-",
    }
}

fn message(id: &str, body: &str) -> Outgoing {
    let (content_type, body, message) = ("application/json".into(), body.as_bytes().to_vec(), "{}".into());
    Outgoing { id: id.to_owned(), content_type, body, message }
}

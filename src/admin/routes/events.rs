//! `/api/v1/events`: a stream of events (SSE). An event `status` comes at the beginning and when something changes. An
//! event `message` comes for each message that is released, with the fields of `/api/v1/messages`. The id of this event
//! is the release number of the message; messages are numbered in the order in which they are released. A client that
//! connects again misses no message if its header `Last-Event-ID` holds the last id that it got.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::super::message_list::ListedMessage;
use super::super::problem_document::ProblemDocument;
use super::super::state::{Endpoint, Observed};
use super::super::watcher;
use super::action::ActionFailure;

/// The longest time between two writes, so that proxies do not take the stream for dead.
const PING: Duration = Duration::from_secs(15);

/// How many messages are read in one portion.
const PORTION: usize = 100;

/// A stream to one client.
struct EventStream {
    endpoint: Endpoint,
    observed: watch::Receiver<Arc<Observed>>,
    /// The status that was sent last.
    status: String,
    /// The release number of the last message that was sent.
    after: i64,
    /// The highest release number, as the watcher last saw it.
    released: i64,
    _permit: OwnedSemaphorePermit,
}

pub(in crate::admin) async fn answer(
    State(endpoint): State<Endpoint>,
    headers: HeaderMap,
) -> Result<Response, ProblemDocument> {
    let unavailable = |detail: String| ProblemDocument::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    let Ok(permit) = Arc::clone(&endpoint.streams).try_acquire_owned() else {
        return Err(unavailable("too many streams of events are open".to_owned()));
    };
    // The stream begins to listen before the first look, so that it misses no change after that look.
    let observed = endpoint.observed.subscribe();
    let first = watcher::look(&endpoint).await.map_err(unavailable)?;
    let last_id = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let after = last_id.unwrap_or(first.released);
    let begin = format!("retry: 2000\n\n{}", event("status", None, &first.status));
    let (status, released) = (first.status, first.released);
    let client = EventStream { endpoint, observed, status, after, released, _permit: permit };
    let rest = stream::unfold((Some(begin), client), |(begin, mut client)| async move {
        let text = match begin {
            Some(text) => text,
            None => client.next().await,
        };
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), (None, client)))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // Without this header nginx would hold the stream back.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(rest)).into_response())
}

impl EventStream {
    /// Waits for the next events. Returns their text. Messages come in portions: if a client has missed many messages,
    /// they must not fill the memory.
    async fn next(&mut self) -> String {
        loop {
            if self.released > self.after
                && let Some(events) = self.messages().await
            {
                return events;
            }
            let Ok(changed) = timeout(PING, self.observed.changed()).await else { return ": ping\n\n".to_owned() };
            if changed.is_err() {
                return std::future::pending().await;
            }
            let observed = Arc::clone(&self.observed.borrow_and_update());
            self.released = observed.released;
            if observed.status != self.status {
                self.status.clone_from(&observed.status);
                return event("status", None, &self.status);
            }
        }
    }

    /// Reads the next messages; `None` if there are no more, or if the state cannot be read now.
    async fn messages(&mut self) -> Option<String> {
        let (after, codes) = (self.after, self.endpoint.state.arrivals.codes.borrow().clone());
        let read = self.endpoint.state.access.read(move |spool| {
            let arrivals = spool.arrivals(after, PORTION)?;
            let listed =
                arrivals.into_iter().map(|arrival| Ok((arrival.place, ListedMessage::of(spool, arrival, &codes)?)));
            listed.collect::<Result<Vec<_>, ActionFailure>>()
        });
        let messages = read.await.ok()?;
        self.after = messages.last()?.0;
        let text = messages.iter().map(|(place, message)| {
            event("message", Some(*place), &serde_json::to_string(message).unwrap_or_default())
        });
        Some(text.collect())
    }
}

/// Writes an event. A line break in the data begins another line of data.
fn event(name: &str, id: Option<i64>, data: &str) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    let data: String = data.split(['\r', '\n']).map(|line| format!("data: {line}\n")).collect();
    format!("event: {name}\n{id}{data}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_ends_no_event() {
        assert_eq!(event("status", None, "{}"), "event: status\ndata: {}\n\n");
        assert_eq!(event("message", Some(7), "a\n\nb"), "event: message\nid: 7\ndata: a\ndata: \ndata: b\n\n");
    }
}

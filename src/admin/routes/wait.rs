//! `/api/v1/wait`: a long poll for the next message, as `joltsms-relay wait` waits for it.
//!
//! Invariant: the reader works on a thread of its own that may block, so a disk that hangs does not hold up other
//! answers. The reader ends when the client goes away.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use reqwest::Url;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::super::problem_document::ProblemDocument;
use super::super::state::{ArrivalSource, Endpoint};
use super::json;
use crate::arrivals::{ArrivalReader, ReaderOptions, Since};
use crate::domain::UnixMs;
use crate::domain::filter::{Details, Facts, Filter, FilterVerdict};
use crate::settings::parse_duration;
use crate::store::claim_for_waiter;

/// The times for which a client may ask the relay to wait.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);

/// What a request asks for.
struct WaitRequest {
    filter: Option<Filter>,
    /// Messages that came before the request match, too, if they were received at this time or later.
    since: Option<Since>,
    timeout: Duration,
    claim: bool,
}

pub(in crate::admin) async fn answer(State(endpoint): State<Endpoint>, uri: Uri) -> Result<Response, ProblemDocument> {
    let wanted = WaitRequest::read(uri.query().unwrap_or_default())
        .map_err(|wrong| ProblemDocument::new(StatusCode::BAD_REQUEST, wrong))?;
    if wanted.claim && endpoint.options.read_only {
        let detail = "no message can be claimed here: admin.read_only is set in the configuration";
        return Err(ProblemDocument::new(StatusCode::FORBIDDEN, detail));
    }
    let unavailable = |error: String| ProblemDocument::new(StatusCode::SERVICE_UNAVAILABLE, error);
    let Ok(_permit) = Arc::clone(&endpoint.waits).try_acquire_owned() else {
        return Err(unavailable("too many requests wait for a message".to_owned()));
    };
    let arrivals = endpoint.state.arrivals;
    // If the client goes away, this function is dropped, and `client` with it. Then `client_gone` resolves, and the
    // reader ends.
    let (client, client_gone) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Handle::current();
    let read = move || {
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = client_gone => Ok(None),
                found = timeout(wanted.timeout, next_match(&arrivals, &wanted)) => found.unwrap_or(Ok(None)),
            }
        })
    };
    let found = spawn_blocking(read).await;
    drop(client);
    match found.map_err(|error| unavailable(error.to_string()))?.map_err(unavailable)? {
        Some(message) => Ok(json(message)),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// Waits for the first message that is wanted and that no other request or command has claimed. Returns its JSON text.
async fn next_match(source: &ArrivalSource, wanted: &WaitRequest) -> Result<Option<String>, String> {
    let options = ReaderOptions {
        state: source.state.clone(),
        erases_at_once: source.erases_at_once,
        since: wanted.since,
        fast_for: wanted.timeout,
        boot_id: None,
    };
    let mut reader = ArrivalReader::begin(options, || Err("the relay is ending".to_owned()));
    loop {
        for arrival in reader.next().await.map_err(|error| error.to_string())? {
            let Some(raw) = arrival.raw else { continue };
            let facts = Facts::read(&raw, Details::Absent);
            if wanted.filter.as_ref().is_some_and(|filter| filter.decide(&facts) != FilterVerdict::Wanted) {
                continue;
            }
            if !wanted.claim || claim_for_waiter(source.state.dir(), &arrival.id).map_err(|error| error.to_string())? {
                return Ok(Some(raw));
            }
        }
    }
}

impl WaitRequest {
    /// Reads the query of a request. The error says what is wrong, for people.
    fn read(query: &str) -> Result<Self, String> {
        let mut url = Url::parse("http://localhost/").map_err(|error| error.to_string())?;
        url.set_query(Some(query));
        let (mut to, mut from) = (Vec::new(), Vec::new());
        let (mut since, mut timeout, mut claim) = (None, Duration::from_secs(30), false);
        for (name, value) in url.query_pairs() {
            match (&*name, &*value) {
                ("to", pattern) => to.push(pattern.to_owned()),
                ("from", pattern) => from.push(pattern.to_owned()),
                ("since", time) => since = Some(read_since(time)?),
                ("timeout", span) => timeout = parse_duration(span).map_err(|error| format!("timeout: {error}"))?,
                ("claim", "true") => claim = true,
                ("claim", "false") => claim = false,
                ("claim", _) => return Err("claim is true or false".to_owned()),
                _ => return Err("the parameters are to, from, since, timeout and claim".to_owned()),
            }
        }
        if !TIMEOUTS.contains(&timeout) {
            return Err("timeout is 1s to 5m; ask again to wait longer".to_owned());
        }
        let filter = Filter::of_addresses(&to, &from);
        let filter = filter.map_err(|(name, error)| format!("{name} is not a pattern: {error}"))?;
        Ok(Self { filter, since, timeout, claim })
    }
}

/// Reads a time, or a duration back from the beginning of the request.
fn read_since(text: &str) -> Result<Since, String> {
    let back = || parse_duration(text).ok().map(Since::Back);
    let wrong = "since is an RFC 3339 time, or a duration back such as 10s";
    UnixMs::parse(text).map(Since::At).or_else(back).ok_or_else(|| wrong.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_or_refused_with_a_reason() {
        let read = |query: &str| WaitRequest::read(query).map(|wanted| (wanted.timeout.as_secs(), wanted.claim));
        assert_eq!(read(""), Ok((30, false)));
        assert_eq!(read("to=%2B1650*&from=x&timeout=5s&claim=true"), Ok((5, true)));
        let since = |query: &str| WaitRequest::read(query).map(|wanted| wanted.since);
        assert_eq!(since("since=10s"), Ok(Some(Since::Back(Duration::from_secs(10)))));
        assert_eq!(since("since=1970-01-01T00:00:01Z"), Ok(Some(Since::At(UnixMs(1000)))));
        for (query, wrong) in [
            ("timeout=1h", "timeout is 1s to 5m"),
            ("timeout=0s", "timeout is 1s to 5m"),
            ("timeout=soon", "timeout: "),
            ("claim=yes", "claim is true or false"),
            ("to=[1", "to is not a pattern: "),
            ("since=soon", "since is an RFC 3339 time, or a duration back such as 10s"),
            ("number=1", "the parameters are to, from, since, timeout and claim"),
        ] {
            assert!(read(query).is_err_and(|said| said.starts_with(wrong)), "{query}");
        }
    }
}

//! From a request to everything that happens to its answer: who asks, what it costs, what is said, what goes wrong.
//!
//! Invariants: a request is decided in one piece, under one lock, at one reading of the clock; the order is
//! authentication (401), limit (429), then the rest; a request with a valid key is counted, whatever comes of it.

use crate::api::{Answer, Caller, Content, Request, answer, identify};
use crate::clock::Now;
use crate::limit::Verdict;
use crate::request_log::LoggedRequest;
use crate::state::State;
use crate::switches::{LimitText, Switches};

/// An answer on its way out.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// Decides what happens to a request, and logs it.
pub(crate) fn decide(state: &mut State, now: Now, request: &Request) -> Reply {
    let caller = identify(state, now, request);
    let State { limiter, switches, .. } = state;
    let verdict = match &caller {
        Caller::Key(id) => limiter.spend(id, now.elapsed, switches),
        Caller::Session | Caller::Nobody => Verdict::untouched(switches),
    };
    let said = if verdict.allowed { answer(state, now, request, &caller) } else { refuse(&verdict, switches) };
    let rows = match &said.content {
        Content::Page(page) => page.rows.len(),
        _ => 0,
    };
    let reply = reply(said, &verdict, now, &state.switches);
    state.log.push(LoggedRequest {
        number: 0,
        at: now.elapsed,
        wall: now.wall,
        method: request.method.clone(),
        path: request.path.clone(),
        query: request.query.clone(),
        cursor: request.parameter("cursor"),
        key: match &caller {
            Caller::Key(id) => Some(id.clone()),
            Caller::Session | Caller::Nobody => None,
        },
        session: caller == Caller::Session,
        status: Some(reply.status),
        bytes: reply.body.len() as u64,
        rows,
        fault: None,
    });
    reply
}

fn refuse(verdict: &Verdict, switches: &Switches) -> Answer {
    let seconds = verdict.reset_seconds(switches.reset);
    let time = match switches.limit_text {
        LimitText::Seconds => format!("{seconds} seconds"),
        LimitText::Minutes => match seconds.div_ceil(60) {
            1 => "1 minute".to_owned(),
            minutes => format!("{minutes} minutes"),
        },
    };
    Answer::error(429, "RATE_LIMIT_EXCEEDED", &format!("Rate limit exceeded, retry in {time}"), switches.pretty)
}

fn reply(answer: Answer, verdict: &Verdict, now: Now, switches: &Switches) -> Reply {
    let reset = verdict.reset_seconds(switches.reset).to_string();
    let mut headers = vec![
        ("x-ratelimit-limit".to_owned(), verdict.limit.to_string()),
        ("x-ratelimit-remaining".to_owned(), verdict.remaining.to_string()),
        ("x-ratelimit-reset".to_owned(), reset.clone()),
    ];
    if answer.status == 429 && switches.retry_after {
        headers.push(("retry-after".to_owned(), reset));
    }
    if let Some(date) = date(now, switches) {
        headers.push(("date".to_owned(), date));
    }
    let (kind, body) = match answer.content {
        Content::Page(page) => (JSON, page.text(switches)),
        Content::Json(text) => (JSON, text),
        Content::Html(text) => ("text/html; charset=UTF-8", text),
        Content::Empty => ("", String::new()),
    };
    if !kind.is_empty() {
        headers.push(("content-type".to_owned(), kind.to_owned()));
    }
    Reply { status: answer.status, headers, body }
}

const JSON: &str = "application/json; charset=utf-8";

/// The `Date` header, as far from the clock as the switches say.
fn date(now: Now, switches: &Switches) -> Option<String> {
    let time = now.wall.saturating_add(switches.date_skew).ok().filter(|_| switches.date)?;
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()
}

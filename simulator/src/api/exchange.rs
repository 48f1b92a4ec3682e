//! Decides everything about a request: the caller, the limit, the answer, the faults.
//!
//! Invariants: a request is decided in one piece, under one lock, with one reading of the clock. The order is
//! authentication (401), limit (429), then the other checks. A request with a valid key is counted, whatever the answer
//! is.

use std::time::Duration;

use crate::account::keys::Caller;
use crate::account::limit::Verdict;
use crate::account::request_log::LoggedRequest;
use crate::account::state::State;
use crate::api::damage;
use crate::api::refusals::rate_limited;
use crate::api::routes::{answer, identify};
use crate::clock::Now;
use crate::faults::effect::{Effect, Place};
use crate::faults::wire::Plan;
use crate::http::answer::{Answer, Content, JSON};
use crate::http::body::ReplyBody;
use crate::http::request::Request;
use crate::switches::Switches;

/// Everything that happens on the connection of one request.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) reply: Reply,
    /// When the answer begins, on the simulator's clock.
    pub(crate) begins: Duration,
    pub(crate) conduct: Conduct,
}

/// Whether and how the answer arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Conduct {
    Answer,
    /// The answer is cut off or replaced, as the plan says.
    Spoil(Plan),
    /// No answer comes, and the connection stays open.
    Hang,
}

/// An answer that is about to be sent.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: ReplyBody,
}

impl Reply {
    /// Makes an answer that does not come from the API. Such an answer is not counted, and has no faults.
    pub(crate) fn plain(answer: Answer) -> Self {
        let (kind, body) = answer.content.text(&Switches::default());
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        Self { status: answer.status, headers, body: ReplyBody::text(body) }
    }
}

/// Decides what happens to a request, and logs it.
pub(crate) fn decide(state: &mut State, now: Now, request: &Request) -> Outcome {
    let caller = identify(state, now, request);
    let State { limiter, switches, script, keys, random, .. } = state;
    let verdict = match &caller {
        Caller::Key(id) => limiter.spend(id, now.elapsed, switches),
        Caller::Session | Caller::Nobody => Verdict::untouched(switches),
    };
    let asks_for_page = request.is_list() && verdict.allowed && caller != Caller::Nobody;
    let (fault, effects) = script.choose(request, &caller, asks_for_page, keys, random).unzip();
    let effects: Vec<Effect> = effects.unwrap_or_default();

    damage::before(&effects, state, now);
    let answer =
        if verdict.allowed { answer(state, now, request, &caller) } else { rate_limited(&verdict, &state.switches) };
    let answer = damage::spoil(&effects, answer, request, &verdict, &state.switches);
    let rows = match &answer.content {
        Content::Page(page) => page.rows.len(),
        _ => 0,
    };
    let reply = reply(answer, &effects, &verdict, now, &state.switches);
    let conduct = conduct(&effects);
    let answered = match &conduct {
        Conduct::Answer => true,
        Conduct::Spoil(Plan::Stop { place, .. }) => *place != Place::Answer(0),
        Conduct::Spoil(Plan::Replace(_)) | Conduct::Hang => false,
    };
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
        status: answered.then_some(reply.status),
        remaining: matches!(caller, Caller::Key(_)).then_some(verdict.remaining),
        bytes: reply.body.len(),
        rows,
        fault,
    });
    let begins = effects.iter().fold(now.elapsed, |begins, effect| match effect {
        Effect::Latency(latency) => begins.saturating_add(*latency),
        _ => begins,
    });
    Outcome { reply, begins, conduct }
}

fn conduct(effects: &[Effect]) -> Conduct {
    let conduct = effects.iter().find_map(|effect| match effect {
        Effect::Hang => Some(Conduct::Hang),
        Effect::Break { at, ending } => Some(Conduct::Spoil(Plan::Stop { place: *at, ending: *ending })),
        Effect::NotHttp => Some(Conduct::Spoil(Plan::Replace(b"220 mail.example.com ESMTP\r\n".to_vec()))),
        _ => None,
    });
    conduct.unwrap_or(Conduct::Answer)
}

fn reply(answer: Answer, effects: &[Effect], verdict: &Verdict, now: Now, switches: &Switches) -> Reply {
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
    let (kind, body) = answer.content.text(switches);
    if !kind.is_empty() {
        headers.push(("content-type".to_owned(), kind.to_owned()));
    }
    damage::change_headers(effects, &mut headers, now);
    let huge = effects.iter().find_map(|effect| match effect {
        Effect::HugeBody(bytes) if kind == JSON => Some(*bytes),
        _ => None,
    });
    let body = match huge {
        Some(bytes) => ReplyBody::padded(&body, bytes),
        None => {
            let mut body = body.into_bytes();
            damage::malform(effects, &mut body);
            ReplyBody::text(body)
        }
    };
    Reply { status: answer.status, headers, body }
}

/// Returns the `Date` header: the clock's date, moved by the skew in the switches.
fn date(now: Now, switches: &Switches) -> Option<String> {
    let time = now.wall.saturating_add(switches.date_skew).ok().filter(|_| switches.date)?;
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()
}

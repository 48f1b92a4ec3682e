//! The command `trace`: shows everything that happened to one message, as far as the state knows. The text of the
//! message is not shown, because it contains codes.

use super::exit::Exit;
use super::global_flags::Flags;
use super::output::{answer, json};
use super::relay::complain;
use super::state::{location, look, relay_clock};
use crate::api::set_aside_id;
use crate::domain::{Invocation, RowStanding, UnixMs, shell_word};
use crate::humanize::{bytes, grouped, harmless, span, table};
use crate::store::{DeliveryState, Trace, TracedDelivery};

pub(super) fn trace(flags: &Flags, id: &str, as_json: bool) -> Exit {
    try_trace(flags, id, as_json).unwrap_or_else(|exit| exit)
}

fn try_trace(flags: &Flags, id: &str, as_json: bool) -> Result<Exit, Exit> {
    let read = look(&location(flags)?, |spool| {
        // A row that was spoiled when the relay read it is kept under another id.
        let trace = match spool.trace(id)? {
            None => spool.trace(&set_aside_id(id.as_bytes()))?,
            found => found,
        };
        Ok((trace, relay_clock(spool)?.relay_time()))
    })?;
    let (Some(trace), now) = read else {
        return Err(complain(
            Exit::Failure,
            &format_args!(
                "the state knows no message {id:?}: it was never read, or it is so old that its id was forgotten"
            ),
        ));
    };
    if as_json {
        return Ok(answer(&json(&trace)));
    }
    Ok(answer(&text(&trace, now, &flags.invocation())))
}

/// Formats the trace as text for people.
fn text(trace: &Trace, now: UnixMs, program: &Invocation) -> String {
    let at = |time: UnixMs| format!("{time} ({} ago)", span(now.since(time)));
    let none = || "-".to_owned();
    let is_event = trace.standing == RowStanding::Event;
    let lines = [
        (if is_event { "event" } else { "message" }, harmless(&trace.id)),
        ("number", trace.number.as_deref().map_or_else(none, harmless)),
        (if is_event { "made" } else { "received" }, at(trace.received)),
        ("ingested", trace.ingested.map_or_else(none, at)),
        ("first read", at(trace.first_read)),
        ("handed on", handed_on(trace, program)),
        ("text", trace.bytes.map_or_else(|| "not kept any more".to_owned(), |size| format!("kept, {}", bytes(size)))),
    ];
    let mut text: String = lines.into_iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect();
    if !trace.deliveries.is_empty() {
        let rows: Vec<Vec<String>> = trace.deliveries.iter().map(|fate| row(fate, now)).collect();
        text.push('\n');
        text += &table(&["SINK", "STATE", "ATTEMPTS", "FIRST", "LAST", "NEXT", "REPLAYS", "LAST ANSWER"], &rows);
    }
    if trace.release_no.is_some() && !trace.sinks_without_delivery.is_empty() {
        let gone = if trace.bytes.is_none() { ", or that is over and no longer kept" } else { "" };
        let why = match (trace.standing, trace.sinks_without_delivery.len()) {
            (RowStanding::Event, 1) => "it does not ask for events (events = true), or it came later",
            (RowStanding::Event, _) => "they do not ask for events (events = true), or they came later",
            (_, 1) => "its filter did not want it, or it came later",
            _ => "their filters did not want it, or they came later",
        };
        text += &format!("\nnot for {}: {why}{gone}\n", trace.sinks_without_delivery.join(", "));
    }
    text
}

fn handed_on(trace: &Trace, program: &Invocation) -> String {
    match (trace.release_no, trace.held_by, trace.standing) {
        (Some(place), ..) => format!("yes, as message {} in the order of handing on", grouped(place.unsigned_abs())),
        (None, _, RowStanding::Seed) => "no: it was there before the first run (poll.start)".to_owned(),
        (None, _, RowStanding::BelowWatermark) => {
            let id = harmless(&shell_word(&trace.id));
            format!("no: it showed up later than poll.lookback allows; `{program} replay --id {id}` delivers it")
        }
        (None, _, RowStanding::Unreadable) => {
            format!(
                "no: its row was read and set aside, since it is no valid JSON, or has no id that could be read; \
                 `{program} state export` saves it as it came"
            )
        }
        (None, Some(_), _) => "not yet: older messages are being read first".to_owned(),
        (None, None, _) => "not yet".to_owned(),
    }
}

fn row(fate: &TracedDelivery, now: UnixMs) -> Vec<String> {
    let ago =
        |time: Option<UnixMs>| time.map_or_else(|| "-".to_owned(), |time| format!("{} ago", span(now.since(time))));
    let next = match fate.due {
        Some(due) if due > now => format!("in {}", span(due.since(now))),
        Some(_) => "due".to_owned(),
        None => "-".to_owned(),
    };
    let answer = match (&fate.answer, fate.status) {
        (Some(answer), _) => harmless(answer),
        (None, Some(status)) => status.to_string(),
        (None, None) => String::new(),
    };
    vec![
        fate.sink.clone(),
        state(fate),
        fate.attempts.to_string(),
        ago(fate.first_attempt),
        ago(fate.settled),
        next,
        fate.replays.to_string(),
        answer,
    ]
}

fn state(fate: &TracedDelivery) -> String {
    let with_reason =
        |word: &str| fate.reason.as_ref().map_or_else(|| word.to_owned(), |reason| format!("{word}: {reason}"));
    let state = match fate.state {
        DeliveryState::Undecided => "not decided yet".to_owned(),
        DeliveryState::Fresh => "waits".to_owned(),
        DeliveryState::Retry => "failed, waits".to_owned(),
        DeliveryState::Delivered => "delivered".to_owned(),
        DeliveryState::Dead => with_reason("dead"),
        DeliveryState::Dropped => with_reason("given up"),
    };
    let state = match (fate.state.is_over(), fate.configured, fate.paused) {
        (false, false, _) => format!("{state}; not configured any more"),
        (false, true, true) => format!("{state}; paused"),
        _ => state,
    };
    match &fate.handed_over_by {
        Some(sink) => format!("{state}; handed over by {sink}"),
        None => state,
    }
}

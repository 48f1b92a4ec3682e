//! The command `trace`: shows how one message came in and how far each sink is with it. The text of
//! the message is not shown, because it contains codes.

use super::exit::Exit;
use super::global_flags::Flags;
use super::output::{answer, json};
use super::relay::complain;
use super::screen::Screen;
use super::state_access::{location, look, relay_clock};
use crate::api::set_aside_id;
use crate::domain::{Invocation, RowStanding, UnixMs, shell_word};
use crate::humanize::{bytes, count, grouped, harmless, span};
use crate::store::{DeliveryState, Trace, TracedDelivery};

/// The width of the labels, such as `received`, with the space after them.
const LABEL_WIDTH: usize = 12;

/// The space after the names of sinks.
const GAP: usize = 2;

/// The label before the sinks that do not get the message.
const NOT_FOR: &str = "not for ";

pub(super) fn trace(flags: &Flags, id: &str, as_json: bool) -> Exit {
    try_trace(flags, id, as_json).unwrap_or_else(|exit| exit)
}

fn try_trace(flags: &Flags, id: &str, as_json: bool) -> Result<Exit, Exit> {
    let state = location(flags)?;
    let read = look(&state, |spool| {
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
                "the state in {state} knows no message {id:?}: it was never read, or it is so old that its id was \
                 forgotten"
            ),
        ));
    };
    if as_json {
        return Ok(answer(&json(&trace)));
    }
    Ok(answer(&text(&trace, now, &flags.invocation(), &Screen::stdout(flags))))
}

/// Formats the trace as text for people.
fn text(trace: &Trace, now: UnixMs, program: &Invocation, screen: &Screen) -> String {
    let at = |time: UnixMs| format!("{time} ({} ago)", span(now.since(time)));
    let none = || "-".to_owned();
    let is_event = trace.standing == RowStanding::Event;
    let lines = [
        (if is_event { "event" } else { "message" }, harmless(&trace.id)),
        ("number", trace.number.as_deref().map_or_else(none, harmless)),
        (if is_event { "made" } else { "received" }, at(trace.received)),
        ("appeared", trace.ingested.map_or_else(none, at)),
        ("first read", at(trace.first_read)),
        ("handed on", handed_on(trace, program)),
        ("text", trace.bytes.map_or_else(|| "not kept any more".to_owned(), |size| format!("kept, {}", bytes(size)))),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        text += &screen.labelled(name, LABEL_WIDTH, &value);
    }
    if !trace.deliveries.is_empty() {
        text.push('\n');
        let width = trace.deliveries.iter().map(|fate| fate.sink.chars().count()).max().unwrap_or_default() + GAP;
        for fate in &trace.deliveries {
            text += &screen.labelled(&fate.sink, width, &sentence(fate, now));
        }
    }
    if trace.release_no.is_some() && !trace.sinks_without_delivery.is_empty() {
        let gone = if trace.bytes.is_none() { ", or its delivery is over and no longer kept" } else { "" };
        let why = match trace.standing {
            RowStanding::Event => "the sink does not ask for events (events = true)",
            _ => "the filter of the sink did not want the message",
        };
        let said = format!("{}: {why}, or the sink was added later{gone}", trace.sinks_without_delivery.join(", "));
        text.push('\n');
        text += &screen.labelled(NOT_FOR, NOT_FOR.len(), &said);
    }
    text
}

fn handed_on(trace: &Trace, program: &Invocation) -> String {
    match (trace.release_no, trace.held_by, trace.standing) {
        (Some(place), ..) => format!("yes: to the sinks, as message {} of this state", grouped(place.unsigned_abs())),
        (None, _, RowStanding::Seed) => "no: it was there before the first run (see poll.start)".to_owned(),
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
        (None, Some(_), _) => "not yet: the relay reads older messages first".to_owned(),
        (None, None, _) => "not yet".to_owned(),
    }
}

/// Describes how far a sink is with the message, in one sentence.
fn sentence(fate: &TracedDelivery, now: UnixMs) -> String {
    let ago = |time: Option<UnixMs>| time.map_or_else(String::new, |time| format!(" {} ago", span(now.since(time))));
    let reason = fate.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    let next = match fate.due {
        Some(due) if due > now => format!("in {}", span(due.since(now))),
        Some(_) | None => "as soon as possible".to_owned(),
    };
    let mut parts = vec![match fate.state {
        DeliveryState::Undecided => "not decided yet whether the sink wants the message".to_owned(),
        DeliveryState::Fresh => "waits for its first attempt".to_owned(),
        DeliveryState::Retry => format!("failed{}, next attempt {next}", ago(fate.settled)),
        DeliveryState::Delivered => format!("delivered{}", ago(fate.settled)),
        DeliveryState::Dead => format!("dead letter{reason}, given up{}", ago(fate.settled)),
        DeliveryState::Dropped => format!("dead letter{reason}, dropped by an operator"),
    }];
    if !fate.state.is_over() {
        match (fate.configured, fate.paused) {
            (false, _) => parts.push("the sink is not configured any more".to_owned()),
            (true, true) => parts.push("the sink is paused".to_owned()),
            (true, false) => {}
        }
    }
    match fate.attempts {
        0 => {}
        1 => parts.push("1 attempt".to_owned()),
        attempts => parts.push(format!("{attempts} attempts, the first{}", ago(fate.first_attempt))),
    }
    if fate.replays > 0 {
        parts.push(format!("replayed {}", count(u64::from(fate.replays), "time")));
    }
    parts.extend(fate.handed_over_by.as_ref().map(|sink| format!("handed over by {sink}")));
    let answer = fate.answer.as_deref().map(harmless).or_else(|| fate.status.map(|status| status.to_string()));
    parts.extend(answer.map(|answer| format!("last answer: {answer}")));
    parts.join("; ")
}

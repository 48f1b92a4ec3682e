//! `check --message FILE [--number FILE]`: shows which sinks want a message, and the exact bytes that each sink would
//! get.
//!
//! Invariants: nothing is sent and nothing is stored; no secret is shown. On a terminal, control characters are
//! escaped; on any other output, the bytes are printed unchanged.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::Path;

use super::exit::Exit;
use super::message_file::{self, MessageFile, Unreadable};
use super::output::answer;
use super::relay::complain;
use crate::api::Number;
use crate::config::{Config, ConfiguredSink, show_duration};
use crate::delivery::outgoing;
use crate::domain::filter::{Details, Facts, Filter, FilterVerdict};
use crate::domain::{NumberUse, Row, UnixMs};
use crate::formats::Unrenderable;
use crate::humanize::harmless;
use crate::sinks::{Outgoing, Preview};
use crate::store::{self, NumberDetails};
use crate::time::Clock;

/// Prints the preview on stdout. If the template of a sink fails, the exit code is 1.
pub(super) fn preview(config: &Config, file: &Path, number_file: Option<&Path>) -> Exit {
    let clock = Clock::system();
    let read = || -> Result<(MessageFile, Option<Number>), Unreadable> {
        Ok((message_file::read(file)?, number_file.map(message_file::read_number).transpose()?))
    };
    let (message, given) = match read() {
        Ok(read) => read,
        Err(unreadable) => return complain(Exit::Failure, &unreadable),
    };
    let is_given = given.is_some();
    let number = match given {
        Some(given) => given_number(&message.row, given),
        None => number(config, &message.row),
    };
    let scene = Scene {
        message: &message,
        number_is_given: is_given,
        number: match &number {
            NumberDetails::Unknown => Details::Unknown,
            NumberDetails::Absent => Details::Absent,
            NumberDetails::Known(row) => Details::Known(row),
        },
        clock: &clock,
        for_people: std::io::stdout().is_terminal(),
    };
    let mut text = scene.head(config);
    let mut exit = Exit::Done;
    for sink in &config.sinks {
        let shown = match scene.sink(sink) {
            Ok(shown) => shown,
            Err(failed) => {
                exit = Exit::Failure;
                failed
            }
        };
        writeln!(text, "\nsink {}: {shown}", sink.name).ok();
    }
    match answer(&text) {
        Exit::Done => exit,
        failed => failed,
    }
}

/// Returns the details that were given with `--number`. Warns if the details are not those of the number that received
/// the message.
fn given_number(message: &Row, given: Number) -> NumberDetails {
    match &message.number {
        None => {
            complain(Exit::Done, &"warning: the message names no number (numberId), so the details are not used");
            NumberDetails::Absent
        }
        Some(id) => {
            if *id != given.id {
                let (id, other) = (harmless(id), harmless(&given.id));
                complain(
                    Exit::Done,
                    &format_args!("warning: the message is for number {id}, the details are of {other}"),
                );
            }
            NumberDetails::Known(given.raw.into())
        }
    }
}

/// Returns what the state knows of the message's number, if a sink needs details of numbers.
fn number(config: &Config, message: &Row) -> NumberDetails {
    let Some(id) = &message.number else { return NumberDetails::Absent };
    if !needs_numbers(config) {
        return NumberDetails::Unknown;
    }
    let looked = store::open_snapshot(config.state.location())
        .and_then(|found| found.map(|snapshot| snapshot.spool.number_details(id)).transpose());
    match looked {
        Ok(known) => known.unwrap_or(NumberDetails::Unknown),
        Err(error) => {
            complain(Exit::Done, &format_args!("warning: the details of the number cannot be read: {error}"));
            NumberDetails::Unknown
        }
    }
}

fn needs_numbers(config: &Config) -> bool {
    config.sinks.iter().any(|sink| sink.selection.needs_numbers())
}

/// What the preview of each sink depends on, besides the sink itself.
#[derive(Clone, Copy)]
struct Scene<'s> {
    message: &'s MessageFile,
    number: Details<'s>,
    number_is_given: bool,
    clock: &'s Clock,
    for_people: bool,
}

impl Scene<'_> {
    fn head(self, config: &Config) -> String {
        let MessageFile { row: Row { id, number, .. }, received } = self.message;
        let received = received.map_or_else(|| "at an unknown time".to_owned(), |time| time.to_string());
        let mut head = format!("message {}, received {received}\n", harmless(id));
        if needs_numbers(config) {
            let known = match (number, self.number) {
                (None, _) => "none: the message names no number",
                (_, Details::Known(_)) if self.number_is_given => "with the details that were given",
                (_, Details::Known(_)) => "its details are in the state",
                (_, Details::Absent) => "the API does not list it, so it has no details",
                (_, Details::Unknown) => "its details are not in the state (--number FILE gives them)",
            };
            let id = number.as_deref().map(|id| harmless(id) + ", ").unwrap_or_default();
            writeln!(head, "number {id}{known}").ok();
        }
        head
    }

    /// Returns the text that is printed after the name of the sink. The text is an error if the sink's template fails,
    /// or if the request cannot be made.
    fn sink(self, sink: &ConfiguredSink) -> Result<String, String> {
        let facts = Facts::read(&self.message.row.raw, self.number);
        let notes = notes(sink, self.message.received, self.clock.relay_time());
        match sink.selection.decide(&facts) {
            FilterVerdict::Wanted => {}
            FilterVerdict::Unwanted(_) => {
                return Ok(format!("filtered out by {}", deciding_keys(sink.selection.filter.as_ref(), &facts)));
            }
            FilterVerdict::Unknown(key) => {
                let asking = match key {
                    "number" => "the sink's template shows them".to_owned(),
                    key => format!("filter.{key} asks for them"),
                };
                return Ok(format!(
                    "the message would wait: the details of its number are unknown, and {asking}{notes}"
                ));
            }
        }
        let outgoing = self.outgoing(sink).map_err(|failed| failed + &notes)?;
        let Preview { head, body } = sink.target.preview(outgoing, self.clock)?;
        Ok(format!("takes it{notes}\n{head}{}", self.body(&body)))
    }

    fn outgoing(self, sink: &ConfiguredSink) -> Result<Outgoing, String> {
        // As in a delivery, a sink that does not use details of numbers gets no details.
        let number = match self.number {
            Details::Known(row) if sink.format.number_use() != NumberUse::Ignored => Some(row),
            _ => None,
        };
        let Row { id, raw, .. } = &self.message.row;
        let as_line = sink.target.takes_lines();
        let made = outgoing(&sink.format, sink.mask.as_ref(), id.clone(), raw.clone(), number, as_line);
        made.map_err(|Unrenderable(why)| {
            format!("takes it, but its template fails on it: {why}; the message would be a dead letter (template)")
        })
    }

    /// Returns the payload in the form in which it is printed. On a terminal a bar stands before each line, and control
    /// characters are escaped; any other output gets the payload unchanged.
    fn body(self, body: &[u8]) -> String {
        let body = String::from_utf8_lossy(body);
        if self.for_people { quoted(&body) } else { body.into_owned() }
    }
}

/// Puts a bar before each line, and escapes control characters.
fn quoted(body: &str) -> String {
    let lines: Vec<String> = body.split('\n').map(|line| format!("| {}", harmless(line))).collect();
    lines.join("\n")
}

/// Lists the reasons why the message would not be sent although the sink's filter accepts it.
fn notes(sink: &ConfiguredSink, received: Option<UnixMs>, now: UnixMs) -> String {
    let mut notes = String::new();
    if !sink.delivery.enabled {
        notes += "; it is switched off (enabled = false), so the message would be kept";
    }
    if let (Some(max_age), Some(expires)) =
        (sink.delivery.max_age, received.and_then(|received| sink.delivery.expires(received)))
        && expires <= now
    {
        let max_age = show_duration(max_age);
        write!(notes, "; it is older than max_age = \"{max_age}\", so it would be a dead letter (expired)").ok();
    }
    notes
}

/// Lists the keys that keep the message out: one key for each table of the filter.
fn deciding_keys(filter: Option<&Filter>, facts: &Facts<'_>) -> String {
    let verdicts = filter.map(|filter| filter.decide_each(facts)).unwrap_or_default();
    let alone = verdicts.len() == 1;
    let keys = (1..).zip(verdicts).filter_map(|(place, verdict)| match verdict {
        FilterVerdict::Unwanted(key) if alone => Some(format!("filter.{key}")),
        FilterVerdict::Unwanted(key) => Some(format!("{key} of filter {place}")),
        FilterVerdict::Wanted | FilterVerdict::Unknown(_) => None,
    });
    keys.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::filter::{Clause, Globs, Regexes};

    #[test]
    fn each_filter_that_keeps_the_message_out_is_named() {
        let from = || Some(Globs::new(["+1*"]).unwrap());
        let clauses = || {
            let exclude = Clause { has_code: Some(true), ..Clause::default() };
            [
                Clause { from: from(), ..Clause::default() },
                Clause { body: Some(Regexes::new(["hello"]).unwrap()), ..Clause::default() },
                Clause { exclude: Some(Box::new(exclude)), ..Clause::default() },
            ]
        };
        let raw = r#"{"id":"m","from":"+44","body":"code 123","parsedCode":"123"}"#;
        let facts = Facts::read(raw, Details::Absent);
        let named = |clauses: &[Clause]| deciding_keys(Some(&Filter::any_of(clauses.to_vec())), &facts);
        let [first, second, third] = clauses();
        assert_eq!(named(std::slice::from_ref(&first)), "filter.from");
        assert_eq!(named(std::slice::from_ref(&third)), "filter.exclude");
        assert_eq!(named(&[first, second, third]), "from of filter 1, body of filter 2, exclude of filter 3");
    }

    #[test]
    fn on_a_terminal_each_line_of_a_body_begins_with_a_bar() {
        assert_eq!(quoted("{\n \"a\": 1\n}"), "| {\n|  \"a\": 1\n| }");
        assert_eq!(quoted("x\u{1b}[2J\r\nsink crm takes it"), "| x\\u001b[2J\\r\n| sink crm takes it");
        assert_eq!(quoted(""), "| ");
    }
}

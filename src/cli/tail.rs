//! The command `tail`: shows messages as they arrive.

use std::io::{IsTerminal as _, stdout};
use std::time::Duration;

use super::commands::TailFlags;
use super::exit::Exit;
use super::following::{fails, follow, is_stdout_closed, json_line_of, reader_config, state_trouble, write_line};
use super::global_flags::Flags;
use super::output::unwritten;
use super::relay::complain;
use crate::arrivals::ArrivalReader;
use crate::codes::CodeFinder;
use crate::domain::filter::{Details, Facts};
use crate::humanize::harmless;
use crate::store::Arrival;

/// The time between two checks whether stdout is still read.
const LOOK: Duration = Duration::from_secs(1);

/// The escapes of a terminal for parts of a line, and the escape that ends them.
const DIM: &str = "\u{1b}[2m";
const SENDER: &str = "\u{1b}[36m";
const CODE: &str = "\u{1b}[1;33m";
const PLAIN: &str = "\u{1b}[0m";

pub(super) fn tail(flags: &Flags, how: &TailFlags) -> Exit {
    let config = match reader_config(flags) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let color = flags.color() && stdout().is_terminal();
    let state = config.state.location();
    let work = async |reader: &mut ArrivalReader| {
        let mut said = flags.quiet;
        loop {
            let arrivals = tokio::select! {
                biased;
                arrivals = reader.next() => match arrivals {
                    Ok(arrivals) => arrivals,
                    Err(error) => return fails(&error),
                },
                () = tokio::time::sleep(LOOK) => Vec::new(),
            };
            for Arrival { raw, received, .. } in arrivals {
                let Some(raw) = raw else { continue };
                let line = match how.json {
                    true => json_line_of(&raw),
                    false => line(&received.to_string(), &raw, &config.codes, color),
                };
                if let Err(error) = write_line(&line) {
                    return unwritten(&error);
                }
            }
            if !said && let Some(why) = state_trouble(reader, &state) {
                said = true;
                complain(Exit::Done, &format_args!("waiting for the state: {why}"));
            }
            if is_stdout_closed() {
                return Exit::Done;
            }
        }
    };
    follow(flags, &config, how.since, Duration::ZERO, work)
}

/// Formats a message for people. Text from outside cannot steer the terminal.
fn line(received: &str, raw: &str, codes: &CodeFinder, color: bool) -> String {
    let facts = Facts::read(raw, Details::Absent);
    let text = |text: Option<&str>| text.map_or_else(|| "?".to_owned(), harmless);
    let (from, to) = (text(facts.from()), text(facts.to()));
    let body = facts.body().map(harmless).unwrap_or_default();
    if !color {
        return format!("{received}  {from} -> {to}  {body}");
    }
    let code = codes.find(raw).map(|code| harmless(&code));
    let body = match code.filter(|code| !code.is_empty()) {
        Some(code) => body.replacen(&code, &format!("{CODE}{code}{PLAIN}"), 1),
        None => body,
    };
    format!("{DIM}{received}{PLAIN}  {SENDER}{from}{PLAIN} -> {to}  {body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_for_people_and_harmless() {
        let raw = r#"{"from":"+1800","to":"+1650","body":"code 4711\u001b[2J\nbye 4711","parsedCode":"4711"}"#;
        let codes = CodeFinder::default();
        assert_eq!(line("now", raw, &codes, false), r"now  +1800 -> +1650  code 4711\u001b[2J\nbye 4711");
        let colored = line("now", raw, &codes, true);
        assert!(colored.contains("code \u{1b}[1;33m4711\u{1b}[0m\\u001b[2J\\nbye 4711"), "{colored:?}");
        assert_eq!(line("now", "[]", &codes, false), "now  ? -> ?  ");
    }
}

//! The command `wait`: prints the next matching message, or only its code.

use std::time::Duration;

use tokio::time::timeout_at;

use super::commands::WaitFlags;
use super::exit::Exit;
use super::following::{fails, follow, json_line_of, reader_config, state_trouble, write_line};
use super::global_flags::Flags;
use super::output::unwritten;
use super::relay::complain;
use super::state_access::filter;
use crate::arrivals::{ArrivalError, ArrivalReader};
use crate::codes::CodeFinder;
use crate::domain::UnixMs;
use crate::domain::filter::{Details, Facts, Filter, FilterVerdict};
use crate::humanize::{count, harmless, span};
use crate::store::{Arrival, claim_for_waiter};
use crate::time::Clock;

/// The most messages that are listed at the timeout.
const MOST_LISTED: usize = 20;

/// What the command waits for.
struct MessageChoice {
    filter: Option<Filter>,
    /// `None`: the message itself is printed.
    code: Option<CodeFinder>,
}

/// The command's decision about a message that arrived.
enum Answer {
    /// The line that is printed.
    Line(String),
    /// Why the message is passed over.
    PassedOver(&'static str),
}

/// What the command has seen while it waited.
#[derive(Default)]
struct SeenMeanwhile {
    /// Whether the command already knows which messages are new. Before that, it cannot find any.
    is_watching: bool,
    /// The messages that arrived and were passed over.
    others: Vec<Other>,
}

/// A message that arrived and was passed over.
struct Other {
    received: UnixMs,
    from: String,
    to: String,
    why: &'static str,
}

pub(super) fn wait(flags: &Flags, how: &WaitFlags) -> Exit {
    try_wait(flags, how).unwrap_or_else(|exit| exit)
}

fn try_wait(flags: &Flags, how: &WaitFlags) -> Result<Exit, Exit> {
    let config = reader_config(flags)?;
    let filter = filter(&how.to, &how.from).map_err(super::state_access::CommandRefusal::say)?;
    let code = match &how.code_regex {
        Some(pattern) => Some(
            CodeFinder::only(pattern).map_err(|error| complain(Exit::Usage, &format_args!("--code-regex {error}")))?,
        ),
        None => how.code.then(|| config.codes.clone()),
    };
    let wanted = MessageChoice { filter, code };
    let clock = Clock::system();
    let deadline = clock.monotonic() + how.timeout;
    let state = config.state.location();
    let dir = how.claim.then_some(state.dir());
    let claims = |id: &str| match dir {
        None => Ok(true),
        Some(dir) => claim_for_waiter(dir, id).map_err(|error| {
            complain(Exit::Failure, &format_args!("cannot claim a message in {}: {error}", dir.display()))
        }),
    };
    let work = async |reader: &mut ArrivalReader| {
        let mut seen = SeenMeanwhile::default();
        let found = timeout_at(deadline, next_match(reader, &wanted, claims, &mut seen, flags.quiet)).await;
        match found {
            Ok(Ok(line)) => write_line(&line).map_or_else(|error| unwritten(&error), |()| Exit::Done),
            Ok(Err(exit)) => exit,
            Err(_) => time_out(how.timeout, &seen, state_trouble(reader, &state), reader.api_trouble()),
        }
    };
    Ok(follow(flags, &config, how.since, how.timeout, work))
}

/// Waits for the first message that is wanted and that no other `wait` command has claimed. Returns the line to print.
async fn next_match(
    reader: &mut ArrivalReader,
    wanted: &MessageChoice,
    claims: impl Fn(&str) -> Result<bool, Exit>,
    seen: &mut SeenMeanwhile,
    quiet: bool,
) -> Result<String, Exit> {
    let fails = |error: ArrivalError| fails(&error);
    reader.arm().await.map_err(fails)?;
    seen.is_watching = true;
    if !quiet {
        let whence =
            if reader.is_polling() { "no relay runs, so the API is polled" } else { "reading the relay's state" };
        complain(Exit::Done, &format_args!("waiting for a message ({whence})"));
    }
    loop {
        for arrival in reader.next().await.map_err(fails)? {
            let why = match wanted.answer(&arrival) {
                Answer::Line(line) if claims(&arrival.id)? => return Ok(line),
                Answer::Line(_) => "given to another waiter",
                Answer::PassedOver(why) => why,
            };
            seen.others.push(Other::new(&arrival, why));
        }
    }
}

impl MessageChoice {
    /// Decides whether the command was waiting for this message.
    fn answer(&self, arrival: &Arrival) -> Answer {
        let Some(raw) = &arrival.raw else { return Answer::PassedOver("its text is not kept any more") };
        let facts = Facts::read(raw, Details::Absent);
        if self.filter.as_ref().is_some_and(|filter| filter.decide(&facts) != FilterVerdict::Wanted) {
            return Answer::PassedOver("does not match");
        }
        match self.code.as_ref().map(|code| code.find(raw)) {
            None => Answer::Line(json_line_of(raw)),
            Some(Some(code)) => Answer::Line(harmless(&code)),
            Some(None) => Answer::PassedOver("no code in it"),
        }
    }
}

impl Other {
    fn new(arrival: &Arrival, why: &'static str) -> Self {
        let facts = Facts::read(arrival.raw.as_deref().unwrap_or_default(), Details::Absent);
        let text = |text: Option<&str>| text.map_or_else(|| "?".to_owned(), harmless);
        Self { received: arrival.received, from: text(facts.from()), to: text(facts.to()), why }
    }
}

/// Reports the timeout, and lists the messages that arrived and did not match, without their texts. `of_state`: why
/// the relay's state cannot be read. `of_api`: why the API could not be polled.
fn time_out(timeout: Duration, seen: &SeenMeanwhile, of_state: Option<String>, of_api: Option<String>) -> Exit {
    let SeenMeanwhile { is_watching, others } = seen;
    let mut said = format!("no matching message within {}", span(timeout));
    let of_api = of_api.map(|why| format!("the API could not be polled: {}", harmless(&why)));
    match (others.len(), of_state.or(of_api)) {
        (0, None) if !is_watching => {
            said += ": the first look at the API did not end in that time; `check --online` tries the way to the API";
        }
        (0, None) => said += "; nothing else arrived either",
        (0, Some(trouble)) => said += &format!(": {trouble}"),
        (arrived, _) => {
            said += &format!("; {} arrived:", count(u64::try_from(arrived).unwrap_or(u64::MAX), "other message"));
            for Other { received, from, to, why } in others.iter().take(MOST_LISTED) {
                said += &format!("\n  {received}  from {from} to {to}: {why}");
            }
            if let Some(more) = arrived.checked_sub(MOST_LISTED).filter(|more| *more > 0) {
                said += &format!("\n  and {more} more");
            }
        }
    }
    complain(Exit::TimedOut, &said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Seq;

    fn arrival(raw: Option<&str>) -> Arrival {
        let raw = raw.map(str::to_owned);
        Arrival { place: 1, seq: Seq(1), id: "m".to_owned(), received: UnixMs(0), raw }
    }

    #[test]
    fn a_message_is_passed_over_with_its_reason() {
        let filter = filter(&["+1650*".to_owned()], &[]).unwrap_or_default();
        let code = Some(CodeFinder::default());
        let wanted = MessageChoice { filter, code };
        for (raw, expected) in [
            (Some(r#"{"to":"+16505551234","parsedCode":"12"}"#), "12"),
            (Some(r#"{"to":"+16505551234","parsedCode":"\u001b[2J"}"#), r"\u001b[2J"),
            (Some(r#"{"to":"+17005551234","parsedCode":"12"}"#), "does not match"),
            (Some(r#"{"to":"+16505551234"}"#), "no code in it"),
            (None, "its text is not kept any more"),
        ] {
            let found = match wanted.answer(&arrival(raw)) {
                Answer::Line(line) => line,
                Answer::PassedOver(why) => why.to_owned(),
            };
            assert_eq!(found, expected, "{raw:?}");
        }
    }
}

//! `verify --since TIME`: reads the API's list of messages again, and lists the messages that are missing in the state
//! or undelivered.
//!
//! Invariants: nothing is changed. The requests stay within the budget that the command shares with a running relay.
//! The state is closed during requests and while anything is printed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::api_access::{ApiAccess, NoAccess, refuses_key};
use super::commands::When;
use super::exit::Exit;
use super::global_flags::Flags;
use super::output::{answer, progress};
use super::relay::complain;
use super::screen::Screen;
use super::state_access::{CommandRefusal, look, relay_clock};
use crate::api::{self, PAGE_ROWS, Page};
use crate::config::{self, Sources};
use crate::domain::{Cursor, Invocation, More, RowStanding, UnixMs, shell_word};
use crate::humanize::{count, harmless, span};
use crate::store::{self, DeliveryState, Spool, StateLocation, Trace, TracedDelivery};
use crate::time::Clock;

/// How many times a page is requested before the command gives up.
const TRIES: u32 = 4;

/// The wait after the first failure. Each further wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How long the command waits for a running relay to read and send messages that have just come.
const SETTLING: Duration = Duration::from_secs(10);
/// The time between two looks at the state during this wait.
const SETTLING_LOOK: Duration = Duration::from_millis(500);

/// How many messages are looked up in one portion. The state is closed between two portions.
const PORTION: usize = 200;

/// How many pages are read between two lines of progress.
const PROGRESS_PAGES: usize = 20;

/// The most lines of a list.
const LISTED: usize = 50;

/// A message that the API lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    time: UnixMs,
    id: String,
}

/// What the state says about a message that the API lists.
#[derive(Clone, Debug, PartialEq, Eq)]
enum MessageState {
    /// The message was released, and no delivery of it is owed.
    Complete,
    /// The message was there before the first run, and is not relayed.
    BeforeFirstRun,
    /// The state does not know the message. The message is older than the watermark, so the state may have forgotten
    /// it.
    TooOldToTell,
    /// The state does not know the message.
    Missing,
    /// The state knows the message, but has not released it yet, for this reason.
    HandedOnLater(&'static str),
    /// The message was not released, for this reason. It is delivered only if an operator replays it.
    SetAside(&'static str),
    /// These sinks do not have the message yet: the name of the sink, the reason, and whether that may change within
    /// seconds.
    Owed(Vec<(String, String, bool)>),
}

impl MessageState {
    /// Judges a message that was received at `time`. `trace`: what the state knows of the message. `watermark`: the
    /// state knows every message from this time on.
    fn of(time: UnixMs, trace: Option<&Trace>, watermark: UnixMs) -> Self {
        let Some(trace) = trace else {
            return if time < watermark { Self::TooOldToTell } else { Self::Missing };
        };
        let owed: Vec<(String, String, bool)> = trace.deliveries.iter().filter_map(owed).collect();
        match (trace.release_no, trace.standing) {
            (Some(_), _) if owed.is_empty() => Self::Complete,
            (Some(_), _) => Self::Owed(owed),
            (None, RowStanding::Seed) => Self::BeforeFirstRun,
            (None, RowStanding::BelowWatermark) => Self::SetAside("it showed up later than poll.lookback allows"),
            (None, RowStanding::Unreadable) => Self::SetAside("its row could not be read"),
            (None, RowStanding::News | RowStanding::Event) => {
                Self::HandedOnLater("older messages are being read first")
            }
        }
    }

    /// Whether a running relay may change this judgement within seconds.
    fn may_settle(&self) -> bool {
        match self {
            Self::Missing | Self::HandedOnLater(_) => true,
            Self::Owed(sinks) => sinks.iter().any(|(_, _, may_settle)| *may_settle),
            Self::Complete | Self::BeforeFirstRun | Self::TooOldToTell | Self::SetAside(_) => false,
        }
    }
}

/// Returns the sink, the reason why it does not have the message yet, and whether that may change within seconds.
/// `None`: nothing is owed, or the sink is not configured any more.
fn owed(delivery: &TracedDelivery) -> Option<(String, String, bool)> {
    if !delivery.configured {
        return None;
    }
    let answer = delivery.answer.as_deref().map(|answer| format!(": {answer}")).unwrap_or_default();
    let paused = if delivery.paused { " (the sink is paused)" } else { "" };
    let why = match delivery.state {
        DeliveryState::Delivered | DeliveryState::Dropped => return None,
        DeliveryState::Dead => {
            format!("dead letter, {}{answer}", delivery.reason.as_deref().unwrap_or("given up"))
        }
        DeliveryState::Undecided => "waits for the details of its number".to_owned(),
        DeliveryState::Fresh => format!("waits for its first attempt{paused}"),
        DeliveryState::Retry => format!("waits after {}{paused}{answer}", count(delivery.attempts.into(), "attempt")),
    };
    Some((delivery.sink.clone(), why, delivery.state == DeliveryState::Fresh && !delivery.paused))
}

/// Why the list could not be read completely.
enum Incomplete {
    NoKey(String),
    Temporary(String),
    Access(NoAccess),
}

impl Incomplete {
    fn say(self) -> Exit {
        match self {
            Self::NoKey(why) => {
                complain(Exit::NoKey, &format_args!("{why}: make a new key in the dashboard and configure it"))
            }
            Self::Temporary(why) => {
                let hint = "messages that could not be read were not compared; run the command again, or see `check \
                            --online`";
                complain(Exit::Temporary, &format_args!("the API could not be read completely: {why}; {hint}"))
            }
            Self::Access(NoAccess::Store(error)) => super::state_access::fails(&error),
            Self::Access(error) => complain(Exit::Failure, &error),
        }
    }
}

pub(super) fn verify(flags: &Flags, since: When) -> Exit {
    try_verify(flags, since).unwrap_or_else(|exit| exit)
}

fn try_verify(flags: &Flags, since: When) -> Result<Exit, Exit> {
    let config = config::load(&Sources::from_process(flags.overrides()))
        .map_err(|errors| complain(Exit::Configuration, &errors))?;
    let state = &config.state.location();
    let program = flags.invocation();
    let (watermark, now) = look(state, |spool| {
        let Some(coverage) = spool.load_coverage()? else {
            let said = format!("the relay has read nothing yet; start it: {program}");
            return Err(CommandRefusal { exit: Exit::Failure, said });
        };
        Ok((coverage.marks.watermark, relay_clock(spool)?.relay_time()))
    })?;
    let since = since.resolve(now);
    refuse_future(since, now).map_err(CommandRefusal::say)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| complain(Exit::Failure, &error))?;
    let listed = runtime.block_on(async {
        let mut access = ApiAccess::open(&config).map_err(Incomplete::Access)?;
        read_list(&mut access, since).await
    });
    runtime.shutdown_background();
    let listed = listed.map_err(Incomplete::say)?;
    let states = judge(state, &listed, watermark)?;
    let running = store::is_running(state).ok().flatten().unwrap_or(false);
    let found = Verification { listed: &listed, states: &states, since, now, running, watermark };
    let exit = if found.is_complete() { Exit::Done } else { Exit::Failure };
    match answer(&Screen::stdout(flags).folded(&found.text(&program))) {
        Exit::Done => Ok(exit),
        failed => Err(failed),
    }
}

/// Refuses a time that is not in the past. No message has such a time, so there would be nothing to compare.
fn refuse_future(since: UnixMs, now: UnixMs) -> Result<(), CommandRefusal> {
    if since < now {
        return Ok(());
    }
    let said = format!("--since must be in the past, and {since} is not (it is {now} now): nothing was compared");
    Err(CommandRefusal { exit: Exit::Usage, said })
}

/// Reads the list from its newest message down to `since`. The result is in the order of times.
async fn read_list(access: &mut ApiAccess, since: UnixMs) -> Result<BTreeSet<Listed>, Incomplete> {
    let mut listed = BTreeSet::new();
    let mut cursor: Option<Cursor> = None;
    for pages in 1.. {
        let page = read_page(access, cursor.as_ref()).await?;
        let newest = page.rows.iter().map(|row| row.time).max();
        let rows = page.rows.into_iter().filter(|row| row.time >= since);
        listed.extend(rows.map(|row| Listed { time: row.time, id: row.id }));
        // Rows may be out of order. So the reading goes on until all rows of a page are older than `since`.
        if newest.is_some_and(|newest| newest < since) {
            break;
        }
        match page.more {
            More::End => break,
            More::Lost => {
                return Err(Incomplete::Temporary("a page promises more messages and has no cursor".to_owned()));
            }
            More::Cursor(next) if Some(&next) == cursor.as_ref() => {
                return Err(Incomplete::Temporary("a cursor leads to itself".to_owned()));
            }
            More::Cursor(next) => cursor = Some(next),
        }
        if pages % PROGRESS_PAGES == 0 {
            let back_to = listed.first().map(|message: &Listed| message.time.to_string()).unwrap_or_default();
            progress(&format_args!("{} read, back to {back_to}", count(whole(listed.len()), "message")));
        }
    }
    Ok(listed)
}

async fn read_page(access: &mut ApiAccess, cursor: Option<&Cursor>) -> Result<Page, Incomplete> {
    let mut wait = FIRST_WAIT;
    let mut tried = 0;
    loop {
        let response = access.fetch(cursor, PAGE_ROWS, Duration::MAX).await.map_err(Incomplete::Access)?;
        let Ok(response) = response else {
            return Err(Incomplete::Temporary("the request budget is spent".to_owned()));
        };
        let error = match response.page {
            Ok(page) => return Ok(page),
            Err(error) => error,
        };
        if refuses_key(&error) {
            if access.client().next_key() {
                continue;
            }
            return Err(Incomplete::NoKey(error.to_string()));
        }
        tried += 1;
        // After a 429 the API wants silence, and after another 4xx (`Refused`) a further request would get the same
        // answer. So the command does not try again.
        if tried == TRIES || matches!(error, api::Error::RateLimited | api::Error::Refused { .. }) {
            return Err(Incomplete::Temporary(error.to_string()));
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
}

/// Looks up every message in the state. While a relay runs, messages whose judgement may change within seconds are
/// looked up again and again, for at most [`SETTLING`].
fn judge(
    state: &StateLocation,
    listed: &BTreeSet<Listed>,
    watermark: UnixMs,
) -> Result<BTreeMap<Listed, MessageState>, Exit> {
    let clock = Clock::system();
    let begun = clock.monotonic();
    let mut states = BTreeMap::new();
    let mut open: Vec<Listed> = listed.iter().cloned().collect();
    loop {
        for portion in open.chunks(PORTION) {
            states.extend(look(state, |spool| Ok(look_up(spool, portion, watermark)?))?);
        }
        open.retain(|message| states.get(message).is_some_and(MessageState::may_settle));
        let running = store::is_running(state).ok().flatten().unwrap_or(false);
        let waited = clock.monotonic().saturating_duration_since(begun);
        if open.is_empty() || !running || waited >= SETTLING {
            return Ok(states);
        }
        std::thread::park_timeout(SETTLING_LOOK);
    }
}

fn look_up(spool: &Spool, messages: &[Listed], watermark: UnixMs) -> Result<Vec<(Listed, MessageState)>, store::Error> {
    let states = messages.iter().map(|message| {
        let trace = spool.trace(&message.id)?;
        Ok((message.clone(), MessageState::of(message.time, trace.as_ref(), watermark)))
    });
    states.collect()
}

/// The results of the command.
struct Verification<'v> {
    listed: &'v BTreeSet<Listed>,
    states: &'v BTreeMap<Listed, MessageState>,
    since: UnixMs,
    now: UnixMs,
    running: bool,
    watermark: UnixMs,
}

impl Verification<'_> {
    fn is_complete(&self) -> bool {
        self.states.values().all(|state| {
            matches!(state, MessageState::Complete | MessageState::BeforeFirstRun | MessageState::TooOldToTell)
        })
    }

    fn text(&self, program: &Invocation) -> String {
        let mut text = format!("the API lists {} received since {}\n", self.count(self.listed.len()), self.since);
        let (mut missing, mut aside, mut later) = (Vec::new(), Vec::new(), Vec::new());
        let (mut before, mut too_old) = (0, 0);
        let mut sinks: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (message, state) in self.states {
            match state {
                MessageState::Complete => {}
                MessageState::BeforeFirstRun => before += 1,
                MessageState::TooOldToTell => too_old += 1,
                MessageState::Missing => missing.push(self.line(message, "")),
                MessageState::HandedOnLater(why) => later.push(self.line(message, why)),
                MessageState::SetAside(why) => aside.push((message, self.line(message, why))),
                MessageState::Owed(owed) => {
                    for (sink, why, _) in owed {
                        sinks.entry(sink).or_default().push(self.line(message, why));
                    }
                }
            }
        }
        if before > 0 {
            text += &format!("{} from before the first run (poll.start): not relayed\n", self.count(before));
        }
        if too_old > 0 {
            let from = self.watermark;
            text +=
                &format!("{} not checked: the state knows every message only from {from} on\n", self.count(too_old));
        }
        if !missing.is_empty() {
            let next = match self.running {
                true => format!("see what the relay reads: {program} status"),
                false => format!("no relay runs; start it, or run: {program} once"),
            };
            text += &list(&format!("missing here: {}", self.count(missing.len())), &missing, &next);
        }
        if !later.is_empty() {
            let next = format!("see how much is left to read: {program} status");
            text += &list(&format!("not handed on yet: {}", self.count(later.len())), &later, &next);
        }
        if let Some((first, _)) = aside.first() {
            let next = format!("deliver one: {program} replay --id {}", shell_word(&harmless(&first.id)));
            let lines: Vec<String> = aside.iter().map(|(_, line)| line.clone()).collect();
            text += &list(&format!("set aside: {}", self.count(lines.len())), &lines, &next);
        }
        for (sink, lines) in &sinks {
            let next = match lines.iter().any(|line| line.contains("dead letter")) {
                true => format!("send dead letters again: {program} dead-letters retry --sink {sink}"),
                false => format!("see why they wait: {program} status"),
            };
            text += &list(&format!("undelivered to {sink}: {}", self.count(lines.len())), lines, &next);
        }
        if self.is_complete() {
            text += "none is missing, and every sink has the messages that it wants\n";
        }
        text
    }

    fn count(&self, messages: usize) -> String {
        count(whole(messages), "message")
    }

    fn line(&self, message: &Listed, why: &str) -> String {
        let ago = span(self.now.since(message.time));
        let why = if why.is_empty() { String::new() } else { format!("  {}", harmless(why)) };
        format!("  {}  {} ({ago} ago){why}\n", harmless(&message.id), message.time)
    }
}

/// Formats a list with a heading and the next step. A long list is cut.
fn list(heading: &str, lines: &[String], next: &str) -> String {
    let shown: String = lines.iter().take(LISTED).map(String::as_str).collect();
    let more = match lines.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!("  … and {more} more\n"),
    };
    format!("\n{heading}\n{shown}{more}  next: {next}\n")
}

fn whole(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

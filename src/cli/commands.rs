//! The commands of the command line, and the flags of each command. `super::main` calls the file of each command.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use clap_complete::Shell;

use crate::config::parse_duration;
use crate::domain::{SinkName, UnixMs};

const WAIT_EXAMPLE: &str = "\
Examples:
  code=$(joltsms-relay wait --code --to +16505551234 --since 10s --timeout 90s)
  code=$(joltsms-relay wait --code --to '+1650*' --claim --timeout 90s)    # run several: each gets another code

With a running relay the command reads the relay's state. Without one it polls the API itself, within the same request \
budget. It says on stderr when it waits, and at the timeout what arrived meanwhile. Exit code 124: no matching message \
came in time.";

const TAIL_EXAMPLE: &str = "\
Examples:
  joltsms-relay tail --since 1h
  joltsms-relay tail --json | jq -r .body";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Relay until stopped (the default)
    #[command(after_help = "Example:\n  joltsms-relay run --forward-to http://127.0.0.1:3000/sms --start 1h")]
    Run,
    /// Read all new messages, deliver what is due, and exit
    #[command(after_help = "Example:\n  joltsms-relay once --quiet")]
    Once,
    /// Validate the configuration and show its sinks
    #[command(after_help = "Examples:\n  joltsms-relay check --online\n  joltsms-relay check --message message.json")]
    Check(CheckFlags),
    /// Write a commented configuration to the place where the relay looks for it
    #[command(after_help = "Examples:\n  joltsms-relay init\n  joltsms-relay init relay.toml")]
    Init {
        /// Write to this file instead, or to stdout for -; an existing file is never changed
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of the configuration, for editors
    #[command(after_help = "Example:\n  joltsms-relay schema > relay.schema.json")]
    Schema,
    /// Print the script by which a shell completes commands and flags
    #[command(
        after_help = "Example:\n  joltsms-relay completions bash > ~/.local/share/bash-completion/completions/joltsms-relay"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  joltsms-relay man > joltsms-relay.1")]
    Man,
    /// Show how polling and the sinks are doing, whether a relay runs or not
    #[command(after_help = "Examples:\n  joltsms-relay status\n  joltsms-relay status --check --once-within 1h")]
    Status(StatusFlags),
    /// List, pause, resume, rename and drop sinks
    #[command(after_help = "Example:\n  joltsms-relay sinks list")]
    Sinks {
        #[command(subcommand)]
        command: SinksCommand,
    },
    /// List, show, retry or drop messages that could not be delivered
    #[command(after_help = "Example:\n  joltsms-relay dead-letters list")]
    DeadLetters {
        #[command(subcommand)]
        command: DeadLettersCommand,
    },
    /// Deliver stored messages again, with the same webhook-id
    #[command(after_help = "Example:\n  joltsms-relay replay --since 24h --sink crm --dry-run")]
    Replay(ReplayFlags),
    /// Read the API again, and list the messages that are missing here or undelivered; exit 0 if there are none, else 1
    #[command(after_help = "Example:\n  joltsms-relay verify --since 24h")]
    Verify {
        /// Read back to messages received at this time: an RFC 3339 time, or a duration back such as 24h
        #[arg(long, value_name = "TIME")]
        since: When,
    },
    /// Show new messages as they arrive, until interrupted
    #[command(after_help = TAIL_EXAMPLE)]
    Tail(TailFlags),
    /// Print the next matching message, or only its code, and exit
    #[command(after_help = WAIT_EXAMPLE)]
    Wait(WaitFlags),
    /// Show how one message came in, and how far each sink is with it
    #[command(after_help = "Example:\n  joltsms-relay trace 0b1f7a52-33c6-4d0e-9d5e-6f0f4f7f1a11")]
    Trace {
        /// The message's id
        id: String,
        /// Print JSON; docs/status.md describes each field
        #[arg(long)]
        json: bool,
    },
    /// Save the messages of a state, even of a damaged one, or copy the whole state to another place
    #[command(
        after_help = "Examples:\n  joltsms-relay state export --output saved.jsonl\n  joltsms-relay state copy --to /mnt/new-disk/joltsms-relay"
    )]
    State {
        #[command(subcommand)]
        command: StateCommand,
    },
}

#[derive(Args, Debug)]
pub(super) struct CheckFlags {
    /// Also try the API, the disk and every sink, without sending a message: key, clock, budget, permissions, DNS, TLS,
    /// signatures
    #[arg(long, conflicts_with = "message")]
    pub(super) online: bool,

    /// Show what each sink would get for the message in this file, a JSON object as the API shows it; - for stdin
    #[arg(long, value_name = "FILE")]
    pub(super) message: Option<PathBuf>,

    /// Take the details of the message's number from this file, a JSON object as the API lists it [default: from the state]
    #[arg(long, value_name = "FILE", requires = "message")]
    pub(super) number: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum StateCommand {
    /// Write all readable messages and their deliveries, one JSON object a line; exit 1 if some could not be read
    #[command(after_help = "Example:\n  joltsms-relay state export --output saved.jsonl")]
    Export {
        /// Write to this file, which must not exist yet; - for stdout
        #[arg(short, long, value_name = "FILE", default_value = "-")]
        output: PathBuf,
    },
    /// Copy the whole state, with all that waits, into an empty directory or database; no relay may run meanwhile
    #[command(after_help = "Example:\n  joltsms-relay state copy --to postgresql://relay@db.example/relay")]
    Copy {
        /// The directory, or the address of a PostgreSQL database, to which the state is copied; the list of processes
        /// shows the address, so leave the password out and set PGPASSWORD
        #[arg(long, value_name = "DIRECTORY|URL")]
        to: String,

        /// The schema in the database [default: state.namespace]
        #[arg(long, value_name = "NAME")]
        namespace: Option<String>,
    },
}

#[derive(Args, Debug)]
pub(super) struct StatusFlags {
    /// Print JSON; docs/status.md describes each field
    #[arg(long)]
    pub(super) json: bool,

    /// Print all problems in one line; exit 0 if there are none, else 1
    #[arg(long)]
    pub(super) check: bool,

    /// Print again every second, until interrupted
    #[arg(long, conflicts_with = "check")]
    pub(super) watch: bool,

    /// Also count as healthy if no relay runs and `once` has read and delivered everything within this time, such as 1h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) once_within: Option<Duration>,
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).map_err(|_| "it must be a duration such as 15m or 24h")
}

#[derive(Debug, Subcommand)]
pub(super) enum SinksCommand {
    /// Show how many messages wait for each sink, and which sinks are paused
    #[command(after_help = "Example:\n  joltsms-relay sinks list --json")]
    List {
        /// Print a JSON array; docs/status.md describes each field
        #[arg(long)]
        json: bool,
    },
    /// Send nothing more to these sinks; their messages are kept
    #[command(after_help = "Example:\n  joltsms-relay sinks pause crm")]
    Pause {
        /// The sinks' names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Send to these sinks again, beginning with the messages that wait
    #[command(after_help = "Example:\n  joltsms-relay sinks resume crm")]
    Resume {
        /// The sinks' names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Give a sink another name; its waiting messages, dead letters and pause stay with it
    #[command(after_help = "Example:\n  joltsms-relay sinks rename crm desk")]
    Rename {
        /// The name in the state
        name: String,
        /// The name in the configuration from the next start on
        to: SinkName,
    },
    /// Make the table of a sink of type postgres, unless it is there
    #[command(after_help = "Example:\n  joltsms-relay sinks create-table warehouse")]
    CreateTable {
        /// The sink's name in the configuration
        name: SinkName,
    },
    /// Remove a sink from the state after it was removed from the configuration
    #[command(after_help = "Example:\n  joltsms-relay sinks drop crm --discard-messages")]
    Drop {
        /// The sink's name
        name: String,
        /// Also discard the messages that wait for the sink, and its dead letters: they are never delivered to it
        #[arg(long)]
        discard_messages: bool,
    },
}

#[derive(Args, Debug)]
pub(super) struct ReplayFlags {
    #[command(flatten)]
    pub(super) choice: ReplayChoice,

    /// Change nothing, and show how many deliveries there would be
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Make at most NUMBER deliveries a minute; the command runs as long as that takes
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rate: Option<u32>,
}

/// Which messages are delivered again. If several flags are given, a message must match each of
/// them. If a flag is given several times, one of its values is enough.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub(super) struct ReplayChoice {
    /// Deliver to this sink, including messages that pass its filter but never went to it [default: deliver to each sink
    /// what went to it before]
    #[arg(long = "sink", value_name = "NAME", value_parser = selector)]
    pub(super) sinks: Vec<String>,

    /// Deliver the message with this id
    #[arg(long = "id", value_name = "ID", value_parser = selector)]
    pub(super) ids: Vec<String>,

    /// Only messages received at this time or later: an RFC 3339 time, or a duration back such as 24h
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<When>,

    /// Only messages received before this time
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<When>,

    /// Only messages to a number that matches this shell pattern, such as +1650*
    #[arg(long, value_name = "PATTERN", value_parser = selector)]
    pub(super) to: Vec<String>,

    /// Only messages from a sender that matches this shell pattern, without regard to case
    #[arg(long, value_name = "PATTERN", value_parser = selector)]
    pub(super) from: Vec<String>,

    /// Only dead letters, also those that were dropped
    #[arg(long)]
    pub(super) failed: bool,
}

#[derive(Args, Debug)]
pub(super) struct TailFlags {
    /// Print each message exactly as the API sent it, one JSON object a line
    #[arg(long)]
    pub(super) json: bool,

    /// Begin with messages received at this time or later: an RFC 3339 time, or a duration back such as 1h
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<When>,
}

#[derive(Args, Debug)]
pub(super) struct WaitFlags {
    /// Only a message to a number that matches this shell pattern, such as +1650*
    #[arg(long, value_name = "PATTERN", value_parser = selector)]
    pub(super) to: Vec<String>,

    /// Only a message from a sender that matches this shell pattern, without regard to case
    #[arg(long, value_name = "PATTERN", value_parser = selector)]
    pub(super) from: Vec<String>,

    /// Print only the code of the message; messages without a code are passed over
    #[arg(long)]
    pub(super) code: bool,

    /// Find the code by this regular expression in the text: its first group, or else the whole match
    #[arg(long, value_name = "REGEX", value_parser = selector)]
    pub(super) code_regex: Option<String>,

    /// Take a message that was received at this time or later, if there is one already: an RFC 3339 time, or a duration
    /// back such as 30s [default: only messages that the relay reads after the command's start]
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<When>,

    /// Give up after this time, with exit code 124
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = wait_timeout)]
    pub(super) timeout: Duration,

    /// Take the message for this command alone: no other command with --claim gets it
    #[arg(long)]
    pub(super) claim: bool,
}

/// The shortest and the longest `wait --timeout`. The longest is a day, because a session or a machine often ends
/// before a longer time-out would be over.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

fn wait_timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    match TIMEOUTS.contains(&timeout) {
        true => Ok(timeout),
        false => Err("a timeout that can be kept is 1s to 24h; for longer, run `joltsms-relay wait` again".to_owned()),
    }
}

/// Accepts a pattern, a name or an id. An empty text would select nothing; it usually comes from a variable that is not
/// set.
fn selector(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("it is empty: is the variable set?") } else { Ok(text.to_owned()) }
}

/// A time on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    At(UnixMs),
    Back(Duration),
}

impl When {
    pub(super) fn resolve(self, now: UnixMs) -> UnixMs {
        match self {
            Self::At(instant) => instant,
            Self::Back(span) => now.before(span),
        }
    }
}

impl FromStr for When {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let instant = UnixMs::parse(text).map(Self::At);
        instant
            .or_else(|| parse_duration(text).ok().map(Self::Back))
            .ok_or("it must be a time such as 2026-01-31T08:00:00Z or a duration back such as 24h")
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum DeadLettersCommand {
    /// List the dead letters, and why they were given up
    #[command(after_help = "Example:\n  joltsms-relay dead-letters list --sink crm")]
    List {
        #[command(flatten)]
        which: Which,
        /// Print a JSON array; docs/status.md describes each field
        #[arg(long)]
        json: bool,
    },
    /// Print the messages themselves, one JSON object a line
    #[command(after_help = "Example:\n  joltsms-relay dead-letters show --sink crm")]
    Show {
        #[command(flatten)]
        which: Selected,
    },
    /// Send dead letters again, as if for the first time
    #[command(after_help = "Example:\n  joltsms-relay dead-letters retry --sink crm")]
    Retry {
        #[command(flatten)]
        which: Selected,
    },
    /// Give dead letters up for good; `trace` still shows them
    #[command(after_help = "Example:\n  joltsms-relay dead-letters drop --id 0b1f7a52-33c6-4d0e-9d5e-6f0f4f7f1a11")]
    Drop {
        #[command(flatten)]
        which: Selected,
    },
}

#[derive(Args, Debug)]
pub(super) struct Which {
    /// Only dead letters of this sink
    #[arg(long, value_name = "NAME", value_parser = selector)]
    pub(super) sink: Option<String>,

    /// Only the dead letters of this message
    #[arg(long, value_name = "ID", value_parser = selector)]
    pub(super) id: Option<String>,
}

/// Like [`Which`], for commands that change something or print texts: a selector is required.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub(super) struct Selected {
    /// Only dead letters of this sink
    #[arg(long, value_name = "NAME", value_parser = selector)]
    sink: Option<String>,

    /// Only the dead letters of this message
    #[arg(long, value_name = "ID", value_parser = selector)]
    id: Option<String>,

    /// All dead letters of all sinks
    #[arg(long, conflicts_with_all = ["sink", "id"])]
    all: bool,
}

impl From<&Selected> for Which {
    fn from(Selected { sink, id, all: _ }: &Selected) -> Self {
        Self { sink: sink.clone(), id: id.clone() }
    }
}

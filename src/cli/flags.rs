//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::{Overrides, parse_duration};
use crate::domain::{SinkName, UnixMs};
use crate::secret::Secret;

/// Relays the SMS that JoltSMS numbers receive to HTTP receivers or stdout.
///
/// Without a command it runs. Without a configuration file it takes the API key from JOLTSMS_API_KEY and writes each
/// message to stdout, one JSON object a line.
#[derive(Debug, Parser)]
#[command(name = "joltsms-relay", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(super) struct Flags {
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    /// The configuration file [default: $JOLTSMS_RELAY_CONFIG, then the usual places]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Where the state lives [default: the usual place]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,

    /// error, warn, info, debug or trace [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,

    /// Log warnings and errors only
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,

    /// No colours, also on a terminal
    #[arg(long, global = true)]
    pub(super) no_color: bool,

    #[command(flatten)]
    pub(super) run: RunFlags,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done or stopped, 1 failure, 2 usage, 65 state damaged or of a newer version, 75 temporary (state in use; \
once: work left undone), 77 no API key accepted (once), 78 invalid configuration, 130/143 once was interrupted.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Relay until stopped (the default)
    Run,
    /// Catch up completely, deliver what is due, exit
    Once,
    /// Validate the configuration
    Check {
        /// Show what each sink would get of this message: a file with one as the API shows it, or - for stdin
        #[arg(long, value_name = "FILE")]
        message: Option<PathBuf>,
        /// With these details of its number: a file with one as the API lists it [default: as the state knows them]
        #[arg(long, value_name = "FILE", requires = "message")]
        number: Option<PathBuf>,
    },
    /// Write the commented configuration, to where the relay looks for it
    Init {
        /// Another place, or - for stdout; a file that is there is left as it is
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Show what is going on, whether a relay runs or not
    Status(StatusFlags),
    /// List, pause, resume, rename and drop sinks
    Sinks {
        #[command(subcommand)]
        command: SinksCommand,
    },
    /// List, show, send again or give up messages that could not be delivered
    DeadLetters {
        #[command(subcommand)]
        command: DeadLettersCommand,
    },
    /// Deliver messages again that are kept, with the same webhook-id
    Replay(ReplayFlags),
    /// Show everything that happened to one message
    Trace {
        /// Its id
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Save what a state holds, also a damaged one
    State {
        #[command(subcommand)]
        command: StateCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum StateCommand {
    /// Write all messages that can be read, with what became of them, one JSON object a line; 1 if some could not
    Export {
        /// A file that is not there yet, or - for stdout
        #[arg(short, long, value_name = "FILE", default_value = "-")]
        output: PathBuf,
    },
}

#[derive(Args, Debug)]
pub(super) struct StatusFlags {
    /// As JSON; docs/status.md describes each field
    #[arg(long)]
    pub(super) json: bool,

    /// Say in one line what is wrong; exit 0 if nothing is, else 1
    #[arg(long)]
    pub(super) check: bool,

    /// Again every second, until interrupted
    #[arg(long, conflicts_with = "check")]
    pub(super) watch: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum SinksCommand {
    /// What waits for each, and which are paused
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Send nothing more to these; their messages are kept
    Pause {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Send again what waits for these
    Resume {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Give a sink another name; what waits for it, its dead letters and its pause go along
    Rename {
        /// As it is called in the state
        name: String,
        /// As the configuration calls it from the next start on
        to: SinkName,
    },
    /// Remove a sink from the state that the configuration does not have any more
    Drop {
        /// Its name
        name: String,
        /// Also what waits for it, and its dead letters: they are lost for this sink
        #[arg(long)]
        discard_messages: bool,
    },
}

#[derive(Args, Debug)]
pub(super) struct ReplayFlags {
    #[command(flatten)]
    pub(super) choice: ReplayChoice,

    /// Change nothing; show how many deliveries there would be
    #[arg(long)]
    pub(super) dry_run: bool,

    /// No more than so many deliveries a minute; the command runs as long as that takes
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rate: Option<u32>,
}

/// All that is given must hold; of values of the same flag any.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub(super) struct ReplayChoice {
    /// To this sink, also what it never had, if its filter wants it [default: every sink, what it had]
    #[arg(long = "sink", value_name = "NAME")]
    pub(super) sinks: Vec<String>,

    /// Of this message
    #[arg(long = "id", value_name = "ID")]
    pub(super) ids: Vec<String>,

    /// Received then or later: an RFC 3339 time, or a duration back such as 24h
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<When>,

    /// Received before
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<When>,

    /// Received by a number like this; a shell pattern, such as +1650*
    #[arg(long, value_name = "PATTERN")]
    pub(super) to: Vec<String>,

    /// Sent by somebody like this; a shell pattern without regard to case
    #[arg(long, value_name = "PATTERN")]
    pub(super) from: Vec<String>,

    /// Dead letters only, those that were given up included
    #[arg(long)]
    pub(super) failed: bool,
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
    /// Which there are, and why
    List {
        #[command(flatten)]
        which: Which,
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Print the messages themselves, one JSON object a line
    Show {
        #[command(flatten)]
        which: Which,
    },
    /// Send them again, as if for the first time
    Retry {
        #[command(flatten)]
        which: Selected,
    },
    /// Give them up; a trace stays in the state
    Drop {
        #[command(flatten)]
        which: Selected,
    },
}

#[derive(Args, Debug)]
pub(super) struct Which {
    /// Those of this sink
    #[arg(long, value_name = "NAME")]
    pub(super) sink: Option<String>,

    /// That of this message
    #[arg(long, value_name = "ID")]
    pub(super) id: Option<String>,
}

/// The same where something is changed: nothing is meant by saying nothing.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub(super) struct Selected {
    /// Those of this sink
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,

    /// That of this message
    #[arg(long, value_name = "ID")]
    id: Option<String>,

    /// Every one of every sink
    #[arg(long, conflicts_with_all = ["sink", "id"])]
    all: bool,
}

impl From<&Selected> for Which {
    fn from(Selected { sink, id, all: _ }: &Selected) -> Self {
        Self { sink: sink.clone(), id: id.clone() }
    }
}

#[derive(Args, Debug, Default)]
#[command(next_help_heading = "For run, once and check")]
pub(super) struct RunFlags {
    /// Post each message to this URL, instead of writing it to stdout
    #[arg(long, global = true, value_name = "URL")]
    pub(super) forward_to: Option<String>,

    /// What is sent: message, jolt-event, cloudevents, slack or discord [default: message]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(super) format: Option<String>,

    /// Where a first run begins: now, beginning, an RFC 3339 time, or a duration back such as 24h [default: now]
    #[arg(long, global = true, value_name = "START")]
    pub(super) start: Option<String>,

    /// The API key or address has changed, and it is still the same account
    #[arg(long, global = true)]
    pub(super) accept_account_change: bool,
}

impl RunFlags {
    /// The first of them that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let all = [
            ("--forward-to", self.forward_to.is_some()),
            ("--format", self.format.is_some()),
            ("--start", self.start.is_some()),
            ("--accept-account-change", self.accept_account_change),
        ];
        all.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }
}

impl Flags {
    pub(super) fn overrides(&self) -> Overrides {
        let run = &self.run;
        Overrides {
            config: self.config.clone(),
            state_dir: self.state_dir.clone(),
            log_level: self.log_level.clone(),
            quiet: self.quiet,
            forward_to: run.forward_to.as_deref().map(Secret::from),
            format: run.format.clone(),
            start: run.start.clone(),
        }
    }

    /// Colours, unless told otherwise here or by `$NO_COLOR`.
    pub(super) fn color(&self) -> bool {
        !self.no_color && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }
}

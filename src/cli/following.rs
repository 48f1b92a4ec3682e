//! Functions that the commands `wait` and `tail` share.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _, stdout};
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::commands::When;
use super::exit::Exit;
use super::global_flags::Flags;
use super::relay::{BOOT_VARIABLE, WORKERS, complain, store_exit};
use super::state_access::{Absent, explained};
use crate::arrivals::{ArrivalError, ArrivalReader, ReaderOptions, Since, StateTrouble};
use crate::config::{self, ReaderConfig, Sources};
use crate::formats::one_line;
use crate::humanize::harmless;
use crate::ingest::PollError;
use crate::sinks::stdout::stands_in_for_a_closed_one;
use crate::store::StateLocation;

/// How long a command may take at its end to erase the messages of its scratch state.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a command may take to end after a signal. If it takes longer, for example because its terminal accepts no
/// output, the signal ends the process.
const GRACE: Duration = Duration::from_secs(5);

impl From<When> for Since {
    fn from(when: When) -> Self {
        match when {
            When::At(time) => Self::At(time),
            When::Back(span) => Self::Back(span),
        }
    }
}

/// Reads the part of the configuration that `wait` and `tail` always need.
pub(super) fn reader_config(flags: &Flags) -> Result<ReaderConfig, Exit> {
    config::load_reader(&Sources::from_process(flags.overrides()))
        .map_err(|error| complain(Exit::Configuration, &error))
}

/// Runs `work` with a reader of new messages, until `work` ends or a signal comes.
pub(super) fn follow(
    flags: &Flags,
    config: &ReaderConfig,
    since: Option<When>,
    fast_for: Duration,
    work: impl AsyncFnOnce(&mut ArrivalReader) -> Exit,
) -> Exit {
    if !flags.quiet && is_stdout_missing() {
        let said = "standard output is closed or the null device: what arrives is printed nowhere";
        complain(Exit::Done, &said);
    }
    let options = ReaderOptions {
        state: config.state.location(),
        erases_at_once: config.state.erase_on_delivery(),
        since: since.map(Since::from),
        fast_for,
        boot_id: std::env::var(BOOT_VARIABLE).ok(),
    };
    let overrides = flags.overrides();
    let load_polling =
        move || config::load_polling(&Sources::from_process(overrides.clone())).map_err(|errors| errors.to_string());
    let mut interrupts = match interrupts() {
        Ok(interrupts) => interrupts,
        Err(error) => return complain(Exit::Failure, &error),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return complain(Exit::Failure, &error),
    };
    let exit = runtime.block_on(async {
        let mut reader = ArrivalReader::begin(options, load_polling);
        let exit = tokio::select! {
            biased;
            Some(exit) = interrupts.recv() => exit,
            exit = work(&mut reader) => exit,
        };
        match timeout(PATIENCE, reader.end()).await {
            Ok(Err(error)) => complain(exit, &format_args!("the messages that were read could not be erased: {error}")),
            _ => exit,
        }
    });
    runtime.shutdown_background();
    exit
}

/// Receives the signal that ends the command. If the process has not ended [`GRACE`] later, it is ended by the default
/// action of the signal.
fn interrupts() -> io::Result<mpsc::UnboundedReceiver<Exit>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (sender, receiver) = mpsc::unbounded_channel();
    let receive = move || {
        let Some(signal) = signals.forever().next() else { return };
        sender.send(if signal == SIGINT { Exit::Interrupted } else { Exit::Terminated }).ok();
        std::thread::park_timeout(GRACE);
        emulate_default_handler(signal).ok();
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(receive)?;
    Ok(receiver)
}

/// Says why the relay's state cannot be read at the moment; `None` if it can be read, or if the reader polls the API
/// instead.
pub(super) fn state_trouble(reader: &ArrivalReader, state: &StateLocation) -> Option<String> {
    Some(match reader.state_trouble()? {
        StateTrouble::Absent => Absent(state).to_string(),
        StateTrouble::Failed(error) => explained(error),
    })
}

/// Prints why the reader cannot go on. Returns the exit code.
pub(super) fn fails(error: &ArrivalError) -> Exit {
    let exit = match error {
        ArrivalError::Store(error) | ArrivalError::Poll(PollError::Store(error)) => store_exit(error),
        ArrivalError::Configuration(_) => {
            let hint = "no relay runs on this state, so the API has to be polled, and that is not possible:";
            return complain(Exit::Configuration, &format_args!("{hint}\n{error}"));
        }
        ArrivalError::Poll(PollError::OtherAccount) => Exit::Configuration,
        ArrivalError::NoKey(_) => Exit::NoKey,
        ArrivalError::Http(_) | ArrivalError::Metrics(_) | ArrivalError::Budget { .. } | ArrivalError::Panicked => {
            Exit::Failure
        }
    };
    complain(exit, error)
}

/// Returns a message as the API sent it, in one line. On a terminal, characters that would steer the terminal are
/// escaped, as JSON escapes them.
pub(super) fn json_line_of(raw: &str) -> String {
    let line = one_line(raw);
    if stdout().is_terminal() { harmless(&line) } else { line }
}

/// Writes a line to stdout at once.
pub(super) fn write_line(line: &str) -> io::Result<()> {
    let mut stdout = stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Returns whether the command was probably started without a stdout, such as with `>&-` in a shell. A null device that
/// another program, such as Python, has opened for reading and writing looks the same.
fn is_stdout_missing() -> bool {
    stdout().as_fd().try_clone_to_owned().is_ok_and(|stream| stands_in_for_a_closed_one(&File::from(stream)))
}

/// Returns whether nobody reads stdout any more.
pub(super) fn is_stdout_closed() -> bool {
    let stdout = stdout();
    let mut streams = [PollFd::new(&stdout, PollFlags::empty())];
    let ready = poll(&mut streams, Some(&Timespec::default()));
    ready.is_ok_and(|ready| ready > 0) && streams[0].revents().contains(PollFlags::ERR)
}

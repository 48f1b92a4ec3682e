//! The commands that relay messages: `run` and `once`.

use std::io::{IsTerminal as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::exit::Exit;
use super::global_flags::Flags;
use super::systemd_journal::{file_id, journal_stream, refuse_journal, stderr_is_journal};
use crate::config::{self, Config, Errors, LogFormat, Sources};
use crate::daemon::logging::{self, LogGuard, LogLevel};
use crate::daemon::{
    self, Bar, BuildError, Ended, Purpose, ReadAgain, ReadConfig, Reloading, RunError, Stop, StopSignal, Surroundings,
};
use crate::domain::Sanitized;
use crate::ingest::{Mode, PollError, PollReport};
use crate::store;
use crate::time::Clock;

/// The number of threads on which the tasks run. One is enough, since the tasks wait nearly all of the time. With a
/// second one, a message costs up to a fifth more processor time, because the threads wake each other. Work on the state
/// has threads of its own. Other work that may take long goes through [`files::aside`](crate::files::aside), which lets
/// another thread run the other tasks meanwhile.
pub(super) const WORKERS: usize = 1;

/// The beginning of what a command prints on stderr.
pub(super) const PROGRAM_PREFIX: &str = "joltsms-relay: ";

/// The variable by which the service manager identifies the present boot of the machine (systemd's `%b`).
pub(super) const BOOT_VARIABLE: &str = "JOLTSMS_BOOT_ID";

/// The longest time that the end of the process waits until the progress bar is removed.
const LAST_DRAWING: Duration = Duration::from_millis(500);

pub(super) fn run(flags: &Flags) -> Exit {
    relay(flags, Mode::Run)
}

pub(super) fn once(flags: &Flags) -> Exit {
    relay(flags, Mode::Once)
}

fn relay(flags: &Flags, mode: Mode) -> Exit {
    let sources = Sources::from_process(flags.overrides());
    let config = match config::load_for_log(&sources) {
        Ok(config) => config,
        Err((format, errors)) => return refuse(format, &errors),
    };
    let journal = journal_stream();
    if let Err(errors) = refuse_journal(&config, journal.as_deref(), file_id(&std::io::stdout())) {
        return refuse(config.log.format, &errors);
    }
    // A relay that shares its state may stand by for long, so it has no bar. Its log tells the progress.
    let bar = Bar::for_terminal(&config).filter(|_| config.state.database.is_none());
    let started = logging::start(&config.log, flags.color(), stderr_is_journal(), bar.clone());
    let (_guard, level): (LogGuard, LogLevel) = match started {
        Ok(started) => started,
        Err(error) => return complain(Exit::Failure, &error),
    };
    say_configuration(&config);
    let (end, ended) = channel();
    let overdue = end.clone();
    let overdue = move |signal| {
        overdue.send(ended_exit(&Ended::Stopped(signal), mode)).ok();
    };
    let signals = match daemon::on_signals(surroundings(&config), Clock::system(), overdue) {
        Ok(signals) => signals,
        Err(error) => return failure(Exit::Failure, &error),
    };
    let read: ReadConfig = Arc::new(move |config, what| {
        let again = read_again(&sources, config, what)?;
        refuse_journal(&again, journal.as_deref(), file_id(&std::io::stdout()))?;
        Ok(again)
    });
    let reloading = Reloading { read, level, signals: signals.reloads };
    // A one-shot command ends soon, so it does not read its configuration again.
    let reloading = Some(reloading).filter(|_| mode == Mode::Run);
    let shows_progress = bar.is_some();
    let boot_id = std::env::var(BOOT_VARIABLE).ok();
    let purpose = Purpose { mode, accept_account: flags.run.accept_account_change, shows_progress, boot_id };
    // The relay runs on another thread than this one, so that the process can end even if the relay hangs.
    let work = move || {
        let exit = catch_unwind(AssertUnwindSafe(|| work(&config, purpose, signals.stop, reloading, bar)));
        end.send(exit.unwrap_or(Exit::Failure)).ok();
    };
    if let Err(error) = thread::Builder::new().name("relay".to_owned()).spawn(work) {
        return failure(Exit::Failure, &error);
    }
    ended.recv().unwrap_or(Exit::Failure)
}

/// Reads the configuration again, from the same file as at the start.
fn read_again(sources: &Sources, config: &Config, what: ReadAgain) -> Result<Config, Errors> {
    if what == ReadAgain::Secrets {
        return config::load_secrets_again(sources, config);
    }
    let again = config::load(sources)?;
    if again.file == config.file {
        return Ok(again);
    }
    let shown =
        |file: &Option<PathBuf>| file.as_ref().map_or_else(|| "none".to_owned(), |file| file.display().to_string());
    let message =
        format!("the configuration file is {} now, and was {} before", shown(&again.file), shown(&config.file));
    Err(Errors::one(&message, "put the file back, or start the relay again"))
}

/// Returns the circumstances of this process that decide what SIGHUP means.
fn surroundings(config: &Config) -> Surroundings {
    let prints_only = config.sinks.iter().all(|sink| sink.target.is_stdout());
    Surroundings {
        has_file: config.file.is_some(),
        only_terminal: prints_only && std::io::stdout().is_terminal(),
        shielded: daemon::ignores_hangups(),
    }
}

fn work(
    config: &Config,
    purpose: Purpose,
    stop: watch::Receiver<Stop>,
    reloading: Option<Reloading>,
    bar: Option<Bar>,
) -> Exit {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure(Exit::Failure, &error),
    };
    let exit = runtime.block_on(serve(config, purpose, stop, reloading, bar));
    // `shutdown_background` does not wait for blocking writes. Otherwise a write to a stdout that nobody reads would
    // keep the process from ending.
    runtime.shutdown_background();
    exit
}

async fn serve(
    config: &Config,
    purpose: Purpose,
    stop: watch::Receiver<Stop>,
    reloading: Option<Reloading>,
    bar: Option<Bar>,
) -> Exit {
    let clock = Clock::system().with_boot_id(purpose.boot_id.clone());
    let mode = purpose.mode;
    let daemon = match daemon::build(config, purpose, clock).await {
        Ok(daemon) => daemon,
        Err(error) => {
            tracing::error!(hint = error.remedy(&config.state.dir), "{error}");
            return build_exit(&error);
        }
    };
    let drawing = bar.zip(daemon.reports()).map(|(bar, reports)| tokio::spawn(draw(bar, reports)));
    let ended = daemon.run(stop, reloading).await;
    if let Some(drawing) = drawing {
        // After the last report, the drawing task removes the bar and ends. The wait is short, because the task hangs
        // if the terminal accepts no output.
        drop(timeout(LAST_DRAWING, drawing).await);
    }
    match ended {
        Ok(ended) => ended_exit(&ended, mode),
        Err(error) => {
            let exit = run_exit(&error);
            if matches!(error, RunError::Poll(PollError::OtherAccount)) {
                tracing::error!(
                    hint = "give each account its own state.dir; if it is the same account, start once with \
                            --accept-account-change",
                    "{error}"
                );
                return exit;
            }
            failure(exit, &error)
        }
    }
}

/// Draws the progress of a long catch-up until there are no more reports. A terminal that accepts no output delays only
/// the bar.
async fn draw(bar: Bar, mut reports: watch::Receiver<PollReport>) {
    loop {
        let ended = reports.changed().await.is_err();
        let catch_up = reports.borrow_and_update().catch_up.filter(|_| !ended);
        let bar = bar.clone();
        let shown = spawn_blocking(move || bar.show(catch_up.as_ref())).await;
        if ended || shown.is_err() {
            return;
        }
    }
}

fn ended_exit(ended: &Ended, mode: Mode) -> Exit {
    match ended {
        Ended::Stopped(StopSignal::Interrupt) if mode == Mode::Once => Exit::Interrupted,
        Ended::Stopped(StopSignal::Terminate) if mode == Mode::Once => Exit::Terminated,
        Ended::Stopped(_) | Ended::Closed | Ended::CaughtUp { work_left: false } => Exit::Done,
        Ended::CaughtUp { work_left: true } => {
            tracing::warn!("caught up, but some messages wait for another attempt: run it again");
            Exit::Temporary
        }
        Ended::GaveUp(why) => {
            tracing::error!(%why, "gave up: the API could not be read completely; run it again");
            Exit::Temporary
        }
        Ended::NoKey(why) => {
            tracing::error!(%why, "the API accepts no key: make a new one in the dashboard and configure it");
            Exit::NoKey
        }
    }
}

fn build_exit(error: &BuildError) -> Exit {
    match error {
        BuildError::Store(error) => store_exit(error),
        BuildError::Http(_)
        | BuildError::Budget { .. }
        | BuildError::Metrics(_)
        | BuildError::Observer(_)
        | BuildError::Sink(_) => Exit::Failure,
    }
}

fn run_exit(error: &RunError) -> Exit {
    match error {
        RunError::Store(error) | RunError::Poll(PollError::Store(error)) => store_exit(error),
        RunError::Damaged(error) => store_exit(error),
        RunError::Build(error) => build_exit(error),
        RunError::Poll(PollError::OtherAccount) => Exit::Configuration,
        RunError::Panicked(_) => Exit::Failure,
    }
}

pub(super) fn store_exit(error: &store::Error) -> Exit {
    match error {
        store::Error::InUse { .. }
        | store::Error::Locked
        | store::Error::HasActiveRelay { .. }
        | store::Error::Unreachable(_)
        | store::Error::RoleLost
        | store::Error::Uncertain
        | store::Error::WentBack => Exit::Temporary,
        store::Error::Newer { .. }
        | store::Error::Damaged { .. }
        | store::Error::NewerSchema { .. }
        | store::Error::DamagedSchema { .. } => Exit::Damaged,
        store::Error::Older { .. }
        | store::Error::OlderSchema { .. }
        | store::Error::Replaced { .. }
        | store::Error::Io { .. }
        | store::Error::Database(_) => Exit::Failure,
    }
}

fn say_configuration(config: &Config) {
    let file = config.file.as_ref().map_or_else(|| "none".to_owned(), |file| file.display().to_string());
    let sinks: Vec<String> = config.sinks.iter().map(|sink| sink.name.to_string()).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        configuration = %file,
        state = %config.state.location(),
        sinks = sinks.join(","),
        "joltsms-relay"
    );
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}

/// Reports an invalid configuration on stderr, in the format that the log would have.
fn refuse(format: LogFormat, errors: &Errors) -> Exit {
    let each = || {
        for problem in errors.problems() {
            tracing::error!(place = problem.place(), hint = problem.help(), "{}", problem.message());
        }
    };
    match format {
        LogFormat::Text => return complain(Exit::Configuration, errors),
        LogFormat::Json => logging::before_start(stderr_is_journal(), each),
    }
    Exit::Configuration
}

/// Prints an error on stderr, and returns `exit`. For commands without a log, and for `run` and `once` before the log
/// is open.
pub(super) fn complain(exit: Exit, error: &impl std::fmt::Display) -> Exit {
    let mut text = format!("{PROGRAM_PREFIX}{}", Sanitized::lines(error));
    if stderr_is_journal() {
        text = logging::with_error_priority(&text);
    }
    // stderr may be closed. The exit code reports the failure as well.
    drop(writeln!(std::io::stderr(), "{text}"));
    exit
}

fn failure(exit: Exit, error: &impl std::fmt::Display) -> Exit {
    tracing::error!("{error}");
    exit
}

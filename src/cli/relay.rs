//! `run` and `once`.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use super::exit::Exit;
use super::flags::Flags;
use crate::config::{self, Config, FileId, Sources};
use crate::daemon::logging::{self, LogGuard};
use crate::daemon::{self, Bar, BuildError, Ended, Purpose, RunError, StopSignal};
use crate::domain::Shown;
use crate::ingest::{Mode, Report, Trouble};
use crate::store;
use crate::time::Clock;

/// Two threads are enough: the work is waiting.
const WORKERS: usize = 2;

pub(super) fn run(flags: &Flags) -> Exit {
    relay(flags, Mode::Run)
}

pub(super) fn once(flags: &Flags) -> Exit {
    relay(flags, Mode::Once)
}

fn relay(flags: &Flags, mode: Mode) -> Exit {
    let config = match config::load(&Sources::from_process(flags.overrides())) {
        Ok(config) => config,
        Err(errors) => return complain(Exit::Configuration, &errors),
    };
    let journal = std::env::var("JOURNAL_STREAM").ok();
    if let Err(errors) = config.refuse_journal(journal.as_deref(), stdout_id()) {
        return complain(Exit::Configuration, &errors);
    }
    let bar = Bar::for_terminal(&config);
    let _guard: LogGuard = match logging::start(&config.log, flags.color(), bar.clone()) {
        Ok(guard) => guard,
        Err(error) => return complain(Exit::Failure, &error),
    };
    say_configuration(&config);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure(Exit::Failure, &error),
    };
    let shows_progress = bar.is_some();
    let purpose = Purpose { mode, accept_account: flags.run.accept_account_change, shows_progress };
    let exit = runtime.block_on(serve(&config, purpose, bar));
    // A write to a stdout that nobody reads would hold the process back for ever.
    runtime.shutdown_background();
    exit
}

async fn serve(config: &Config, purpose: Purpose, bar: Option<Bar>) -> Exit {
    let stop = match daemon::on_signals(config.file.is_some(), Clock::system()) {
        Ok(stop) => stop,
        Err(error) => return failure(Exit::Failure, &error),
    };
    let daemon = match daemon::build(config, purpose, Clock::system()).await {
        Ok(daemon) => daemon,
        Err(error) => return failure(build_exit(&error), &error),
    };
    let drawing = bar.map(|bar| tokio::spawn(draw(bar, daemon.reports())));
    let ended = daemon.run(stop).await;
    if let Some(drawing) = drawing {
        // It ends with the last report, and takes the bar away.
        drop(drawing.await);
    }
    match ended {
        Ok(ended) => ended_exit(&ended, purpose.mode),
        Err(error) => {
            let exit = run_exit(&error);
            if matches!(error, RunError::Trouble(Trouble::OtherAccount)) {
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

/// Shows a long catch-up for as long as there are reports.
async fn draw(bar: Bar, mut reports: tokio::sync::watch::Receiver<Report>) {
    while reports.changed().await.is_ok() {
        let catch_up = reports.borrow_and_update().catch_up;
        bar.show(catch_up.as_ref());
    }
    bar.show(None);
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
        BuildError::Http(_) | BuildError::Budget { .. } | BuildError::Stdout(_) => Exit::Failure,
    }
}

fn run_exit(error: &RunError) -> Exit {
    match error {
        RunError::Store(error) | RunError::Trouble(Trouble::Store(error)) => store_exit(error),
        RunError::Damaged(error) => store_exit(error),
        RunError::Trouble(Trouble::OtherAccount) => Exit::Configuration,
        RunError::Panicked(_) => Exit::Failure,
    }
}

pub(super) fn store_exit(error: &store::Error) -> Exit {
    match error {
        store::Error::InUse { .. } | store::Error::Locked => Exit::Temporary,
        store::Error::Newer { .. } | store::Error::Damaged { .. } => Exit::Damaged,
        store::Error::Older { .. }
        | store::Error::Replaced { .. }
        | store::Error::Io { .. }
        | store::Error::Sqlite(_) => Exit::Failure,
    }
}

fn say_configuration(config: &Config) {
    let file = config.file.as_ref().map_or_else(|| "none".to_owned(), |file| file.display().to_string());
    let sinks: Vec<String> = config.sinks.iter().map(|sink| sink.name.to_string()).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        configuration = %file,
        state = %config.state.dir.display(),
        sinks = sinks.join(","),
        "joltsms-relay"
    );
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}

fn stdout_id() -> Option<FileId> {
    let descriptor = std::io::stdout().as_fd().try_clone_to_owned().ok()?;
    let found = std::fs::File::from(descriptor).metadata().ok()?;
    Some(FileId { device: found.dev(), inode: found.ino() })
}

/// Before there is a log.
pub(super) fn complain(exit: Exit, error: &impl std::fmt::Display) -> Exit {
    // Nobody may be listening; the exit code says it as well.
    drop(writeln!(std::io::stderr(), "joltsms-relay: {}", Shown::lines(error)));
    exit
}

fn failure(exit: Exit, error: &impl std::fmt::Display) -> Exit {
    tracing::error!("{error}");
    exit
}

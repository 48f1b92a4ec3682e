//! Polling without a relay: the reader that has the role on the *scratch state* polls the API, and stores the messages
//! there.
//!
//! The scratch state lies in the directory `scratch` of the state directory. It is a state like the relay's own, so the
//! same code decides which rows are new. No sink is registered in it, so nothing is delivered, and the relay's own
//! state does not change. The texts in the scratch state are erased when its last reader ends.
//!
//! Invariant: a request leaves only if no relay runs. The reader records each request in the relay's `budget.ring`
//! before it checks whether a relay runs. A relay that starts takes its role before it reads `budget.ring`. So a relay
//! counts every request that has left.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::error::ArrivalError;
use crate::api;
use crate::api::budget::{Budget, BudgetLimits, WINDOW};
use crate::api::{Client, NumberPage, Response};
use crate::domain::{Cursor, Invocation, Seq, Start, UnixMs};
use crate::ingest::coverage::Rules;
use crate::ingest::{
    self, Condition, Ending, Feed, Mode, NumberPageFuture, NumberUses, PageFuture, Parts, PollError, PollReport, Poller,
};
use crate::metrics::Metrics;
use crate::store::{self, RetentionCutoffs, RoleLock, Spool, Store, is_locked};
use crate::time::{Clock, Liveness};

/// The directory below the state directory.
const DIRECTORY: &str = "scratch";

/// How far back the feed is read at least. So a message that comes late can be distinguished from a message that was in
/// the feed before.
const LEAST_BACK: Duration = Duration::from_secs(5 * 60);

/// The longest lookback of the sweeps while no relay runs. A message that comes later than this may be missed.
const LONGEST_LOOKBACK: Duration = Duration::from_secs(15 * 60);

/// The options with which the relay would poll.
#[derive(Clone, Debug)]
pub struct PollingOptions {
    /// `[api]`
    pub api: api::Options,
    /// `[poll]`
    pub poll: ingest::Options,
    /// `[state]`: the relay's state.
    pub state: store::Options,
}

/// The poller of the scratch state, which this process runs because it has the role.
pub(super) struct ScratchPoller {
    role: RoleLock,
    store: Store,
    clock: Clock,
    reports: watch::Receiver<PollReport>,
    stop: watch::Sender<bool>,
    polling: JoinHandle<Result<Ending, PollError>>,
}

/// Returns the directory of the scratch state.
pub(super) fn directory(dir: &Path) -> PathBuf {
    dir.join(DIRECTORY)
}

/// Removes the scratch state that a killed command has left below the state directory `dir`, unless another command
/// uses it.
///
/// # Errors
/// Errors of the file system and of the role.
pub fn remove_leftovers(dir: &Path) -> Result<(), store::Error> {
    let scratch = directory(dir);
    if !scratch.is_dir() || is_locked(&scratch)? != Some(false) {
        return Ok(());
    }
    let _role = RoleLock::take(&scratch)?;
    remove_files(&scratch)
}

/// Removes the files of the scratch state. The caller has the role, so the file of the lock stays.
fn remove_files(scratch: &Path) -> Result<(), store::Error> {
    let io = |source| store::Error::Io { doing: "remove the files in", path: scratch.to_owned(), source };
    for entry in fs::read_dir(scratch).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.file_name().is_some_and(|name| name != "relay.lock") {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
                _ => {}
            }
        }
    }
    Ok(())
}

impl ScratchPoller {
    /// Takes the role on the scratch state and begins to poll. `dir` is the relay's state directory. `anew`: the files
    /// of an earlier scratch state are removed first. `back`: how far back the feed is read. `readers`: until when
    /// readers want fast polls.
    pub(super) async fn start(
        dir: &Path,
        options: &PollingOptions,
        anew: bool,
        back: Duration,
        readers: watch::Receiver<ingest::WaitingReaders>,
        clock: Clock,
    ) -> Result<Self, ArrivalError> {
        let scratch = directory(dir);
        let role = RoleLock::take(&scratch)?;
        if anew {
            remove_files(&scratch)?;
        }
        let store = Store::open(&scratch)?;
        if options.state.erase_on_delivery() {
            let keep = |spool: &mut Spool| {
                spool.erase_on_delivery();
                spool.keep_for_readers(true);
                Ok(())
            };
            store.write(keep).await?;
        }
        let limits = BudgetLimits {
            requests: options.api.requests_per_minute,
            window: WINDOW,
            head_interval: options.poll.interval,
        };
        let budget = Budget::open(limits, dir, clock.monotonic(), clock.relay_time())
            .map_err(|source| ArrivalError::Budget { path: dir.to_owned(), source })?;
        let feed = FeedWithoutRelay { client: Client::build(&options.api)?, dir: dir.to_owned() };
        let lookback = options.poll.lookback.min(LONGEST_LOOKBACK);
        let poller = Poller::new(Parts {
            feed,
            store: store.clone(),
            clock: clock.clone(),
            budget,
            rules: Rules::new(Start::Back(back.max(LEAST_BACK)), lookback, options.poll.sweep_interval),
            mode: Mode::Run,
            state: store::Options {
                dir: scratch,
                database: None,
                keep_delivered: store::RetentionPeriod::Forever,
                ..options.state.clone()
            },
            accept_account: true,
            numbers: NumberUses::default(),
            released: Box::new(|| {}),
            liveness: Liveness::new(&clock),
            tells_progress: false,
            metrics: Metrics::new("")?.ingest(),
            changes: store::ChangeWatch::default(),
            readers,
            invocation: Invocation::default(),
        });
        let reports = poller.reports();
        let (stop, stops) = watch::channel(false);
        Ok(Self { role, store, clock, reports, stop, polling: tokio::spawn(poller.run(stops)) })
    }

    /// Returns the clock of this process. The API's answers correct this clock.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns why the API gives no pages; `None` while it gives pages.
    pub(super) fn trouble(&self) -> Option<String> {
        self.reports.borrow().condition.why().map(str::to_owned)
    }

    /// Returns an error if polling cannot go on.
    pub(super) async fn check(&mut self) -> Result<(), ArrivalError> {
        if let Condition::NoKey(why) = &self.reports.borrow().condition {
            return Err(ArrivalError::NoKey(why.clone()));
        }
        if !self.polling.is_finished() {
            return Ok(());
        }
        match (&mut self.polling).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(ArrivalError::Panicked),
        }
    }

    /// Ends polling. With `erase` the scratch state is removed, because no other command reads it.
    pub(super) async fn stop(self, erase: bool) -> Result<(), ArrivalError> {
        let Self { role, store, stop, polling, .. } = self;
        stop.send_replace(true);
        if !polling.is_finished() {
            drop(polling.await);
        }
        if erase {
            store.write(erase_texts).await?;
            drop(store);
            remove_files(role.dir())?;
        }
        drop(role);
        Ok(())
    }
}

/// Removes all texts, and overwrites them on the disk.
fn erase_texts(spool: &mut Spool) -> Result<(), store::Error> {
    let all = RetentionCutoffs { delivered: Some(UnixMs::MAX), dead: Some(UnixMs::MAX) };
    let mut after = Some(Seq(0));
    while let Some(from) = after {
        after = spool.remove_settled(all, from)?.next;
    }
    spool.erase_traces().map(drop)
}

/// Reads the feed of the API, but sends no request while a relay runs. A request that may not be sent waits for ever;
/// the reader soon notices the relay, and stops the poller.
struct FeedWithoutRelay {
    client: Client,
    dir: PathBuf,
}

impl FeedWithoutRelay {
    /// Returns whether a request may leave.
    fn may_ask(&self) -> bool {
        matches!(is_locked(&self.dir), Ok(Some(false)))
    }
}

impl Feed for FeedWithoutRelay {
    fn fetch(&self, cursor: Option<&Cursor>, limit: u32, now: UnixMs) -> PageFuture {
        if self.may_ask() { Feed::fetch(&self.client, cursor, limit, now) } else { Box::pin(std::future::pending()) }
    }

    fn fetch_numbers(&self, cursor: Option<&Cursor>, now: UnixMs) -> NumberPageFuture {
        if self.may_ask() {
            Feed::fetch_numbers(&self.client, cursor, now)
        } else {
            Box::pin(std::future::pending::<Response<NumberPage>>())
        }
    }

    fn identity(&self) -> (String, String) {
        Feed::identity(&self.client)
    }

    fn keys(&self) -> usize {
        Feed::keys(&self.client)
    }

    fn next_key(&mut self) -> bool {
        Feed::next_key(&mut self.client)
    }
}

//! The loop that reads the feed. At any time at most three requests are under way: one in each lane (head, walks,
//! numbers).
//!
//! The poller is made of parts, each in a file of its own, with private fields and tests: [`ApiLink`], [`Disk`],
//! [`Lanes`], [`AccountCheck`], [`OncePolicy`], [`Timing`], [`CatchUpProgress`] and a few smaller ones. The loop here,
//! and the `impl Poller` blocks of `requests`, `response`, `failure`, `numbers`, `commit`, `control` and `upkeep`, move
//! values between the parts.
//!
//! Invariants:
//! - Pages are applied one after the other, each in one transaction. After a failed commit the state is loaded from the
//!   disk again.
//! - After a failure, the same request is sent again only after a wait, and each further failure makes the wait longer,
//!   up to a minute. (A request with another key, or for a smaller page, may follow at once.)
//! - Only these end the loop: the stop signal; an error of the store that does not pass, for example damage; messages
//!   of another account; and, with [`Mode::Once`], the policy in `once`.

mod account_check;
mod anomaly_log;
mod api_link;
mod background_lane;
mod backoff;
mod commit;
mod control;
mod database_journal;
mod disk;
mod disk_space;
mod erasure;
mod failure;
mod head_lane;
mod key_in_use;
mod lanes;
mod maintenance;
mod number_history;
mod numbers;
mod numbers_lane;
mod once;
mod page_request;
mod progress;
mod replays;
mod reporter;
mod requests;
mod response;
mod start_log;
#[cfg(test)]
mod tests;
mod timing;
mod upkeep;

use tokio::sync::watch;

use self::account_check::AccountCheck;
use self::api_link::ApiLink;
use self::backoff::Backoff;
use self::control::{Orders, PollMessage};
pub use self::control::{PollSettings, PollerControl};
use self::disk::Disk;
use self::key_in_use::KeyInUse;
use self::lanes::{LaneResponse, Lanes};
use self::number_history::NumberHistories;
use self::once::OncePolicy;
use self::progress::CatchUpProgress;
use self::replays::ReplayWatch;
use self::reporter::PollReporter;
use self::timing::Timing;
use super::coverage::{CoverageState, Now, Rules};
use super::events::{ExpiryWatch, NumberUses};
use super::feed::Feed;
use super::number_list::NumberList;
use super::report::{Condition, FeedReport, PollReport, StorageReport};
use super::waiting_readers::WaitingReaders;
use crate::api::budget::Budget;
use crate::domain::Invocation;
use crate::metrics::IngestMetrics;
use crate::store::{self, ChangeWatch, Spool, Store};
use crate::time::{Clock, Instant, Liveness, MAX_TURN_INTERVAL};

/// How long to poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Polls until it is stopped.
    Run,
    /// Polls until everything that the API shows was read, a sweep included.
    Once,
}

/// How polling ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The poller was asked to stop.
    Stopped,
    /// Everything was read. This ending occurs only with [`Mode::Once`].
    CaughtUp,
    /// The API could not be read, for the reason in the text. This ending occurs only with [`Mode::Once`].
    GaveUp(String),
    /// The API accepts no key; the text is the API's last refusal. This ending occurs only with [`Mode::Once`].
    NoKey(String),
}

/// An error that ends polling.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// The state is damaged, or this process may no longer use it.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The messages that the API shows do not belong to the account of the state.
    #[error(
        "the API key or address belongs to another account than the state: the state knows none of the messages and \
         numbers that the API shows"
    )]
    OtherAccount,
}

/// The parts that a poller is made of.
pub struct Parts<F> {
    /// The source of pages.
    pub feed: F,
    /// The store of the state.
    pub store: Store,
    /// The clock of the process.
    pub clock: Clock,
    /// The budget of requests.
    pub budget: Budget,
    /// The rules that decide which rows are new.
    pub rules: Rules,
    /// How long to poll.
    pub mode: Mode,
    /// Where the state is, how large it may be, and how long messages stay in it.
    pub state: store::Options,
    /// Whether the operator says that a new key or address belongs to the account of the state.
    pub accept_account: bool,
    /// The beginning of the command lines in hints.
    pub invocation: Invocation,
    /// The purposes for which the list of numbers is read.
    pub numbers: NumberUses,
    /// Wakes delivery up, for example after messages were released. The call carries no data: delivery reads the state
    /// itself.
    pub released: Box<dyn Fn() + Send>,
    /// Records that the loop goes round.
    pub liveness: Liveness,
    /// Whether the log reports a long catch-up. It does not if a progress bar shows the catch-up, or if a reader polls.
    pub tells_progress: bool,
    /// The counters that the poller increments.
    pub metrics: IngestMetrics,
    /// The readers that wait for messages beside this process.
    pub readers: watch::Receiver<WaitingReaders>,
    /// Wakes the loop up when another process may have changed the state.
    pub changes: ChangeWatch,
}

enum Event<F> {
    Order(PollMessage<F>),
    Answer(LaneResponse),
}

/// The loop and its parts.
pub struct Poller<F> {
    clock: Clock,
    liveness: Liveness,
    released: Box<dyn Fn() + Send>,
    backoff: Backoff,
    link: ApiLink<F>,
    disk: Disk,
    account: AccountCheck,
    rules: Rules,
    /// Coverage: which rows were read, and which must still be read. After a failed commit it is ahead of the disk.
    state: CoverageState,
    lanes: Lanes,
    replays: ReplayWatch,
    once: OncePolicy,
    timing: Timing,
    report: PollReporter,
    progress: CatchUpProgress,
    number_histories: NumberHistories,
    expiry: ExpiryWatch,
    invocation: Invocation,
    metrics: IngestMetrics,
    key_in_use: KeyInUse,
    orders: Orders<F>,
    readers: watch::Receiver<WaitingReaders>,
    changes: ChangeWatch,
}

impl<F: Feed> Poller<F> {
    /// Makes a poller. It loads the state when it runs.
    pub fn new(parts: Parts<F>) -> Self {
        let Parts { feed, store, clock, budget, rules, mode, state: options, accept_account, .. } = parts;
        let Parts { numbers, released, liveness, tells_progress, metrics, readers, changes, invocation, .. } = parts;
        let now = clock.monotonic();
        let once = OncePolicy::new(mode);
        Self {
            liveness,
            released,
            backoff: Backoff::seeded(clock.relay_time().0.unsigned_abs()),
            link: ApiLink::new(feed, budget, metrics.clone()),
            disk: Disk::new(store, &options, now),
            account: AccountCheck::new(accept_account),
            rules: once.first_rules(rules),
            state: CoverageState::default(),
            lanes: Lanes::new(NumberList::new(numbers.any(), now), now),
            replays: ReplayWatch::new(now),
            once,
            timing: Timing::new(clock.clone()),
            report: PollReporter::new(),
            progress: CatchUpProgress::new(tells_progress),
            number_histories: NumberHistories::default(),
            expiry: ExpiryWatch::new(numbers.expiry_terms),
            invocation,
            metrics,
            key_in_use: KeyInUse::default(),
            orders: Orders::new(),
            readers,
            changes,
            clock,
        }
    }

    /// Returns the channel on which the poller publishes snapshots of how polling is going.
    pub fn reports(&self) -> watch::Receiver<PollReport> {
        self.report.subscribe()
    }

    /// Polls until `stop` is true. With [`Mode::Once`], polling also ends when everything was read, or when it cannot
    /// be read. At the end, requests under way are given up; every page that has come was committed or dropped.
    ///
    /// # Errors
    /// Returns [`PollError`] if polling cannot go on at all.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<Ending, PollError> {
        self.begin().await?;
        loop {
            self.liveness.tick();
            if *stop.borrow() {
                return Ok(Ending::Stopped);
            }
            if let Some(ending) = self.check_done().await? {
                return Ok(ending);
            }
            if let Some(ending) = self.reload().await? {
                return Ok(ending);
            }
            self.check_replays().await?;
            self.check_space().await?;
            if let Some(ending) = self.disk.lasting_shortage().and_then(|shortage| self.once.gives_up_now(shortage)) {
                return Ok(ending);
            }
            let wake = match self.disk.reload_at() {
                Some(at) => at.min(self.clock.monotonic() + MAX_TURN_INTERVAL),
                None => {
                    let wake = self.start_requests();
                    self.start_numbers().await?.map_or(wake, |until| wake.min(until))
                }
            };
            let event = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => None,
                order = self.orders.next() => Some(Event::Order(order)),
                arrived = self.lanes.next_response() => Some(Event::Answer(arrived)),
                () = changed(&mut self.readers) => None,
                () = self.changes.changed() => {
                    self.replays.look_at(self.clock.monotonic());
                    None
                }
                () = tokio::time::sleep_until(wake) => None,
            };
            let ending = match event {
                Some(Event::Order(order)) => {
                    self.carry_out(order).await?;
                    None
                }
                Some(Event::Answer(LaneResponse::Messages { is_head, response })) => {
                    self.handle_response(is_head, response).await?
                }
                Some(Event::Answer(LaneResponse::Numbers(response))) => self.handle_number_response(response).await?,
                None => None,
            };
            if let Some(ending) = ending {
                return Ok(ending);
            }
            self.disk.note_readers(self.readers.borrow().present, self.clock.monotonic());
            self.tell_the_time().await?;
            if self.disk.is_maintenance_due(self.clock.monotonic()) {
                self.maintain().await?;
            }
            self.disk.erase(self.clock.monotonic()).await?;
            self.report_progress().await;
        }
    }

    /// Loads the state, and logs where polling begins.
    async fn begin(&mut self) -> Result<(), PollError> {
        self.load().await?;
        let told = self.disk.store().read(Spool::reported_foreign_requests).await?;
        self.link.restore_foreign_notice(told);
        let account = self.disk.store().read(Spool::account).await?;
        start_log::log_start(self.state.coverage.as_ref(), account.start.as_deref(), self.rules.start);
        Ok(())
    }

    /// Returns an ending if a one-shot command has read everything, or cannot read everything.
    async fn check_done(&mut self) -> Result<Option<Ending>, PollError> {
        let is_at_rest = self.lanes.are_at_rest() && !self.disk.is_stale() && !self.expiry.is_owed_a_look();
        if self.once.is_caught_up(self.state.coverage.as_ref(), is_at_rest) {
            self.number_histories.log_all();
            self.maintain_once().await?;
            return Ok(Some(Ending::CaughtUp));
        }
        Ok(self.once.gives_up_stalled_walk(&self.state, &self.rules))
    }

    /// Returns the present time. The API's time is estimated from the last answer. Before the first answer, the
    /// frontier counts as the API's time; if there is no frontier yet, the relay's time does.
    fn estimated_now(&self, at: Instant) -> Now {
        let local = self.clock.relay_time();
        let frontier = self.state.coverage.as_ref().map(|coverage| coverage.marks.frontier);
        Now { server: self.link.server_time(at).or(frontier).unwrap_or(local), local }
    }

    /// Publishes how polling is going. Returns whether the condition is new.
    fn set_condition(&self, condition: Condition) -> bool {
        self.report.set_condition(condition, self.clock.relay_time())
    }

    /// Reports how the reading of older messages is going, and publishes a snapshot.
    async fn report_progress(&mut self) {
        let (now, wall) = (self.clock.monotonic(), self.clock.relay_time());
        let (coverage, pace_limit) = (self.state.coverage.as_ref(), self.link.background_pace());
        self.progress.measure(self.disk.store(), coverage, pace_limit, now).await;
        self.number_histories.log_complete(now);
        let (numbers_why, numbers_since) = self.lanes.numbers.trouble().unzip();
        self.key_in_use.note(self.link.identity().1, self.link.key_ending(), wall);
        let found = PollReport {
            last_poll_at: self.lanes.head.last_poll(),
            spacing: self.lanes.head.spacing(),
            key_ending: self.key_in_use.ending(),
            key_since: self.key_in_use.since(),
            numbers_why,
            numbers_since,
            budget: self.link.api_budget(now, wall),
            storage: StorageReport { journal_held_bytes: self.disk.journal_held() },
            feed: FeedReport {
                server_ahead_ms: self.link.server_time(now).map(|server| server.0.saturating_sub(wall.0)),
                total: self.progress.total(),
            },
            catch_up: self.progress.catch_up(),
            ..PollReport::default()
        };
        self.report.publish(found, coverage);
    }
}

/// Waits until the readers change. If the sender is gone, this future never ends.
async fn changed(readers: &mut watch::Receiver<WaitingReaders>) {
    if readers.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

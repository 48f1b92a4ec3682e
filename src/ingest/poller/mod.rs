//! The loop that keeps coverage moving: one head poll and one background request at a time.
//!
//! Invariants:
//! - Pages are applied one after the other, each in one transaction; a failed commit throws the state away and loads it.
//! - No failure is answered at once: every one makes the next request of its lane wait, longer each time.
//! - Nothing ends the loop but the stop signal, a state that is damaged, or another account.

mod disk_space;
mod failure;
mod journal;
mod lanes;
mod log;
mod maintenance;
mod numbers;
mod progress;
mod response;
mod telling;
#[cfg(test)]
mod tests;
mod timing;
mod wiping;

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;

use self::disk_space::Room;
use self::failure::ONCE_PATIENCE;
use self::journal::Journal;
use self::lanes::{Ask, BackgroundLane, Flight, HeadLane};
use self::log::BudgetWait;
use self::maintenance::Housekeeping;
use self::numbers::NumberFlight;
use self::progress::CatchUpProgress;
use self::telling::Newcomers;
use self::timing::Timing;
use super::coverage::{CoverageState, Now, Rules};
use super::feed::Feed;
use super::foreign::ForeignTold;
use super::numbers::Numbers;
use super::report::{ApiBudget, Condition, FeedReport, PollReport, StorageReport};
use super::server_clock::ServerClock;
use crate::api::budget::Budget;
use crate::api::{NumberPage, Response};
use crate::domain::{Coverage, UnixMs, WalkId};
use crate::store::{self, Keep, Replays, Spool, Store, WhichUndecided};
use crate::time::backoff::{Jitter, Schedule};
use crate::time::{AT_LEAST_EVERY, Clock, Heartbeat, Instant};

/// How long to poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until stopped.
    Run,
    /// Until all that the API shows was read, a sweep included.
    Once,
}

/// How polling ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was told to stop.
    Stopped,
    /// [`Mode::Once`]: everything was read.
    CaughtUp,
    /// [`Mode::Once`]: the API could not be read; why.
    GaveUp(String),
    /// [`Mode::Once`]: no key is accepted; the API's last word.
    NoKey(String),
}

/// What ends polling for good.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The state is damaged, or not ours.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Another account's messages came for this state.
    #[error(
        "the API key or address belongs to another account than the state: none of its messages or numbers is known here"
    )]
    OtherAccount,
}

/// What a poller is made of.
pub struct Parts<F> {
    /// Where pages come from.
    pub feed: F,
    /// The state.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// What may be asked.
    pub budget: Budget,
    /// How to tell what is new.
    pub rules: Rules,
    /// How long to poll.
    pub mode: Mode,
    /// Where the state is, how large it may be, and how long things stay in it.
    pub state: store::Options,
    /// The operator says that another key or address belongs to the account of the state.
    pub accept_account: bool,
    /// Whether any sink asks for details of numbers.
    pub numbers: bool,
    /// Called after messages were released. It says nothing else: whoever hears it looks for itself.
    pub released: Box<dyn Fn() + Send>,
    /// Told of every turn of the loop.
    pub turns: Heartbeat,
    /// Whether a long catch-up is told in the log, and not shown otherwise.
    pub tells_progress: bool,
}

/// The loop and what it knows.
pub struct Poller<F> {
    feed: F,
    store: Store,
    clock: Clock,
    budget: Budget,
    rules: Rules,
    mode: Mode,
    keep_delivered: Keep,
    keep_dead: Keep,
    lets_go_at_once: bool,
    accept_account: bool,
    released: Box<dyn Fn() + Send>,
    turns: Heartbeat,
    report: watch::Sender<PollReport>,
    jitter: Jitter,
    state: CoverageState,
    /// Where a commit has failed the state is ahead of the disk: before it was loaded again, not before this instant,
    /// nothing is asked, decided or written.
    stale: Option<Instant>,
    server: ServerClock,
    /// Address and key were found to belong to the state.
    verified: bool,
    /// How many keys were given up so far.
    keys_tried: u64,
    head: HeadLane,
    background: BackgroundLane,
    numbers: Numbers,
    number_flight: Option<NumberFlight>,
    /// Why the list of numbers cannot be read, and since when by the local clock.
    numbers_trouble: Option<(String, UnixMs)>,
    spoiled_numbers_said: bool,
    /// What commands have left undecided so far, and when to look whether there is more.
    replays: Replays,
    look_for_replays: Instant,
    housekeeping: Housekeeping,
    journal: Journal,
    timing: Timing,
    /// When what went is wiped next.
    wipe_due: Instant,
    room: Room,
    progress: CatchUpProgress,
    /// How many messages there are, by the API's word.
    total: Option<u64>,
    foreign_told: ForeignTold,
    /// The windows of the API that were looked at for other programs.
    foreign_windows: u64,
    budget_wait: BudgetWait,
    newcomers: Newcomers,
}

/// After a failure: a second, then twice as long each time, up to a minute.
const RETRY: Schedule = Schedule { initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(60) };

impl<F: Feed> Poller<F> {
    /// A poller on the state in the store, which it loads when it runs.
    pub fn new(parts: Parts<F>) -> Self {
        let Parts { feed, store, clock, budget, rules, mode, state: options, accept_account, .. } = parts;
        let Parts { numbers, released, turns, tells_progress, .. } = parts;
        let now = clock.monotonic();
        let seed = clock.relay_time().0.unsigned_abs();
        let rules = match mode {
            Mode::Run => rules,
            // A sweep is part of one complete catch-up.
            Mode::Once => Rules { sweep_interval: Duration::ZERO, ..rules },
        };
        Self {
            feed,
            store,
            clock,
            budget,
            rules,
            mode,
            keep_delivered: options.keep_delivered,
            keep_dead: options.keep_dead,
            lets_go_at_once: options.lets_go_at_once(),
            accept_account,
            released,
            turns,
            report: watch::Sender::new(PollReport::default()),
            jitter: Jitter::seeded(seed),
            state: CoverageState::default(),
            stale: None,
            server: ServerClock::default(),
            verified: false,
            keys_tried: 0,
            head: HeadLane::new(now),
            background: BackgroundLane::default(),
            numbers: Numbers::new(numbers, now),
            number_flight: None,
            numbers_trouble: None,
            spoiled_numbers_said: false,
            replays: Replays::default(),
            look_for_replays: now,
            housekeeping: Housekeeping::new(now, options.lets_go_at_once()),
            journal: Journal::default(),
            timing: Timing::new(now),
            wipe_due: now,
            room: Room::new(&options, now),
            progress: CatchUpProgress::new(tells_progress),
            total: None,
            foreign_told: ForeignTold::default(),
            foreign_windows: 0,
            budget_wait: BudgetWait::default(),
            newcomers: Newcomers::default(),
        }
    }

    /// Snapshots of how it is going.
    pub fn reports(&self) -> watch::Receiver<PollReport> {
        self.report.subscribe()
    }

    /// Polls until `stop` is true, or as [`Mode`] says. A request under way is given up; what was read is committed.
    ///
    /// # Errors
    /// [`Trouble`]: polling cannot go on at all.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<Ending, Trouble> {
        self.load().await?;
        self.foreign_told = ForeignTold::remembered(self.store.read(Spool::foreign_told).await?);
        self.say_start().await?;
        loop {
            self.turns.turned();
            if *stop.borrow() {
                return Ok(Ending::Stopped);
            }
            if self.mode == Mode::Once {
                if self.is_caught_up() {
                    self.newcomers.say(self.clock.monotonic(), true);
                    self.keep_house_once().await?;
                    return Ok(Ending::CaughtUp);
                }
                if self.has_stalled_walk() {
                    return Ok(Ending::GaveUp("older messages could not be read again and again".to_owned()));
                }
            }
            if let Some(ending) = self.reload().await? {
                return Ok(ending);
            }
            self.look_for_replays().await?;
            self.look_at_room().await?;
            if let Some(ending) = self.gives_up_for_room() {
                return Ok(ending);
            }
            let wake = match self.stale {
                Some(again) => again.min(self.clock.monotonic() + AT_LEAST_EVERY),
                None => {
                    let wake = self.start_requests();
                    self.start_numbers().await?.map_or(wake, |until| wake.min(until))
                }
            };
            let arrived = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => Arrived::Nothing,
                response = flight(&mut self.head.flight) => Arrived::Messages { is_head: true, response },
                response = flight(&mut self.background.flight) => Arrived::Messages { is_head: false, response },
                response = number_flight(&mut self.number_flight) => Arrived::Numbers(response),
                () = tokio::time::sleep_until(wake) => Arrived::Nothing,
            };
            let ending = match arrived {
                Arrived::Messages { is_head, response } => self.landed(is_head, response).await?,
                Arrived::Numbers(response) => self.numbers_landed(response).await?,
                Arrived::Nothing => None,
            };
            if let Some(ending) = ending {
                return Ok(ending);
            }
            self.tell_the_time().await?;
            if self.clock.monotonic() >= self.housekeeping.due {
                self.keep_house().await?;
            }
            self.wipe().await?;
            self.measure().await;
            self.newcomers.say(self.clock.monotonic(), false);
            self.publish();
        }
    }

    async fn load(&mut self) -> Result<(), store::Error> {
        let (coverage, held) = self
            .store
            .write(|spool| {
                spool.mend_holds()?;
                let coverage = spool.load_coverage()?;
                let walks = coverage.iter().flat_map(|coverage: &Coverage| &coverage.walks);
                let held = walks.map(|walk| Ok((walk.id, spool.held(walk.id)?)));
                let held = held.collect::<Result<HashMap<WalkId, u64>, store::Error>>()?;
                Ok((coverage, held))
            })
            .await?;
        self.state = CoverageState::load(coverage, held);
        // Read first: what is left undecided meanwhile is looked at next time.
        self.replays = self.store.read(Spool::replays).await?;
        // What sinks ask of numbers may have changed since deliveries were left undecided.
        self.decide(WhichUndecided::All).await?;
        self.stale = None;
        self.head.next = Ask::Head { cursor: None };
        Ok(())
    }

    fn is_caught_up(&self) -> bool {
        let Some(coverage) = &self.state.coverage else { return false };
        let idle = self.head.flight.is_none() && self.background.flight.is_none();
        let resting = matches!(self.head.next, Ask::Head { cursor: None }) && !self.numbers.awaited();
        self.stale.is_none()
            && idle
            && resting
            && coverage.walks.is_empty()
            && self.is_swept()
            && self.head.failures == 0
    }

    /// Whether a sweep was begun in this process and completed.
    fn is_swept(&self) -> bool {
        let anchor = self.state.coverage.as_ref().map(|coverage| coverage.marks.anchor);
        self.head.first_answer.is_some_and(|first| anchor >= Some(first))
    }

    /// What stalled in an earlier process was not tried in this one.
    fn has_stalled_walk(&self) -> bool {
        let mut walks = self.state.walks();
        walks.any(|walk| {
            walk.progress.failures >= self.rules.patience_failures && self.state.setbacks(walk.id) >= ONCE_PATIENCE
        })
    }

    fn estimated_now(&self, at: Instant) -> Now {
        let local = self.clock.relay_time();
        let frontier = self.state.coverage.as_ref().map(|coverage| coverage.marks.frontier);
        Now { server: self.server.estimate(at).or(frontier).unwrap_or(local), local }
    }

    fn set_condition(&self, condition: Condition) {
        let now = self.clock.relay_time();
        self.report.send_if_modified(|report| {
            let changed = report.condition != condition;
            if changed {
                report.since = Some(now);
            }
            report.condition = condition;
            changed
        });
    }

    fn publish(&mut self) {
        let (now, wall) = (self.clock.monotonic(), self.clock.relay_time());
        let found = self.budget.window().foreign_for_certain();
        let (last_poll, foreign) = (self.head.last_poll, found.before.max(found.so_far));
        let mut budget = ApiBudget { foreign, ..ApiBudget::default() };
        if let Some((limit, remaining, left)) = self.budget.window().server(now) {
            budget.server_limit = limit;
            budget.server_remaining = Some(remaining);
            budget.server_resets_at = Some(wall.after(left));
        }
        let feed = FeedReport {
            server_ahead_ms: self.server.estimate(now).map(|server| server.0.saturating_sub(wall.0)),
            total: self.total,
        };
        let storage = StorageReport { journal_held_bytes: self.journal.held };
        let catch_up = self.progress.catch_up();
        let (numbers_why, numbers_since) = self.numbers_trouble.clone().filter(|_| self.numbers.awaited()).unzip();
        let coverage = &self.state.coverage;
        self.report.send_if_modified(|report| {
            let changed =
                report.last_poll_at != last_poll || report.coverage != *coverage || report.catch_up != catch_up;
            report.last_poll_at = last_poll;
            report.numbers_why = numbers_why;
            report.numbers_since = numbers_since;
            report.budget = budget;
            report.storage = storage;
            report.feed = feed;
            report.catch_up = catch_up;
            if report.coverage != *coverage {
                report.coverage.clone_from(coverage);
            }
            changed
        });
    }
}

/// What woke the loop.
enum Arrived {
    Messages { is_head: bool, response: Response },
    Numbers(Response<NumberPage>),
    Nothing,
}

async fn number_flight(flight: &mut Option<NumberFlight>) -> Response<NumberPage> {
    match flight {
        Some(flight) => (&mut flight.answer).await,
        None => std::future::pending().await,
    }
}

async fn flight(flight: &mut Option<Flight>) -> Response {
    match flight {
        Some(flight) => (&mut flight.answer).await,
        None => std::future::pending().await,
    }
}

//! The loop that keeps coverage moving: one head poll and one background request at a time.
//!
//! Invariants:
//! - Pages are applied one after the other, each in one transaction; a failed commit throws the state away and loads it.
//! - No failure is answered at once: every one makes the next request of its lane wait, longer each time.
//! - Nothing ends the loop but the stop signal, a state that is damaged, or another account.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;

use super::account::{self, Evidence, Verdict};
use super::coverage::{Next, Now, Page, Rules, Setback, State, Step};
use super::feed::{Answer, Feed};
use super::report::{Condition, Report};
use super::server_clock::ServerClock;
use crate::api::budget::{Admission, Budget, Lane, Ticket};
use crate::api::{self, Error, PAGE_ROWS, Response};
use crate::domain::{Coverage, Cursor, Seq, StoreOp, UnixMs, WalkId, WalkKind};
use crate::store::{self, Keep, Store};
use crate::time::backoff::{Jitter, Schedule};
use crate::time::{Clock, Instant};

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

/// What the poller says to the rest of the process. Without content: whoever hears it looks for itself.
pub struct Signals {
    /// Messages were released.
    pub released: Box<dyn Fn() + Send>,
    /// The loop has turned.
    pub alive: Box<dyn Fn() + Send>,
}

/// Everything the poller works with.
pub struct Poller<F> {
    feed: F,
    store: Store,
    clock: Clock,
    budget: Budget,
    rules: Rules,
    mode: Mode,
    keep_delivered: Keep,
    accept_account: bool,
    signals: Signals,
    report: watch::Sender<Report>,
    jitter: Jitter,
    state: State,
    server: ServerClock,
    /// Address and key were found to belong to the state.
    verified: bool,
    head: HeadLane,
    background: BackgroundLane,
    housekeeping: Housekeeping,
    foreign_said: bool,
}

/// Where the head lane stands.
struct HeadLane {
    /// What it asks for next, and not before when.
    next: Ask,
    due: Instant,
    flight: Option<Flight>,
    poll_began: Instant,
    failures: u32,
    /// Small pages until then: a whole one was too large.
    small_until: Option<Instant>,
    first_answer: Option<UnixMs>,
    last_poll: Option<UnixMs>,
}

#[derive(Default)]
struct BackgroundLane {
    flight: Option<Flight>,
    turn: u64,
    not_before: HashMap<WalkId, Instant>,
    failures: u32,
    due: Option<Instant>,
    small: Option<WalkId>,
}

struct Housekeeping {
    due: Instant,
    /// Where the search for bodies that are not needed any more goes on.
    after: Seq,
    said: Instant,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
enum Ask {
    Head { cursor: Option<Cursor> },
    Walk { id: WalkId, pages_left: u32 },
}

struct Flight {
    ask: Ask,
    limit: u32,
    ticket: Ticket,
    answer: Answer,
}

/// After a failure: a second, then twice as long each time, up to a minute.
const RETRY: Schedule = Schedule { initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(60) };

/// A key that was refused may have been put right since.
const KEY_RETRY: Duration = Duration::from_secs(60);

/// One-shot commands give up after so many failures in a row: about a quarter of a minute.
const ONCE_PATIENCE: u32 = 5;

/// How long pages stay small after one was too large.
const SMALL_PAGES: Duration = Duration::from_secs(600);

/// Watermark, forgetting and retention.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// The loop turns at least this often, so that its progress can be watched.
const TURN: Duration = Duration::from_secs(5);

/// A long catch-up is told of this often.
const SAY: Duration = Duration::from_secs(10);

impl<F: Feed> Poller<F> {
    /// A poller on the state in `store`, which it loads when it runs.
    #[expect(clippy::too_many_arguments, reason = "each is a part that the daemon built")]
    pub fn new(
        feed: F,
        store: Store,
        clock: Clock,
        budget: Budget,
        rules: Rules,
        mode: Mode,
        keep_delivered: Keep,
        accept_account: bool,
        signals: Signals,
    ) -> Self {
        let now = clock.monotonic();
        let seed = clock.wall().0.unsigned_abs();
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
            keep_delivered,
            accept_account,
            signals,
            report: watch::Sender::new(Report::default()),
            jitter: Jitter::seeded(seed),
            state: State::default(),
            server: ServerClock::default(),
            verified: false,
            head: HeadLane {
                next: Ask::Head { cursor: None },
                due: now,
                flight: None,
                poll_began: now,
                failures: 0,
                small_until: None,
                first_answer: None,
                last_poll: None,
            },
            background: BackgroundLane::default(),
            housekeeping: Housekeeping { due: now + HOUSEKEEPING, after: Seq(0), said: now },
            foreign_said: false,
        }
    }

    /// Snapshots of how it is going.
    pub fn reports(&self) -> watch::Receiver<Report> {
        self.report.subscribe()
    }

    /// Polls until `stop` is true, or as [`Mode`] says. A request under way is given up; what was read is committed.
    ///
    /// # Errors
    /// [`Trouble`]: polling cannot go on at all.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<Ending, Trouble> {
        self.load().await?;
        self.say_start().await?;
        loop {
            (self.signals.alive)();
            if *stop.borrow() {
                return Ok(Ending::Stopped);
            }
            if self.mode == Mode::Once && self.is_caught_up() {
                return Ok(Ending::CaughtUp);
            }
            let wake = self.start_requests();
            let arrived = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => None,
                response = flight(&mut self.head.flight) => Some((true, response)),
                response = flight(&mut self.background.flight) => Some((false, response)),
                () = tokio::time::sleep_until(wake) => None,
            };
            if let Some((is_head, response)) = arrived
                && let Some(ending) = self.landed(is_head, response).await?
            {
                return Ok(ending);
            }
            if self.clock.monotonic() >= self.housekeeping.due {
                self.keep_house().await?;
            }
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
        self.state = State::load(coverage, held);
        self.head.next = Ask::Head { cursor: None };
        Ok(())
    }

    async fn say_start(&self) -> Result<(), store::Error> {
        let account = self.store.read(|spool| spool.account()).await?;
        let configured = self.rules.start.to_string();
        match (&self.state.coverage, account.start) {
            (Some(coverage), began) => {
                tracing::info!(
                    frontier = %coverage.marks.frontier,
                    walks = coverage.walks.len(),
                    "resuming where the state left off"
                );
                if began.is_some_and(|began| began != configured) {
                    tracing::info!(poll.start = configured, "poll.start only counts on a first run and is ignored now");
                }
            }
            (None, _) => tracing::info!(poll.start = configured, "first run on this state"),
        }
        Ok(())
    }

    /// Sends what may leave now; returns when to look again.
    fn start_requests(&mut self) -> Instant {
        let now = self.clock.monotonic();
        let mut wake = (now + TURN).min(self.housekeeping.due);
        let background_waits = self.pick_walk(now, 0).is_some();
        if self.head.flight.is_none() {
            if self.head.due > now {
                wake = wake.min(self.head.due);
            } else {
                match self.budget.window().admit(Lane::Head, background_waits, now) {
                    Admission::Go => self.start_head(now),
                    Admission::WaitUntil(until) => wake = wake.min(until),
                    Admission::WaitForAnswer => {}
                }
            }
        }
        if self.background.flight.is_none() {
            if let Some(until) = self.start_background(now) {
                wake = wake.min(until);
            }
        }
        wake
    }

    fn start_head(&mut self, now: Instant) {
        let (cursor, ask) = match self.head.next.clone() {
            Ask::Head { cursor: None } => {
                self.head.poll_began = now;
                let cursor = self.state.head_cursor(&self.rules, self.estimated_now(now));
                (cursor.clone(), Ask::Head { cursor })
            }
            Ask::Head { cursor } => (cursor.clone(), Ask::Head { cursor }),
            Ask::Walk { id, pages_left } => match self.walk_cursor(id) {
                Some(cursor) => (cursor, Ask::Walk { id, pages_left }),
                None => {
                    self.head.next = Ask::Head { cursor: None };
                    return;
                }
            },
        };
        let small = self.head.small_until.is_some_and(|until| until > now);
        let limit = if small { 1 } else { PAGE_ROWS };
        self.head.flight = Some(self.send(Lane::Head, ask, cursor.as_ref(), limit, now));
    }

    /// Returns when to look again, if not after an answer.
    fn start_background(&mut self, now: Instant) -> Option<Instant> {
        if let Some(due) = self.background.due.filter(|due| *due > now) {
            return Some(due);
        }
        let turn = self.background.turn;
        let mut again = self.background.not_before.values().filter(|until| **until > now).min().copied();
        // The walk whose turn it is; if its lane is used up, another may go.
        for turn in [turn, turn + 1] {
            let Some((id, lane)) = self.pick_walk(now, turn) else { continue };
            match self.budget.window().admit(lane, true, now) {
                Admission::Go => {
                    let cursor = self.walk_cursor(id)?;
                    let limit = if self.background.small == Some(id) { 1 } else { PAGE_ROWS };
                    let ask = Ask::Walk { id, pages_left: 0 };
                    self.background.turn += 1;
                    self.background.flight = Some(self.send(lane, ask, cursor.as_ref(), limit, now));
                    return None;
                }
                Admission::WaitUntil(until) => again = Some(again.map_or(until, |again| again.min(until))),
                Admission::WaitForAnswer => {}
            }
        }
        again
    }

    fn pick_walk(&self, now: Instant, turn: u64) -> Option<(WalkId, Lane)> {
        if !self.verified {
            return None;
        }
        let taken = match (&self.head.flight, &self.head.next) {
            (Some(Flight { ask: Ask::Walk { id, .. }, .. }), _) | (None, Ask::Walk { id, .. }) => Some(*id),
            _ => None,
        };
        let ready =
            |id: WalkId| Some(id) != taken && self.background.not_before.get(&id).is_none_or(|until| *until <= now);
        let walk = self.state.background_walk(turn, ready)?;
        let lane = if walk.kind == WalkKind::Sweep { Lane::Sweep } else { Lane::Walk };
        Some((walk.id, lane))
    }

    fn walk_cursor(&self, id: WalkId) -> Option<Option<Cursor>> {
        let mut walks = self.state.coverage.iter().flat_map(|coverage| &coverage.walks);
        walks.find(|walk| walk.id == id).map(|walk| walk.cursor.clone())
    }

    fn send(&mut self, lane: Lane, ask: Ask, cursor: Option<&Cursor>, limit: u32, now: Instant) -> Flight {
        let wall = self.clock.wall();
        let ticket = self.budget.send(lane, now, wall);
        Flight { ask, limit, ticket, answer: self.feed.fetch(cursor, limit, wall) }
    }

    /// A request is over.
    async fn landed(&mut self, is_head: bool, response: Response) -> Result<Option<Ending>, Trouble> {
        let flight = if is_head { self.head.flight.take() } else { self.background.flight.take() };
        let Some(Flight { ask, limit, ticket, .. }) = flight else { return Ok(None) };
        let (now, wall) = (self.clock.monotonic(), self.clock.wall());
        self.budget.answered(ticket, &response.rate, now, wall);
        self.watch_foreign();
        if !matches!(response.page, Err(Error::RateLimited)) {
            self.budget.window().not_refused();
        }
        let Response { date, rate, page } = response;
        match page {
            Ok(page) => match self.apply(is_head, &ask, page, date, now).await {
                Ok(()) => Ok(None),
                Err(Trouble::Store(error)) if error.is_passing() => {
                    self.commit_failed(is_head, &error, now).await?;
                    Ok(None)
                }
                Err(trouble) => Err(trouble),
            },
            Err(Error::RateLimited) => {
                let jitter = &self.jitter;
                let wait = self.budget.window().refused(&rate, |times| RETRY.jittered(times, jitter), now);
                tracing::warn!(wait_s = wait.as_secs_f64(), "over the API's rate limit; silent until it resets");
                Ok(None)
            }
            Err(Error::KeyRefused(refusal)) => Ok(self.key_refused(&refusal, now)),
            Err(error) => self.failed(is_head, &ask, limit, error, now).await,
        }
    }

    async fn apply(
        &mut self,
        is_head: bool,
        ask: &Ask,
        page: api::Page,
        date: Option<UnixMs>,
        at: Instant,
    ) -> Result<(), Trouble> {
        let api::Page { rows, more, total } = page;
        let newest_ingested = rows.iter().filter_map(|row| row.ingested).max();
        let local = self.clock.wall();
        let now = Now { server: self.server.read(date, newest_ingested, local, at), local };
        let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let known = self.store.read(move |spool| spool.known(ids.iter().map(String::as_str))).await?;
        let page = Page::new(rows, known, more);
        if is_head && !self.verified && !self.verify(&page).await? {
            self.rest_head(at);
            return Ok(());
        }
        if is_head && matches!(ask, Ask::Head { .. }) {
            self.polled(now, at);
        }
        let first = self.state.coverage.is_none();
        let step = match ask {
            Ask::Head { .. } => self.state.head_page(&self.rules, page, now),
            Ask::Walk { id, .. } => self.state.walk_page(&self.rules, *id, page, is_head, now),
        };
        let next = self.commit(step, now.local).await?;
        if first && self.state.coverage.is_some() {
            self.say_begun(total);
        }
        self.proceed(is_head, ask, next, at);
        Ok(())
    }

    /// Whether the page belongs to the account of the state.
    async fn verify(&mut self, page: &Page) -> Result<bool, Trouble> {
        let (url, fingerprint) = self.feed.identity();
        let numbers: Vec<String> = page.numbers().map(str::to_owned).collect();
        let (account, known_number, has_met_numbers) = self
            .store
            .read(move |spool| {
                let known = spool.knows_number(numbers.iter().map(String::as_str))?;
                Ok((spool.account()?, known, spool.has_met_numbers()?))
            })
            .await?;
        let familiar = account::is_familiar(&account, &url, &fingerprint);
        let verdict = account::judge(&Evidence {
            familiar,
            begun: self.state.coverage.is_some(),
            has_met_numbers,
            page_has_rows: !page.is_empty(),
            known_message: page.has_known(),
            known_number,
            accepted: self.accept_account,
        });
        match verdict {
            Verdict::Same => {
                if !familiar {
                    if account.api_url.is_some() {
                        tracing::info!("the API key or address is new; its messages belong to the same account");
                    }
                    self.store.write(move |spool| spool.remember_account(&url, &fingerprint)).await?;
                }
                self.verified = true;
                Ok(true)
            }
            Verdict::Open => {
                tracing::warn!(
                    "the API key or address is new and shows no messages yet; waiting for one that is known"
                );
                Ok(false)
            }
            Verdict::Other => Err(Trouble::OtherAccount),
        }
    }

    fn polled(&mut self, now: Now, at: Instant) {
        if self.head.failures > 0 || self.head.last_poll.is_none() {
            tracing::info!(failures = self.head.failures, "polling");
        }
        self.head.failures = 0;
        self.head.first_answer.get_or_insert(now.server);
        self.head.last_poll = Some(now.local);
        if self.head.small_until.is_some_and(|until| until <= at) {
            self.head.small_until = None;
        }
        self.set_condition(Condition::Polling);
    }

    async fn commit(&mut self, step: Step, now: UnixMs) -> Result<Next, store::Error> {
        let Step { ops, next } = step;
        if ops.is_empty() {
            return Ok(next);
        }
        for op in &ops {
            if let StoreOp::Count(anomaly) = op {
                tracing::warn!(
                    anomaly = anomaly.as_str(),
                    "the API answered in a way that its documentation does not describe"
                );
            }
        }
        let releases = ops.iter().any(|op| matches!(op, StoreOp::Release { .. } | StoreOp::ReleaseHeld { .. }));
        self.store.write(move |spool| spool.commit(&ops, now)).await?;
        if releases {
            (self.signals.released)();
        }
        Ok(next)
    }

    /// What the lane does next.
    fn proceed(&mut self, is_head: bool, ask: &Ask, next: Next, now: Instant) {
        if let Next::Wait(id, failures) = next {
            self.background.not_before.insert(id, now + RETRY.jittered(failures, &self.jitter));
        }
        if !is_head {
            self.background.failures = 0;
            self.background.due = None;
            self.background.small = None;
            return;
        }
        let pages_left = match ask {
            Ask::Head { .. } => self.rules.head_pages,
            Ask::Walk { pages_left, .. } => pages_left.saturating_sub(1),
        };
        match next {
            Next::Follow(cursor) => self.head.next = Ask::Head { cursor: Some(cursor) },
            Next::FollowWalk(id) if pages_left > 0 => self.head.next = Ask::Walk { id, pages_left },
            Next::FollowWalk(_) | Next::Idle | Next::AskAgain | Next::Wait(..) => self.rest_head(now),
        }
    }

    /// The head poll is over; the next comes an interval after this one began.
    fn rest_head(&mut self, now: Instant) {
        let background_waits = self.pick_walk(now, 0).is_some();
        let spacing = self.budget.window().head_spacing(background_waits, now);
        self.head.next = Ask::Head { cursor: None };
        self.head.due = self.head.poll_began + spacing;
    }

    /// The disk did not take a page: what is in memory is no longer what is on disk.
    async fn commit_failed(&mut self, is_head: bool, error: &store::Error, now: Instant) -> Result<(), Trouble> {
        self.head.failures += 1;
        let wait = RETRY.jittered(self.head.failures, &self.jitter);
        if self.head.failures == 1 {
            tracing::error!(%error, "a page could not be stored; trying again, nothing is lost");
        }
        self.head.due = now + wait;
        self.background.due = Some(now + wait);
        self.set_condition(Condition::Failing(error.to_string()));
        tracing::debug!(is_head, wait_s = wait.as_secs_f64(), "waiting for the disk");
        match self.load().await {
            Err(error) if !error.is_passing() => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn key_refused(&mut self, refusal: &api::KeyRefusal, now: Instant) -> Option<Ending> {
        self.verified = false;
        self.head.next = Ask::Head { cursor: None };
        if self.feed.next_key() {
            tracing::warn!(%refusal, "the API does not accept the key; trying the next one");
            self.head.due = now;
            return None;
        }
        if self.mode == Mode::Once {
            return Some(Ending::NoKey(refusal.to_string()));
        }
        let condition = Condition::NoKey(refusal.to_string());
        if self.report.borrow().condition != condition {
            tracing::error!(
                %refusal,
                retry_s = KEY_RETRY.as_secs(),
                "the API accepts no key: make a new one in the dashboard and configure it; deliveries go on"
            );
        }
        self.set_condition(condition);
        self.head.due = now + KEY_RETRY;
        None
    }

    /// There is no page. The lane waits; a walk that alone fails is set back.
    async fn failed(
        &mut self,
        is_head: bool,
        ask: &Ask,
        limit: u32,
        error: Error,
        now: Instant,
    ) -> Result<Option<Ending>, Trouble> {
        let too_large = matches!(error, Error::TooLarge { .. }) && limit > 1;
        let refused = matches!(error, Error::Refused { .. });
        match ask {
            Ask::Head { cursor: Some(_) } if refused => {
                self.state.head_refused();
                self.rest_head(now);
                Ok(None)
            }
            Ask::Head { .. } if too_large => {
                tracing::warn!(%error, "reading the newest messages one by one for a while");
                self.head.small_until = Some(now + SMALL_PAGES);
                self.head.due = now;
                Ok(None)
            }
            Ask::Head { .. } => Ok(self.head_failed(&error, now)),
            Ask::Walk { id, .. } if too_large && !is_head => {
                self.background.small = Some(*id);
                Ok(None)
            }
            Ask::Walk { id, .. } => {
                if is_head {
                    self.rest_head(now);
                } else {
                    self.background.failures += 1;
                    let wait = RETRY.jittered(self.background.failures, &self.jitter);
                    self.background.due = Some(now + wait);
                }
                tracing::debug!(kind = error.kind(), %error, "a page of older messages could not be read");
                let setback = if refused { Setback::Refused } else { Setback::Unreadable };
                // While the head fails as well it is not this walk's trouble.
                if self.head.failures == 0 {
                    self.set_back(*id, setback, now).await?;
                }
                Ok(None)
            }
        }
    }

    async fn set_back(&mut self, id: WalkId, setback: Setback, at: Instant) -> Result<(), Trouble> {
        let now = self.estimated_now(at);
        let step = self.state.walk_setback(&self.rules, id, setback, now);
        match self.commit(step, now.local).await {
            Ok(Next::Wait(id, failures)) => {
                self.background.not_before.insert(id, at + RETRY.jittered(failures, &self.jitter));
                // The walk waits by itself; others need not.
                self.background.due = None;
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) if error.is_passing() => self.commit_failed(false, &error, at).await,
            Err(error) => Err(error.into()),
        }
    }

    fn head_failed(&mut self, error: &Error, now: Instant) -> Option<Ending> {
        self.head.failures += 1;
        let wait = RETRY.jittered(self.head.failures, &self.jitter);
        let condition = Condition::Failing(error.to_string());
        if self.report.borrow().condition == condition {
            tracing::debug!(
                kind = error.kind(),
                failures = self.head.failures,
                wait_s = wait.as_secs_f64(),
                "still failing"
            );
        } else {
            tracing::warn!(kind = error.kind(), %error, "the API cannot be polled; trying again until it can");
        }
        self.set_condition(condition);
        self.head.next = Ask::Head { cursor: None };
        self.head.due = now + wait;
        let gives_up = self.mode == Mode::Once && self.head.failures >= ONCE_PATIENCE;
        gives_up.then(|| Ending::GaveUp(error.to_string()))
    }

    fn is_caught_up(&self) -> bool {
        let Some(coverage) = &self.state.coverage else { return false };
        let idle = self.head.flight.is_none() && self.background.flight.is_none();
        let resting = matches!(self.head.next, Ask::Head { cursor: None });
        let swept = self.head.first_answer.is_some_and(|first| coverage.marks.anchor >= first);
        idle && resting && coverage.walks.is_empty() && swept && self.head.failures == 0
    }

    fn estimated_now(&self, at: Instant) -> Now {
        let local = self.clock.wall();
        let frontier = self.state.coverage.as_ref().map(|coverage| coverage.marks.frontier);
        Now { server: self.server.estimate(at).or(frontier).unwrap_or(local), local }
    }

    /// Raises the watermark, and lets go of what nobody needs.
    async fn keep_house(&mut self) -> Result<(), Trouble> {
        let at = self.clock.monotonic();
        self.housekeeping.due = at + HOUSEKEEPING;
        if self.server.estimate(at).is_none() {
            return Ok(());
        }
        let now = self.estimated_now(at);
        match self.tidy(now).await {
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, "old messages could not be removed; trying again in a minute");
                self.load().await?;
                Ok(())
            }
            result => Ok(result?),
        }
    }

    async fn tidy(&mut self, now: Now) -> Result<(), store::Error> {
        let step = self.state.raise_watermark(&self.rules, now);
        self.commit(step, now.local).await?;
        let after = self.housekeeping.after;
        if let Keep::For(keep) = self.keep_delivered {
            let cutoff = now.local.before(keep);
            let next = self.store.write(move |spool| spool.drop_delivered(cutoff, after)).await?;
            self.housekeeping.after = next.unwrap_or_default();
        }
        if let Some(watermark) = self.state.coverage.as_ref().map(|coverage| coverage.marks.watermark) {
            let keep = self.rules.keep_newest;
            self.store.write(move |spool| spool.forget_ids(watermark, keep)).await?;
        }
        let open = |id: &WalkId| self.walk_cursor(*id).is_some();
        let closed: Vec<WalkId> = self.background.not_before.keys().copied().filter(|id| !open(id)).collect();
        for id in closed {
            self.background.not_before.remove(&id);
        }
        Ok(())
    }

    fn watch_foreign(&mut self) {
        let foreign = self.budget.window().foreign();
        let heavy = foreign >= 5;
        if heavy && !self.foreign_said {
            tracing::warn!(requests_a_minute = foreign, "other programs use the same API key; leaving room for them");
        }
        self.foreign_said = heavy;
    }

    fn say_begun(&self, total: Option<u64>) {
        let Some(coverage) = &self.state.coverage else { return };
        let started = coverage.marks;
        match (self.rules.start, total) {
            (crate::domain::Start::Now, Some(total)) => tracing::info!(
                older_messages = total,
                "relaying what comes from now on; older messages are not relayed (poll.start = \"beginning\" would)"
            ),
            (crate::domain::Start::Now, None) => tracing::info!("relaying what comes from now on"),
            _ => tracing::info!(since = %started.watermark, "relaying messages received since then"),
        }
    }

    fn set_condition(&self, condition: Condition) {
        self.report.send_if_modified(|report| {
            let changed = report.condition != condition;
            report.condition = condition;
            changed
        });
    }

    fn publish(&mut self) {
        let (last_poll, foreign) = (self.head.last_poll, self.budget.window().foreign());
        let coverage = &self.state.coverage;
        self.report.send_if_modified(|report| {
            let changed = report.last_poll != last_poll || report.coverage != *coverage;
            report.last_poll = last_poll;
            report.foreign_requests = foreign;
            if report.coverage != *coverage {
                report.coverage.clone_from(coverage);
            }
            changed
        });
        let now = self.clock.monotonic();
        let gaps = || coverage.iter().flat_map(|coverage| &coverage.walks).filter(|walk| walk.kind != WalkKind::Sweep);
        if let Some(oldest) = gaps().next()
            && now.saturating_duration_since(self.housekeeping.said) >= SAY
        {
            self.housekeeping.said = now;
            tracing::info!(reached = %oldest.lowest, down_to = %oldest.floor, walks = gaps().count(), "catching up");
        }
    }
}

async fn flight(flight: &mut Option<Flight>) -> Response {
    match flight {
        Some(flight) => (&mut flight.answer).await,
        None => std::future::pending().await,
    }
}

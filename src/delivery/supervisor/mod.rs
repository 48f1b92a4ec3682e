//! The loop of one sink: it begins deliveries in the order of their claims, as many at once as there are workers.
//!
//! Invariants:
//! - A worker is free again only when its delivery's settlement has been committed: after a crash no more messages are
//!   repeated than there are workers.
//! - No turn without a reason: a delivery that ended, a wake-up, a time that has come, or the slow poll. No reason puts off
//!   another: the slow poll comes every five seconds however often the others do.

mod backfill;
mod dispatch;
mod expiry;
mod maintenance;
mod outcome;
mod pause;
mod publishing;
mod timing;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{sleep_until, timeout_at};

use self::backfill::Preparing;
use self::dispatch::InFlight;
use self::timing::TimeKnown;
use crate::delivery::attempt::AttemptReport;
use crate::delivery::breaker::{Admission, LONGEST_WAIT};
use crate::delivery::expiry::Expiry;
use crate::delivery::failure_notice::FailureNotice;
use crate::delivery::health::{Moment, SharedHealth, SinkHealth};
use crate::delivery::lanes::{Last, PerLane};
use crate::delivery::options::{Options, Order, Retry};
use crate::delivery::pace::Pace;
use crate::delivery::queues::{CHUNK, ONE, Queues};
use crate::delivery::settler::Settler;
use crate::delivery::status::{Held, Published, SinkStatus};
use crate::delivery::throttle::Gate;
use crate::domain::{PauseReason, Seq, UnixMs};
use crate::formats::Format;
use crate::sinks::Sink;
use crate::store::{Error, Registered, Resumes, Store};
use crate::time::backoff::Jitter;
use crate::time::{AT_LEAST_EVERY, Clock, Heartbeat, Instant};

/// The store is asked this often without any wake-up, in case one was never sent.
const POLL: Duration = AT_LEAST_EVERY;

/// At the end, what was answered but is not on the disk yet gets this long beyond the grace.
const LAST_SETTLEMENTS: Duration = Duration::from_secs(2);

/// What the loops of all sinks share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) jitter: Arc<Jitter>,
    pub(super) settler: Settler,
    pub(super) wake: watch::Receiver<u64>,
    /// Once the daemon stops: until when deliveries may end.
    pub(super) stopping: watch::Receiver<Option<Instant>>,
    /// Where it is told that the state is damaged.
    pub(super) damage: watch::Sender<Option<Arc<Error>>>,
}

/// What is the sink's own.
pub(super) struct Identity {
    /// As the store has it at the start.
    pub(super) registered: Registered,
    pub(super) name: String,
    pub(super) options: Options,
    pub(super) format: Format,
    pub(super) sink: Arc<dyn Sink>,
    /// Whether it is the only one: then a closed stream is the end, not a defect.
    pub(super) alone: bool,
}

/// How the end went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Deliveries that were given up while the receiver had not answered; they are made again at the next start.
    pub cut_off: usize,
    /// Deliveries that were answered, but could not be recorded; they are made again too.
    pub unrecorded: usize,
}

/// See the module.
pub(super) struct Supervisor {
    shared: Shared,
    identity: Identity,
    retry: Arc<Retry>,
    /// The same for what holds up others while nothing gets through.
    hasty_retry: Arc<Retry>,
    queues: Queues,
    tasks: JoinSet<AttemptReport>,
    in_flight: HashMap<Id, InFlight>,
    under_way: PerLane<usize>,
    last: Last,
    standing: SharedHealth,
    pace: Option<Pace>,
    expiry: Option<Expiry>,
    /// Claimed, and found to be too old; to be written down once it is known what time it is.
    too_old: Vec<Seq>,
    /// What was known of the time when claims were looked at last.
    time: TimeKnown,
    preparing: Preparing,
    health: FailureNotice,
    /// Paused: until the store says otherwise.
    held: Option<Held>,
    /// A pause that began here and is to be written down.
    pause_to_write: Option<PauseReason>,
    /// To be asked: whether somebody has paused or resumed it.
    ask_pause: bool,
    /// How often somebody had resumed it when that was asked last.
    resumes: Resumes,
    /// No success since an attempt that began then. After a start nobody knows when that was.
    failing_since: Option<UnixMs>,
    /// When the first failure ended that no success has followed: for people.
    failing_from: Option<UnixMs>,
    /// An outage that is over: what was first attempted from then on is to be made due.
    bringing_forward: Option<UnixMs>,
    /// To be said: it works again.
    recovered: bool,
    /// When it was last said that the receiver sets the pace.
    told_throttled: Option<Instant>,
    store_failures: u32,
    store_again_at: Option<Instant>,
    poll_at: Instant,
    seen_wake: u64,
    turns: Heartbeat,
    published: watch::Sender<Published>,
}

/// What may be begun now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowance {
    All,
    Probe,
    Nothing { before: Option<Instant> },
}

impl Supervisor {
    pub(super) fn new(shared: Shared, identity: Identity, turns: Heartbeat) -> (Self, watch::Receiver<Published>) {
        let status =
            SinkStatus { name: identity.name.clone(), in_flight: 0, failing: false, failing_since: None, held: None };
        let (published, receiver) = watch::channel(Published { status, idle_after: None });
        let Options { retry, order, requests_per_minute, max_age, .. } = &identity.options;
        let queues = Queues::new(*order);
        let now = Moment { monotonic: shared.clock.monotonic(), wall: shared.clock.relay_time() };
        let supervisor = Self {
            retry: Arc::new(retry.clone()),
            hasty_retry: Arc::new(retry.no_longer_than(LONGEST_WAIT)),
            queues,
            tasks: JoinSet::new(),
            in_flight: HashMap::new(),
            under_way: PerLane::default(),
            last: Last::default(),
            standing: SharedHealth::new(SinkHealth::restored(identity.registered.standing, now)),
            pace: Pace::new(*requests_per_minute, now.monotonic),
            expiry: max_age.map(|max_age| Expiry::new(max_age, now.monotonic)),
            too_old: Vec::new(),
            time: TimeKnown::by(&shared.clock),
            preparing: Preparing::new(&identity.registered),
            health: FailureNotice::default(),
            held: None,
            pause_to_write: None,
            ask_pause: false,
            resumes: identity.registered.resumes,
            failing_since: Some(UnixMs::MIN),
            failing_from: None,
            bringing_forward: None,
            recovered: false,
            told_throttled: None,
            store_failures: 0,
            store_again_at: None,
            poll_at: now.monotonic + POLL,
            seen_wake: 0,
            turns,
            published,
            shared,
            identity,
        };
        (supervisor, receiver)
    }

    /// Until the daemon stops.
    pub(super) async fn run(mut self) -> Drained {
        loop {
            self.turns.turned();
            if self.shared.stopping.borrow_and_update().is_some() {
                return self.finish().await;
            }
            self.notice_what_may_be_new();
            self.store_work().await;
            self.begin_what_may_begin().await;
            self.publish();
            let next_turn = self.next_turn();
            tokio::select! {
                Some(joined) = self.tasks.join_next_with_id() => {
                    self.ended(joined);
                    while let Some(joined) = self.tasks.try_join_next_with_id() {
                        self.ended(joined);
                    }
                }
                _ = self.shared.wake.changed() => {}
                _ = self.shared.stopping.changed() => {}
                () = sleep_until(next_turn) => {}
            }
        }
    }

    fn now(&self) -> Instant {
        self.shared.clock.monotonic()
    }

    /// The wake-up is registered before the store is asked, so that none is missed in between. It does not put off the slow
    /// poll, which alone hears of what commands have changed.
    fn notice_what_may_be_new(&mut self) {
        let wake = *self.shared.wake.borrow_and_update();
        let now = self.now();
        let slow_poll = now >= self.poll_at;
        if slow_poll {
            self.poll_at = now + POLL;
            self.ask_pause = true;
        }
        if wake != self.seen_wake || slow_poll {
            self.seen_wake = wake;
            self.queues.look_everywhere();
        }
        self.notice_the_time();
        self.queues.note_time(self.shared.clock.relay_time());
        self.store_again_at.take_if(|until| *until <= now);
        let untold = self.health.overdue(now);
        self.tell_failing(untold);
    }

    async fn begin_what_may_begin(&mut self) {
        match self.allowance() {
            Allowance::Nothing { .. } => self.queues.give_back(),
            Allowance::Probe => {
                if self.queues.must_look() && self.look(ONE).await {
                    self.begin_next(true);
                }
                self.queues.give_back();
            }
            Allowance::All => {
                while self.in_flight.len() < self.workers() {
                    if self.queues.must_look() && !self.look(CHUNK).await {
                        return;
                    }
                    let mut begun = false;
                    while self.begin_next(false) {
                        begun = true;
                        if self.queues.must_look() {
                            break;
                        }
                    }
                    if !begun {
                        return;
                    }
                }
            }
        }
    }

    fn allowance(&self) -> Allowance {
        // Nobody may overtake what is not in its place yet.
        let out_of_order = self.is_ordered() && self.preparing.is_under_way();
        if self.held().is_some() || out_of_order {
            return Allowance::Nothing { before: None };
        }
        let now = self.now();
        let standing = self.standing.lock();
        let busy = standing.busy_until(now);
        if busy.is_some() {
            return Allowance::Nothing { before: busy };
        }
        match standing.admission(now) {
            Admission::All => Allowance::All,
            Admission::Probe => Allowance::Probe,
            Admission::NotBefore(next) => Allowance::Nothing { before: Some(next) },
            Admission::Probing => Allowance::Nothing { before: None },
        }
    }

    /// Why nothing is sent until somebody changes that.
    fn held(&self) -> Option<Held> {
        if self.identity.options.enabled { self.held } else { Some(Held::Disabled) }
    }

    fn is_ordered(&self) -> bool {
        self.identity.options.order == Order::Number
    }

    /// Whether the limit on requests and the receiver's own pace let an attempt begin.
    fn gate(&self) -> Gate {
        let now = self.now();
        let limit = self.pace.as_ref().and_then(|pace| pace.wait_until(now));
        match (self.standing.lock().gate(now), limit) {
            (Gate::Open, Some(limit)) => Gate::At(limit),
            (Gate::At(next), Some(limit)) => Gate::At(next.max(limit)),
            (gate, _) => gate,
        }
    }

    fn workers(&self) -> usize {
        self.identity.options.concurrency.max(1)
    }

    fn next_turn(&self) -> Instant {
        let now = self.now();
        let mut next = self.poll_at;
        let ageing = self.has_expired() || self.expiry.as_ref().is_some_and(Expiry::is_unfinished);
        let work = self.to_bring_forward().is_some() || self.recovered || ageing;
        if self.store_again_at.is_none() && (work || self.preparing.is_under_way()) {
            return now;
        }
        for at in [self.store_again_at, self.health.tell_at()].into_iter().flatten() {
            next = next.min(at);
        }
        match self.allowance() {
            Allowance::Nothing { before } => next.min(before.unwrap_or(next)),
            Allowance::All | Allowance::Probe => {
                let due_in = |due: UnixMs| now + due.since(self.shared.clock.relay_time()).min(POLL);
                let paced = match self.gate() {
                    Gate::At(at) if self.in_flight.len() < self.workers() => at,
                    Gate::At(_) | Gate::Open | Gate::AfterTrial => next,
                };
                next.min(self.queues.next_due().map_or(next, due_in)).min(paced)
            }
        }
    }

    /// Lets deliveries end until the deadline, then cuts them off. What was answered still gets a while to be recorded.
    async fn finish(mut self) -> Drained {
        let deadline = (*self.shared.stopping.borrow()).unwrap_or_else(|| self.now());
        self.queues.give_back();
        self.end_until(deadline).await;
        let mut drained = Drained::default();
        for delivery in self.in_flight.values() {
            if !delivery.answered.load(Ordering::Relaxed) {
                delivery.abort.abort();
                drained.cut_off += 1;
            }
        }
        let end = self.now() + LAST_SETTLEMENTS;
        self.end_until(end).await;
        drained.unrecorded = self.in_flight.len();
        drained
    }

    async fn end_until(&mut self, deadline: Instant) {
        while let Ok(Some(joined)) = timeout_at(deadline, self.tasks.join_next_with_id()).await {
            self.turns.turned();
            self.ended(joined);
        }
    }
}

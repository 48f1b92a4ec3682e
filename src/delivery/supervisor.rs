//! The loop of one sink: it begins deliveries in the order of their claims, as many at once as there are workers.
//!
//! Invariants:
//! - A worker is free again only when its delivery's settlement has been committed: after a crash no more messages are
//!   repeated than there are workers.
//! - No turn without a reason: a delivery that ended, a wake-up, a time that has come, or the slow poll.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{sleep_until, timeout_at};

use super::attempt::{Journey, Report};
use super::breaker::{self, Admission, Breaker};
use super::decide::Finding;
use super::health::Health;
use super::lanes::{self, Last, PerLane};
use super::options::{Options, Retry};
use super::queues::{CHUNK, ONE, Queues};
use super::settler::Settler;
use super::status::{Held, Published, SinkStatus};
use crate::domain::{Outcome, Seq, UnixMs};
use crate::formats::Format;
use crate::sinks::{Outgoing, Sink};
use crate::store::{Chunk, Claim, Error, SinkId, Spool, Store};
use crate::time::backoff::{Jitter, Schedule};
use crate::time::{AT_LEAST_EVERY, Clock, Instant, Turns};

/// The store is asked this often without any wake-up, in case one was never sent.
const POLL: Duration = AT_LEAST_EVERY;

/// Waits after the store could not be read.
const STORE_TRIES: Schedule = Schedule { initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(60) };

/// So many retries are made due in one transaction when a receiver is back.
const BROUGHT_FORWARD_AT_ONCE: usize = 1000;

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
}

/// What is the sink's own.
pub(super) struct Identity {
    pub(super) id: SinkId,
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
    queues: Queues,
    tasks: JoinSet<Report>,
    in_flight: HashMap<Id, InFlight>,
    under_way: PerLane<usize>,
    last: Last,
    breaker: Breaker,
    health: Health,
    held: Option<Held>,
    busy_until: Option<Instant>,
    /// No success since an attempt that began then. After a start nobody knows when that was.
    failing_since: Option<UnixMs>,
    /// An outage that is over: what was first attempted from then on is to be made due.
    bringing_forward: Option<UnixMs>,
    /// To be said: it works again.
    recovered: bool,
    store_failures: u32,
    store_again_at: Option<Instant>,
    poll_at: Instant,
    seen_wake: u64,
    turns: Turns,
    published: watch::Sender<Published>,
}

struct InFlight {
    seq: Seq,
    lane: lanes::Lane,
    is_probe: bool,
    answered: Arc<AtomicBool>,
    abort: AbortHandle,
}

/// What may be begun now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowance {
    All,
    Probe,
    Nothing { before: Option<Instant> },
}

impl Supervisor {
    pub(super) fn new(shared: Shared, identity: Identity, turns: Turns) -> (Self, watch::Receiver<Published>) {
        let status = SinkStatus { name: identity.name.clone(), in_flight: 0, failing: false, held: None };
        let (published, receiver) = watch::channel(Published { status, idle_after: None });
        let mut queues = Queues::default();
        queues.look_everywhere();
        let now = shared.clock.monotonic();
        let supervisor = Self {
            retry: Arc::new(identity.options.retry.clone()),
            queues,
            tasks: JoinSet::new(),
            in_flight: HashMap::new(),
            under_way: PerLane::default(),
            last: Last::default(),
            breaker: Breaker::new(),
            health: Health::default(),
            held: None,
            busy_until: None,
            failing_since: Some(UnixMs::MIN),
            bringing_forward: None,
            recovered: false,
            store_failures: 0,
            store_again_at: None,
            poll_at: now + POLL,
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

    /// The wake-up is registered before the store is asked, so that none is missed in between.
    fn notice_what_may_be_new(&mut self) {
        let wake = *self.shared.wake.borrow_and_update();
        let now = self.now();
        if wake != self.seen_wake || now >= self.poll_at {
            self.seen_wake = wake;
            self.poll_at = now + POLL;
            self.queues.look_everywhere();
        }
        self.queues.note_time(self.shared.clock.wall());
        for passed in [&mut self.busy_until, &mut self.store_again_at] {
            passed.take_if(|until| *until <= now);
        }
    }

    /// Work on the store that follows from a receiver being back.
    async fn store_work(&mut self) {
        if self.store_again_at.is_some() {
            return;
        }
        if let Some(since) = self.to_bring_forward() {
            let (sink, now) = (self.identity.id, self.shared.clock.wall());
            let bring = move |spool: &mut Spool| spool.bring_forward(sink, since, now, BROUGHT_FORWARD_AT_ONCE);
            let brought = self.shared.store.write(bring).await;
            if let Some(rows) = self.noted(brought) {
                self.bringing_forward.take_if(|_| rows < BROUGHT_FORWARD_AT_ONCE);
                self.queues.expect_retry(now);
                self.queues.note_time(now);
            }
        }
        if self.recovered {
            let sink = self.identity.id;
            let counted = self.shared.store.read(move |spool| spool.waiting(sink)).await;
            if let Some(waiting) = self.noted(counted) {
                self.recovered = false;
                let waiting = waiting.fresh + waiting.retry;
                tracing::info!(sink.name = self.identity.name, sink.waiting = waiting, "the sink works again");
            }
        }
    }

    fn to_bring_forward(&self) -> Option<UnixMs> {
        self.bringing_forward.filter(|_| self.breaker.is_closed())
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
        if self.held.is_some() {
            return Allowance::Nothing { before: None };
        }
        if self.busy_until.is_some() {
            return Allowance::Nothing { before: self.busy_until };
        }
        match self.breaker.admission(self.now()) {
            Admission::All => Allowance::All,
            Admission::Probe => Allowance::Probe,
            Admission::NotBefore(next) => Allowance::Nothing { before: Some(next) },
            Admission::Probing => Allowance::Nothing { before: None },
        }
    }

    fn workers(&self) -> usize {
        self.identity.options.concurrency.max(1)
    }

    /// Asks the store. Returns whether it answered.
    async fn look(&mut self, chunk: Chunk) -> bool {
        if self.store_again_at.is_some() {
            return false;
        }
        let in_flight = self.in_flight.values().map(|delivery| delivery.seq).collect();
        let now = self.shared.clock.wall();
        let looked = self.queues.look(&self.shared.store, self.identity.id, now, chunk, in_flight).await;
        self.noted(looked).is_some()
    }

    /// Takes note of whether the store did what it was asked; while it does not, it is left alone for growing times.
    fn noted<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => {
                if self.store_failures > 0 {
                    self.store_failures = 0;
                    tracing::info!(sink.name = self.identity.name, "the state can be read again");
                }
                Some(value)
            }
            Err(error) => {
                self.store_failures = self.store_failures.saturating_add(1);
                if self.store_failures == 1 {
                    tracing::error!(sink.name = self.identity.name, error = %error, "waiting messages cannot be read");
                }
                self.store_again_at = Some(self.now() + STORE_TRIES.jittered(self.store_failures, &self.shared.jitter));
                None
            }
        }
    }

    /// Begins the delivery whose turn it is. Returns whether there was one.
    fn begin_next(&mut self, is_probe: bool) -> bool {
        let lane = lanes::next(self.queues.waiting(), self.under_way, self.workers(), self.last);
        let Some((lane, claim)) = lane.and_then(|lane| Some((lane, self.queues.take(lane)?))) else { return false };
        self.last.note(lane);
        if is_probe {
            self.breaker.probe_began();
        }
        self.begin(claim, lane, is_probe);
        true
    }

    fn begin(&mut self, claim: Claim, lane: lanes::Lane, is_probe: bool) {
        let Claim { seq, id, raw, attempts, first_attempt, .. } = claim;
        let Identity { id: sink, format, sink: to, .. } = &self.identity;
        let payload = if to.takes_lines() { format.line(&raw) } else { format.payload(raw) };
        let answered = Arc::new(AtomicBool::new(false));
        let journey = Journey {
            sink: *sink,
            seq,
            id: id.clone(),
            is_probe,
            attempts_before: attempts,
            first_attempt: first_attempt.unwrap_or_else(|| self.shared.clock.wall()),
            began: self.now(),
            retry: Arc::clone(&self.retry),
            jitter: Arc::clone(&self.shared.jitter),
            clock: self.shared.clock.clone(),
            settler: self.shared.settler.clone(),
            answered: Arc::clone(&answered),
        };
        // Begun here and not in the task, so that it is begun in this order.
        let attempting = to.begin(Outgoing { id, content_type: payload.content_type, body: payload.body });
        let abort = self.tasks.spawn(journey.travel(attempting));
        *self.under_way.get_mut(lane) += 1;
        self.in_flight.insert(abort.id(), InFlight { seq, lane, is_probe, answered, abort });
    }

    fn ended(&mut self, joined: Result<(Id, Report), JoinError>) {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(delivery) = self.in_flight.remove(&id) else { return };
        *self.under_way.get_mut(delivery.lane) -= 1;
        match joined {
            Ok((_, report)) => self.learn(report),
            Err(error) => {
                if delivery.is_probe {
                    self.breaker.probe_vanished();
                }
                if error.is_panic() {
                    // Not recorded, so it would be claimed again at once.
                    self.busy_until = Some(self.now() + breaker::LONGEST_WAIT);
                    tracing::error!(sink.name = self.identity.name, "a delivery ended in a panic: please report it");
                }
            }
        }
    }

    fn learn(&mut self, report: Report) {
        let now = self.now();
        self.tell_attempt(&report);
        match report.outcome {
            Some(Outcome::Retry { due, .. }) => self.queues.expect_retry(due),
            Some(Outcome::Dead { .. } | Outcome::Delivered { .. }) | None => {}
        }
        match report.finding {
            Finding::Works => {
                let failing_since = self.failing_since.take();
                if self.breaker.worked() {
                    // A message that failed before, when others were taken, keeps to its own schedule: a receiver that
                    // never takes it, but takes others, would get it again at each of them.
                    self.bringing_forward = [self.bringing_forward, failing_since].into_iter().flatten().min();
                }
                self.recovered |= self.health.worked();
            }
            Finding::Fails => self.failed(&report, now),
            Finding::Busy(wait) => {
                self.failed(&report, now);
                self.busy_until = self.busy_until.max(Some(now + wait));
            }
            Finding::Gone => {
                self.failed(&report, now);
                if self.held.is_none() {
                    self.held = Some(Held::Gone);
                    tracing::error!(
                        sink.name = self.identity.name,
                        "the receiver is gone (410): the sink is paused and keeps its messages; change its URL or \
                         remove it, or, if it is back, restart the relay"
                    );
                }
            }
            Finding::Closed => {
                if report.is_probe {
                    self.breaker.probe_vanished();
                }
                self.close();
            }
        }
    }

    fn failed(&mut self, report: &Report, now: Instant) {
        if let Some(Outcome::Retry { answer, .. } | Outcome::Dead { answer, .. }) = &report.outcome
            && self.health.failed(now)
        {
            tracing::warn!(
                sink.name = self.identity.name,
                reason = answer,
                "the sink fails: its messages are kept and tried again"
            );
        }
        let began = self.shared.clock.wall().before(report.took);
        self.failing_since = Some(self.failing_since.map_or(began, |earlier| earlier.min(began)));
        if self.breaker.failed(report.is_probe, now, &self.retry.schedule(), &self.shared.jitter) {
            tracing::info!(
                sink.name = self.identity.name,
                failures = breaker::STRAIGHT_FAILURES,
                "nothing gets through: one message at a time is tried until one does"
            );
        }
    }

    fn close(&mut self) {
        if self.held.replace(Held::Closed) == Some(Held::Closed) {
            return;
        }
        let name = &self.identity.name;
        if self.identity.alone {
            tracing::debug!(sink.name = name, "nobody reads the output any more");
        } else {
            tracing::error!(
                sink.name = name,
                "nobody reads the output any more: the sink is paused and keeps its messages until the relay is \
                 started again"
            );
        }
    }

    fn tell_attempt(&self, report: &Report) {
        let sink = &self.identity.name;
        let Report { id, attempts, took, .. } = report;
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        match &report.outcome {
            Some(Outcome::Delivered { status }) => {
                tracing::debug!(message.id = id, sink.name = sink, http.status = status, attempts, took_ms, "delivered")
            }
            Some(Outcome::Retry { due, status, answer }) => tracing::debug!(
                message.id = id,
                sink.name = sink,
                http.status = status,
                attempts,
                took_ms,
                answer,
                due = %due,
                "not delivered, to be tried again"
            ),
            Some(Outcome::Dead { reason, status, answer }) => tracing::error!(
                message.id = id,
                sink.name = sink,
                http.status = status,
                attempts,
                took_ms,
                reason = reason.as_str(),
                answer,
                "the message is a dead letter now"
            ),
            None => {}
        }
    }

    fn publish(&self) {
        let now = self.now();
        let wall = |at: Instant| self.shared.clock.wall().after(at.saturating_duration_since(now));
        let held = self.held.or_else(|| {
            if let Some(until) = self.busy_until {
                return Some(Held::Busy { until: wall(until) });
            }
            match self.breaker.admission(now) {
                Admission::All => None,
                Admission::Probe => Some(Held::Probing { next: Some(wall(now)) }),
                Admission::NotBefore(next) => Some(Held::Probing { next: Some(wall(next)) }),
                Admission::Probing => Some(Held::Probing { next: None }),
            }
        });
        let may_begin_more = match self.allowance() {
            Allowance::Nothing { .. } => false,
            Allowance::Probe | Allowance::All => self.queues.must_look() || self.queues.waiting() != PerLane::default(),
        };
        let idle = self.in_flight.is_empty() && !may_begin_more && self.to_bring_forward().is_none();
        let status = SinkStatus {
            name: self.identity.name.clone(),
            in_flight: self.in_flight.len(),
            failing: self.health.is_failing(),
            held,
        };
        let published = Published { status, idle_after: idle.then_some(self.seen_wake) };
        self.published.send_if_modified(|before| {
            let changed = *before != published;
            *before = published;
            changed
        });
    }

    fn next_turn(&self) -> Instant {
        let now = self.now();
        let mut next = self.poll_at;
        if self.store_again_at.is_none() && (self.to_bring_forward().is_some() || self.recovered) {
            return now;
        }
        if let Some(again) = self.store_again_at {
            next = next.min(again);
        }
        match self.allowance() {
            Allowance::Nothing { before } => next.min(before.unwrap_or(next)),
            Allowance::All | Allowance::Probe => {
                let due_in = |due: UnixMs| now + due.since(self.shared.clock.wall()).min(POLL);
                next.min(self.queues.next_due().map_or(next, due_in))
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

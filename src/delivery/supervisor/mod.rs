//! The loop of one sink. The loop begins deliveries in the order of their claims, as many at once as there are workers.
//!
//! The loop asks its parts what is to be done and passes values between them. Each part decides one thing and keeps the
//! values that it needs for the decision:
//!
//! | part | what it decides |
//! |---|---|
//! | [`wakeups`] | when to look into the store |
//! | [`store_retry`] | how long to leave a failing store alone |
//! | [`pauses`] | whether the sink is paused, and what people changed in the store |
//! | [`known_time`] | what is known of the time |
//! | [`backfill`] | which rows still have to be made before the sink is complete |
//! | [`expiry`] | which messages are too old |
//! | [`outage`] | what to tell of failures |
//! | [`bring_forward`] | which retries become due when an outage is over |
//! | [`dispatch`] | which delivery begins next, and which are under way |
//!
//! Invariants:
//! - A worker is free again only when the settlement of its delivery is on the disk. So after a crash no more messages
//!   are sent twice than there are workers.
//! - The loop turns only for a reason: a delivery that ended, a wake-up, a time that has come, or the slow poll. No
//!   reason puts off another: the slow poll comes every five seconds, however often the other reasons come.

mod backfill;
mod bring_forward;
mod dispatch;
mod expiry;
mod known_time;
mod orders;
mod outage;
mod pauses;
mod store_retry;
mod wakeups;

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout_at};

use self::backfill::{Backfill, BackfillStep};
use self::bring_forward::BringForward;
use self::dispatch::{DeliveryEnd, Dispatch};
use self::expiry::Expiry;
use self::known_time::KnownTime;
pub(super) use self::orders::{NewSettings, SinkOrder};
use self::outage::Outage;
use self::pauses::Pauses;
use self::store_retry::StoreRetry;
use self::wakeups::{SLOW_POLL, StoreReadReason, Wakeups};
use super::attempt::AttemptReport;
use super::breaker::{Admission, MAX_PROBE_INTERVAL};
use super::clock_reading::ClockReading;
use super::context::{Identity, Shared, SinkContext};
use super::health::{AttemptStart, SharedHealth, SinkHealth};
use super::lanes::PerLane;
use super::log_sentences as log;
use super::queues::{CLAIM_BATCH, PROBE_CLAIM, Queues};
use super::retry::HealthSignal;
use super::status::{BlockedBy, DeliveredMessages, Drained, Published, SinkStatus, shortened};
use super::throttle::Gate;
use crate::domain::{NumberUse, Outcome, PauseReason, UnixMs};
use crate::metrics::SinkMetrics;
use crate::store::{ClaimLimits, HealthRecord, Pause};
use crate::time::{Instant, Liveness};

/// After the grace of a stop is over, results that a receiver has sent but that are not on the disk get this much more
/// time to be recorded.
const LAST_SETTLEMENTS: Duration = Duration::from_secs(2);

/// The loop of one sink, with its parts.
pub(super) struct Supervisor {
    context: SinkContext,
    queues: Queues,
    wakeups: Wakeups,
    store: StoreRetry,
    pauses: Pauses,
    time: KnownTime,
    backfill: Backfill,
    expiry: Expiry,
    outage: Outage,
    bring_forward: BringForward,
    dispatch: Dispatch,
    delivered: DeliveredMessages,
    liveness: Liveness,
    published: watch::Sender<Published>,
    orders: mpsc::UnboundedReceiver<SinkOrder>,
    /// Whether the sink was removed from the configuration.
    is_retired: bool,
    /// Whether deliveries are under way that began before the sink kept the order of each number.
    has_unordered_in_flight: bool,
}

impl Supervisor {
    /// Makes the loop. `pause` is the pause that the store holds at the start. The receiver shows the values that the
    /// loop publishes after each turn.
    pub(super) fn new(
        shared: Shared,
        identity: Identity,
        pause: Option<Pause>,
        liveness: Liveness,
        orders: mpsc::UnboundedReceiver<SinkOrder>,
    ) -> (Self, watch::Receiver<Published>) {
        let now = ClockReading::now(&shared.clock);
        let health = SharedHealth::new(SinkHealth::restored(identity.registered.health, now));
        let context = SinkContext { shared, identity, health };
        let (published, receiver) = watch::channel(Published::at_start(context.name()));
        let options = &context.identity.options;
        let supervisor = Self {
            queues: Queues::new(options.order),
            wakeups: Wakeups::new(now.monotonic),
            store: StoreRetry::default(),
            pauses: Pauses::at_start(&context, pause),
            time: KnownTime::by(&context.shared.clock),
            backfill: Backfill::new(&context.identity.registered),
            expiry: Expiry::new(&context),
            outage: Outage::default(),
            bring_forward: BringForward::new(),
            dispatch: Dispatch::new(options, now.monotonic),
            delivered: DeliveredMessages::default(),
            liveness,
            published,
            orders,
            is_retired: false,
            has_unordered_in_flight: false,
            context,
        };
        (supervisor, receiver)
    }

    /// Delivers until the daemon stops.
    pub(super) async fn run(mut self) -> Drained {
        loop {
            self.liveness.tick();
            if self.context.shared.stopping.borrow_and_update().is_some() {
                return self.finish().await;
            }
            if self.follow_orders().is_break() {
                return Drained::default();
            }
            self.notice_changes();
            if !self.is_retired {
                self.work_on_store().await;
            }
            self.begin_attempts().await;
            self.publish();
            let next_turn = self.next_turn();
            tokio::select! {
                Some(end) = self.dispatch.next_end() => {
                    self.delivery_ended(&end);
                    while let Some(end) = self.dispatch.ended() {
                        self.delivery_ended(&end);
                    }
                }
                _ = self.context.shared.wake.changed() => {}
                Some(order) = self.orders.recv() => {
                    if self.follow(order).is_break() {
                        return Drained::default();
                    }
                }
                _ = self.context.shared.stopping.changed() => {}
                () = sleep_until(next_turn) => {}
            }
        }
    }

    /// Notices what has changed since the last turn: wake-ups, the time, and failures that are to be logged by now.
    fn notice_changes(&mut self) {
        // The wake-up is noted before the store is asked, so that no wake-up is missed in between.
        let wake = *self.context.shared.wake.borrow_and_update();
        let now = self.context.now();
        let look = self.wakeups.notice(wake, now.monotonic);
        if look == Some(StoreReadReason::SlowPoll) {
            self.pauses.ask_again();
        }
        if look.is_some() {
            self.queues.expect_claims_everywhere();
        }
        self.notice_time(now);
        self.queues.note_time(now.relay_time);
        if let Some(reason) = self.outage.overdue(now.monotonic) {
            log::sink_fails(self.context.name(), &reason);
        }
    }

    fn notice_time(&mut self, now: ClockReading) {
        let clock = &self.context.shared.clock;
        let Some(learned) = self.time.update(KnownTime::by(clock), clock.corrected_by()) else { return };
        if learned.corrected_by != 0 {
            self.context.health.lock().apply_correction(now);
            self.outage.time_corrected(learned.corrected_by);
            self.bring_forward.time_corrected();
        }
        self.expiry.time_learned();
        self.queues.give_back();
        self.queues.expect_claims_everywhere();
    }

    /// Does the work of the parts on the store. Claims are made elsewhere, since a claim needs a free worker.
    async fn work_on_store(&mut self) {
        let Self { context, store, queues, expiry, dispatch, .. } = self;
        let requests = self.pauses.step(store, context).await;
        if let Some(name) = requests.renamed {
            let was = std::mem::replace(&mut context.identity.name, name);
            log::sink_was_renamed(context.name(), &was);
        }
        if requests.is_resumed {
            // Whoever resumes the sink expects the sink to work. So everything learned of the receiver is forgotten,
            // and messages that failed are due now. Claims from before the pause are given back, because they do not
            // hold the length of the pause.
            *context.health.lock() = SinkHealth::restored(HealthRecord::default(), context.now());
            self.outage.resumed();
            self.bring_forward.resumed();
            queues.give_back();
            queues.expect_claims_everywhere();
            log::sink_was_resumed(context.name());
        }
        let filled = self.backfill.step(store, context).await;
        if filled.is_some() {
            queues.expect_claims_everywhere();
        }
        if filled == Some(BackfillStep::Finished) {
            expiry.check_everything();
        }
        if expiry.step(store, context, self.time, |seq| dispatch.is_under_way(seq)).await {
            queues.expect_claims_everywhere();
        }
        if let Some(due) = self.bring_forward.step(store, context).await {
            queues.expect_retry(due);
            queues.note_time(due);
        }
        self.outage.report_recovery(store, context).await;
    }

    /// Begins as many attempts as may begin now.
    async fn begin_attempts(&mut self) {
        match self.admission() {
            Some(Admission::All) => {
                while self.dispatch.has_free_worker() {
                    if self.queues.needs_claims() && !self.claim(CLAIM_BATCH).await {
                        return;
                    }
                    let mut begun = false;
                    while self.begin_next(false) {
                        begun = true;
                        if self.queues.needs_claims() {
                            break;
                        }
                    }
                    if !begun {
                        return;
                    }
                }
            }
            Some(Admission::Probe) => {
                if self.queues.needs_claims() && self.claim(PROBE_CLAIM).await {
                    self.begin_next(true);
                }
                self.queues.give_back();
            }
            Some(Admission::NotBefore(_) | Admission::Probing) | None => self.queues.give_back(),
        }
    }

    /// Returns which attempts may begin now; `None`: none until somebody resumes the sink, or until the store has all
    /// rows of the sink.
    fn admission(&self) -> Option<Admission> {
        // Where the order of each number is kept, no message may overtake a message whose row has no number yet.
        let is_incomplete = self.context.is_ordered() && (self.backfill.is_under_way() || self.has_unordered_in_flight);
        if self.is_retired || self.pauses.reason().is_some() || is_incomplete {
            return None;
        }
        let now = self.context.monotonic();
        let health = self.context.health.lock();
        Some(health.silence_until(now).map_or_else(|| health.admission(now), Admission::NotBefore))
    }

    /// Asks the store for messages to send. Returns whether the store answered.
    async fn claim(&mut self, chunk: ClaimLimits) -> bool {
        let Self { context, store, .. } = self;
        if store.waits_until(context.monotonic()).is_some() {
            return false;
        }
        let mut excluded = self.dispatch.excluded();
        excluded.seqs.extend(self.expiry.set_aside());
        let chunk = ClaimLimits { details: context.identity.format.number_use() != NumberUse::Ignored, ..chunk };
        let now = context.now().relay_time;
        let claimed = self.queues.claim(&context.shared.store, context.id(), now, chunk, excluded).await;
        store.note_read(context, claimed).is_some()
    }

    /// Begins the delivery whose turn it is, if a delivery may begin now. Returns whether a delivery began.
    fn begin_next(&mut self, is_probe: bool) -> bool {
        if self.gate() != Gate::Open || self.expiry.is_full(self.time) {
            return false;
        }
        let now = self.context.monotonic();
        let in_turn = self.context.health.lock().is_throttled(now);
        let message_time = self.context.shared.clock.latest_message_time();
        loop {
            let lane = self.dispatch.next_lane(self.queues.waiting(), is_probe, in_turn);
            let Some((lane, claim)) = lane.and_then(|lane| Some((lane, self.queues.take(lane)?))) else { return false };
            if self.expiry.sets_aside(&claim, message_time) {
                continue;
            }
            let start = AttemptStart { at: now, is_probe };
            self.dispatch.begin(&self.context, claim, lane, start, self.time.may_give_up());
            return true;
        }
    }

    /// Whether the pace that the receiver sets, and `requests_per_minute`, allow an attempt to begin.
    fn gate(&self) -> Gate {
        let now = self.context.monotonic();
        match (self.context.health.lock().gate(now), self.dispatch.paced_until(now)) {
            (Gate::Open, Some(paced)) => Gate::At(paced),
            (Gate::At(next), Some(paced)) => Gate::At(next.max(paced)),
            (gate, _) => gate,
        }
    }

    /// Handles the end of a delivery, whose worker is free now.
    fn delivery_ended(&mut self, end: &DeliveryEnd) {
        if self.context.is_ordered() {
            // The next message of the same number may go now.
            self.queues.expect_claims_everywhere();
        }
        self.has_unordered_in_flight &= self.dispatch.in_flight() > 0;
        match end {
            DeliveryEnd::Recorded(report) => self.learn(report),
            DeliveryEnd::CutOff(start) => self.context.health.lock().ended_without_signal(*start),
            DeliveryEnd::Panicked(start) => {
                let mut health = self.context.health.lock();
                health.ended_without_signal(*start);
                // Nothing is recorded of the attempt, so without a wait the message would be claimed again at once.
                health.begin_silence(self.context.now(), MAX_PROBE_INTERVAL);
                tracing::error!(sink.name = self.context.name(), "a delivery ended in a panic: please report it");
            }
        }
    }

    /// Passes what an attempt showed to the parts that need to know.
    fn learn(&mut self, report: &AttemptReport) {
        count(&self.context.identity.metrics, report);
        let name = self.context.name();
        if let Some(outcome) = &report.outcome {
            log::attempt(name, &report.id, report.attempts, report.took, outcome, self.context.fallback());
        }
        match report.outcome {
            Some(Outcome::Retry { due, .. }) => self.queues.expect_retry(due),
            Some(Outcome::Delivered { .. }) => self.delivered.count_one(self.context.now().relay_time),
            Some(Outcome::Dead { .. }) => self.context.wake_fallback(),
            None => {}
        }
        match report.signal {
            HealthSignal::Success => {
                self.bring_forward.attempt_succeeded(report.change.closed);
                self.outage.attempt_succeeded();
            }
            HealthSignal::Failure => self.learn_failure(report),
            HealthSignal::Refused(_) => {
                let now = self.context.now();
                self.outage.attempt_refused(report.failure(), now.relay_time);
                if let Some(silence) = report.change.throttled
                    && self.outage.reports_silence(now.monotonic)
                {
                    log::receiver_wants_silence(name, report.failure(), silence);
                }
            }
            HealthSignal::Gone => {
                self.learn_failure(report);
                if self.pauses.begin(PauseReason::Gone) {
                    let invocation = &self.context.shared.invocation;
                    log::receiver_is_gone(self.context.name(), invocation, report.status(), report.failure());
                }
            }
            HealthSignal::OutputClosed if self.context.is_alone() => {
                if self.pauses.output_closed() {
                    log::last_output_is_closed(name);
                }
            }
            HealthSignal::OutputClosed => {
                if self.pauses.begin(PauseReason::Closed) {
                    log::output_is_closed(name);
                }
            }
            HealthSignal::Neutral => {}
        }
    }

    fn learn_failure(&mut self, report: &AttemptReport) {
        let (name, now) = (self.context.name(), self.context.now());
        if let Some(reason) = self.outage.attempt_failed(report.failure(), now.relay_time, now.monotonic) {
            log::sink_fails(name, &reason);
        }
        self.bring_forward.attempt_failed(now.relay_time.before(report.took));
        if report.change.opened {
            log::nothing_gets_through(name);
        }
    }

    /// When the loop turns next, if nothing else happens before.
    fn next_turn(&self) -> Instant {
        let ClockReading { monotonic: now, relay_time } = self.context.now();
        let next = self.wakeups.poll_at();
        if self.is_retired {
            return next;
        }
        let next = self.outage.report_at().map_or(next, |tell_at| next.min(tell_at));
        let next = match self.store.waits_until(now) {
            Some(again_at) => next.min(again_at),
            None if self.has_store_work() || self.expiry.is_unfinished() || self.outage.is_recovery_unreported() => {
                return now;
            }
            None => next,
        };
        match self.admission() {
            None | Some(Admission::Probing) => next,
            Some(Admission::NotBefore(at)) => next.min(at),
            Some(Admission::All | Admission::Probe) => {
                let due_at = |due: UnixMs| now + due.since(relay_time).min(SLOW_POLL);
                let paced = match self.gate() {
                    Gate::At(at) if self.dispatch.has_free_worker() => at,
                    Gate::At(_) | Gate::Open | Gate::AfterTrial => next,
                };
                next.min(self.queues.next_due().map_or(next, due_at)).min(paced)
            }
        }
    }

    /// Whether there is work on the store that only has to wait until the store may be asked.
    fn has_store_work(&self) -> bool {
        self.bring_forward.pending(&self.context).is_some()
            || self.expiry.has_dead_letters(self.time)
            || self.backfill.is_under_way()
    }

    /// Publishes the state of the sink after this turn.
    fn publish(&self) {
        let now = self.context.now();
        let pause = self.pauses.reason();
        let (blocked_by, silence_until, learned_per_minute) = {
            let health = self.context.health.lock();
            let blocked_by = pause.map(BlockedBy::Pause).or_else(|| health.blocked_by(now));
            (blocked_by, health.silence_until(now.monotonic), health.learned_per_minute(now.monotonic))
        };
        let may_begin_more = matches!(self.admission(), Some(Admission::All | Admission::Probe))
            && !self.expiry.is_full(self.time)
            && (self.queues.needs_claims() || self.queues.waiting() != PerLane::default());
        // A command that delivers the due messages and then ends waits for a short silence, too.
        let is_silent_for_a_moment =
            pause.is_none() && silence_until.is_some_and(|until| until <= now.monotonic + SLOW_POLL);
        let is_idle =
            self.dispatch.in_flight() == 0 && !may_begin_more && !self.has_store_work() && !is_silent_for_a_moment;
        let status = SinkStatus {
            name: self.context.name().to_owned(),
            in_flight: self.dispatch.in_flight(),
            failing: self.outage.is_failing(),
            failing_since: self.outage.failing_since(),
            last_failure: self.outage.last_failure().map(shortened),
            delivered: self.delivered,
            blocked_by,
            learned_per_minute,
        };
        let idle_after = is_idle.then_some(self.wakeups.seen());
        let published = Published { status, idle_after, is_retired: self.is_retired };
        self.published.send_if_modified(|before| {
            let is_changed = *before != published;
            *before = published;
            is_changed
        });
    }

    /// Lets deliveries end until the deadline, and then cuts off the deliveries that have no answer. Deliveries that
    /// were answered get more time to be recorded.
    async fn finish(mut self) -> Drained {
        let deadline = (*self.context.shared.stopping.borrow()).unwrap_or_else(|| self.context.monotonic());
        self.queues.give_back();
        self.end_until(deadline).await;
        let cut_off = self.dispatch.cut_off_unanswered();
        let end = self.context.monotonic() + LAST_SETTLEMENTS;
        self.end_until(end).await;
        Drained { cut_off, unrecorded: self.dispatch.in_flight() }
    }

    async fn end_until(&mut self, deadline: Instant) {
        while let Ok(Some(end)) = timeout_at(deadline, self.dispatch.next_end()).await {
            self.liveness.tick();
            self.delivery_ended(&end);
        }
    }
}

/// Counts how an attempt ended.
fn count(metrics: &SinkMetrics, report: &AttemptReport) {
    if report.was_sent {
        metrics.attempt_took(report.took);
    }
    match (&report.outcome, report.signal) {
        (Some(Outcome::Delivered { .. }), _) => metrics.delivered(report.age),
        (Some(Outcome::Retry { .. }), HealthSignal::Refused(_)) => metrics.refused(),
        (Some(Outcome::Retry { .. }), _) => metrics.retried(),
        (Some(Outcome::Dead { .. }), _) => metrics.died(1),
        (None, _) => {}
    }
}

//! The loop of one sink. The loop begins the deliveries of each lane in the order of their claims, as many at once as
//! there are workers.
//!
//! The loop asks its parts what is to be done and passes values between them. Each part decides one thing and keeps the
//! values that it needs for the decision:
//!
//! | part | what it decides |
//! |---|---|
//! | [`wakeups`] | when to look into the store |
//! | [`store_retry`] | how long to leave a failing store alone |
//! | [`pauses`] | whether the sink is paused, and what operators changed in the store |
//! | [`known_time`] | what is known of the time and of the ages of messages |
//! | [`backfill`] | what is left to be written to the store for a new sink, or after `order` was changed |
//! | [`expiry`] | which messages are too old |
//! | [`outage`] | what the log and `status` say of failures |
//! | [`bring_forward`] | which retries become due when an outage is over |
//! | [`dispatch`] | which delivery begins next, and which are under way |
//!
//! This file has the loop itself and two of its steps: to notice changes, and to work on the store. The other steps
//! have files of their own: [`admission`] begins attempts, [`outcome`] handles the ends of attempts, [`next_turn`] says
//! when the loop turns again, [`publication`] publishes what the loop knows of its sink, [`orders`] follows a reload,
//! and [`shutdown`] ends the loop.
//!
//! Invariants:
//! - A worker is free again only when the settlement of its delivery is on the disk. So after a crash no more messages
//!   are sent twice than there are workers. (There may be more deliveries under way than workers for a moment, after a
//!   reload has lowered `concurrency`.)
//! - The loop turns only for a reason: a delivery that ended, a wake-up, an order, the stop signal, a time that has
//!   come, or the slow poll. Nothing puts off the slow poll: it looks into the store every five seconds, however often
//!   the loop turns for other reasons.

mod admission;
mod backfill;
mod bring_forward;
mod dispatch;
mod expiry;
mod known_time;
mod next_turn;
mod orders;
mod outage;
mod outcome;
mod pauses;
mod publication;
mod shutdown;
mod store_retry;
mod wakeups;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use self::backfill::{Backfill, BackfillStep};
use self::bring_forward::BringForward;
use self::dispatch::Dispatch;
use self::expiry::Expiry;
use self::known_time::KnownTime;
pub(super) use self::orders::{NewSettings, SinkOrder};
use self::outage::Outage;
use self::pauses::Pauses;
use self::store_retry::StoreRetry;
use self::wakeups::{StoreReadReason, Wakeups};
use super::clock_reading::ClockReading;
use super::context::{Identity, Shared, SinkContext};
use super::health::{SharedHealth, SinkHealth};
use super::log_sentences as log;
use super::queues::Queues;
use super::status::{DeliveredMessages, Drained, Published};
use crate::store::{HealthRecord, Pause};
use crate::time::Liveness;

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
    /// Whether deliveries are under way that began before a reload gave the sink `order = "number"`.
    has_unordered_in_flight: bool,
    /// By how many milliseconds the relay's time was corrected before the claims in `queues` were made.
    claims_corrected_by: i64,
}

impl Supervisor {
    /// Makes the loop. `pause` is the pause that the store has at the start. The `watch::Receiver` shows the values
    /// that the loop publishes after each turn.
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
            claims_corrected_by: 0,
            context,
        };
        (supervisor, receiver)
    }

    /// Delivers until the daemon stops, or until the sink is removed.
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

    /// Notices what has changed since the last turn: wake-ups and the time. Logs a failure whose log line was put off
    /// until now.
    fn notice_changes(&mut self) {
        // The wake-up is noted before the store is asked. So a wake-up that comes while the store answers leads to
        // another turn.
        let wake = *self.context.shared.wake.borrow_and_update();
        let now = self.context.now();
        let look = self.wakeups.notice(wake, now.monotonic);
        if look == Some(StoreReadReason::Everything) {
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

    /// Lets each part do its work on the store. Claims are not made here but in `begin_attempts`, because a claim needs
    /// a free worker.
    async fn work_on_store(&mut self) {
        let Self { context, store, queues, expiry, dispatch, .. } = self;
        let requests = self.pauses.step(store, context).await;
        if let Some(name) = requests.renamed {
            let was = std::mem::replace(&mut context.identity.name, name);
            log::sink_was_renamed(context.name(), &was);
        }
        if requests.is_resumed {
            // Whoever resumes the sink expects the sink to work. So everything learned of the receiver is forgotten,
            // and messages that failed are due now. Claims from before the end of the pause are given back: each claim
            // says how long its sink was paused (`Claim::paused`), and in these claims this pause is missing.
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
}

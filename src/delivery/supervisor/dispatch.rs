//! The workers of one sink: which delivery begins next, which deliveries are under way, and how each delivery ends.
//!
//! Invariants: unless a reload has lowered `concurrency`, there are never more deliveries under way than workers; a
//! worker is free again only when the result of its delivery is on the disk.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::delivery::attempt::{AttemptReport, AttemptTask, OWN_FAILURE};
use crate::delivery::breaker::MAX_PROBE_INTERVAL;
use crate::delivery::clock_reading::ClockReading;
use crate::delivery::context::{Identity, SinkContext};
use crate::delivery::health::AttemptStart;
use crate::delivery::lanes::{self, Lane, LaneSharing, LastServed, PerLane};
use crate::delivery::max_age;
use crate::delivery::outgoing::outgoing;
use crate::delivery::pace::Pace;
use crate::delivery::queues::Excluded;
use crate::delivery::settings::Options;
use crate::domain::{Seq, UnixMs};
use crate::formats::Unrenderable;
use crate::sinks::Outgoing;
use crate::store::Claim;
use crate::time::Instant;

/// The workers of one sink.
pub(super) struct Dispatch {
    workers: usize,
    /// The configured `requests_per_minute`.
    requests_per_minute: u32,
    tasks: JoinSet<AttemptReport>,
    in_flight: HashMap<Id, InFlight>,
    last_served: LastServed,
    /// The limit `requests_per_minute`; `None`: there is no limit.
    pace: Option<Pace>,
}

/// A delivery that was begun and whose result is not on the disk yet.
struct InFlight {
    seq: Seq,
    /// The key of the queue in which the message is (see [`Excluded::numbers`]); `None` if the sink does not keep the
    /// order of each number.
    number: Option<i64>,
    lane: Lane,
    start: AttemptStart,
    /// Set once the receiver has answered. From then on only the recording is left.
    answered: Arc<AtomicBool>,
    abort: AbortHandle,
}

/// How a delivery ended. The delivery's worker is free.
#[derive(Debug)]
pub(super) enum DeliveryEnd {
    /// The result of the delivery is on the disk.
    Recorded(AttemptReport),
    /// The task of the delivery was cut off.
    CutOff(AttemptStart),
    /// The task of the delivery ended in a panic, and nothing is recorded.
    Panicked(AttemptStart),
}

impl Dispatch {
    pub(super) fn new(options: &Options, now: Instant) -> Self {
        Self {
            workers: options.concurrency.max(1),
            requests_per_minute: options.requests_per_minute,
            tasks: JoinSet::new(),
            in_flight: HashMap::new(),
            last_served: LastServed::default(),
            pace: Pace::new(options.requests_per_minute, now),
        }
    }

    /// Follows new options. Deliveries under way go on, even if there are now more of them than workers.
    pub(super) fn follow(&mut self, options: &Options, now: Instant) {
        self.workers = options.concurrency.max(1);
        if std::mem::replace(&mut self.requests_per_minute, options.requests_per_minute) != options.requests_per_minute
        {
            self.pace = Pace::new(options.requests_per_minute, now);
        }
    }

    /// How many deliveries are under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn has_free_worker(&self) -> bool {
        self.in_flight.len() < self.workers
    }

    pub(super) fn is_under_way(&self, seq: Seq) -> bool {
        self.in_flight.values().any(|delivery| delivery.seq == seq)
    }

    /// Returns the messages that are under way, and the keys of the queues that have a delivery under way (see
    /// [`Excluded::numbers`]).
    pub(super) fn excluded(&self) -> Excluded {
        let mut excluded = Excluded::default();
        for delivery in self.in_flight.values() {
            excluded.seqs.insert(delivery.seq);
            excluded.numbers.extend(delivery.number);
        }
        excluded
    }

    /// Returns the instant until which `requests_per_minute` lets no attempt begin; `None`: an attempt may begin.
    pub(super) fn paced_until(&self, now: Instant) -> Option<Instant> {
        self.pace.as_ref().and_then(|pace| pace.wait_until(now))
    }

    /// Returns the lane that comes next, among the lanes in which messages are `waiting`. Only one probe may begin at a
    /// time, so the lane of a probe is chosen as if there were one worker.
    pub(super) fn next_lane(&self, waiting: PerLane<bool>, is_probe: bool, sharing: LaneSharing) -> Option<Lane> {
        let (under_way, workers) = match is_probe {
            true => (PerLane::default(), 1),
            false => (self.under_way(), self.workers),
        };
        let next = match sharing {
            LaneSharing::ByWorkers => lanes::next,
            LaneSharing::InTurn => lanes::next_in_turn,
            LaneSharing::NewFirst => lanes::next_new_first,
        };
        next(waiting, under_way, workers, self.last_served)
    }

    fn under_way(&self) -> PerLane<usize> {
        let mut under_way = PerLane::default();
        for delivery in self.in_flight.values() {
            *under_way.get_mut(delivery.lane) += 1;
        }
        under_way
    }

    /// Begins a delivery at `now`. `may_end`: whether the message may be given up because time has passed.
    pub(super) fn begin(
        &mut self,
        context: &SinkContext,
        claim: Claim,
        lane: Lane,
        now: ClockReading,
        is_probe: bool,
        may_end: bool,
    ) {
        let start = AttemptStart { at: now.monotonic, is_probe };
        let mut health = context.health.lock();
        if health.lane_sharing(start.at) != LaneSharing::NewFirst {
            self.last_served.note(lane);
        }
        health.began(start);
        drop(health);
        if let Some(pace) = &mut self.pace {
            pace.began(start.at);
        }
        let (seq, number) = (claim.seq, claim.number);
        let answered = Arc::new(AtomicBool::new(false));
        let (task, outgoing) = prepare(context, claim, now, start, may_end, Arc::clone(&answered));
        // The attempt begins here and not in its task, so that attempts begin in the order in which this function is
        // called.
        let begun = outgoing.map(|outgoing| context.identity.sink.begin(outgoing));
        let abort = self.tasks.spawn(task.run(begun, context.shared.settler.expect_settlement()));
        self.in_flight.insert(abort.id(), InFlight { seq, number, lane, start, answered, abort });
    }

    /// Waits until a delivery ends. `None`: no delivery is under way. If the future is dropped, no end of a delivery is
    /// lost.
    pub(super) async fn next_end(&mut self) -> Option<DeliveryEnd> {
        let joined = self.tasks.join_next_with_id().await?;
        self.end(joined)
    }

    /// Returns the end of a delivery that has already ended; `None`: no delivery has ended.
    pub(super) fn ended(&mut self) -> Option<DeliveryEnd> {
        let joined = self.tasks.try_join_next_with_id()?;
        self.end(joined)
    }

    fn end(&mut self, joined: Result<(Id, AttemptReport), JoinError>) -> Option<DeliveryEnd> {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let InFlight { start, .. } = self.in_flight.remove(&id)?;
        Some(match joined {
            Ok((_, report)) => DeliveryEnd::Recorded(report),
            Err(error) if error.is_panic() => DeliveryEnd::Panicked(start),
            Err(_) => DeliveryEnd::CutOff(start),
        })
    }

    /// Cuts off the deliveries that no receiver has answered yet. Returns their number.
    pub(super) fn cut_off_unanswered(&self) -> usize {
        let unanswered = self.in_flight.values().filter(|delivery| !delivery.answered.load(Ordering::Relaxed));
        unanswered.map(|delivery| delivery.abort.abort()).count()
    }
}

/// Makes the task of an attempt, and the payload to send. If the format cannot make a payload of the message, there is
/// nothing to send.
fn prepare(
    context: &SinkContext,
    claim: Claim,
    now: ClockReading,
    start: AttemptStart,
    may_end: bool,
    answered: Arc<AtomicBool>,
) -> (AttemptTask, Result<Outgoing, Unrenderable>) {
    let Claim { seq, id, raw, attempts, first_attempt, paused, received, replays, number_key, details, .. } = claim;
    let Identity { registered, options, format, mask, sink, .. } = &context.identity;
    let clock = &context.shared.clock;
    // If the sink keeps the order of each number, a message holds up the later messages of its number. So while nothing
    // gets through, a message waits at most for the longest wait between two probes.
    let is_capped = context.is_ordered() && context.health.lock().is_open_after_failure();
    let retry = if is_capped { options.retry.capped_at(MAX_PROBE_INTERVAL) } else { options.retry.clone() };
    let expires = max_age::expires(options.max_age, received, replays).map(|expires| {
        UnixMs(now.relay_time.0.saturating_add(expires.0).saturating_sub(clock.likely_message_time().0))
    });
    // The operator wrote the template, and the template runs in the loop of the sink. So a panic in the template is
    // caught: it fails this message, and the loop goes on.
    let make = || outgoing(format, mask.as_ref(), id.clone(), raw, details.as_deref(), sink.takes_lines());
    let outgoing = catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|_| Err(Unrenderable(OWN_FAILURE.to_owned())));
    let task = AttemptTask {
        sink: registered.id,
        seq,
        number_key,
        id,
        start,
        attempts_before: attempts,
        first_attempt: first_attempt.unwrap_or(now.relay_time),
        paused,
        expires: expires.filter(|_| may_end),
        received: (replays == 0).then_some(received),
        retry: if may_end { retry } else { retry.without_give_up() },
        corrected_by: now.corrected_by,
        jitter: Arc::clone(&context.shared.jitter),
        clock: clock.clone(),
        settler: context.shared.settler.clone(),
        health: context.health.clone(),
        answered,
    };
    (task, outgoing)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::delivery::after_attempt::HealthSignal;
    use crate::delivery::tests::{ACCEPTED, Receiver, World, options};
    use crate::domain::DeliveryClass;
    use crate::store::{ClaimLimits, Spool};

    const ALL: PerLane<bool> = PerLane { live: true, retry: true, backfill: true };

    /// A world with two messages, and a receiver that takes `takes` to accept a message.
    async fn world(takes: Duration) -> (World, SinkContext, Dispatch, Vec<Claim>) {
        let world = World::new();
        let receiver = Receiver::new(&world, move |_| (takes, ACCEPTED));
        world.register(&["crm"]).await;
        world.release(2, DeliveryClass::Live).await;
        let context = world.context(options(2), receiver).await;
        let (sink, chunk) = (context.id(), ClaimLimits { rows: 2, bytes: 1 << 20, details: false });
        let claim = move |spool: &Spool| spool.claim_fresh(sink, DeliveryClass::Live, chunk, &|_| false);
        let claims = context.shared.store.read(claim).await.unwrap();
        let dispatch = Dispatch::new(&context.identity.options, context.monotonic());
        (world, context, dispatch, claims)
    }

    fn begin(dispatch: &mut Dispatch, context: &SinkContext, claim: Claim) {
        dispatch.begin(context, claim, Lane::Live, context.now(), false, true);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_is_taken_until_the_result_is_on_the_disk() {
        let (_world, context, mut dispatch, claims) = world(Duration::from_millis(1)).await;
        assert!(dispatch.next_end().await.is_none(), "nothing is under way");
        for claim in claims {
            assert!(dispatch.has_free_worker());
            begin(&mut dispatch, &context, claim);
        }
        assert!(!dispatch.has_free_worker() && dispatch.is_under_way(Seq(1)) && !dispatch.is_under_way(Seq(3)));
        assert_eq!((dispatch.in_flight(), dispatch.excluded().seqs.len()), (2, 2));
        assert_eq!(dispatch.next_lane(ALL, false, LaneSharing::ByWorkers), None);
        let Some(DeliveryEnd::Recorded(report)) = dispatch.next_end().await else { panic!("nothing is recorded") };
        assert_eq!((report.signal, report.attempts), (HealthSignal::Success, 1));
        assert!(dispatch.has_free_worker());
        let (sink, seqs) = (context.id(), dispatch.excluded().seqs);
        let waiting = context.shared.store.read(move |spool| spool.waiting(sink)).await.unwrap();
        assert!(waiting.fresh < 2 && seqs.len() == 1, "{waiting:?} {seqs:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_is_chosen_as_if_there_were_one_worker() {
        let (_world, context, mut dispatch, mut claims) = world(Duration::from_millis(1)).await;
        assert_eq!(dispatch.next_lane(ALL, true, LaneSharing::ByWorkers), Some(Lane::Live));
        begin(&mut dispatch, &context, claims.remove(0));
        assert_eq!(dispatch.next_lane(ALL, true, LaneSharing::ByWorkers), Some(Lane::Retry), "lanes take turns");
        let only_live = PerLane { live: true, ..PerLane::default() };
        assert_eq!(dispatch.next_lane(only_live, false, LaneSharing::ByWorkers), Some(Lane::Live), "a worker is free");
    }

    #[tokio::test(start_paused = true)]
    async fn deliveries_without_an_answer_are_cut_off() {
        let (_world, context, mut dispatch, mut claims) = world(Duration::from_secs(3600)).await;
        begin(&mut dispatch, &context, claims.remove(0));
        assert!(dispatch.ended().is_none());
        assert_eq!(dispatch.cut_off_unanswered(), 1);
        assert!(matches!(dispatch.next_end().await, Some(DeliveryEnd::CutOff(_))));
        assert_eq!(dispatch.in_flight(), 0);
    }
}

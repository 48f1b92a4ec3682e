//! Brings the deliveries in the store in line with a new configuration, in two cases. If `order = "number"` is new for
//! a sink, each of its deliveries is put into a queue of the phone number that received the message. If a sink is new,
//! it gets the stored messages with which it begins (the key `start`).
//!
//! Each step is one small transaction, so that other writes do not wait long. The store records which work is left, so
//! the work goes on after a restart.

use super::store_retry::StoreRetry;
use crate::delivery::context::SinkContext;
use crate::delivery::log_sentences::NEW_SINK_IS_FILLED;
use crate::domain::Seq;
use crate::store::{BackfillPortion, RegisteredSink, Spool};

/// The number of deliveries that one transaction handles. The number is so small that other writes do not wait long.
const AT_ONCE: usize = 2000;

/// The work that is left for one sink.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backfill {
    /// All deliveries of messages up to this one are in the queues of their phone numbers. `None`: this is so for all
    /// messages.
    numbered_to: Option<Seq>,
    /// How many stored messages this process has given to the new sink so far; `None`: the sink needs no more of them.
    filled: Option<u64>,
}

/// What one step changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BackfillStep {
    /// One portion is done, and more messages may be claimed than before.
    PortionDone,
    /// The new sink has got the last of the messages with which it begins.
    Finished,
}

impl Backfill {
    pub(super) fn new(registered: &RegisteredSink) -> Self {
        Self {
            numbered_to: registered.needs_number_queues.then_some(Seq::default()),
            filled: registered.needs_backfill.then_some(0),
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.numbered_to.is_some() || self.filled.is_some()
    }

    /// Does one portion of the work. `None`: no work is left, or the store did not write the portion.
    pub(super) async fn step(&mut self, store: &mut StoreRetry, context: &SinkContext) -> Option<BackfillStep> {
        let sink = context.id();
        if let Some(after) = self.numbered_to {
            let number = move |spool: &mut Spool| spool.assign_number_queues(sink, after, AT_ONCE);
            self.numbered_to = store.write(context, number).await?;
            return Some(BackfillStep::PortionDone);
        }
        let before = self.filled?;
        let BackfillPortion { made, more } =
            store.write(context, move |spool: &mut Spool| spool.backfill(sink, AT_ONCE)).await?;
        let messages = before + made;
        if more {
            self.filled = Some(messages);
            return Some(BackfillStep::PortionDone);
        }
        self.filled = None;
        let start = &context.identity.options.start;
        tracing::info!(sink.name = context.name(), messages, start = %start, "{NEW_SINK_IS_FILLED}");
        Some(BackfillStep::Finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::tests::{Receiver, World, options};

    #[tokio::test(start_paused = true)]
    async fn deliveries_are_put_into_queues_before_a_new_sink_gets_its_messages() {
        let world = World::new();
        let context = world.context(options(1), Receiver::healthy(&world)).await;
        let registered =
            RegisteredSink { needs_number_queues: true, needs_backfill: true, ..context.identity.registered };
        let (mut backfill, mut store) = (Backfill::new(&registered), StoreRetry::default());
        for (step, is_under_way) in
            [(Some(BackfillStep::PortionDone), true), (Some(BackfillStep::Finished), false), (None, false)]
        {
            assert_eq!(backfill.step(&mut store, &context).await, step);
            assert_eq!(backfill.is_under_way(), is_under_way);
        }
    }
}

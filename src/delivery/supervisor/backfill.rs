//! Work that the store has left before the sink is as the configuration wants it: rows of a sink that keeps an order get
//! the queue of their number, and a new sink gets the stored messages that it begins with.
//!
//! Each step is one small transaction beside everything else. The store keeps what is left, so a restart goes on with it.

use super::store_retry::StoreRetry;
use crate::delivery::context::SinkContext;
use crate::delivery::log::NEW_SINK_IS_FILLED;
use crate::domain::Seq;
use crate::store::{Filled, Registered, Spool};

/// This many rows are handled in one transaction, so that nobody waits long for the writer.
const AT_ONCE: usize = 2000;

/// The work that is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backfill {
    /// Rows up to this one have their number; `None`: all rows have.
    numbered_to: Option<Seq>,
    /// The new sink has got this many messages so far; `None`: it has got them all.
    filled: Option<u64>,
}

/// What one step changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BackfillStep {
    /// One portion is done, and more messages may be claimed than before.
    PortionDone,
    /// The new sink has got the last of the messages that it begins with.
    Filled,
}

impl Backfill {
    pub(super) fn new(registered: &Registered) -> Self {
        Self {
            numbered_to: registered.lacks_numbers.then_some(Seq::default()),
            filled: registered.lacks_messages.then_some(0),
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.numbered_to.is_some() || self.filled.is_some()
    }

    /// Does a portion of the work. `None`: no work is left, or the store did not take it.
    pub(super) async fn step(&mut self, store: &mut StoreRetry, context: &SinkContext) -> Option<BackfillStep> {
        let sink = context.id();
        if let Some(after) = self.numbered_to {
            let number = move |spool: &mut Spool| spool.number_rows(sink, after, AT_ONCE);
            self.numbered_to = store.write(context, number).await?;
            return Some(BackfillStep::PortionDone);
        }
        let before = self.filled?;
        let Filled { made, more } = store.write(context, move |spool: &mut Spool| spool.fill(sink, AT_ONCE)).await?;
        let messages = before + made;
        if more {
            self.filled = Some(messages);
            return Some(BackfillStep::PortionDone);
        }
        self.filled = None;
        let start = &context.identity.options.start;
        tracing::info!(sink.name = context.name(), messages, start = %start, "{NEW_SINK_IS_FILLED}");
        Some(BackfillStep::Filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::tests::{Receiver, World, options};

    #[tokio::test(start_paused = true)]
    async fn rows_get_their_numbers_before_the_sink_gets_its_messages() {
        let world = World::new();
        let context = world.context(options(1), Receiver::healthy(&world)).await;
        let registered = Registered { lacks_numbers: true, lacks_messages: true, ..context.identity.registered };
        let (mut backfill, mut store) = (Backfill::new(&registered), StoreRetry::default());
        for (step, is_under_way) in
            [(Some(BackfillStep::PortionDone), true), (Some(BackfillStep::Filled), false), (None, false)]
        {
            assert_eq!(backfill.step(&mut store, &context).await, step);
            assert_eq!(backfill.is_under_way(), is_under_way);
        }
    }
}

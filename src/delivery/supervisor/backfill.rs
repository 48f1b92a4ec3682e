//! What the store has to do before a sink is as the configuration has it, in small steps beside everything else: rows of a
//! sink that keeps an order get their numbers, and a new sink gets the messages that it begins with.

use super::Supervisor;
use crate::domain::Seq;
use crate::store::{Filled, Registered, Spool};

/// So many rows in one transaction, so that nobody waits long for the writer.
const AT_ONCE: usize = 2000;

/// What is left to do. It is written down, so a restart goes on with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Preparing {
    /// Rows up to here have their number.
    numbering: Option<Seq>,
    /// So many messages were given to the new sink.
    filling: Option<u64>,
}

impl Preparing {
    pub(super) fn new(registered: &Registered) -> Self {
        Self {
            numbering: registered.lacks_numbers.then_some(Seq::default()),
            filling: registered.lacks_messages.then_some(0),
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.numbering.is_some() || self.filling.is_some()
    }
}

impl Supervisor {
    /// One step.
    pub(super) async fn prepare(&mut self) {
        let sink = self.identity.registered.id;
        if let Some(after) = self.preparing.numbering {
            let step = move |spool: &mut Spool| spool.number_rows(sink, after, AT_ONCE);
            let stepped = self.shared.store.write(step).await;
            if let Some(next) = self.noted(stepped) {
                self.preparing.numbering = next;
                self.queues.look_everywhere();
            }
            return;
        }
        let Some(before) = self.preparing.filling else { return };
        let stepped = self.shared.store.write(move |spool: &mut Spool| spool.fill(sink, AT_ONCE)).await;
        let Some(Filled { made, more }) = self.noted(stepped) else { return };
        let given = before + made;
        self.preparing.filling = more.then_some(given);
        self.queues.look_everywhere();
        if !more {
            // Some of them may be too old for this sink.
            if let Some(expiry) = &mut self.expiry {
                expiry.look_at_everything();
            }
            tracing::info!(
                sink.name = self.identity.name,
                messages = given,
                start = %self.identity.options.start,
                "the new sink has got the retained messages that it begins with"
            );
        }
    }
}

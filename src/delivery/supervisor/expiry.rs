//! What is too old becomes a dead letter, whatever the receiver does.

use super::Supervisor;
use crate::delivery::expiry;
use crate::domain::{DeadReason, Seq};
use crate::store::{Claim, Expired, Spool};

/// So many are looked at, and written, in one transaction; more than there can be under way.
pub(super) const AT_ONCE: usize = 500;

impl Supervisor {
    pub(super) fn is_too_old(&self, claim: &Claim) -> bool {
        let expires = expiry::expires(self.identity.options.max_age, claim.received, claim.replays);
        expires.is_some_and(|expires| expires <= self.shared.clock.latest_message_time())
    }

    /// Writes down what was found to be too old, and looks for more; once it is known how old messages are.
    pub(super) async fn let_age(&mut self) {
        if self.has_expired() {
            let found = self.too_old.clone();
            if self.expire(found).await {
                self.too_old.clear();
                // It was the first of its lane, or of its number.
                self.queues.look_everywhere();
            }
        }
        let (sink, now) = (self.identity.registered.id, self.now());
        let Some(messages_now) = self.shared.clock.message_time().filter(|_| self.time.ages) else { return };
        let Some(sweep) = self.expiry.as_ref().and_then(|expiry| expiry.due(now, messages_now)) else { return };
        if self.store_again_at.is_some() {
            return;
        }
        let looked = self.shared.store.read(move |spool| spool.too_old(sink, &sweep, AT_ONCE)).await;
        let Some(found) = self.noted(looked) else { return };
        // What is under way ends as it ends; a failure of it is the last.
        let waiting = |seq: &Seq| !self.in_flight.values().any(|delivery| delivery.seq == *seq);
        let waiting: Vec<Seq> = found.rows.into_iter().filter(waiting).collect();
        let any = !waiting.is_empty();
        let done = !any || self.expire(waiting).await;
        if any && done {
            self.queues.look_everywhere();
        }
        match &mut self.expiry {
            Some(expiry) if done && found.complete => expiry.looked(sweep, found.released, now),
            Some(expiry) => expiry.found_more(),
            None => {}
        }
    }

    async fn expire(&mut self, rows: Vec<Seq>) -> bool {
        let (sink, now) = (self.identity.registered.id, self.shared.clock.relay_time());
        let written = self.shared.store.write(move |spool: &mut Spool| spool.expire(sink, &rows, now)).await;
        let Some(expired) = self.noted(written) else { return false };
        for Expired { id, attempts, answer } in expired {
            tracing::error!(
                message.id = id,
                sink.name = self.identity.name,
                attempts,
                reason = DeadReason::Expired.as_str(),
                answer,
                "the message is a dead letter now"
            );
        }
        true
    }
}

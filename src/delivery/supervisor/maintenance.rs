//! What a sink's loop asks of the store, and how it takes a refusal.

use std::sync::Arc;
use std::time::Duration;

use super::Supervisor;
use crate::delivery::queues::Taken;
use crate::domain::{NumberUse, UnixMs};
use crate::store::{Chunk, Error, Spool};
use crate::time::backoff::Schedule;

/// Waits after the store could not be read.
const TRIES: Schedule = Schedule { initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(60) };

/// So many retries are made due in one transaction when a receiver is back.
const BROUGHT_FORWARD_AT_ONCE: usize = 1000;

impl Supervisor {
    /// Work on the store beside claims: pauses, what waits is put in its place or is too old, and what follows from a
    /// receiver being back.
    pub(super) async fn store_work(&mut self) {
        if self.store_again_at.is_some() {
            return;
        }
        self.write_and_ask_pause().await;
        self.prepare().await;
        self.let_age().await;
        if let Some(since) = self.to_bring_forward() {
            let (sink, now) = (self.identity.registered.id, self.shared.clock.relay_time());
            let bring = move |spool: &mut Spool| spool.bring_forward(sink, since, now, BROUGHT_FORWARD_AT_ONCE);
            let brought = self.shared.store.write(bring).await;
            if let Some(rows) = self.noted(brought) {
                self.bringing_forward.take_if(|_| rows < BROUGHT_FORWARD_AT_ONCE);
                self.queues.expect_retry(now);
                self.queues.note_time(now);
            }
        }
        if self.recovered {
            let sink = self.identity.registered.id;
            let counted = self.shared.store.read(move |spool| spool.waiting(sink)).await;
            if let Some(waiting) = self.noted(counted) {
                self.recovered = false;
                let waiting = waiting.fresh + waiting.retry;
                tracing::info!(sink.name = self.identity.name, sink.waiting = waiting, "the sink works again");
            }
        }
    }

    pub(super) fn to_bring_forward(&self) -> Option<UnixMs> {
        self.bringing_forward.filter(|_| self.standing.lock().is_closed())
    }

    /// Asks the store. Returns whether it answered.
    pub(super) async fn look(&mut self, chunk: Chunk) -> bool {
        if self.store_again_at.is_some() {
            return false;
        }
        let mut taken = Taken::default();
        for delivery in self.in_flight.values() {
            taken.seqs.insert(delivery.seq);
            taken.numbers.extend(delivery.number);
        }
        taken.seqs.extend(&self.too_old);
        let now = self.shared.clock.relay_time();
        let chunk = Chunk { details: self.identity.format.number_use() != NumberUse::Ignored, ..chunk };
        let looked = self.queues.look(&self.shared.store, self.identity.registered.id, now, chunk, taken).await;
        self.noted(looked).is_some()
    }

    /// Takes note of whether the store did what it was asked; while it does not, it is left alone for growing times.
    pub(super) fn noted<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => {
                if self.store_failures > 0 {
                    self.store_failures = 0;
                    tracing::info!(sink.name = self.identity.name, "the state can be read again");
                }
                Some(value)
            }
            Err(error) if !error.is_passing() => {
                // Whoever runs all this ends it; until then nothing is read any more.
                self.store_again_at = Some(self.now() + TRIES.max);
                self.shared.damage.send_replace(Some(Arc::new(error)));
                None
            }
            Err(error) => {
                self.store_failures = self.store_failures.saturating_add(1);
                if self.store_failures == 1 {
                    tracing::error!(sink.name = self.identity.name, error = %error, "waiting messages cannot be read");
                }
                self.store_again_at = Some(self.now() + TRIES.jittered(self.store_failures, &self.shared.jitter));
                None
            }
        }
    }
}

//! Runs the reads and writes that a sink's loop asks of the store, and waits for a while after an error.
//!
//! Invariants: after an error the store is not asked until the wait is over; the waits grow with each error in a row.
//! After a failed write only a successful write ends the series of errors, because on a full disk reads still succeed.

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::context::SinkContext;
use crate::delivery::log_sentences::{STORE_CAN_BE_READ, STORE_CANNOT_BE_READ};
use crate::store::{Error, Spool};
use crate::time::Instant;
use crate::time::backoff::{Jitter, Schedule};

/// The waits after errors of the store.
const WAITS: Schedule = Schedule { initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(60) };

/// Counts the errors of the store in a row, and keeps the end of the wait after the last error.
#[derive(Debug, Default)]
pub(super) struct StoreRetry {
    failures: u32,
    /// Whether at least one of these failures was a failed write.
    writes_fail: bool,
    again_at: Option<Instant>,
}

/// The kind of work that the store was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

impl StoreRetry {
    /// Returns the instant until which the store is left alone; `None`: the store may be asked now.
    pub(super) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.again_at.filter(|at| *at > now)
    }

    /// Runs a function that reads the store. `None`: the store failed, or is left alone for now.
    pub(super) async fn read<T: Send + 'static>(
        &mut self,
        context: &SinkContext,
        work: impl FnOnce(&Spool) -> Result<T, Error> + Send + 'static,
    ) -> Option<T> {
        if self.waits_until(context.monotonic()).is_some() {
            return None;
        }
        let result = context.shared.store.read(work).await;
        self.note(context, Access::Read, result)
    }

    /// Runs a function that writes to the store. `None`: the store failed, or is left alone for now.
    pub(super) async fn write<T: Send + 'static>(
        &mut self,
        context: &SinkContext,
        work: impl FnOnce(&mut Spool) -> Result<T, Error> + Send + 'static,
    ) -> Option<T> {
        if self.waits_until(context.monotonic()).is_some() {
            return None;
        }
        let result = context.shared.store.write(work).await;
        self.note(context, Access::Write, result)
    }

    /// Notes the result of a read of the store that was made elsewhere.
    pub(super) fn note_read<T>(&mut self, context: &SinkContext, result: Result<T, Error>) -> Option<T> {
        self.note(context, Access::Read, result)
    }

    /// Notes the result of an access to the store, and logs the first error and the first success after errors. If the
    /// state is damaged, the error goes to `Shared::damage`, and the process ends.
    fn note<T>(&mut self, context: &SinkContext, access: Access, result: Result<T, Error>) -> Option<T> {
        let (now, name) = (context.monotonic(), context.name());
        match result {
            Ok(value) => {
                if self.worked(access) {
                    tracing::info!(sink.name = name, "{STORE_CAN_BE_READ}");
                }
                Some(value)
            }
            Err(error) if error.is_passing() => {
                if self.failed(access, now, &context.shared.jitter) {
                    tracing::error!(sink.name = name, error = %error, "{STORE_CANNOT_BE_READ}");
                }
                None
            }
            Err(error) => {
                self.damaged(now);
                context.shared.damage.send_replace(Some(Arc::new(error)));
                None
            }
        }
    }

    /// Notes that the store answered. Returns whether the answer ends a series of failures.
    fn worked(&mut self, access: Access) -> bool {
        if self.writes_fail && access == Access::Read {
            return false;
        }
        self.writes_fail = false;
        std::mem::take(&mut self.failures) > 0
    }

    /// Notes that the store failed. Returns whether this is the first failure in a row.
    fn failed(&mut self, access: Access, now: Instant, jitter: &Jitter) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.writes_fail |= access == Access::Write;
        self.again_at = Some(now + WAITS.jittered(self.failures, jitter));
        self.failures == 1
    }

    /// Notes that the state is damaged. The process is about to end, and until then the store is left alone.
    fn damaged(&mut self, now: Instant) {
        self.again_at = Some(now + WAITS.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    #[tokio::test]
    async fn waits_grow_until_the_store_answers_and_each_change_is_reported_once() {
        let mut now = Clock::starting_at(UnixMs(0)).monotonic();
        let (mut retry, jitter) = (StoreRetry::default(), Jitter::seeded(1));
        assert!(!retry.worked(Access::Write), "nothing had failed");
        let mut waits = Vec::new();
        for failure in 1..=8 {
            assert_eq!(retry.waits_until(now), None);
            assert_eq!(retry.failed(Access::Read, now, &jitter), failure == 1);
            let until = retry.waits_until(now).unwrap();
            waits.push((until - now).as_secs_f64());
            now = until;
        }
        for (wait, least) in waits.into_iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 54.0, 54.0]) {
            assert!(wait >= least && wait <= f64::min(least * 1.12, 60.0), "{wait} s instead of {least} s");
        }
        assert!(retry.worked(Access::Read));
        assert!(!retry.worked(Access::Read));
        assert!(retry.failed(Access::Read, now, &jitter), "this error begins a new series");
        assert!((retry.waits_until(now).unwrap() - now).as_secs_f64() < 1.2);
    }

    #[tokio::test]
    async fn a_read_does_not_end_a_series_of_failed_writes() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let (mut retry, jitter) = (StoreRetry::default(), Jitter::seeded(1));
        assert!(retry.failed(Access::Write, now, &jitter));
        assert!(!retry.worked(Access::Read));
        assert!(!retry.failed(Access::Write, now, &jitter), "the second in a row");
        assert!(retry.worked(Access::Write));
        assert!(retry.failed(Access::Read, now, &jitter));
        assert!(retry.worked(Access::Write), "a store that takes writes answers reads, too");
    }

    #[tokio::test]
    async fn a_damaged_store_is_left_alone() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut retry = StoreRetry::default();
        retry.damaged(now);
        assert_eq!(retry.waits_until(now), Some(now + WAITS.max));
        assert!(!retry.worked(Access::Write), "damage is no failure that passes");
    }
}

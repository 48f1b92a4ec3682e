//! The observations of a test: the log of requests, the totals of the log, and waiting for a condition.
//!
//! Invariant: a waiting call checks its condition after every request and every change by a handle, and always has a
//! time limit. A message of the stream that becomes due wakes no waiting call.

use std::sync::PoisonError;
use std::time::Duration;

use crate::account::request_log::{Counters, LoggedRequest};
use crate::account::state::State;
use crate::clock::Timer;
use crate::control::handle::Handle;

/// The error for a condition that did not become true within the time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

impl std::fmt::Display for TimedOut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("what was waited for did not come true in time")
    }
}

impl std::error::Error for TimedOut {}

/// # Observations
impl Handle {
    /// Returns all logged requests.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.requests_after(0)
    }

    /// Returns the logged requests with a number above this one.
    pub fn requests_after(&self, number: u64) -> Vec<LoggedRequest> {
        self.shared.look(|state, _| state.log.after(number).cloned().collect())
    }

    /// Returns the totals.
    pub fn counters(&self) -> Counters {
        self.shared.look(|state, _| state.log.counters.clone())
    }

    /// Returns the greatest number of logged requests that arrived within one stretch of this length. The end of a
    /// stretch does not belong to it: if two requests are exactly this length apart, no stretch contains both.
    pub fn max_requests_in_any(&self, length: Duration) -> usize {
        self.shared.look(|state, _| state.log.most_within(length))
    }

    /// Forgets the log and the totals.
    pub fn clear_requests(&self) {
        self.shared.with(|state, _| state.log.clear());
    }

    /// Waits until a condition holds. The condition is checked after every request and every change by a handle.
    ///
    /// # Errors
    /// An error if the condition does not hold within the time limit, which is real time.
    pub async fn wait_until(&self, limit: Duration, mut condition: impl FnMut(&Self) -> bool) -> Result<(), TimedOut> {
        let mut version = self.shared.version.subscribe();
        let wait = async {
            while !condition(self) {
                if version.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(limit, wait).await.map_err(|_| TimedOut)
    }

    /// Waits as [`Handle::wait_until`] does, for code that is not asynchronous.
    ///
    /// # Errors
    /// An error if the condition does not hold within the time limit, which is real time.
    pub fn wait_until_blocking(
        &self,
        limit: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<(), TimedOut> {
        let deadline = Timer::deadline(limit);
        loop {
            let seen = *self.shared.version.borrow();
            if condition(self) {
                return Ok(());
            }
            let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            let left = deadline();
            if left.is_zero() {
                return Err(TimedOut);
            }
            // A change between the check and the lock has raised the version, so the wait ends at once.
            let unchanged = |_: &mut State| *self.shared.version.borrow() == seen;
            let waited = self.shared.changed.wait_timeout_while(state, left, unchanged);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }
}

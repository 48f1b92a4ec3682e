//! Feeds the watchdog of the service manager as long as all loops of the relay go round. A loop goes round at least
//! every 5 seconds, also while the API or a receiver is down. So systemd restarts a relay that is stuck, but not a
//! relay that waits.
//!
//! Invariant: the watchdog has a thread of its own, which never waits for a disk or for another thread, only for time.
//! A disk that does not answer can hold up all other threads. This thread still reports the standstill, and stops
//! feeding the watchdog when the standstill has lasted for [`STANDSTILL`].

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;

use super::service;
use crate::status::{LoopProgress, STANDSTILL};
use crate::time::{Clock, Instant};

/// The time between two looks at the loops, unless the service manager's time limit needs a shorter time.
const PULSE: Duration = Duration::from_secs(5);

/// If a look at the loops comes later than planned by more than this time, the process was probably suspended.
const SUSPENDED: Duration = Duration::from_secs(5);

/// The watchdog's thread, which ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Watchdog(Arc<WatchdogOrders>);

/// The main loop's order to the thread.
#[derive(Debug, Default)]
struct WatchdogOrders {
    order: Mutex<WatchdogOrder>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum WatchdogOrder {
    /// Do not feed the watchdog yet: the service manager must first learn that the relay runs.
    #[default]
    Wait,
    Feed,
    End,
}

impl WatchdogOrders {
    fn lock(&self) -> MutexGuard<'_, WatchdogOrder> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watchdog {
    /// Starts the thread, which watches the loops of `progress`.
    ///
    /// # Errors
    /// The error of the operating system, if it makes no thread.
    pub(super) fn start(clock: &Clock, progress: &LoopProgress) -> io::Result<Self> {
        let orders = Arc::<WatchdogOrders>::default();
        let (seen, clock, progress) = (Arc::clone(&orders), clock.clone(), progress.clone());
        thread::Builder::new().name("watchdog".to_owned()).spawn(move || watch(&seen, &clock, &progress))?;
        Ok(Self(orders))
    }

    /// Lets the thread feed the watchdog if `is_ready`: if the service manager knows that the relay runs.
    pub(super) fn feed(&self, is_ready: bool) {
        *self.0.lock() = if is_ready { WatchdogOrder::Feed } else { WatchdogOrder::Wait };
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.0.lock() = WatchdogOrder::End;
        self.0.changed.notify_all();
    }
}

/// The work of the thread.
fn watch(orders: &WatchdogOrders, clock: &Clock, progress: &LoopProgress) {
    let limit = sd_notify::watchdog_enabled();
    let interval = limit.map_or(PULSE, |limit| (limit / 3).min(PULSE)).max(Duration::from_millis(10));
    let mut standstill = Standstill::new(clock.monotonic());
    let mut order = orders.lock();
    while *order != WatchdogOrder::End {
        let is_fed = limit.is_some() && *order == WatchdogOrder::Feed;
        drop(order);
        if !standstill.look(progress.longest_stall(), clock.monotonic()) && is_fed {
            // If the manager cannot be reached, the part that sends the status reports this once.
            service::send(&[NotifyState::Watchdog]).ok();
        }
        let goes_on = |order: &mut WatchdogOrder| *order != WatchdogOrder::End;
        let waited = orders.changed.wait_timeout_while(orders.lock(), interval, goes_on);
        order = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Decides whether a loop of the relay stands still.
#[derive(Debug)]
struct Standstill {
    stood_still: bool,
    last_look: Instant,
    /// The process has not been suspended since this instant, as far as it knows.
    awake_since: Instant,
}

impl Standstill {
    fn new(now: Instant) -> Self {
        Self { stood_still: false, last_look: now, awake_since: now }
    }

    /// Returns whether a loop stands still, and logs the beginning of a standstill. `longest_stall`: how long ago the
    /// slowest loop last went round.
    fn look(&mut self, longest_stall: Duration, now: Instant) -> bool {
        self.awake_since = awake_since(self.awake_since, now.saturating_duration_since(self.last_look), now);
        self.last_look = now;
        // While the process was suspended, no loop could go round. So only the time after the suspension counts.
        let stands_still = longest_stall.min(now.saturating_duration_since(self.awake_since)) > STANDSTILL;
        if stands_still && !self.stood_still {
            tracing::error!(seconds = longest_stall.as_secs(), "a loop of the relay stands still; is the disk stuck?");
        }
        self.stood_still = stands_still;
        stands_still
    }
}

/// Returns the instant since which the process was not suspended (by SIGSTOP or a frozen control group). `before` is
/// the answer at the last look. A running process looks at the loops every few seconds. So if the last look was much
/// longer ago (`since_last_look`), the process was suspended until now.
fn awake_since(before: Instant, since_last_look: Duration, now: Instant) -> Instant {
    if since_last_look > PULSE + SUSPENDED { now } else { before }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;

    const TURN: Duration = Duration::from_secs(5);

    /// For each pair `(wait, longest_stall)`: waits for the time `wait`, and then looks at the loops as if the slowest
    /// of them last went round `longest_stall` ago. Returns for each look whether it saw a standstill.
    fn standstills(looks: &[(Duration, Duration)]) -> Vec<bool> {
        let mut now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut standstill = Standstill::new(now);
        let mut look = |&(wait, longest_stall): &(Duration, Duration)| {
            now += wait;
            standstill.look(longest_stall, now)
        };
        looks.iter().map(&mut look).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_does_not_go_round_stands_still() {
        let pulses: Vec<_> = (1..=6).map(|count| (TURN, TURN * count)).collect();
        assert_eq!(standstills(&pulses), [false, false, false, false, true, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_was_suspended_does_not_stand_still() {
        let minute = Duration::from_secs(60);
        let slept = [(minute, minute), (Duration::ZERO, minute), (TURN, Duration::ZERO), (minute, minute + TURN)];
        assert_eq!(standstills(&slept), [false; 4]);
        // The process was suspended for a minute. A loop stands still if it does not go round after that.
        let pulses: Vec<_> =
            (0..=5).map(|count| (if count == 0 { minute } else { TURN }, minute + TURN * count)).collect();
        assert_eq!(standstills(&pulses), [false, false, false, false, false, true]);
    }
}

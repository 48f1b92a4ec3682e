//! Waits for a condition, with a deadline.

use std::time::{Duration, Instant};

/// The longest wait of a test. No step takes this long unless it hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until a condition holds. If it does not hold within [`DEADLINE`], the test fails and shows the log.
pub(crate) fn wait_until(what: &str, condition: impl FnMut() -> bool, log: impl Fn() -> String) {
    wait_within(DEADLINE, what, condition, log);
}

/// Waits until there is a value, as [`wait_until`] waits for a condition.
pub(crate) fn wait_for_value<T>(what: &str, mut value: impl FnMut() -> Option<T>, log: impl Fn() -> String) -> T {
    let mut found = None;
    wait_until(
        what,
        || {
            found = value();
            found.is_some()
        },
        log,
    );
    found.unwrap()
}

/// Waits with a limit of its own, for conditions that take longer by their nature. Returns how long the wait took.
pub(crate) fn wait_within(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
    log: impl Fn() -> String,
) -> Duration {
    let began = now();
    let deadline = began + limit;
    while !condition() {
        assert!(now() < deadline, "{what} did not come; the log:\n{}", log());
        std::thread::park_timeout(Duration::from_millis(5));
    }
    now() - began
}

/// Returns the present instant, for deadlines and measurements of tests.
#[expect(clippy::disallowed_methods, reason = "a deadline of a test")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

//! Wall and monotonic time behind one type.
//!
//! Invariant: within a process [`Clock::wall`] never goes back, and between two readings it passes at least as fast as
//! monotonic time. So a due time that was computed in this process comes, whatever is done to the system's clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::domain::{UnixMs, whole_ms};

/// Tells the time. Cheap to clone; clones agree.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    last: Arc<Mutex<Reading>>,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    System,
    /// Follows tokio's clock alone, so that paused time drives both.
    Tokio,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    wall: UnixMs,
    at: Instant,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::new(Source::System, system_wall())
    }

    /// A clock that stands at `start` now and moves with tokio's time only: for paused time.
    pub fn starting_at(start: UnixMs) -> Self {
        Self::new(Source::Tokio, start)
    }

    fn new(source: Source, wall: UnixMs) -> Self {
        Self { source, last: Arc::new(Mutex::new(Reading { wall, at: monotonic() })) }
    }

    /// Monotonic time: for waits and time-outs.
    pub fn monotonic(&self) -> Instant {
        monotonic()
    }

    /// Wall time: for what is stored and shown.
    pub fn wall(&self) -> UnixMs {
        let system = match self.source {
            Source::System => system_wall(),
            Source::Tokio => UnixMs::MIN,
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = next_reading(*last, system, monotonic());
        last.wall
    }
}

/// A system clock that jumped ahead (or slept) is followed; one that jumped back is overruled by monotonic time.
fn next_reading(last: Reading, system: UnixMs, now: Instant) -> Reading {
    let elapsed = now.saturating_duration_since(last.at);
    let passed = last.wall.after(elapsed);
    if system > passed {
        return Reading { wall: system, at: now };
    }
    // The fraction of a millisecond is left in `at`, or frequent readings would slow the clock down.
    let whole = Duration::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
    Reading { wall: passed, at: last.at + whole }
}

#[expect(clippy::disallowed_methods, reason = "this file is the one that reads clocks")]
fn monotonic() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this file is the one that reads clocks")]
fn system_wall() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(whole_ms(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_a_jump_ahead_and_overrules_one_back() {
        let at = monotonic();
        let start = Reading { wall: UnixMs(1_000_000), at };
        let ahead = next_reading(start, UnixMs(9_000_000), at + Duration::from_secs(1));
        assert_eq!(ahead.wall, UnixMs(9_000_000));
        let back = next_reading(ahead, UnixMs(1_002_000), at + Duration::from_secs(2));
        assert_eq!(back.wall, UnixMs(9_001_000));
    }

    #[test]
    fn fractions_of_a_millisecond_add_up() {
        let at = monotonic();
        let mut reading = Reading { wall: UnixMs(0), at };
        for step in 1..=1000u32 {
            reading = next_reading(reading, UnixMs::MIN, at + Duration::from_micros(700) * step);
        }
        assert_eq!(reading.wall, UnixMs(700));
    }

    #[tokio::test(start_paused = true)]
    async fn paused_time_drives_both_clocks() {
        let clock = Clock::starting_at(UnixMs(5_000));
        let before = clock.monotonic();
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(clock.wall(), UnixMs(3_605_000));
        assert_eq!(clock.monotonic() - before, Duration::from_secs(3600));
    }
}

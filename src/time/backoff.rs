//! The waits before the next attempt: exponential, bounded, with jitter.
//!
//! The `backoff` crate computes one delay from the count of failures. The crate's own jitter uses a global random
//! generator and goes past the maximum, so it is switched off. The crate's limit on the total time is switched off,
//! too, because the caller decides when to give up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// The parameters of a back-off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The wait after the first failure.
    pub initial: Duration,
    /// The factor by which each wait is longer than the previous wait.
    pub factor: f64,
    /// The longest wait.
    pub max: Duration,
}

impl Schedule {
    /// Returns the wait after `failures` failures in a row (1 = the first), without jitter.
    pub fn delay(&self, failures: u32) -> Duration {
        let mut exponential = ExponentialBackoff {
            // `initial_interval` only counts after a reset; the first wait is `current_interval`.
            current_interval: self.initial.min(self.max),
            initial_interval: self.initial.min(self.max),
            randomization_factor: 0.0,
            multiplier: self.factor.max(1.0),
            max_interval: self.max,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        let mut delay = self.initial.min(self.max);
        // A schedule that grows slowly needs many steps, and a flat schedule never reaches its maximum. So the steps
        // are limited: after more than a thousand failures, the wait is the same as after a thousand.
        for _ in 0..failures.clamp(1, 1000) {
            delay = exponential.next_backoff().unwrap_or(self.max).min(self.max);
            if delay == self.max {
                break;
            }
        }
        delay
    }

    /// Returns the wait of [`Schedule::delay`] with jitter: up to a tenth longer, but never longer than
    /// [`Schedule::max`]. At the maximum the wait is up to a tenth shorter instead.
    pub fn jittered(&self, failures: u32, jitter: &Jitter) -> Duration {
        let fraction = jitter.fraction() / 10.0;
        let delay = self.delay(failures).mul_f64(1.0 + fraction);
        delay.min(self.max.mul_f64(1.0 - fraction))
    }
}

/// A seeded source of jitter, so that a test can repeat a schedule. Tasks share it by reference.
#[derive(Debug)]
pub struct Jitter(AtomicU64);

impl Jitter {
    /// Makes a source of jitter. The same seed gives the same sequence.
    pub fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Returns the next number in `0.0..1.0` (SplitMix64).
    pub fn fraction(&self) -> f64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The upper 32 bits are exact in an f64.
        f64::from(u32::try_from(mixed >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Schedule =
        Schedule { initial: Duration::from_secs(5), factor: 3.0, max: Duration::from_secs(12 * 3600) };

    #[test]
    fn grows_to_the_maximum_and_stays() {
        let seconds: Vec<u64> = [0, 1, 2, 3, 4, 9, 10, 1000].iter().map(|&n| RETRY.delay(n).as_secs()).collect();
        assert_eq!(seconds, [5, 5, 15, 45, 135, 32805, 43200, 43200]);
        assert_eq!(RETRY.delay(u32::MAX).as_secs(), 43200);
    }

    #[test]
    fn a_flat_schedule_stays_flat_and_a_small_maximum_is_kept() {
        let flat = Schedule { factor: 1.0, ..RETRY };
        assert_eq!(flat.delay(7), Duration::from_secs(5));
        let small = Schedule { max: Duration::from_secs(1), ..RETRY };
        assert_eq!(small.delay(1), Duration::from_secs(1));
    }

    #[test]
    fn jitter_is_repeatable_and_bounded() {
        let (one, two) = (Jitter::seeded(7), Jitter::seeded(7));
        let mut distinct = std::collections::BTreeSet::new();
        for failures in 1..200 {
            let delay = RETRY.jittered(failures, &one);
            assert_eq!(delay, RETRY.jittered(failures, &two));
            let plain = RETRY.delay(failures);
            assert!(delay <= plain.mul_f64(1.1) && delay >= plain.mul_f64(0.9) && delay <= RETRY.max, "{delay:?}");
            distinct.insert(delay);
        }
        assert!(distinct.len() > 100);
    }
}

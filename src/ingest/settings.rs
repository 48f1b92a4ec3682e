//! The configuration of polling: the keys of `[poll]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::domain::Start;
use crate::settings::{self, settings};

const TENTH: Duration = Duration::from_millis(100);
const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = DAY.saturating_mul(30);

/// At this interval half of the default budget of 120 requests a minute goes to polls, so that the other half is left
/// for catching up.
const INTERVAL: Duration = Duration::from_secs(1);
const LOOKBACKS: RangeInclusive<Duration> = Duration::ZERO..=MONTH;

settings! {
    /// `[poll]`: how to poll.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Options {
        /// The time from one poll for new messages to the next.
        pub interval: Duration = settings::duration(INTERVAL, TENTH..=DAY),
        /// Where a first run begins: "now", "beginning", a time ("2026-01-31T08:00:00Z") or a duration back ("24h").
        /// Used on a first run only; a later change is ignored, and the log says so.
        pub start: Start = settings::start(Start::Now),
        /// How late a message may show up behind newer ones and still be found.
        pub lookback: Duration = settings::duration(Duration::from_secs(3_600), LOOKBACKS),
        /// How often the lookback is read again, as far as spare budget allows.
        pub sweep_interval: Duration = settings::duration(Duration::from_secs(60), TENTH..=MONTH),
    }
}

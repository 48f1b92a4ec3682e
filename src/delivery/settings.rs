//! The settings of the delivery to one sink, and their keys in the configuration.

use std::time::Duration;

use super::max_age;
use super::retry_schedule::Retry;
use crate::domain::{SinkName, Start, UnixMs};
use crate::settings::{self, LONGEST, WordChoice, settings};

/// The time that the machine's clock may gain or lose from one start to the next.
pub(super) const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// The shortest `max_age` that may be configured: ages are checked once in a second.
const LEAST_AGE: Duration = Duration::from_secs(1);
settings! {
    /// The keys of `[sinks.NAME]` that say when, how often and how many messages are sent.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Options {
        /// How many deliveries may be under way at once.
        pub concurrency: usize = settings::integer(CONCURRENCY, 1..=256),
        /// The most attempts that may begin in any 60 seconds, evenly spread, over restarts too. 0: no limit.
        pub requests_per_minute: u32 = settings::integer(0, 0..=1_000_000),
        /// number: the messages of each receiving number are delivered one after the other, in the order in which the
        /// relay read them. A message that is tried again holds up those behind it, so choose a small retry.max. A dead
        /// letter lets the next one go.
        pub order: Order = settings::choice(Order::None),
        /// A message received longer ago than this is not sent, but becomes a dead letter ("expired"). Messages that
        /// are sent again by `replay` or `dead-letters retry` do not expire.
        pub max_age: Option<Duration> = settings::duration_or("forever", None, LEAST_AGE..=LONGEST),
        /// The name of another sink: a message that becomes a dead letter here is handed over to that sink, too, whatever
        /// the filter of that sink says. A sink that has the message already does not get it again.
        pub fallback: Option<SinkName> = settings::sink_name().lines(&["fallback = \"stdout\""]),
        /// true: •••••• replaces the code that the API found (parsedCode), also in the text, in every format. If the
        /// API found no code, •••••• replaces the codes that codes.pattern finds.
        pub mask_codes: bool = settings::boolean(false),
        /// true: the sink also gets the events that the section events asks for. No filter decides about events.
        pub events: bool = settings::boolean(false),
        /// false: the sink is paused. Its messages are kept, and sent when this is true again.
        pub enabled: bool = settings::boolean(true),
        /// For a sink added later: which stored messages it receives, as for poll.start.
        pub start: Start = settings::start(Start::Now),
        /// What happens after a failure, also of a stdout sink: the first wait is `initial`, each further one is
        /// `factor` times as long, and none is longer than `max`.
        pub retry: Retry = settings::table(),
    }
}

/// The default of `concurrency`. The sink `stdout` writes this many lines, in their order, and then records them in one
/// transaction.
const CONCURRENCY: usize = 8;

impl WordChoice for Order {
    const WORDS: &'static [(&'static str, Self)] = &[("none", Self::None), ("number", Self::Number)];
}

impl Options {
    /// Makes options with this concurrency and retry schedule, and the defaults for everything else.
    pub fn new(concurrency: usize, retry: Retry) -> Self {
        Self {
            concurrency,
            retry,
            requests_per_minute: 0,
            order: Order::None,
            max_age: None,
            fallback: None,
            mask_codes: false,
            events: false,
            enabled: true,
            start: Start::Now,
        }
    }

    /// Returns the time at which a message that was received at `received` becomes too old to be sent; `None`: never.
    pub fn expires(&self, received: UnixMs) -> Option<UnixMs> {
        max_age::expires(self.max_age, received, 0)
    }
}

/// The values of `order`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Messages do not wait for each other.
    #[default]
    None,
    /// The messages of each receiving number are delivered one after the other. A message that is tried again holds up
    /// the later messages of its number.
    Number,
}

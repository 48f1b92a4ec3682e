//! What the delivery to one sink needs to know.

use std::time::Duration;

use super::expiry;
use crate::domain::{Start, UnixMs};
use crate::time::backoff::Schedule;

/// `[sinks.NAME]`, as far as it says when and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Deliveries under way at once; at least 1.
    pub concurrency: usize,
    /// What happens after a failure.
    pub retry: Retry,
    /// At most so many attempts begin in any 60 seconds; 0: any number.
    pub requests_per_minute: u32,
    /// Whether messages wait for those before them.
    pub order: Order,
    /// A message received longer ago is not sent any more.
    pub max_age: Option<Duration>,
    /// If not, nothing is sent and everything is kept.
    pub enabled: bool,
    /// Which retained messages it gets if it is added beside messages.
    pub start: Start,
}

impl Options {
    /// As many at once, tried again like this; everything else as it is by default.
    pub fn new(concurrency: usize, retry: Retry) -> Self {
        Self {
            concurrency,
            retry,
            requests_per_minute: 0,
            order: Order::None,
            max_age: None,
            enabled: true,
            start: Start::Now,
        }
    }

    /// When a message received then is too old to be sent; `None`: never.
    pub fn expires(&self, received: UnixMs) -> Option<UnixMs> {
        expiry::expires(self.max_age, received, 0)
    }
}

/// `order`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Each for itself.
    #[default]
    None,
    /// One after the other for each receiving number, attempts that failed included.
    Number,
}

/// `[sinks.NAME.retry]`: exponential back-off, then a dead letter.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// The wait after the first failure.
    pub initial: Duration,
    /// Each wait is this many times the one before; at least 1.
    pub factor: f64,
    /// No wait is longer, save where the receiver asks for it.
    pub max: Duration,
    /// A failure this long after the first attempt, or later, is final; `None` is "never".
    pub give_up_after: Option<Duration>,
}

/// Whatever is configured, a failing receiver is not tried in a hot loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

impl Retry {
    /// The same with waits of at most `longest`.
    pub(super) fn no_longer_than(&self, longest: Duration) -> Self {
        Self { initial: self.initial.min(longest), max: self.max.min(longest), ..self.clone() }
    }

    /// The waits between attempts.
    pub(super) fn schedule(&self) -> Schedule {
        Schedule {
            initial: self.initial.max(SHORTEST_WAIT),
            factor: self.factor,
            max: self.max.max(self.initial).max(SHORTEST_WAIT),
        }
    }
}

//! Random choices from a seed. The same seed always gives the same run.

use crate::ingest::coverage::testbed::Choices;
use crate::time::backoff::Jitter;

pub(super) struct Seeded(Jitter);

impl Seeded {
    pub(super) fn new(seed: u64) -> Self {
        Self(Jitter::seeded(seed))
    }
}

impl Choices for Seeded {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "small numbers"
    )]
    fn below(&mut self, end: u64) -> u64 {
        (self.0.fraction() * end as f64) as u64
    }

    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.0.fraction() < probability
    }
}

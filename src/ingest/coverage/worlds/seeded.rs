//! The randomness of a run: one seed, one run.

use crate::time::backoff::Jitter;

pub(super) struct Random(Jitter);

impl Random {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(Jitter::seeded(seed))
    }

    pub(super) fn chance(&mut self, of: f64) -> bool {
        of > 0.0 && self.0.fraction() < of
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "small numbers"
    )]
    pub(super) fn below(&mut self, end: u64) -> u64 {
        (self.0.fraction() * end as f64) as u64
    }

    pub(super) fn between(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.below((to - from).unsigned_abs())).unwrap()
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

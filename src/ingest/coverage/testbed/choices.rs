//! The source of the random choices of a test run.

/// A source of choices. The same seed or the same bytes always make the same choices.
pub trait Choices {
    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64;

    /// Whether an event of this probability happens.
    fn chance(&mut self, probability: f64) -> bool;

    /// A number from `from` on and below `to`.
    fn between(&mut self, from: i64, to: i64) -> i64 {
        from.saturating_add_unsigned(self.below(to.abs_diff(from)))
    }

    /// One of these values.
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let place = self.below(of.len() as u64);
        of[usize::try_from(place).expect("the place of a value in memory")]
    }
}

//! Raising the watermark: what lies below it is settled for good, and its ids may be forgotten.

use super::clocks::below_anchor;
use super::rules::{Broken, Now, Rules};
use super::{CoverageState, Draft, Next, Step};
use crate::domain::{UnixMs, Walk};

impl CoverageState {
    /// `W = max(W, min(now - memory of ids, A - L - m, F - L - m, every open floor))`, `A` by the clock of the rows. The
    /// caller commits the step, then lets the store forget ids below the new watermark.
    pub fn raise_watermark(&mut self, rules: &Rules, now: Now) -> Step {
        let Some(coverage) = self.coverage.as_mut() else {
            return Step { ops: Vec::new(), next: Next::Idle };
        };
        let before = Some(coverage.marks);
        let depth = rules.lookback.saturating_add(rules.margin);
        let floors = coverage.walks.iter().map(|walk| walk.floor.min(Walk::deepest_floor(walk))).min();
        let remembered = now.server.before(rules.remember_ids);
        let settled = if rules.breaks(Broken::Forgetting) {
            UnixMs::MAX
        } else {
            below_anchor(rules, coverage).min(coverage.marks.frontier.before(depth)).min(floors.unwrap_or(UnixMs::MAX))
        };
        coverage.marks.watermark = coverage.marks.watermark.max(remembered.min(settled));
        Draft::new(rules, now, coverage, &mut self.memory, before).finish(Next::Idle)
    }
}

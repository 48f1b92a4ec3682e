//! Raising the watermark. Rows below the watermark are never news again, so the store may forget their ids.

use super::rules::{Now, Rules};
use super::{CoverageState, Draft, NextAction, Step};

impl CoverageState {
    /// Raises the watermark: `W = max(W, min(now - R, A - lag - L - m, F - L - m, the floors of all open walks))`. `A`
    /// is the anchor, `F` the frontier, `L` the lookback, `m` the margin, and `R` the shortest time for which an id is
    /// remembered. (`Rules::sweep_depth` explains the lag.) The caller commits the step, and then lets the store forget
    /// ids below the new watermark.
    pub fn raise_watermark(&mut self, rules: &Rules, now: Now) -> Step {
        let Some(coverage) = self.coverage.as_mut() else { return Step::NOTHING };
        let before = Some(coverage.marks);
        let remembered_from = now.server.before(rules.remember_ids);
        let cap = rules.watermark_cap(coverage);
        coverage.marks.watermark = coverage.marks.watermark.max(remembered_from.min(cap));
        Draft::new(rules, now, coverage, &mut self.memory, before).finish(NextAction::Idle)
    }
}

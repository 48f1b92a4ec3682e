//! There is no room to hold rows until their gap arrives: it would never arrive, since nothing more is read.

use super::rules::{Now, Rules};
use super::{CoverageState, Draft, Next, Step};
use crate::domain::{Walk, WalkId};

impl CoverageState {
    /// Whether a gap holds rows, or would.
    pub fn holds(&self) -> bool {
        self.walks().any(Walk::holds)
    }

    /// Every gap hands on what it holds, oldest first, and streams from then on.
    pub fn stop_holding(&mut self, rules: &Rules, now: Now) -> Step {
        let Some(coverage) = self.coverage.as_mut() else {
            return Step { ops: Vec::new(), next: Next::Idle };
        };
        let before = Some(coverage.marks);
        let holding: Vec<(usize, WalkId)> = coverage
            .walks
            .iter()
            .enumerate()
            .filter(|(_, walk)| walk.holds())
            .map(|(place, walk)| (place, walk.id))
            .collect();
        let mut draft = Draft::new(rules, now, coverage, &mut self.memory, before);
        for (place, id) in holding {
            draft.stream(id);
            draft.put(place);
        }
        draft.finish(Next::Idle)
    }
}

//! The behaviour of gaps while the state must not grow any more, for example because the disk is almost full. Then no
//! further page is read, and no gap would ever arrive at its floor. So each gap releases the rows that it holds.

use super::rules::{Now, Rules};
use super::{CoverageState, Draft, NextAction, Step};
use crate::domain::{Walk, WalkId};

impl CoverageState {
    /// Whether an open gap holds the rows that it reads.
    pub fn holds(&self) -> bool {
        self.walks().any(Walk::holds)
    }

    /// Makes every gap release the rows that it holds, oldest first. From then on each gap releases rows as it reads
    /// them.
    pub fn release_held_rows(&mut self, rules: &Rules, now: Now) -> Step {
        let Some(coverage) = self.coverage.as_mut() else { return Step::NOTHING };
        let before = Some(coverage.marks);
        let walks = coverage.walks.iter().enumerate().filter(|(_, walk)| walk.holds());
        let holding: Vec<(usize, WalkId)> = walks.map(|(place, walk)| (place, walk.id)).collect();
        let mut draft = Draft::new(rules, now, coverage, &mut self.memory, before);
        for (place, id) in holding {
            draft.stream(id);
            draft.put(place);
        }
        draft.finish(NextAction::Idle)
    }
}

//! Walks that do not get on. A walk in trouble is never given up: what it did not read is not covered.
//!
//! It tries the same cursor again, then those it came by, then begins again at the head, keeping its floor and what it
//! holds; each failure in a row makes the wait longer. After [`Rules::patience_failures`] failures, or
//! [`Rules::patience`], it is *stalled*: it hands on what it holds and streams from then on, so that what was read does
//! not wait for what cannot be.
//!
//! [`Rules::patience_failures`]: super::Rules::patience_failures
//! [`Rules::patience`]: super::Rules::patience

use super::{Draft, Next};
use crate::domain::{Anomaly, StoreOp};

/// Why a walk did not get on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setback {
    /// The API refused the cursor.
    Refused,
    /// The page could not be read, while the API answers otherwise.
    Unreadable,
    /// The page was empty, whatever it said to follow.
    EmptyPage,
    /// The page led to where this pass has been, or promised more without saying where.
    NoProgress,
    /// Many pages with nothing new and no older time. It reads on, but slowly.
    StandingStill,
}

/// An empty page is asked for so often before another way is tried.
const EMPTY_TRIES: u32 = 3;

/// Answers that may be the server's passing trouble are asked for so often before another way is tried.
const UNREADABLE_TRIES: u32 = 4;

impl Draft<'_> {
    /// Whether one more empty answer settles it: another round of them was had by another way, from the head.
    pub(super) fn is_confirmed_empty(&self, place: usize) -> bool {
        let progress = self.coverage.walks[place].progress;
        let answers = progress.empty_answers + 1;
        progress.restarts > 0 && answers > EMPTY_TRIES && answers.is_multiple_of(EMPTY_TRIES)
    }

    /// Only empty answers in a row count: a round that was not finished is void.
    pub(super) fn end_of_empty_answers(&mut self, place: usize) {
        let progress = &mut self.coverage.walks[place].progress;
        progress.empty_answers -= progress.empty_answers % EMPTY_TRIES;
    }

    /// Writes a setback down and chooses where the walk reads next.
    pub(super) fn set_back(&mut self, place: usize, setback: Setback) -> Next {
        let now = self.now.local;
        let walk = &mut self.coverage.walks[place];
        let id = walk.id;
        walk.progress.since.get_or_insert(now);
        walk.progress.failures = walk.progress.failures.saturating_add(1);
        let failures = walk.progress.failures;
        let memory = self.memory.walk(id);
        memory.setbacks = memory.setbacks.saturating_add(1);
        let (anomaly, other_way) = match setback {
            Setback::Refused => (Anomaly::RefusedCursor, failures > 1),
            Setback::NoProgress => (Anomaly::NoProgress, failures > 1),
            Setback::Unreadable => (Anomaly::UnreadablePage, failures > UNREADABLE_TRIES),
            Setback::StandingStill => (Anomaly::NoProgress, false),
            Setback::EmptyPage => {
                walk.progress.empty_answers = walk.progress.empty_answers.saturating_add(1);
                let answers = walk.progress.empty_answers;
                if answers > EMPTY_TRIES && answers.is_multiple_of(EMPTY_TRIES) {
                    walk.trail.clear();
                }
                (Anomaly::EmptyPage, answers.is_multiple_of(EMPTY_TRIES))
            }
        };
        self.ops.push(StoreOp::Count(anomaly));
        if other_way {
            self.step_back(place);
        }
        let walk = &self.coverage.walks[place];
        let patience = self.rules.patience;
        let long = walk.progress.since.is_some_and(|since| now.since(since) >= patience);
        if walk.holds() && (failures >= self.rules.patience_failures || long) {
            self.ops.push(StoreOp::Count(Anomaly::Stalled));
            self.stream(id);
        }
        self.put(place);
        Next::Wait(id, failures)
    }

    /// Back to the cursor before, or to the head.
    fn step_back(&mut self, place: usize) {
        let walk = &mut self.coverage.walks[place];
        walk.cursor = walk.trail.pop();
        if walk.cursor.is_none() {
            walk.progress.restarts = walk.progress.restarts.saturating_add(1);
            self.ops.push(StoreOp::Count(Anomaly::Restarted));
        }
        self.memory.walk(walk.id).new_pass();
    }
}

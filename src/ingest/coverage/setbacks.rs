//! The handling of walks that make no progress. A walk in trouble is never given up, because the rows that it has not
//! read would be missed.
//!
//! The walk tries the same cursor again, then the cursors of earlier pages, then begins again at the head. It keeps its
//! floor and the rows that it holds. Each further failure makes the wait longer. After
//! [`Rules::patience_failures`](super::Rules::patience_failures) failures, or after
//! [`Rules::patience`](super::Rules::patience), a gap that holds its rows is *stalled*: it releases these rows, and
//! streams from then on. Otherwise rows that were read would wait for rows that cannot be read.

use super::{Draft, NextAction};
use crate::domain::{Anomaly, PollChange};

/// The reason why a walk made no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setback {
    /// The API refused the cursor.
    Refused,
    /// The page could not be read, although the API answers other requests.
    Unreadable,
    /// The page was empty.
    EmptyPage,
    /// The page led to the same cursor as an earlier page of this pass (`WalkMemory` says what a pass is). Or the page,
    /// which may have been empty, said that more rows follow, but had no cursor.
    NoProgress,
    /// Many successive pages had no unknown row, and reached no older time than the pages before them. The walk reads
    /// on, but first waits.
    StandingStill,
}

/// How often an empty page is asked for before the walk goes back to an earlier cursor.
pub(super) const EMPTY_TRIES: u32 = 3;

/// How often a page that cannot be read is asked for again before the walk goes back to an earlier cursor. Meanwhile
/// the API's trouble may pass.
const UNREADABLE_TRIES: u32 = 4;

impl Draft<'_> {
    /// Drops the unfinished round of empty answers, because a page with rows came. A round is [`EMPTY_TRIES`]
    /// successive empty answers.
    pub(super) fn end_round_of_empty_answers(&mut self, place: usize) {
        let progress = &mut self.coverage.walks[place].progress;
        progress.empty_answers -= progress.empty_answers % EMPTY_TRIES;
    }

    /// Records a setback and chooses where the walk reads next.
    pub(super) fn set_back(&mut self, place: usize, setback: Setback) -> NextAction {
        let now = self.now.local;
        let walk = &mut self.coverage.walks[place];
        let id = walk.id;
        walk.progress.since.get_or_insert(now);
        walk.progress.failures = walk.progress.failures.saturating_add(1);
        let failures = walk.progress.failures;
        let memory = self.memory.walk(id);
        memory.setbacks = memory.setbacks.saturating_add(1);
        let (anomaly, goes_another_way) = match setback {
            Setback::Refused => (Anomaly::RefusedCursor, failures > 1),
            Setback::NoProgress => (Anomaly::NoProgress, failures > 1),
            Setback::Unreadable => (Anomaly::UnreadablePage, failures > UNREADABLE_TRIES),
            Setback::StandingStill => (Anomaly::NoProgress, false),
            Setback::EmptyPage => {
                walk.progress.empty_answers = walk.progress.empty_answers.saturating_add(1);
                let answers = walk.progress.empty_answers;
                if answers > EMPTY_TRIES && answers.is_multiple_of(EMPTY_TRIES) {
                    // An earlier cursor did not help, so the walk begins again at the head.
                    walk.trail.clear();
                }
                (Anomaly::EmptyPage, answers.is_multiple_of(EMPTY_TRIES))
            }
        };
        self.changes.push(PollChange::Count(anomaly));
        if goes_another_way {
            self.step_back(place);
        }
        let walk = &self.coverage.walks[place];
        let has_failed_for_long = walk.progress.since.is_some_and(|since| now.since(since) >= self.rules.patience);
        if walk.holds() && (failures >= self.rules.patience_failures || has_failed_for_long) {
            self.changes.push(PollChange::Count(Anomaly::Stalled));
            self.stream(id);
        }
        self.put(place);
        NextAction::Wait(id, failures)
    }

    /// Sends the walk back to its previous cursor, or to the head if it remembers none.
    fn step_back(&mut self, place: usize) {
        let walk = &mut self.coverage.walks[place];
        walk.cursor = walk.trail.pop();
        if walk.cursor.is_none() {
            walk.progress.restarts = walk.progress.restarts.saturating_add(1);
            self.changes.push(PollChange::Count(Anomaly::Restarted));
        }
        self.memory.walk(walk.id).begin_pass();
    }
}

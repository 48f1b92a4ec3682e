//! The *history* of a number: the older messages that appear in the feed with a number that is new to the account. They
//! are delivered like new messages, and the log reports them.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::{Marks, PollChange, RowStanding, UnixMs, Walk, WalkKind};
use crate::store::{self, Store};
use crate::time::Instant;

/// The history of a number counts as complete when no further message of it has come for this long.
const QUIET: Duration = Duration::from_secs(10);

/// The fewest messages that make a history. A single older message may simply have come late.
const HISTORY: u64 = 2;

/// The histories that are not complete yet, by the id of the number.
#[derive(Default)]
pub(super) struct NumberHistories(HashMap<String, NumberHistory>);

struct NumberHistory {
    messages: u64,
    from: UnixMs,
    to: UnixMs,
    last: Instant,
}

impl NumberHistories {
    /// Records the messages of a step that belong to a history ([`older_news`]). It must be called before the step is
    /// stored, because a number counts as new only while the state has no message of it. `before` holds the marks
    /// before the step. If the step handles a page of a walk, `walk` is this walk as it was before the step.
    pub(super) async fn note_page(
        &mut self,
        store: &Store,
        changes: &[PollChange],
        before: Option<Marks>,
        walk: Option<&Walk>,
        margin: Duration,
        at: Instant,
    ) -> Result<(), store::Error> {
        for (number, time) in older_news(changes, before, walk, margin) {
            if !self.0.contains_key(&number) {
                let id = number.clone();
                if store.read(move |spool| spool.has_messages_of(&id)).await? {
                    continue;
                }
            }
            self.note(&number, time, at);
        }
        Ok(())
    }

    fn note(&mut self, number: &str, time: UnixMs, now: Instant) {
        let begun = NumberHistory { messages: 0, from: time, to: time, last: now };
        let history = self.0.entry(number.to_owned()).or_insert(begun);
        history.messages += 1;
        history.from = history.from.min(time);
        history.to = history.to.max(time);
        history.last = now;
    }

    /// Logs the histories that are complete by now.
    pub(super) fn log_complete(&mut self, now: Instant) {
        self.tell_and_forget(|history| history.last + QUIET <= now);
    }

    /// Logs all histories, because no further messages come.
    pub(super) fn log_all(&mut self) {
        self.tell_and_forget(|_| true);
    }

    fn tell_and_forget(&mut self, is_complete: impl Fn(&NumberHistory) -> bool) {
        self.0.retain(|number, history| {
            let is_complete = is_complete(history);
            if is_complete && history.messages >= HISTORY {
                tracing::info!(
                    number.id = number,
                    messages = history.messages,
                    from = %history.from,
                    to = %history.to,
                    "a number that is new here brought older messages along: they are delivered like new ones"
                );
            }
            !is_complete
        });
    }
}

/// Returns the new messages that appear in a part of the feed that was read before the step: the number and the time of
/// each. Messages in the unread part of a gap belong to no history: they are old because they were missed.
fn older_news(
    changes: &[PollChange],
    before: Option<Marks>,
    walk: Option<&Walk>,
    margin: Duration,
) -> Vec<(String, UnixMs)> {
    let Some(marks) = before else { return Vec::new() };
    let read_down_to = match walk {
        Some(Walk { kind: WalkKind::Seed, .. }) => UnixMs::MIN,
        Some(walk @ Walk { kind: WalkKind::Gap { .. }, .. }) => walk.floor,
        Some(Walk { kind: WalkKind::Sweep, .. }) | None => marks.frontier,
    };
    let news = changes.iter().filter_map(|change| match change {
        PollChange::Insert(insert) if insert.standing == RowStanding::News => Some(&insert.row),
        _ => None,
    });
    let old = news.filter(|row| row.time < read_down_to.before(margin));
    old.filter_map(|row| Some((row.number.clone()?, row.time))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Insert, Row, Seq, WalkId, WalkProgress};

    fn news(number: Option<&str>, time: i64) -> PollChange {
        let row = Row {
            id: format!("m{time}"),
            readable: true,
            spoiled: None,
            time: UnixMs(time),
            ingested: None,
            number: number.map(str::to_owned),
            raw: "{}".into(),
        };
        PollChange::Insert(Box::new(Insert { seq: Seq(1), row, standing: RowStanding::News, held_by: None }))
    }

    #[test]
    fn news_far_below_the_frontier_belong_to_a_history_unless_a_gap_or_a_seed_reads_them() {
        let marks = Marks {
            frontier: UnixMs(1000),
            watermark: UnixMs(0),
            anchor: UnixMs(1000),
            start_instant: UnixMs(0),
            next_seq: Seq(1),
            next_walk: WalkId(1),
        };
        let walk = |kind| Walk {
            id: WalkId(1),
            kind,
            cursor: None,
            trail: Vec::new(),
            floor: UnixMs(600),
            opened_seq: Seq(1),
            opened_at: UnixMs(1000),
            lowest: UnixMs(900),
            progress: WalkProgress::default(),
        };
        let changes = [(Some("a"), 1100), (Some("a"), 950), (Some("b"), 800), (None, 10), (Some("b"), 500)];
        let changes = changes.map(|(number, time)| news(number, time));
        let times = |before: Option<Marks>, walk: Option<Walk>| -> Vec<i64> {
            let found = older_news(&changes, before, walk.as_ref(), Duration::from_millis(100));
            found.into_iter().map(|(_, time)| time.0).collect()
        };
        assert_eq!(times(Some(marks), None), [800, 500], "on the newest page");
        assert_eq!(times(Some(marks), Some(walk(WalkKind::Sweep))), [800, 500], "a sweep reads known parts again");
        let gap = WalkKind::Gap { sweep_floor: None, streaming: false };
        assert_eq!(times(Some(marks), Some(walk(gap))), Vec::<i64>::new(), "missed messages are no history");
        assert_eq!(times(Some(marks), Some(walk(WalkKind::Seed))), Vec::<i64>::new());
        assert_eq!(times(None, None), Vec::<i64>::new(), "on a first run every number is new");
    }

    #[tokio::test(start_paused = true)]
    async fn a_history_is_complete_after_ten_quiet_seconds() {
        let now = crate::time::Clock::starting_at(UnixMs(0)).monotonic();
        let mut histories = NumberHistories::default();
        histories.note("a", UnixMs(5), now);
        histories.note("a", UnixMs(3), now + Duration::from_secs(6));
        histories.log_complete(now + Duration::from_secs(12));
        let NumberHistory { messages, from, to, .. } = histories.0.get("a").unwrap();
        assert_eq!((*messages, *from, *to), (2, UnixMs(3), UnixMs(5)));
        histories.log_complete(now + Duration::from_secs(16));
        assert!(histories.0.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_every_history_is_complete() {
        let now = crate::time::Clock::starting_at(UnixMs(0)).monotonic();
        let mut histories = NumberHistories::default();
        histories.note("a", UnixMs(5), now);
        histories.log_all();
        assert!(histories.0.is_empty());
    }
}

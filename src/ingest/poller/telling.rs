//! What the poller says of single messages: those that are set aside, those that are not delivered, and the history that a
//! new number brings.

use std::collections::HashMap;
use std::time::Duration;

use super::Poller;
use crate::domain::{Anomaly, Cursor, Insert, Marks, RowStanding, StoreOp, UnixMs, Walk, WalkKind};
use crate::ingest::feed::Feed;
use crate::store;
use crate::time::Instant;

/// So many messages of one page are named, each in a line of its own.
const NAMED: usize = 10;

/// The history of a number is told when so long no more of it came.
const QUIET: Duration = Duration::from_secs(10);

/// A single late message is no history.
const HISTORY: u64 = 2;

/// Says what is out of the ordinary on a page: each kind once, however often the page has it, and messages that are not
/// delivered by name. `cursor` is where the page was read, `keeps` whether delivered messages are kept for a while.
pub(super) fn say_anomalies(ops: &[StoreOp], cursor: Option<&Cursor>, keeps: bool) {
    let mut counts: Vec<(Anomaly, u64)> = Vec::new();
    let mut named = 0;
    for op in ops {
        match op {
            StoreOp::Insert(insert) if named < NAMED => named += usize::from(say_undelivered(insert, cursor, keeps)),
            StoreOp::Count(anomaly) => match counts.iter_mut().find(|(met, _)| met == anomaly) {
                Some((_, count)) => *count += 1,
                None => counts.push((*anomaly, 1)),
            },
            _ => {}
        }
    }
    for (anomaly, count) in counts {
        let times = (count > 1).then_some(count);
        match anomaly {
            // Said where they happened, with the reason.
            Anomaly::UnreadablePage | Anomaly::RefusedCursor => {}
            // Said of each message.
            Anomaly::SpoiledRow | Anomaly::BelowWatermark if count <= u64::try_from(NAMED).unwrap_or(0) => {}
            _ => tracing::warn!(anomaly = anomaly.as_str(), times, "{}", anomaly.sentence()),
        }
    }
}

/// Names a message that is stored and not delivered; whether it is one.
fn say_undelivered(insert: &Insert, cursor: Option<&Cursor>, keeps: bool) -> bool {
    let Insert { row, standing, .. } = insert;
    if let Some(spoiled) = &row.spoiled {
        let anomaly = Anomaly::SpoiledRow;
        tracing::warn!(
            anomaly = anomaly.as_str(),
            message.id = spoiled.id.as_deref(),
            set_aside = row.id,
            page = cursor.map_or("the newest", |cursor| &*cursor.0),
            row = spoiled.place,
            wrong = spoiled.wrong,
            "{}",
            anomaly.sentence()
        );
        true
    } else if *standing == RowStanding::BelowWatermark {
        let anomaly = Anomaly::BelowWatermark;
        tracing::warn!(
            anomaly = anomaly.as_str(),
            message.id = row.id,
            received = %row.time,
            hint = keeps.then_some("it is kept: joltsms-relay replay --id ID delivers it"),
            "{}",
            anomaly.sentence()
        );
        true
    } else {
        false
    }
}

/// Older messages that numbers brought along which were not met before.
#[derive(Default)]
pub(super) struct Newcomers(HashMap<String, History>);

struct History {
    messages: u64,
    from: UnixMs,
    to: UnixMs,
    last: Instant,
}

impl Newcomers {
    fn note(&mut self, number: &str, time: UnixMs, now: Instant) {
        let begun = History { messages: 0, from: time, to: time, last: now };
        let history = self.0.entry(number.to_owned()).or_insert(begun);
        history.messages += 1;
        history.from = history.from.min(time);
        history.to = history.to.max(time);
        history.last = now;
    }

    /// Says what is complete by now, or all of it.
    pub(super) fn say(&mut self, now: Instant, all: bool) {
        self.0.retain(|number, history| {
            let complete = all || history.last + QUIET <= now;
            if complete && history.messages >= HISTORY {
                tracing::info!(
                    number.id = number,
                    messages = history.messages,
                    from = %history.from,
                    to = %history.to,
                    "a number that is new here brought older messages along: they are delivered like new ones"
                );
            }
            !complete
        });
    }
}

/// The news of a step that is older than what had been read when the page came: the number and the time of each. What a
/// gap has not read yet is old by itself.
fn older_news(ops: &[StoreOp], before: Option<Marks>, walk: Option<&Walk>, margin: Duration) -> Vec<(String, UnixMs)> {
    let Some(marks) = before else { return Vec::new() };
    let read_down_to = match walk {
        Some(Walk { kind: WalkKind::Seed, .. }) => UnixMs::MIN,
        Some(walk @ Walk { kind: WalkKind::Gap { .. }, .. }) => walk.floor,
        Some(Walk { kind: WalkKind::Sweep, .. }) | None => marks.frontier,
    };
    let news = ops.iter().filter_map(|op| match op {
        StoreOp::Insert(insert) if insert.standing == RowStanding::News => Some(&insert.row),
        _ => None,
    });
    let old = news.filter(|row| row.time < read_down_to.before(margin));
    old.filter_map(|row| Some((row.number.clone()?, row.time))).collect()
}

impl<F: Feed> Poller<F> {
    /// Takes note of the history that a number brings along, before the page is stored.
    pub(super) async fn note_newcomers(
        &mut self,
        ops: &[StoreOp],
        before: Option<Marks>,
        walk: Option<&Walk>,
        at: Instant,
    ) -> Result<(), store::Error> {
        for (number, time) in older_news(ops, before, walk, self.rules.margin) {
            if !self.newcomers.0.contains_key(&number) {
                let id = number.clone();
                if self.store.read(move |spool| spool.has_messages_of(&id)).await? {
                    continue;
                }
            }
            self.newcomers.note(&number, time, at);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Row, Seq, WalkId, WalkProgress};

    fn news(number: Option<&str>, time: i64) -> StoreOp {
        let row = Row {
            id: format!("m{time}"),
            readable: true,
            spoiled: None,
            time: UnixMs(time),
            ingested: None,
            number: number.map(str::to_owned),
            raw: "{}".into(),
        };
        StoreOp::Insert(Box::new(Insert { seq: Seq(1), row, standing: RowStanding::News, held_by: None }))
    }

    #[test]
    fn what_is_history() {
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
        let ops = [(Some("a"), 1100), (Some("a"), 950), (Some("b"), 800), (None, 10), (Some("b"), 500)];
        let ops = ops.map(|(number, time)| news(number, time));
        let times = |before: Option<Marks>, walk: Option<Walk>| -> Vec<i64> {
            let found = older_news(&ops, before, walk.as_ref(), Duration::from_millis(100));
            found.into_iter().map(|(_, time)| time.0).collect()
        };
        assert_eq!(times(Some(marks), None), [800, 500], "on the newest page");
        assert_eq!(times(Some(marks), Some(walk(WalkKind::Sweep))), [800, 500], "in the lookback");
        let gap = WalkKind::Gap { sweep_floor: None, streaming: false };
        assert_eq!(times(Some(marks), Some(walk(gap))), Vec::<i64>::new(), "what was missed is no history");
        assert_eq!(times(Some(marks), Some(walk(WalkKind::Seed))), Vec::<i64>::new());
        assert_eq!(times(None, None), Vec::<i64>::new(), "a first run knows no number");
    }

    #[tokio::test(start_paused = true)]
    async fn the_history_of_a_number_is_told_once_it_is_complete() {
        let now = crate::time::Clock::starting_at(UnixMs(0)).monotonic();
        let mut newcomers = Newcomers::default();
        newcomers.note("a", UnixMs(5), now);
        newcomers.note("a", UnixMs(3), now + Duration::from_secs(6));
        newcomers.say(now + Duration::from_secs(12), false);
        let History { messages, from, to, .. } = newcomers.0.get("a").unwrap();
        assert_eq!((*messages, *from, *to), (2, UnixMs(3), UnixMs(5)));
        newcomers.say(now + Duration::from_secs(16), false);
        assert!(newcomers.0.is_empty());
    }
}

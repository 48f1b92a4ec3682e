//! Log lines about the anomalies of a page. Messages that are stored and not delivered are named one by one: messages
//! that are not valid JSON (they are *set aside*), and messages that are dated before the watermark.

use crate::domain::{Anomaly, Cursor, Insert, Invocation, PollChange, RowStanding, shell_word};

/// The most messages of one page that the log names, each in a line of its own.
const NAMED: usize = 10;

/// Logs each kind of anomaly of a page in one line, with a count. Up to [`NAMED`] messages that are not delivered get a
/// line of their own, with the id. `cursor` is the cursor with which the page was requested. `replayed_by` is the
/// beginning of the command line that replays a message; `None` if messages are not kept.
pub(super) fn log_anomalies(changes: &[PollChange], cursor: Option<&Cursor>, replayed_by: Option<&Invocation>) {
    let mut counts: Vec<(Anomaly, u64)> = Vec::new();
    let mut named = 0;
    for change in changes {
        match change {
            PollChange::Insert(insert) if named < NAMED => {
                named += usize::from(tell_undelivered(insert, cursor, replayed_by));
            }
            PollChange::Count(anomaly) => match counts.iter_mut().find(|(met, _)| met == anomaly) {
                Some((_, count)) => *count += 1,
                None => counts.push((*anomaly, 1)),
            },
            _ => {}
        }
    }
    for (anomaly, count) in counts {
        let times = (count > 1).then_some(count);
        match anomaly {
            // These anomalies are logged where they happen, with the reason.
            Anomaly::UnreadablePage | Anomaly::RefusedCursor => {}
            // These anomalies were logged for each message.
            Anomaly::SpoiledRow | Anomaly::BelowWatermark if count <= u64::try_from(NAMED).unwrap_or(0) => {}
            _ => tracing::warn!(anomaly = anomaly.as_str(), times, "{}", anomaly.sentence()),
        }
    }
}

/// Logs a message that is stored and not delivered. Returns whether `insert` is such a message.
fn tell_undelivered(insert: &Insert, cursor: Option<&Cursor>, replayed_by: Option<&Invocation>) -> bool {
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
            hint = replayed_by.map(|program| format!("it is kept: {program} replay --id {} delivers it", shell_word(&row.id))),
            "{}",
            anomaly.sentence()
        );
        true
    } else {
        false
    }
}

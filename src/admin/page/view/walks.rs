//! The walks: stretches of the feed with older messages that are being read. Pure.

use serde::Serialize;

use super::moment::Moment;
use crate::domain::UnixMs;
use crate::humanize::{count, span};
use crate::status::{ReadingKind, WalkStatus};

/// A walk: a stretch of the feed that is being read.
#[derive(Debug, Serialize)]
pub(super) struct WalkView {
    what: &'static str,
    /// How much of the walk was read, in percent of its time span; `None` if the floor of the walk is not known.
    percent: Option<i64>,
    reached: Moment,
    text: String,
}

impl WalkView {
    pub(super) fn of(walk: &WalkStatus, now: UnixMs) -> Self {
        let what = match walk.kind {
            ReadingKind::Gap => "Missed messages",
            ReadingKind::Sweep => "Search for late messages",
            ReadingKind::Seed => "Messages from before the first run",
        };
        let percent = walk.down_to.map(|end| {
            let (all, done) = (walk.opened_at.0.saturating_sub(end.0), walk.opened_at.0.saturating_sub(walk.reached.0));
            (done.saturating_mul(100) / all.max(1)).clamp(0, 100)
        });
        let mut parts = Vec::new();
        if let Some(pages) = walk.pages_left {
            parts.push(format!("about {} left", count(pages, "page")));
        }
        parts.extend(walk.seconds_left.map(|left| format!("about {}", span(left))));
        if walk.held_messages > 0 {
            parts.push(format!("{} wait until all are read", count(walk.held_messages, "message")));
        }
        if walk.failures > 0 {
            parts.push(format!("{} in a row", count(walk.failures.into(), "failure")));
        }
        Self { what, percent, reached: Moment::of(walk.reached, now), text: parts.join("; ") }
    }
}

//! An instant, as the page shows it. Pure.

use serde::Serialize;

use crate::domain::UnixMs;
use crate::humanize::span;

/// An instant: in milliseconds since 1970, as a date and time, and relative to the present time, such as `5 min ago`.
#[derive(Debug, Serialize)]
pub(super) struct Moment {
    pub(super) at: i64,
    pub(super) absolute: String,
    pub(super) relative: String,
}

impl Moment {
    pub(super) fn of(at: UnixMs, now: UnixMs) -> Self {
        let relative =
            if at > now { format!("in {}", span(at.since(now))) } else { format!("{} ago", span(now.since(at))) };
        Self { at: at.0, absolute: at.to_string(), relative }
    }

    /// Shows an instant at which something is due. If the instant has passed, the relative text is `now`.
    pub(super) fn due(at: UnixMs, now: UnixMs) -> Self {
        let moment = Self::of(at, now);
        if at > now { moment } else { Self { relative: "now".to_owned(), ..moment } }
    }
}

//! Error answers: their status, code and text. The codes of a 400 are made up here, the others are documented.

use crate::account::limit::Verdict;
use crate::http::answer::Answer;
use crate::switches::{LimitText, Switches};

/// Makes the documented 401.
pub(crate) fn unauthorized(pretty: bool) -> Answer {
    Answer::error(401, "UNAUTHORIZED", "Authentication required", pretty)
}

/// Makes the documented 403.
pub(crate) fn session_required(pretty: bool) -> Answer {
    let message = "This endpoint requires browser session authentication. API keys cannot be used for this operation.";
    Answer::error(403, "SESSION_REQUIRED", message, pretty)
}

/// Why a request with a valid key is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    Cursor,
    Parameter(&'static str),
    Number,
    Message,
    Subscription,
    /// The body is not understood. The text says what is expected.
    Body(&'static str),
}

impl Refusal {
    pub(crate) fn answer(&self, pretty: bool) -> Answer {
        match self {
            Self::Cursor => Answer::error(400, "INVALID_CURSOR", "Invalid or expired cursor", pretty),
            Self::Parameter(name) => {
                Answer::error(400, "VALIDATION_ERROR", &format!("Invalid query parameter: {name}"), pretty)
            }
            Self::Number => Answer::error(404, "NOT_FOUND", "Number not found or you do not have access", pretty),
            Self::Message => Answer::error(404, "NOT_FOUND", "Message not found or you do not have access", pretty),
            Self::Subscription => Answer::error(404, "NOT_FOUND", "Subscription not found", pretty),
            Self::Body(expected) => Answer::error(400, "VALIDATION_ERROR", expected, pretty),
        }
    }
}

/// Makes the documented 429.
pub(crate) fn rate_limited(verdict: &Verdict, switches: &Switches) -> Answer {
    let seconds = verdict.reset_seconds(switches.reset);
    let time = match switches.limit_text {
        LimitText::Seconds => format!("{seconds} seconds"),
        LimitText::Minutes => match seconds.div_ceil(60) {
            1 => "1 minute".to_owned(),
            minutes => format!("{minutes} minutes"),
        },
    };
    Answer::error(429, "RATE_LIMIT_EXCEEDED", &format!("Rate limit exceeded, retry in {time}"), switches.pretty)
}

//! What becomes of one message at one sink.

use super::UnixMs;

/// Which queue of a sink a delivery waits in: live ones are claimed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// It showed up at the head of the feed, or late behind it.
    Live,
    /// It was found by a catch-up.
    Backfill,
}

/// How one attempt ended, and so what happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered {
        /// The HTTP status, where there is one.
        status: Option<u16>,
    },
    /// To be tried again.
    Retry {
        /// Not before this.
        due: UnixMs,
        /// The HTTP status, where there was one.
        status: Option<u16>,
        /// What went wrong, for people: no secret, no message body.
        answer: String,
    },
    /// A dead letter: kept and listed, not tried again by itself.
    Dead {
        /// Why.
        reason: DeadReason,
        /// The HTTP status, where there was one.
        status: Option<u16>,
        /// What went wrong last, for people.
        answer: String,
    },
}

/// What a sink shows of the number that received a message, beyond what the message itself says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumberUse {
    /// Nothing.
    #[default]
    Ignored,
    /// What is known of it by then.
    Shown,
    /// What the API says of it: messages wait until that is known.
    Needed,
}

/// Why nothing is sent to a sink until somebody, or the next start, lifts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PauseReason {
    /// Somebody said so.
    Operator,
    /// The receiver answered 410: it wants nothing more.
    Gone,
    /// Nobody reads the output any more. The next start has another output.
    Closed,
    /// The configuration says so: `enabled = false`.
    Disabled,
}

impl PauseReason {
    /// The word that people and metrics see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Gone => "gone",
            Self::Closed => "closed",
            Self::Disabled => "disabled",
        }
    }

    /// The reason of this word; the store allows no others.
    pub fn from_word(word: &str) -> Self {
        match word {
            "gone" => Self::Gone,
            "closed" => Self::Closed,
            "disabled" => Self::Disabled,
            _ => Self::Operator,
        }
    }
}

/// Why a message is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadReason {
    /// An attempt failed after `retry.give_up_after`.
    GaveUp,
    /// The sink's template can make nothing of it, so nothing was sent.
    Template,
    /// It was received longer ago than `max_age` when its next attempt was due.
    Expired,
    /// The receiver answered with one of `reject_status`.
    Rejected,
}

impl DeadReason {
    /// The word that people and metrics see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GaveUp => "gave_up",
            Self::Template => "template",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
        }
    }
}

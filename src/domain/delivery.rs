//! The values of a delivery: its lane, the result of an attempt, and the reasons for dead letters and for pauses.

use serde::Serialize;
use strum::{EnumString, IntoStaticStr};

use super::UnixMs;

/// The lane of a delivery that was not attempted yet. Live deliveries are claimed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeliveryClass {
    /// The message showed up at the head of the feed, or came late and was found by a sweep.
    Live,
    /// The message was found by a catch-up or on a first run. Or its delivery record was created after the release of
    /// the message, for example because an operator asked for a replay.
    Backfill,
}

/// The result of one attempt. It decides what happens to the delivery next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has the message.
    Delivered {
        /// The HTTP status, where there is one.
        status: Option<u16>,
    },
    /// The delivery is tried again.
    Retry {
        /// The next attempt is made no earlier than this.
        due: UnixMs,
        /// The HTTP status, where there was one.
        status: Option<u16>,
        /// The failure in words for people, without any secret or message text.
        answer: String,
    },
    /// The message is a dead letter: kept and listed, and tried again only if an operator asks for that.
    Dead {
        /// Why the message was given up.
        reason: DeadReason,
        /// The HTTP status, where there was one.
        status: Option<u16>,
        /// The last failure in words for people, without any secret or message text.
        answer: String,
    },
}

/// How a sink uses the details of the number that received a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumberUse {
    /// The sink shows no details.
    #[default]
    Ignored,
    /// The sink shows the details that are known at the time of the attempt.
    Shown,
    /// The sink needs the details: messages wait until the API has sent them.
    Needed,
}

/// Why a sink is paused: nothing is sent to it until the pause ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, EnumString, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PauseReason {
    /// An operator paused the sink.
    Operator,
    /// The receiver answered 410: it wants no more messages.
    Gone,
    /// Nobody reads the standard output any more. The pause ends at the next start, because the next process has
    /// another output.
    Closed,
    /// The configuration says `enabled = false`.
    Disabled,
}

impl PauseReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Operator, Self::Gone, Self::Closed, Self::Disabled];

    /// The reason as a word, for people and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The reason for a word that [`Self::as_str`] returned. The tables of the store allow no other words.
    pub fn from_word(word: &str) -> Self {
        word.parse().unwrap_or(Self::Operator)
    }
}

/// Why a message is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum DeadReason {
    /// An attempt failed after the time `retry.give_up_after` was over, or the message waited too long for details of
    /// its number.
    GaveUp,
    /// The sink's template failed on the message, so nothing was sent.
    Template,
    /// The message was received longer ago than `max_age` when its next attempt was due.
    Expired,
    /// The receiver answered with one of `reject_status`.
    Rejected,
}

impl DeadReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::GaveUp, Self::Template, Self::Expired, Self::Rejected];

    /// The reason as a word, for people and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

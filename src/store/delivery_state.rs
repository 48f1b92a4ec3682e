//! The states of a delivery, and the words for them on disk and in `trace`.

use std::fmt;

use serde::Serialize;
use strum::{EnumString, IntoStaticStr};

/// The state of the delivery of one message to one sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, EnumString, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DeliveryState {
    /// The sink's filter or format needs details of the number that are not known yet.
    Undecided,
    /// The delivery waits for its first attempt.
    Fresh,
    /// The last attempt failed, and the delivery waits for the next attempt.
    Retry,
    /// The sink has the message.
    Delivered,
    /// A dead letter: the relay gave up.
    Dead,
    /// A dead letter that an operator gave up.
    Dropped,
}

impl DeliveryState {
    /// Every state, in the order in which a delivery can pass through them.
    pub const ALL: [Self; 6] = [Self::Undecided, Self::Fresh, Self::Retry, Self::Delivered, Self::Dead, Self::Dropped];

    /// The states of a delivery that is not over. A dead letter counts as over: nothing more happens to it, unless an
    /// operator asks for that.
    pub const WAITING: [Self; 3] = [Self::Undecided, Self::Fresh, Self::Retry];

    /// Returns the word for the state on disk, in `trace` and in an export.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the state that this word stands for; `None` if the word stands for no state.
    pub fn from_word(word: &str) -> Option<Self> {
        word.parse().ok()
    }

    /// Returns whether no further attempt will be made, unless an operator asks for one.
    pub fn is_over(self) -> bool {
        !Self::WAITING.contains(&self)
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_a_word_of_its_own() {
        for state in DeliveryState::ALL {
            assert_eq!(DeliveryState::from_word(state.as_str()), Some(state));
        }
        assert_eq!(DeliveryState::from_word("lost"), None);
    }
}

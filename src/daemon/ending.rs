//! How a relay ends, and the failures that end it.

use std::sync::Arc;

use super::build_error::BuildError;
use super::signals::StopSignal;
use crate::ingest::PollError;
use crate::store;

/// How a relay ended, if nothing failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A signal stopped the relay.
    Stopped(StopSignal),
    /// The only sink is stdout, and nobody reads it any more.
    Closed,
    /// `once`: all messages were read.
    CaughtUp {
        /// Whether deliveries wait for another attempt.
        work_left: bool,
    },
    /// `once`: the API could not be read, for this reason.
    GaveUp(String),
    /// `once`: the API accepts no key. Holds the API's last answer.
    NoKey(String),
}

/// A failure that ended the relay.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Polling cannot go on.
    #[error(transparent)]
    Poll(#[from] PollError),
    /// The state could not be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The state is damaged, so a waiting message cannot be read.
    #[error("{0}")]
    Damaged(Arc<store::Error>),
    /// The relay became the active one, and the state or a sink could not be opened.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A task of the program panicked.
    #[error("internal error in {0}, please report it; nothing is lost, start it again")]
    Panicked(&'static str),
}

impl RunError {
    /// Returns the error of the store, if this failure is one.
    pub fn of_store(&self) -> Option<&store::Error> {
        match self {
            Self::Store(error) | Self::Poll(PollError::Store(error)) | Self::Build(BuildError::Store(error)) => {
                Some(error)
            }
            Self::Damaged(error) => Some(error),
            Self::Poll(PollError::OtherAccount) | Self::Build(_) | Self::Panicked(_) => None,
        }
    }

    /// Whether the state is damaged.
    pub(super) fn is_damage(&self) -> bool {
        self.of_store().is_some_and(store::Error::is_damage)
    }

    /// Whether this failure ends only the term of this relay as the active one, and not the process.
    pub(super) fn ends_term(&self) -> bool {
        self.of_store().is_some_and(store::Error::ends_term)
    }
}

//! Why an action is refused.

use crate::domain::filter::InvalidPattern;
use crate::store::{Error, Spool};

/// Why an action is refused. Nothing was changed, with one exception: a long action may have made some of its changes
/// before it failed with [`Self::Store`].
#[derive(Debug, thiserror::Error)]
pub enum OperatorRefusal {
    /// The state could not be read or written.
    #[error(transparent)]
    Store(#[from] Error),
    /// There is no such sink. The text names the known sinks.
    #[error("{0}")]
    UnknownSink(String),
    /// The sink is not configured any more.
    #[error("{0} is not configured any more, so nothing would be sent to it")]
    NotConfigured(String),
    /// A selector is not a valid pattern. The fields are the name of the selector, and the mistake.
    #[error("{0} is not a pattern: {1}")]
    InvalidPattern(&'static str, InvalidPattern),
}

impl OperatorRefusal {
    /// Makes the refusal for an unknown sink, which names the known sinks.
    pub(super) fn unknown_sink(spool: &Spool, name: &str) -> Self {
        match spool.sink_names() {
            Ok(names) if names.is_empty() => {
                Self::UnknownSink(format!("the state knows no sinks yet, so none named {name:?}"))
            }
            Ok(names) => {
                let known = names.join(", ");
                Self::UnknownSink(format!("the state knows no sink named {name:?}; it knows {known}"))
            }
            Err(error) => error.into(),
        }
    }
}

//! The sinks of the configuration in effect, as the endpoint uses them.

use std::sync::{Arc, Mutex, PoisonError};

use crate::codes::CodeMask;
use crate::formats::Format;
use crate::sinks::Target;

/// A sink of the configuration in effect.
#[derive(Clone, Debug)]
pub struct SinkInEffect {
    /// The name of the sink.
    pub name: String,
    /// Whether the sink also gets the events of numbers.
    pub takes_events: bool,
    /// The format of the sink.
    pub format: Format,
    /// The mask for the codes of messages, if the sink must not get the codes.
    pub mask: Option<CodeMask>,
    /// The place to which the messages of the sink go.
    pub target: Arc<dyn Target>,
}

/// All sinks of the configuration in effect. Clones share the sinks, so a reload replaces them for all clones.
#[derive(Clone, Debug, Default)]
pub struct SinksInEffect(Arc<Mutex<Arc<[SinkInEffect]>>>);

impl SinksInEffect {
    /// Replaces the sinks by those of a new configuration.
    pub fn replace(&self, sinks: impl Iterator<Item = SinkInEffect>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sinks.collect();
    }

    /// Returns the sinks.
    pub(super) fn all(&self) -> Arc<[SinkInEffect]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

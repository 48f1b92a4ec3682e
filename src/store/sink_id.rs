//! How the store names a sink.

/// Names a sink in the store; a sink keeps it for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkId(pub i64);

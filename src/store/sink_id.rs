//! How the store names a sink.

/// Names a sink in the store; a sink keeps its id for ever. Ids begin with 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkId(pub i64);

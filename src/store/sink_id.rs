//! The id by which the state knows a sink.

/// The id of a sink. A sink keeps its id when it is renamed, and no other sink ever gets the same id. Ids begin with 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkId(pub i64);

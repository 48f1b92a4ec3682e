//! The id by which the state knows a sink.

/// The id of a sink. A sink keeps it under any name, and no other sink ever gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkId(pub i64);
